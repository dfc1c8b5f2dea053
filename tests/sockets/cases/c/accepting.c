/* listen, accept, accept4: the queue, its readiness and what comes out of it. */
#include "suite.h"

CASE(accept_nothing_there) {
    int l = listener(SOCK_NONBLOCK, 5);
    SAY("accept", accept(l, NULL, NULL));
    SAY("accept4", accept4(l, NULL, NULL, SOCK_CLOEXEC));
    line("events: %x", quiet(l, POLLIN | POLLOUT | POLLRDHUP));
}

CASE(accept_flags) {
    int l = listener(SOCK_NONBLOCK | SOCK_CLOEXEC, 5);
    line("listener: %x %x", fcntl(l, F_GETFL) & O_NONBLOCK, fcntl(l, F_GETFD));
    int flags[] = {-1, 0, SOCK_NONBLOCK, SOCK_CLOEXEC, SOCK_NONBLOCK | SOCK_CLOEXEC};
    for (int i = 0; i < 5; i++) {
        SAY("the peer connects", peer_dials(l));
        wait_for(l, POLLIN);
        int fd = flags[i] < 0 ? accept(l, NULL, NULL) : accept4(l, NULL, NULL, flags[i]);
        line("accepted: %x %x", fcntl(fd, F_GETFL) & O_NONBLOCK, fcntl(fd, F_GETFD));
        close(fd);
    }
    line("listener: %x %x", fcntl(l, F_GETFL) & O_NONBLOCK, fcntl(l, F_GETFD));
}

CASE(accept_bad_arguments) {
    int pipes[2];
#ifdef __GLIBC__ /* musl makes something of its own of them */
    SAY("bad flags", accept4(listener(SOCK_NONBLOCK, 5), NULL, NULL, 3));
#endif
    SAY("not open", accept(1000, NULL, NULL));
    if (pipe(pipes)) return;
    SAY("not a socket", accept(pipes[0], NULL, NULL));
    SAY("not listening", accept(tcp(0), NULL, NULL));
    SAY("connected", accept(dial(), NULL, NULL));
    SAY("a datagram socket", accept(udp(0), NULL, NULL));
    SAY("listen not open", listen(1000, 5));
    SAY("listen on no socket", listen(pipes[0], 5));
    SAY("listen on a datagram socket", listen(udp(0), 5));
}

CASE(accept_addresses_by_length) {
    int l = listener(0, 16);
    for (unsigned room = 0; room <= 32; room += 8) {
        unsigned char bytes[64];
        memset(bytes, 0x55, sizeof bytes);
        socklen_t len = room;
        peer_dials(l);
        int fd = accept(l, (void *)bytes, &len);
        line("%u: %d, length %u, untouched %d", room, fd >= 0, len, bytes[room] == 0x55);
        close(fd);
    }
    socklen_t len = 16;
    peer_dials(l);
    ok("no address", accept(l, NULL, &len));
}

CASE(accept_order) {
    int l = listener(0, 16);
    for (int i = 0; i < 5; i++) {
        peer("tcp %d", i + 10);
        peer("connect %d %d %s", i + 10, port_at(l), own_ip);
        peer("send %d 0 %d", i + 10, i);
    }
    for (int i = 0; i < 5; i++) {
        char digit = '-';
        int fd = accept(l, NULL, NULL);
        recv(fd, &digit, 1, 0);
        line("%c", digit);
    }
}

CASE(accept_readiness) {
    int l = listener(SOCK_NONBLOCK, 16);
    peer_dials(l);
    line("events: %x", wait_for(l, POLLIN | POLLOUT));
    peer("tcp 2");
    peer("connect 2 %d %s", port_at(l), own_ip);
    wait_for(l, POLLIN);
    ok("accept", accept(l, NULL, NULL));
    line("events: %x", wait_for(l, POLLIN | POLLOUT));
    ok("accept", accept(l, NULL, NULL));
    line("events: %x", quiet(l, POLLIN | POLLOUT));
    SAY("accept", accept(l, NULL, NULL));
}

CASE(accept_after_the_peer_has_closed) {
    int l = listener(0, 5);
    char text[8];
    peer_dials(l);
    peer("send 1 0 early");
    peer("close 1");
    int fd = accept(l, NULL, NULL);
    ok("accept", fd);
    SAY("recv", recv(fd, text, 5, MSG_WAITALL));
    SAY("end", recv(fd, text, 1, 0));
}

CASE(accept_after_the_peer_has_reset) {
    int l = listener(0, 5);
    char byte;
    peer_dials(l);
    wait_for(l, POLLIN);
    peer("reset 1");
    int fd = accept(l, NULL, NULL);
    ok("accept", fd);
    wait_for(fd, POLLIN);
    SAY("recv", recv(fd, &byte, 1, 0));
    SAY("recv", recv(fd, &byte, 1, 0));
}

CASE(accept_by_a_copy_of_the_listener) {
    int l = listener(0, 5), copy = dup(l);
    close(l);
    SAY("the peer connects", peer_dials(copy));
    ok("accept", accept(copy, NULL, NULL));
}

CASE(listen_twice) {
    int l = listener(0, 1);
    SAY("listen", listen(l, 50));
    SAY("listen", listen(l, 0));
    SAY("listen", listen(l, -1));
    SAY("the peer connects", peer_dials(l));
    ok("accept", accept(l, NULL, NULL));
}

CASE(listen_and_never_accept) {
    int l = listener(0, 16), connected = 0;
    for (int i = 0; i < 10; i++) {
        peer("tcp %d", i + 10);
        connected += peer("connect %d %d %s", i + 10, port_at(l), own_ip) == 0;
    }
    line("connected: %d", connected);
    close(l);
    int reset = 0;
    for (int i = 0; i < 10; i++) reset += peer("recv %d 1", i + 10) == -1 && errno == ECONNRESET;
    line("reset by the close: %d", reset);
}

