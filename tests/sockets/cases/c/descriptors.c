/* Copies, flags and closing of descriptors. */
#include "suite.h"
#include <sys/resource.h>

#ifndef SYS_close_range /* Debian 11 */
#define SYS_close_range 436
#endif

static char text[64];

/* Whether a connection works both ways. */
static void works(const char *label, int fd) {
    long sent = send(fd, "ping", 4, MSG_NOSIGNAL), heard = peer("recv 1 4 %d", MSG_WAITALL);
    peer("send 1 0 pong");
    line("%s: %ld %ld %ld", label, sent, heard, (long)recv(fd, text, 4, MSG_WAITALL));
}

static void pass(int channel, int fd) {
    union { char bytes[CMSG_SPACE(sizeof fd)]; struct cmsghdr align; } control;
    struct iovec vector = {"x", 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS, header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    SAY("passed", sendmsg(channel, &message, 0));
}

static int receive(int channel) {
    union { char bytes[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control;
    struct iovec vector = {text, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    int fd = -1;
    if (recvmsg(channel, &message, 0) == 1 && CMSG_FIRSTHDR(&message)) memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}

CASE(dup_keeps_a_connection) {
    int fd = dial(), copy = dup(fd);
    close(fd);
    works("copy", copy);
    line("names: %d", same(peer_of(copy), there(port_of(peer_of(copy)))));
    close(copy);
    SAY("the peer reads", peer("recv 1 1"));
}

CASE(dup2_and_dup3) {
    int fd = dial();
    line("%d", dup2(fd, 100));
    line("%d %d", dup3(fd, 101, O_CLOEXEC), fcntl(101, F_GETFD));
    line("%d", dup2(fd, fd) == fd);
    SAY("dup3 onto itself", dup3(fd, fd, 0));
    SAY("dup of none", dup(1000));
    close(fd);
    works("100", 100);
    works("101", 101);
}

CASE(dup2_over_a_connection_closes_it) {
    int fd = dial(), null = open("/dev/null", O_RDWR);
    line("%d", dup2(null, fd) == fd);
    SAY("the peer reads", peer("recv 1 1"));
    SAY("no socket", getpeername(fd, (void *)text, &(socklen_t){16}));
}

CASE(fcntl_copies) {
    int fd = dial();
    line("%d", fcntl(fd, F_DUPFD, 200));
    line("%d %d", fcntl(fd, F_DUPFD_CLOEXEC, 210), fcntl(210, F_GETFD));
    close(fd);
    works("200", 200);
    works("210", 210);
}

CASE(dup_before_connect) {
    int fd = tcp(0), copy = dup(fd);
    struct address to = there(peer_listens(5));
    SAY("connect", connect(fd, SA(to)));
    SAY("accepted", peer("accept 0 1") >= 0);
    works("original", fd);
    line("the copy is the same socket: %d", same(local_of(copy), local_of(fd)));
    SAY("send by the copy", send(copy, "ping", 4, MSG_NOSIGNAL));
}

CASE(dup_before_connect_in_epoll) {
    int fd = tcp(SOCK_NONBLOCK), copy = fcntl(fd, F_DUPFD_CLOEXEC, 150), last = dup2(fd, 151), poller = epoll_create1(0);
    struct epoll_event wanted = {.events = EPOLLIN, .data.u32 = 9}, got = {0};
    SAY("epoll_ctl", epoll_ctl(poller, EPOLL_CTL_ADD, copy, &wanted));
    struct address to = there(peer_listens(5));
    SAY("connect by a copy", connect(last, SA(to)));
    wait_for(last, POLLOUT);
    SAY("accepted", peer("accept 0 1") >= 0);
    line("flags: %d %d %d", fcntl(fd, F_GETFD), fcntl(copy, F_GETFD), fcntl(last, F_GETFD));
    peer("send 1 0 ping");
    SAY("epoll_wait", epoll_wait(poller, &got, 1, 10000));
    line("%u", got.data.u32);
    wait_for(fd, POLLIN);
    SAY("recv by the first", recv(fd, text, 4, 0));
    close(fd), close(last);
    SAY("send by the copy", send(copy, "pong", 4, 0));
    SAY("the peer reads", peer("recv 1 4 %d", MSG_WAITALL));
    close(copy);
    SAY("the peer reads", peer("recv 1 1"));
}

CASE(dup_before_udp) {
    peer("udp 2");
    struct address to = there(peer("bind 2 0"));
    int fd = udp(0), copy = dup(fd);
    SAY("sendto", sendto(fd, "ping", 4, 0, SA(to)));
    SAY("the peer reads", peer("recv 2 64"));
    line("%s", peer_data);
    SAY("sendto by the copy", sendto(copy, "pong", 4, 0, SA(to)));
    SAY("the peer reads", peer("recv 2 64"));
    line("%s", peer_data);
    peer("sendto 2 %d %s answer", port_at(fd), own_ip);
    wait_for(copy, POLLIN);
    SAY("recv by the copy", recv(copy, text, 64, MSG_DONTWAIT));
    line("%.6s", text);
}

CASE(passed_onto_an_old_number) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0) return;
    struct address a = any(0), to = there(peer_listens(5));
    int bound = tcp(0);
    SAY("bind", bind(bound, SA(a)));
    int port = port_at(bound), number = bound;
    pass(pair[0], bound);
    close(bound);
    /* A fresh socket was there in between. */
    int old = tcp(0);
    line("the same number: %d", old == number);
    close(old);
    int fd = receive(pair[1]);
    line("the same number: %d", fd == number);
    SAY("connect", connect(fd, SA(to)));
    SAY("accepted", peer("accept 0 1") >= 0);
    line("the port is kept: %d", port_at(fd) == port);
}

CASE(dup_before_listen) {
    int fd = tcp(0), copy = dup(fd);
    struct address a = any(0);
    SAY("bind", bind(fd, SA(a)));
    SAY("listen", listen(fd, 5));
    SAY("the peer connects", peer_dials(fd));
    line("listening: %d", option(copy, SOL_SOCKET, SO_ACCEPTCONN));
    struct pollfd p = {copy, POLLIN, 0};
    line("readable: %d", poll(&p, 1, 2000));
}

CASE(flags_are_shared_by_copies) {
    int fd = dial(), copy = dup(fd);
    fcntl(copy, F_SETFL, O_NONBLOCK);
    line("%x", fcntl(fd, F_GETFL) & O_NONBLOCK);
    SAY("recv", recv(fd, text, 1, 0));
    fcntl(copy, F_SETFD, FD_CLOEXEC);
    line("%d", fcntl(fd, F_GETFD));
}

CASE(flags_kept_over_connect) {
    int plain = tcp(0), both = tcp(SOCK_NONBLOCK | SOCK_CLOEXEC), later = tcp(0);
    struct address to = there(peer_listens(5));
    fcntl(later, F_SETFD, FD_CLOEXEC);
    fcntl(later, F_SETFL, O_NONBLOCK);
    connect(plain, SA(to)), connect(both, SA(to)), connect(later, SA(to));
    line("%x %d", fcntl(plain, F_GETFL) & O_NONBLOCK, fcntl(plain, F_GETFD));
    line("%x %d", fcntl(both, F_GETFL) & O_NONBLOCK, fcntl(both, F_GETFD));
    line("%x %d", fcntl(later, F_GETFL) & O_NONBLOCK, fcntl(later, F_GETFD));
    line("access: %x", fcntl(plain, F_GETFL) & O_ACCMODE);
}

CASE(the_number_is_kept) {
    int fd = tcp(0), before = dup(0);
    close(before);
    struct address to = there(peer_listens(5));
    SAY("connect", connect(fd, SA(to)));
    int after = dup(0);
    line("lowest free number: %d", after == before);
}

CASE(close_by_close_range) {
    int fd = dial(), high = dup2(fd, 300);
    close(fd);
    SAY("close_range", syscall(SYS_close_range, high, high, 0));
    SAY("the peer reads", peer("recv 1 1"));
    SAY("closed", fcntl(high, F_GETFD));
}

CASE(close_all_and_begin_again) {
    /* What daemons do: every descriptor but the ones that are ours here. */
    dial();
    struct address to = there(peer_listens(5));
    int control = -1;
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_un name_;
        socklen_t len = sizeof name_;
        if (getpeername(fd, (void *)&name_, &len) == 0 && name_.sun_family == AF_UNIX && control < 0) control = fd;
        else close(fd);
    }
    SAY("the peer reads", peer("recv 1 1"));
    int fd = tcp(0);
    SAY("connect", connect(fd, SA(to)));
    SAY("accepted", peer("accept 0 1") >= 0);
    works("new", fd);
}

CASE(numbers_are_used_again) {
    int good = 0;
    for (int i = 0; i < 50; i++) {
        int fd = dial();
        good += send(fd, "x", 1, 0) == 1 && peer("recv 1 1") == 1;
        close(fd);
        peer("close 1");
        /* The same number as a file and as a fresh socket. */
        int file = open("/dev/null", O_RDWR);
        good += write(file, "x", 1) == 1 && read(file, text, 1) == 0;
        close(file);
        int fresh = tcp(0);
        good += getpeername(fresh, (void *)text, &(socklen_t){16}) < 0;
        close(fresh);
    }
    line("good: %d", good);
}

CASE(no_descriptors_left) {
    struct address to = there(peer_listens(5));
    int fd = tcp(0), l = listener(SOCK_NONBLOCK, 5);
    SAY("the peer connects", peer_dials(l));
    wait_for(l, POLLIN);
    struct rlimit limit, all;
    getrlimit(RLIMIT_NOFILE, &all);
    limit = all;
    limit.rlim_cur = l + 1;
    setrlimit(RLIMIT_NOFILE, &limit);
    SAY("socket", tcp(0));
    SAY("accept", accept(l, NULL, NULL));
    setrlimit(RLIMIT_NOFILE, &all);
    ok("accept later", accept(l, NULL, NULL));
    SAY("connect", connect(fd, SA(to)));
}

CASE(pass_a_connection) {
    int pair[2], fd = dial();
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    pass(pair[0], fd);
    close(fd);
    if (fork() == 0) {
        int got = receive(pair[1]);
        works("in another process", got);
        line("names: %d", same(peer_of(got), there(port_of(peer_of(got)))));
        _exit(0);
    }
    wait(NULL);
}

CASE(pass_a_listener) {
    int pair[2], l = listener(0, 5);
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    SAY("the peer connects", peer_dials(l));
    pass(pair[0], l);
    close(l);
    int got = receive(pair[1]), fd = accept(got, NULL, NULL);
    ok("accept", fd);
    works("accepted", fd);
}

CASE(pass_a_fresh_socket) {
    int pair[2], fd = tcp(0);
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    pass(pair[0], fd);
    close(fd);
    fd = receive(pair[1]);
    struct address to = there(peer_listens(5));
    SAY("connect", connect(fd, SA(to)));
    SAY("accepted", peer("accept 0 1") >= 0);
    works("passed", fd);
}
