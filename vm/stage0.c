/*
 * /init of the initramfs: a static program that mounts what Python needs to start, loads the modules that /etc/modules
 * lists, and becomes Python. Python without /dev/urandom dies, and a kernel whose init is missing something panics
 * without a word about what; so whatever fails here is said on the console, and the machine goes off.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PYTHON "/usr/bin/python3"
#define INIT "vm.guest.init"

static const struct {
    const char *type, *path, *options;
    unsigned long flags;
} mounts[] = {
    {"devtmpfs", "/dev", "mode=0755", MS_NOSUID},
    {"proc", "/proc", "", MS_NOSUID | MS_NODEV | MS_NOEXEC},
    {"sysfs", "/sys", "", MS_NOSUID | MS_NODEV | MS_NOEXEC},
    {"cgroup2", "/sys/fs/cgroup", "nsdelegate", MS_NOSUID | MS_NODEV | MS_NOEXEC},
    {"devpts", "/dev/pts", "mode=0620,gid=5,ptmxmode=0666", MS_NOSUID | MS_NOEXEC},
    {"tmpfs", "/dev/shm", "mode=1777", MS_NOSUID | MS_NODEV},
    {"tmpfs", "/run", "mode=0755", MS_NOSUID | MS_NODEV},
    {"tmpfs", "/tmp", "mode=1777", MS_NOSUID | MS_NODEV},
};

static void complain(const char *what, const char *which) {
    dprintf(STDERR_FILENO, "stage0: %s %s: %s\n", what, which, strerror(errno));
}

static void load_modules(void) {
    char line[256];
    FILE *list = fopen("/etc/modules", "re");
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

int main(int argc, char **argv) {
    char *words[32] = {PYTHON, "-E", "-s", "-m", INIT};
    char *environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=vt100", NULL};
    umask(0022);
    for (size_t i = 0; i < sizeof mounts / sizeof mounts[0]; i++) {
        mkdir(mounts[i].path, 0755);
        if (mount(mounts[i].type, mounts[i].path, mounts[i].type, mounts[i].flags, mounts[i].options) != 0)
            complain("mount", mounts[i].path);
    }
    load_modules();
    for (int i = 1; i < argc && i < 26; i++)
        words[i + 4] = argv[i];
    execve(PYTHON, words, environment);
    complain("run", PYTHON);
    sync();
    reboot(RB_POWER_OFF);
    return 1;
}
