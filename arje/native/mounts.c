/* The ops of the mount namespace. Rules of child.c hold. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>

#include "ops.h"
#include "raw.h"

/* Without this check a forgotten namespace would let a pid 1 pivot the machine. */
long arje_do_mount_namespace(const struct arje_op *op, const char **syscall) {
    struct stat own;
    TRY("stat /proc/self/ns/mnt", raw4(__NR_newfstatat, AT_FDCWD, "/proc/self/ns/mnt", &own, 0));
    return own.st_ino == op->a ? -EPERM : 0;
}

long arje_do_mount_private(const struct arje_op *op, const char **syscall) {
    (void)op;
    TRY("mount /", raw5(__NR_mount, 0, "/", 0, MS_REC | MS_PRIVATE, 0));
    return 0;
}

long arje_do_mount_proc(const struct arje_op *op, const char **syscall) {
    if (op->a)
        raw3(__NR_mkdirat, AT_FDCWD, op->p, 0555); /* whether it is there now is for mount to say */
    TRY("mount proc", raw5(__NR_mount, "proc", op->p, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0));
    return 0;
}

long arje_do_mount_overlay(const struct arje_op *op, const char **syscall) {
    TRY("mount overlay", raw5(__NR_mount, "overlay", op->p, "overlay", 0, op->q));
    return 0;
}

/*
 * pivot_root(2). The new root is bound to itself first, as it must be a mount point. With no directory for the old root
 * both are ".", the old one is stacked on the new one and detached. EINVAL is the initramfs: its root mount has no
 * parent; so bind it over itself, move in there, and pivot from that.
 */
long arje_do_pivot_root(const struct arje_op *op, const char **syscall) {
    const char *old = op->q;
    int keep = old != 0 && old[0] != '\0';
    TRY("mount new_root", raw5(__NR_mount, op->p, op->p, 0, MS_BIND | MS_REC, 0));
    TRY("chdir new_root", raw1(__NR_chdir, op->p));
    *syscall = "pivot_root";
    if (keep)
        raw3(__NR_mkdirat, AT_FDCWD, old, 0700);
    long answer = raw2(__NR_pivot_root, ".", keep ? old : ".");
    if (answer == -EINVAL) {
        TRY("mount /", raw5(__NR_mount, "/", "/", 0, MS_BIND | MS_REC, 0));
        TRY("chdir /..", raw1(__NR_chdir, "/.."));
        TRY("chroot", raw1(__NR_chroot, "."));
        TRY("chdir new_root", raw1(__NR_chdir, op->p));
        *syscall = "pivot_root";
        answer = raw2(__NR_pivot_root, ".", keep ? old : ".");
    }
    if (answer < 0) {
        raw1(__NR_chdir, "/"); /* a service that lives without its root starts where it would have started */
        return answer;
    }
    /* From here on the old root is hidden: whatever fails is the end, though the feature be optional. */
    *syscall = "umount2";
    answer = keep ? 0 : raw2(__NR_umount2, ".", 2 /* MNT_DETACH */);
    if (answer >= 0) {
        *syscall = "chdir /";
        answer = raw1(__NR_chdir, "/");
    }
    return answer < 0 ? ARJE_BEYOND(answer) : 0;
}
