/* Counts the calls that change files below a folder, and lets one of them fail.

   Loaded with LD_PRELOAD. campaign_arm() starts the count: each call below the prefix
   that changes a file, or forces it onto the disk, gets a number and a line in the log.
   The chosen call returns an error instead of working, or the process ends before it,
   or in the middle of it. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { KILL = -1, KILL_IN_THE_MIDDLE = -2 }; /* other actions are numbers of errors */

static char prefix[PATH_MAX];
static size_t prefix_length; /* 0: not armed */
static long chosen;
static int action;
static int log_fd = -1;
static atomic_long count;

void campaign_arm(const char *folder, long call, int what, const char *log) {
  prefix_length = 0;
  snprintf(prefix, sizeof prefix, "%s", folder);
  chosen = call;
  action = what;
  count = 0;
  log_fd = syscall(SYS_openat, AT_FDCWD, log, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC,
                   0644);
  prefix_length = strlen(prefix);
}

/* Where a name is, relative to an open folder; a descriptor alone if name is NULL. */
static const char *place(int folder, const char *name, char *path) {
  if (name && (name[0] == '/' || folder == AT_FDCWD)) {
    return name;
  }
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  if (length < 0) {
    return "";
  }
  path[length] = 0;
  if (name) {
    snprintf(path + length, PATH_MAX - length, "/%s", name);
  }
  return path;
}

/* Counts a call; returns 0 if it is to work, or the number of its error. */
static int visit(const char *name, int folder, const char *path, const char *second) {
  if (!prefix_length) {
    return 0;
  }
  int saved = errno;
  char buffer[PATH_MAX];
  const char *where = place(folder, path, buffer);
  if (strncmp(where, prefix, prefix_length)) {
    errno = saved;
    return 0;
  }
  long number = ++count;
  char line[2 * PATH_MAX + 64];
  int length = snprintf(line, sizeof line, "%ld\t%s\t%s\t%s\n", number, name, where,
                        second ? second : "");
  syscall(SYS_write, log_fd, line, length);
  errno = saved;
  if (number != chosen) {
    return 0;
  }
  if (action == KILL) {
    syscall(SYS_kill, getpid(), SIGKILL);
    pause();
  }
  return action;
}

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

/* Fails the call, or goes on; a call without data cannot stop in its middle. */
#define VISIT(folder, path, second, failure)                \
  do {                                                      \
    int error = visit(__func__, folder, path, second);      \
    if (error == KILL_IN_THE_MIDDLE) {                      \
      syscall(SYS_kill, getpid(), SIGKILL);                 \
      pause();                                              \
    }                                                       \
    if (error) {                                            \
      errno = error;                                        \
      return failure;                                       \
    }                                                       \
  } while (0)

