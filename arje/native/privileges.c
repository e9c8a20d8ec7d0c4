/* The ops that change what the child may do: capabilities(7), securebits, keyring, personality(2). Rules of child.c hold. */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>

#include "ops.h"
#include "raw.h"

enum { CAPABILITIES = 64, TOLD = 0x0040000 /* ADDR_NO_RANDOMIZE: any flag does to ask whether one may be changed */ };

/* Only what is there is dropped: a drop costs a new set of credentials, a look nothing. */
long arje_do_bounding(const struct arje_op *op, const char **syscall) {
    for (long number = 0; number < CAPABILITIES; number++) {
        *syscall = "prctl PR_CAPBSET_READ";
        long there = raw5(__NR_prctl, PR_CAPBSET_READ, number, 0, 0, 0);
        if (there == -EINVAL)
            return 0; /* the kernel knows no more */
        if (there < 0)
            return there;
        if (there && !(op->a >> number & 1))
            TRY("prctl PR_CAPBSET_DROP", raw5(__NR_prctl, PR_CAPBSET_DROP, number, 0, 0, 0));
    }
    return 0;
}

long arje_do_keep_caps(const struct arje_op *op, const char **syscall) {
    (void)op;
    TRY("prctl PR_SET_KEEPCAPS", raw5(__NR_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0));
    return 0;
}

long arje_do_capset(const struct arje_op *op, const char **syscall) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    const uint32_t *inheritable = op->p;
    TRY("capget", raw2(__NR_capget, &header, data));
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        uint32_t kept = data[i].permitted & (uint32_t)(op->a >> 32 * i);
        data[i].inheritable = inheritable[i] & (kept | data[i].inheritable);
        data[i].effective = data[i].permitted = kept;
    }
    TRY("capset", raw2(__NR_capset, &header, data));
    return 0;
}

long arje_do_ambient(const struct arje_op *op, const char **syscall) {
    TRY("prctl PR_CAP_AMBIENT_CLEAR_ALL", raw5(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
    for (long number = 0; number < CAPABILITIES; number++)
        if (op->a >> number & 1)
            TRY("prctl PR_CAP_AMBIENT_RAISE", raw5(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0));
    return 0;
}

long arje_do_securebits(const struct arje_op *op, const char **syscall) {
    TRY("prctl PR_SET_SECUREBITS", raw5(__NR_prctl, PR_SET_SECUREBITS, op->a, 0, 0, 0));
    *syscall = "prctl PR_GET_SECUREBITS"; /* no file of /proc shows them */
    return (uint64_t)raw5(__NR_prctl, PR_GET_SECUREBITS, 0, 0, 0, 0) == op->a ? 0 : -EIO;
}

long arje_do_keyring(const struct arje_op *op, const char **syscall) {
    (void)op;
    long before = raw5(__NR_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0, 0, 0);
    *syscall = "keyctl JOIN_SESSION_KEYRING";
    long joined = raw5(__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0);
    if (joined < 0)
        return joined;
    *syscall = "keyctl GET_KEYRING_ID";
    long now = raw5(__NR_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0, 0, 0);
    return now < 0 ? now : now == joined && now != before ? 0 : -EIO;
}

long arje_do_personality(const struct arje_op *op, const char **syscall) {
    TRY("personality", raw1(__NR_personality, op->a));
    return (uint64_t)raw1(__NR_personality, 0xffffffff) == op->a ? 0 : -EINVAL;
}

#if defined(__x86_64__)
enum { OURS = AUDIT_ARCH_X86_64, OTHER = AUDIT_ARCH_I386, THEIR_PERSONALITY = 136 };
#else
enum { OURS = AUDIT_ARCH_AARCH64, OTHER = AUDIT_ARCH_ARM, THEIR_PERSONALITY = 136 };
#endif

/*
 * A filter that lets personality(2) tell, and set what is set already. The bit of x32 is masked out of the number. Asked
 * again by trying: what is not refused then is taken back.
 */
long arje_do_lock_personality(const struct arje_op *op, const char **syscall) {
    (void)op;
    TRY("personality", raw1(__NR_personality, 0xffffffff));
    uint32_t now = (uint32_t)raw1(__NR_personality, 0xffffffff);
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OTHER, 3, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xbfffffff),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_personality, 2, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THEIR_PERSONALITY, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])), /* little-endian: its lower half */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xffffffff, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, now, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    TRY("seccomp", raw3(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
    *syscall = "personality";
    if (raw1(__NR_personality, now ^ TOLD) == -EPERM)
        return 0;
    raw1(__NR_personality, now);
    return -EIO;
}

static long write_zero(int proc, const char **syscall) {
    long fd = raw4(__NR_openat, proc, "../sys/user/max_user_namespaces", O_RDWR | O_CLOEXEC, 0);
    *syscall = "open max_user_namespaces";
    if (fd < 0)
        return fd;
    char told[2] = {0, 0};
    *syscall = "write max_user_namespaces";
    long answer = raw3(__NR_write, fd, "0", 1);
    if (answer >= 0) {
        *syscall = "read max_user_namespaces";
        answer = raw4(__NR_pread64, fd, told, 2, 0);
        answer = answer < 0 ? answer : told[0] == '0' && told[1] == '\n' ? 0 : -EIO;
    }
    raw1(__NR_close, fd);
    return answer;
}

/* The file belongs to the user namespace of whoever opens it; asked again by trying. user_namespaces(7), namespaces(7) */
long arje_no_nested_user(int proc, const char **syscall) {
    *syscall = "open /proc/self";
    if (proc < 0)
        return proc;
    long answer = write_zero(proc, syscall);
    if (answer < 0)
        return answer;
    *syscall = "unshare";
    answer = raw1(__NR_unshare, CLONE_NEWUSER);
    return answer == -ENOSPC ? 0 : answer < 0 ? answer : ARJE_BEYOND(-EIO);
}
