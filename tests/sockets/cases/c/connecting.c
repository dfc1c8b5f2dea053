/* connect(2) in all its outcomes. */
#include "suite.h"

/* A port at which the peer refuses: it was given out and is bound no longer. */
static int closed_port(void) {
    peer("tcp 9");
    int port = peer("bind 9 0");
    peer("close 9");
    return port;
}

CASE(connect_blocking) {
    struct address to = there(peer_listens(5));
    int fd = tcp(0);
    SAY("connect", connect(fd, SA(to)));
    line("events: %x", wait_for(fd, POLLIN | POLLOUT));
    line("SO_ERROR: %s", name(soerror(fd)));
    SAY("again", connect(fd, SA(to)));
    line("peer is there: %d", same(peer_of(fd), to));
}

CASE(connect_refused) {
    struct address to = there(closed_port());
    int fd = tcp(0);
    SAY("connect", connect(fd, SA(to)));
    line("SO_ERROR: %s", name(soerror(fd)));
    SAY("again", connect(fd, SA(to)));
    SAY("peer", getpeername(fd, (void *)&to.storage, &to.len));
}

CASE(connect_refused_non_blocking) {
    struct address to = there(closed_port());
    int fd = tcp(SOCK_NONBLOCK);
    SAY("connect", connect(fd, SA(to)));
    line("events: %x", settled(fd, POLLIN | POLLOUT | POLLRDHUP, POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP));
    line("SO_ERROR: %s", name(soerror(fd)));
    line("SO_ERROR: %s", name(soerror(fd)));
    char c;
    SAY("read", read(fd, &c, 1));
    SAY("write", write(fd, &c, 1));
}

CASE(connect_refused_told_by_connect) {
    struct address to = there(closed_port());
    int fd = tcp(SOCK_NONBLOCK);
    SAY("connect", connect(fd, SA(to)));
    settled(fd, POLLOUT, POLLOUT | POLLERR);
    SAY("connect", connect(fd, SA(to)));
    line("SO_ERROR: %s", name(soerror(fd)));
}

CASE(connect_refused_with_a_copy) {
    struct address to = there(closed_port());
    int fd = tcp(SOCK_NONBLOCK);
    SAY("connect", connect(fd, SA(to)));
    int copy = dup(fd);
    settled(fd, POLLOUT, POLLOUT | POLLERR);
    line("SO_ERROR: %s", name(soerror(fd)));
    line("SO_ERROR of the copy: %s", name(soerror(copy)));
    SAY("peer", getpeername(copy, (void *)&to.storage, &to.len));
    line("flags: %x %x", fcntl(fd, F_GETFL) & O_NONBLOCK, fcntl(fd, F_GETFD));
    char c;
    SAY("read", read(fd, &c, 1));
    SAY("write", write(fd, &c, 1));
}

CASE(connect_refused_told_by_read) {
    struct address to = there(closed_port());
    int fd = tcp(SOCK_NONBLOCK);
    SAY("connect", connect(fd, SA(to)));
    settled(fd, POLLOUT, POLLOUT | POLLERR);
    char c;
    SAY("read", read(fd, &c, 1));
    SAY("read", read(fd, &c, 1));
    line("SO_ERROR: %s", name(soerror(fd)));
}

CASE(connect_refused_told_by_write) {
    struct address to = there(closed_port());
    int fd = tcp(SOCK_NONBLOCK);
    SAY("connect", connect(fd, SA(to)));
    settled(fd, POLLOUT, POLLOUT | POLLERR);
    SAY("send", send(fd, "x", 1, MSG_NOSIGNAL));
    SAY("send", send(fd, "x", 1, MSG_NOSIGNAL));
    line("SO_ERROR: %s", name(soerror(fd)));
}

CASE(connect_after_a_refusal) {
    struct address to = there(closed_port());
    int fd = tcp(0);
    SAY("first", connect(fd, SA(to)));
    to = there(peer_listens(5));
    SAY("second", connect(fd, SA(to)));
    SAY("accepted", peer("accept 0 1") >= 0);
    SAY("sent", send(fd, "x", 1, 0));
    SAY("received", peer("recv 1 10"));
}

CASE(connect_non_blocking) {
    struct address to = there(peer_listens(5));
    int fd = tcp(SOCK_NONBLOCK);
    SAY("connect", connect(fd, SA(to)));
    line("events: %x", wait_for(fd, POLLIN | POLLOUT));
    line("SO_ERROR: %s", name(soerror(fd)));
    SAY("second", connect(fd, SA(to)));
    SAY("third", connect(fd, SA(to)));
    char c;
    SAY("nothing to read", read(fd, &c, 1));
    line("flags: %x %x", fcntl(fd, F_GETFL) & O_NONBLOCK, fcntl(fd, F_GETFD));
    SAY("accepted", peer("accept 0 1") >= 0);
}

