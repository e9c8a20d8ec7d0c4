/*
 * Namespaces made ahead of a start, as descriptors, without any process in them. A thread that knows nothing of Python has
 * a helper child make each: a net namespace with lo up in our own user namespace, or a user namespace below it with its
 * maps written. The helper shares the memory, so it follows the rules of child.c; it has no exit signal, so nobody who
 * reaps children hears of it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "functions.h"
#include "raw.h"

enum { STACK = 16 * 1024 };

struct helper {
    pid_t parent;
    volatile int answer; /* a descriptor or -errno */
};

static void leave(void) __attribute__((noreturn));
static void leave(void) {
    for (;;)
        raw1(__NR_exit_group, 0);
}

/* The descriptor table is shared with the caller: what is opened here is the caller's. */
static void make_net(void *argument) {
    struct helper *helper = argument;
    const struct arje_op up = {.step = ARJE_LOOPBACK};
    const char *syscall;
    long answer = arje_op_run(&up, &syscall);
    if (answer == 0)
        answer = raw4(__NR_openat, AT_FDCWD, "/proc/self/ns/net", O_RDONLY | O_CLOEXEC, 0);
    helper->answer = (int)answer;
    leave();
}

/* Be in it until the maps are written and it is open: then the caller kills us. */
static void be_there(void *argument) {
    const struct helper *helper = argument;
    raw2(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL);
    while (raw0(__NR_getppid) == helper->parent)
        raw5(__NR_ppoll, 0, 0, 0, 0, 0);
    leave();
}

static long clone_helper(uint64_t flags, void (*run)(void *), struct helper *helper, char *stack, int32_t *pidfd) {
    struct raw_clone_args args = {.flags = CLONE_VM | CLONE_PIDFD | CLONE_CLEAR_SIGHAND | flags,
                                  .pidfd = (uint64_t)(uintptr_t)pidfd,
                                  .stack = (uint64_t)(uintptr_t)stack,
                                  .stack_size = STACK};
    return raw_clone3(&args, sizeof args, run, helper); /* all signals are blocked: the thread was made so */
}

static void reap(int32_t pidfd) {
    siginfo_t info;
    while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | __WALL) != 0 && errno == EINTR)
        ;
    close(pidfd);
}

static int write_file(long pid, const char *name, const char *text) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/%s", pid, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int answer = write(fd, text, strlen(text)) < 0 ? -errno : 0; /* one write: a map is taken whole or not at all */
    close(fd);
    return answer;
}

static int open_user(long pid, const char *uid_map, const char *gid_map) {
    char path[64];
    int answer = write_file(pid, "gid_map", gid_map);
    if (answer == 0)
        answer = write_file(pid, "uid_map", uid_map);
    if (answer < 0)
        return answer;
    snprintf(path, sizeof path, "/proc/%ld/ns/user", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static char *stack_new(void) {
    char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return stack == MAP_FAILED ? NULL : stack;
}

static int make_one_net(void) {
    struct helper helper = {.answer = -ECHILD}; /* killed before it could say anything else */
    int32_t pidfd = -1;
    char *stack = stack_new();
    if (stack == NULL)
        return -ENOMEM;
    long pid = clone_helper(CLONE_VFORK | CLONE_FILES | CLONE_NEWNET, make_net, &helper, stack, &pidfd);
    if (pid >= 0)
        reap(pidfd);
    munmap(stack, STACK);
    return pid < 0 ? (int)pid : helper.answer;
}

static int make_one_user(const char *uid_map, const char *gid_map) {
    struct helper helper = {.parent = getpid()};
    int32_t pidfd = -1;
    char *stack = stack_new();
    if (stack == NULL)
        return -ENOMEM;
    long pid = clone_helper(CLONE_NEWUSER, be_there, &helper, stack, &pidfd);
    int answer = (int)pid;
    if (pid >= 0) {
        answer = open_user(pid, uid_map, gid_map);
        raw4(__NR_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
        reap(pidfd);
    }
    munmap(stack, STACK);
    return answer;
}

static void *make(void *argument) {
    struct arje_order *order = argument;
    int made = 0;
    for (int i = 0; i < order->nets && made >= 0; i++)
        if ((made = make_one_net()) >= 0)
            order->net[i] = made;
    order->error = made < 0 ? made : 0;
    made = 0;
    for (int i = 0; i < order->users && made >= 0; i++)
        if ((made = make_one_user(order->uid_map, order->gid_map)) >= 0)
            order->user[i] = made;
    if (made < 0 && order->error == 0)
        order->error = made;
    __atomic_store_n(&order->done, 1, __ATOMIC_RELEASE);
    return NULL;
}

int arje_order_begin(struct arje_order *order) {
    sigset_t all, before;
    pthread_t thread;
    order->done = order->error = 0;
    for (int i = 0; i < ARJE_SPARES; i++)
        order->net[i] = order->user[i] = -1;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, NULL, make, order);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    order->thread = (uint64_t)thread;
    return -error;
}

void arje_order_end(struct arje_order *order) {
    pthread_join((pthread_t)order->thread, NULL);
}
