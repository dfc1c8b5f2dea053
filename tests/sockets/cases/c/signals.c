/* Signals that arrive while a call waits: EINTR, SA_RESTART, time-outs, cancellation. */
#include "suite.h"

static volatile sig_atomic_t rings;
static void ring(int number) { rings += number == SIGALRM; }

/* A signal in a moment, and perhaps more. */
static void soon(int flags) {
    struct sigaction action = {.sa_handler = ring, .sa_flags = flags};
    struct itimerval moment = {{0, 40000}, {0, 60000}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &moment, NULL);
}

static void no_more(void) {
    struct itimerval never = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &never, NULL);
    line("rang: %d", rings > 0);
}

static char byte;

CASE(interrupted_read) {
    int fd = dial();
    soon(0);
    SAY("read", read(fd, &byte, 1));
    no_more();
}

CASE(interrupted_recvmsg) {
    int fd = dial();
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    soon(0);
    SAY("recvmsg", recvmsg(fd, &message, 0));
    no_more();
}

CASE(interrupted_accept) {
    int l = listener(0, 5);
    soon(0);
    SAY("accept", accept(l, NULL, NULL));
    no_more();
    SAY("the peer connects", peer_dials(l));
    ok("accept", accept(l, NULL, NULL));
}

CASE(interrupted_poll) {
    int fd = dial();
    struct pollfd p = {fd, POLLIN, 0};
    soon(SA_RESTART);
    SAY("poll", poll(&p, 1, 5000));
    no_more();
}

CASE(interrupted_epoll) {
    int fd = dial(), ep = epoll_create1(0);
    struct epoll_event event = {EPOLLIN, {.fd = fd}};
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
    soon(0);
    SAY("epoll_wait", epoll_wait(ep, &event, 1, 5000));
    no_more();
}

CASE(restarted_read) {
    int fd = dial();
    soon(SA_RESTART);
    if (fork() == 0) {
        pause_ms(250);
        peer("send 1 0 x");
        _exit(0);
    }
    SAY("read", read(fd, &byte, 1));
    no_more();
    wait(NULL);
}

CASE(restarted_accept) {
    int l = listener(0, 5), port = port_at(l);
    peer("tcp 1");
    soon(SA_RESTART);
    if (fork() == 0) {
        pause_ms(250);
        peer("connect 1 %d %s", port, own_ip);
        _exit(0);
    }
    ok("accept", accept(l, NULL, NULL));
    no_more();
    wait(NULL);
}

CASE(receive_timeout) {
    int fd = dial();
    struct timeval limit = {0, 60000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    SAY("recv", recv(fd, &byte, 1, 0));
    SAY("read", read(fd, &byte, 1));
    peer("send 1 0 x");
    SAY("wait", wait_for(fd, POLLIN));
    SAY("recv", recv(fd, &byte, 1, 0));
}

CASE(receive_timeout_is_not_restarted) {
    int fd = dial();
    struct timeval limit = {5, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    soon(SA_RESTART);
    SAY("recv", recv(fd, &byte, 1, 0));
    no_more();
}

CASE(send_timeout) {
    int fd = dial();
    struct timeval limit = {0, 100000};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    static char block[1 << 20];
    long n;
    /* Whatever fits goes out, and then nothing within the time. */
    while ((n = send(fd, block, sizeof block, MSG_NOSIGNAL)) > 0) {}
    SAY("full", n);
}

CASE(interrupted_send) {
    int fd = dial();
    static char block[1 << 20];
    soon(0);
    long n;
    while ((n = send(fd, block, sizeof block, MSG_NOSIGNAL)) == sizeof block) {}
    /* The rest of a block, or none of it. */
    line("interrupted: %d", n >= 0 || errno == EINTR);
    no_more();
}

static void *accepts(void *l) {
    accept(*(int *)l, NULL, NULL);
    return NULL;
}

static void *reads(void *fd) {
    return read(*(int *)fd, &byte, 1) < 0 ? NULL : fd;
}

CASE(cancelled_threads) {
    int l = listener(0, 5), fd = dial();
    pthread_t acceptor, reader;
    void *result;
    pthread_create(&acceptor, NULL, accepts, &l);
    pthread_create(&reader, NULL, reads, &fd);
    pause_ms(50);
    pthread_cancel(acceptor);
    pthread_cancel(reader);
    pthread_join(acceptor, &result);
    line("accept: %d", result == PTHREAD_CANCELED);
    pthread_join(reader, &result);
    line("read: %d", result == PTHREAD_CANCELED);
    SAY("the peer connects", peer_dials(l));
    ok("accept", accept(l, NULL, NULL));
}

CASE(a_handler_that_uses_sockets) {
    struct address to = there(peer_listens(16));
    soon(SA_RESTART);
    int good = 0;
    for (int i = 0; i < 30; i++) {
        int fd = tcp(0);
        if (connect(fd, SA(to)) == 0 && send(fd, "x", 1, 0) == 1) good++;
        close(fd);
        peer("accept 0 1");
        peer("close 1");
        if (rings == 0) pause_ms(3);
    }
    line("good: %d", good);
}
