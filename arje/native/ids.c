/* The ops that change who the child is. Rules of child.c hold. */
#include <errno.h>
#include <linux/prctl.h>

#include "ops.h"
#include "raw.h"

long arje_do_groups(const struct arje_op *op, const char **syscall) {
    TRY("setgroups", raw2(__NR_setgroups, op->a, op->p));
    return 0;
}

long arje_do_gid(const struct arje_op *op, const char **syscall) {
    TRY("setresgid", raw3(__NR_setresgid, op->a, op->a, op->a));
    return 0;
}

long arje_do_uid(const struct arje_op *op, const char **syscall) {
    TRY("setresuid", raw3(__NR_setresuid, op->a, op->a, op->a));
    return 0;
}

long arje_do_no_new_privs(const struct arje_op *op, const char **syscall) {
    (void)op;
    TRY("prctl PR_SET_NO_NEW_PRIVS", raw5(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    *syscall = "prctl PR_GET_NO_NEW_PRIVS";
    return raw5(__NR_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : -EIO;
}
