/*
 * The other end of ARJE_OBSERVE: system calls of a service that wait for an answer (seccomp_unotify(2)). Calls that nobody
 * wants to hear of again are let through here, without Python.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

#include "child.h"
#include "functions.h"
#include "raw.h"

int arje_notice_answer(int listener, uint64_t id, int error) {
    struct seccomp_notif_resp answer = {.id = id, .error = -error};
    if (error == 0)
        answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    /* ENOENT: a signal has interrupted or killed who waited */
    return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0 || errno == ENOENT ? 0 : -errno;
}

/* 1: one was received, 0: nobody is left, -EAGAIN: who called is gone already. */
static int receive(int listener, struct seccomp_notif *call) {
    struct pollfd wait = {.fd = listener, .events = POLLIN};
    while (poll(&wait, 1, -1) < 0)
        if (errno != EINTR)
            return -errno;
    if (!(wait.revents & POLLIN))
        return 0; /* POLLHUP, since Linux 5.8 */
    memset(call, 0, sizeof *call);
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, call) == 0)
        return 1;
    return errno == ENOENT || errno == EINTR ? -EAGAIN : -errno;
}

int arje_notice_next(int listener, const uint8_t *what, int size, struct arje_notice *notice) {
    struct seccomp_notif call;
    for (;;) {
        int got = receive(listener, &call);
        if (got == -EAGAIN)
            continue;
        if (got <= 0)
            return got;
        int number = call.data.nr;
        if (number < 0 || number >= size || !((volatile const uint8_t *)what)[number])
            break;
        got = arje_notice_answer(listener, call.id, 0);
        if (got < 0)
            return got;
    }
    notice->id = call.id;
    notice->pid = call.pid;
    notice->number = call.data.nr;
    for (int i = 0; i < 6; i++)
        notice->args[i] = call.data.args[i];
    return 1;
}

int arje_pidfd_getfd(int pidfd, int fd) {
    return (int)raw3(438, pidfd, fd, 0); /* Linux 5.6; one number everywhere */
}

int arje_open_in_root(int root, const char *path) {
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
    return (int)raw4(437, root, path, &how, sizeof how);
}
