/* Socket options: set before and after the decision, read back, and refused with the same errno. */
#include "suite.h"
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/ip.h>

static void get(int fd, const char *label, int level, int name_) {
    int value = option(fd, level, name_);
    if (value < 0 && value != -12345) line("%s: %s", label, name(-value));
    else line("%s: %d", label, value);
}

static void put(int fd, const char *label, int level, int name_, int value) {
    int result = set(fd, level, name_, value);
    int error = errno;
    printf("set %s %d: %s, ", label, value, result < 0 ? name(error) : "ok");
    get(fd, "then", level, name_);
}
#define GET(fd, level, option) get(fd, #option, level, option)
#define PUT(fd, level, option, value) put(fd, #option, level, option, value)

static void identity(int fd) {
    GET(fd, SOL_SOCKET, SO_TYPE);
    line("SO_DOMAIN: %d", option(fd, SOL_SOCKET, SO_DOMAIN) == family);
    GET(fd, SOL_SOCKET, SO_PROTOCOL);
    GET(fd, SOL_SOCKET, SO_ACCEPTCONN);
    GET(fd, SOL_SOCKET, SO_ERROR);
}

CASE(options_identity_fresh) { identity(tcp(0)); }
CASE(options_identity_connected) { identity(dial()); }
CASE(options_identity_accepted) { identity(taken()); }
CASE(options_identity_listening) { identity(listener(0, 5)); }

static void defaults(int fd) {
    GET(fd, SOL_SOCKET, SO_KEEPALIVE);
    GET(fd, SOL_SOCKET, SO_REUSEADDR);
    GET(fd, SOL_SOCKET, SO_REUSEPORT);
    GET(fd, SOL_SOCKET, SO_BROADCAST);
    GET(fd, SOL_SOCKET, SO_OOBINLINE);
    GET(fd, SOL_SOCKET, SO_DONTROUTE);
    GET(fd, SOL_SOCKET, SO_PRIORITY);
    GET(fd, SOL_SOCKET, SO_RCVLOWAT);
    GET(fd, SOL_SOCKET, SO_SNDLOWAT);
    GET(fd, SOL_SOCKET, SO_MARK);
    GET(fd, SOL_SOCKET, SO_TIMESTAMP);
    GET(fd, SOL_SOCKET, SO_BUSY_POLL);
    GET(fd, SOL_SOCKET, SO_ZEROCOPY);
    GET(fd, SOL_TCP, TCP_NODELAY);
    GET(fd, SOL_TCP, TCP_CORK);
    GET(fd, SOL_TCP, TCP_KEEPIDLE);
    GET(fd, SOL_TCP, TCP_KEEPINTVL);
    GET(fd, SOL_TCP, TCP_KEEPCNT);
    GET(fd, SOL_TCP, TCP_USER_TIMEOUT);
    GET(fd, SOL_TCP, TCP_SYNCNT);
    GET(fd, SOL_TCP, TCP_LINGER2);
    GET(fd, SOL_TCP, TCP_DEFER_ACCEPT);
    GET(fd, SOL_TCP, TCP_FASTOPEN);
    GET(fd, SOL_TCP, TCP_FASTOPEN_CONNECT);
    GET(fd, SOL_IP, IP_TOS);
    GET(fd, SOL_IP, IP_TTL);
    GET(fd, SOL_IP, IP_MTU_DISCOVER);
}

CASE(options_defaults_fresh) { defaults(tcp(0)); }
CASE(options_defaults_connected) { defaults(dial()); }
CASE(options_defaults_accepted) { defaults(taken()); }
CASE(options_defaults_listening) { defaults(listener(0, 5)); }