#define OPEN(name)                                                       \
  int name(const char *path, int flags, ...) {                           \
    va_list more;                                                        \
    va_start(more, flags);                                               \
    mode_t mode = va_arg(more, mode_t);                                  \
    va_end(more);                                                        \
    if (flags & (O_CREAT | O_WRONLY | O_RDWR | O_TRUNC)) {               \
      VISIT(AT_FDCWD, path, NULL, -1);                                   \
    }                                                                    \
    return ((int (*)(const char *, int, ...))real(#name))(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                     \
  int name(int folder, const char *path, int flags, ...) {               \
    va_list more;                                                        \
    va_start(more, flags);                                               \
    mode_t mode = va_arg(more, mode_t);                                  \
    va_end(more);                                                        \
    if (flags & (O_CREAT | O_WRONLY | O_RDWR | O_TRUNC)) {               \
      VISIT(folder, path, NULL, -1);                                     \
    }                                                                    \
    return ((int (*)(int, const char *, int, ...))real(#name))(folder, path, flags, mode); \
  }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name)                                                      \
  FILE *name(const char *path, const char *mode) {                       \
    if (strpbrk(mode, "wa+")) {                                          \
      VISIT(AT_FDCWD, path, NULL, NULL);                                 \
    }                                                                    \
    return ((FILE * (*)(const char *, const char *))real(#name))(path, mode); \
  }
FOPEN(fopen)
FOPEN(fopen64)

/* Writes half of the data and ends the process, if this is the chosen call. */
#define WRITE(half)                                      \
  do {                                                   \
    int error = visit(__func__, file, NULL, NULL);       \
    if (error == KILL_IN_THE_MIDDLE) {                   \
      half;                                              \
      syscall(SYS_kill, getpid(), SIGKILL);              \
      pause();                                           \
    }                                                    \
    if (error) {                                         \
      errno = error;                                     \
      return -1;                                         \
    }                                                    \
  } while (0)

ssize_t write(int file, const void *data, size_t size) {
  WRITE(syscall(SYS_write, file, data, size / 2));
  return ((ssize_t (*)(int, const void *, size_t))real("write"))(file, data, size);
}

#define PWRITE(name)                                                          \
  ssize_t name(int file, const void *data, size_t size, off_t offset) {       \
    WRITE(syscall(SYS_pwrite64, file, data, size / 2, offset));               \
    return ((ssize_t (*)(int, const void *, size_t, off_t))real(#name))(      \
        file, data, size, offset);                                            \
  }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t writev(int file, const struct iovec *parts, int num_parts) {
  WRITE(syscall(SYS_writev, file, parts, num_parts / 2));
  return ((ssize_t (*)(int, const struct iovec *, int))real("writev"))(file, parts,
                                                                       num_parts);
}

/* The size that is safe is logged as the second word. */
#define OF_FILE(name)                                \
  int name(int file) {                               \
    struct stat now;                                 \
    char size[32] = "";                              \
    if (!fstat(file, &now)) {                        \
      snprintf(size, sizeof size, "%lld", (long long)now.st_size); \
    }                                                \
    VISIT(file, NULL, size, -1);                     \
    return ((int (*)(int))real(#name))(file);        \
  }
OF_FILE(fsync)
OF_FILE(fdatasync)

#define TRUNCATE(name)                                              \
  int name(int file, off_t size) {                                  \
    VISIT(file, NULL, NULL, -1);                                    \
    return ((int (*)(int, off_t))real(#name))(file, size);          \
  }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

#define OF_PATH(name)                                               \
  int name(const char *path) {                                      \
    VISIT(AT_FDCWD, path, NULL, -1);                                \
    return ((int (*)(const char *))real(#name))(path);              \
  }
OF_PATH(unlink)
OF_PATH(rmdir)
OF_PATH(remove)

int unlinkat(int folder, const char *path, int flags) {
  VISIT(folder, path, NULL, -1);
  return ((int (*)(int, const char *, int))real("unlinkat"))(folder, path, flags);
}

int mkdir(const char *path, mode_t mode) {
  VISIT(AT_FDCWD, path, NULL, -1);
  return ((int (*)(const char *, mode_t))real("mkdir"))(path, mode);
}

int mkdirat(int folder, const char *path, mode_t mode) {
  VISIT(folder, path, NULL, -1);
  return ((int (*)(int, const char *, mode_t))real("mkdirat"))(folder, path, mode);
}

/* The second name comes last, and decides whether the call is below the prefix. */
#define OF_TWO(name)                                                          \
  int name(const char *first, const char *second) {                           \
    VISIT(AT_FDCWD, second, first, -1);                                       \
    return ((int (*)(const char *, const char *))real(#name))(first, second); \
  }
OF_TWO(rename)
OF_TWO(link)
OF_TWO(symlink)

int renameat(int one, const char *first, int other, const char *second) {
  VISIT(other, second, first, -1);
  return ((int (*)(int, const char *, int, const char *))real("renameat"))(
      one, first, other, second);
}

int renameat2(int one, const char *first, int other, const char *second,
              unsigned int flags) {
  VISIT(other, second, first, -1);
  return ((int (*)(int, const char *, int, const char *, unsigned int))real(
      "renameat2"))(one, first, other, second, flags);
}

int symlinkat(const char *first, int other, const char *second) {
  VISIT(other, second, first, -1);
  return ((int (*)(const char *, int, const char *))real("symlinkat"))(first, other,
                                                                      second);
}
