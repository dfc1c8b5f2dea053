/* shutdown, close, reset: orders and what each end is told. */
#include "suite.h"

static char byte;

/* The end of file or the error that comes, and what poll says of it. */
static void ends(int fd) {
    line("events: %x", settled(fd, POLLIN | POLLRDHUP, POLLIN | POLLRDHUP));
    SAY("read", read(fd, &byte, 1));
    SAY("read", read(fd, &byte, 1));
}

CASE(close_is_end_of_file) {
    int fd = dial();
    peer("close 1");
    ends(fd);
    line("SO_ERROR: %s", name(soerror(fd)));
}

CASE(close_after_data) {
    int fd = dial();
    char text[16];
    peer("send 1 0 last words");
    peer("close 1");
    settled(fd, POLLIN | POLLRDHUP, POLLIN | POLLRDHUP);
    SAY("recv", recv(fd, text, 4, MSG_WAITALL));
    ends(fd);
}

static void shut(int how) {
    int fd = dial();
    SAY("shutdown", shutdown(fd, how));
    SAY("shutdown again", shutdown(fd, how));
    SAY("send", send(fd, "x", 1, MSG_NOSIGNAL));
    if (how != SHUT_RD) SAY("the peer reads", peer("drain 1 100"));
    SAY("the peer sends", peer("send 1 0 abc"));
    if (how == SHUT_WR) {
        wait_for(fd, POLLIN);
        SAY("read", read(fd, &byte, 1));
    }
    line("still connected: %d", peer_of(fd).len > 0);
}

CASE(shutdown_writing) { shut(SHUT_WR); }
CASE(shutdown_both) {
    int fd = dial();
    SAY("shutdown", shutdown(fd, SHUT_RDWR));
    SAY("send", send(fd, "x", 1, MSG_NOSIGNAL));
    SAY("read", read(fd, &byte, 1));
    SAY("the peer reads", peer("recv 1 10"));
    line("events: %x", wait_for(fd, POLLIN | POLLOUT | POLLRDHUP));
}

CASE(shutdown_reading) {
    int fd = dial();
    SAY("shutdown", shutdown(fd, SHUT_RD));
    SAY("read", read(fd, &byte, 1));
    SAY("send", send(fd, "x", 1, MSG_NOSIGNAL));
    SAY("the peer reads", peer("recv 1 10"));
    line("events: %x", wait_for(fd, POLLIN | POLLRDHUP));
}

CASE(shutdown_reading_keeps_what_came_before) {
    int fd = dial();
    char text[8];
    peer("send 1 0 before");
    wait_for(fd, POLLIN);
    SAY("shutdown", shutdown(fd, SHUT_RD));
    SAY("read", recv(fd, text, 8, 0));
    SAY("read", recv(fd, text, 8, 0));
}

CASE(shutdown_bad_arguments) {
    int fd = dial();
    SAY("how 3", shutdown(fd, 3));
    SAY("how -1", shutdown(fd, -1));
    SAY("not open", shutdown(1000, SHUT_RD));
    int fresh = tcp(0);
    SAY("unconnected", shutdown(fresh, SHUT_RDWR));
    SAY("unconnected, bad", shutdown(fresh, 9));
}

CASE(half_close_request_and_reply) {
    int fd = dial();
    char reply[16];
    SAY("request", send(fd, "request", 7, 0));
    SAY("shutdown", shutdown(fd, SHUT_WR));
    SAY("the peer reads all", peer("drain 1 1000"));
    SAY("the peer replies", peer("send 1 0 reply"));
    peer("close 1");
    SAY("reply", recv(fd, reply, 16, MSG_WAITALL));
    SAY("end", recv(fd, reply, 16, 0));
    line("events: %x", settled(fd, POLLIN | POLLRDHUP | POLLHUP, POLLIN | POLLRDHUP | POLLHUP));
}

