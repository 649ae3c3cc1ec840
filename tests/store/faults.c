/* Faults at the door of the kernel, preloaded into a process (LD_PRELOAD) and armed by it through ctypes.
 *
 * A *write point* is a call that changes a file below one folder, or makes a change durable: write, pwrite,
 * ftruncate, fsync, fdatasync, unlink, link, rename. With `fault_sockets` sends to a server count too.
 * From the moment of arming they are counted; the n-th one meets the fault:
 *
 *     KILL_BEFORE   SIGKILL before the call reaches the kernel
 *     KILL_AFTER    SIGKILL once it returned
 *     TORN          SIGKILL after a part of the bytes (writes; others are killed before)
 *     NO_SPACE      answered with ENOSPC, this one and the `more` after it
 *     BROKEN        answered with EIO, this one and the `more` after it
 *
 * With `fault_ask` a kill asks another process to do it to somebody else, such as a database server, and goes on
 * when that is done. With `fault_log` every write point is also written to a log, data and all, so that a test can work out
 * what a disk might hold after a power loss. Record: kind, path length, data length, offset; path; data.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { NONE, KILL_BEFORE, KILL_AFTER, TORN, NO_SPACE, BROKEN };

static char folder[4096];
static size_t folder_len;
static int fault = NONE, sockets, log_fd = -1;
static long calls, fault_at, fault_more, torn_permille;
static int ask_fd = -1, answer_fd = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

/* Count write points below `path` from now on; the `at`-th one (from 1) meets `kind`. */
void fault_arm(const char *path, int kind, long at, long more, long permille) {
    pthread_mutex_lock(&lock);
    snprintf(folder, sizeof folder, "%s", path);
    folder_len = strlen(folder);
    calls = 0, fault = kind, fault_at = at, fault_more = more, torn_permille = permille;
    pthread_mutex_unlock(&lock);
}

/* Write points since arming. */
long fault_calls(void) { return calls; }

/* Sends on sockets are write points too. */
void fault_sockets(int on) { sockets = on; }

/* Kills are asked for on one descriptor (a line of JSON); the answer on the other says that it was done. */
void fault_ask(int ask, int answer) { ask_fd = ask, answer_fd = answer; }

/* Log every write point to this descriptor. */
void fault_log(int fd) { log_fd = fd; }

struct record { uint32_t kind, path_len; uint64_t data_len; int64_t offset; };

static void record(char kind, const char *path, const void *data, size_t length, off_t offset) {
    static ssize_t (*next)(int, const void *, size_t);
    if (log_fd < 0) return;
    if (!next) next = real("write");
    struct record head = {kind, strlen(path), length, offset};
    if (next(log_fd, &head, sizeof head) < 0 || next(log_fd, path, head.path_len) < 0) return;
    if (length && next(log_fd, data, length) < 0) return;
}

/* A note in the log, such as an acknowledgement. */
void fault_note(const char *text) {
    pthread_mutex_lock(&lock);
    record('N', text, NULL, 0, 0);
    pthread_mutex_unlock(&lock);
}

static int below(const char *path) {
    return folder_len && !strncmp(path, folder, folder_len) && path[folder_len] == '/';
}

static int path_of(int fd, char *path, size_t size) {
    char link[64];
    struct stat about;
    if (!folder_len || fstat(fd, &about)) return 0;
    if (S_ISSOCK(about.st_mode) && sockets) { snprintf(path, size, "%s/socket", folder); return 1; }
    if (!S_ISREG(about.st_mode) && !S_ISDIR(about.st_mode)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path) || !strcmp(path, folder);
}

static void die(void) {
    static ssize_t (*next)(int, const void *, size_t);
    static const char question[] = "{\"kill\": true}\n";
    char done;
    if (ask_fd < 0) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
    if (!next) next = real("write");
    if (next(ask_fd, question, sizeof question - 1) < 0 || read(answer_fd, &done, 1) < 0) return;
}

/* Count one write point. Returns what it meets; KILL_BEFORE does not return. */
static int met(void) {
    if (!folder_len) return NONE;
    long now = ++calls;
    int kind = fault;
    if (kind == NONE || now < fault_at || now > fault_at + fault_more) return NONE;
    if (kind == KILL_BEFORE) { die(); return NONE; }
    if (kind == NO_SPACE) errno = ENOSPC;
    if (kind == BROKEN) errno = EIO;
    return kind;
}