CASE(listener_closed_is_refused) {
    int l = listener(0, 5), port = port_at(l);
    SAY("the peer connects", peer_dials(l));
    close(l);
    /* On a network the news of the close may be a moment behind it. */
    int refused = 0;
    for (int i = 0; i < 500 && !refused; i++) {
        peer("tcp 2");
        refused = peer("connect 2 %d %s", port, own_ip) < 0 && errno == ECONNREFUSED;
        peer("close 2");
        pause_ms(5);
    }
    line("refused: %d", refused);
}

CASE(listener_shut_down_and_again) {
    int l = listener(0, 5);
    SAY("shutdown", shutdown(l, SHUT_RD));
    SAY("accept", accept(l, NULL, NULL));
    SAY("listen", listen(l, 5));
    SAY("the peer connects", peer_dials(l));
    ok("accept", accept(l, NULL, NULL));
}

CASE(listener_carries_no_data) {
    int l = listener(0, 5);
    char text[8];
    struct iovec vector = {text, sizeof text};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    SAY("recv", recv(l, text, 8, 0));
    SAY("read", read(l, text, 8));
    SAY("readv", readv(l, &vector, 1));
    SAY("recvfrom", recvfrom(l, text, 8, 0, NULL, NULL));
    SAY("recvmsg", recvmsg(l, &message, 0));
    SAY("send", send(l, text, 1, MSG_NOSIGNAL));
    SAY("write", write(l, text, 1));
    SAY("peer", getpeername(l, (void *)text, &(socklen_t){8}));
    SAY("shutdown for writing", shutdown(l, SHUT_WR));
    SAY("the peer connects", peer_dials(l));
    SAY("recv with one waiting", recv(l, text, 8, MSG_DONTWAIT));
    ok("accept", accept(l, NULL, NULL));
}

static void *shut_soon(void *fd) {
    pause_ms(60);
    shutdown(*(int *)fd, SHUT_RDWR);
    return NULL;
}

CASE(listener_shut_down_while_accepting) {
    int l = listener(0, 5);
    pthread_t thread;
    pthread_create(&thread, NULL, shut_soon, &l);
    SAY("accept", accept(l, NULL, NULL));
    pthread_join(thread, NULL);
    SAY("accept", accept(l, NULL, NULL));
}

CASE(listener_receive_timeout) {
    int l = listener(0, 5);
    struct timeval limit = {0, 60000};
    SAY("SO_RCVTIMEO", setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
    SAY("accept", accept(l, NULL, NULL));
}

static void *accept_one(void *l) {
    char byte;
    int fd = accept(*(int *)l, NULL, NULL);
    long good = fd >= 0 && recv(fd, &byte, 1, 0) == 1;
    close(fd);
    return (void *)good;
}

CASE(accept_in_threads) {
    int l = listener(0, 16), served = 0;
    pthread_t thread[8];
    for (int i = 0; i < 8; i++) pthread_create(&thread[i], NULL, accept_one, &l);
    for (int i = 0; i < 8; i++) {
        peer("tcp %d", i + 10);
        peer("connect %d %d %s", i + 10, port_at(l), own_ip);
        peer("send %d 0 x", i + 10);
    }
    for (int i = 0; i < 8; i++) {
        void *good;
        pthread_join(thread[i], &good);
        served += good != NULL;
    }
    line("served: %d", served);
}

CASE(accept_in_processes) {
    int l = listener(0, 16), served = 0, status;
    for (int i = 0; i < 4; i++)
        if (fork() == 0) {
            for (int n = 0; n < 3; n++) {
                char byte;
                int fd = accept(l, NULL, NULL);
                if (fd < 0 || recv(fd, &byte, 1, 0) != 1 || send(fd, "y", 1, 0) != 1) _exit(1);
                close(fd);
            }
            _exit(0);
        }
    int answered = 0;
    for (int i = 0; i < 12; i++) {
        peer_dials(l);
        peer("send 1 0 x");
        answered += peer("recv 1 1") == 1;
        peer("close 1");
    }
    for (int i = 0; i < 4; i++) served += wait(&status) > 0 && status == 0;
    line("answered: %d, workers: %d", answered, served);
}

CASE(accept_many_one_after_the_other) {
    int l = listener(0, 5), good = 0;
    for (int i = 0; i < 60; i++) {
        char byte;
        if (peer_dials(l) < 0) continue;
        int fd = accept(l, NULL, NULL);
        peer("send 1 0 q");
        good += recv(fd, &byte, 1, 0) == 1 && send(fd, "a", 1, 0) == 1 && peer("recv 1 1") == 1;
        close(fd);
        peer("close 1");
    }
    line("good: %d", good);
}

CASE(accept_edge_triggered_queue) {
    int l = listener(SOCK_NONBLOCK, 16), ep = epoll_create1(0), accepted = 0;
    struct epoll_event event = {EPOLLIN | EPOLLET, {.fd = l}}, got;
    epoll_ctl(ep, EPOLL_CTL_ADD, l, &event);
    for (int i = 0; i < 5; i++) {
        peer("tcp %d", i + 10);
        peer("connect %d %d %s", i + 10, port_at(l), own_ip);
    }
    while (accepted < 5 && epoll_wait(ep, &got, 1, 5000) == 1)
        while (accept(l, NULL, NULL) >= 0) accepted++;
    line("accepted: %d, then: %s", accepted, name(errno));
    line("no edge: %d", epoll_wait(ep, &got, 1, 50));
    peer("tcp 20");
    peer("connect 20 %d %s", port_at(l), own_ip);
    line("an edge: %d", epoll_wait(ep, &got, 1, 5000));
}