CASE(connect_non_blocking_then_read_at_once) {
    struct address to = there(peer_listens(5));
    int fd = tcp(SOCK_NONBLOCK);
    SAY("connect", connect(fd, SA(to)));
    wait_for(fd, POLLOUT);
    SAY("sent", send(fd, "hello", 5, 0));
    SAY("accepted", peer("accept 0 1") >= 0);
    SAY("received", peer("recv 1 5 %d", MSG_WAITALL));
    SAY("answered", peer("send 1 0 answer"));
    char answer[6];
    wait_for(fd, POLLIN);
    SAY("read", read(fd, answer, 6));
}

/* Whoever does not ask how the attempt went has the whole send buffer too. */
CASE(connect_non_blocking_then_fill) {
    struct address to = there(peer_listens(5));
    int fd = tcp(SOCK_NONBLOCK), size = 0;
    socklen_t len = sizeof size;
    SAY("connect", connect(fd, SA(to)));
    SAY("SO_SNDBUF", getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len));
    line("a usual size: %d", size >= 16384);
    line("events: %x", wait_for(fd, POLLOUT));
    char block[4096] = {0};
    size_t total = 0;
    for (ssize_t sent; (sent = write(fd, block, sizeof block)) > 0;)
        total += (size_t)sent;
    line("%s after more than 64 KiB: %d", name(errno), total > 65536);
    SAY("SO_SNDBUF", getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len));
    line("a usual size: %d", size >= 16384);
}

CASE(connect_made_blocking_in_between) {
    struct address to = there(peer_listens(5));
    int fd = tcp(SOCK_NONBLOCK);
    SAY("connect", connect(fd, SA(to)));
    fcntl(fd, F_SETFL, 0);
    /* Blocks until the first attempt is over, and is told of its success: 0, or EISCONN when it was over before. */
    int result = connect(fd, SA(to));
    line("connected: %d", result == 0 || errno == EISCONN);
    SAY("accepted", peer("accept 0 1") >= 0);
    SAY("sent", send(fd, "x", 1, 0));
    SAY("received", peer("recv 1 10"));
}

CASE(connect_by_ioctl_non_blocking) {
    struct address to = there(peer_listens(5));
    int fd = tcp(0), on = 1;
    SAY("FIONBIO", ioctl(fd, FIONBIO, &on));
    SAY("connect", connect(fd, SA(to)));
    line("events: %x", wait_for(fd, POLLOUT));
    on = 0;
    SAY("FIONBIO off", ioctl(fd, FIONBIO, &on));
    line("flags: %x", fcntl(fd, F_GETFL) & O_NONBLOCK);
}

CASE(connect_bad_arguments) {
    struct address to = there(peer_listens(5));
    int fd = tcp(0);
    SAY("not a descriptor", connect(-1, SA(to)));
    SAY("not open", connect(1000, SA(to)));
    int pipes[2];
    if (pipe(pipes)) return;
    SAY("not a socket", connect(pipes[0], SA(to)));
    SAY("no length", connect(fd, (void *)&to.storage, 0));
    SAY("length 1", connect(fd, (void *)&to.storage, 1));
    SAY("length 8", connect(fd, (void *)&to.storage, 8));
    SAY("one too short", connect(fd, (void *)&to.storage, to.len - (family == AF_INET6 ? 5 : 1)));
    SAY("negative length", connect(fd, (void *)&to.storage, -1));
    SAY("null", connect(fd, NULL, to.len));
    struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "/x"};
    SAY("a Unix address", connect(fd, (void *)&path, sizeof path));
    to.storage.ss_family = 77;
    SAY("an unknown family", connect(fd, SA(to)));
    to.storage.ss_family = family;
    SAY("in the end", connect(fd, SA(to)));
}

CASE(connect_longer_address) {
    struct address to = there(peer_listens(5));
    int fd = tcp(0);
    SAY("connect", connect(fd, (void *)&to.storage, sizeof to.storage));
    line("peer is there: %d", same(peer_of(fd), to));
}

CASE(connect_the_other_family) {
    int port = peer_listens(5);
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = {{{0}}}};
    int fd = tcp(0);
    if (family == AF_INET6) {
        inet_pton(AF_INET, "10.147.20.9", &four.sin_addr);
        SAY("IPv4 on an IPv6 socket", connect(fd, (void *)&four, sizeof four));
    } else {
        inet_pton(AF_INET6, "fd00::9", &six.sin6_addr);
        SAY("IPv6 on an IPv4 socket", connect(fd, (void *)&six, sizeof six));
    }
}

CASE(connect_unspecified_before_anything) {
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    int fd = tcp(0);
    SAY("AF_UNSPEC", connect(fd, &none, sizeof none));
    struct address to = there(peer_listens(5));
    SAY("connect", connect(fd, SA(to)));
}

