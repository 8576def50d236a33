/*
 * The guest's first process: mount, load modules, tune, start the agent, start it again when it dies, reap.
 * Static, no shell, no udev: under software emulation every exec counts.  What must be loaded, and in
 * which order, was worked out on the host (/etc/modules.order).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char *const worker[] = {"/python/bin/python3", "-m", "harness.agent.worker", NULL};
static char *const worker_environment[] = {"PATH=/bin:/sbin", "HOME=/", "LANG=C.UTF-8", "PYTHONHOME=/python",
                                           "PYTHONPATH=/python/site", "PYTHONUNBUFFERED=1", NULL};
static char *const library_cache[] = {"/sbin/ldconfig", "-X", NULL};

static void put(const char *path, const char *value)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, value, strlen(value)) < 0)
        dprintf(1, "init: write %s to %s: %s\n", value, path, strerror(errno));
    if (fd >= 0)
        close(fd);
}

static void attach(const char *type, const char *where)
{
    mkdir(where, 0755);
    if (mount(type, where, type, 0, NULL) && errno != EBUSY)
        dprintf(1, "init: mount %s on %s: %s\n", type, where, strerror(errno));
}

static void load_modules(const char *list)
{
    char path[512];
    FILE *lines = fopen(list, "re");
    while (lines && fgets(path, sizeof path, lines)) {
        path[strcspn(path, "\n")] = 0;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST))
            dprintf(1, "init: load %s: %s\n", path, strerror(errno));
        if (fd >= 0)
            close(fd);
    }
    if (lines)
        fclose(lines);
}

/* The transport itself is a virtio function and must stay bound; an entropy source (1af4:1044 or :1005) is a
 * function under test and must not be: its driver bound at boot, before autoprobing could be switched off. */
static void release_entropy_sources(void)
{
    const char *folder = "/sys/bus/pci/drivers/virtio-pci";
    DIR *bound = opendir(folder);
    for (struct dirent *one; bound && (one = readdir(bound));) {
        char path[512], device[16] = "";
        snprintf(path, sizeof path, "%s/%s/device", folder, one->d_name);
        FILE *attribute = fopen(path, "re");
        if (!attribute)
            continue;
        if (fgets(device, sizeof device, attribute) && (!strncmp(device, "0x1044", 6) || !strncmp(device, "0x1005", 6)))
            put("/sys/bus/pci/drivers/virtio-pci/unbind", one->d_name);
        fclose(attribute);
    }
    if (bound)
        closedir(bound);
}

static pid_t start(char *const argv[])
{
    pid_t child = fork();
    if (child == 0) {
        setsid();
        execve(argv[0], argv, worker_environment);
        dprintf(1, "init: run %s: %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    return child;
}

static time_t uptime(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

int main(void)
{
    attach("devtmpfs", "/dev");
    attach("devpts", "/dev/pts"); /* lab/shell runs its shell on a terminal */
    attach("proc", "/proc");
    attach("sysfs", "/sys");
    attach("tmpfs", "/tmp");
    attach("tmpfs", "/run");
    attach("debugfs", "/sys/kernel/debug");
    attach("tracefs", "/sys/kernel/tracing");
    attach("securityfs", "/sys/kernel/security"); /* says whether the kernel is locked down */
    put("/proc/sys/kernel/hung_task_warnings", "-1");
    put("/proc/sys/kernel/unknown_nmi_panic", "1");
    put("/proc/sys/kernel/panic_print", "192"); /* backtraces of all processors, tasks in state D */
    load_modules("/etc/modules.order");
    put("/sys/bus/pci/drivers_autoprobe", "0");
    release_entropy_sources();
    waitpid(start(library_cache), NULL, 0);

    int short_lives = 0;
    time_t born = uptime();
    for (pid_t agent = start(worker); short_lives < 5;) {
        int status;
        pid_t gone = wait(&status);
        if (gone != agent)
            continue;
        short_lives = uptime() - born < 10 ? short_lives + 1 : 0;
        dprintf(1, "init: agent ended, status %#x; starting it again\n", status);
        sleep(1); /* an agent that cannot start must not fill the console */
        born = uptime();
        agent = start(worker);
    }
    dprintf(1, "init: the agent does not stay; giving up\n");
    return 1; /* the kernel panics, and the host need not wait for a timeout */
}
