/* bind, getsockname, getpeername: addresses of every kind. */
#include "suite.h"

/* An address as text, with the two hosts by name. */
static const char *shown(struct address a) {
    static char text[64];
    if (a.len == 0) return "none";
    if (same(a, here(port_of(a)))) return "here";
    if (same(a, there(port_of(a)))) return "there";
    if (same(a, any(port_of(a)))) return "any";
    snprintf(text, sizeof text, "family %d of %u bytes", a.storage.ss_family == family, a.len);
    return text;
}

CASE(names_unbound) {
    int fd = tcp(0);
    struct address a = local_of(fd);
    line("%s %d", shown(a), port_of(a));
    SAY("peer", getpeername(fd, (void *)&a.storage, &a.len));
}

CASE(names_bound_to_any_port) {
    int fd = tcp(0);
    struct address a = any(0);
    SAY("bind", bind(fd, SA(a)));
    a = local_of(fd);
    line("%s, a port: %d", shown(a), port_of(a) >= 1024);
    SAY("bind again", bind(fd, SA(a)));
    SAY("listen", listen(fd, 5));
    line("port kept: %d", same(a, local_of(fd)));
}

CASE(names_listen_without_bind) {
    int fd = tcp(0);
    SAY("listen", listen(fd, 5));
    struct address a = local_of(fd);
    line("%s, a port: %d", shown(a), port_of(a) >= 1024);
    SAY("the peer connects", peer_dials(fd));
    ok("accepted", accept(fd, NULL, NULL));
}

CASE(names_connected) {
    int port = peer_listens(5), fd = tcp(0);
    struct address to = there(port);
    SAY("connect", connect(fd, SA(to)));
    struct address local = local_of(fd), remote = peer_of(fd);
    line("here: %d, there: %d", same(local, here(port_of(local))), same(remote, to));
    SAY("accepted", peer("accept 0 1") >= 0);
    peer("peer 1");
    line("as the peer sees it: %d", !strncmp(peer_data, own_ip, strlen(own_ip)) &&
                                        atoi(strchr(peer_data, ' ') + 1) == port_of(local));
}

CASE(names_accepted) {
    int l = listener(0, 5);
    struct address from, bound = local_of(l);
    SAY("the peer connects", peer_dials(l));
    memset(&from, 0, sizeof from);
    from.len = sizeof from.storage;
    int fd = accept(l, (void *)&from.storage, &from.len);
    ok("accept", fd);
    struct address local = local_of(fd), remote = peer_of(fd);
    line("from the peer: %d %d", same(from, remote), same(remote, there(port_of(remote))));
    line("to here: %d", same(local, here(port_of(bound))));
    line("the listener's: %s", shown(local_of(l)));
}

CASE(names_by_length) {
    int fd = dial();
    for (unsigned room = 0; room <= 32; room += 4) {
        unsigned char bytes[64];
        memset(bytes, 0x55, sizeof bytes);
        socklen_t len = room;
        int result = getpeername(fd, (void *)bytes, &len);
        line("%u: %d, length %u, untouched %d", room, result, len, bytes[room] == 0x55);
    }
    socklen_t len = -1;
    char bytes[64];
    SAY("negative", getsockname(fd, (void *)bytes, &len));
    SAY("null length", getsockname(fd, (void *)bytes, NULL));
    len = sizeof bytes;
    SAY("null", getpeername(fd, NULL, &len));
    SAY("not a socket", getsockname(0, (void *)bytes, &len));
    SAY("not open", getpeername(1000, (void *)bytes, &len));
}

CASE(bind_taken_port) {
    int l = listener(0, 5), fd = tcp(0);
    struct address a = any(port_at(l));
    SAY("wildcard", bind(fd, SA(a)));
    a = here(port_at(l));
    SAY("own address", bind(fd, SA(a)));
    close(l);
    a = any(port_of(a));
    SAY("after it was closed", bind(fd, SA(a)));
    SAY("listen", listen(fd, 5));
}

CASE(bind_taken_port_with_reuse) {
    int l = tcp(0), fd = tcp(0);
    struct address a = any(0);
    set(l, SOL_SOCKET, SO_REUSEADDR, 1);
    SAY("bind", bind(l, SA(a)));
    a = any(port_at(l));
    set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    SAY("nobody listens", bind(fd, SA(a)));
    SAY("listen", listen(l, 5));
    SAY("listen", listen(fd, 5));
    int third = tcp(0);
    set(third, SOL_SOCKET, SO_REUSEADDR, 1);
    SAY("one listens", bind(third, SA(a)));
}