static void put_all(int fd) {
    PUT(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    PUT(fd, SOL_SOCKET, SO_KEEPALIVE, 7);
    PUT(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    PUT(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    PUT(fd, SOL_SOCKET, SO_BROADCAST, 1);
    PUT(fd, SOL_SOCKET, SO_OOBINLINE, 1);
    PUT(fd, SOL_SOCKET, SO_DONTROUTE, 1);
    PUT(fd, SOL_SOCKET, SO_DONTROUTE, 0);
    PUT(fd, SOL_SOCKET, SO_PRIORITY, 5);
    PUT(fd, SOL_SOCKET, SO_RCVLOWAT, 3);
    PUT(fd, SOL_SOCKET, SO_RCVLOWAT, 1);
    PUT(fd, SOL_TCP, TCP_NODELAY, 1);
    PUT(fd, SOL_TCP, TCP_NODELAY, 0);
    PUT(fd, SOL_TCP, TCP_CORK, 1);
    PUT(fd, SOL_TCP, TCP_CORK, 0);
    PUT(fd, SOL_TCP, TCP_KEEPIDLE, 10);
    PUT(fd, SOL_TCP, TCP_KEEPINTVL, 5);
    PUT(fd, SOL_TCP, TCP_KEEPCNT, 3);
    PUT(fd, SOL_TCP, TCP_USER_TIMEOUT, 9000);
    PUT(fd, SOL_TCP, TCP_SYNCNT, 4);
    PUT(fd, SOL_TCP, TCP_LINGER2, 20);
    PUT(fd, SOL_TCP, TCP_QUICKACK, 1);
    PUT(fd, SOL_TCP, TCP_DEFER_ACCEPT, 1);
    PUT(fd, SOL_TCP, TCP_NOTSENT_LOWAT, 16384);
    PUT(fd, SOL_IP, IP_TOS, 8);
    PUT(fd, SOL_IP, IP_TTL, 44);
    PUT(fd, SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
}

CASE(options_put_fresh) { put_all(tcp(0)); }
CASE(options_put_connected) { put_all(dial()); }
CASE(options_put_accepted) { put_all(taken()); }
CASE(options_put_listening) { put_all(listener(0, 5)); }

static void refuse(int fd) {
    PUT(fd, SOL_TCP, TCP_KEEPIDLE, 0);
    PUT(fd, SOL_TCP, TCP_KEEPIDLE, 40000);
    PUT(fd, SOL_TCP, TCP_KEEPINTVL, -1);
    PUT(fd, SOL_TCP, TCP_KEEPCNT, 1000);
    PUT(fd, SOL_TCP, TCP_USER_TIMEOUT, -5);
    PUT(fd, SOL_TCP, TCP_SYNCNT, 300);
    SAY("TCP_MAXSEG too small", set(fd, SOL_TCP, TCP_MAXSEG, 5));
    PUT(fd, SOL_IP, IP_TTL, 300);
    PUT(fd, SOL_IP, IP_TTL, 0);
    PUT(fd, SOL_IP, IP_MTU_DISCOVER, 99);
    SAY("no such option", set(fd, SOL_TCP, 999, 1));
    SAY("no such option", set(fd, SOL_SOCKET, 9999, 1));
    SAY("no such option", set(fd, SOL_IP, 999, 1));
    SAY("no such level", set(fd, 4711, 1, 1));
    line("no such option to get: %s", name(-option(fd, SOL_TCP, 999)));
    line("no such option to get: %s", name(-option(fd, SOL_SOCKET, 9999)));
    line("no such option to get: %s", name(-option(fd, SOL_IP, 999)));
    line("no such level to get: %s", name(-option(fd, 4711, 1)));
    SAY("read only", set(fd, SOL_SOCKET, SO_TYPE, 1));
    SAY("read only", set(fd, SOL_SOCKET, SO_ERROR, 1));
    SAY("read only", set(fd, SOL_SOCKET, SO_ACCEPTCONN, 1));
    SAY("read only", set(fd, SOL_SOCKET, SO_PROTOCOL, 1));
    SAY("read only", set(fd, SOL_SOCKET, SO_DOMAIN, 1));
}

CASE(options_refused_fresh) { refuse(tcp(0)); }
CASE(options_refused_connected) { refuse(dial()); }
CASE(options_refused_listening) { refuse(listener(0, 5)); }

static void lengths(int fd) {
    char bytes[32] = {1};
    socklen_t len;
    SAY("set 0 bytes", setsockopt(fd, SOL_TCP, TCP_NODELAY, bytes, 0));
    SAY("set 1 byte", setsockopt(fd, SOL_TCP, TCP_NODELAY, bytes, 1));
    SAY("set 3 bytes", setsockopt(fd, SOL_TCP, TCP_NODELAY, bytes, 3));
    SAY("set 16 bytes", setsockopt(fd, SOL_TCP, TCP_NODELAY, bytes, 16));
    SAY("set negative", setsockopt(fd, SOL_TCP, TCP_NODELAY, bytes, -1));
    SAY("set null", setsockopt(fd, SOL_TCP, TCP_NODELAY, NULL, 4));
    SAY("set IP_TOS by a byte", setsockopt(fd, SOL_IP, IP_TOS, "\x10", 1));
    GET(fd, SOL_IP, IP_TOS);
    SAY("short time-out", setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, bytes, 8));
    SAY("short linger", setsockopt(fd, SOL_SOCKET, SO_LINGER, bytes, 4));
    SAY("short keepalive", setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, bytes, 3));
    for (unsigned room = 0; room <= 8; room += room < 4 ? 1 : 4) {
        memset(bytes, 0x55, sizeof bytes);
        len = room;
        int result = getsockopt(fd, SOL_TCP, TCP_NODELAY, bytes, &len);
        line("get %u: %d, length %u, %02x %02x %02x %02x %02x", room, result, len, bytes[0], bytes[1], bytes[2], bytes[3],
             bytes[4]);
        len = room;
        memset(bytes, 0x55, sizeof bytes);
        result = getsockopt(fd, SOL_SOCKET, SO_TYPE, bytes, &len);
        line("get type %u: %d, length %u, %02x %02x", room, result, len, bytes[0], bytes[1]);
        len = room;
        memset(bytes, 0x55, sizeof bytes);
        result = getsockopt(fd, SOL_IP, IP_TTL, bytes, &len);
        line("get ttl %u: %d, length %u, %02x %02x", room, result, len, bytes[0], bytes[1]);
    }
    len = -1;
    SAY("get negative", getsockopt(fd, SOL_TCP, TCP_NODELAY, bytes, &len));
    len = 4;
    SAY("get null", getsockopt(fd, SOL_TCP, TCP_NODELAY, NULL, &len));
    SAY("get null length", getsockopt(fd, SOL_TCP, TCP_NODELAY, bytes, NULL));
}

CASE(options_lengths_fresh) { lengths(tcp(0)); }
CASE(options_lengths_connected) { lengths(dial()); }

CASE(options_of_nothing) {
    int pipes[2], value = 1;
    socklen_t len = sizeof value;
    if (pipe(pipes)) return;
    SAY("set", setsockopt(pipes[0], SOL_TCP, TCP_NODELAY, &value, len));
    SAY("get", getsockopt(pipes[0], SOL_TCP, TCP_NODELAY, &value, &len));
    SAY("set", setsockopt(1000, SOL_TCP, TCP_NODELAY, &value, len));
    SAY("get", getsockopt(-1, SOL_SOCKET, SO_ERROR, &value, &len));
    int pair[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    SAY("TCP option of a Unix socket", getsockopt(pair[0], SOL_TCP, TCP_NODELAY, &value, &len));
    SAY("type of a Unix socket", option(pair[0], SOL_SOCKET, SO_TYPE));
    SAY("domain of a Unix socket", option(pair[0], SOL_SOCKET, SO_DOMAIN));
}

CASE(options_kept_over_connect) {
    int fd = tcp(0);
    set(fd, SOL_TCP, TCP_NODELAY, 1);
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(fd, SOL_TCP, TCP_KEEPIDLE, 33);
    set(fd, SOL_TCP, TCP_KEEPINTVL, 11);
    set(fd, SOL_TCP, TCP_KEEPCNT, 4);
    set(fd, SOL_TCP, TCP_USER_TIMEOUT, 4321);
    set(fd, SOL_IP, IP_TOS, 0x10);
    set(fd, SOL_IP, IP_TTL, 33);
    set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    set(fd, SOL_SOCKET, SO_PRIORITY, 3);
    set(fd, SOL_SOCKET, SO_OOBINLINE, 1);
    struct linger linger = {1, 9};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    struct timeval limit = {0, 80000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    struct address to = there(peer_listens(5));
    SAY("connect", connect(fd, SA(to)));
    GET(fd, SOL_TCP, TCP_NODELAY);
    GET(fd, SOL_SOCKET, SO_KEEPALIVE);
    GET(fd, SOL_TCP, TCP_KEEPIDLE);
    GET(fd, SOL_TCP, TCP_KEEPINTVL);
    GET(fd, SOL_TCP, TCP_KEEPCNT);
    GET(fd, SOL_TCP, TCP_USER_TIMEOUT);
    GET(fd, SOL_IP, IP_TOS);
    GET(fd, SOL_IP, IP_TTL);
    GET(fd, SOL_SOCKET, SO_REUSEADDR);
    GET(fd, SOL_SOCKET, SO_PRIORITY);
    GET(fd, SOL_SOCKET, SO_OOBINLINE);
    char c;
    SAY("the time-out holds", recv(fd, &c, 1, 0));
    socklen_t len = sizeof linger;
    memset(&linger, 0, sizeof linger);
    SAY("linger", getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len));
    line("%d %d %d", linger.l_onoff, linger.l_linger, len);
    len = sizeof limit;
    SAY("time-out", getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, &len));
    line("%ld %ld %d", (long)limit.tv_sec, (long)limit.tv_usec, len);
    SAY("no time-out of sending", getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, &len));
    line("%ld %ld %d", (long)limit.tv_sec, (long)limit.tv_usec, len);
}

CASE(options_inherited_from_the_listener) {
    int l = tcp(0);
    struct address a = any(0);
    set(l, SOL_TCP, TCP_NODELAY, 1);
    set(l, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(l, SOL_TCP, TCP_KEEPIDLE, 33);
    bind(l, SA(a));
    listen(l, 5);
    set(l, SOL_TCP, TCP_USER_TIMEOUT, 777);
    set(l, SOL_SOCKET, SO_OOBINLINE, 1);
    peer_dials(l);
    int fd = accept(l, NULL, NULL);
    ok("accepted", fd);
    GET(fd, SOL_TCP, TCP_NODELAY);
    GET(fd, SOL_SOCKET, SO_KEEPALIVE);
    GET(fd, SOL_TCP, TCP_KEEPIDLE);
    GET(fd, SOL_TCP, TCP_USER_TIMEOUT);
    GET(fd, SOL_SOCKET, SO_OOBINLINE);
    GET(fd, SOL_SOCKET, SO_REUSEADDR);
}

CASE(options_linger_values) {
    int fd = dial();
    struct linger linger = {1, 5};
    socklen_t len = sizeof linger;
    SAY("set", setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    SAY("get", getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len));
    line("%d %d %d", linger.l_onoff, linger.l_linger, len);
    linger.l_onoff = 0;
    SAY("set", setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    SAY("get", getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len));
    line("%d %d %d", linger.l_onoff, linger.l_linger, len);
}

CASE(options_timeouts_read_back) {
    int fd = dial();
    struct timeval limit = {3, 500000};
    socklen_t len = sizeof limit;
    SAY("set", setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit));
    SAY("get", getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, &len));
    line("%ld %ld %d", (long)limit.tv_sec, (long)limit.tv_usec, len);
    limit.tv_usec = 2000000;
    SAY("too many microseconds", setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
    limit.tv_sec = -1, limit.tv_usec = 0;
    SAY("negative", setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
    SAY("get", getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, &len));
    line("%ld %ld %d", (long)limit.tv_sec, (long)limit.tv_usec, len);
}

static void buffers(int fd) {
    int send_before = option(fd, SOL_SOCKET, SO_SNDBUF), receive_before = option(fd, SOL_SOCKET, SO_RCVBUF);
    line("sane: %d %d", send_before >= 4096, receive_before >= 4096);
    SAY("set SO_SNDBUF", set(fd, SOL_SOCKET, SO_SNDBUF, 50000));
    SAY("set SO_RCVBUF", set(fd, SOL_SOCKET, SO_RCVBUF, 60000));
    line("doubled: %d %d", option(fd, SOL_SOCKET, SO_SNDBUF), option(fd, SOL_SOCKET, SO_RCVBUF));
    set(fd, SOL_SOCKET, SO_SNDBUF, 1);
    set(fd, SOL_SOCKET, SO_RCVBUF, 1);
    line("smallest: %d %d", option(fd, SOL_SOCKET, SO_SNDBUF) >= 2048, option(fd, SOL_SOCKET, SO_RCVBUF) >= 2048);
}

CASE(options_buffers_fresh) { buffers(tcp(0)); }
CASE(options_buffers_connected) { buffers(dial()); }
CASE(options_buffers_listening) { buffers(listener(0, 5)); }

CASE(options_buffers_kept_over_connect) {
    int fd = tcp(0);
    set(fd, SOL_SOCKET, SO_SNDBUF, 50000);
    set(fd, SOL_SOCKET, SO_RCVBUF, 60000);
    struct address to = there(peer_listens(5));
    SAY("connect", connect(fd, SA(to)));
    line("kept: %d %d", option(fd, SOL_SOCKET, SO_SNDBUF), option(fd, SOL_SOCKET, SO_RCVBUF));
}

CASE(options_congestion_control) {
    int fd = dial();
    char text[16] = {0};
    socklen_t len = sizeof text;
    SAY("get", getsockopt(fd, SOL_TCP, TCP_CONGESTION, text, &len));
    line("named: %d, length %u", text[0] >= 'a' && text[0] <= 'z', len);
    SAY("set the same", setsockopt(fd, SOL_TCP, TCP_CONGESTION, text, strlen(text)));
    SAY("set another", setsockopt(fd, SOL_TCP, TCP_CONGESTION, "nonsense", 8));
}

CASE(options_bind_to_device) {
    int fd = tcp(0);
    char text[32] = "x";
    socklen_t len = sizeof text;
    SAY("unknown", setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "no-such", 7));
    SAY("get", getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, text, &len));
    line("%u", len);
    SAY("none", setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "", 0));
    struct address to = there(peer_listens(5));
    SAY("connect", connect(fd, SA(to)));
    len = sizeof text;
    SAY("get", getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, text, &len));
    line("%u", len);
}

