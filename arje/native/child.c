/*
 * The child's path, from clone3 to execve. It fits on a page so that it can be checked by eye. Its rules:
 *
 *  1. We run in the parent's memory, on a stack of our own: raw system calls only. No libc, no malloc, no return.
 *  2. Nothing that the parent can see is written, but for our own stack, flight->exec_error and plan->pids.
 *  3. Signals are blocked until every disposition is the default; the payload starts with SigBlk, SigIgn, SigCgt zero.
 *  4. Every foreign descriptor is closed before the gate is waited for, so that no sibling's gate is kept open by us.
 *  5. EOF at the gate means that the parent is gone: we leave.
 *  6. A failing step is told on the status channel with its errno; an exit code is never the message.
 *  7. After a seccomp filter that comes last only execve is sure to be allowed: HOT is told before it.
 *  8. With a pid namespace we are its pid 1: the payload is cloned below us, and we become the static reaper.
 */
#include <linux/fcntl.h> /* AT_EMPTY_PATH; not with <fcntl.h> */
#include <linux/futex.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>

#include "child.h"
#include "ops.h"
#include "raw.h"

static void leave(void) __attribute__((noreturn));
static void leave(void) {
    for (int tries = 0; tries < 2; tries++)
        raw1(__NR_exit_group, 127);
    for (;;)
        __builtin_trap(); /* a filter denies even that */
}

static void fill(struct arje_record *out, uint32_t kind, uint32_t step, uint32_t index, long error, const char *detail) {
    volatile struct arje_record *record = out; /* volatile: or gcc makes the loops calls of memset and memcpy */
    struct timespec now;
    raw2(__NR_clock_gettime, CLOCK_MONOTONIC, &now);
    record->kind = kind;
    record->step = step;
    record->op_index = index;
    record->error = (int32_t)-error;
    record->monotonic_ns = now.tv_sec * 1000000000L + now.tv_nsec;
    int end = 0;
    for (int i = 0; i < ARJE_DETAIL; i++) {
        end = end || detail[i] == '\0' || i == ARJE_DETAIL - 1;
        record->detail[i] = end ? '\0' : detail[i];
    }
}

/* What cannot be told must not be done: a parent that does not hear of its maps, or of a loss, would wait or be wrong. */
static void tell(int status, uint32_t kind, uint32_t step, uint32_t index, long error, const char *detail) {
    struct arje_record record;
    fill(&record, kind, step, index, error, detail);
    long sent;
    do
        sent = raw6(__NR_sendto, status, (long)&record, sizeof record, MSG_NOSIGNAL, 0, 0);
    while (sent == -EINTR);
    if (sent < 0)
        leave();
}

static void fail(int status, uint32_t step, uint32_t index, long error, const char *detail) __attribute__((noreturn));
static void fail(int status, uint32_t step, uint32_t index, long error, const char *detail) {
    tell(status, ARJE_FATAL, step, index, error, detail);
    leave();
}

/* Wait until the parent lets us pass; leave when it is gone. */
static void gate(int status) {
    char byte;
    long got;
    do
        got = raw6(__NR_recvfrom, status, (long)&byte, 1, 0, 0, 0);
    while (got == -EINTR);
    if (got != 1)
        leave();
}

/* CLONE_CLEAR_SIGHAND left SIG_IGN alone (Python ignores SIGPIPE and SIGXFSZ). */
static void reset_signals(void) {
    struct {
        uint64_t handler, flags, restorer, mask;
    } action = {0, 0, 0, 0};
    for (int number = 1; number <= 64; number++)
        if (number != SIGKILL && number != SIGSTOP)
            raw4(__NR_rt_sigaction, number, &action, 0, 8);
}

/* In the payload alone: what a pid 1 does not block before it is the reaper is lost (pid_namespaces(7)). */
static void unblock_signals(int status) {
    uint64_t none = 0;
    long error = raw4(__NR_rt_sigprocmask, SIG_SETMASK, &none, 0, 8);
    if (error < 0)
        fail(status, ARJE_SIGNALS, 0, error, "rt_sigprocmask");
}

static int move(struct arje_flight *flight, int from, int to, uint32_t index) {
    long answer = raw3(__NR_dup3, from, to, O_CLOEXEC);
    if (answer == -EBADF && raw2(__NR_fcntl, from, F_GETFD) >= 0)
        answer = -EMFILE; /* dup3(2) says EBADF for a number beyond RLIMIT_NOFILE */
    if (answer < 0)
        fail(flight->status, ARJE_DESCRIPTORS, index, answer, "dup3");
    return to;
}

/* Moved out of the way first, so that 0 and 1 may change places; what is left is 0, 1, 2, the passed ones and
 * close-on-exec copies. */
