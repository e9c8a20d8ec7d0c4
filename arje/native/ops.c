/*
 * The ops: one short function per step, run by the child between the gate and execve. Rules of child.c hold here.
 * Each returns 0 or -errno and leaves the name of the refusing system call in *syscall.
 */
#include <linux/if.h>
#include <linux/mount.h>
#include <linux/prctl.h>
#include <linux/sockios.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <errno.h>

#include "child.h"
#include "raw.h"

#define TRY(name, call)                                                                                                \
    do {                                                                                                               \
        *syscall = (name);                                                                                             \
        long answer_ = (call);                                                                                         \
        if (answer_ < 0)                                                                                               \
            return answer_;                                                                                            \
    } while (0)

static long do_unshare(const struct arje_op *op, const char **syscall) {
    TRY("unshare", raw1(__NR_unshare, op->a));
    return 0;
}

/* Without this check a forgotten namespace would let a pid 1 pivot the machine. */
static long do_mount_namespace(const struct arje_op *op, const char **syscall) {
    struct stat own;
    TRY("stat /proc/self/ns/mnt", raw4(__NR_newfstatat, AT_FDCWD, "/proc/self/ns/mnt", &own, 0));
    return own.st_ino == op->a ? -EPERM : 0;
}

static long do_mount_private(const struct arje_op *op, const char **syscall) {
    (void)op;
    TRY("mount /", raw5(__NR_mount, 0, "/", 0, MS_REC | MS_PRIVATE, 0));
    return 0;
}

static long do_hostname(const struct arje_op *op, const char **syscall) {
    TRY("sethostname", raw2(__NR_sethostname, op->p, op->a));
    return 0;
}