/* The interface that has this side's address. */
static const char *device(void) {
    static char found[IF_NAMESIZE] = "none";
    struct address own = here(0);
    struct ifaddrs *list = NULL;
    if (getifaddrs(&list) < 0) return found;
    for (struct ifaddrs *one = list; one; one = one->ifa_next) {
        if (!one->ifa_addr || one->ifa_addr->sa_family != family) continue;
        int match = family == AF_INET6 ? !memcmp(&((struct sockaddr_in6 *)one->ifa_addr)->sin6_addr,
                                                 &((struct sockaddr_in6 *)&own.storage)->sin6_addr, 16)
                                       : !memcmp(&((struct sockaddr_in *)one->ifa_addr)->sin_addr,
                                                 &((struct sockaddr_in *)&own.storage)->sin_addr, 4);
        if (match) snprintf(found, sizeof found, "%s", one->ifa_name);
    }
    freeifaddrs(list);
    return found;
}

static int bound_to_device(int fd) {
    const char *name = device();
    SAY("SO_BINDTODEVICE", setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, strlen(name) + 1));
    return fd;
}

CASE(options_bind_to_this_device) {
    struct address to = there(peer_listens(5)), a = any(0);
    int fd = bound_to_device(tcp(0));
    SAY("connect", connect(fd, SA(to)));
    SAY("accepted", peer("accept 0 1") >= 0);
    SAY("once more", setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device(), strlen(device())));
    fd = bound_to_device(tcp(0));
    SAY("bind", bind(fd, SA(a)));
    SAY("listen", listen(fd, 5));
    SAY("the peer connects", peer_dials(fd));
    ok("accept", accept(fd, NULL, NULL));
    fd = bound_to_device(tcp(0));
    SAY("listen without an address", listen(fd, 5));
    SAY("the peer connects", peer_dials(fd));
    ok("accept", accept(fd, NULL, NULL));
    fd = bound_to_device(tcp(0));
    SAY("bound to none again", setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "", 1));
    SAY("connect", connect(fd, SA(to)));
}

