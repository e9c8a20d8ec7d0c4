/* Mounts of new file systems: tmpfs, proc and their kind, overlays, a minimal /dev. Rules of child.c hold. */
#include <asm/statfs.h>
#include <errno.h>
#include <linux/fcntl.h>
#include <linux/mount.h>

#include "ops.h"
#include "places.h"
#include "raw.h"

long arje_filesystem(const char *type, const char *options, uint64_t attributes, const char **syscall) {
    *syscall = "fsopen";
    long fs = raw2(__NR_fsopen, type, FSOPEN_CLOEXEC);
    if (fs < 0)
        return fs;
    long answer = raw5(__NR_fsconfig, fs, FSCONFIG_SET_STRING, "source", type, 0); /* what mountinfo calls it */
    *syscall = "fsconfig option";
    while (options != 0 && *options != '\0' && answer == 0) {
        const char *value = options + raw_length(options) + 1;
        int flag = *value == '\0';
        answer = raw5(__NR_fsconfig, fs, flag ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING, options, flag ? 0 : value, 0);
        options = value + raw_length(value) + 1;
    }
    if (answer == 0) {
        *syscall = "fsconfig create";
        answer = raw5(__NR_fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0);
    }
    if (answer == 0) {
        *syscall = "fsmount";
        answer = raw3(__NR_fsmount, fs, FSMOUNT_CLOEXEC, attributes);
    }
    raw1(__NR_close, fs);
    return answer;
}

long arje_do_mount_filesystem(const struct arje_op *op, const char **syscall) {
    if (op->a & ARJE_MOUNT_MISSING) {
        *syscall = "openat2 target";
        long at = arje_place(op->r, op->a, 0);
        if (at < 0)
            return at == -ENOENT ? 0 : at;
        raw1(__NR_close, at);
    }
    long tree = arje_filesystem(op->p, op->q, op->b, syscall);
    long error = tree < 0 ? tree : arje_attach(tree, op, syscall);
    return error < 0 && (op->a & ARJE_MOUNT_BASE) ? arje_take_back(error) : error;
}

/* A tmpfs beside the root, for what is written. */
static long upper_layer(const char *options, int base, const char **syscall) {
    long tree = arje_filesystem("tmpfs", options, MOUNT_ATTR_NODEV, syscall);
    if (tree < 0)
        return tree;
    *syscall = "move_mount upper";
    const char *place = base ? "overlay" : "../overlay";
    long error = raw5(__NR_move_mount, tree, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH);
    if (error == 0) {
        *syscall = "mkdir upper";
        error = raw3(__NR_mkdirat, tree, "upper", 0755);
        error = error < 0 ? error : raw3(__NR_mkdirat, tree, "work", 0755);
    }
    raw1(__NR_close, tree);
    return error;
}

/*
 * mount(2) and not fsconfig(2), whose strings end at 256 bytes and, before Linux 6.7, at a comma. It is mounted beside the
 * root, where no symlink is on the way, and moved from there.
 */
