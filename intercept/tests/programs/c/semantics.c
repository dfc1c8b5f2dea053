/* Prints what socket calls do, one line an observation, without anything that differs between two runs (descriptor
 * numbers, ports). Run on the kernel's loopback and on the LAN, the two outputs must be equal.
 *
 *   semantics HOST PORT     HOST: an own address to listen on and to connect to
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static int v6;
static const char *host;
static int base;

struct address {
    struct sockaddr_storage storage;
    socklen_t len;
};

static const char *name(int error) {
    static char unknown[16];
    switch (error) {
#define E(e) case e: return #e;
        E(EAGAIN) E(EINPROGRESS) E(EALREADY) E(EISCONN) E(ENOTCONN) E(ECONNREFUSED) E(ECONNRESET) E(EINVAL) E(EADDRINUSE)
        E(EPIPE) E(ENOPROTOOPT) E(EOPNOTSUPP) E(ENOTSOCK) E(EBADF) E(EFAULT) E(ETIMEDOUT) E(EHOSTUNREACH) E(ENETUNREACH)
        E(EINTR) E(EPERM) E(ENOENT) E(EAFNOSUPPORT) E(EADDRNOTAVAIL) E(EACCES) E(EMFILE)
    }
    if (error == 0) return "0";
    snprintf(unknown, sizeof unknown, "%d", error);
    return unknown;
}

#define SAY(label, call) say(label, (long)(call))
static long say(const char *label, long result) {
    int error = errno;
    if (result < 0) printf("%s: %s\n", label, name(error));
    else printf("%s: %ld\n", label, result);
    fflush(stdout);
    errno = error;
    return result;
}

static void ok(const char *label, int fd) {
    printf("%s: %s\n", label, fd < 0 ? name(errno) : "ok");
    fflush(stdout);
}

static struct address at(const char *ip, int port) {
    struct address a;
    memset(&a, 0, sizeof a);
    if (v6) {
        struct sockaddr_in6 *in = (void *)&a.storage;
        in->sin6_family = AF_INET6;
        in->sin6_port = htons(port);
        if (inet_pton(AF_INET6, ip, &in->sin6_addr) != 1) {
            char mapped[64];
            snprintf(mapped, sizeof mapped, "::ffff:%s", ip);
            inet_pton(AF_INET6, mapped, &in->sin6_addr);
        }
        a.len = sizeof *in;
    } else {
        struct sockaddr_in *in = (void *)&a.storage;
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        inet_pton(AF_INET, ip, &in->sin_addr);
        a.len = sizeof *in;
    }
    return a;
}

static int port_of(const struct address *a) {
    return ntohs(a->storage.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a->storage)->sin6_port
                                                  : ((struct sockaddr_in *)&a->storage)->sin_port);
}

static const char *ip_of(const struct address *a) {
    static char text[2][64];
    static int turn;
    char *out = text[turn ^= 1];
    if (a->len == 0) return "none";
    if (a->storage.ss_family == AF_INET6)
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&a->storage)->sin6_addr, out, 64);
    else if (a->storage.ss_family == AF_INET)
        inet_ntop(AF_INET, &((struct sockaddr_in *)&a->storage)->sin_addr, out, 64);
    else
        snprintf(out, 64, "family %d", a->storage.ss_family);
    /* The host is what differs between the two runs. */
    const char *bare = strncmp(out, "::ffff:", 7) ? out : out + 7;
    if (!strcmp(bare, host)) return bare == out ? "HOST" : "MAPPED-HOST";
    return out;
}

static struct address local_of(int fd) {
    struct address a;
    memset(&a, 0, sizeof a);
    a.len = sizeof a.storage;
    if (getsockname(fd, (void *)&a.storage, &a.len) < 0) a.len = 0;
    return a;
}

static struct address peer_of(int fd) {
    struct address a;
    memset(&a, 0, sizeof a);
    a.len = sizeof a.storage;
    if (getpeername(fd, (void *)&a.storage, &a.len) < 0) a.len = 0;
    return a;
}

static int same(struct address a, struct address b) {
    return a.len == b.len && !memcmp(&a.storage, &b.storage, a.len);
}

