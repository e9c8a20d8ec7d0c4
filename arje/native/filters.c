/*
 * The ops that confine for good: landlock(7) and seccomp(2). Rules of child.c hold. What is asked for was fitted to this
 * kernel by the planner; here it is handed over, and tried where something can be tried without a trace.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/fcntl.h> /* O_PATH without _GNU_SOURCE */
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "ops.h"
#include "functions.h" /* after abi.h, which ops.h brings */
#include "raw.h"

enum {
    FOR_FILES = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |
                1 << 14 /* TRUNCATE */ | 1 << 15 /* IOCTL_DEV */,
    NEW_LISTENER = 1 << 3,
    WAIT_KILLABLE_RECV = 1 << 5, /* Linux 5.19; the headers may be older */
    RULE_NET_PORT = 2, /* Linux 6.7; the headers may be older */
};

int arje_landlock_abi(void) {
    return (int)raw3(__NR_landlock_create_ruleset, 0, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

int arje_seccomp_knows(uint32_t action) {
    return (int)raw3(__NR_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);
}

/* A step of its own: a path that is missing is the card's mistake, whether or not the ruleset may be done without. */
long arje_do_landlock_path(const struct arje_op *op, const char **syscall) {
    *syscall = "openat";
    long fd = raw4(__NR_openat, AT_FDCWD, op->p, O_PATH | O_CLOEXEC, 0);
    if (fd >= 0)
        raw1(__NR_close, fd);
    return fd < 0 ? fd : 0;
}

/* Allow what is below a path; one that is missing was written with a dash. */
static long allow_path(long ruleset, const char *path, uint64_t access) {
    struct {
        uint64_t access;
        int32_t parent;
    } __attribute__((packed)) rule = {access, 0};
    long fd = raw4(__NR_openat, AT_FDCWD, path, O_PATH | O_CLOEXEC, 0);
    if (fd < 0)
        return fd == -ENOENT || fd == -ENOTDIR ? 0 : fd;
    rule.parent = (int32_t)fd;
    long answer = raw4(__NR_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    if (answer == -EINVAL && (access & FOR_FILES)) { /* it is no directory */
        rule.access = access & FOR_FILES;
        answer = raw4(__NR_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    }
    raw1(__NR_close, fd);
    return answer;
}

static long add_rules(long ruleset, const struct arje_landlock *asked, const char *path, const char **syscall) {
    const struct arje_landlock_rule *rule = (const struct arje_landlock_rule *)(asked + 1);
    for (uint32_t i = 0; i < asked->path_count; i++, rule++) {
        TRY(path, allow_path(ruleset, path, rule->access));
        path += raw_length(path) + 1;
    }
    for (uint32_t i = 0; i < asked->port_count; i++, rule++)
        TRY("landlock_add_rule port", raw4(__NR_landlock_add_rule, ruleset, RULE_NET_PORT, rule, 0));
    return 0;
}

/* Do what is possible before, and must be refused afterwards, without a trace: -errno when it is refused. */
static long try(const struct arje_landlock *asked, const char *path) {
    long fd = -1, answer = -1;
    if (asked->try_open)
        fd = answer = raw4(__NR_openat, AT_FDCWD, path, asked->try_value | O_CLOEXEC, 0);
    if (asked->try_bind) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)asked->try_value)};
        fd = raw3(__NR_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        answer = fd < 0 ? fd : raw3(__NR_bind, fd, &address, sizeof address);
    }
    if (fd >= 0)
        raw1(__NR_close, fd);
    return answer < 0 ? answer : 0;
}

/*
 * Only what was possible before and is EACCES afterwards was refused by landlock: the path may be missing in a new root, its
 * mode may be against us, somebody may have the port. Then *tried is the -errno that says so; 1 when nothing is to be tried.
 */
long arje_do_landlock(const struct arje_op *op, long *tried, const char **syscall) {
    const struct arje_landlock *asked = op->p;
    const char *path = op->q;
    volatile long *shown = tried;
    *shown = asked->try_open || asked->try_bind ? try(asked, path) : 1;
    *syscall = "landlock_create_ruleset";
    /* fs, net and scoped are struct landlock_ruleset_attr; an older kernel takes the longer one when its rest is 0 */
    long ruleset = raw3(__NR_landlock_create_ruleset, asked, 3 * sizeof(uint64_t), 0);
    if (ruleset < 0)
        return ruleset;
    long answer = add_rules(ruleset, asked, path + raw_length(path) + 1, syscall);
    if (answer >= 0) {
        *syscall = "landlock_restrict_self";
        answer = raw2(__NR_landlock_restrict_self, ruleset, 0);
    }
    raw1(__NR_close, ruleset);
    if (answer >= 0 && *shown == 0) {
        long again = try(asked, path);
        *syscall = "landlock, tried again";
        answer = again == 0 ? -EIO : 0;
        *shown = again == -EACCES ? 0 : again;
    }
    return answer;
}

/* Without WAIT_KILLABLE_RECV (Linux 5.19) a signal interrupts a call that waits for its answer. */
long arje_do_observe(const struct arje_op *op, const char **syscall) {
    struct sock_fprog program = {.len = (unsigned short)op->a, .filter = (struct sock_filter *)op->p};
    *syscall = "seccomp SECCOMP_FILTER_FLAG_NEW_LISTENER";
    long fd = raw3(__NR_seccomp, SECCOMP_SET_MODE_FILTER, NEW_LISTENER | WAIT_KILLABLE_RECV, &program);
    if (fd == -EINVAL)
        fd = raw3(__NR_seccomp, SECCOMP_SET_MODE_FILTER, NEW_LISTENER, &program);
    return fd;
}

long arje_do_seccomp(const struct arje_op *op, const char **syscall) {
    struct sock_fprog program = {.len = (unsigned short)op->a, .filter = (struct sock_filter *)op->p};
    TRY("seccomp", raw3(__NR_seccomp, SECCOMP_SET_MODE_FILTER, op->a >> 32, &program));
    *syscall = "prctl PR_GET_SECCOMP";
    return op->q == 0 || raw1(__NR_prctl, PR_GET_SECCOMP) == SECCOMP_MODE_FILTER ? 0 : -EIO;
}

#if defined(__x86_64__)
enum { OURS = AUDIT_ARCH_X86_64 };
#else
enum { OURS = AUDIT_ARCH_AARCH64 };
#endif

/*
 * A payload of the reaper's user and rights may write into it (/proc/1/mem, ptrace(2)): what the payload is denied must be
 * denied to its reaper, or that would be the way around a filter. The first five are the reaper's, the others what it still
 * takes to become it, or to say why not. A kernel without seccomp has no filter to go around.
 */
void arje_confine_reaper(void) {
#define PASS(name, rest) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, rest, 0)
    static const struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OURS, 0, 10),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        PASS(waitid, 9),
        PASS(rt_sigtimedwait, 8),
        PASS(kill, 7),
        PASS(write, 6),
        PASS(exit_group, 5),
        PASS(execveat, 4),
        PASS(rt_sigprocmask, 3),
        PASS(sendto, 2),
        PASS(clock_gettime, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
#undef PASS
    struct sock_fprog program = {sizeof filter / sizeof filter[0], (struct sock_filter *)filter};
    raw5(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    raw3(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}