CASE(bind_reuse_port) {
    int l = tcp(0), fd = tcp(0), other = tcp(0);
    struct address a = any(0);
    set(l, SOL_SOCKET, SO_REUSEPORT, 1);
    set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    SAY("bind", bind(l, SA(a)));
    a = any(port_at(l));
    SAY("bind", bind(fd, SA(a)));
    SAY("listen", listen(l, 16));
    SAY("listen", listen(fd, 16));
    SAY("without the option", bind(other, SA(a)));
    int reached = 0;
    for (int i = 0; i < 10; i++) {
        peer("tcp 1");
        if (peer("connect 1 %d %s", port_of(a), own_ip) < 0) continue;
        struct pollfd both[2] = {{l, POLLIN, 0}, {fd, POLLIN, 0}};
        poll(both, 2, 5000);
        int s = accept(both[0].revents ? l : fd, NULL, NULL);
        reached += s >= 0;
        close(s);
    }
    line("reached: %d", reached);
}

CASE(bind_own_address) {
    int l = tcp(0);
    struct address a = here(0);
    SAY("bind", bind(l, SA(a)));
    SAY("listen", listen(l, 5));
    line("%s", shown(local_of(l)));
    SAY("the peer connects", peer_dials(l));
    int fd = accept(l, NULL, NULL);
    ok("accept", fd);
    line("%d", same(local_of(fd), here(port_at(l))));
}

CASE(bind_foreign_address) {
    int fd = tcp(0);
    struct address a = at(family == AF_INET6 ? "2001:db8::1" : "192.0.2.1", 0);
    SAY("bind", bind(fd, SA(a)));
    line("%s %d", shown(local_of(fd)), port_at(fd));
    a = any(0);
    SAY("another", bind(fd, SA(a)));
}

CASE(bind_bad_arguments) {
    int fd = tcp(0);
    struct address a = any(0);
    SAY("no length", bind(fd, (void *)&a.storage, 0));
    SAY("length 1", bind(fd, (void *)&a.storage, 1));
    SAY("length 8", bind(fd, (void *)&a.storage, 8));
    SAY("one too short", bind(fd, (void *)&a.storage, a.len - (family == AF_INET6 ? 5 : 1)));
    SAY("negative", bind(fd, (void *)&a.storage, -1));
    SAY("null", bind(fd, NULL, a.len));
    SAY("longer", bind(fd, (void *)&a.storage, sizeof a.storage));
    SAY("not open", bind(1000, SA(a)));
    int pipes[2];
    if (pipe(pipes)) return;
    SAY("not a socket", bind(pipes[0], SA(a)));
    fd = tcp(0);
    a.storage.ss_family = 77;
    SAY("an unknown family", bind(fd, SA(a)));
    struct sockaddr_un path = {.sun_family = AF_UNIX, .sun_path = "/x"};
    SAY("a Unix address", bind(fd, (void *)&path, sizeof path));
}

CASE(bind_unspecified_family) {
    int fd = tcp(0);
    struct sockaddr_in a = {.sin_family = AF_UNSPEC};
    /* Historical: as good as AF_INET's wildcard. */
    SAY("wildcard", bind(fd, (void *)&a, sizeof a));
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    SAY("loopback", bind(tcp(0), (void *)&a, sizeof a));
}

CASE(bind_connected) {
    int fd = dial();
    struct address a = any(0);
    SAY("bind", bind(fd, SA(a)));
    SAY("listen", listen(fd, 5));
    SAY("accept", accept(fd, NULL, NULL));
}

CASE(bind_loopback_serves_the_container) {
    int l = tcp(0), c = tcp(0);
    struct address a = at(family == AF_INET6 ? "::1" : "127.0.0.1", 0);
    SAY("bind", bind(l, SA(a)));
    SAY("listen", listen(l, 5));
    a = local_of(l);
    SAY("connect", connect(c, SA(a)));
    int s = accept(l, NULL, NULL);
    ok("accept", s);
    line("%d %d", same(peer_of(c), a), same(local_of(s), a));
    SAY("send", send(c, "x", 1, 0));
    char byte;
    SAY("recv", recv(s, &byte, 1, 0));
}

CASE(wildcard_serves_the_container_too) {
    int l = listener(0, 5), c = tcp(0);
    struct address a = at(family == AF_INET6 ? "::1" : "127.0.0.1", port_at(l));
    SAY("connect", connect(c, SA(a)));
    struct address from;
    from.len = sizeof from.storage;
    int s = accept(l, (void *)&from.storage, &from.len);
    ok("accept", s);
    line("%d %d %d", same(from, local_of(c)), same(peer_of(s), from), same(local_of(s), a));
    SAY("send", send(c, "x", 1, 0));
    char byte;
    SAY("recv", recv(s, &byte, 1, 0));
    close(c);
    SAY("end", recv(s, &byte, 1, 0));
}

CASE(a_connection_within_the_container) {
    int l = listener(0, 5), c = tcp(0);
    struct address a = here(port_at(l));
    SAY("connect", connect(c, SA(a)));
    int s = accept(l, NULL, NULL);
    ok("accept", s);
    line("%d %d %d", same(peer_of(c), a), same(local_of(s), a), same(peer_of(s), local_of(c)));
    SAY("send", send(c, "hello", 5, 0));
    char text[8];
    SAY("recv", recv(s, text, 5, MSG_WAITALL));
    SAY("send", send(s, "answer", 6, 0));
    SAY("recv", recv(c, text, 6, MSG_WAITALL));
    close(c);
    SAY("end", recv(s, text, 1, 0));
}