static int tcp(int flags) { return socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | flags, 0); }

static int option(int fd, int level, int opt) {
    int value = -12345;
    socklen_t len = sizeof value;
    if (getsockopt(fd, level, opt, &value, &len) < 0) return -errno;
    return value;
}

static int set(int fd, int level, int opt, int value) { return setsockopt(fd, level, opt, &value, sizeof value); }

static int soerror(int fd) { return option(fd, SOL_SOCKET, SO_ERROR); }

/* A listener on the wildcard address, as servers do. */
static int listener(int port, int flags) {
    int fd = tcp(flags);
    struct address any = at(v6 ? "::" : "0.0.0.0", port);
    set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (bind(fd, (void *)&any.storage, any.len) < 0 || listen(fd, 128) < 0) {
        printf("listener: %s\n", name(errno));
        exit(1);
    }
    return fd;
}

static int dial(int port) {
    int fd = tcp(0);
    struct address to = at(host, port);
    if (connect(fd, (void *)&to.storage, to.len) < 0) {
        printf("dial: %s\n", name(errno));
        close(fd);
        return -1;
    }
    return fd;
}

/* A connected pair of sockets: [0] the client, [1] the accepted one. */
static void both(int port, int ends[2]) {
    int l = listener(port, 0);
    ends[0] = dial(port);
    ends[1] = accept(l, NULL, NULL);
    close(l);
}

static int wait_for(int fd, int events) {
    struct pollfd p = {fd, events, 0};
    int n = poll(&p, 1, 5000);
    return n == 0 ? 0 : n < 0 ? -1 : p.revents;
}

/* A pair that is refused reports ERR and HUP a moment before OUT: all of `wanted` within a second. */
static int settled(int fd, int events, int wanted) {
    int got = wait_for(fd, events);
    for (int i = 0; i < 1000 && (got & wanted) != wanted; i++) {
        poll(NULL, 0, 1);
        got = wait_for(fd, events);
    }
    return got & wanted;
}

static void pause_ms(int ms) { poll(NULL, 0, ms); }

static void refused(void) {
    struct address to = at(host, 1);
    int fd = tcp(0);
    SAY("refused, blocking", connect(fd, (void *)&to.storage, to.len));
    printf("its SO_ERROR: %s\n", name(soerror(fd)));
    SAY("again", connect(fd, (void *)&to.storage, to.len));
    SAY("its peer", getpeername(fd, (void *)&to.storage, &to.len));
    close(fd);

    to = at(host, 1);
    fd = tcp(SOCK_NONBLOCK);
    SAY("refused, non-blocking", connect(fd, (void *)&to.storage, to.len));
    printf("poll: %x\n", settled(fd, POLLIN | POLLOUT, POLLOUT | POLLERR | POLLHUP));
    printf("SO_ERROR: %s\n", name(soerror(fd)));
    printf("SO_ERROR again: %s\n", name(soerror(fd)));
    close(fd);

    fd = tcp(SOCK_NONBLOCK);
    SAY("refused, error by connect", connect(fd, (void *)&to.storage, to.len));
    wait_for(fd, POLLOUT);
    SAY("connect again", connect(fd, (void *)&to.storage, to.len));
    printf("SO_ERROR then: %s\n", name(soerror(fd)));
    close(fd);

    char c;
    fd = tcp(SOCK_NONBLOCK);
    SAY("refused, error by read", connect(fd, (void *)&to.storage, to.len));
    wait_for(fd, POLLOUT);
    SAY("read", read(fd, &c, 1));
    close(fd);

    /* A socket whose first attempt failed is good for a second one. */
    int l = listener(base, 0);
    fd = tcp(0);
    SAY("first attempt", connect(fd, (void *)&to.storage, to.len));
    to = at(host, base);
    SAY("second attempt", connect(fd, (void *)&to.storage, to.len));
    int s = accept(l, NULL, NULL);
    SAY("sent", send(s, "x", 1, 0));
    SAY("received", recv(fd, &c, 1, 0));
    close(fd), close(s), close(l);
}

