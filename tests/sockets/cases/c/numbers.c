/* The calls by their numbers, with syscall(2), and the vectored calls that have flags. */
#include "suite.h"
#include <sched.h>
#include <sys/mman.h>

static char text[64];

static long word(const void *pointer) { return (long)pointer; }

/* A connection that was made by numbers only; the peer's end is its socket 1. */
static int dialled(void) {
    struct address to = there(peer_listens(5));
    int fd = syscall(SYS_socket, family, SOCK_STREAM, 0);
    SAY("connect", syscall(SYS_connect, fd, word(&to.storage), to.len));
    SAY("accepted", peer("accept 0 1") >= 0);
    return fd;
}

CASE(number_of_connect) {
    struct address to = there(peer_listens(5)), a;
    int fd = syscall(SYS_socket, family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    SAY("setsockopt", syscall(SYS_setsockopt, fd, IPPROTO_TCP, TCP_NODELAY, word(&on), sizeof on));
    SAY("connect", syscall(SYS_connect, fd, word(&to.storage), to.len));
    SAY("accepted", peer("accept 0 1") >= 0);
    a.len = sizeof a.storage;
    SAY("getpeername", syscall(SYS_getpeername, fd, word(&a.storage), word(&a.len)));
    line("the peer: %d", same(a, to));
    a.len = sizeof a.storage;
    SAY("getsockname", syscall(SYS_getsockname, fd, word(&a.storage), word(&a.len)));
    line("this side: %d", same(a, local_of(fd)));
    socklen_t len = sizeof on;
    on = -1;
    SAY("getsockopt", syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_PROTOCOL, word(&on), word(&len)));
    line("%d", on);
    SAY("close", syscall(SYS_close, fd));
    SAY("the peer reads", peer("recv 1 1"));
    SAY("closed", syscall(SYS_getpeername, fd, word(&a.storage), word(&a.len)));
}

CASE(number_of_accept) {
    struct address a = any(0);
    int l = syscall(SYS_socket, family, SOCK_STREAM, 0);
    SAY("bind", syscall(SYS_bind, l, word(&a.storage), a.len));
    SAY("listen", syscall(SYS_listen, l, 5));
    for (int round = 0; round < 2; round++) {
        SAY("the peer connects", peer_dials(l));
        struct address from;
        from.len = sizeof from.storage;
        int fd = round == 0 ? syscall(SYS_accept, l, word(&from.storage), word(&from.len))
                            : syscall(SYS_accept4, l, word(&from.storage), word(&from.len), SOCK_NONBLOCK | SOCK_CLOEXEC);
        line("the peer: %d, flags %x %x", same(from, peer_of(fd)), fcntl(fd, F_GETFL) & O_NONBLOCK, fcntl(fd, F_GETFD));
        SAY("write", syscall(SYS_write, fd, word("ping"), 4L));
        SAY("the peer reads", peer("recv 1 4 %d", MSG_WAITALL));
        SAY("close", syscall(SYS_close, fd));
    }
    fcntl(l, F_SETFL, O_NONBLOCK);
    SAY("accept4 of nothing", syscall(SYS_accept4, l, 0L, 0L, 0));
}

CASE(numbers_of_sends) {
    int fd = dialled();
    struct iovec vector[2] = {{"ab", 2}, {"cd", 2}};
    struct msghdr message = {.msg_iov = vector, .msg_iovlen = 2};
    struct mmsghdr batch[2] = {{.msg_hdr = message}, {.msg_hdr = message}};
    SAY("write", syscall(SYS_write, fd, word("abcd"), 4L));
    SAY("writev", syscall(SYS_writev, fd, word(vector), 2L));
    SAY("pwritev2", syscall(SYS_pwritev2, fd, word(vector), 2L, -1L, -1L, 0));
    SAY("sendto", syscall(SYS_sendto, fd, word("abcd"), 4L, MSG_NOSIGNAL, 0L, 0L));
    SAY("sendmsg", syscall(SYS_sendmsg, fd, word(&message), 0));
    SAY("sendmmsg", syscall(SYS_sendmmsg, fd, word(batch), 2L, 0));
    SAY("the peer reads", peer("recv 1 28 %d", MSG_WAITALL));
    line("%s", peer_data);
    SAY("pwritev2 at a position", syscall(SYS_pwritev2, fd, word(vector), 2L, 0L, 0L, 0));
    SAY("pwritev2 with unknown flags", syscall(SYS_pwritev2, fd, word(vector), 2L, -1L, -1L, 0x40000000));
}

