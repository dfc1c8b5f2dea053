/* Sends and receives on a connection: every call, every flag. */
#include "suite.h"

static char text[64];

CASE(send_by_every_call) {
    int fd = dial();
    struct iovec vector[2] = {{"ab", 2}, {"cd", 2}};
    struct msghdr message = {.msg_iov = vector, .msg_iovlen = 2};
    struct mmsghdr batch[2] = {{.msg_hdr = message}, {.msg_hdr = message}};
    SAY("write", write(fd, "abcd", 4));
    SAY("send", send(fd, "abcd", 4, 0));
    SAY("sendto", sendto(fd, "abcd", 4, 0, NULL, 0));
    SAY("writev", writev(fd, vector, 2));
    SAY("sendmsg", sendmsg(fd, &message, 0));
    SAY("sendmmsg", sendmmsg(fd, batch, 2, 0));
    line("lengths: %u %u", batch[0].msg_len, batch[1].msg_len);
    SAY("the peer reads", peer("recv 1 28 %d", MSG_WAITALL));
    line("%s", peer_data);
}

CASE(receive_by_every_call) {
    int fd = dial();
    struct iovec vector[2] = {{text, 2}, {text + 2, 2}};
    struct msghdr message = {.msg_iov = vector, .msg_iovlen = 2};
    struct mmsghdr batch[2] = {{.msg_hdr = message}, {.msg_hdr = message}};
    struct address from;
    from.len = sizeof from.storage;
    peer("send 1 0 aaaabbbbccccddddeeeeffffgggg");
    while (recv(fd, text, 28, MSG_PEEK) < 28) pause_ms(1);
    SAY("read", read(fd, text, 4));
    SAY("recv", recv(fd, text, 4, 0));
    SAY("recvfrom", recvfrom(fd, text, 4, 0, (void *)&from.storage, &from.len));
    line("no address: %u", from.len);
    SAY("readv", readv(fd, vector, 2));
    SAY("recvmsg", recvmsg(fd, &message, 0));
    SAY("recvmmsg", recvmmsg(fd, batch, 2, MSG_DONTWAIT, NULL));
    line("lengths: %u %u", batch[0].msg_len, batch[1].msg_len);
    line("last: %.4s", text);
}

CASE(receive_nothing) {
    int fd = dial();
    SAY("read of no bytes", read(fd, text, 0));
    SAY("recv of no bytes", recv(fd, text, 0, MSG_DONTWAIT));
    SAY("recv", recv(fd, text, 1, MSG_DONTWAIT));
    SAY("send of no bytes", send(fd, text, 0, 0));
    SAY("write of no bytes", write(fd, text, 0));
    peer("send 1 0 x");
    wait_for(fd, POLLIN);
    SAY("recv of no bytes", recv(fd, text, 0, 0));
    SAY("recv", recv(fd, text, 1, 0));
}

CASE(peek) {
    int fd = dial();
    peer("send 1 0 abcdef");
    SAY("peek", recv(fd, text, 6, MSG_PEEK | MSG_WAITALL));
    SAY("peek", recv(fd, text, 3, MSG_PEEK));
    SAY("recv", recv(fd, text, 2, 0));
    SAY("peek", recv(fd, text, 10, MSG_PEEK));
    line("%.4s", text);
    SAY("recv", recv(fd, text, 4, MSG_WAITALL));
    SAY("peek", recv(fd, text, 4, MSG_PEEK | MSG_DONTWAIT));
    peer("close 1");
    wait_for(fd, POLLIN);
    SAY("peek at the end", recv(fd, text, 4, MSG_PEEK));
    SAY("recv at the end", recv(fd, text, 4, 0));
}

CASE(peek_offset) {
    int fd = dial();
    SAY("SO_PEEK_OFF", set(fd, SOL_SOCKET, SO_PEEK_OFF, 2));
    line("%d", option(fd, SOL_SOCKET, SO_PEEK_OFF));
    set(fd, SOL_SOCKET, SO_PEEK_OFF, -1);
}

CASE(wait_for_all) {
    int fd = dial();
    peer("send 1 0 abc");
    wait_for(fd, POLLIN);
    if (fork() == 0) {
        pause_ms(60);
        peer("send 1 0 defgh");
        _exit(0);
    }
    SAY("recv", recv(fd, text, 8, MSG_WAITALL));
    line("%.8s", text);
    wait(NULL);
}

CASE(wait_for_all_ends_with_the_connection) {
    int fd = dial();
    peer("send 1 0 abc");
    peer("close 1");
    SAY("recv", recv(fd, text, 8, MSG_WAITALL));
    SAY("recv", recv(fd, text, 8, MSG_WAITALL));
}