static int take_descriptors(struct arje_flight *flight) {
    int reaper = flight->plan->reaper_fd, passed = (int)flight->plan->passed_count;
    enum { FIXED = 10, ALL = FIXED + ARJE_JOINS };
    int source[ALL] = {flight->stdio[0], flight->stdio[1],       flight->stdio[2],  flight->status,     flight->verdict,
                       reaper,           flight->plan->idmap_fd, flight->spare_net, flight->spare_user, flight->ready};
    int moved[ALL], highest = FIXED + passed, next;
    for (int i = FIXED; i < ALL; i++)
        *(volatile int *)&source[i] = flight->joins[i - FIXED];
    for (int i = 0; i < ALL; i++)
        highest = source[i] > highest ? source[i] : highest;
    for (int i = 0; i < passed; i++)
        highest = flight->plan->passed[i] > highest ? flight->plan->passed[i] : highest;
    next = highest + 1;
    for (int i = 0; i < ALL; i++)
        moved[i] = source[i] < 0 ? -1 : move(flight, source[i], next++, (uint32_t)i);
    int first = next;
    for (int i = 0; i < passed; i++)
        move(flight, flight->plan->passed[i], next++, (uint32_t)(ALL + i));
    flight->status = moved[3];
    flight->verdict = moved[4];
    flight->idmap = moved[6];
    flight->spare_net = moved[7];
    flight->spare_user = moved[8];
    flight->ready = moved[9];
    for (int i = FIXED; i < ALL; i++)
        *(volatile int *)&flight->joins[i - FIXED] = moved[i];
    long answer = raw3(__NR_close_range, 0, highest, 0);
    if (answer == 0)
        answer = raw3(__NR_close_range, next, ~0U, 0);
    for (int i = 0; i < 3 && answer >= 0; i++)
        answer = raw3(__NR_dup3, moved[i], i, 0);
    for (int i = 0; i < passed && answer >= 0; i++)
        answer = raw3(__NR_dup3, first + i, 3 + i, 0);
    if (answer < 0)
        fail(flight->status, ARJE_DESCRIPTORS, 0, answer, "close_range");
    for (int i = 0; i < 3; i++)
        raw1(__NR_close, moved[i]);
    if (passed)
        raw3(__NR_close_range, first, first + passed - 1, 0);
    return moved[5];
}

/* Tell what we are now; wait for the parent's verdict when the plan says so. */
static long report(int status, int proc, const struct arje_op *op, uint32_t index, const char **what) {
    struct arje_record record;
    fill(&record, ARJE_FACTS, ARJE_REPORT, index, 0, "");
    *what = "open /proc/self";
    if (proc < 0)
        return proc;
    long error = arje_report(status, proc, op->a, &record, what);
    if (error >= 0 && (op->a & ARJE_FACT_WAIT)) {
        tell(status, ARJE_WAITING, ARJE_REPORT, index, 0, "");
        gate(status);
    }
    return error;
}

/* The call that tells of the listener cannot wait for an answer: nobody has the listener yet. */
static long observe(int status, const struct arje_op *op, uint32_t index, const char **syscall) {
    struct arje_record record;
    fill(&record, ARJE_LISTENER, ARJE_OBSERVE, index, 0, "");
    long fd = arje_do_observe(op, syscall);
    if (fd < 0)
        return fd;
    *(volatile int32_t *)&record.error = (int32_t)fd;
    *syscall = "sendto";
    long sent = raw6(__NR_sendto, status, (long)&record, sizeof record, MSG_NOSIGNAL, 0, ARJE_UNSEEN);
    return sent < 0 ? sent : 0;
}

/* What was tried is told, or that it showed nothing. */
static long landlock(int status, const struct arje_op *op, uint32_t index, const char **syscall) {
    long tried;
    long error = arje_do_landlock(op, &tried, syscall);
    if (error >= 0 && tried <= 0)
        tell(status, ARJE_TRIED, ARJE_LANDLOCK, index, tried, "");
    return error;
}

static long join(struct arje_flight *flight, const struct arje_op *op, const char **syscall) {
    *syscall = "setns";
    return raw2(__NR_setns, flight->joins[*(const uint32_t *)op->p % ARJE_JOINS], op->a);
}

/*
 * A new task often waits on the processor of its parent while another one idles. The payload has more to do than its leader,
 * which becomes the reaper while the payload reports and waits for its verdict: 60 µs of a start. Not for longer than a
 * start takes: a payload that was killed wakes nobody.
 */
static void step_aside(struct arje_flight *flight) {
    struct timespec longest = {.tv_nsec = 1000000};
    raw4(__NR_futex, &flight->aside, FUTEX_WAIT, 1, &longest);
}

static void call_leader(struct arje_flight *flight) {
    volatile int *aside = &flight->aside;
    if (*aside) {
        *aside = 0;
        raw3(__NR_futex, aside, FUTEX_WAKE, 1);
    }
}