CASE(half_close_by_the_peer) {
    int fd = dial();
    peer("shutdown 1 %d", SHUT_WR);
    line("events: %x", settled(fd, POLLIN | POLLOUT | POLLRDHUP, POLLIN | POLLOUT | POLLRDHUP));
    SAY("read", read(fd, &byte, 1));
    SAY("send", send(fd, "still", 5, 0));
    SAY("the peer reads", peer("recv 1 5 %d", MSG_WAITALL));
    close(fd);
    SAY("the peer reads", peer("recv 1 5"));
}

CASE(reset_with_nothing_unread) {
    int fd = dial();
    peer("reset 1");
    wait_for(fd, POLLIN);
    SAY("read", read(fd, &byte, 1));
    SAY("read", read(fd, &byte, 1));
    SAY("send", send(fd, "x", 1, MSG_NOSIGNAL));
    line("SO_ERROR: %s", name(soerror(fd)));
}

CASE(reset_told_by_so_error) {
    int fd = dial();
    peer("reset 1");
    wait_for(fd, POLLIN);
    line("SO_ERROR: %s", name(soerror(fd)));
    line("SO_ERROR: %s", name(soerror(fd)));
    SAY("read", read(fd, &byte, 1));
    SAY("peer", getpeername(fd, NULL, NULL) < 0);
}

CASE(reset_told_by_send) {
    int fd = dial();
    peer("reset 1");
    wait_for(fd, POLLIN);
    SAY("send", send(fd, "x", 1, MSG_NOSIGNAL));
    SAY("send", send(fd, "x", 1, MSG_NOSIGNAL));
    SAY("read", read(fd, &byte, 1));
    line("SO_ERROR: %s", name(soerror(fd)));
}

CASE(reset_told_by_write) {
    int fd = dial();
    peer("reset 1");
    wait_for(fd, POLLIN);
    SAY("write", write(fd, "x", 1));
    SAY("write", write(fd, "x", 1));
}

CASE(reset_told_by_writev) {
    int fd = dial();
    peer("reset 1");
    wait_for(fd, POLLIN);
    struct iovec vector = {"x", 1};
    SAY("writev", writev(fd, &vector, 1));
    SAY("writev", writev(fd, &vector, 1));
}

