/* Finding and making mount points in a root that may be full of somebody else's symlinks. Rules of child.c hold. */
#include <asm/stat.h>
#include <errno.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>

#include "child.h"
#include "places.h"
#include "raw.h"

long arje_resolve(long directory, const char *path, uint64_t flags, uint64_t mode) {
    struct open_how how = {
        .flags = flags | O_CLOEXEC, .mode = mode, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    return raw4(__NR_openat2, directory, path, &how, sizeof how);
}

/* One component: as it is, or made. */
static long step(long at, const char *name, int file) {
    long fd = arje_resolve(at, name, O_PATH, 0);
    if (fd != -ENOENT)
        return fd;
    long made = file ? arje_resolve(at, name, O_CREAT | O_EXCL | O_WRONLY, 0644) : raw3(__NR_mkdirat, at, name, 0755);
    if (made < 0)
        return made;
    if (file)
        raw1(__NR_close, made);
    return arje_resolve(at, name, O_PATH, 0);
}

/* Component by component up to `end`: mkdirat itself would follow symlinks on the way. */
static long walk(const char *path, const char *end, int file) {
    long at = arje_resolve(AT_FDCWD, ".", O_PATH, 0);
    raw1(__NR_umask, 022); /* the manager's is none of our business; the card's is set later */
    while (at >= 0 && path < end) {
        char name[256];
        size_t length = 0;
        while (path < end && *path != '/' && length < sizeof name - 1)
            name[length++] = *path++;
        name[length] = '\0';
        long next = path < end && *path != '/' ? -ENAMETOOLONG : 0;
        while (path < end && *path == '/')
            path++;
        if (next == 0)
            next = step(at, name, file && path == end);
        raw1(__NR_close, at);
        at = next;
    }
    return at;
}

long arje_place(const char *path, uint64_t flags, int file) {
    long fd = arje_resolve(AT_FDCWD, path, O_PATH, 0);
    return fd == -ENOENT && (flags & ARJE_MOUNT_MAKE) ? walk(path, path + raw_length(path), file) : fd;
}

long arje_parent(const char *path, const char **name) {
    const char *last = path;
    for (const char *c = path; *c != '\0'; c++)
        last = *c == '/' ? c + 1 : last;
    *name = last;
    return walk(path, last, 0);
}

long arje_type(long fd) {
    struct stat status;
    long error = raw4(__NR_newfstatat, fd, "", &status, AT_EMPTY_PATH);
    return error < 0 ? error : (long)(status.st_mode & ARJE_TYPE);
}

long arje_attach(long tree, const struct arje_op *op, const char **syscall) {
    *syscall = "fstat";
    long answer = arje_type(tree);
    if (answer >= 0) {
        *syscall = "openat2 target";
        answer = arje_place(op->r, op->a, answer != ARJE_DIRECTORY);
    }
    if (answer >= 0) {
        long at = answer;
        *syscall = "move_mount";
        answer = raw5(__NR_move_mount, tree, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
        raw1(__NR_close, at);
    }
    if (answer >= 0 && (op->a & ARJE_MOUNT_BASE)) {
        *syscall = "fchdir new root";
        answer = raw1(__NR_fchdir, tree);
    }
    raw1(__NR_close, tree);
    return answer < 0 ? answer : 0;
}

long arje_attributes(long fd, uint64_t set, int recursive) {
    struct mount_attr attributes = {.attr_set = set};
    return raw5(__NR_mount_setattr, fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attributes,
                sizeof attributes);
}
