/* Where things are mounted: paths below the working directory, which is the root in the making. Rules of child.c hold. */
#ifndef ARJE_PLACES_H
#define ARJE_PLACES_H

#include <stddef.h>
#include <stdint.h>

/* The type bits of st_mode; <linux/stat.h> hides them from glibc's users. */
enum { ARJE_TYPE = 0170000, ARJE_DIRECTORY = 0040000, ARJE_CHARACTER = 0020000, ARJE_REGULAR = 0100000 };

/* openat2(2) that follows no symlink and leaves the directory by no "..": ELOOP and EXDEV. */
long arje_resolve(long directory, const char *path, uint64_t flags, uint64_t mode);

/* An O_PATH descriptor of a mount point, made (a file or a directory) when ARJE_MOUNT_MAKE is in flags. */
long arje_place(const char *path, uint64_t flags, int file);

/* An O_PATH descriptor of the directory of a path, made when missing; *name is the path's last component. */
long arje_parent(const char *path, const char **name);

/* The type bits of a descriptor's file (ARJE_DIRECTORY ...), or -errno. */
long arje_type(long fd);

/* Mount a detached tree at op->r; takes the tree, whatever comes of it. */
struct arje_op;
long arje_attach(long tree, const struct arje_op *op, const char **syscall);

/* What a failed new root returns: the error, when everything is as it was before the stage (mounts.c). */
long arje_take_back(long error);

/* A detached mount of a new file system. options: name, NUL, value, NUL, and so on; b: MOUNT_ATTR_... */
long arje_filesystem(const char *type, const char *options, uint64_t attributes, const char **syscall);

/* mount_setattr(2) on a mount, with those below it. */
long arje_attributes(long fd, uint64_t set, int recursive);

#endif
