/* Files and symlinks that are put into a root. Rules of child.c hold. */
#include <errno.h>
#include <linux/fcntl.h>
#include <linux/mount.h>

#include "ops.h"
#include "places.h"
#include "raw.h"

static long write_all(long fd, const char *data, size_t length) {
    while (length > 0) {
        long wrote = raw3(__NR_write, fd, data, length);
        if (wrote < 0)
            return wrote;
        data += wrote;
        length -= (size_t)wrote;
    }
    return 0;
}

static long copy(long fd, const char *source, const char **syscall) {
    char piece[4096];
    *syscall = "open source";
    long from = raw4(__NR_openat, AT_FDCWD, source, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    if (from < 0)
        return from;
    long got = arje_type(from); /* a pipe or a device would let us wait for ever */
    got = got < 0 ? got : got != ARJE_REGULAR ? -EINVAL : 1;
    while (got > 0) {
        *syscall = "read source";
        got = raw3(__NR_read, from, piece, sizeof piece);
        if (got > 0) {
            *syscall = "write file";
            long error = write_all(fd, piece, (size_t)got);
            got = error < 0 ? error : got;
        }
    }
    raw1(__NR_close, from);
    return got;
}

static long fill(long fd, const struct arje_op *op, const char **syscall) {
    uint32_t uid = (uint32_t)(op->b >> 32), gid = (uint32_t)op->b;
    *syscall = "fstat";
    long error = arje_type(fd);
    if (error != ARJE_REGULAR)
        return error < 0 ? error : -EINVAL;
    *syscall = "write file";
    error = op->a & ARJE_MOUNT_COPY ? copy(fd, op->p, syscall) : write_all(fd, op->p, raw_length(op->p));
    if (error < 0)
        return error;
    if (uid != ~0U || gid != ~0U)
        TRY("fchown", raw3(__NR_fchown, fd, uid, gid));
    TRY("fchmod", raw2(__NR_fchmod, fd, op->a >> 16));
    return 0;
}

/* Written where it belongs, or (with q) beside the root and bound, read-only, over what is there. */
long arje_do_file(const struct arje_op *op, const char **syscall) {
    const char *name = op->q;
    long parent = AT_FDCWD, fd;
    *syscall = "open file";
    if (op->q != 0)
        fd = raw4(__NR_openat, AT_FDCWD, op->q, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    else {
        *syscall = "openat2 target";
        parent = arje_parent(op->r, &name);
        fd = parent;
        if (parent >= 0) {
            fd = arje_resolve(parent, name, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY, 0600);
            raw1(__NR_close, parent);
        }
    }
    if (fd < 0)
        return fd;
    long error = fill(fd, op, syscall);
    raw1(__NR_close, fd);
    if (error < 0 || op->q == 0)
        return error;
    *syscall = "open_tree";
    long tree = raw3(__NR_open_tree, AT_FDCWD, op->q, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0)
        return tree;
    *syscall = "mount_setattr";
    error = arje_attributes(tree, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0);
    if (error == 0)
        return arje_attach(tree, op, syscall);
    raw1(__NR_close, tree);
    return error;
}

long arje_do_symlink(const struct arje_op *op, const char **syscall) {
    const char *name;
    *syscall = "openat2 target";
    long parent = arje_parent(op->r, &name);
    if (parent < 0)
        return parent;
    *syscall = "symlink";
    long error = raw3(__NR_symlinkat, op->p, parent, name);
    if (error == -EEXIST) { /* there from the last start on a lasting upper layer: whether it is ours is read again */
        char now[4096];
        long length = raw4(__NR_readlinkat, parent, name, now, sizeof now);
        size_t wanted = raw_length(op->p);
        int same = length >= 0 && (size_t)length == wanted;
        for (size_t i = 0; same && i < wanted; i++)
            same = now[i] == ((const char *)op->p)[i];
        error = same ? 0 : error;
    }
    raw1(__NR_close, parent);
    return error;
}