static long overlay(const struct arje_op *op, const char **syscall) {
    int base = (op->a & ARJE_MOUNT_BASE) != 0;
    long error = op->p != 0 ? upper_layer(op->p, base, syscall) : 0;
    if (error < 0)
        return error;
    const char *beside = base ? "merged" : "../merged";
    TRY("mount overlay", raw5(__NR_mount, "overlay", beside, "overlay", 0, op->q));
    struct statfs space;
    TRY("statfs", raw2(__NR_statfs, beside, &space));
    if (op->b && (uint64_t)space.f_blocks * (uint64_t)space.f_bsize != op->b)
        return -EIO; /* the upper layer is out of sight: this is where its size can be read back */
    *syscall = "open_tree overlay";
    long tree = raw3(__NR_open_tree, AT_FDCWD, beside, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    return tree < 0 ? tree : arje_attach(tree, op, syscall);
}

long arje_do_mount_overlay(const struct arje_op *op, const char **syscall) {
    long error = overlay(op, syscall);
    return error < 0 && (op->a & ARJE_MOUNT_BASE) ? arje_take_back(error) : error;
}

/* By mknod when we may, else the outer /dev's own node. */
static long node(long dev, const char *name, const char *outside, unsigned device, const char **syscall) {
    *syscall = "mknod";
    long error = raw4(__NR_mknodat, dev, name, ARJE_CHARACTER | 0666, device);
    if (error != -EPERM)
        return error;
    *syscall = "open_tree device";
    long tree = raw3(__NR_open_tree, AT_FDCWD, outside, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0)
        return tree;
    *syscall = "openat device";
    long fd = raw4(__NR_openat, dev, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
    if (fd >= 0) {
        raw1(__NR_close, fd);
        *syscall = "move_mount device";
        fd = raw5(__NR_move_mount, tree, "", dev, name, MOVE_MOUNT_F_EMPTY_PATH);
    }
    raw1(__NR_close, tree);
    return fd < 0 ? fd : 0;
}

static long below(long dev, const char *name, const char *type, const char *options, uint64_t attributes,
                  const char **syscall) {
    TRY("mkdir in dev", raw3(__NR_mkdirat, dev, name, 0755));
    long tree = arje_filesystem(type, options, attributes, syscall);
    if (tree < 0)
        return tree;
    *syscall = "move_mount in dev";
    long error = raw5(__NR_move_mount, tree, "", dev, name, MOVE_MOUNT_F_EMPTY_PATH);
    raw1(__NR_close, tree);
    return error;
}

static long populate(long dev, const char *pts, const char **syscall) {
    long error = 0;
    raw1(__NR_umask, 0); /* for the nodes; nothing else here is made with more than it shall have */
#define NODE(name, major, minor)                                                                                       \
    if (error == 0)                                                                                                    \
    error = node(dev, name, "/dev/" name, (major) << 8 | (minor), syscall)
    NODE("null", 1U, 3U);
    NODE("zero", 1U, 5U);
    NODE("full", 1U, 7U);
    NODE("random", 1U, 8U);
    NODE("urandom", 1U, 9U);
    NODE("tty", 5U, 0U);
#undef NODE
    if (error < 0)
        return error;
    TRY("symlink in dev", raw3(__NR_symlinkat, "/proc/self/fd", dev, "fd"));
    TRY("symlink in dev", raw3(__NR_symlinkat, "/proc/self/fd/0", dev, "stdin"));
    TRY("symlink in dev", raw3(__NR_symlinkat, "/proc/self/fd/1", dev, "stdout"));
    TRY("symlink in dev", raw3(__NR_symlinkat, "/proc/self/fd/2", dev, "stderr"));
    TRY("symlink in dev", raw3(__NR_symlinkat, "pts/ptmx", dev, "ptmx"));
    error = below(dev, "pts", "devpts", pts, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, syscall);
    if (error == 0)
        error = below(dev, "shm", "tmpfs", "mode\0" "1777\0",
                      MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, syscall);
    return error;
}

/* All or nothing: half a /dev is taken away again. */
long arje_do_mount_dev(const struct arje_op *op, const char **syscall) {
    long dev = arje_filesystem("tmpfs", "mode\0" "0755\0size\0" "4m\0", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, syscall);
    if (dev < 0)
        return dev;
    *syscall = "fcntl";
    long kept = raw3(__NR_fcntl, dev, F_DUPFD_CLOEXEC, 0);
    long error = kept < 0 ? kept : 0;
    if (kept < 0)
        raw1(__NR_close, dev);
    else
        error = arje_attach(dev, op, syscall);
    if (error == 0 && (error = populate(kept, op->q, syscall)) < 0) {
        long back = arje_resolve(AT_FDCWD, ".", O_PATH, 0);
        raw1(__NR_fchdir, kept);
        raw2(__NR_umount2, ".", 2 /* MNT_DETACH */);
        raw1(__NR_fchdir, back);
        raw1(__NR_close, back);
    }
    if (kept >= 0)
        raw1(__NR_close, kept);
    return error;
}