CASE(numbers_of_receives) {
    int fd = dialled();
    struct iovec vector[2] = {{text, 2}, {text + 2, 2}};
    struct msghdr message = {.msg_iov = vector, .msg_iovlen = 2};
    struct mmsghdr batch[1] = {{.msg_hdr = message}};
    peer("send 1 0 aaaabbbbccccddddeeeeffff");
    SAY("recvfrom", syscall(SYS_recvfrom, fd, word(text), 24L, MSG_PEEK | MSG_WAITALL, 0L, 0L));
    SAY("read", syscall(SYS_read, fd, word(text), 4L));
    SAY("readv", syscall(SYS_readv, fd, word(vector), 2L));
    SAY("preadv2", syscall(SYS_preadv2, fd, word(vector), 2L, -1L, -1L, 0));
    SAY("recvfrom", syscall(SYS_recvfrom, fd, word(text), 4L, 0, 0L, 0L));
    SAY("recvmsg", syscall(SYS_recvmsg, fd, word(&message), 0));
    SAY("recvmmsg", syscall(SYS_recvmmsg, fd, word(batch), 1L, MSG_DONTWAIT, 0L));
    line("length: %u, last: %.4s", batch[0].msg_len, text);
    SAY("preadv2 at a position", syscall(SYS_preadv2, fd, word(vector), 2L, 0L, 0L, 0));
    SAY("preadv2 with unknown flags", syscall(SYS_preadv2, fd, word(vector), 2L, -1L, -1L, 0x40000000));
    SAY("recvfrom of nothing", syscall(SYS_recvfrom, fd, word(text), 4L, MSG_DONTWAIT, 0L, 0L));
    peer("close 1");
    SAY("preadv2 at the end", syscall(SYS_preadv2, fd, word(vector), 2L, -1L, -1L, 0));
    SAY("read at the end", syscall(SYS_read, fd, word(text), 4L));
}

CASE(number_of_receive_tells_a_reset) {
    int fd = dialled();
    peer("reset 1");
    settled(fd, POLLHUP, POLLHUP);
    SAY("recvfrom", syscall(SYS_recvfrom, fd, word(text), 4L, 0, 0L, 0L));
    SAY("recvfrom", syscall(SYS_recvfrom, fd, word(text), 4L, 0, 0L, 0L));
}

CASE(batch_tells_a_reset) {
    int fd = dial();
    struct iovec vector = {text, 4};
    struct mmsghdr batch[2] = {{.msg_hdr = {.msg_iov = &vector, .msg_iovlen = 1}},
                               {.msg_hdr = {.msg_iov = &vector, .msg_iovlen = 1}}};
    peer("reset 1");
    settled(fd, POLLHUP, POLLHUP);
    SAY("recvmmsg", recvmmsg(fd, batch, 2, MSG_DONTWAIT, NULL));
    SAY("recv", recv(fd, text, 4, 0));
}

CASE(batch_has_no_names) {
    int fd = dial();
    struct iovec vector = {text, 4};
    struct address from;
    memset(&from, 0x55, sizeof from);
    struct mmsghdr batch = {
        .msg_hdr = {.msg_iov = &vector, .msg_iovlen = 1, .msg_name = &from.storage, .msg_namelen = sizeof from.storage}};
    peer("send 1 0 ping");
    wait_for(fd, POLLIN);
    SAY("recvmmsg", recvmmsg(fd, &batch, 1, 0, NULL));
    line("length: %u, of the name: %u", batch.msg_len, batch.msg_hdr.msg_namelen);
    SAY("from the error queue", recvmmsg(fd, &batch, 1, MSG_ERRQUEUE, NULL));
}

CASE(number_of_fcntl_and_dup) {
    int fd = dialled(), copy = syscall(SYS_dup, fd);
    line("%ld", syscall(SYS_dup3, fd, 101, O_CLOEXEC));
    line("%ld", syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 200L));
    line("%lx", syscall(SYS_fcntl, copy, F_GETFL) & O_ACCMODE);
    SAY("close", syscall(SYS_close, fd));
    for (int i = 0; i < 3; i++) SAY("write", syscall(SYS_write, i == 0 ? copy : i == 1 ? 101 : 200, word("ping"), 4L));
    SAY("the peer reads", peer("recv 1 12 %d", MSG_WAITALL));
    SAY("dup3 onto itself", syscall(SYS_dup3, copy, copy, 0));
    SAY("dup of none", syscall(SYS_dup, -1));
}