/* Out of the compiler's sight. */
static char *volatile nowhere;
static volatile int minus_one = -1, too_many = 5000;

CASE(truncate_discards) {
    int fd = dial();
    peer("send 1 0 abcdef");
    wait_for(fd, POLLIN);
    while (recv(fd, text, 6, MSG_PEEK) < 6) pause_ms(1);
    SAY("recv", recv(fd, nowhere, 4, MSG_TRUNC));
    SAY("rest", recv(fd, text, 6, 0));
    line("%.2s", text);
}

CASE(error_queue_is_empty) {
    int fd = dial();
    struct iovec vector = {text, 8};
    char control[256];
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    SAY("recv", recv(fd, text, 8, MSG_ERRQUEUE));
    peer("send 1 0 data");
    wait_for(fd, POLLIN);
    SAY("recv", recv(fd, text, 8, MSG_ERRQUEUE));
    SAY("recvmsg", recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT));
    SAY("recv", recv(fd, text, 4, MSG_WAITALL));
}

CASE(message_flags_and_control) {
    int fd = dial();
    struct iovec vector = {text, 8};
    char control[256];
    struct address from;
    struct msghdr message = {.msg_name = &from.storage, .msg_namelen = sizeof from.storage, .msg_iov = &vector,
                             .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control, .msg_flags = 77};
    peer("send 1 0 data");
    wait_for(fd, POLLIN);
    SAY("recvmsg", recvmsg(fd, &message, 0));
    line("name %u, control %u, flags %x", message.msg_namelen, (unsigned)message.msg_controllen, message.msg_flags);
    SAY("recvmsg", recvmsg(fd, &message, MSG_DONTWAIT));
}

CASE(send_with_a_destination) {
    int fd = dial();
    struct address to = there(9);
    SAY("sendto elsewhere", sendto(fd, "abc", 3, 0, SA(to)));
    struct iovec vector = {"def", 3};
    struct msghdr message = {.msg_name = &to.storage, .msg_namelen = to.len, .msg_iov = &vector, .msg_iovlen = 1};
    SAY("sendmsg elsewhere", sendmsg(fd, &message, 0));
    SAY("the peer reads", peer("recv 1 6 %d", MSG_WAITALL));
    int fresh = tcp(0);
    SAY("unconnected", sendto(fresh, "abc", 3, MSG_NOSIGNAL, SA(to)));
    SAY("unconnected", send(fresh, "abc", 3, MSG_NOSIGNAL));
    SAY("unconnected", write(fresh, "abc", 3));
    SAY("unconnected", recv(fresh, text, 3, 0));
    SAY("unconnected", read(fresh, text, 3));
}

CASE(send_with_flags) {
    int fd = dial();
    SAY("MSG_MORE", send(fd, "ab", 2, MSG_MORE));
    SAY("MSG_DONTROUTE", send(fd, "cd", 2, MSG_DONTROUTE));
    SAY("MSG_CONFIRM", send(fd, "ef", 2, MSG_CONFIRM));
    SAY("MSG_EOR", send(fd, "gh", 2, MSG_EOR));
    SAY("MSG_DONTWAIT", send(fd, "ij", 2, MSG_DONTWAIT));
    SAY("MSG_ZEROCOPY without the option", send(fd, "kl", 2, MSG_ZEROCOPY));
    SAY("the peer reads", peer("recv 1 12 %d", MSG_WAITALL));
    line("%s", peer_data);
}

CASE(cork_holds_and_releases) {
    int fd = dial();
    set(fd, SOL_TCP, TCP_CORK, 1);
    SAY("send", send(fd, "ab", 2, 0));
    SAY("send", send(fd, "cd", 2, 0));
    set(fd, SOL_TCP, TCP_CORK, 0);
    SAY("the peer reads", peer("recv 1 4 %d", MSG_WAITALL));
}

CASE(bad_pointers) {
    int fd = dial();
    peer("send 1 0 abc");
    wait_for(fd, POLLIN);
    /* By the system call: a fortified C library would read the pointers itself. */
    SAY("read", syscall(SYS_read, fd, (void *)8, 3));
    SAY("write", syscall(SYS_write, fd, (void *)8, 3));
    struct iovec vector = {(void *)8, 3};
    SAY("readv", readv(fd, &vector, 1));
    SAY("writev", writev(fd, &vector, 1));
    SAY("readv of a negative count", readv(fd, &vector, minus_one));
    SAY("writev of too many", writev(fd, &vector, too_many));
    SAY("still there", recv(fd, text, 3, MSG_WAITALL));
}

