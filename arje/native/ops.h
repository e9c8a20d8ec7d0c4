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
long arje_do_mount_proc(const struct arje_op *op, const char **syscall);
long arje_do_mount_overlay(const struct arje_op *op, const char **syscall);
long arje_do_pivot_root(const struct arje_op *op, const char **syscall);

/* ids.c */
long arje_do_groups(const struct arje_op *op, const char **syscall);
long arje_do_gid(const struct arje_op *op, const char **syscall);
long arje_do_uid(const struct arje_op *op, const char **syscall);
long arje_do_no_new_privs(const struct arje_op *op, const char **syscall);

/* scheduling.c */
long arje_do_scheduler(const struct arje_op *op, const char **syscall);

#endif
