/*
 * Pid 1 of a service's pid namespace: a static program without libc. It says on descriptor 0, an eventfd(2), that it is
 * there, which the payload waits for before it executes. It forwards every signal to the payload (pid 2),
 * reaps whoever dies, and when the payload ends writes waitid(2)'s verdict to descriptor 3 and leaves with the same
 * status; the kernel then kills what is left in the namespace. Without it SIGTERM to the service would be ignored,
 * as pid 1 has no default actions (pid_namespaces(7)). It was confined to the calls that it makes (filters.c).
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/wait.h>

#include "abi.h"
#include "raw.h"

enum { PAYLOAD = 2 };

static void finish(int code, int status) {
    struct arje_verdict verdict = {code, status};
    raw3(__NR_write, 3, &verdict, sizeof verdict);
    raw1(__NR_exit_group, code == CLD_EXITED ? status : 128 + status);
}

static void reap(void) {
    for (;;) {
        siginfo_t info;
        info.si_pid = 0;
        long answer = raw5(__NR_waitid, P_ALL, 0, &info, WEXITED | WNOHANG, 0);
        if (answer == -EINTR)
            continue;
        if (answer < 0 || info.si_pid == 0)
            return;
        if (info.si_pid == PAYLOAD)
            finish(info.si_code, info.si_status);
    }
}

void arje_reaper(void) __attribute__((noreturn, used));
void arje_reaper(void) {
    uint64_t all = ~(uint64_t)0;
    raw4(__NR_rt_sigprocmask, SIG_SETMASK, &all, 0, 8); /* a blocked signal is queued, even for pid 1 */
    uint64_t ready = 1;
    raw3(__NR_write, 0, &ready, sizeof ready);
    for (;;) {
        reap();
        siginfo_t info;
        long number = raw4(__NR_rt_sigtimedwait, &all, &info, 0, 8);
        /* A signal of the terminal's went to the payload as well, when it is there for it to get. */
        if (number > 0 && number != SIGCHLD && info.si_code != SI_KERNEL)
            raw2(__NR_kill, PAYLOAD, number);
    }
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txorl %ebp, %ebp\n\tandq $-16, %rsp\n\tcall arje_reaper\n\thlt\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n\tmov x29, xzr\n\tmov x30, xzr\n\tbl arje_reaper\n\tbrk #0\n");
#endif
