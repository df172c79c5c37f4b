/* Preloaded into a daemon: a disk that fails, or that keeps whoever reads it waiting.

   By what the name of a file begins with, reading it
     eio-     fails from offset EIO_FROM on;
     bad-     fails anywhere;
     held-    waits as long as there is a file called as the environment's SHIM_HOLD says. Reads that
              are not to wait, fail; and each is reported on standard error as it begins to wait.

   As long as there is a file called as SHIM_FULL says, nothing is accepted: there are too many open
   files in the whole system. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define EIO_FROM (2 * 1024 * 1024)

static int is_there(const char *variable)
{
    const char *path = getenv(variable);
    int before = errno;
    int found = path != NULL && access(path, F_OK) == 0;

    errno = before;
    return found;
}

static int held(void)
{
    return is_there("SHIM_HOLD");
}

/* 0, or what errno is to be. */
static int fault(int fd, off64_t offset, size_t count, int flags)
{
    char link[32], path[4096];
    struct timespec pause = {0, 2000000};
    ssize_t length;
    int before = errno;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0)
        return 0;
    path[length] = 0;
    if (strstr(path, "/bad-") != NULL)
        return EIO;
    if (strstr(path, "/eio-") != NULL && offset + (off64_t)count > EIO_FROM)
        return EIO;
    if (strstr(path, "/held-") != NULL && held()) {
        if (flags & RWF_NOWAIT)
            return EAGAIN;
        dprintf(2, "a read of %s waits\n", strrchr(path, '/') + 1);
        while (held())
            nanosleep(&pause, NULL);
        errno = before;
    }
    return 0;
}

static size_t bytes_in(const struct iovec *vectors, int count)
{
    size_t bytes = 0;
    while (count-- > 0)
        bytes += vectors[count].iov_len;
    return bytes;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define CHECKED(call, fd, offset, count, flags)           \
    {                                                     \
        int problem = fault(fd, offset, count, flags);    \
        if (problem != 0) {                               \
            errno = problem;                              \
            return -1;                                    \
        }                                                 \
        return call;                                      \
    }

ssize_t pread(int fd, void *buffer, size_t count, off_t offset)
    CHECKED(REAL(pread)(fd, buffer, count, offset), fd, offset, count, 0)

ssize_t pread64(int fd, void *buffer, size_t count, off64_t offset)
    CHECKED(REAL(pread64)(fd, buffer, count, offset), fd, offset, count, 0)

ssize_t preadv(int fd, const struct iovec *vectors, int n, off_t offset)
    CHECKED(REAL(preadv)(fd, vectors, n, offset), fd, offset, bytes_in(vectors, n), 0)

ssize_t preadv64(int fd, const struct iovec *vectors, int n, off64_t offset)
    CHECKED(REAL(preadv64)(fd, vectors, n, offset), fd, offset, bytes_in(vectors, n), 0)

ssize_t preadv2(int fd, const struct iovec *vectors, int n, off_t offset, int flags)
    CHECKED(REAL(preadv2)(fd, vectors, n, offset, flags), fd, offset, bytes_in(vectors, n), flags)

ssize_t preadv64v2(int fd, const struct iovec *vectors, int n, off64_t offset, int flags)
    CHECKED(REAL(preadv64v2)(fd, vectors, n, offset, flags), fd, offset, bytes_in(vectors, n), flags)

ssize_t sendfile(int out, int fd, off_t *offset, size_t count)
    CHECKED(REAL(sendfile)(out, fd, offset, count), fd, *offset, count, 0)

ssize_t sendfile64(int out, int fd, off64_t *offset, size_t count)
    CHECKED(REAL(sendfile64)(out, fd, offset, count), fd, *offset, count, 0)

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    if (is_there("SHIM_FULL")) {
        errno = ENFILE;
        return -1;
    }
    return REAL(accept4)(fd, address, length, flags);
}
