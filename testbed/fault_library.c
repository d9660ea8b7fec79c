/* A library to preload: chosen calls on files whose path matches a pattern fail, lose bytes, stop or are counted.

   FAULT_RULES: rules that are separated by newlines, each of seven fields that are separated by tabs:
     calls     names of system calls, separated by commas, such as fsync,fdatasync
     pattern   of the whole path, as of fnmatch(3); it is that of the open file, or of the name that is given
     first     the first matching call that is meant, from 1
     count     how many calls are meant from there on; 0: all
     action    fail | lose | stop | count | watch
     errno     with which a call fails
     offset    only calls that reach beyond this offset of the file (reads and writes)
   fail: nothing is done but the error. lose: all that was written to the file is gone too, as after a write-back
   that failed. stop: the process stops itself (SIGSTOP) and goes on with the call. count: the bytes that came back. watch: likewise, the calls that failed.
   FAULT_STATE: a file that all processes share, with three 64-bit numbers for each rule: matching calls, calls that
   were meant, bytes or failures.
   FAULT_REDIRECT: LOW HIGH PORT: connections to 127.0.0.0/8 with a port from LOW to HIGH go to PORT instead, at
   127.77.a.b, where 256 a + b is the port that was meant.
   FAULT_CLOCK: so many seconds later it is, by the wall clock and by the time since the start of the host. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { MOST_RULES = 16, NO_OFFSET = -1 };
enum action { FAIL, LOSE, STOP, COUNT, WATCH };

struct rule {
    const char *calls, *pattern;
    uint64_t first, count;
    enum action action;
    int error;
    int64_t offset;
};

struct numbers {
    _Atomic uint64_t seen, meant, result;
};

static struct rule rules[MOST_RULES];
static struct numbers *numbers;
static int rules_count;
static int redirect_low, redirect_high, redirect_port;
static long clock_seconds;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static enum action action_of(const char *word) {
    if (strcmp(word, "lose") == 0) return LOSE;
    if (strcmp(word, "stop") == 0) return STOP;
    if (strcmp(word, "watch") == 0) return WATCH;
    return strcmp(word, "count") == 0 ? COUNT : FAIL;
}

static void begin(void) {
    const char *text = getenv("FAULT_RULES"), *state = getenv("FAULT_STATE"), *redirect = getenv("FAULT_REDIRECT");
    if (getenv("FAULT_CLOCK")) clock_seconds = atol(getenv("FAULT_CLOCK"));
    if (redirect) sscanf(redirect, "%d %d %d", &redirect_low, &redirect_high, &redirect_port);
    if (!text || !state) return;
    int file = syscall(SYS_openat, AT_FDCWD, state, O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    void *memory = mmap(NULL, MOST_RULES * sizeof *numbers, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    syscall(SYS_close, file);
    if (memory == MAP_FAILED) return;
    char *lines = strdup(text), *rest_of_lines = NULL;
    for (char *line = strtok_r(lines, "\n", &rest_of_lines); line && rules_count < MOST_RULES;
         line = strtok_r(NULL, "\n", &rest_of_lines)) {
        char *fields[7] = {0}, *rest = NULL;
        int found = 0;
        for (char *field = strtok_r(line, "\t", &rest); field && found < 7; field = strtok_r(NULL, "\t", &rest))
            fields[found++] = field;
        if (found < 7) continue;
        rules[rules_count++] = (struct rule){
            fields[0], fields[1], strtoull(fields[2], NULL, 10), strtoull(fields[3], NULL, 10),
            action_of(fields[4]), atoi(fields[5]), strtoll(fields[6], NULL, 10)};
    }
    numbers = memory;
}

static int names(const char *calls, const char *call) {
    size_t length = strlen(call);
    for (const char *at = calls; (at = strstr(at, call)); at += length)
        if ((at == calls || at[-1] == ',') && (at[length] == ',' || at[length] == 0)) return 1;
    return 0;
}

static void path_of(int fd, const char *name, char *path) {
    char link[64];
    path[0] = 0;
    if (name && name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
        return;
    }
    snprintf(link, sizeof link, fd == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = 0;
    if (name && length > 0 && length < PATH_MAX - 1) snprintf(path + length, PATH_MAX - length, "/%s", name);
}

/* Find the rule that a call is subject to; NULL if there is none. `end`: the offset behind the last byte. */
static struct rule *rule_for(const char *call, int fd, const char *name, int64_t end) {
    char path[PATH_MAX] = "";
    pthread_once(&once, begin);
    if (!numbers) return NULL;
    for (int i = 0; i < rules_count; i++) {
        struct rule *rule = &rules[i];
        if (!names(rule->calls, call)) continue;
        if (!path[0]) path_of(fd, name, path);
        if (fnmatch(rule->pattern, path, 0) != 0) continue;
        if (end != NO_OFFSET && end <= rule->offset) continue;
        uint64_t number = atomic_fetch_add(&numbers[i].seen, 1) + 1;
        if (number < rule->first || (rule->count && number >= rule->first + rule->count)) continue;
        atomic_fetch_add(&numbers[i].meant, 1);
        return rule;
    }
    return NULL;
}