/* Of a new user namespace the parent writes the maps; a spare has them. */
static long unshare(struct arje_flight *flight, const struct arje_op *op, uint32_t index, const char **syscall) {
    if (op->a == CLONE_NEWUSER && flight->spare_user >= 0 && raw2(__NR_setns, flight->spare_user, op->a) == 0)
        return 0;
    long error = arje_op_run(op, syscall);
    if (error == 0 && op->a == CLONE_NEWUSER) {
        call_leader(flight);
        tell(flight->status, ARJE_MAPS, op->step, index, 0, "");
        gate(flight->status);
    }
    return error;
}

/*
 * Nothing of the payload runs before its reaper does, which says so itself: all that the kernel tells of an exec (the tid
 * word, close-on-exec) it tells of a death as well, and before it kills the rest of the pid namespace. So one who dies
 * says nothing, and we are killed where we wait.
 */
static void await_reaper(struct arje_flight *flight) {
    uint64_t count;
    long got;
    call_leader(flight);
    if (flight->ready < 0)
        return;
    do
        got = raw3(__NR_read, flight->ready, &count, sizeof count);
    while (got == -EINTR);
    if (got < 0)
        fail(flight->status, ARJE_REAPER, 0, got, "read");
}

static void tell_hot(struct arje_flight *flight) {
    await_reaper(flight);
    tell(flight->status, ARJE_HOT, ARJE_EXEC, 0, 0, "");
}

