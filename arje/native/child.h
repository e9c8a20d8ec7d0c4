/* What the two halves of the trampoline share: the parent's (spawn.c) and the child's (child.c, ops.c). */
#ifndef ARJE_CHILD_H
#define ARJE_CHILD_H

#include <stdint.h>

#include "abi.h"

enum { ARJE_STACK = 64 * 1024 };

/* One spawn in flight, as the child sees it. It lies at the foot of the child's stack mapping, in shared memory. */
struct arje_flight {
    const struct arje_plan *plan;
    int stdio[3];
    int joins[ARJE_JOINS]; /* the plan's, then where they were moved to */
    int status;        /* the child's end of the channel */
    int verdict;       /* the reaper's end of the verdict pipe, or -1 */
    int ready;         /* an eventfd(2) that counts one when the reaper runs, or -1 */
    int idmap;         /* the user namespace of the op IDMAP, or -1 */
    int spare_net;     /* the plan's, then where they were moved to */
    int spare_user;
    void *inner_stack; /* top of the second stack, for the payload below a reaper */
    int aside;         /* 1 while the leader lets the payload go first */
    int32_t exec_error; /* the child's errno when execve failed: a filter may leave it no other way to say so */
};

void arje_child(void *flight);

/* Of a step that failed when there was no way back: never optional. Below every errno. */
#define ARJE_BEYOND(error) ((error) - 4096)

/* Write the payload's pid wherever the plan wants it, and lower its limit of descriptors, 0 or -errno (given.c). */
void arje_write_pids(const struct arje_plan *plan);
long arje_limit_descriptors(const struct arje_plan *plan);

/* Do one op; 0 or -errno, and the name of the system call that said so. */
long arje_op_run(const struct arje_op *op, const char **syscall);

/* Forbid user namespaces below ours, and make sure of it (privileges.c). proc: a descriptor of /proc/self. */
long arje_no_nested_user(int proc, const char **syscall);

/* Leave the caller the system calls of a reaper, and no way to more (filters.c). */
void arje_confine_reaper(void);

/* Send the facts that are wanted (facts.c); 0 or -errno, and what was refused. proc: a descriptor of /proc/self. */
long arje_report(int status, int proc, uint64_t wanted, struct arje_record *record, const char **what);

#endif
