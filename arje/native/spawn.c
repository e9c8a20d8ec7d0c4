/*
 * The parent's half: one call makes the channel, clones the child into its namespaces and cgroup, and comes back while the
 * child waits at its gate. Not CLONE_VFORK: the parent writes id maps meanwhile. All signals are blocked around the
 * clone, so that no handler of ours ever runs in the child.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "functions.h"
#include "raw.h"

enum { GUARD = 4096 * 16, MAPPING = 2 * (GUARD + ARJE_STACK) + GUARD }; /* 64 KiB guards: right for every page size */

int arje_abi(void) {
    return ARJE_ABI;
}

void *arje_stack_new(void) {
    /* shared: what the child writes into its flight is seen here, even when it was cloned without CLONE_VM */
    char *base = mmap(NULL, MAPPING, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    if (mprotect(base + GUARD, ARJE_STACK, PROT_READ | PROT_WRITE) != 0 ||
        mprotect(base + 2 * GUARD + ARJE_STACK, ARJE_STACK, PROT_READ | PROT_WRITE) != 0) {
        munmap(base, MAPPING);
        return NULL;
    }
    return base;
}

void arje_stack_free(void *stack) {
    munmap(stack, MAPPING);
}

static void close_two(int one, int other) {
    if (one >= 0)
        close(one);
    if (other >= 0)
        close(other);
}

static long clone_child(const struct arje_plan *plan, char *stack, struct arje_flight *flight, int32_t *pidfd) {
    struct raw_clone_args args = {
        .flags = (plan->early_unshare || plan->apart ? 0 : CLONE_VM) | CLONE_PIDFD | CLONE_CLEAR_SIGHAND | plan->clone_flags,
        .pidfd = (uint64_t)(uintptr_t)pidfd,
        .exit_signal = SIGCHLD,
        .stack = (uint64_t)(uintptr_t)(stack + GUARD),
        .stack_size = ARJE_STACK - 1024, /* the flight lies in the last kilobyte */
    };
    if (plan->cgroup_fd >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)plan->cgroup_fd;
    }
    uint64_t all = ~(uint64_t)0, before;
    raw4(__NR_rt_sigprocmask, SIG_SETMASK, &all, &before, 8);
    long pid = raw_clone3(&args, sizeof args, arje_child, flight);
    raw4(__NR_rt_sigprocmask, SIG_SETMASK, &before, NULL, 8);
    return pid;
}

static struct arje_flight *flight_of(void *stack) {
    return (struct arje_flight *)((char *)stack + GUARD + ARJE_STACK - 1024);
}

int arje_exec_error(void *stack) {
    return flight_of(stack)->exec_error;
}

int arje_spawn(const struct arje_plan *plan, void *stack, const int *stdio, struct arje_child *child) {
    int channel[2], verdict[2] = {-1, -1}, ready = -1, on = 1;
    char *base = stack;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) != 0)
        return -errno;
    if (setsockopt(channel[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
        (plan->reaper_fd >= 0 && pipe2(verdict, O_CLOEXEC | O_NONBLOCK) != 0) ||
        (plan->reaper_fd >= 0 && (ready = eventfd(0, EFD_CLOEXEC)) < 0)) {
        int error = errno;
        close_two(channel[0], channel[1]);
        close_two(verdict[0], verdict[1]);
        return -error;
    }
    struct arje_flight *flight = flight_of(stack);
    flight->plan = plan;
    memcpy(flight->stdio, stdio, sizeof flight->stdio);
    memcpy(flight->joins, plan->joins, sizeof flight->joins);
    flight->status = channel[1];
    flight->verdict = verdict[1];
    flight->ready = ready;
    flight->idmap = -1;
    flight->spare_net = plan->spare_net;
    flight->spare_user = plan->spare_user;
    flight->inner_stack = base + 2 * (GUARD + ARJE_STACK);
    flight->aside = flight->exec_error = 0;
    int32_t pidfd = -1;
    long pid = clone_child(plan, base, flight, &pidfd);
    close_two(channel[1], verdict[1]);
    close_two(ready, -1);
    if (pid < 0) {
        close_two(channel[0], verdict[0]);
        return (int)pid;
    }
    *child = (struct arje_child){(int32_t)pid, pidfd, channel[0], verdict[0]};
    return 0;
}

int arje_release(int status_fd) {
    ssize_t sent;
    do
        sent = send(status_fd, "", 1, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

int arje_receive(int status_fd, int block, struct arje_message *message) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct iovec data[2] = {{&message->record, sizeof message->record}, {message->data, sizeof message->data}};
    struct msghdr arriving = {.msg_iov = data, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(status_fd, &arriving, MSG_CMSG_CLOEXEC | (block ? 0 : MSG_DONTWAIT));
    if (got < 0 && errno == ECONNRESET) /* told once: it left without reading its release; behind it are its last words */
        got = recvmsg(status_fd, &arriving, MSG_CMSG_CLOEXEC | (block ? 0 : MSG_DONTWAIT));
    if (got < 0)
        return -errno;
    if (got == 0)
        return 0;
    if (got < (ssize_t)sizeof message->record)
        return -EPROTO;
    message->length = (uint32_t)(got - (ssize_t)sizeof message->record);
    message->pid = -1;
    struct cmsghdr *header = CMSG_FIRSTHDR(&arriving);
    if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_CREDENTIALS) {
        struct ucred sender;
        memcpy(&sender, CMSG_DATA(header), sizeof sender);
        message->pid = sender.pid;
    }
    return 1;
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int bench_one(struct arje_plan *plan, void *stack, const int *stdio, const char *cgroup, int64_t *nanoseconds) {
    struct arje_child child;
    struct arje_message message;
    int answer;
    int64_t begin = now();
    plan->cgroup_fd = -1;
    if (cgroup != NULL) {
        if (mkdir(cgroup, 0755) != 0 || (plan->cgroup_fd = open(cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
            return -errno;
    }
    answer = arje_spawn(plan, stack, stdio, &child);
    if (answer == 0) {
        arje_release(child.status_fd);
        do
            answer = arje_receive(child.status_fd, 1, &message);
        while (answer == 1 && (message.record.kind == ARJE_HOT || message.record.kind == ARJE_FACTS));
        *nanoseconds = now() - begin;
        siginfo_t info;
        waitid(P_PIDFD, (id_t)child.pidfd, &info, WEXITED);
        close_two(child.pidfd, child.status_fd);
        close_two(child.verdict_fd, -1);
        answer = answer == 0 ? 0 : -EPROTO;
    }
    if (plan->cgroup_fd >= 0) {
        close(plan->cgroup_fd);
        plan->cgroup_fd = -1;
        while (rmdir(cgroup) != 0 && errno == EBUSY)
            ;
    }
    return answer;
}

int arje_bench(struct arje_plan *plan, const int *stdio, const char *cgroup, int count, int64_t *nanoseconds) {
    void *stack = arje_stack_new();
    int answer = stack == NULL ? -ENOMEM : 0;
    for (int i = 0; i < count && answer == 0; i++)
        answer = bench_one(plan, stack, stdio, cgroup, &nanoseconds[i]);
    if (stack != NULL)
        arje_stack_free(stack);
    return answer;
}
