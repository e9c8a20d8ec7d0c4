/* Mounts of what is there already: binds, masks, read-only views. Rules of child.c hold. */
#include <errno.h>
#include <linux/fcntl.h>
#include <linux/mount.h>

#include "ops.h"
#include "places.h"
#include "raw.h"

/* A detached copy of what is at op->r, with everything below it. */
static long view(const struct arje_op *op, const char **syscall) {
    *syscall = "openat2 target";
    long at = arje_place(op->r, 0, 0);
    if (at < 0)
        return at;
    *syscall = "open_tree";
    long tree = raw3(__NR_open_tree, at, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
    raw1(__NR_close, at);
    return tree;
}

long arje_do_bind(const struct arje_op *op, const char **syscall) {
    int recursive = (op->a & ARJE_MOUNT_RECURSIVE) != 0;
    *syscall = "open_tree source";
    long tree = raw3(__NR_open_tree, AT_FDCWD, op->p,
                     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0));
    if (tree < 0)
        return tree == -ENOENT && (op->a & ARJE_MOUNT_MISSING) ? 0 : tree;
    *syscall = "mount_setattr";
    long error = op->b ? arje_attributes(tree, op->b, 1) : 0;
    if (error == 0)
        return arje_attach(tree, op, syscall);
    raw1(__NR_close, tree);
    return error;
}

/* Only a mount that nobody has seen yet can be id-mapped (mount_setattr(2)): cover it with a copy of itself. */
long arje_do_idmap(const struct arje_op *op, int idmap, const char **syscall) {
    long tree = view(op, syscall);
    if (tree < 0)
        return tree == -ENOENT && (op->a & ARJE_MOUNT_MISSING) ? 0 : tree;
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)idmap};
    *syscall = "mount_setattr idmap";
    long error =
        raw5(__NR_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes);
    if (error == 0)
        return arje_attach(tree, op, syscall);
    raw1(__NR_close, tree);
    return error;
}

/* A file is covered by /dev/null, a directory by an empty one; what is not there needs no mask. */
long arje_do_mask(const struct arje_op *op, const char **syscall) {
    *syscall = "openat2 target";
    long at = arje_place(op->r, 0, 0);
    if (at < 0)
        return at == -ENOENT ? 0 : at;
    long type = arje_type(at), tree, error = 0;
    raw1(__NR_close, at);
    if (type < 0)
        return type;
    if (type == ARJE_DIRECTORY)
        tree = arje_filesystem("tmpfs", "mode\0" "0555\0size\0" "4k\0",
                               MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, syscall);
    else {
        *syscall = "open_tree /dev/null";
        tree = raw3(__NR_open_tree, AT_FDCWD, "/dev/null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        if (tree >= 0) {
            *syscall = "mount_setattr";
            error = arje_attributes(tree, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, 0);
        }
    }
    if (tree < 0)
        return tree;
    if (error == 0)
        return arje_attach(tree, op, syscall);
    raw1(__NR_close, tree);
    return error;
}

/* In place, what is no mount point (mount_setattr(2): EINVAL) is missing as well. */
long arje_do_read_only(const struct arje_op *op, const char **syscall) {
    int in_place = (op->a & ARJE_MOUNT_IN_PLACE) != 0;
    *syscall = "openat2 target";
    long tree = in_place ? arje_place(op->r, 0, 0) : view(op, syscall);
    if (tree < 0)
        return tree == -ENOENT && (op->a & ARJE_MOUNT_MISSING) ? 0 : tree;
    *syscall = "mount_setattr";
    long error = arje_attributes(tree, MOUNT_ATTR_RDONLY, !in_place || (op->a & ARJE_MOUNT_RECURSIVE));
    if (error == 0 && !in_place)
        return arje_attach(tree, op, syscall);
    raw1(__NR_close, tree);
    return error == -EINVAL && in_place && (op->a & ARJE_MOUNT_MISSING) ? 0 : error;
}
