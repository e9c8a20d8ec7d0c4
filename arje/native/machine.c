/*
 * What only the first process asks of the kernel: mounts of the machine, modules, the end. And the guard: a thread that
 * knows nothing of Python, and ends the machine when nobody has said for too long that things go on.
 *
 * The guard's rules: no lock that anybody else takes, no memory from the heap, no wait that could last. sync(2) may hang on
 * a dead disk, so it has a thread of its own and a bounded time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/swap.h>
#include <time.h>
#include <unistd.h>

#include "abi.h"
#include "functions.h"
#include "raw.h"

enum { SYNC_MS = 5000, SMALL_STACK = 64 * 1024 };

static int answer_of(int result) {
    return result < 0 ? -errno : result;
}

/* "" is no source, no type, no data: what a remount, a move and a change of propagation want. */
int arje_mount(const char *source, const char *target, const char *type, uint64_t flags, const char *data) {
    const char *from = *source ? source : NULL, *kind = *type ? type : NULL, *options = *data ? data : NULL;
    return answer_of(mount(from, target, kind, (unsigned long)flags, options));
}

int arje_umount(const char *target, int flags) {
    return answer_of(umount2(target, flags));
}

int arje_swapoff(const char *path) {
    return answer_of(swapoff(path));
}

int arje_pivot_root(const char *new_root, const char *put_old) {
    return (int)raw2(__NR_pivot_root, new_root, put_old);
}

int arje_reboot(uint32_t command) {
    return answer_of(reboot((int)command));
}

/* -- the guard ------------------------------------------------------------------------------------------------------ */

static struct {
    int64_t deadline; /* CLOCK_MONOTONIC in ms; 0: not armed */
    uint32_t command;
    int status;
    int started;
} guard;

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void doze(int64_t ms) {
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static void say(const char *text) {
    int fd = open("/dev/console", O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        fd = STDERR_FILENO;
    ssize_t written = write(fd, text, strlen(text));
    (void)written;
    if (fd != STDERR_FILENO)
        close(fd);
}

static void *sync_disks(void *done) {
    sync();
    __atomic_store_n((int *)done, 1, __ATOMIC_RELEASE);
    return NULL;
}

static int begin_thread(void *(*run)(void *), void *argument) {
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, SMALL_STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread, &attributes, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return -error;
}

static void end_it(void) {
    static int synced;
    say("\r\narje: nothing goes on any more: the guard ends this now\r\n");
    kill(-1, SIGKILL);
    if (begin_thread(sync_disks, &synced) == 0)
        for (int64_t end = now_ms() + SYNC_MS; !__atomic_load_n(&synced, __ATOMIC_ACQUIRE) && now_ms() < end;)
            doze(20);
    if (guard.command != 0)
        reboot((int)guard.command);
    if (guard.command != 0 && errno != EPERM)
        reboot(RB_AUTOBOOT); /* as kexec without a kernel */
    raw1(__NR_exit_group, guard.status); /* a container, which may not */
}

static void *watch(void *unused) {
    (void)unused;
    for (;;) {
        int64_t deadline = __atomic_load_n(&guard.deadline, __ATOMIC_ACQUIRE);
        if (deadline != 0 && now_ms() >= deadline)
            end_it();
        int64_t left = deadline == 0 ? 1000 : deadline - now_ms();
        doze(left > 1000 ? 1000 : left > 10 ? left : 10);
    }
    return NULL;
}

int arje_guard(int64_t ms, uint32_t command, int status) {
    guard.command = command;
    guard.status = status;
    __atomic_store_n(&guard.deadline, ms > 0 ? now_ms() + ms : 0, __ATOMIC_RELEASE);
    if (ms <= 0 || guard.started)
        return 0;
    int error = begin_thread(watch, NULL);
    guard.started = error == 0;
    return error;
}