CASE(connect_unspecified_disconnects) {
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    int fd = dial();
    SAY("AF_UNSPEC", connect(fd, &none, sizeof none));
    SAY("peer", getpeername(fd, (void *)&(struct address){.len = 0}, &(socklen_t){0}));
    /* A disconnect is a reset to the other end. */
    peer("wait 1 %d", POLLIN);
    SAY("the other end", peer("recv 1 10 %d", MSG_DONTWAIT));
    peer("close 1");
    struct address to = there(peer_listens(5));
    if (SAY("connect again", connect(fd, SA(to))) < 0) return;
    SAY("accepted", peer("accept 0 2") >= 0);
    SAY("sent", send(fd, "again", 5, 0));
    SAY("received", peer("recv 2 5 %d", MSG_WAITALL));
}

CASE(connect_unspecified_leaves_an_error) {
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    int fd = dial();
    SAY("AF_UNSPEC", connect(fd, &none, sizeof none));
    SAY("send", send(fd, "x", 1, MSG_NOSIGNAL));
    SAY("send", send(fd, "x", 1, MSG_NOSIGNAL));
}

CASE(connect_unspecified_keeps_options) {
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    int fd = dial();
    set(fd, SOL_TCP, TCP_NODELAY, 1);
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(fd, SOL_TCP, TCP_KEEPIDLE, 77);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    SAY("AF_UNSPEC", connect(fd, &none, sizeof none));
    line("options: %d %d %d", option(fd, SOL_TCP, TCP_NODELAY), option(fd, SOL_SOCKET, SO_KEEPALIVE),
         option(fd, SOL_TCP, TCP_KEEPIDLE));
    line("flags: %x %d", fcntl(fd, F_GETFL) & O_NONBLOCK, fcntl(fd, F_GETFD));
    struct address a = any(0);
    SAY("bind", bind(fd, SA(a)));
    SAY("listen", listen(fd, 5));
    SAY("the peer connects", peer_dials(fd));
    wait_for(fd, POLLIN);
    ok("accept", accept(fd, NULL, NULL));
}

CASE(connect_on_a_listener) {
    int fd = listener(0, 5);
    struct address to = there(peer_listens(5));
    SAY("connect", connect(fd, SA(to)));
    SAY("the listener still listens", peer_dials(fd));
}

CASE(connect_from_a_bound_port) {
    struct address from = any(0), to = there(peer_listens(5));
    int fd = tcp(0);
    SAY("bind", bind(fd, SA(from)));
    int port = port_at(fd);
    SAY("connect", connect(fd, SA(to)));
    line("same port: %d", port_at(fd) == port);
    SAY("accepted", peer("accept 0 1") >= 0);
    peer("peer 1");
    char *seen = strchr(peer_data, ' ');
    line("seen by the peer: %d", seen && atoi(seen + 1) == port);
}

CASE(connect_from_a_bound_address) {
    struct address from = here(0), to = there(peer_listens(5));
    int fd = tcp(0);
    SAY("bind", bind(fd, SA(from)));
    int port = port_at(fd);
    SAY("connect", connect(fd, SA(to)));
    struct address local = local_of(fd);
    line("same port: %d, same address: %d", port_of(local) == port, same(local, here(port)));
    SAY("accepted", peer("accept 0 1") >= 0);
    SAY("sent", send(fd, "x", 1, 0));
    SAY("received", peer("recv 1 1"));
}

CASE(connect_to_port_zero) {
    struct address to = there(0);
    int fd = tcp(0);
    SAY("connect", connect(fd, SA(to)));
}

static void *dial_in_thread(void *to) {
    int fd = tcp(0);
    if (connect(fd, SA(*(struct address *)to)) < 0) return NULL;
    send(fd, "t", 1, 0);
    return (void *)(long)fd;
}

CASE(connect_in_many_threads) {
    struct address to = there(peer_listens(64));
    pthread_t thread[16];
    int connected = 0, served = 0;
    for (int i = 0; i < 16; i++) pthread_create(&thread[i], NULL, dial_in_thread, &to);
    for (int i = 0; i < 16; i++) {
        void *fd;
        pthread_join(thread[i], &fd);
        connected += (long)fd > 0;
    }
    for (int i = 0; i < 16; i++) served += peer("accept 0 1") >= 0 && peer("recv 1 1") == 1 && peer("close 1") == 0;
    line("connected %d, served %d", connected, served);
}

CASE(connect_with_send_timeout) {
    struct address to = there(peer_listens(5));
    struct timeval limit = {5, 0};
    int fd = tcp(0);
    SAY("SO_SNDTIMEO", setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit));
    SAY("connect", connect(fd, SA(to)));
    SAY("fast open, connected", sendto(fd, "x", 1, MSG_FASTOPEN, SA(to)));
}

CASE(connect_by_fast_open) {
    struct address to = there(peer_listens(5));
    int fd = tcp(0);
    SAY("sendto", sendto(fd, "hello", 5, MSG_FASTOPEN, SA(to)));
    SAY("accepted", peer("accept 0 1") >= 0);
    SAY("received", peer("recv 1 5 %d", MSG_WAITALL));
    line("peer is there: %d", same(peer_of(fd), to));
}
