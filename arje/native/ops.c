/*
 * The op table: one short function per step, run by the child between the gate and execve; the families of ops have a file
 * each. Rules of child.c hold here. Each returns 0 or -errno and leaves the name of the refusing system call in *syscall.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/prctl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "child.h"
#include "ops.h"
#include "raw.h"

static long do_unshare(const struct arje_op *op, const char **syscall) {
    TRY("unshare", raw1(__NR_unshare, op->a));
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
    *syscall = "ioctl SIOCGIFFLAGS"; /* of a spare namespace it is up already */
    long answer = raw3(__NR_ioctl, fd, SIOCGIFFLAGS, &request);
    if (answer >= 0 && !(request.ifr_flags & IFF_UP)) {
        *syscall = "ioctl SIOCSIFFLAGS";
        request.ifr_flags = IFF_UP | IFF_RUNNING;
        answer = raw3(__NR_ioctl, fd, SIOCSIFFLAGS, &request);
        if (answer >= 0) {
            *syscall = "ioctl SIOCGIFFLAGS"; /* read back: whether it is up */
            answer = raw3(__NR_ioctl, fd, SIOCGIFFLAGS, &request);
            if (answer >= 0 && !(request.ifr_flags & IFF_UP))
                answer = -ENETDOWN;
        }
    }
    raw1(__NR_close, fd);
    return answer;
}

static long do_session(const struct arje_op *op, const char **syscall) {
    (void)op;
    TRY("setsid", raw0(__NR_setsid));
    *syscall = "getsid";
    return raw1(__NR_getsid, 0) == raw0(__NR_getpid) ? 0 : -EIO;
}

/* Right after setsid, so by the path as it is outside. The terminal tells itself whose it is: a session of ours. */
static long do_controlling_tty(const struct arje_op *op, const char **syscall) {
    int session = 0;
    *syscall = "openat";
    long fd = raw3(__NR_openat, AT_FDCWD, op->p, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return fd;
    *syscall = "ioctl TIOCSCTTY";
    long answer = raw3(__NR_ioctl, fd, TIOCSCTTY, 0);
    if (answer >= 0) {
        *syscall = "ioctl TIOCGSID";
        answer = raw3(__NR_ioctl, fd, TIOCGSID, &session);
        if (answer >= 0 && session != raw0(__NR_getpid))
            answer = -EIO;
    }
    raw1(__NR_close, fd);
    return answer;
}

static long do_umask(const struct arje_op *op, const char **syscall) {
    TRY("umask", raw1(__NR_umask, op->a));
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

typedef long (*arje_do)(const struct arje_op *op, const char **syscall);

/* A switch, not a table of pointers: a table would need relocation, and this fits on the page just as well. */
static arje_do function_of(uint32_t step) {
    switch (step) {
    case ARJE_UNSHARE: return do_unshare;
    case ARJE_MOUNT_NAMESPACE: return arje_do_mount_namespace;
    case ARJE_MOUNT_PRIVATE: return arje_do_mount_private;
    case ARJE_HOSTNAME: return do_hostname;
    case ARJE_LOOPBACK: return do_loopback;
    case ARJE_NETWORK: return arje_do_network;
    case ARJE_STAGE: return arje_do_stage;
    case ARJE_ROOT: return arje_do_root;
    case ARJE_MOUNT_OVERLAY: return arje_do_mount_overlay;
    case ARJE_MOUNT_TMPFS:
    case ARJE_MOUNT_PROC:
    case ARJE_MOUNT_SYSFS:
    case ARJE_MOUNT_DEVPTS:
    case ARJE_MOUNT_MQUEUE: return arje_do_mount_filesystem;
    case ARJE_MOUNT_DEV: return arje_do_mount_dev;
    case ARJE_BIND: return arje_do_bind;
    case ARJE_FILE: return arje_do_file;
    case ARJE_SYMLINK: return arje_do_symlink;
    case ARJE_MASK: return arje_do_mask;
    case ARJE_READ_ONLY: return arje_do_read_only;
    case ARJE_PIVOT_ROOT: return arje_do_pivot_root;
    case ARJE_SESSION: return do_session;
    case ARJE_CONTROLLING_TTY: return do_controlling_tty;
    case ARJE_UMASK: return do_umask;
    case ARJE_PERSONALITY: return arje_do_personality;
    case ARJE_BOUNDING: return arje_do_bounding;
    case ARJE_KEEP_CAPS: return arje_do_keep_caps;
    case ARJE_RLIMIT: return arje_do_rlimit;
    case ARJE_SCHEDULER: return arje_do_scheduler;
    case ARJE_GROUPS: return arje_do_groups;
    case ARJE_GID: return arje_do_gid;
    case ARJE_UID: return arje_do_uid;
    case ARJE_CAPSET: return arje_do_capset;
    case ARJE_AMBIENT: return arje_do_ambient;
    case ARJE_SECUREBITS: return arje_do_securebits;
    case ARJE_KEYRING: return arje_do_keyring;
    case ARJE_PARENT_DEATH_SIGNAL: return do_parent_death_signal;
    case ARJE_CHDIR: return do_chdir;
    case ARJE_NO_NEW_PRIVS: return arje_do_no_new_privs;
    case ARJE_LOCK_PERSONALITY: return arje_do_lock_personality;
    case ARJE_LANDLOCK_PATH: return arje_do_landlock_path;
    case ARJE_SECCOMP: return arje_do_seccomp;
    default: return 0;
    }
}

long arje_op_run(const struct arje_op *op, const char **syscall) {
    arje_do function = function_of(op->step);
    *syscall = "";
    return function == 0 ? -ENOSYS : function(op, syscall);
}
