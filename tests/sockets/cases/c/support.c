#include "support.h"

int family = AF_INET;

struct address at(const char *ip, int port) {
    struct address a;
    memset(&a, 0, sizeof a);
    a.storage.ss_family = family;
    if (family == AF_INET6) {
        struct sockaddr_in6 *in = (void *)&a.storage;
        char mapped[64];
        in->sin6_port = htons(port);
        a.len = sizeof *in;
        if (inet_pton(AF_INET6, ip, &in->sin6_addr) == 1) return a;
        snprintf(mapped, sizeof mapped, "::ffff:%s", ip);
        inet_pton(AF_INET6, mapped, &in->sin6_addr);
    } else {
        struct sockaddr_in *in = (void *)&a.storage;
        in->sin_port = htons(port);
        a.len = sizeof *in;
        inet_pton(AF_INET, ip, &in->sin_addr);
    }
    return a;
}

struct address any(int port) { return at(family == AF_INET6 ? "::" : "0.0.0.0", port); }

int port_of(struct address a) {
    return ntohs(a.storage.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a.storage)->sin6_port
                                                 : ((struct sockaddr_in *)&a.storage)->sin_port);
}

struct address local_of(int fd) {
    struct address a;
    memset(&a, 0, sizeof a);
    a.len = sizeof a.storage;
    if (getsockname(fd, (void *)&a.storage, &a.len) < 0) a.len = 0;
    return a;
}

struct address peer_of(int fd) {
    struct address a;
    memset(&a, 0, sizeof a);
    a.len = sizeof a.storage;
    if (getpeername(fd, (void *)&a.storage, &a.len) < 0) a.len = 0;
    return a;
}

int same(struct address a, struct address b) { return a.len == b.len && !memcmp(&a.storage, &b.storage, a.len); }

int tcp(int flags) { return socket(family, SOCK_STREAM | flags, 0); }

int udp(int flags) { return socket(family, SOCK_DGRAM | flags, 0); }

int set(int fd, int level, int name, int value) { return setsockopt(fd, level, name, &value, sizeof value); }

int option(int fd, int level, int name) {
    int value = -12345;
    socklen_t len = sizeof value;
    if (getsockopt(fd, level, name, &value, &len) < 0) return -errno;
    return value;
}

const char *name(int error) {
    static char unknown[16];
    switch (error) {
#define E(e) case e: return #e;
        E(EAGAIN) E(EINPROGRESS) E(EALREADY) E(EISCONN) E(ENOTCONN) E(ECONNREFUSED) E(ECONNRESET) E(ECONNABORTED)
        E(EINVAL) E(EADDRINUSE) E(EPIPE) E(ENOPROTOOPT) E(EOPNOTSUPP) E(ENOTSOCK) E(EBADF) E(EFAULT) E(ETIMEDOUT)
        E(EHOSTUNREACH) E(ENETUNREACH) E(EINTR) E(EPERM) E(ENOENT) E(EEXIST) E(EAFNOSUPPORT) E(EADDRNOTAVAIL)
        E(EACCES) E(EMFILE) E(ESPIPE) E(ENOTTY) E(EDOM) E(ENOSYS) E(ENODEV) E(EMSGSIZE) E(EDESTADDRREQ)
        E(EPROTONOSUPPORT) E(ESOCKTNOSUPPORT) E(EPROTOTYPE) E(ENAMETOOLONG) E(ENOBUFS) E(ENOMEM) E(ERANGE)
#undef E
    }
    if (error == 0) return "0";
    snprintf(unknown, sizeof unknown, "%d", error);
    return unknown;
}

void pause_ms(int ms) { poll(NULL, 0, ms); }

int wait_for(int fd, int events) {
    struct pollfd p = {fd, events, 0};
    int n = poll(&p, 1, 10000);
    return n <= 0 ? n : p.revents;
}

int settled(int fd, int events, int wanted) {
    int got = wait_for(fd, events);
    for (int i = 0; i < 10000 && (got & wanted) != wanted; i++) {
        pause_ms(1);
        got = wait_for(fd, events);
    }
    return got & wanted;
}

int quiet(int fd, int events) {
    struct pollfd p = {fd, events, 0};
    int n = poll(&p, 1, 60);
    return n <= 0 ? n : p.revents;
}

char byte_at(long offset) { return (char)((unsigned long)offset * 2654435761u >> 13); }

long send_all(int fd, long count) {
    static char block[65536];
    for (long done = 0; done < count;) {
        long piece = count - done < (long)sizeof block ? count - done : (long)sizeof block;
        for (long i = 0; i < piece; i++) block[i] = byte_at(done + i);
        ssize_t n = send(fd, block, piece, MSG_NOSIGNAL);
        if (n < 0) return -errno;
        done += n;
    }
    return count;
}

long read_all(int fd, long most) {
    static char block[65536];
    long done = 0;
    while (done < most) {
        long piece = most - done < (long)sizeof block ? most - done : (long)sizeof block;
        ssize_t n = recv(fd, block, piece, 0);
        if (n < 0) return -errno;
        if (n == 0) break;
        done += n;
    }
    return done;
}
