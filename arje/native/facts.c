/*
 * What the child tells of itself at the last moment before it becomes the payload. The kernel's own texts, read below a
 * descriptor of /proc/self that was opened before any mount could hide it, go to the parent as they are; nothing is judged
 * here. Rules of child.c hold.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/utsname.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
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

/* Bytes as hexadecimal text: in a message they stand between NULs. */
static long hexadecimal(struct report *report, const char *name, const unsigned char *bytes, uint32_t length) {
    enum { PIECE = 2000 };
    long error = 0;
    for (uint32_t done = 0; done < length && error == 0;) {
        uint32_t end = length - done > PIECE ? done + PIECE : length;
        error = begin(report, name, 2 * PIECE);
        for (; done < end; done++)
            for (int shift = 4; shift >= 0; shift -= 4) {
                char digit = bytes[done] >> shift & 15;
                report->text[report->used++] = digit < 10 ? '0' + digit : 'a' + digit - 10;
            }
        report->text[report->used++] = '\0';
    }
    return error;
}

/* How much of a datagram lies before its last message; *error is 1 while more datagrams come, else 0 or -errno. */
static uint32_t before_end(const char *datagram, uint32_t got, long *error) {
    uint32_t length = 0;
    *error = 1;
    while (got - length >= sizeof(struct nlmsghdr)) {
        const struct nlmsghdr *message = (const void *)(datagram + length);
        if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR) {
            *error = message->nlmsg_type == NLMSG_DONE ? 0 : *(const int *)NLMSG_DATA(message);
            break;
        }
        uint32_t next = NLMSG_ALIGN(message->nlmsg_len);
        if (next < sizeof *message || next > got - length)
            break;
        length += next;
    }
    return length;
}

/* All links, addresses or routes (type) of the namespace. */
static long dump_from(long fd, struct report *report, const char *name, uint16_t type) {
    struct {
        struct nlmsghdr header;
        struct ifinfomsg body;
        struct rtattr attribute;
        uint32_t mask;
    } request = {.header = {.nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
                 .attribute = {.rta_len = 8, .rta_type = IFLA_EXT_MASK},
                 .mask = RTEXT_FILTER_SKIP_STATS};
    char answer[8192] __attribute__((aligned(4)));
    uint32_t body = type == RTM_GETADDR ? sizeof(struct ifaddrmsg) : sizeof(struct rtmsg);
    request.header.nlmsg_len = type == RTM_GETLINK ? sizeof request : sizeof request.header + body;
    long error = raw6(__NR_sendto, fd, (long)&request, request.header.nlmsg_len, 0, 0, 0);
    for (long more = 1; error >= 0 && more > 0;) {
        error = raw6(__NR_recvfrom, fd, (long)answer, sizeof answer, 0, 0, 0);
        if (error >= 0) {
            uint32_t length = before_end(answer, (uint32_t)error, &more);
            error = more < 0 ? more : hexadecimal(report, name, (const unsigned char *)answer, length);
        }
    }
    return error;
}

static long dump(struct report *report, const char *name, uint16_t type) {
    long fd = raw3(__NR_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    long error = fd < 0 ? fd : dump_from(fd, report, name, type);
    if (fd >= 0)
        raw1(__NR_close, fd);
    return error;
}

/* Zeros where there is none: that it was lost was told by its step. */
static long of_proc(struct report *report) {
    struct stat place;
    struct statfs type;
    long error = raw4(__NR_newfstatat, AT_FDCWD, "/proc", &place, 0);
    int missing = error == -ENOENT || error == -ENOTDIR;
    if (error == 0)
        error = raw2(__NR_statfs, "/proc", &type);
    if (error < 0 && !missing)
        return error;
    error = number(report, "proc-device", missing ? 0 : (long)place.st_dev);
    return error < 0 ? error : number(report, "proc-type", missing ? 0 : (long)type.f_type);
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
    FACT(ARJE_FACT_NETWORK, "rtnetlink RTM_GETLINK", dump(&report, "links", RTM_GETLINK));
    FACT(ARJE_FACT_NETWORK, "rtnetlink RTM_GETADDR", dump(&report, "addresses", RTM_GETADDR));
    FACT(ARJE_FACT_NETWORK, "rtnetlink RTM_GETROUTE", dump(&report, "routes", RTM_GETROUTE));
    FACT(ARJE_FACT_PRIORITY, "read stat", file(&report, "stat"));
    FACT(ARJE_FACT_PRIORITY, "ioprio_get", number(&report, "ioprio", raw2(__NR_ioprio_get, IOPRIO_WHO_PROCESS, 0)));
    FACT(ARJE_FACT_PRIORITY, "sched_getscheduler",
         number(&report, "scheduler", raw1(__NR_sched_getscheduler, 0)));
    FACT(ARJE_FACT_PROC, "stat /proc", of_proc(&report));
    *what = "sendmsg";
    return flush(&report);
}
