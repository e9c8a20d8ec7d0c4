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

/* Clone a child that does nothing, with these CLONE_NEW... flags, and reap it. 0 or -errno. */
int arje_probe_clone(uint64_t flags);

int arje_signalfd(const int *signals, int count);
int arje_read_signals(int fd, int *out, int capacity); /* triples of signal, pid, uid; how many triples */
int arje_inotify_init(void);
int arje_inotify_add(int fd, const char *path, uint32_t mask);
int arje_subreaper(void);
int arje_ioprio_get(int tid);
int arje_ioprio_set(int tid, int value);
int arje_setns(int fd, int kind);

/* The peer of bench/spawn: count spawns of one plan in C alone; nanoseconds of each, clone to confirmed exec. */
int arje_bench(struct arje_plan *plan, const int *stdio, const char *cgroup, int count, int64_t *nanoseconds);
