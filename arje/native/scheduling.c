/* The ops that say how the payload is scheduled, and what it may use once its set-up is over. Rules of child.c hold. */
#include <errno.h>
#include <linux/sched.h>
#include <linux/sched/types.h>

#include "ops.h"
#include "raw.h"

/* sched_setscheduler(2) leaves the nice level alone, which sched_setattr(2) would set as well: that one for deadlines only. */
static long do_deadline(const struct sched_attr *wanted, const char **syscall) {
    struct sched_attr found;
    TRY("sched_setattr", raw3(__NR_sched_setattr, 0, wanted, 0));
    TRY("sched_getattr", raw4(__NR_sched_getattr, 0, &found, sizeof found, 0));
    int same = found.sched_policy == wanted->sched_policy && found.sched_runtime == wanted->sched_runtime &&
               found.sched_deadline == wanted->sched_deadline && found.sched_period == wanted->sched_period;
    return same ? 0 : -EIO;
}

long arje_do_rlimit(const struct arje_op *op, const char **syscall) {
    const uint64_t *wanted = op->p;
    uint64_t found[2];
    TRY("prlimit64", raw4(__NR_prlimit64, 0, op->a, wanted, 0));
    TRY("prlimit64", raw4(__NR_prlimit64, 0, op->a, 0, found));
    return found[0] == wanted[0] && found[1] == wanted[1] ? 0 : -EIO;
}

long arje_do_scheduler(const struct arje_op *op, const char **syscall) {
    int32_t priority;
    if (op->a == SCHED_DEADLINE)
        return do_deadline(op->p, syscall);
    TRY("sched_setscheduler", raw3(__NR_sched_setscheduler, 0, op->a, op->p));
    TRY("sched_getparam", raw2(__NR_sched_getparam, 0, &priority));
    return priority == *(const int32_t *)op->p ? 0 : -EIO;
}
