"""The system calls that Linux has, in named sets: what a seccomp filter may be written in. Pure data, and how it is read.

The sets have the names and the meaning that systemd.exec(5) gives them ("Currently predefined system call sets"), so that
what people know holds here; the tables are our own. A set may name others. A name that one architecture lacks is right
all the same: the kernel's 32-bit and 64-bit ABIs have different calls for one thing (``fcntl`` and ``fcntl64``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

_TEXT: Final = {
    "@default": """arch_prctl brk cacheflush clock_getres clock_getres_time64 clock_gettime clock_gettime64
        clock_nanosleep clock_nanosleep_time64 execve exit exit_group futex futex_requeue futex_time64 futex_wait
        futex_waitv futex_wake get_robust_list get_thread_area get_tls getcpu getegid getegid32 geteuid geteuid32 getgid
        getgid32 getgroups getgroups32 getpgid getpgrp getpid getppid getrandom getresgid getresgid32 getresuid
        getresuid32 getrlimit getsid gettid gettimeofday getuid getuid32 madvise map_shadow_stack membarrier mmap mmap2
        mprotect mremap mseal munmap nanosleep pause prlimit64 restart_syscall rseq rt_sigreturn sched_getaffinity
        sched_yield set_robust_list set_thread_area set_tid_address set_tls sigreturn time ugetrlimit uprobe uretprobe""",
    "@aio": """io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit io_uring_enter
        io_uring_register io_uring_setup""",
    "@basic-io": """_llseek close close_range dup dup2 dup3 lseek pread64 preadv preadv2 pwrite64 pwritev pwritev2 read
        readv write writev""",
    "@chown": "chown chown32 fchown fchown32 fchownat lchown lchown32",
    "@clock": "adjtimex clock_adjtime clock_adjtime64 clock_settime clock_settime64 settimeofday stime",
    "@cpu-emulation": "modify_ldt vm86 vm86old",
    "@debug": "kcmp perf_event_open pidfd_getfd process_vm_readv process_vm_writev ptrace",
    "@file-system": """access cachestat chdir chmod copy_file_range creat faccessat faccessat2 fallocate fchdir fchmod
        fchmodat fchmodat2 fcntl fcntl64 fgetxattr file_getattr file_setattr flistxattr flock fremovexattr fsetxattr fstat
        fstat64 fstatat64 fstatfs fstatfs64 ftruncate ftruncate64 futimesat getcwd getdents getdents64 getxattr
        getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch lgetxattr link linkat listmount
        listxattr listxattrat llistxattr lremovexattr lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat newfstatat
        oldfstat oldlstat oldstat open openat openat2 readdir readlink readlinkat removexattr removexattrat rename
        renameat renameat2 rmdir setxattr setxattrat stat stat64 statfs statfs64 statmount statx symlink symlinkat
        truncate truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes""",
    "@io-event": """_newselect epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2
        poll ppoll ppoll_time64 pselect6 pselect6_time64 select""",
    "@ipc": """ipc memfd_create mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
        mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd pipe pipe2 semctl semget semop semtimedop
        semtimedop_time64 shmat shmctl shmdt shmget""",
    "@keyring": "add_key keyctl request_key",
    "@memlock": "mlock mlock2 mlockall munlock munlockall",
    "@module": "delete_module finit_module init_module",
    "@mount": """chroot fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree open_tree_attr pivot_root
        umount umount2""",
    "@network-io": """accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg
        recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socket socketcall socketpair""",
    "@obsolete": """_sysctl afs_syscall bdflush break breakpoint create_module epoll_ctl_old epoll_wait_old ftime
        get_kernel_syms getpmsg gtty idle lock lookup_dcookie mpx nfsservctl prof profil putpmsg query_module security
        sgetmask ssetmask stty sysfs tuxcall ulimit uselib usr26 usr32 ustat vserver""",
    "@pkey": "pkey_alloc pkey_free pkey_mprotect",
    "@privileged": """@chown @clock @module @raw-io @reboot @setuid @swap _sysctl acct bpf capset chroot fanotify_init
        fanotify_mark open_by_handle_at pivot_root quotactl quotactl_fd setdomainname sethostname syslog vhangup""",
    "@process": """capget clone clone3 execveat fork getrusage kill pidfd_open pidfd_send_signal prctl process_madvise
        process_mrelease rt_sigqueueinfo rt_tgsigqueueinfo setns setpgid setsid tgkill times tkill unshare vfork wait4
        waitid waitpid""",
    "@raw-io": "ioperm iopl pciconfig_iobase pciconfig_read pciconfig_write",
    "@reboot": "kexec_file_load kexec_load reboot",
    "@resources": """ioprio_set mbind migrate_pages move_pages nice sched_setaffinity sched_setattr sched_setparam
        sched_setscheduler set_mempolicy set_mempolicy_home_node setpriority setrlimit""",
    "@sandbox": "landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp",
    "@setuid": """setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setregid setregid32
        setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32""",
    "@signal": """rt_sigaction rt_sigpending rt_sigprocmask rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 sigaction
        sigaltstack signal signalfd signalfd4 sigpending sigprocmask sigsuspend""",
    "@swap": "swapoff swapon",
    "@sync": "arm_sync_file_range fdatasync fsync msync sync sync_file_range sync_file_range2 syncfs",
    "@system-service": """@aio @basic-io @chown @default @file-system @io-event @ipc @keyring @memlock @network-io
        @process @resources @setuid @signal @sync @timer arm_fadvise64_64 capset fadvise64 fadvise64_64 get_mempolicy
        getpriority ioctl ioprio_get lsm_get_self_attr lsm_list_modules memfd_secret mincore name_to_handle_at
        oldolduname olduname readahead remap_file_pages sched_get_priority_max sched_get_priority_min sched_getattr
        sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sendfile sendfile64 splice
        sysinfo tee uname vmsplice""",
    "@timer": """alarm getitimer setitimer timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64
        timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime
        timerfd_settime64""",
}
#: Of no set but ``@known``: each is for few programs, and widens what a service can reach in the kernel.
_UNGROUPED: Final = "lsm_set_self_attr personality userfaultfd"


def _flat(name: str) -> Iterator[str]:
    for word in _TEXT[name].split():
        if word.startswith("@"):
            yield from _flat(word)
        else:
            yield word


_WITHOUT_KNOWN: Final = {name: frozenset(_flat(name)) for name in _TEXT}
#: Every system call that a card may name.
KNOWN: Final = frozenset(_UNGROUPED.split()).union(*_WITHOUT_KNOWN.values())
#: The sets, flat: ``@basic-io`` → ``{"read", "write", …}``; ``@known`` holds them all.
SETS: Final[Mapping[str, frozenset[str]]] = {**_WITHOUT_KNOWN, "@known": KNOWN}


def expand(words: Iterable[str]) -> frozenset[str]:
    """Return the system calls that these names and sets mean. Raises KeyError for a set that there is not."""
    found: set[str] = set()
    for word in words:
        found |= SETS[word] if word.startswith("@") else {word}
    return frozenset(found)


#: Sets that hold one of these are never taken for a part of them.
_DELICATE: Final = SETS["@privileged"] | SETS["@debug"] | SETS["@mount"] | SETS["@obsolete"]


def tighten(observed: Iterable[str], *, there: frozenset[str] = KNOWN, slack: float = 0.0) -> tuple[str, ...]:
    """Return a short list of sets and names that allows what was observed, for a card's ``allow``.

    ``there`` are the calls that this machine has; the others count for nothing. A set stands for its members when the
    share of them that was *not* observed is at most ``slack``: with 0.0 nothing is allowed that was not seen, with 0.5 a
    set may bring as many calls as it replaces. Sets with calls that are privileged, obsolete, or for debugging and
    mounting are taken only whole, whatever the slack. ``@default`` is always first: without it nothing can be executed.
    """
    seen = frozenset(observed)
    left = set(seen - SETS["@default"])
    chosen: list[str] = []
    for name in sorted(SETS, key=lambda name: (-len(SETS[name] & seen), len(SETS[name]), name)):
        members = (SETS[name] & there) - SETS["@default"]
        allowed = 0.0 if members & _DELICATE else slack * len(members)
        if len(members & left) > 1 and len(members - seen) <= allowed:
            chosen.append(name)
            left -= members
    return ("@default", *sorted(chosen), *sorted(left))