static void nonblocking_connect(void) {
    int l = listener(base + 1, 0);
    struct address to = at(host, base + 1);
    int fd = tcp(SOCK_NONBLOCK);
    SAY("connect", connect(fd, (void *)&to.storage, to.len));
    printf("poll: %x\n", wait_for(fd, POLLIN | POLLOUT));
    printf("SO_ERROR: %s\n", name(soerror(fd)));
    SAY("connect again", connect(fd, (void *)&to.storage, to.len));
    SAY("connect a third time", connect(fd, (void *)&to.storage, to.len));
    char c;
    SAY("nothing to read", read(fd, &c, 1));
    printf("flags: %x %x\n", fcntl(fd, F_GETFL) & O_NONBLOCK, fcntl(fd, F_GETFD));
    int s = accept(l, NULL, NULL);
    ok("accepted", s);
    SAY("connect when connected, blocking", connect(s, (void *)&to.storage, to.len));
    close(fd), close(s), close(l);
}

static void flags(void) {
    int l = listener(base + 2, SOCK_NONBLOCK | SOCK_CLOEXEC);
    printf("listener: %x %x\n", fcntl(l, F_GETFL) & O_NONBLOCK, fcntl(l, F_GETFD));
    SAY("idle accept", accept(l, NULL, NULL));
    SAY("idle accept4", accept4(l, NULL, NULL, SOCK_NONBLOCK));
#ifdef __GLIBC__ /* musl makes something of its own of them */
    SAY("bad accept4 flags", accept4(l, NULL, NULL, 3));
#endif
    int c1 = dial(base + 2), c2 = dial(base + 2), c3 = tcp(SOCK_CLOEXEC);
    struct address to = at(host, base + 2);
    SAY("connect with close-on-exec", connect(c3, (void *)&to.storage, to.len));
    printf("client: %x %x, %x %x\n", fcntl(c1, F_GETFL) & O_NONBLOCK, fcntl(c1, F_GETFD),
           fcntl(c3, F_GETFL) & O_NONBLOCK, fcntl(c3, F_GETFD));
    printf("poll: %x\n", wait_for(l, POLLIN | POLLOUT));
    int s1 = accept(l, NULL, NULL);
    wait_for(l, POLLIN);
    int s2 = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    wait_for(l, POLLIN);
    int s3 = accept4(l, NULL, NULL, SOCK_CLOEXEC);
    printf("accept: %x %x\n", fcntl(s1, F_GETFL) & O_NONBLOCK, fcntl(s1, F_GETFD));
    printf("accept4: %x %x\n", fcntl(s2, F_GETFL) & O_NONBLOCK, fcntl(s2, F_GETFD));
    printf("accept4: %x %x\n", fcntl(s3, F_GETFL) & O_NONBLOCK, fcntl(s3, F_GETFD));
    printf("listener after: %x %x\n", fcntl(l, F_GETFL) & O_NONBLOCK, fcntl(l, F_GETFD));
    int on = 0;
    fcntl(l, F_SETFL, fcntl(l, F_GETFL) | O_NONBLOCK);
    (void)on;
    SAY("idle accept at the end", accept(l, NULL, NULL));
    close(c1), close(c2), close(c3), close(s1), close(s2), close(s3), close(l);
}

