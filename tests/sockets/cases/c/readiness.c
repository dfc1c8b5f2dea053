/* poll, select, epoll: what is reported in each state, by level and by edge. */
#include "suite.h"

enum { ALL = POLLIN | POLLOUT | POLLPRI | POLLRDHUP };
static char text[64];

static int added(int fd, unsigned events) {
    int ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {events, {.u64 = 0x1122334455667788}};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event) < 0) line("add: %s", name(errno));
    return ep;
}

/* The next events within a time, or -1. */
static int next(int ep, int ms) {
    struct epoll_event got = {0};
    int n = epoll_wait(ep, &got, 1, ms);
    if (n == 1 && got.data.u64 != 0x1122334455667788) line("foreign data");
    return n == 1 ? (int)got.events : -1;
}

/* Waits until a level-triggered instance reports all of them. */
static int level(int ep, int wanted) {
    int got = next(ep, 10000);
    for (int i = 0; i < 10000 && (got & wanted) != wanted; i++) pause_ms(1), got = next(ep, 10000);
    return got;
}

CASE(ready_fresh) { line("%x", quiet(tcp(0), ALL)); }
CASE(ready_listening) { line("%x", quiet(listener(0, 5), ALL)); }
CASE(ready_connected) { line("%x", quiet(dial(), ALL)); }
CASE(ready_accepted) { line("%x", quiet(taken(), ALL)); }

CASE(ready_with_data) {
    int fd = dial();
    peer("send 1 0 abc");
    line("%x", settled(fd, ALL, POLLIN));
    SAY("recv", recv(fd, text, 3, MSG_WAITALL));
    line("%x", quiet(fd, ALL));
}

CASE(ready_only_what_is_asked) {
    int fd = dial();
    line("%x", quiet(fd, 0));
    line("%x", quiet(fd, POLLIN));
    line("%x", quiet(fd, POLLPRI));
    peer("close 1");
    settled(fd, POLLIN, POLLIN);
    line("%x", quiet(fd, 0));
    line("%x", quiet(fd, POLLRDNORM | POLLWRNORM));
}

CASE(ready_by_select) {
    int fd = dial();
    fd_set in, out, odd;
    struct timeval moment = {0, 50000};
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_ZERO(&odd);
    FD_SET(fd, &in);
    FD_SET(fd, &out);
    FD_SET(fd, &odd);
    line("%d: %d %d %d", select(fd + 1, &in, &out, &odd, &moment), FD_ISSET(fd, &in), FD_ISSET(fd, &out), FD_ISSET(fd, &odd));
    FD_ZERO(&in);
    FD_SET(fd, &in);
    moment.tv_usec = 50000;
    line("nothing: %d", select(fd + 1, &in, NULL, NULL, &moment));
    peer("send 1 0 x");
    FD_ZERO(&in);
    FD_SET(fd, &in);
    line("data: %d", select(fd + 1, &in, NULL, NULL, NULL));
    struct timespec limit = {5, 0};
    FD_ZERO(&in);
    FD_SET(fd, &in);
    line("pselect: %d", pselect(fd + 1, &in, NULL, NULL, &limit, NULL));
}

CASE(ready_by_ppoll) {
    int fd = dial();
    struct pollfd p = {fd, POLLIN | POLLOUT, 0};
    struct timespec limit = {5, 0};
    line("%d %x", ppoll(&p, 1, &limit, NULL), p.revents);
}

CASE(ready_of_many) {
    int a = dial(), l = listener(0, 5), fresh = tcp(0);
    struct pollfd all[4] = {{a, POLLIN | POLLOUT, 0}, {l, POLLIN, 0}, {-1, POLLIN, 0}, {fresh, POLLIN, 0}};
    line("%d: %x %x %x %x", poll(all, 4, 1000), all[0].revents, all[1].revents, all[2].revents, all[3].revents);
    struct pollfd closed = {1000, POLLIN, 0};
    line("%d %x", poll(&closed, 1, 1000), closed.revents);
}

