/* The functions that Python calls; errors come back as negative errno. Read by the C compiler and by cffi. */

int arje_abi(void);

/* Two guard-paged stacks in one mapping; NULL when memory is short. */
void *arje_stack_new(void);
void arje_stack_free(void *stack);

/* Clone one child that waits at its gate. stdio: the three descriptors that become 0, 1 and 2. */
int arje_spawn(const struct arje_plan *plan, void *stack, const int *stdio, struct arje_child *child);

/* Let the child pass the gate (also: tell it that its id maps are written). */
int arje_release(int status_fd);

/* One record and what is behind it. 0: EOF; -EAGAIN: nothing there and block is 0. */
int arje_receive(int status_fd, int block, struct arje_message *message);

/* The errno of the execve of the child that this stack was lent to; 0 when it succeeded. After EOF only. */
int arje_exec_error(void *stack);

/*
 * spares.c: new namespaces that nobody is in, made by a thread; 0.4 ms for a net, 0.1 ms for a user namespace. A net
 * namespace is in our user namespace and has lo up, a user namespace has these maps, as its files want them. An order stays
 * alive from begin (0 or -errno) to end, which waits until it is done, and must be called once.
 */
#define ARJE_SPARES 4
struct arje_order {
    int32_t nets; /* how many */
    int32_t users;
    const char *uid_map;
    const char *gid_map;
    int32_t net[ARJE_SPARES]; /* descriptors, -1 where one was refused */
    int32_t user[ARJE_SPARES];
    int32_t error; /* -errno of the first that was refused; after it no more of its kind was tried */
    int32_t done;  /* 1: end will not wait */
    uint64_t thread;
};
int arje_order_begin(struct arje_order *order);
void arje_order_end(struct arje_order *order);

/* Clone a child that does nothing, with these CLONE_NEW... flags, and reap it. 0 or -errno. */
int arje_probe_clone(uint64_t flags);

int arje_signalfd(const int *signals, int count);
int arje_read_signals(int fd, int *out, int capacity); /* triples of signal, pid, uid; how many triples */
int arje_clock_watch(void); /* readable, with ECANCELED, when CLOCK_REALTIME was set */
int arje_inotify_init(void);
int arje_inotify_add(int fd, const char *path, uint32_t mask);
int arje_dumpable(int yes);
int arje_subreaper(void);
int arje_ioprio_get(int tid);
int arje_ioprio_set(int tid, int value);
int arje_setns(int fd, int kind);
/* A message queue that is not waited for (mq_overview(7)); its name without the slash. messages 0: the machine's limits. */
int arje_mq_open(const char *name, uint32_t mode, int64_t messages, int64_t size);
int arje_mq_unlink(const char *name);

/* filters.c: what this kernel has of them. The version of landlock's ABI, and whether a seccomp action is known. */
int arje_landlock_abi(void);
int arje_seccomp_knows(uint32_t action);

/*
 * notices.c: answering the system calls of others. next waits for one that `what` (0: tell it; else: let it through) does
 * not know by its number; 1, or 0 when nobody is left who could call. answer: an errno, or 0 to let it through.
 */
int arje_notice_next(int listener, const uint8_t *what, int size, struct arje_notice *notice);
int arje_notice_answer(int listener, uint64_t id, int error);
int arje_pidfd_getfd(int pidfd, int fd);
/* What a path means below a root, opened with O_PATH; -ENOSYS before Linux 5.6. */
int arje_open_in_root(int root, const char *path);

/*
 * libseccomp.c: the library, when it is installed. -ENOENT: it is not. A syscall's number is negative when this machine
 * lacks it, -1 when the library does not know it. The compiled filter is written to fd as an array of struct sock_filter.
 */
struct arje_seccomp_rule {
    int32_t number;
    uint32_t action;
};
int arje_libseccomp(void);
int arje_seccomp_number(const char *name);
int arje_seccomp_name(int number, char *name, int room);
int arje_seccomp_compile(uint32_t action, uint32_t foreign, const char *const *architectures,
                         const struct arje_seccomp_rule *rules, int count, int fd);

/* The peer of bench/spawn: count spawns of one plan in C alone; nanoseconds of each, clone to confirmed exec. */
int arje_bench(struct arje_plan *plan, const int *stdio, const char *cgroup, int count, int64_t *nanoseconds);

/* machine.c: what PID 1 asks of the kernel; "" where the call takes no text. */
int arje_mount(const char *source, const char *target, const char *type, uint64_t flags, const char *data);
int arje_umount(const char *target, int flags);
int arje_swapoff(const char *path);
int arje_pivot_root(const char *new_root, const char *put_old);
int arje_reboot(uint32_t command);
/*
 * End the machine by reboot(2) with this command, or this process with this status where that is refused or command is 0,
 * unless it is called again within so many milliseconds; 0 of them calls the guard off. Its thread begins with the first.
 */
int arje_guard(int64_t ms, uint32_t command, int status);