static void names(void) {
    int l = tcp(0);
    struct address any = at(v6 ? "::" : "0.0.0.0", 0);
    printf("unbound: %s %d\n", ip_of(&(struct address){local_of(l).storage, any.len}), port_of(&any));
    SAY("bind to any port", bind(l, (void *)&any.storage, any.len));
    struct address bound = local_of(l);
    SAY("bind twice", bind(l, (void *)&any.storage, any.len));
    SAY("listen", listen(l, 5));
    struct address listening = local_of(l);
    printf("port kept: %d, chosen: %d\n", same(bound, listening), port_of(&bound) != 0);
    printf("listener: %s\n", ip_of(&listening));
    struct address none = any;
    SAY("peer of a listener", getpeername(l, (void *)&none.storage, &none.len));
    int c = dial(port_of(&bound));
    struct address from;
    memset(&from, 0xff, sizeof from);
    from.len = sizeof from.storage;
    int s = accept(l, (void *)&from.storage, &from.len);
    printf("client: %s -> %s\n", ip_of(&(struct address){local_of(c).storage, any.len}), "...");
    struct address cl = local_of(c), cp = peer_of(c), sl = local_of(s), sp = peer_of(s);
    printf("client local %s, peer %s; server local %s, ", ip_of(&cl), ip_of(&cp), ip_of(&sl));
    printf("peer %s, accept %s\n", ip_of(&sp), ip_of(&from));
    printf("lengths: %d %d %d %d %d\n", cl.len == any.len, cp.len == any.len, sl.len == any.len, sp.len == any.len,
           from.len == any.len);
    printf("agree: %d %d %d\n", same(cl, sp), same(cp, sl), same(sp, from));
    int copy = dup(c);
    printf("copy agrees: %d\n", same(local_of(copy), cl));
    struct address cut;
    memset(&cut, 0, sizeof cut);
    cut.len = 4;
    SAY("short buffer", getpeername(c, (void *)&cut.storage, &cut.len));
    printf("full length told: %d, family written: %d, rest untouched: %d\n", cut.len == any.len,
           cut.storage.ss_family == any.storage.ss_family, ((char *)&cut.storage)[4] == 0);
    SAY("listen again", listen(l, 50));
    SAY("listen on a connection", listen(c, 5));
    SAY("accept on a connection", accept(c, NULL, NULL));
    SAY("connect on a listener", connect(l, (void *)&cp.storage, cp.len));
    SAY("bind a connection", bind(c, (void *)&any.storage, any.len));
    int second = tcp(0);
    struct address taken = any;
    if (v6) ((struct sockaddr_in6 *)&taken.storage)->sin6_port = htons(port_of(&bound));
    else ((struct sockaddr_in *)&taken.storage)->sin_port = htons(port_of(&bound));
    SAY("bind to a taken port", bind(second, (void *)&taken.storage, taken.len));
    close(second), close(copy), close(c), close(s), close(l);
}

static void half_close(void) {
    int e[2];
    char buffer[16];
    both(base + 3, e);
    SAY("request", send(e[0], "request", 7, 0));
    SAY("shutdown", shutdown(e[0], SHUT_WR));
    SAY("receive", recv(e[1], buffer, sizeof buffer, MSG_WAITALL));
    SAY("end", recv(e[1], buffer, sizeof buffer, 0));
    SAY("reply", send(e[1], "reply", 5, 0));
    close(e[1]);
    SAY("receive", recv(e[0], buffer, sizeof buffer, MSG_WAITALL));
    SAY("end", recv(e[0], buffer, sizeof buffer, 0));
    SAY("write after shutdown", send(e[0], "x", 1, MSG_NOSIGNAL));
    close(e[0]);

    both(base + 4, e);
    close(e[1]);
    printf("FIN polls as: %x\n", wait_for(e[0], POLLIN | POLLRDHUP) & (POLLIN | POLLRDHUP));
    SAY("end", read(e[0], buffer, 1));
    printf("SO_ERROR: %s\n", name(soerror(e[0])));
    close(e[0]);
}

static void reset(void) {
    int e[2];
    char buffer[16];
    struct linger now = {1, 0};
    both(base + 5, e);
    SAY("linger", setsockopt(e[1], SOL_SOCKET, SO_LINGER, &now, sizeof now));
    close(e[1]);
    pause_ms(50);
    wait_for(e[0], POLLIN);
    SAY("read", read(e[0], buffer, 1));
    SAY("read again", read(e[0], buffer, 1));
    printf("SO_ERROR: %s\n", name(soerror(e[0])));
    close(e[0]);

    both(base + 5, e);
    SAY("linger", setsockopt(e[1], SOL_SOCKET, SO_LINGER, &now, sizeof now));
    close(e[1]);
    pause_ms(50);
    wait_for(e[0], POLLIN);
    printf("SO_ERROR: %s\n", name(soerror(e[0])));
    printf("SO_ERROR again: %s\n", name(soerror(e[0])));
    SAY("recv", recv(e[0], buffer, 1, 0));
    close(e[0]);

    /* Closing with unread data resets. */
    for (int how = 0; how < 4; how++) {
        both(base + 5, e);
        SAY("send", send(e[0], "unread", 6, 0));
        wait_for(e[1], POLLIN);
        close(e[1]);
        pause_ms(50);
        wait_for(e[0], POLLIN);
        struct iovec vector = {buffer, 1};
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
        if (how == 0) SAY("read", read(e[0], buffer, 1));
        if (how == 1) SAY("recvmsg", recvmsg(e[0], &message, 0));
        if (how == 2) SAY("readv", readv(e[0], &vector, 1));
        if (how == 3) SAY("recvfrom", recvfrom(e[0], buffer, 1, 0, NULL, NULL));
        SAY("nothing asked", read(e[0], buffer, 0));
        close(e[0]);
    }
}

