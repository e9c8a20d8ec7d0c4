/*
 * The ABI between incarnate/ (which plans) and the trampoline (which acts). Read twice: by the C compiler, and by cffi as
 * its cdef; so it holds plain declarations only. Change the layout, and ARJE_ABI with it.
 */

#define ARJE_ABI 6
#define ARJE_OPTIONAL 1
#define ARJE_DETAIL 32
#define ARJE_FACTS_SIZE 8192

/* The steps of the child, in the order of arje.incarnation.Step from SIGNALS on; a test holds the two together. */
enum arje_step {
    ARJE_SIGNALS,
    ARJE_DESCRIPTORS,
    ARJE_UNSHARE,
    ARJE_MOUNT_NAMESPACE, /* a: inode of the manager's mount namespace, which this must not be */
    ARJE_MOUNT_PRIVATE,
    ARJE_HOSTNAME, /* p: name, a: its length */
    ARJE_LOOPBACK,
    ARJE_MOUNT_PROC,    /* p: mount point, a: make it when missing */
    ARJE_MOUNT_OVERLAY, /* p: merged, q: options */
    ARJE_PIVOT_ROOT,    /* p: new root, q: directory for the old root or "" */
    ARJE_SESSION,
    ARJE_UMASK, /* a: mask */
    ARJE_AFFINITY,
    ARJE_RLIMIT,
    ARJE_SCHEDULER, /* a: policy and flags of sched_setscheduler(2), p: its priority, or a struct sched_attr for a deadline */
    ARJE_GROUPS, /* p: array of uint32_t, a: how many */
    ARJE_GID,    /* a: id */
    ARJE_UID,    /* a: id */
    ARJE_PARENT_DEATH_SIGNAL, /* a: signal */
    ARJE_CHDIR,               /* p: path */
    ARJE_REPORT,              /* a: ARJE_FACT_... bits */
    ARJE_NO_NEW_PRIVS,
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
    ARJE_FACT_PRIORITY = 4096 /* /proc/self/stat, ioprio_get(2) and sched_getscheduler(2) as numbers */
};

enum arje_record_kind {
    ARJE_DEGRADED = 1, /* an optional step failed; the child goes on */
    ARJE_FATAL,        /* a step failed; the child ends */
    ARJE_MAPS,         /* the child is in its new user namespace and waits for its maps */
    ARJE_FACTS,        /* what the child is now; behind the record: name, NUL, text, NUL, and so on */
    ARJE_APART,        /* the early unshare is done: offsets may be written now */
    ARJE_WAITING,      /* all facts are sent; the child waits for the verdict on them */
    ARJE_READY,        /* the child is at its gate (say_ready) */
    ARJE_HOT,          /* the next system call is execve */
    ARJE_EXEC_FAILED
};

/* One step for the child. UNSHARE: a = CLONE_NEWUSER or CLONE_NEW... flags. */
struct arje_op {
    uint32_t step;
    uint32_t flags;
    uint64_t a;
    const void *p;
    const void *q;
};

/* What one spawn does. The arrays and strings belong to the caller and stay alive until the status channel says EOF. */
struct arje_plan {
    uint64_t clone_flags;   /* CLONE_NEW... of the clone call */
    uint64_t early_unshare; /* 0, or CLONE_NEWTIME: made by the child before the gate, entered behind it (Linux before 6.2) */
    int32_t cgroup_fd;      /* directory to be cloned into, or -1 */
    int32_t reaper_fd;      /* the static reaper for a pid namespace, or -1: then the child is the payload */
    int32_t reaper_death_signal;
    int32_t reaper_session; /* whether the reaper leaves the session, and so the terminal */
    uint32_t say_ready;     /* tell ARJE_READY at the gate */
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

/* What the reaper writes: waitid(2)'s si_code and si_status of the payload. */
struct arje_verdict {
    int32_t code;
    int32_t status;
};