static long do_loopback(const struct arje_op *op, const char **syscall) {
    struct ifreq request;
    char *bytes = (char *)&request;
    for (size_t i = 0; i < sizeof request; i++)
        ((volatile char *)bytes)[i] = 0; /* volatile: or gcc makes it a call of memset */
    request.ifr_name[0] = 'l';
    request.ifr_name[1] = 'o';
    (void)op;
    *syscall = "socket";
    long fd = raw3(__NR_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    *syscall = "ioctl SIOCSIFFLAGS";
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    long answer = raw3(__NR_ioctl, fd, SIOCSIFFLAGS, &request);
    if (answer >= 0) {
        *syscall = "ioctl SIOCGIFFLAGS"; /* read back: whether it is up */
        answer = raw3(__NR_ioctl, fd, SIOCGIFFLAGS, &request);
        if (answer >= 0 && !(request.ifr_flags & IFF_UP))
            answer = -ENETDOWN;
    }
    raw1(__NR_close, fd);
    return answer;
}

static long do_mount_proc(const struct arje_op *op, const char **syscall) {
    if (op->a)
        raw3(__NR_mkdirat, AT_FDCWD, op->p, 0555); /* whether it is there now is for mount to say */
    TRY("mount proc", raw5(__NR_mount, "proc", op->p, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0));
    return 0;
}

static long do_mount_overlay(const struct arje_op *op, const char **syscall) {
    TRY("mount overlay", raw5(__NR_mount, "overlay", op->p, "overlay", 0, op->q));
    return 0;
}

/*
 * pivot_root(2). The new root is bound to itself first, as it must be a mount point. With no directory for the old root
 * both are ".", the old one is stacked on the new one and detached. EINVAL is the initramfs: its root mount has no
 * parent; so bind it over itself, move in there, and pivot from that.
 */
static long do_pivot_root(const struct arje_op *op, const char **syscall) {
    const char *old = op->q;
    int keep = old != 0 && old[0] != '\0';
    TRY("mount new_root", raw5(__NR_mount, op->p, op->p, 0, MS_BIND | MS_REC, 0));
    TRY("chdir new_root", raw1(__NR_chdir, op->p));
    *syscall = "pivot_root";
    if (keep)
        raw3(__NR_mkdirat, AT_FDCWD, old, 0700);
    long answer = raw2(__NR_pivot_root, ".", keep ? old : ".");
    if (answer == -EINVAL) {
        TRY("mount /", raw5(__NR_mount, "/", "/", 0, MS_BIND | MS_REC, 0));
        TRY("chdir /..", raw1(__NR_chdir, "/.."));
        TRY("chroot", raw1(__NR_chroot, "."));
        TRY("chdir new_root", raw1(__NR_chdir, op->p));
        *syscall = "pivot_root";
        answer = raw2(__NR_pivot_root, ".", keep ? old : ".");
    }
    if (answer < 0)
        return answer;
    if (!keep)
        TRY("umount2", raw2(__NR_umount2, ".", 2 /* MNT_DETACH */));
    TRY("chdir /", raw1(__NR_chdir, "/"));
    return 0;
}

static long do_session(const struct arje_op *op, const char **syscall) {
    (void)op;
    TRY("setsid", raw0(__NR_setsid));
    *syscall = "getsid";
    return raw1(__NR_getsid, 0) == raw0(__NR_getpid) ? 0 : -EIO;
}

static long do_umask(const struct arje_op *op, const char **syscall) {
    TRY("umask", raw1(__NR_umask, op->a));
    return 0;
}

static long do_groups(const struct arje_op *op, const char **syscall) {
    TRY("setgroups", raw2(__NR_setgroups, op->a, op->p));
    return 0;
}

static long do_gid(const struct arje_op *op, const char **syscall) {
    TRY("setresgid", raw3(__NR_setresgid, op->a, op->a, op->a));
    return 0;
}

static long do_uid(const struct arje_op *op, const char **syscall) {
    TRY("setresuid", raw3(__NR_setresuid, op->a, op->a, op->a));
    return 0;
}

static long do_parent_death_signal(const struct arje_op *op, const char **syscall) {
    int now = 0;
    TRY("prctl PR_SET_PDEATHSIG", raw2(__NR_prctl, PR_SET_PDEATHSIG, op->a));
    TRY("prctl PR_GET_PDEATHSIG", raw2(__NR_prctl, PR_GET_PDEATHSIG, &now)); /* no file of /proc shows it */
    return (uint64_t)now == op->a ? 0 : -EIO;
}

static long do_chdir(const struct arje_op *op, const char **syscall) {
    TRY("chdir", raw1(__NR_chdir, op->p));
    return 0;
}

static long do_no_new_privs(const struct arje_op *op, const char **syscall) {
    (void)op;
    TRY("prctl PR_SET_NO_NEW_PRIVS", raw5(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    *syscall = "prctl PR_GET_NO_NEW_PRIVS";
    return raw5(__NR_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : -EIO;
}

typedef long (*arje_do)(const struct arje_op *op, const char **syscall);

/* A switch, not a table of pointers: a table would need relocation, and this fits on the page just as well. */
static arje_do function_of(uint32_t step) {
    switch (step) {
    case ARJE_UNSHARE: return do_unshare;
    case ARJE_MOUNT_NAMESPACE: return do_mount_namespace;
    case ARJE_MOUNT_PRIVATE: return do_mount_private;
    case ARJE_HOSTNAME: return do_hostname;
    case ARJE_LOOPBACK: return do_loopback;
    case ARJE_MOUNT_PROC: return do_mount_proc;
    case ARJE_MOUNT_OVERLAY: return do_mount_overlay;
    case ARJE_PIVOT_ROOT: return do_pivot_root;
    case ARJE_SESSION: return do_session;
    case ARJE_UMASK: return do_umask;
    case ARJE_GROUPS: return do_groups;
    case ARJE_GID: return do_gid;
    case ARJE_UID: return do_uid;
    case ARJE_PARENT_DEATH_SIGNAL: return do_parent_death_signal;
    case ARJE_CHDIR: return do_chdir;
    case ARJE_NO_NEW_PRIVS: return do_no_new_privs;
    default: return 0;
    }
}

long arje_op_run(const struct arje_op *op, const char **syscall) {
    arje_do function = function_of(op->step);
    *syscall = "";
    return function == 0 ? -ENOSYS : function(op, syscall);
}