/* Do what a rule says before the call; tells whether the call fails, with errno set. */
static int fails(struct rule *rule, int fd) {
    struct stat status;
    if (!rule || rule->action >= COUNT) return 0;
    if (rule->action == STOP) {
        raise(SIGSTOP);
        return 0;
    }
    if (rule->action == LOSE && fstat(fd, &status) == 0)
        syscall(SYS_fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0L, (long)status.st_size);
    errno = rule->error;
    return 1;
}

static ssize_t counted(struct rule *rule, ssize_t result) {
    if (rule && rule->action == COUNT && result > 0) atomic_fetch_add(&numbers[rule - rules].result, result);
    if (rule && rule->action == WATCH && result < 0) atomic_fetch_add(&numbers[rule - rules].result, 1);
    return result;
}

static int64_t here(int fd) { return syscall(SYS_lseek, fd, 0L, SEEK_CUR); }

static int64_t length_of(const struct iovec *vector, int count) {
    int64_t length = 0;
    for (int i = 0; i < count; i++) length += vector[i].iov_len;
    return length;
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

/* Reads and writes: `end` is the offset behind the last byte that is asked for. */
#define TRANSFER(symbol, call, end, declared, ...) \
    ssize_t symbol declared { \
        static ssize_t (*real) declared; \
        if (!real) real = (ssize_t (*) declared)dlsym(RTLD_NEXT, #symbol); \
        struct rule *rule = rule_for(call, fd, NULL, end); \
        if (fails(rule, fd)) return -1; \
        return counted(rule, real(__VA_ARGS__)); \
    }

TRANSFER(read, "read", here(fd) + (int64_t)size, (int fd, void *data, size_t size), fd, data, size)
TRANSFER(write, "write", here(fd) + (int64_t)size, (int fd, const void *data, size_t size), fd, data, size)
TRANSFER(pread64, "pread", at + (int64_t)size, (int fd, void *data, size_t size, off64_t at), fd, data, size, at)
TRANSFER(pwrite64, "pwrite", at + (int64_t)size, (int fd, const void *data, size_t size, off64_t at), fd, data, size, at)
TRANSFER(pread, "pread", at + (int64_t)size, (int fd, void *data, size_t size, off_t at), fd, data, size, at)
TRANSFER(pwrite, "pwrite", at + (int64_t)size, (int fd, const void *data, size_t size, off_t at), fd, data, size, at)
TRANSFER(readv, "read", here(fd) + length_of(v, n), (int fd, const struct iovec *v, int n), fd, v, n)
TRANSFER(writev, "write", here(fd) + length_of(v, n), (int fd, const struct iovec *v, int n), fd, v, n)
TRANSFER(preadv, "pread", at + length_of(v, n), (int fd, const struct iovec *v, int n, off_t at), fd, v, n, at)
TRANSFER(preadv64, "pread", at + length_of(v, n), (int fd, const struct iovec *v, int n, off64_t at), fd, v, n, at)
TRANSFER(pwritev, "pwrite", at + length_of(v, n), (int fd, const struct iovec *v, int n, off_t at), fd, v, n, at)
TRANSFER(pwritev64, "pwrite", at + length_of(v, n), (int fd, const struct iovec *v, int n, off64_t at), fd, v, n, at)
TRANSFER(preadv2, "pread", at + length_of(v, n), (int fd, const struct iovec *v, int n, off_t at, int f), fd, v, n, at, f)
TRANSFER(preadv64v2, "pread", at + length_of(v, n), (int fd, const struct iovec *v, int n, off64_t at, int f), fd, v, n, at, f)
TRANSFER(pwritev2, "pwrite", at + length_of(v, n), (int fd, const struct iovec *v, int n, off_t at, int f), fd, v, n, at, f)
TRANSFER(pwritev64v2, "pwrite", at + length_of(v, n), (int fd, const struct iovec *v, int n, off64_t at, int f), fd, v, n, at, f)

/* Calls on an open file that say 0, or -1 with errno. */
#define ON_FILE(symbol, call, declared, ...) \
    int symbol declared { \
        static int (*real) declared; \
        if (!real) real = (int (*) declared)dlsym(RTLD_NEXT, #symbol); \
        struct rule *rule = rule_for(call, fd, NULL, NO_OFFSET); \
        return fails(rule, fd) ? -1 : (int)counted(rule, real(__VA_ARGS__)); \
    }

ON_FILE(fsync, "fsync", (int fd), fd)
ON_FILE(fdatasync, "fdatasync", (int fd), fd)
ON_FILE(sync_file_range, "sync_file_range", (int fd, off64_t at, off64_t size, unsigned flags), fd, at, size, flags)
ON_FILE(fallocate, "fallocate", (int fd, int mode, off_t at, off_t size), fd, mode, at, size)
ON_FILE(fallocate64, "fallocate", (int fd, int mode, off64_t at, off64_t size), fd, mode, at, size)
ON_FILE(ftruncate, "ftruncate", (int fd, off_t size), fd, size)
ON_FILE(ftruncate64, "ftruncate", (int fd, off64_t size), fd, size)
ON_FILE(futimens, "futimens", (int fd, const struct timespec times[2]), fd, times)
ON_FILE(fsetxattr, "fsetxattr", (int fd, const char *n, const void *v, size_t s, int f), fd, n, v, s, f)

/* A close that fails has closed the file all the same. */
int close(int fd) {
    REAL(int, "close", int);
    struct rule *rule = rule_for("close", fd, NULL, NO_OFFSET);
    int failed = fails(rule, fd), result = real(fd);
    if (!failed) return result;
    errno = rule->error;
    return -1;
}

/* This one gives the error back. */
#define POSIX_FALLOCATE(symbol, type) \
    int symbol(int fd, type at, type size) { \
        REAL(int, #symbol, int, type, type); \
        return fails(rule_for("fallocate", fd, NULL, NO_OFFSET), fd) ? errno : real(fd, at, size); \
    }

POSIX_FALLOCATE(posix_fallocate, off_t)
POSIX_FALLOCATE(posix_fallocate64, off64_t)

/* Calls on names: a rule is about the new name where there are two. */
#define ON_NAME(symbol, call, directory, name, declared, ...) \
    int symbol declared { \
        static int (*real) declared; \
        if (!real) real = (int (*) declared)dlsym(RTLD_NEXT, #symbol); \
        return fails(rule_for(call, directory, name, NO_OFFSET), -1) ? -1 : real(__VA_ARGS__); \
    }

ON_NAME(link, "link", AT_FDCWD, new, (const char *old, const char *new), old, new)
ON_NAME(linkat, "link", d2, new, (int d1, const char *old, int d2, const char *new, int f), d1, old, d2, new, f)
ON_NAME(unlink, "unlink", AT_FDCWD, name, (const char *name), name)
ON_NAME(unlinkat, "unlink", d, name, (int d, const char *name, int flags), d, name, flags)
ON_NAME(rename, "rename", AT_FDCWD, new, (const char *old, const char *new), old, new)
ON_NAME(renameat, "rename", d2, new, (int d1, const char *old, int d2, const char *new), d1, old, d2, new)
ON_NAME(renameat2, "rename", d2, new, (int d1, const char *old, int d2, const char *new, unsigned f), d1, old, d2, new, f)
ON_NAME(utimensat, "utimensat", d, name, (int d, const char *name, const struct timespec t[2], int f), d, name, t, f)

int connect(int fd, const struct sockaddr *address, socklen_t length) {
    REAL(int, "connect", int, const struct sockaddr *, socklen_t);
    pthread_once(&once, begin);
    struct sockaddr_in meant;
    if (redirect_port && address && address->sa_family == AF_INET && length >= sizeof meant) {
        memcpy(&meant, address, sizeof meant);
        int port = ntohs(meant.sin_port);
        if (ntohl(meant.sin_addr.s_addr) >> 24 == 127 && redirect_low <= port && port <= redirect_high) {
            meant.sin_addr.s_addr = htonl(0x7f4d0000u | (unsigned)port);
            meant.sin_port = htons(redirect_port);
            return real(fd, (struct sockaddr *)&meant, sizeof meant);
        }
    }
    return real(fd, address, length);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(int, "clock_gettime", clockid_t, struct timespec *);
    int result = real(clock, now);
    pthread_once(&once, begin);
    /* Not the monotonic clock: the kernel knows it, and deadlines by it would never come. */
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_BOOTTIME)) now->tv_sec += clock_seconds;
    return result;
}

time_t time(time_t *now) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now) *now = found.tv_sec;
    return found.tv_sec;
}