#define REFUSED(kind) ((kind) == NO_SPACE || (kind) == BROKEN)

typedef ssize_t (*pwrite_fn)(int, const void *, size_t, off_t);

static ssize_t written(int fd, const void *data, size_t length, off_t offset, int positioned) {
    static pwrite_fn next;
    static ssize_t (*next_write)(int, const void *, size_t);
    char path[4096];
    if (!next) next = real("pwrite64"), next_write = real("write");
    int watched = path_of(fd, path, sizeof path);
    if (!watched) return positioned ? next(fd, data, length, offset) : next_write(fd, data, length);
    pthread_mutex_lock(&lock);
    int kind = met();
    ssize_t result = -1;
    if (!REFUSED(kind)) {
        size_t part = kind == TORN ? length * torn_permille / 1000 : length;
        off_t place = positioned ? offset : lseek(fd, 0, SEEK_CUR);
        result = positioned ? next(fd, data, part, offset) : next_write(fd, data, part);
        if (result > 0) record('W', path, data, result, place);
        if (kind == TORN || kind == KILL_AFTER) die();
    }
    pthread_mutex_unlock(&lock);
    return result;
}

ssize_t write(int fd, const void *data, size_t length) { return written(fd, data, length, 0, 0); }
ssize_t pwrite(int fd, const void *data, size_t length, off_t at) { return written(fd, data, length, at, 1); }
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) { return written(fd, data, length, at, 1); }

ssize_t send(int fd, const void *data, size_t length, int flags) {
    static ssize_t (*next)(int, const void *, size_t, int);
    char path[4096];
    if (!next) next = real("send");
    if (!sockets || !path_of(fd, path, sizeof path)) return next(fd, data, length, flags);
    pthread_mutex_lock(&lock);
    int kind = met();
    ssize_t result = REFUSED(kind) ? -1 : next(fd, data, length, flags);
    if (kind == TORN || kind == KILL_AFTER) die();
    pthread_mutex_unlock(&lock);
    return result;
}

/* Any call on a file or a name: `run` calls the kernel. */
#define POINT(watched, name, code, length, run)                  \
    if (!(watched)) return run;                                  \
    pthread_mutex_lock(&lock);                                   \
    int kind = met();                                            \
    if (kind == TORN) die();                                     \
    int result = REFUSED(kind) ? -1 : run;                       \
    if (!result) record(code, name, NULL, 0, length);            \
    if (kind == KILL_AFTER) die();                               \
    pthread_mutex_unlock(&lock);                                 \
    return result

#define ON_FILE(call, code, length, arguments, types)       \
    int call types {                                             \
        static int(*next) types;                                 \
        char path[4096];                                         \
        if (!next) next = real(#call);                           \
        POINT(path_of(fd, path, sizeof path), path, code, length, next arguments); \
    }

ON_FILE(fsync, 'S', 0, (fd), (int fd))
ON_FILE(fdatasync, 'S', 0, (fd), (int fd))
ON_FILE(ftruncate, 'T', length, (fd, length), (int fd, off_t length))
ON_FILE(ftruncate64, 'T', length, (fd, length), (int fd, off64_t length))

int unlink(const char *path) {
    static int (*next)(const char *);
    if (!next) next = real("unlink");
    POINT(below(path) && !access(path, F_OK), path, 'U', 0, next(path));
}

static const char *pair(const char *from, const char *to, char *both, size_t size) {
    snprintf(both, size, "%s\n%s", from, to);
    return both;
}

int link(const char *from, const char *to) {
    static int (*next)(const char *, const char *);
    char both[8192];
    if (!next) next = real("link");
    POINT(below(to), pair(from, to, both, sizeof both), 'L', 0, next(from, to));
}

int linkat(int at, const char *from, int at2, const char *to, int flags) {
    static int (*next)(int, const char *, int, const char *, int);
    char both[8192];
    if (!next) next = real("linkat");
    POINT(below(to), pair(from, to, both, sizeof both), 'L', 0, next(at, from, at2, to, flags));
}

int rename(const char *from, const char *to) {
    static int (*next)(const char *, const char *);
    char both[8192];
    if (!next) next = real("rename");
    POINT(below(to), pair(from, to, both, sizeof both), 'R', 0, next(from, to));
}
