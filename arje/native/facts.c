/*
 * What the child tells of itself at the last moment before it becomes the payload. The kernel's own texts, read below a
 * descriptor of /proc/self that was opened before any mount could hide it, go to the parent as they are; nothing is judged
 * here. Rules of child.c hold.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <linux/utsname.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "child.h"
#include "raw.h"

/* A message being filled: name, NUL, text, NUL. It is sent whenever the next piece may not fit. */
struct report {
    int status;
    int proc;
    uint32_t used;
    struct arje_record *record;
    char text[ARJE_FACTS_SIZE];
};

static long flush(struct report *report) {
    struct iovec data[2] = {{report->record, sizeof *report->record}, {report->text, report->used}};
    struct msghdr message = {.msg_iov = data, .msg_iovlen = 2};
    long sent = report->used ? raw3(__NR_sendmsg, report->status, &message, MSG_NOSIGNAL) : 0;
    report->used = 0;
    return sent < 0 ? sent : 0;
}

static void put(struct report *report, const char *text) {
    do
        report->text[report->used++] = *text;
    while (*text++ != '\0');
}

/* Begin a piece, with room for `room` bytes of its text. */
static long begin(struct report *report, const char *name, uint32_t room) {
    long error = 0;
    if (report->used + raw_length(name) + 1 + room + 1 > ARJE_FACTS_SIZE)
        error = flush(report);
    put(report, name);
    return error;
}

static long file(struct report *report, const char *path) {
    enum { PIECE = 4000 };
    long fd = raw4(__NR_openat, report->proc, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    long got, error;
    do {
        if ((error = begin(report, path, PIECE)) < 0)
            break;
        got = raw3(__NR_read, fd, report->text + report->used, PIECE);
        report->used += got > 0 ? (uint32_t)got : 0;
        report->text[report->used++] = '\0';
        error = got < 0 ? got : 0;
    } while (got > 0);
    raw1(__NR_close, fd);
    return error;
}

static long target(struct report *report, const char *path) {
    enum { LONGEST = 4096 };
    long error = begin(report, path, LONGEST);
    long got = raw4(__NR_readlinkat, report->proc, path, report->text + report->used, LONGEST);
    report->used += got > 0 ? (uint32_t)got : 0;
    report->text[report->used++] = '\0';
    return error < 0 ? error : got < 0 && got != -ENOENT ? got : 0;
}

/* A number that the kernel answers, as decimal text. */
static long number(struct report *report, const char *name, long value) {
    char digits[24];
    uint32_t count = 0;
    if (value < 0)
        return value;
    long error = begin(report, name, sizeof digits);
    do
        digits[count++] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    while (count > 0)
        report->text[report->used++] = digits[--count];
    report->text[report->used++] = '\0';
    return error;
}

static long nodename(struct report *report) {
    struct new_utsname names;
    long error = raw1(__NR_uname, &names);
    if (error == 0)
        error = begin(report, "nodename", sizeof names.nodename);
    put(report, names.nodename);
    return error;
}

long arje_report(int status, int proc, uint64_t wanted, struct arje_record *record, const char **what) {
    struct report report;
    report.status = status;
    report.proc = proc;
    report.used = 0;
    report.record = record;
#define FACT(bit, name, call)                                                                                          \
    do {                                                                                                               \
        *what = (name);                                                                                                \
        long error_ = (wanted & (bit)) ? (call) : 0;                                                                   \
        if (error_ < 0)                                                                                                \
            return error_;                                                                                             \
    } while (0)
    FACT(ARJE_FACT_STATUS, "read status", file(&report, "status"));
    FACT(ARJE_FACT_STATUS, "readlink ns/mnt", target(&report, "ns/mnt"));
    FACT(ARJE_FACT_STATUS, "readlink ns/pid", target(&report, "ns/pid"));
    FACT(ARJE_FACT_STATUS, "readlink ns/net", target(&report, "ns/net"));
    FACT(ARJE_FACT_STATUS, "readlink ns/uts", target(&report, "ns/uts"));
    FACT(ARJE_FACT_STATUS, "readlink ns/ipc", target(&report, "ns/ipc"));
    FACT(ARJE_FACT_STATUS, "readlink ns/user", target(&report, "ns/user"));
    FACT(ARJE_FACT_STATUS, "readlink ns/cgroup", target(&report, "ns/cgroup"));
    /* execve moves us into it (time_namespaces(7)) */
    FACT(ARJE_FACT_STATUS, "readlink ns/time_for_children", target(&report, "ns/time_for_children"));
    FACT(ARJE_FACT_LIMITS, "read limits", file(&report, "limits"));
    FACT(ARJE_FACT_MAPS, "read uid_map", file(&report, "uid_map"));
    FACT(ARJE_FACT_MAPS, "read gid_map", file(&report, "gid_map"));
    FACT(ARJE_FACT_MOUNTS, "read mountinfo", file(&report, "mountinfo"));
    FACT(ARJE_FACT_TIME, "read timens_offsets", file(&report, "timens_offsets"));
    FACT(ARJE_FACT_CWD, "readlink cwd", target(&report, "cwd"));
    FACT(ARJE_FACT_NODENAME, "uname", nodename(&report));
    FACT(ARJE_FACT_PRIORITY, "read stat", file(&report, "stat"));
    FACT(ARJE_FACT_PRIORITY, "ioprio_get", number(&report, "ioprio", raw2(__NR_ioprio_get, IOPRIO_WHO_PROCESS, 0)));
    FACT(ARJE_FACT_PRIORITY, "sched_getscheduler",
         number(&report, "scheduler", raw1(__NR_sched_getscheduler, 0)));
    *what = "sendmsg";
    return flush(&report);
}
