/*
 * The ABI between incarnate/ (which plans) and the trampoline (which acts). Read twice: by the C compiler, and by cffi as
 * its cdef; so it holds plain declarations only. Change the layout, and ARJE_ABI with it.
 */

#define ARJE_ABI 20
#define ARJE_OPTIONAL 1
#define ARJE_DETAIL 32
#define ARJE_JOINS 8
#define ARJE_FACTS_SIZE 8192
#define ARJE_DIGITS 12

/* The steps of the child, in the order of arje.incarnation.Step from SIGNALS on; a test holds the two together. */
enum arje_step {
    ARJE_SIGNALS,
    ARJE_DESCRIPTORS,
    ARJE_UNSHARE,
    ARJE_JOIN, /* a: CLONE_NEW... of the kind, p: uint32_t, which of the plan's joins */
    ARJE_MOUNT_NAMESPACE, /* a: inode of the manager's mount namespace, which this must not be */
    ARJE_MOUNT_PRIVATE,
    ARJE_HOSTNAME, /* p: name, a: its length */
    ARJE_LOOPBACK,
    ARJE_NETWORK,       /* p: one rtnetlink request, a: its length, q: name of the device that it is about */
    /* Of the mounts: p what, q how, r where (below the working directory), a ARJE_MAKE ..., b MOUNT_ATTR_... */
    ARJE_STAGE,         /* what mounts.c puts a new root together on, a: for an overlay too; the working directory from then on */
    ARJE_ROOT,          /* p: directory that becomes the new root with all that is mounted below it */
    ARJE_MOUNT_OVERLAY, /* p: options of a tmpfs for its upper layer or 0, q: its own, b: bytes that statfs(2) has to tell */
    ARJE_MOUNT_TMPFS,   /* p: type of file system, q: name, NUL, value, NUL, and so on */
    ARJE_MOUNT_PROC,
    ARJE_MOUNT_SYSFS,
    ARJE_MOUNT_DEVPTS,
    ARJE_MOUNT_MQUEUE,
    ARJE_MOUNT_DEV, /* q: options of its devpts */
    ARJE_BIND,      /* p: source */
    ARJE_IDMAP,     /* r: a mount, to be covered with itself under the plan's id map */
    ARJE_FILE,      /* p: content or source, q: a path beside the root or 0; b: uid and gid; a: mode from bit 16 on */
    ARJE_SYMLINK,   /* p: what it says */
    ARJE_MASK,
    ARJE_READ_ONLY,
    ARJE_PIVOT_ROOT, /* q: directory for the old root or "" */
    ARJE_SESSION,
    ARJE_CONTROLLING_TTY, /* p: path */
    ARJE_UMASK, /* a: mask */
    ARJE_AFFINITY,
    ARJE_RLIMIT,
    ARJE_SCHEDULER, /* a: policy and flags of sched_setscheduler(2), p: its priority, or a struct sched_attr for a deadline */
    ARJE_PERSONALITY,    /* a: execution domain and flags */
    ARJE_NO_NESTED_USER, /* in a user namespace of its own */
    ARJE_OBSERVE,        /* p: struct sock_filter[], a: how many; ARJE_LISTENER tells the descriptor */
    ARJE_BOUNDING,       /* a: bits of the capabilities that stay */
    ARJE_KEEP_CAPS,
    ARJE_GROUPS, /* p: array of uint32_t, a: how many */
    ARJE_GID,    /* a: id */
    ARJE_UID,    /* a: id */
    ARJE_CAPSET,     /* a: bits of what stays permitted and effective, p: uint32_t[2], of what becomes inheritable */
    ARJE_AMBIENT,    /* a: bits */
    ARJE_SECUREBITS, /* a: bits */
    ARJE_KEYRING,
    ARJE_PARENT_DEATH_SIGNAL, /* a: signal */
    ARJE_CHDIR,               /* p: path */
    ARJE_REPORT,              /* a: ARJE_FACT_... bits */
    ARJE_NO_NEW_PRIVS,
    ARJE_LOCK_PERSONALITY,
    ARJE_LANDLOCK_PATH, /* p: path that must be there */
    ARJE_LANDLOCK,      /* p: struct arje_landlock and its rules, q: the path to try, then those of the rules */
    ARJE_SECCOMP,       /* p: struct sock_filter[], a: how many, and from bit 32 on SECCOMP_FILTER_FLAG_..., q: ask again */
    ARJE_REAPER,
    ARJE_EXEC,
    ARJE_STEPS
};

/*
 * What a child reads of itself right before it becomes the payload, and sends as one or more ARJE_FACTS. Not read from
 * outside later: the payload may have changed it by then, or be gone.
 */
enum arje_fact {
    ARJE_FACT_STATUS = 1, /* the texts of /proc/self/status, limits, uid_map … */
    ARJE_FACT_LIMITS = 2,
    ARJE_FACT_MAPS = 4,
    ARJE_FACT_MOUNTS = 8,
    ARJE_FACT_TIME = 16,
    ARJE_FACT_CWD = 32,
    ARJE_FACT_NODENAME = 64, /* uname(2) */
    ARJE_FACT_WAIT = 128,    /* wait at the gate until the parent has read them */
    ARJE_FACT_NETWORK = 256, /* rtnetlink(7)'s answers about links, addresses and routes, in hexadecimal */
    ARJE_FACT_PRIORITY = 512, /* /proc/self/stat, ioprio_get(2) and sched_getscheduler(2) as numbers */
    ARJE_FACT_PROC = 1024     /* statfs(2)'s type of /proc and its device: a tenth of the price of all mounts */
};