CASE(epoll_level) {
    int fd = dial(), ep = added(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    line("%x", next(ep, 10000));
    peer("send 1 0 abc");
    line("%x", level(ep, EPOLLIN));
    line("%x", next(ep, 0));
    SAY("recv", recv(fd, text, 3, MSG_WAITALL));
    line("%x", next(ep, 0));
    peer("shutdown 1 %d", SHUT_WR);
    line("%x", level(ep, EPOLLRDHUP));
    shutdown(fd, SHUT_WR);
    line("%x", level(ep, EPOLLHUP));
}

CASE(epoll_edge) {
    int fd = dial(), ep = added(fd, EPOLLIN | EPOLLOUT | EPOLLET);
    line("%x", next(ep, 10000));
    line("%x", next(ep, 60));
    peer("send 1 0 abc");
    line("%x", next(ep, 10000));
    line("%x", next(ep, 60));
    SAY("recv", recv(fd, text, 1, 0));
    line("no edge by reading: %x", next(ep, 60));
    SAY("recv", recv(fd, text, 8, MSG_DONTWAIT));
    peer("send 1 0 more");
    line("%x", next(ep, 10000));
    SAY("recv", recv(fd, text, 4, MSG_WAITALL));
    peer("close 1");
    int got = 0;
    while (!(got & EPOLLRDHUP) && (got = next(ep, 3000)) >= 0 && !(got & EPOLLRDHUP) && recv(fd, text, 1, MSG_DONTWAIT) != 0) {}
    SAY("end", recv(fd, text, 1, 0));
}

CASE(epoll_one_shot) {
    int fd = dial(), ep = added(fd, EPOLLIN | EPOLLONESHOT);
    line("%x", next(ep, 50));
    peer("send 1 0 abc");
    line("%x", next(ep, 10000));
    line("%x", next(ep, 60));
    struct epoll_event again = {EPOLLIN | EPOLLOUT | EPOLLONESHOT, {.u64 = 0x1122334455667788}};
    SAY("arm again", epoll_ctl(ep, EPOLL_CTL_MOD, fd, &again));
    line("%x", next(ep, 10000));
    line("%x", next(ep, 60));
}

CASE(epoll_before_the_connection) {
    struct address to = there(peer_listens(5));
    int fd = tcp(SOCK_NONBLOCK), ep = added(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP), other = added(fd, EPOLLOUT);
    SAY("connect", connect(fd, SA(to)));
    while (!(next(ep, 10000) & EPOLLOUT) || soerror(fd)) {}
    wait_for(fd, POLLOUT);
    line("%x %x", next(ep, 10000), next(other, 10000));
    SAY("accepted", peer("accept 0 1") >= 0);
    peer("send 1 0 abc");
    line("%x", level(ep, EPOLLIN));
    struct epoll_event event = {EPOLLOUT, {.u64 = 7}};
    SAY("modify", epoll_ctl(ep, EPOLL_CTL_MOD, fd, &event));
    SAY("add", epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event));
    SAY("delete", epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL));
    SAY("delete", epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL));
    SAY("delete", epoll_ctl(other, EPOLL_CTL_DEL, fd, NULL));
}

CASE(epoll_edge_before_the_connection) {
    struct address to = there(peer_listens(5));
    int fd = tcp(SOCK_NONBLOCK), ep = added(fd, EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP);
    SAY("connect", connect(fd, SA(to)));
    int got = 0;
    for (int i = 0; i < 5 && (got & (EPOLLOUT | EPOLLHUP)) != EPOLLOUT; i++) got = next(ep, 10000);
    line("%x", got);
    line("SO_ERROR: %s", name(soerror(fd)));
    /* An edge more than needed is nothing that the kernel excludes. */
    next(ep, 60);
    SAY("accepted", peer("accept 0 1") >= 0);
    peer("send 1 0 abc");
    line("%x", next(ep, 10000));
}

