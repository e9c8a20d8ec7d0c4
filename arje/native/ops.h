/* Between the op table (ops.c) and the families of ops. Each does one step: 0 or -errno, and what refused in *syscall. */
#ifndef ARJE_OPS_H
#define ARJE_OPS_H

#include "child.h"

#define TRY(name, call)                                                                                                \
    do {                                                                                                               \
        *syscall = (name);                                                                                             \
        long answer_ = (call);                                                                                         \
        if (answer_ < 0)                                                                                               \
            return answer_;                                                                                            \
    } while (0)

/* mounts.c */
long arje_do_mount_namespace(const struct arje_op *op, const char **syscall);
long arje_do_mount_private(const struct arje_op *op, const char **syscall);
long arje_do_stage(const struct arje_op *op, const char **syscall);
long arje_do_root(const struct arje_op *op, const char **syscall);
long arje_do_pivot_root(const struct arje_op *op, const char **syscall);

/* trees.c */
long arje_do_bind(const struct arje_op *op, const char **syscall);
long arje_do_idmap(const struct arje_op *op, int idmap, const char **syscall);
long arje_do_mask(const struct arje_op *op, const char **syscall);
long arje_do_read_only(const struct arje_op *op, const char **syscall);

/* filesystems.c */
long arje_do_mount_filesystem(const struct arje_op *op, const char **syscall);
long arje_do_mount_overlay(const struct arje_op *op, const char **syscall);
long arje_do_mount_dev(const struct arje_op *op, const char **syscall);

/* inject.c */
long arje_do_file(const struct arje_op *op, const char **syscall);
long arje_do_symlink(const struct arje_op *op, const char **syscall);

/* ids.c */
long arje_do_groups(const struct arje_op *op, const char **syscall);
long arje_do_gid(const struct arje_op *op, const char **syscall);
long arje_do_uid(const struct arje_op *op, const char **syscall);
long arje_do_no_new_privs(const struct arje_op *op, const char **syscall);

/* filters.c */
long arje_do_landlock_path(const struct arje_op *op, const char **syscall);
long arje_do_landlock(const struct arje_op *op, long *tried, const char **syscall);
long arje_do_seccomp(const struct arje_op *op, const char **syscall);
long arje_do_observe(const struct arje_op *op, const char **syscall); /* the listener, or -errno */
/* privileges.c */
long arje_do_bounding(const struct arje_op *op, const char **syscall);
long arje_do_keep_caps(const struct arje_op *op, const char **syscall);
long arje_do_capset(const struct arje_op *op, const char **syscall);
long arje_do_ambient(const struct arje_op *op, const char **syscall);
long arje_do_securebits(const struct arje_op *op, const char **syscall);
long arje_do_keyring(const struct arje_op *op, const char **syscall);
long arje_do_personality(const struct arje_op *op, const char **syscall);
long arje_do_lock_personality(const struct arje_op *op, const char **syscall);
/* network.c */
long arje_do_network(const struct arje_op *op, const char **syscall);
/* scheduling.c */
long arje_do_rlimit(const struct arje_op *op, const char **syscall);
long arje_do_scheduler(const struct arje_op *op, const char **syscall);

#endif