static void payload(void *argument) {
    struct arje_flight *flight = argument;
    const struct arje_plan *plan = flight->plan;
    int status = flight->status;
    unblock_signals(status);
    arje_write_pids(plan);
    long limited = arje_limit_descriptors(plan);
    if (limited < 0)
        fail(status, ARJE_RLIMIT, 0, limited, "prlimit64");
    /* Ours while it can be seen: a mount or a new root may hide it. */
    int proc = (int)raw4(__NR_openat, AT_FDCWD, "/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    uint64_t failed = 0; /* the slots of ops that failed */
    int hot = 0;
    for (uint32_t i = 0; i < plan->op_count; i++) {
        const struct arje_op *op = &plan->ops[i];
        const char *syscall = "";
        if (op->step == ARJE_REPORT)
            call_leader(flight);
        if (op->step == ARJE_SECCOMP && i + 1 == plan->op_count) {
            tell_hot(flight);
            hot = 1;
        }
        long error = (failed >> op->needs) & 1         ? -ECANCELED
                     : op->step == ARJE_REPORT         ? report(status, proc, op, i, &syscall)
                     : op->step == ARJE_IDMAP          ? arje_do_idmap(op, flight->idmap, &syscall)
                     : op->step == ARJE_UNSHARE        ? unshare(flight, op, i, &syscall)
                     : op->step == ARJE_JOIN           ? join(flight, op, &syscall)
                     : op->step == ARJE_LANDLOCK       ? landlock(status, op, i, &syscall)
                     : op->step == ARJE_OBSERVE        ? observe(status, op, i, &syscall)
                     : op->step == ARJE_NO_NESTED_USER ? arje_no_nested_user(proc, &syscall)
                                                       : arje_op_run(op, &syscall);
        if (error < -4095)
            fail(status, op->step, i, error - ARJE_BEYOND(0), syscall);
        if (error < 0 && op->slot)
            failed |= (uint64_t)1 << op->slot;
        if (error < 0 && !(op->flags & ARJE_OPTIONAL))
            fail(status, op->step, i, error, syscall);
        if (error < 0)
            tell(status, ARJE_DEGRADED, op->step, i, error, syscall);
    }
    if (!hot)
        tell_hot(flight);
    long error = -ENOENT;
    for (const char *const *path = plan->paths; *path != 0; path++) {
        long answer = raw3(__NR_execve, *path, plan->argv, plan->envp);
        if (error != -EACCES || (answer != -ENOENT && answer != -ENOTDIR))
            error = answer;
        if (answer != -ENOENT && answer != -ENOTDIR && answer != -EACCES)
            break;
    }
    *(volatile int32_t *)&flight->exec_error = (int32_t)-error;
    tell(status, ARJE_EXEC_FAILED, ARJE_EXEC, 0, error, "execve");
    leave();
}

/*
 * Who may write into the reaper would have its terminal; who kills the manager's process group means the manager. A session
 * is the way out of both, and a scheduling group (sched(7), autogroup) in which a busy machine lets it wait for long. Who has
 * no terminal is given none later (ioctl_tty(2)): a process group is enough then. exec closes what is opened here.
 */
static void leave_terminal(void) {
    long tty = raw4(__NR_openat, AT_FDCWD, "/dev/tty", O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0);
    if (tty != -ENXIO || raw2(__NR_setpgid, 0, 0) < 0)
        raw0(__NR_setsid);
}

/* Pid 1 of the new namespace: start the payload on the second stack, then become the reaper. */
static void become_reaper(struct arje_flight *flight, int reaper) {
    const struct arje_plan *plan = flight->plan;
    int pivots = 0, filtered = 0;
    for (uint32_t i = 0; i < plan->op_count; i++) {
        uint32_t step = plan->ops[i].step;
        pivots |= step == ARJE_PIVOT_ROOT;
        filtered |= step == ARJE_SECCOMP || step == ARJE_LOCK_PERSONALITY || step == ARJE_OBSERVE;
    }
    /* With the payload's file system context, until it leaves it, or our root would stay the old one: /proc/1/root. */
    struct raw_clone_args args = {.flags = CLONE_VM | (pivots ? CLONE_FS : 0),
                                  .exit_signal = SIGCHLD,
                                  .stack = (uint64_t)flight->inner_stack - ARJE_STACK,
                                  .stack_size = ARJE_STACK};
    if (plan->reaper_session)
        leave_terminal();
    if (plan->reaper_death_signal)
        raw2(__NR_prctl, PR_SET_PDEATHSIG, plan->reaper_death_signal);
    flight->aside = 1;
    long pid = raw_clone3(&args, sizeof args, payload, flight);
    if (pid < 0)
        fail(flight->status, ARJE_REAPER, 0, pid, "clone3");
    step_aside(flight);
    /* What the payload joins we join, or it would find by /proc/1/ns what it was taken from. Whether it may, it says. */
    for (uint32_t i = 0; i < plan->op_count; i++)
        if (plan->ops[i].step == ARJE_JOIN && plan->ops[i].a != CLONE_NEWUSER)
            raw2(__NR_setns, flight->joins[*(const uint32_t *)plan->ops[i].p % ARJE_JOINS], plan->ops[i].a);
    /* The reaper knows them as 0 and 3: any limit that leaves room for the verdict leaves room for both. */
    long error = raw3(__NR_dup3, flight->ready, 0, 0);
    if (error >= 0)
        error = raw3(__NR_dup3, flight->verdict, 3, 0);
    const char *argv[] = {"arje-reaper", 0};
    const char *envp[] = {0};
    raw3(__NR_close_range, 1, 2, 0);
    if (plan->passed_count > 1)
        raw3(__NR_close_range, 4, 2 + plan->passed_count, 0);
    if (filtered)
        arje_confine_reaper();
    if (error >= 0)
        error = raw5(__NR_execveat, reaper, "", argv, envp, AT_EMPTY_PATH);
    fail(flight->status, ARJE_REAPER, 0, error, "execveat");
}

/*
 * Before Linux 6.2 clone3 with CLONE_NEWTIME puts the child into the namespace at once, and a namespace that somebody is in
 * takes no offsets (EACCES); execve does not move an unsharing process either. So: make it, let the parent write, enter it
 * by setns, which wants a process of one thread: this child was cloned without CLONE_VM.
 */
static void make_time_namespace(int status) {
    long error = raw1(__NR_unshare, CLONE_NEWTIME);
    if (error < 0)
        fail(status, ARJE_UNSHARE, 0, error, "unshare");
    tell(status, ARJE_APART, ARJE_UNSHARE, 0, 0, "");
}

static void enter_time_namespace(int status) {
    long fd = raw4(__NR_openat, AT_FDCWD, "/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC, 0);
    long error = fd < 0 ? fd : raw2(__NR_setns, fd, CLONE_NEWTIME);
    if (error < 0)
        fail(status, ARJE_UNSHARE, 0, error, "setns");
    raw1(__NR_close, fd);
}

/* Before the leader becomes the reaper: it belongs there as well. One that cannot be entered is replaced by a new one. */
static void enter_spare_net(struct arje_flight *flight) {
    if (flight->spare_net < 0 || raw2(__NR_setns, flight->spare_net, CLONE_NEWNET) == 0)
        return;
    long error = raw1(__NR_unshare, CLONE_NEWNET);
    if (error < 0)
        fail(flight->status, ARJE_UNSHARE, 0, error, "unshare");
}

void arje_child(void *argument) {
    struct arje_flight *flight = argument;
    reset_signals();
    int reaper = take_descriptors(flight);
    if (flight->plan->early_unshare)
        make_time_namespace(flight->status);
    enter_spare_net(flight);
    gate(flight->status);
    if (flight->plan->early_unshare)
        enter_time_namespace(flight->status);
    raw1(__NR_chdir, "/");
    if (reaper >= 0)
        become_reaper(flight, reaper);
    else
        payload(flight);
    leave();
}
