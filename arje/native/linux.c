/* Small doors to Linux that Python's standard library does not have. Errors come back as negative errno. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "functions.h"
#include "raw.h"

static int answer_of(int result) {
    return result < 0 ? -errno : result;
}

/* Fork-like (no CLONE_VM): the child owns a copy of everything and only leaves. */
int arje_probe_clone(uint64_t flags) {
    struct raw_clone_args args = {.flags = flags, .exit_signal = SIGCHLD};
    uint64_t all = ~(uint64_t)0, before;
    raw4(__NR_rt_sigprocmask, SIG_SETMASK, &all, &before, 8);
    long pid = raw2(__NR_clone3, &args, sizeof args);
    if (pid == 0)
        for (;;)
            raw1(__NR_exit_group, 0);
    raw4(__NR_rt_sigprocmask, SIG_SETMASK, &before, NULL, 8);
    if (pid < 0)
        return (int)pid;
    siginfo_t info;
    while (waitid(P_PID, (id_t)pid, &info, WEXITED) != 0 && errno == EINTR)
        ;
    return 0;
}

int arje_signalfd(const int *signals, int count) {
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < count; i++)
        if (sigaddset(&set, signals[i]) != 0)
            return -errno;
    return answer_of(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

int arje_read_signals(int fd, int *out, int capacity) {
    struct signalfd_siginfo info[16];
    int room = capacity < 16 ? capacity : 16;
    ssize_t got = read(fd, info, (size_t)room * sizeof info[0]);
    if (got < 0)
        return -errno;
    int count = (int)(got / (ssize_t)sizeof info[0]);
    for (int i = 0; i < count; i++) {
        out[3 * i] = (int)info[i].ssi_signo;
        out[3 * i + 1] = (int)info[i].ssi_pid;
        out[3 * i + 2] = (int)info[i].ssi_uid;
    }
    return count;
}

/* A timer that is never due: setting the clock, and waking from a suspend, cancel it (timerfd_create(2)). */
int arje_clock_watch(void) {
    struct itimerspec never = {.it_value = {.tv_sec = INT64_MAX / 1000000000}};
    int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (fd >= 0 && timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) != 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return answer_of(fd);
}

int arje_inotify_init(void) {
    return answer_of(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
}

int arje_inotify_add(int fd, const char *path, uint32_t mask) {
    return answer_of(inotify_add_watch(fd, path, mask));
}

int arje_dumpable(int yes) {
    return answer_of(prctl(PR_SET_DUMPABLE, yes, 0, 0, 0));
}

int arje_subreaper(void) {
    return answer_of(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
}

/* ioprio_set(2); glibc has no wrappers. */
int arje_ioprio_get(int tid) {
    return (int)raw2(__NR_ioprio_get, IOPRIO_WHO_PROCESS, tid);
}

int arje_ioprio_set(int tid, int value) {
    return (int)raw3(__NR_ioprio_set, IOPRIO_WHO_PROCESS, tid, value);
}

int arje_setns(int fd, int kind) {
    return answer_of(setns(fd, kind));
}

/* mq_open(3) of libc wants librt on older systems; the call is the same. */
int arje_mq_open(const char *name, uint32_t mode, int64_t messages, int64_t size) {
    struct mq_attr attributes = {.mq_maxmsg = (long)messages, .mq_msgsize = (long)size};
    int flags = O_RDWR | O_CREAT | O_NONBLOCK | O_CLOEXEC;
    return (int)raw4(__NR_mq_open, name, flags, mode, messages ? &attributes : NULL);
}

int arje_mq_unlink(const char *name) {
    return (int)raw1(__NR_mq_unlink, name);
}