CASE(options_bind_udp_to_this_device) {
    peer("udp 2");
    struct address to = there(peer("bind 2 0"));
    int fd = bound_to_device(udp(0));
    SAY("send", sendto(fd, "ping", 4, 0, SA(to)));
    SAY("the peer reads", peer("recv 2 64"));
    struct address a = any(0);
    fd = bound_to_device(udp(0));
    SAY("bind", bind(fd, SA(a)));
    SAY("the peer sends", peer("sendto 2 %d %s ping", port_at(fd), own_ip));
    wait_for(fd, POLLIN);
    char text[8];
    SAY("recv", recv(fd, text, 8, MSG_DONTWAIT));
}

CASE(options_fast_open_hints) {
    int l = tcp(0), fd = tcp(0);
    struct address a = any(0);
    bind(l, SA(a));
    PUT(l, SOL_TCP, TCP_FASTOPEN, 5);
    SAY("listen", listen(l, 5));
    GET(l, SOL_TCP, TCP_FASTOPEN);
    PUT(l, SOL_TCP, TCP_DEFER_ACCEPT, 1);
    PUT(fd, SOL_TCP, TCP_FASTOPEN_CONNECT, 1);
    struct address to = there(peer_listens(5));
    SAY("connect", connect(fd, SA(to)));
    SAY("send", send(fd, "x", 1, 0));
    SAY("accepted", peer("accept 0 1") >= 0);
    SAY("received", peer("recv 1 10"));
}