CASE(reset_told_by_sendmsg) {
    int fd = dial();
    peer("reset 1");
    wait_for(fd, POLLIN);
    struct iovec vector = {"x", 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    SAY("sendmsg", sendmsg(fd, &message, MSG_NOSIGNAL));
    SAY("sendmsg", sendmsg(fd, &message, MSG_NOSIGNAL));
}

CASE(reset_told_by_recvmsg) {
    int fd = dial();
    peer("reset 1");
    wait_for(fd, POLLIN);
    struct iovec vector = {&byte, 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    SAY("recvmsg", recvmsg(fd, &message, 0));
    SAY("recvmsg", recvmsg(fd, &message, 0));
}

CASE(reset_events) {
    int fd = dial();
    peer("reset 1");
    int wanted = POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP;
    line("events: %x", settled(fd, wanted, wanted));
    line("SO_ERROR: %s", name(soerror(fd)));
    line("events: %x", wait_for(fd, wanted));
}

CASE(reset_discards_nothing_that_was_read) {
    int fd = dial();
    char text[8];
    peer("send 1 0 data");
    SAY("recv", recv(fd, text, 4, MSG_WAITALL));
    peer("reset 1");
    wait_for(fd, POLLIN);
    SAY("read", read(fd, text, 4));
}

CASE(close_with_unread_data_resets) {
    int fd = dial();
    SAY("send", send(fd, "unread", 6, 0));
    peer("wait 1 %d", POLLIN);
    peer("close 1");
    wait_for(fd, POLLIN);
    SAY("read", read(fd, &byte, 1));
}

CASE(our_unread_data_resets_the_peer) {
    int fd = dial();
    SAY("the peer sends", peer("send 1 0 unread"));
    wait_for(fd, POLLIN);
    close(fd);
    SAY("the peer reads", peer("recv 1 10"));
}

CASE(our_linger_zero_resets_the_peer) {
    int fd = dial();
    struct linger now = {1, 0};
    SAY("linger", setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now));
    close(fd);
    SAY("the peer reads", peer("recv 1 10"));
}

CASE(our_close_is_end_of_file_to_the_peer) {
    int fd = dial();
    send(fd, "bye", 3, 0);
    close(fd);
    SAY("the peer reads", peer("recv 1 3 %d", MSG_WAITALL));
    SAY("the peer reads", peer("recv 1 3"));
}

CASE(write_to_a_closed_peer) {
    int fd = dial();
    peer("close 1");
    settled(fd, POLLIN | POLLRDHUP, POLLIN | POLLRDHUP);
    SAY("first write", send(fd, "x", 1, MSG_NOSIGNAL));
    /* The answer to it is a reset. */
    settled(fd, POLLOUT, POLLHUP);
    SAY("second write", send(fd, "x", 1, MSG_NOSIGNAL));
    SAY("read", read(fd, &byte, 1));
}

static volatile sig_atomic_t pipes;
static void count_pipe(int signal) { pipes += signal == SIGPIPE; }

CASE(sigpipe_when_shut_down) {
    signal(SIGPIPE, count_pipe);
    int fd = dial();
    shutdown(fd, SHUT_WR);
    SAY("write", write(fd, "x", 1));
    SAY("send", send(fd, "x", 1, 0));
    SAY("send without a signal", send(fd, "x", 1, MSG_NOSIGNAL));
    struct iovec vector = {"x", 1};
    SAY("writev", writev(fd, &vector, 1));
    line("signals: %d", pipes);
}

CASE(sigpipe_after_a_reset) {
    signal(SIGPIPE, count_pipe);
    int fd = dial();
    peer("reset 1");
    wait_for(fd, POLLIN);
    SAY("write", write(fd, "x", 1));
    line("signals: %d", pipes);
    SAY("write", write(fd, "x", 1));
    line("signals: %d", pipes);
}

CASE(sigpipe_ends_a_program) {
    int fd = dial(), status;
    shutdown(fd, SHUT_WR);
    if (fork() == 0) {
        signal(SIGPIPE, SIG_DFL);
        _exit(write(fd, "x", 1) < 0);
    }
    wait(&status);
    line("signal: %d", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

static void *shut_soon(void *fd) {
    pause_ms(50);
    shutdown(*(int *)fd, SHUT_RDWR);
    return NULL;
}

CASE(shutdown_wakes_a_reader) {
    int fd = dial();
    pthread_t thread;
    pthread_create(&thread, NULL, shut_soon, &fd);
    SAY("read", read(fd, &byte, 1));
    pthread_join(thread, NULL);
}

CASE(simultaneous_close) {
    int fd = dial();
    shutdown(fd, SHUT_WR);
    peer("shutdown 1 %d", SHUT_WR);
    SAY("read", read(fd, &byte, 1));
    SAY("the peer reads", peer("recv 1 1"));
    int wanted = POLLIN | POLLOUT | POLLRDHUP | POLLHUP;
    line("events: %x", settled(fd, wanted, wanted));
    line("SO_ERROR: %s", name(soerror(fd)));
}

CASE(linger_waits_for_the_data) {
    int fd = dial();
    struct linger some = {1, 10};
    SAY("linger", setsockopt(fd, SOL_SOCKET, SO_LINGER, &some, sizeof some));
    SAY("sent", send_all(fd, 100000));
    SAY("close", close(fd));
    SAY("the peer reads", peer("drain 1 200000"));
}

CASE(large_data_survives_a_close) {
    int fd = dial();
    if (fork() == 0) _exit(send_all(fd, 3000000) != 3000000);
    close(fd);
    SAY("the peer reads", peer("drain 1 4000000"));
}