static void epoll(int edge) {
    struct epoll_event event = {EPOLLIN | EPOLLOUT | (edge ? EPOLLET : 0), {.u64 = 0x1122334455667788}}, got;
    struct address to = at(host, base + 6);
    int ep = epoll_create1(0), ep2 = epoll_create1(0), l = tcp(SOCK_NONBLOCK), fd = tcp(SOCK_NONBLOCK);
    struct address any = at(v6 ? "::" : "0.0.0.0", base + 6);
    set(l, SOL_SOCKET, SO_REUSEADDR, 1);
    event.events &= ~EPOLLOUT;
    SAY("add the listener first", epoll_ctl(ep, EPOLL_CTL_ADD, l, &event));
    SAY("bind", bind(l, (void *)&any.storage, any.len));
    SAY("listen", listen(l, 5));
    event.events |= EPOLLOUT;
    SAY("add before connect", epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event));
    event.data.u64 = 7;
    SAY("and to another", epoll_ctl(ep2, EPOLL_CTL_ADD, fd, &event));
    SAY("connect", connect(fd, (void *)&to.storage, to.len));
    int seen_out = 0, seen_in = 0, s = -1;
    for (int i = 0; i < 50 && !(seen_out && seen_in); i++) {
        if (epoll_wait(ep, &got, 1, 100) < 1) continue;
        if (got.data.u64 != 0x1122334455667788) printf("foreign data\n");
        if (got.events & EPOLLOUT) seen_out = 1;
        if (s < 0 && (s = accept4(l, NULL, NULL, SOCK_NONBLOCK)) >= 0) send(s, "x", 1, 0);
        if (s >= 0 && (got.events & EPOLLIN) && (got.events & EPOLLOUT)) seen_in = 1;
        pause_ms(5);
    }
    printf("writable %d, readable %d\n", seen_out, seen_in);
    printf("other instance: %d\n", epoll_wait(ep2, &got, 1, 1000));
    printf("its data: %d\n", (int)got.data.u64);
    SAY("modify", epoll_ctl(ep, EPOLL_CTL_MOD, fd, &event));
    SAY("delete", epoll_ctl(ep, EPOLL_CTL_DEL, fd, &event));
    SAY("delete again", epoll_ctl(ep, EPOLL_CTL_DEL, fd, &event) < 0 ? 1 : 0);
    SAY("delete the listener", epoll_ctl(ep, EPOLL_CTL_DEL, l, NULL));
    close(ep), close(ep2), close(fd), close(s), close(l);
}