CASE(options_ipv6) {
    int fd = tcp(0);
    GET(fd, SOL_IPV6, IPV6_V6ONLY);
    PUT(fd, SOL_IPV6, IPV6_V6ONLY, 1);
    PUT(fd, SOL_IPV6, IPV6_UNICAST_HOPS, 9);
    PUT(fd, SOL_IPV6, IPV6_TCLASS, 32);
    close(fd);
    fd = dial();
    GET(fd, SOL_IPV6, IPV6_V6ONLY);
    PUT(fd, SOL_IPV6, IPV6_V6ONLY, 1);
    PUT(fd, SOL_IPV6, IPV6_UNICAST_HOPS, 9);
    PUT(fd, SOL_IPV6, IPV6_TCLASS, 32);
    GET(fd, SOL_IPV6, IPV6_MTU_DISCOVER);
}

CASE(options_max_segment) {
    int fd = tcp(0);
    PUT(fd, SOL_TCP, TCP_MAXSEG, 1000);
    struct address to = there(peer_listens(5));
    SAY("connect", connect(fd, SA(to)));
    int value = option(fd, SOL_TCP, TCP_MAXSEG);
    line("at most what was asked: %d", value > 500 && value <= 1000);
}

/* What is set by a copy is set on the socket. */
CASE(options_set_by_a_copy) {
    struct address to = there(peer_listens(5));
    for (int round = 0; round < 2; round++) {
        int fd = tcp(0), copy = dup(fd);
        if (round)
            set(copy, IPPROTO_TCP, TCP_NODELAY, 1);
        close(copy);
        SAY("connect", connect(fd, SA(to)));
        line("TCP_NODELAY: %d", option(fd, IPPROTO_TCP, TCP_NODELAY));
        close(fd);
    }
}
