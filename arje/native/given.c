/* What a payload gets that only it can take: its own pid in its environment, and a limit that it would be in the way of. */
#include <stdint.h>
#include <sys/resource.h>

#include "child.h"
#include "raw.h"

/* LISTEN_PID and its like say who is meant, as that one sees itself: only it knows. */
void arje_write_pids(const struct arje_plan *plan) {
    for (uint32_t i = 0; i < plan->pid_count; i++) {
        volatile char *place = plan->pids[i];
        long pid = raw0(__NR_getpid), unit = 1;
        while (pid / unit >= 10)
            unit *= 10;
        for (; unit; unit /= 10)
            *place++ = (char)('0' + pid / unit % 10);
        *place = '\0';
    }
}

/* What it is passed, and what the child holds, may lie beyond it: that is only asked when a descriptor is made. */
long arje_limit_descriptors(const struct arje_plan *plan) {
    struct {
        uint64_t soft, hard;
    } limit;
    if (!plan->nofile)
        return 0;
    long error = raw4(__NR_prlimit64, 0, RLIMIT_NOFILE, 0, &limit);
    if (error < 0 || plan->nofile >= limit.soft)
        return error;
    limit.soft = plan->nofile;
    return raw4(__NR_prlimit64, 0, RLIMIT_NOFILE, &limit, 0);
}