enum arje_record_kind {
    ARJE_DEGRADED = 1, /* an optional step failed; the child goes on */
    ARJE_FATAL,        /* a step failed; the child ends */
    ARJE_MAPS,         /* the child is in its new user namespace and waits for its maps */
    ARJE_FACTS,        /* what the child is now; behind the record: name, NUL, text, NUL, and so on */
    ARJE_APART,        /* the early unshare is done: offsets may be written now */
    ARJE_WAITING,      /* all facts are sent; the child waits for the verdict on them */
    ARJE_HOT,          /* the next system call is execve, but for a seccomp filter that comes last */
    ARJE_EXEC_FAILED,
    ARJE_LISTENER, /* error: the descriptor with which the system calls of the child are to be answered from now on */
    ARJE_TRIED     /* landlock is in force; error: why its trial showed nothing, 0 when it was refused only afterwards */
};

/* How something is mounted (a of the mount ops). */
enum arje_mount {
    ARJE_MOUNT_MAKE = 1,      /* the mount point is made when it is missing */
    ARJE_MOUNT_MISSING = 2,   /* nothing is done when the source (BIND) or the mount point (others) is missing */
    ARJE_MOUNT_RECURSIVE = 4, /* with everything that is mounted below it */
    ARJE_MOUNT_BASE = 8,      /* it is the new root */
    ARJE_MOUNT_IN_PLACE = 16, /* READ_ONLY: the mount itself; else the place is covered with a read-only view of it */
    ARJE_MOUNT_COPY = 32      /* FILE: p is a path whose content is copied */
};

/*
 * One step for the child. UNSHARE: a = CLONE_NEWUSER or CLONE_NEW... flags. An op whose `needs` is the `slot` (1 to 63) of
 * one that failed is not tried: it fails with ECANCELED.
 */
struct arje_op {
    uint32_t step;
    uint32_t flags;
    uint32_t slot;
    uint32_t needs;
    uint64_t a;
    uint64_t b;
    const void *p;
    const void *q;
    const void *r;
};

/* What a landlock ruleset handles; behind it path_count rules for paths, then port_count for ports. */
struct arje_landlock {
    uint64_t fs;
    uint64_t net;
    uint64_t scoped;
    uint32_t path_count;
    uint32_t port_count;
    uint32_t try_open; /* 1: opening the path to try with try_value (O_...), if it could be, must be refused afterwards */
    uint32_t try_bind; /* 1: the same of binding the TCP port try_value */
    uint64_t try_value;
};

struct arje_landlock_rule {
    uint64_t access;
    uint64_t port;
};

/* What one spawn does. The arrays and strings belong to the caller and stay alive until the status channel says EOF. */
struct arje_plan {
    uint64_t clone_flags;   /* CLONE_NEW... of the clone call */
    uint64_t early_unshare; /* 0, or CLONE_NEWTIME: made by the child before the gate, entered behind it (Linux before 6.2) */
    int32_t cgroup_fd;      /* directory to be cloned into, or -1 */
    int32_t reaper_fd;      /* the static reaper for a pid namespace, or -1: then the child is the payload */
    int32_t reaper_death_signal;
    int32_t reaper_session; /* whether the reaper leaves the terminal, and the process group */
    int32_t idmap_fd; /* a user namespace whose maps the op IDMAP takes, or -1 */
    uint32_t apart;         /* in memory of its own: some changes of ids and namespaces ask for it, or touch the memory's owner */
    int32_t spare_net;  /* a net namespace that nobody was in yet, to be taken in place of a new one, or -1 */
    int32_t spare_user; /* the same for the UNSHARE of a user namespace: its maps are written already */
    int32_t joins[ARJE_JOINS]; /* namespaces to enter, in the order of the ARJE_JOIN steps, or -1 */
    uint32_t passed_count;
    const int32_t *passed;  /* descriptors that become 3, 4, ... of the payload */
    uint32_t pid_count;
    char *const *pids;      /* where the payload's pid, as it sees it, is written in its environment: room for ARJE_DIGITS */
    uint64_t nofile;        /* soft RLIMIT_NOFILE of the payload, or 0: the manager's, which it may have raised for itself */
    uint32_t op_count;
    const struct arje_op *ops;
    const char *const *paths; /* candidates for execve, NULL at the end */
    const char *const *argv;
    const char *const *envp;
};

struct arje_child {
    int32_t pid;
    int32_t pidfd;
    int32_t status_fd;  /* our end of the status channel and of the gate */
    int32_t verdict_fd; /* where the reaper writes how the payload ended, or -1 */
};

struct arje_record {
    uint32_t kind;
    uint32_t step;
    uint32_t op_index;
    int32_t error;
    int64_t monotonic_ns;
    char detail[ARJE_DETAIL]; /* name of the system call */
};

/* A record as it arrives: its sender's pid as we see it, and what it carries. */
struct arje_message {
    struct arje_record record;
    char data[ARJE_FACTS_SIZE];
    uint32_t length;
    int32_t pid;
};

/*
 * A system call that waits for an answer (SECCOMP_RET_USER_NOTIF of seccomp_unotify(2)); pid as we see it. The telling of
 * the listener itself passes unseen: it is a sendto(2) without an address whose length is ARJE_UNSEEN.
 */
#define ARJE_UNSEEN 0x41524a45
struct arje_notice {
    uint64_t id;
    uint64_t args[6];
    uint32_t pid;
    int32_t number;
};

/* What the reaper writes: waitid(2)'s si_code and si_status of the payload. */
struct arje_verdict {
    int32_t code;
    int32_t status;
};
