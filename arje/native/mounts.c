/*
 * The mount namespace and its root. Rules of child.c hold.
 *
 * A new root is put together on a stage: a tmpfs that becomes the root of the mount namespace, with the old root below
 * "old" and the new one below "root". Then our "/" is the old root (by chroot) and our working directory the new one: a
 * source is an absolute path that means what it means to the manager, whatever its symlinks say and whatever has been
 * mounted in the new root; a target is a relative path below the new root. In the end pivot_root throws away the stage and
 * what is below it.
 */
#include <asm/stat.h>
#include <errno.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>

#include "ops.h"
#include "places.h"
#include "raw.h"

enum { PRIVATE = 1 << 18, RECURSIVE = 1 << 14, BIND = 1 << 12, DETACH = 2 }; /* MS_..., MNT_DETACH */

/* Without this check a forgotten namespace would let a pid 1 pivot the machine. */
long arje_do_mount_namespace(const struct arje_op *op, const char **syscall) {
    struct stat own;
    TRY("stat /proc/self/ns/mnt", raw4(__NR_newfstatat, AT_FDCWD, "/proc/self/ns/mnt", &own, 0));
    return own.st_ino == op->a ? -EPERM : 0;
}

long arje_do_mount_private(const struct arje_op *op, const char **syscall) {
    (void)op;
    TRY("mount /", raw5(__NR_mount, 0, "/", 0, RECURSIVE | PRIVATE, 0));
    return 0;
}

/* A root that is no mount with a parent cannot be pivoted: the initramfs, a chroot's directory. Make it one. */
static long make_root_a_mount(const char **syscall) {
    TRY("mount /", raw5(__NR_mount, "/", "/", 0, BIND | RECURSIVE, 0));
    TRY("chdir /..", raw1(__NR_chdir, "/.."));
    TRY("chroot", raw1(__NR_chroot, "."));
    return 0;
}

static long enter_stage(const char **syscall) {
    long stage = arje_filesystem("tmpfs", "mode\0" "0700\0", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, syscall);
    if (stage < 0)
        return stage;
    *syscall = "move_mount stage";
    long error = raw5(__NR_move_mount, stage, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH);
    if (error == 0) {
        *syscall = "fchdir stage";
        error = raw1(__NR_fchdir, stage);
        if (error < 0)
            raw2(__NR_umount2, ".", DETACH); /* "." is the topmost of what is stacked there */
    }
    raw1(__NR_close, stage);
    return error;
}

static long furnish_stage(int overlay, const char **syscall) {
    const char *names = overlay ? "old\0" "root\0" "merged\0" "overlay\0" "empty\0" : "old\0" "root\0";
    long error = enter_stage(syscall);
    if (error < 0)
        return error;
    *syscall = "mkdir stage";
    for (const char *name = names; *name != '\0' && error == 0; name += raw_length(name) + 1)
        error = raw3(__NR_mkdirat, AT_FDCWD, name, 0755);
    if (error == 0) {
        *syscall = "pivot_root stage";
        error = raw2(__NR_pivot_root, ".", "old");
    }
    if (error < 0) {
        raw2(__NR_umount2, ".", DETACH);
        raw1(__NR_chdir, "/");
    }
    return error;
}

/* From the stage into "root", or back into "old": the stage is stacked on it, where "." is the topmost, and detached. */
static long leave_stage(const char *directory, const char **syscall) {
    TRY("chdir stage", raw1(__NR_chdir, "..")); /* from the stage itself this leads nowhere else */
    TRY("chroot stage", raw1(__NR_chroot, "."));
    TRY("chdir new root", raw1(__NR_chdir, directory));
    TRY("pivot_root", raw2(__NR_pivot_root, ".", "."));
    /* From here on the old root is hidden: whatever fails is the end, though the feature be optional. */
    *syscall = "umount2 stage";
    long error = raw2(__NR_umount2, ".", DETACH);
    if (error >= 0) {
        *syscall = "chdir /";
        error = raw1(__NR_chdir, "/");
    }
    if (error >= 0) {
        *syscall = "unshare fs"; /* from the reaper, whose root is now ours */
        error = raw1(__NR_unshare, CLONE_FS);
    }
    return error < 0 ? ARJE_BEYOND(error) : 0;
}

/* A service that lives without its new root is where it would have been without a stage; or it does not live. */
long arje_take_back(long error) {
    const char *unheard;
    return leave_stage("old", &unheard) < 0 ? ARJE_BEYOND(error) : error;
}

long arje_do_stage(const struct arje_op *op, const char **syscall) {
    raw1(__NR_umask, 022);
    long answer = furnish_stage(op->a != 0, syscall);
    if (answer == -EINVAL) {
        answer = make_root_a_mount(syscall);
        if (answer == 0)
            answer = furnish_stage(op->a != 0, syscall);
    }
    if (answer < 0)
        return answer;
    *syscall = "chroot old root";
    answer = raw1(__NR_chroot, "old");
    return answer < 0 ? arje_take_back(answer) : 0;
}

long arje_do_root(const struct arje_op *op, const char **syscall) {
    *syscall = "open_tree root";
    long tree = raw3(__NR_open_tree, AT_FDCWD, op->p, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    long error = tree < 0 ? tree : arje_attach(tree, op, syscall);
    return error < 0 ? arje_take_back(error) : 0;
}

static long keep_old_root(const char *name, const char **syscall) {
    raw3(__NR_mkdirat, AT_FDCWD, name, 0700); /* whether it is there now is for openat2 to say */
    *syscall = "openat2 target";
    long at = arje_place(name, 0, 0);
    if (at < 0)
        return at;
    *syscall = "move_mount old root";
    long error = raw5(__NR_move_mount, AT_FDCWD, "../old", at, "", MOVE_MOUNT_T_EMPTY_PATH);
    raw1(__NR_close, at);
    return error;
}

long arje_do_pivot_root(const struct arje_op *op, const char **syscall) {
    const char *kept = op->q;
    long error = kept != 0 && kept[0] != '\0' ? keep_old_root(kept, syscall) : 0;
    if (error == 0) {
        error = leave_stage("root", syscall);
        if (error < 0 && kept != 0 && kept[0] != '\0' && error >= -4095)
            return ARJE_BEYOND(error); /* the old root is where the new one would have had it */
    }
    return error < 0 && error >= -4095 ? arje_take_back(error) : error;
}
