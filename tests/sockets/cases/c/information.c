/* TCP_INFO and the queues: numbers that are real. */
#include "suite.h"

/* The kernel's numbers: musl comes without its headers. */
#ifndef SIOCINQ
#define SIOCINQ 0x541b
#define SIOCOUTQ 0x5411
#endif
#define SIOCOUTQNSD 0x894b

/* The kernel's structure, which not every C library knows to its end. */
struct information {
    unsigned char state, ca_state, retransmits, probes, backoff, options, scales, limited;
    unsigned rto, ato, snd_mss, rcv_mss, unacked, sacked, lost, retrans, fackets, last_data_sent, last_ack_sent,
        last_data_recv, last_ack_recv, pmtu, rcv_ssthresh, rtt, rttvar, snd_ssthresh, snd_cwnd, advmss, reordering, rcv_rtt,
        rcv_space, total_retrans;
    unsigned long long pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
    unsigned segs_out, segs_in, notsent_bytes, min_rtt, data_segs_in, data_segs_out;
    unsigned long long delivery_rate, busy_time, rwnd_limited, sndbuf_limited;
    unsigned delivered, delivered_ce;
    unsigned long long bytes_sent, bytes_retrans;
};

static struct information info(int fd) {
    struct information i;
    socklen_t len = sizeof i;
    memset(&i, 0, sizeof i);
    if (getsockopt(fd, SOL_TCP, TCP_INFO, &i, &len) < 0) line("TCP_INFO: %s", name(errno));
    return i;
}

CASE(info_states) {
    line("fresh: %d", info(tcp(0)).state);
    line("listening: %d", info(listener(0, 5)).state);
    int fd = dial();
    line("connected: %d", info(fd).state);
    shutdown(fd, SHUT_WR);
    /* FIN-WAIT-1 until the FIN is acknowledged. */
    int state = 0;
    for (int i = 0; i < 5000 && (state = info(fd).state) != 5; i++) pause_ms(1);
    line("shut down: %d", state);
    fd = dial();
    peer("shutdown 1 %d", SHUT_WR);
    settled(fd, POLLRDHUP, POLLRDHUP);
    line("the peer has shut down: %d", info(fd).state);
    fd = dial();
    peer("reset 1");
    settled(fd, POLLHUP, POLLHUP);
    line("reset: %d", info(fd).state);
}

CASE(info_accepted) {
    int fd = taken();
    struct information i = info(fd);
    line("state %d, mss %d, rtt %d, cwnd %d", i.state, i.snd_mss >= 500, i.rtt > 0, i.snd_cwnd > 0);
}

CASE(info_counts_what_was_sent) {
    int fd = dial();
    SAY("send", send_all(fd, 300000));
    SAY("the peer reads", peer("drain 1 300000"));
    struct information i;
    for (int n = 0; n < 5000 && (i = info(fd)).bytes_acked < 300000; n++) pause_ms(1);
    /* The SYN counts in the kernel's number of acknowledged bytes. */
    line("acked: %d, sent: %d", i.bytes_acked >= 300000 && i.bytes_acked <= 300002,
         i.bytes_sent >= 300000 && i.bytes_sent <= 600000);
    line("nothing unsent: %u, unacknowledged: %u", i.notsent_bytes, i.unacked);
    line("mss %d, rtt %d, rttvar %d, cwnd %d, rto %d, pmtu %d", i.snd_mss >= 500 && i.snd_mss <= 65536, i.rtt > 0,
         i.rttvar > 0, i.snd_cwnd > 0, i.rto >= 1000, i.pmtu >= 1280);
    line("segments: %d %d", i.segs_out > 1, i.segs_in > 1);
    line("none lost: %d", i.total_retrans < 100);
}

CASE(info_counts_what_was_received) {
    int fd = dial();
    peer("fill 1 200000");
    SAY("read", read_all(fd, 200000));
    struct information i = info(fd);
    line("received: %llu", i.bytes_received);
    line("segments: %d, data: %d", i.segs_in > 1, i.data_segs_in > 0);
}

CASE(info_by_length) {
    int fd = dial();
    char bytes[512];
    socklen_t sizes[] = {0, 1, 8, 104, 232};
    for (unsigned n = 0; n < sizeof sizes / sizeof *sizes; n++) {
        socklen_t len = sizes[n];
        memset(bytes, 0x55, sizeof bytes);
        int result = getsockopt(fd, SOL_TCP, TCP_INFO, bytes, &len);
        line("%u: %d %u, state %d, untouched %d", sizes[n], result, len, n == 0 ? 0 : bytes[0], bytes[sizes[n]] == 0x55);
    }
}

CASE(queue_of_unread_bytes) {
    int fd = dial(), waiting = -1;
    SAY("FIONREAD", ioctl(fd, FIONREAD, &waiting));
    line("%d", waiting);
    peer("send 1 0 0123456789");
    wait_for(fd, POLLIN);
    SAY("FIONREAD", ioctl(fd, FIONREAD, &waiting));
    line("%d", waiting);
    char text[4];
    SAY("read", read(fd, text, 4));
    SAY("FIONREAD", ioctl(fd, FIONREAD, &waiting));
    line("%d", waiting);
    SAY("SIOCINQ", ioctl(fd, SIOCINQ, &waiting));
    line("%d", waiting);
}

CASE(queue_of_unsent_bytes) {
    int fd = dial(), unsent = -1;
    SAY("SIOCOUTQ", ioctl(fd, SIOCOUTQ, &unsent));
    line("%d", unsent);
    SAY("send", send_all(fd, 5000));
    SAY("the peer reads", peer("drain 1 5000"));
    for (int n = 0; n < 5000 && (unsent = -1, ioctl(fd, SIOCOUTQ, &unsent) == 0) && unsent != 0; n++) pause_ms(1);
    line("%d", unsent);
    SAY("SIOCOUTQNSD", ioctl(fd, SIOCOUTQNSD, &unsent));
    line("%d", unsent);
}

CASE(queue_of_a_peer_that_does_not_read) {
    int fd = dial(), unsent = -1, on = 1;
    char block[4096] = {0};
    ioctl(fd, FIONBIO, &on);
    long sent = 0;
    /* Until it is full and stays full for a moment. */
    for (;;) {
        long n = send(fd, block, sizeof block, MSG_NOSIGNAL);
        if (n > 0) sent += n;
        else if (errno != EAGAIN || !(quiet(fd, POLLOUT) & POLLOUT)) break;
    }
    line("events: %x", quiet(fd, POLLIN | POLLOUT));
    SAY("SIOCOUTQ", ioctl(fd, SIOCOUTQ, &unsent));
    line("some wait: %d", unsent > 0 && unsent <= sent);
    peer("drain 1 %ld", sent);
    line("events: %x", wait_for(fd, POLLOUT));
}

CASE(queue_ioctls_of_a_listener) {
    int l = listener(0, 5), n = -1;
    SAY("FIONREAD", ioctl(l, FIONREAD, &n));
    SAY("SIOCOUTQ", ioctl(l, SIOCOUTQ, &n));
    SAY("SIOCATMARK", ioctl(l, SIOCATMARK, &n));
}

CASE(queue_ioctls_of_a_fresh_socket) {
    int fd = tcp(0), n = -1;
    SAY("FIONREAD", ioctl(fd, FIONREAD, &n));
    line("%d", n);
    SAY("SIOCOUTQ", ioctl(fd, SIOCOUTQ, &n));
    line("%d", n);
    SAY("SIOCATMARK", ioctl(fd, SIOCATMARK, &n));
    line("%d", n);
}