CASE(a_listener_for_ipv6_only) {
    if (family != AF_INET6) return;
    int six = tcp(0), four = socket(AF_INET, SOCK_STREAM, 0);
    struct address a = any(0);
    SAY("V6ONLY", set(six, SOL_IPV6, IPV6_V6ONLY, 1));
    SAY("bind", bind(six, SA(a)));
    SAY("listen", listen(six, 5));
    struct sockaddr_in beside = {.sin_family = AF_INET, .sin_port = htons(port_at(six))};
    SAY("IPv4 beside it", bind(four, (void *)&beside, sizeof beside));
    SAY("listen", listen(four, 5));
    SAY("V6ONLY when bound", set(six, SOL_IPV6, IPV6_V6ONLY, 0));
    SAY("the peer connects", peer_dials(six));
    ok("accept", accept(six, NULL, NULL));
}

CASE(a_listener_for_both) {
    if (family != AF_INET6) return;
    int six = listener(0, 5), four = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in beside = {.sin_family = AF_INET, .sin_port = htons(port_at(six))};
    SAY("IPv4 beside it", bind(four, (void *)&beside, sizeof beside));
    beside.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    SAY("an IPv4 client", connect(four, (void *)&beside, sizeof beside));
    struct address from;
    from.len = sizeof from.storage;
    ok("accept", accept(six, (void *)&from.storage, &from.len));
    char text[64];
    line("%s", inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&from.storage)->sin6_addr, text, sizeof text));
}

CASE(an_ipv4_peer_on_an_ipv6_socket) {
    if (family != AF_INET) return;
    int port = peer_listens(5), fd = socket(AF_INET6, SOCK_STREAM, 0);
    family = AF_INET6;
    struct address to = there(port);
    SAY("connect", connect(fd, SA(to)));
    line("there: %d, here: %d", same(peer_of(fd), to), same(local_of(fd), here(port_at(fd))));
    line("domain: %d", option(fd, SOL_SOCKET, SO_DOMAIN) == AF_INET6);
    int l = listener(0, 5);
    family = AF_INET;
    SAY("an IPv4 client", peer_dials(l));
    family = AF_INET6;
    struct address from;
    memset(&from, 0, sizeof from);
    from.len = sizeof from.storage;
    ok("accept", accept(l, (void *)&from.storage, &from.len));
    line("there: %d", same(from, there(port_of(from))));
    int only = tcp(0);
    set(only, SOL_IPV6, IPV6_V6ONLY, 1);
    SAY("connect with V6ONLY", connect(only, SA(to)));
}

CASE(a_scope_is_ignored_for_global_addresses) {
    if (family != AF_INET6) return;
    struct address to = there(peer_listens(5));
    ((struct sockaddr_in6 *)&to.storage)->sin6_scope_id = 1;
    int fd = tcp(0);
    SAY("connect", connect(fd, SA(to)));
    struct address remote = peer_of(fd);
    line("scope: %u", ((struct sockaddr_in6 *)&remote.storage)->sin6_scope_id);
}

CASE(sockets_that_cannot_be_made) {
    SAY("bad family", socket(77, SOCK_STREAM, 0));
    SAY("bad type", socket(family, 77, 0));
    SAY("bad protocol", socket(family, SOCK_STREAM, IPPROTO_UDP));
    SAY("unknown protocol", socket(family, SOCK_STREAM, 255));
    ok("TCP by name", socket(family, SOCK_STREAM, IPPROTO_TCP));
    ok("UDP by name", socket(family, SOCK_DGRAM, IPPROTO_UDP));
    int pair[2];
    SAY("a pair", socketpair(family, SOCK_STREAM, 0, pair));
}

#ifdef __GLIBC__
CASE(bind_to_a_reserved_port) {
    int fd = tcp(0);
    if (family == AF_INET6) {
        /* It knows addresses of the other family only. */
        struct sockaddr_in6 wrong = {.sin6_family = AF_INET6};
        SAY("bindresvport", bindresvport(fd, (void *)&wrong));
        return;
    }
    SAY("bindresvport", bindresvport(fd, NULL));
    int port = port_at(fd);
    line("reserved: %d", port >= 512 && port < 1024);
    struct address to = there(peer_listens(5)), own = here(0);
    SAY("connect", connect(fd, SA(to)));
    SAY("accepted", peer("accept 0 1") >= 0);
    line("kept: %d", port_at(fd) == port);
    int other = tcp(0);
    SAY("bindresvport to this side", bindresvport(other, (void *)&own.storage));
    line("told: %d", port_at(other) == port_of(own));
    SAY("bound already", bindresvport(other, NULL));
}
#endif