CASE(vectors) {
    int fd = dial();
    struct iovec parts[4] = {{"", 0}, {"abc", 3}, {NULL, 0}, {"de", 2}};
    SAY("writev", writev(fd, parts, 4));
    SAY("writev of nothing", writev(fd, parts, 0));
    SAY("the peer reads", peer("recv 1 5 %d", MSG_WAITALL));
    peer("send 1 0 12345");
    while (recv(fd, text, 5, MSG_PEEK) < 5) pause_ms(1);
    struct iovec rooms[3] = {{text, 2}, {NULL, 0}, {text + 8, 10}};
    SAY("readv", readv(fd, rooms, 3));
    line("%.2s %.3s", text, text + 8);
}

CASE(positioned_calls_are_refused) {
    int fd = dial();
    struct iovec vector = {text, 4};
    SAY("pread", pread(fd, text, 4, 0));
    SAY("pwrite", pwrite(fd, text, 4, 0));
    SAY("preadv", preadv(fd, &vector, 1, 0));
    SAY("pwritev", pwritev(fd, &vector, 1, 0));
    SAY("lseek", lseek(fd, 0, SEEK_SET));
    SAY("ftruncate", ftruncate(fd, 0));
    SAY("fsync", fsync(fd));
}

CASE(full_duplex) {
    int fd = dial(), status;
    pid_t sender = fork();
    if (sender == 0) _exit(send_all(fd, 1500000) != 1500000);
    pid_t filler = fork();
    if (filler == 0) {
        peer("fill 1 1200000");
        _exit(0);
    }
    SAY("read", read_all(fd, 1200000));
    /* The peer obeys one command after the other. */
    waitpid(filler, &status, 0);
    SAY("the peer reads", peer("drain 1 1500000"));
    waitpid(sender, &status, 0);
    line("status %d", status);
}

CASE(bytes_arrive_as_they_were) {
    int fd = dial();
    long wrong = 0, seen = 0;
    static char block[50000];
    if (fork() == 0) {
        peer("fill 1 2000000");
        peer("close 1");
        _exit(0);
    }
    for (ssize_t n; (n = read(fd, block, sizeof block)) > 0;)
        for (ssize_t i = 0; i < n; i++, seen++) wrong += block[i] != byte_at(seen);
    line("seen %ld, wrong %ld", seen, wrong);
    wait(NULL);
}

CASE(urgent_data) {
    int fd = dial(), mark = -1;
    SAY("the peer sends", peer("send 1 0 abc"));
    SAY("the peer urges", peer("send 1 %d !", MSG_OOB));
    wait_for(fd, POLLIN);
    for (int i = 0; i < 20 && !(quiet(fd, POLLPRI) & POLLPRI); i++) {};
    line("events: %x", quiet(fd, POLLIN | POLLPRI));
    SAY("recv", recv(fd, text, 10, 0));
    SAY("SIOCATMARK", ioctl(fd, SIOCATMARK, &mark));
    line("%d", mark);
    SAY("urgent", recv(fd, text, 1, MSG_OOB));
    line("%c", text[0]);
    SAY("no more", recv(fd, text, 1, MSG_OOB));
}

CASE(urgent_data_inline) {
    int fd = dial();
    set(fd, SOL_SOCKET, SO_OOBINLINE, 1);
    peer("send 1 0 abc");
    peer("send 1 %d !", MSG_OOB);
    SAY("recv", recv(fd, text, 3, MSG_WAITALL));
    wait_for(fd, POLLIN);
    SAY("recv", recv(fd, text, 3, MSG_DONTWAIT));
    SAY("urgent", recv(fd, text, 1, MSG_OOB));
}

CASE(urgent_data_sent) {
    int fd = dial();
    SAY("send", send(fd, "abc", 3, 0));
    SAY("urge", send(fd, "!", 1, MSG_OOB));
    peer("wait 1 %d", POLLIN);
    SAY("the peer is told", peer("wait 1 %d", POLLIN | POLLPRI) & POLLPRI);
    SAY("the peer reads", peer("recv 1 10"));
    SAY("the peer reads the urgent byte", peer("recv 1 1 %d", MSG_OOB));
}

CASE(no_urgent_data) {
    int fd = dial();
    SAY("nothing", recv(fd, text, 1, MSG_OOB));
    peer("send 1 0 abc");
    wait_for(fd, POLLIN);
    SAY("only data", recv(fd, text, 1, MSG_OOB));
    SAY("recv", recv(fd, text, 3, MSG_WAITALL));
}
