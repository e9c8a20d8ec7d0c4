/*
 * /init of the initramfs: a static program that mounts what Python needs to start, loads the drivers of virtio that
 * /etc/modules lists, looks whether all is there that /etc/arje/needs lists, and becomes arje. Python without
 * /dev/urandom dies, and a kernel whose init misses a library panics without a word about it; so what is missing is
 * said on the console, and a shell there lets somebody mend it.
 *
 * $ARJE_INIT, a word of the kernel's command line, names another Python module to become.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PYTHON "/usr/bin/python3"
#define MOST 64

static const struct {
    const char *type, *path, *options;
    unsigned long flags;
    mode_t mode;
} mounts[] = {
    {"devtmpfs", "/dev", "mode=0755", MS_NOSUID, 0755},
    {"proc", "/proc", "", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0755},
    {"sysfs", "/sys", "", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0755},
    {"cgroup2", "/sys/fs/cgroup", "nsdelegate", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0755},
    {"devpts", "/dev/pts", "mode=0620,gid=5,ptmxmode=0666", MS_NOSUID | MS_NOEXEC, 0755},
    {"tmpfs", "/dev/shm", "mode=1777", MS_NOSUID | MS_NODEV, 01777},
    {"tmpfs", "/run", "mode=0755", MS_NOSUID | MS_NODEV, 0755},
    {"tmpfs", "/tmp", "mode=1777", MS_NOSUID | MS_NODEV, 01777},
};

static void complain(const char *what, const char *which) {
    dprintf(STDERR_FILENO, "stage0: %s %s: %s\n", what, which, strerror(errno));
}

/* Whether something is mounted there: its device is another than its parent's. */
static int mounted(const char *path) {
    char parent[64];
    struct stat own, above;
    snprintf(parent, sizeof parent, "%s/..", path);
    return stat(path, &own) == 0 && stat(parent, &above) == 0 && own.st_dev != above.st_dev;
}

static void mount_all(void) {
    for (size_t i = 0; i < sizeof mounts / sizeof mounts[0]; i++) {
        mkdir(mounts[i].path, mounts[i].mode);
        if (!mounted(mounts[i].path) &&
            mount(mounts[i].type, mounts[i].path, mounts[i].type, mounts[i].flags, mounts[i].options) != 0 && errno != EBUSY)
            complain("mount", mounts[i].path);
    }
}

/* A kernel whose initramfs has no /dev/console gives its init no descriptors. */
static void open_console(void) {
    int fd = open("/dev/console", O_RDWR | O_NOCTTY);
    for (; fd >= 0 && fd < 2; fd = dup(fd))
        ;
    if (fd > 2)
        close(fd);
}

/* Whether there is a device of virtio's: a module takes long to be verified, and longer where processors are emulated. */
static int has_virtio(void) {
    char path[300], vendor[8] = "";
    int found = 0;
    struct dirent *device;
    DIR *devices = opendir("/sys/bus/pci/devices");
    while (devices != NULL && !found && (device = readdir(devices)) != NULL) {
        snprintf(path, sizeof path, "/sys/bus/pci/devices/%s/vendor", device->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        found = fd >= 0 && read(fd, vendor, 6) == 6 && strcmp(vendor, "0x1af4") == 0;
        if (fd >= 0)
            close(fd);
    }
    if (devices != NULL)
        closedir(devices);
    return found;
}

static void load_modules(void) {
    char line[256];
    FILE *list = has_virtio() ? fopen("/etc/modules", "re") : NULL;
    while (list != NULL && fgets(line, sizeof line, list) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        int fd = open(line, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST))
            complain("load", line);
        if (fd >= 0)
            close(fd);
    }
    if (list != NULL)
        fclose(list);
}

/* Return how many of the files in /etc/arje/needs are missing; each is told. */
static int missing(void) {
    int count = 0;
    char line[256];
    FILE *list = fopen("/etc/arje/needs", "re");
    while (list != NULL && fgets(line, sizeof line, list) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (access(line, R_OK) != 0) {
            complain("arje cannot start without", line);
            count++;
        }
    }
    if (list != NULL)
        fclose(list);
    return count;
}

/* Nothing else can be done: a shell on the console, as long as somebody uses it, then off. */
static void rescue(char **environment) {
    static char *const shell[] = {"sh", "-c", "exec setsid cttyhack sh || exec sh", NULL};
    dprintf(STDERR_FILENO, "stage0: a shell to mend it; leave it, and the machine goes off\n");
    pid_t pid = fork();
    if (pid == 0) {
        execve("/bin/sh", shell, environment);
        complain("run", "/bin/sh");
        _exit(127);
    }
    while (pid > 0 && waitpid(-1, NULL, 0) != pid)
        ;
    sync();
    reboot(RB_POWER_OFF);
}

int main(int argc, char **argv, char **given) {
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", home[] = "HOME=/root", began[64];
    char *words[MOST] = {PYTHON, "-E", "-s", "-m", "arje"};
    char *environment[MOST] = {path, home, began};
    int count = 3;
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    snprintf(began, sizeof began, "ARJE_STAGE0=%lld", (long long)now.tv_sec * 1000000000 + now.tv_nsec);
    umask(0);
    mount_all();
    umask(0022);
    if (fcntl(STDERR_FILENO, F_GETFD) < 0)
        open_console();
    load_modules();
    for (char **variable = given; *variable != NULL && count < MOST - 1; variable++)
        if (strncmp(*variable, "ARJE_INIT=", 10) == 0)
            words[4] = *variable + 10;
        else if (strncmp(*variable, "HOME=", 5) != 0 && strncmp(*variable, "PATH=", 5) != 0)
            environment[count++] = *variable;
    for (int i = 1; i < argc && i + 4 < MOST - 1; i++)
        words[i + 4] = argv[i];
    if (missing() == 0) {
        execve(PYTHON, words, environment);
        complain("run", PYTHON);
    }
    rescue(environment);
    return 1;
}