CASE(number_of_ioctl) {
    int fd = dialled(), waiting = -1;
    peer("send 1 0 0123456789");
    wait_for(fd, POLLIN);
    SAY("FIONREAD", syscall(SYS_ioctl, fd, (long)FIONREAD, word(&waiting)));
    line("%d", waiting);
    SAY("an unknown request", syscall(SYS_ioctl, fd, 0x1234L, word(&waiting)));
}

CASE(number_of_epoll_ctl_before_connect) {
    struct address to = there(peer_listens(5));
    int fd = syscall(SYS_socket, family, SOCK_STREAM, 0), poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = 7}, got = {0};
    SAY("epoll_ctl", syscall(SYS_epoll_ctl, poller, EPOLL_CTL_ADD, fd, word(&event)));
    SAY("connect", syscall(SYS_connect, fd, word(&to.storage), to.len));
    SAY("accepted", peer("accept 0 1") >= 0);
    peer("send 1 0 ping");
    SAY("epoll_wait", epoll_wait(poller, &got, 1, 10000));
    line("%u %x", got.data.u32, got.events);
}

CASE(numbers_refused) {
    struct address to = there(1);
    int fd = syscall(SYS_socket, family, SOCK_STREAM, 0);
    SAY("connect to nobody", syscall(SYS_connect, fd, word(&to.storage), to.len));
    SAY("connect of none", syscall(SYS_connect, -1, word(&to.storage), to.len));
    SAY("connect to nowhere", syscall(SYS_connect, fd, 0L, 0L));
    SAY("listen of none", syscall(SYS_listen, -1, 5));
    SAY("an unknown family", syscall(SYS_socket, 9999, SOCK_STREAM, 0));
    SAY("an unknown number", syscall(100000));
    SAY("a negative number", syscall(-1));
}

CASE(numbers_of_udp) {
    peer("udp 2");
    struct address to = there(peer("bind 2 0"));
    int fd = syscall(SYS_socket, family, SOCK_DGRAM, 0);
    struct iovec vector[2] = {{"pi", 2}, {"ng", 2}}, room[2] = {{text, 2}, {text + 2, 30}};
    SAY("sendto", syscall(SYS_sendto, fd, word("ping"), 4L, 0, word(&to.storage), to.len));
    SAY("the peer reads", peer("recv 2 64"));
    SAY("connect", syscall(SYS_connect, fd, word(&to.storage), to.len));
    SAY("pwritev2", syscall(SYS_pwritev2, fd, word(vector), 2L, -1L, -1L, 0));
    SAY("the peer reads", peer("recv 2 64"));
    SAY("the peer answers", peer("sendto 2 %d %s ping", port_at(fd), own_ip));
    wait_for(fd, POLLIN);
    SAY("preadv2", syscall(SYS_preadv2, fd, word(room), 2L, -1L, -1L, 0));
    line("%.4s", text);
    SAY("preadv2 at a position", syscall(SYS_preadv2, fd, word(room), 2L, 0L, 0L, 0));
    SAY("preadv2 of nothing", syscall(SYS_preadv2, fd, word(room), 2L, -1L, -1L, 8 /* RWF_NOWAIT */));
}

/* What is nobody's business: arguments, results and errno as without the library. */
CASE(numbers_of_other_calls) {
    line("%d", syscall(SYS_getpid) == getpid());
    char *page = (char *)syscall(SYS_mmap, 0L, 4096L, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);
    line("%d", page != MAP_FAILED);
    strcpy(page, "kept");
    line("%s", page);
    SAY("munmap", syscall(SYS_munmap, word(page), 4096L));
    SAY("close", syscall(SYS_close, -1));
    int futex = 1;
    struct timespec soon = {.tv_nsec = 1000};
    SAY("futex that changed", syscall(SYS_futex, word(&futex), 0, 0, word(&soon), 0L, 0));
    SAY("futex that is late", syscall(SYS_futex, word(&futex), 0, 1, word(&soon), 0L, 0));
    long child = syscall(SYS_clone, SIGCHLD, 0L, 0L, 0L, 0L);
    if (child == 0) syscall(SYS_exit_group, 7);
    int status = 0;
    SAY("wait", waitpid(child, &status, 0) == child);
    line("%d", WEXITSTATUS(status));
}