static void options(void) {
    int u = tcp(0);
    printf("unconnected: type %d domain %d protocol %d listening %d\n", option(u, SOL_SOCKET, SO_TYPE),
           option(u, SOL_SOCKET, SO_DOMAIN) == (v6 ? AF_INET6 : AF_INET), option(u, SOL_SOCKET, SO_PROTOCOL),
           option(u, SOL_SOCKET, SO_ACCEPTCONN));
    close(u);
    int l = listener(base + 7, 0);
    printf("listener: type %d domain %d protocol %d listening %d error %s reuse %d\n", option(l, SOL_SOCKET, SO_TYPE),
           option(l, SOL_SOCKET, SO_DOMAIN) == (v6 ? AF_INET6 : AF_INET), option(l, SOL_SOCKET, SO_PROTOCOL),
           option(l, SOL_SOCKET, SO_ACCEPTCONN), name(soerror(l)), option(l, SOL_SOCKET, SO_REUSEADDR));
    /* Set before the connection: kept. */
    int c = tcp(0);
    set(c, SOL_TCP, TCP_NODELAY, 1);
    set(c, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(c, SOL_TCP, TCP_KEEPIDLE, 33);
    set(c, SOL_TCP, TCP_USER_TIMEOUT, 4321);
    set(c, SOL_IP, IP_TOS, 0x10);
    struct timeval limit = {0, 100000};
    setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    struct address to = at(host, base + 7);
    SAY("connect", connect(c, (void *)&to.storage, to.len));
    int s = accept(l, NULL, NULL);
    char b;
    SAY("receive time-out kept", recv(c, &b, 1, 0));
    printf("kept: nodelay %d keepalive %d idle %d user %d tos %d\n", option(c, SOL_TCP, TCP_NODELAY),
           option(c, SOL_SOCKET, SO_KEEPALIVE), option(c, SOL_TCP, TCP_KEEPIDLE), option(c, SOL_TCP, TCP_USER_TIMEOUT),
           option(c, SOL_IP, IP_TOS));
    printf("connection: type %d domain %d protocol %d listening %d error %s\n", option(s, SOL_SOCKET, SO_TYPE),
           option(s, SOL_SOCKET, SO_DOMAIN) == (v6 ? AF_INET6 : AF_INET), option(s, SOL_SOCKET, SO_PROTOCOL),
           option(s, SOL_SOCKET, SO_ACCEPTCONN), name(soerror(s)));
    struct { int level, opt, value; const char *name; } list[] = {
        {SOL_TCP, TCP_NODELAY, 1, "nodelay"}, {SOL_TCP, TCP_CORK, 1, "cork"}, {SOL_TCP, TCP_KEEPIDLE, 10, "idle"},
        {SOL_TCP, TCP_KEEPINTVL, 5, "interval"}, {SOL_TCP, TCP_KEEPCNT, 3, "count"},
        {SOL_TCP, TCP_USER_TIMEOUT, 9000, "user timeout"}, {SOL_TCP, TCP_KEEPIDLE, 0, "bad idle"},
        {SOL_TCP, TCP_KEEPCNT, 1000, "bad count"}, {SOL_SOCKET, SO_KEEPALIVE, 1, "keepalive"},
        {SOL_SOCKET, SO_REUSEADDR, 1, "reuseaddr"}, {SOL_SOCKET, SO_BROADCAST, 1, "broadcast"},
        {SOL_SOCKET, SO_OOBINLINE, 1, "oobinline"}, {SOL_SOCKET, SO_PRIORITY, 5, "priority"},
        {SOL_SOCKET, SO_TYPE, 1, "type"}, {SOL_SOCKET, SO_ERROR, 1, "error"}, {SOL_SOCKET, SO_ACCEPTCONN, 1, "accepting"},
        {SOL_IP, IP_TOS, 8, "tos"}, {SOL_IP, IP_TTL, 44, "ttl"}, {SOL_IP, IP_TTL, 300, "bad ttl"},
        {SOL_TCP, 999, 1, "no such option"}, {SOL_SOCKET, 9999, 1, "no such socket option"},
    };
    for (unsigned i = 0; i < sizeof list / sizeof *list; i++) {
        int result = set(s, list[i].level, list[i].opt, list[i].value);
        printf("%s: %s, then %d\n", list[i].name, result < 0 ? name(errno) : "ok", option(s, list[i].level, list[i].opt));
    }
    struct linger linger = {1, 9};
    socklen_t len = sizeof linger;
    SAY("linger", setsockopt(s, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    memset(&linger, 0, sizeof linger);
    SAY("linger", getsockopt(s, SOL_SOCKET, SO_LINGER, &linger, &len));
    printf("%d %d %d\n", linger.l_onoff, linger.l_linger, len);
    struct tcp_info info;
    len = sizeof info;
    memset(&info, 0, sizeof info);
    SAY("info", getsockopt(s, SOL_TCP, TCP_INFO, &info, &len));
    printf("established: %d, mss: %d\n", info.tcpi_state, info.tcpi_snd_mss > 0);
    len = sizeof info;
    SAY("info", getsockopt(l, SOL_TCP, TCP_INFO, &info, &len));
    printf("listening: %d\n", info.tcpi_state);
    int v = 1;
    SAY("short value", setsockopt(s, SOL_TCP, TCP_NODELAY, &v, 2));
    SAY("null value", setsockopt(s, SOL_TCP, TCP_NODELAY, NULL, 4));
    char one[1] = {0};
    len = 1;
    SAY("short answer", getsockopt(s, SOL_TCP, TCP_NODELAY, one, &len));
    printf("%d %d\n", one[0], len);
    printf("buffer sizes: %d %d\n", option(s, SOL_SOCKET, SO_SNDBUF) > 4000, option(s, SOL_SOCKET, SO_RCVBUF) > 2000);
    close(c), close(s), close(l);
}

static void messages(void) {
    int e[2];
    char buffer[16];
    both(base + 8, e);
    struct address from, to = at(host, base + 8);
    memset(&from, 0xee, sizeof from);
    from.len = sizeof from.storage;
    SAY("sendto with an address", sendto(e[0], "abc", 3, 0, (void *)&to.storage, to.len));
    SAY("recvfrom with an address", recvfrom(e[1], buffer, 3, MSG_WAITALL, (void *)&from.storage, &from.len));
    printf("its length: %d\n", (int)from.len);
    struct iovec vector = {buffer, 3};
    struct msghdr message = {.msg_name = &to.storage, .msg_namelen = to.len, .msg_iov = &vector, .msg_iovlen = 1};
    SAY("sendmsg with an address", sendmsg(e[0], &message, 0));
    memset(&from, 0xee, sizeof from);
    message.msg_name = &from.storage;
    message.msg_namelen = sizeof from.storage;
    SAY("recvmsg with an address", recvmsg(e[1], &message, MSG_WAITALL));
    printf("its length: %d\n", (int)message.msg_namelen);
    SAY("send", send(e[0], "left", 4, 0));
    wait_for(e[1], POLLIN);
    SAY("error queue", recv(e[1], buffer, 4, MSG_ERRQUEUE | MSG_DONTWAIT));
    SAY("error queue", recvmsg(e[1], &message, MSG_ERRQUEUE | MSG_DONTWAIT));
    SAY("peek", recv(e[1], buffer, 4, MSG_PEEK | MSG_WAITALL));
    SAY("data", recv(e[1], buffer, 4, MSG_WAITALL));
    SAY("no data", recv(e[1], buffer, 4, MSG_DONTWAIT));
    SAY("read end shut", shutdown(e[0], SHUT_RD));
    SAY("end", recv(e[0], buffer, 1, 0));
    SAY("still sends", send(e[0], "y", 1, 0));
    SAY("arrives", recv(e[1], buffer, 1, 0));
    close(e[0]), close(e[1]);
}

static void workers(void) {
    int l = listener(base + 9, 0), told[2];
    char byte;
    if (pipe(told) < 0) return;
    pid_t child[3];
    for (int i = 0; i < 3; i++)
        if ((child[i] = fork()) == 0) {
            for (int n = 0; n < 4; n++) {
                struct address from;
                from.len = sizeof from.storage;
                int s = accept(l, (void *)&from.storage, &from.len);
                byte = s >= 0 && read(s, &byte, 1) == 1 && same(from, peer_of(s)) ? '+' : '-';
                if (write(s, &byte, 1) != 1 || write(told[1], &byte, 1) != 1) _exit(1);
                close(s);
            }
            _exit(0);
        }
    int served = 0, good = 0;
    for (int n = 0; n < 12; n++) {
        int c = dial(base + 9);
        if (send(c, "q", 1, 0) == 1 && recv(c, &byte, 1, 0) == 1) served++;
        close(c);
    }
    for (int n = 0; n < 12; n++)
        if (read(told[0], &byte, 1) == 1 && byte == '+') good++;
    for (int i = 0; i < 3; i++) waitpid(child[i], NULL, 0);
    printf("served %d, true addresses %d\n", served, good);
    close(l), close(told[0]), close(told[1]);
}

static void bulk(void) {
    int e[2];
    enum { TOTAL = 8 << 20 };
    both(base + 10, e);
    if (fork() == 0) {
        static char out[70000];
        unsigned at = 0;
        while (at < TOTAL) {
            unsigned n = TOTAL - at < sizeof out ? TOTAL - at : sizeof out;
            for (unsigned i = 0; i < n; i++) out[i] = (char)((at + i) * 2654435761u >> 13);
            if (write(e[0], out, n) != (ssize_t)n) _exit(1);
            at += n;
        }
        _exit(0);
    }
    close(e[0]);
    static char in[50000];
    unsigned at = 0, wrong = 0;
    ssize_t n;
    while ((n = read(e[1], in, sizeof in)) > 0)
        for (ssize_t i = 0; i < n; i++, at++) wrong += in[i] != (char)(at * 2654435761u >> 13);
    printf("received %u, wrong %u, end %d\n", at, wrong, (int)n);
    int status;
    wait(&status);
    printf("sender: %d\n", status);
    close(e[1]);
}

static void dual_stack(void) {
    if (!v6 || strchr(host, ':')) return;
    int only = tcp(0);
    printf("v6only by default: %d\n", option(only, SOL_IPV6, IPV6_V6ONLY));
    set(only, SOL_IPV6, IPV6_V6ONLY, 1);
    struct address any = at("::", base + 11), to = at(host, base + 11);
    SAY("bind", bind(only, (void *)&any.storage, any.len));
    SAY("listen", listen(only, 5));
    printf("v6only: %d\n", option(only, SOL_IPV6, IPV6_V6ONLY));
    int c = tcp(0);
    SAY("IPv4 to a v6only listener", connect(c, (void *)&to.storage, to.len));
    close(c), close(only);
}

static void *shut_soon(void *fd) {
    pause_ms(100);
    shutdown(*(int *)fd, SHUT_RDWR);
    return NULL;
}

static void misuse(void) {
    char b[64];
    struct iovec vector = {b, sizeof b};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    int l = listener(base + 12, 0);
    SAY("recv on a listener", recv(l, b, sizeof b, 0));
    SAY("read on a listener", read(l, b, sizeof b));
    SAY("readv on a listener", readv(l, &vector, 1));
    SAY("recvfrom on a listener", recvfrom(l, b, sizeof b, 0, NULL, NULL));
    SAY("recvmsg on a listener", recvmsg(l, &message, 0));
    SAY("send on a listener", send(l, b, 1, MSG_NOSIGNAL));
    SAY("write on a listener", write(l, b, 1));
    /* None of that took a connection away. */
    int c = dial(base + 12);
    SAY("recv with one waiting", recv(l, b, sizeof b, MSG_DONTWAIT));
    int s = accept(l, NULL, NULL);
    ok("accepted", s);
    close(c), close(s);
    pthread_t thread;
    pthread_create(&thread, NULL, shut_soon, &l);
    SAY("accept while another thread shuts down", accept(l, NULL, NULL));
    pthread_join(thread, NULL);
    SAY("accept after that", accept(l, NULL, NULL));
    close(l);
    int u = tcp(0);
    SAY("recv unconnected", recv(u, b, 1, 0));
    SAY("send unconnected", send(u, b, 1, MSG_NOSIGNAL));
    SAY("accept unconnected", accept(u, NULL, NULL));
    SAY("shutdown unconnected", shutdown(u, SHUT_RDWR));
    close(u);
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    host = argv[1];
    base = atoi(argv[2]);
    v6 = argc > 3;
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    alarm(60);
    struct { const char *name; void (*run)(void); } cases[] = {
        {"refused", refused}, {"non-blocking connect", nonblocking_connect}, {"flags", flags}, {"names", names},
        {"half close", half_close}, {"reset", reset}, {"options", options}, {"messages", messages},
        {"workers", workers}, {"bulk", bulk}, {"dual stack", dual_stack}, {"misuse", misuse},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        printf("== %s\n", cases[i].name);
        cases[i].run();
    }
    printf("== epoll, level\n");
    epoll(0);
    printf("== epoll, edge\n");
    epoll(1);
    return 0;
}
