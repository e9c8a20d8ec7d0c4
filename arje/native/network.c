/* One request to rtnetlink(7), made by the parent as bytes, sent from inside the new net namespace. Rules of child.c hold. */
#include <errno.h>
#include <linux/if.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <sys/socket.h>

#include "ops.h"
#include "raw.h"

enum { LONGEST = 512 };

static const char *name_of(uint16_t type) {
    switch (type) {
    case RTM_NEWLINK: return "rtnetlink RTM_NEWLINK";
    case RTM_NEWADDR: return "rtnetlink RTM_NEWADDR";
    case RTM_NEWROUTE: return "rtnetlink RTM_NEWROUTE";
    default: return "rtnetlink";
    }
}

/* The number of a device by its name, or -errno. */
static long index_of(long fd, const char *name) {
    struct ifreq request;
    volatile char *bytes = (volatile char *)&request; /* volatile: or gcc makes it a call of memset */
    for (size_t i = 0; i < sizeof request; i++)
        bytes[i] = 0;
    for (int i = 0; i < IFNAMSIZ - 1 && name[i] != '\0'; i++)
        request.ifr_name[i] = name[i];
    long answer = raw3(__NR_ioctl, fd, SIOCGIFINDEX, &request);
    return answer < 0 ? answer : request.ifr_ifindex;
}

static long exchange(long fd, const char *request, uint64_t length) {
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
        char rest[LONGEST];
    } answer;
    long got = raw6(__NR_sendto, fd, (long)request, (long)length, 0, 0, 0);
    if (got >= 0)
        got = raw6(__NR_recvfrom, fd, (long)&answer, sizeof answer, 0, 0, 0);
    if (got < 0)
        return got;
    if (got < (long)(sizeof answer.header + sizeof answer.error.error) || answer.header.nlmsg_type != NLMSG_ERROR)
        return -EPROTO;
    return answer.error.error;
}

/* The parent cannot know the device's number: it goes where links and addresses have it, and a route at its end. */
static long send_about(long fd, const struct arje_op *op, const char **syscall) {
    char copy[LONGEST] __attribute__((aligned(4)));
    const struct nlmsghdr *header = op->p;
    *syscall = "ioctl SIOCGIFINDEX";
    long index = index_of(fd, op->q);
    if (index < 0)
        return index;
    *syscall = name_of(header->nlmsg_type);
    if (op->a > LONGEST || op->a < sizeof *header + 8)
        return -E2BIG;
    for (uint64_t i = 0; i < op->a; i++)
        ((volatile char *)copy)[i] = ((const char *)op->p)[i];
    uint64_t place = header->nlmsg_type == RTM_NEWROUTE ? op->a - 4 : sizeof *header + 4;
    *(volatile int32_t *)(void *)(copy + place) = (int32_t)index;
    return exchange(fd, copy, op->a);
}

long arje_do_network(const struct arje_op *op, const char **syscall) {
    *syscall = "socket AF_NETLINK";
    long fd = raw3(__NR_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return fd;
    long error = send_about(fd, op, syscall);
    raw1(__NR_close, fd);
    return error;
}