CASE(epoll_of_a_refusal) {
    peer("tcp 9");
    struct address to = there(peer("bind 9 0"));
    peer("close 9");
    int fd = tcp(SOCK_NONBLOCK), ep = added(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
    SAY("connect", connect(fd, SA(to)));
    line("%x", level(ep, EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDHUP));
    line("SO_ERROR: %s", name(soerror(fd)));
    line("%x", next(ep, 1000));
}

CASE(epoll_before_listening) {
    int l = tcp(SOCK_NONBLOCK), ep = added(l, EPOLLIN);
    struct address a = any(0);
    bind(l, SA(a));
    SAY("listen", listen(l, 5));
    line("%x", next(ep, 60));
    SAY("the peer connects", peer_dials(l));
    line("%x", next(ep, 10000));
    ok("accept", accept(l, NULL, NULL));
    line("%x", next(ep, 60));
    SAY("delete", epoll_ctl(ep, EPOLL_CTL_DEL, l, NULL));
}

CASE(epoll_exclusive) {
    int l = listener(SOCK_NONBLOCK, 5), a = added(l, EPOLLIN | EPOLLEXCLUSIVE), b = added(l, EPOLLIN | EPOLLEXCLUSIVE);
    SAY("the peer connects", peer_dials(l));
    line("one at least: %d", next(a, 2000) >= 0 || next(b, 2000) >= 0);
    ok("accept", accept(l, NULL, NULL));
    line("%x %x", next(a, 0), next(b, 0));
    struct epoll_event event = {EPOLLIN, {.u64 = 7}};
    SAY("modify", epoll_ctl(a, EPOLL_CTL_MOD, l, &event));
}

CASE(epoll_misuse) {
    int fd = dial(), ep = added(fd, EPOLLIN);
    struct epoll_event event = {EPOLLIN, {.u64 = 1}};
    SAY("add twice", epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event));
    SAY("unknown operation", epoll_ctl(ep, 9, fd, &event));
    SAY("not open", epoll_ctl(ep, EPOLL_CTL_ADD, 1000, &event));
    SAY("not an epoll", epoll_ctl(fd, EPOLL_CTL_ADD, ep, &event));
    SAY("itself", epoll_ctl(ep, EPOLL_CTL_ADD, ep, &event));
    SAY("null", epoll_ctl(ep, EPOLL_CTL_MOD, fd, NULL));
    close(fd);
    SAY("delete when closed", epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL));
    line("%x", next(ep, 0));
}

CASE(epoll_of_a_copy) {
    int fd = dial(), copy = dup(fd), ep = added(copy, EPOLLIN);
    close(copy);
    peer("send 1 0 abc");
    line("the registration outlives the copy: %x", next(ep, 10000));
    close(fd);
    line("and not the last one: %x", next(ep, 0));
}

CASE(epoll_nested) {
    int fd = dial(), inner = added(fd, EPOLLIN), outer = added(inner, EPOLLIN);
    line("%x", next(outer, 0));
    peer("send 1 0 abc");
    line("%x", next(outer, 10000));
    SAY("recv", recv(fd, text, 3, MSG_WAITALL));
    line("%x", next(outer, 0));
}

CASE(epoll_waits_in_a_thread) {
    int fd = dial(), ep = added(fd, EPOLLIN);
    if (fork() == 0) {
        pause_ms(60);
        peer("send 1 0 abc");
        _exit(0);
    }
    line("%x", next(ep, 10000));
    wait(NULL);
}

CASE(ready_to_write_again) {
    int fd = dial(), ep = added(fd, EPOLLOUT | EPOLLET), on = 1;
    static char block[65536];
    long sent = 0;
    ioctl(fd, FIONBIO, &on);
    line("%x", next(ep, 10000));
    for (long n; (n = send(fd, block, sizeof block, 0)) > 0 || quiet(fd, POLLOUT) & POLLOUT;) sent += n > 0 ? n : 0;
    while (next(ep, 0) >= 0) {}
    SAY("the peer reads all", peer("drain 1 %ld", sent) == sent);
    line("%x", next(ep, 10000));
}

CASE(low_water_mark) {
    int fd = dial();
    set(fd, SOL_SOCKET, SO_RCVLOWAT, 4);
    line("%d", option(fd, SOL_SOCKET, SO_RCVLOWAT));
    peer("send 1 0 ab");
    line("%x", quiet(fd, POLLIN));
    peer("send 1 0 cdef");
    line("%x", wait_for(fd, POLLIN));
}

static volatile sig_atomic_t signals;
static void count(int number) { signals += number > 0; }

CASE(ready_by_signal) {
    int fd = dial();
    signal(SIGIO, count);
    SAY("F_SETOWN", fcntl(fd, F_SETOWN, getpid()));
    line("%d", fcntl(fd, F_GETOWN) == getpid());
    SAY("O_ASYNC", fcntl(fd, F_SETFL, O_ASYNC));
    peer("send 1 0 abc");
    for (int i = 0; i < 5000 && !signals; i++) pause_ms(1);
    line("a signal: %d", signals > 0);
}
