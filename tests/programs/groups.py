"""Groups, broadcast, and what comes along with datagrams: one program, both ends, whose trace must not depend on what
carries it, nor on the family of the address.

    groups.py server ADDRESS PORT            serves until it is ended
    groups.py client ADDRESS PORT [CASE…]    plays the cases, prints one JSON object: case -> trace
    groups.py member OWN PORT                serves as a member of the group on the interface of OWN
    groups.py asker OWN PORT                 asks the group through that interface until somebody answers, then everybody
                                             of the subnet; prints who did

The server answers each datagram by its first byte: "e" sends it back, "j" and "l" join and leave the group that follows
on the interface that the request came in by, "m" sends the second word to the group and port that follow, "t" sends the
hop limit and class that it saw, "p" the address that the datagram was sent to.
"""
import json
import select
import socket
import struct
import sys
import time

from cases import case, name, outcome, play

GROUPS = {socket.AF_INET: "239.7.7.7", socket.AF_INET6: "ff05::7:7"}
IP_PKTINFO, IP_RECVERR, IP_RECVTTL = 8, 11, 12
IPV6_RECVERR = 25
UDP_CORK, UDP_SEGMENT, UDP_GRO = 1, 103, 104
SOL_UDP = 17
MSG_ERRQUEUE = 0x2000


# ---- what differs between the families --------------------------------------------------------

def ask_for_control(s):
    """Packet info, hop limit and class of what is received."""
    if s.family == socket.AF_INET:
        for option in (IP_PKTINFO, IP_RECVTTL, socket.IP_RECVTOS):
            s.setsockopt(socket.IPPROTO_IP, option, 1)
    else:
        for option in (socket.IPV6_RECVPKTINFO, socket.IPV6_RECVHOPLIMIT, socket.IPV6_RECVTCLASS):
            s.setsockopt(socket.IPPROTO_IPV6, option, 1)


def control_of(s, control):
    """Interface, own address to answer from, address it was sent to, hop limit, class."""
    index, own, to, ttl, tos = 0, None, None, None, None
    for level, kind, value in control:
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            index, own, to = struct.unpack("i4s4s", value)
            own, to = socket.inet_ntoa(own), socket.inet_ntoa(to)
        elif (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            to, index = struct.unpack("16si", value)
            to = socket.inet_ntop(socket.AF_INET6, to)
        elif (level, kind) in ((socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)):
            ttl = struct.unpack("i", value)[0]
        elif (level, kind) in ((socket.IPPROTO_IP, socket.IP_TOS), (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)):
            tos = value[0]
    return index, own, to, ttl, tos


def membership(s, group, index, join):
    if s.family == socket.AF_INET:
        request = struct.pack("4s4si", socket.inet_aton(group), b"\0" * 4, index)
        s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP if join else socket.IP_DROP_MEMBERSHIP, request)
    else:
        request = socket.inet_pton(socket.AF_INET6, group) + struct.pack("i", index)
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP if join else socket.IPV6_LEAVE_GROUP, request)


def through(s, index):
    """What is for groups leaves by this interface."""
    if s.family == socket.AF_INET:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("4s4si", b"", b"", index))
    else:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)


# ---- the server -------------------------------------------------------------------------------

def server(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.bind((address, port))
    ask_for_control(s)
    print("listening", flush=True)
    while True:
        data, control, _, peer = s.recvmsg(65536, 256)
        index, _, to, ttl, tos = control_of(s, control)
        kind, words = data[:1], data[1:].decode("latin-1").split()
        answer = data
        if kind in b"jl":
            answer = str(outcome(membership, s, words[0], index, kind == b"j")).encode()
        elif kind == b"m":
            t = socket.socket(family, socket.SOCK_DGRAM)
            through(t, index)
            answer = str(outcome(t.sendto, words[0].encode(), (words[1], int(words[2])))).encode()
            t.close()
        elif kind == b"t":
            answer = json.dumps([ttl, tos]).encode()
        elif kind == b"p":
            answer = to.encode()
        elif kind == b"n":
            continue
        s.sendto(answer, peer)


def member(own, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("0.0.0.0", port))
    request = socket.inet_aton(GROUPS[socket.AF_INET]) + socket.inet_aton(own)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    print("listening", flush=True)
    while True:
        data, peer = s.recvfrom(65536)
        s.sendto(data, peer)


def asker(own, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(1)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    answers = []
    for to in (GROUPS[socket.AF_INET], own.rsplit(".", 1)[0] + ".255"):
        for attempt in range(60):
            question = b"%s %d" % (to.encode(), attempt)
            s.sendto(question, (to, port))
            data, source = question, None
            try:
                data, source = s.recvfrom(100)
            except socket.timeout:
                continue
            # An answer to an earlier question may come late.
            if data.startswith(to.encode()):
                answers.append(source[0])
                break
    print(json.dumps(answers))


# ---- the client's cases -----------------------------------------------------------------------

def family(peer):
    return socket.AF_INET6 if ":" in peer[0] else socket.AF_INET


def udp(peer, timeout=5):
    s = socket.socket(family(peer), socket.SOCK_DGRAM)
    s.settimeout(timeout)
    return s


def any_address(peer):
    return "::" if ":" in peer[0] else "0.0.0.0"


def connected(peer, timeout=5):
    s = udp(peer, timeout)
    s.connect(peer)
    return s


def ask(peer, request):
    s = connected(peer)
    s.send(request.encode())
    return s.recv(1000).decode()


def interface(peer):
    """The index of the interface that leads to the peer, and the own address there."""
    s = udp(peer)
    ask_for_control(s)
    s.sendto(b"e index", peer)
    _, control, _, _ = s.recvmsg(100, 256)
    index, own, to, _, _ = control_of(s, control)
    return index, own or to


def shared(peer, port=0):
    s = udp(peer)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((any_address(peer), port))
    return s


def drain(*sockets):
    """What arrives at each until nothing does for a moment."""
    got = {s: [] for s in sockets}
    while True:
        ready, _, _ = select.select(sockets, [], [], 0.4)
        if not ready:
            return [sorted(got[s]) for s in sockets]
        for s in ready:
            got[s].append(s.recv(100).decode())


@case
def the_interface_is_told(peer):
    index, own = interface(peer)
    return [index > 0, own == connected(peer).getsockname()[0]]


@case
def a_request_to_a_group(peer):
    group, (index, _) = GROUPS[family(peer)], interface(peer)
    s = udp(peer)
    through(s, index)
    trace = [ask(peer, "j" + group), ask(peer, "j" + group)]
    trace.append(s.sendto(b"e group", (group, peer[1])))
    data, source = s.recvfrom(100)
    trace += [data.decode(), source[:2] == peer[:2]]
    trace += [s.sendto(b"p", (group, peer[1])), s.recv(100).decode() == group]
    s.sendto(b"t", (group, peer[1]))
    trace.append(s.recv(100).decode())
    return trace + [ask(peer, "l" + group), ask(peer, "l" + group)]


@case
def every_member_gets_a_copy(peer):
    group, (index, _) = GROUPS[family(peer)], interface(peer)
    a = shared(peer)
    port = a.getsockname()[1]
    b = shared(peer, port)
    say = lambda text: ask(peer, "m%s %s %d" % (text, group, port))
    membership(a, group, index, True)
    membership(b, group, index, True)
    trace = [say("one"), drain(a, b)]
    membership(a, group, index, False)
    trace += [say("two"), drain(a, b)]
    membership(b, group, index, False)
    return trace + [say("three"), drain(a, b)]


@case
def bound_to_the_group(peer):
    group, (index, _) = GROUPS[family(peer)], interface(peer)
    s = udp(peer)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((group, 0))
    port = s.getsockname()[1]
    membership(s, group, index, True)
    trace = [s.getsockname()[0] == group, ask(peer, "mhello %s %d" % (group, port)), outcome(s.recv, 100)]
    own = connected(peer).getsockname()[0]
    t = udp(peer)
    t.sendto(b"not for the group", (own, port))
    s.settimeout(0.4)
    return trace + [outcome(s.recv, 100)]


@case
def joined_before_bound(peer):
    group, (index, _) = GROUPS[family(peer)], interface(peer)
    s = udp(peer)
    membership(s, group, index, True)
    trace = [s.getsockname()[:2] == (any_address(peer), 0)]
    s.bind((any_address(peer), 0))
    port = s.getsockname()[1]
    trace += [port != 0, ask(peer, "mhello %s %d" % (group, port)), outcome(s.recv, 100)]
    return trace + [outcome(s.bind, (any_address(peer), 0))]


@case
def joined_and_sent_without_a_bind(peer):
    group, (index, _) = GROUPS[family(peer)], interface(peer)
    s = udp(peer)
    membership(s, group, index, True)
    trace = [s.sendto(b"e first", peer), outcome(s.recv, 100), s.getsockname()[1] != 0]
    port = s.getsockname()[1]
    return trace + [ask(peer, "mhello %s %d" % (group, port)), outcome(s.recv, 100), outcome(s.bind, ("", 0))]


@case
def errors_of_memberships(peer):
    group, (index, own) = GROUPS[family(peer)], interface(peer)
    s = udp(peer)
    s.sendto(b"n", peer)
    trace = [outcome(membership, s, group, index, True), outcome(membership, s, group, index, True)]
    trace += [outcome(membership, s, group, index, False), outcome(membership, s, group, index, False)]
    trace.append(outcome(membership, s, own, index, True))
    if family(peer) == socket.AF_INET:
        join = lambda value: outcome(s.setsockopt, socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, value)
        trace += [join(b"1234567"), join(socket.inet_aton(group) + socket.inet_aton(own))]
        trace.append(join(socket.inet_aton(group) + socket.inet_aton("192.0.2.99")))
    else:
        join = lambda value: outcome(s.setsockopt, socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, value)
        trace.append(join(b"x" * 19))
    trace.append(outcome(membership, s, group, 12345678, True))
    return trace


@case
def joined_by_the_newer_request(peer):
    group, (index, _) = GROUPS[family(peer)], interface(peer)
    s = shared(peer)
    if family(peer) == socket.AF_INET:
        level, address = socket.IPPROTO_IP, struct.pack("HH4s", socket.AF_INET, 0, socket.inet_aton(group))
    else:
        level = socket.IPPROTO_IPV6
        address = struct.pack("HHI16s", socket.AF_INET6, 0, 0, socket.inet_pton(socket.AF_INET6, group))
    request = struct.pack("I4x", index) + address.ljust(128, b"\0")
    trace = [outcome(s.setsockopt, level, 42, request)]
    trace += [ask(peer, "mhello %s %d" % (group, s.getsockname()[1])), outcome(s.recv, 100)]
    return trace + [outcome(s.setsockopt, level, 45, request), outcome(s.setsockopt, level, 45, request)]


@case
def what_is_sent_comes_back(peer):
    group, (index, _) = GROUPS[family(peer)], interface(peer)
    s = shared(peer)
    through(s, index)
    membership(s, group, index, True)
    to = (group, s.getsockname()[1])
    trace = [s.sendto(b"looped", to), drain(s)]
    loop = (socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP)
    if family(peer) == socket.AF_INET6:
        loop = (socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP)
    trace += [s.getsockopt(*loop), s.setsockopt(*loop, 0), s.getsockopt(*loop)]
    return trace + [s.sendto(b"not looped", to), drain(s)]


@case
def options_of_groups(peer):
    index, own = interface(peer)
    s = udp(peer)
    if family(peer) == socket.AF_INET:
        level, names = socket.IPPROTO_IP, (socket.IP_MULTICAST_TTL, socket.IP_MULTICAST_LOOP, 49)
    else:
        level, names = socket.IPPROTO_IPV6, (socket.IPV6_MULTICAST_HOPS, socket.IPV6_MULTICAST_LOOP, 29)
    read = lambda: [s.getsockopt(level, option) for option in names]
    trace = [read()]
    s.setsockopt(level, names[0], 9)
    s.setsockopt(level, names[2], 0)
    trace.append(read())
    s.sendto(b"n", peer)
    trace.append(read())
    trace += [outcome(s.setsockopt, level, names[0], 256), outcome(s.setsockopt, level, names[0], -1)]
    trace.append(read())
    if family(peer) == socket.AF_INET:
        t = udp(peer)
        t.setsockopt(level, socket.IP_MULTICAST_IF, socket.inet_aton(own))
        trace.append(t.getsockopt(level, socket.IP_MULTICAST_IF, 4) == socket.inet_aton(own))
        t.setsockopt(level, socket.IP_MULTICAST_IF, socket.inet_aton("0.0.0.0"))
        trace.append(t.getsockopt(level, socket.IP_MULTICAST_IF, 4))
        trace[-1] = trace[-1].hex()
    else:
        through(s, index)
        trace.append(s.getsockopt(level, socket.IPV6_MULTICAST_IF) == index)
    return trace


@case
def hops_of_a_group(peer):
    group, (index, _) = GROUPS[family(peer)], interface(peer)
    ask(peer, "j" + group)
    s = udp(peer)
    through(s, index)
    if family(peer) == socket.AF_INET:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 7)
    else:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 7)
    s.sendto(b"t", (group, peer[1]))
    trace = [s.recv(100).decode()]
    ask(peer, "l" + group)
    return trace


@case
def connected_to_a_group(peer):
    group, (index, _) = GROUPS[family(peer)], interface(peer)
    receiver = shared(peer)
    membership(receiver, group, index, True)
    s = udp(peer)
    through(s, index)
    s.connect((group, receiver.getsockname()[1]))
    trace = [s.getpeername()[0] == group, s.getsockname()[0] == interface(peer)[1], s.send(b"to all")]
    return trace + [drain(receiver)]


@case
def broadcast(peer):
    if family(peer) == socket.AF_INET6:
        return []
    everybody = (peer[0].rsplit(".", 1)[0] + ".255", peer[1])
    s = udp(peer)
    trace = [outcome(s.sendto, b"e all", everybody), outcome(s.connect, everybody)]
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    trace.append(s.sendto(b"e all", everybody))
    data, source = s.recvfrom(100)
    trace += [data.decode(), source == peer]
    s.sendto(b"p", everybody)
    trace.append(s.recv(100).decode() == everybody[0])
    receiver = udp(peer, 0.5)
    receiver.bind((everybody[0], 0))
    s.sendto(b"looped", (everybody[0], receiver.getsockname()[1]))
    trace.append(outcome(receiver.recv, 100))
    s.sendto(b"for one", (interface(peer)[1], receiver.getsockname()[1]))
    return trace + [outcome(receiver.recv, 100)]


@case
def packet_info_of_a_group(peer):
    group, (index, own) = GROUPS[family(peer)], interface(peer)
    s = shared(peer)
    membership(s, group, index, True)
    ask_for_control(s)
    ask(peer, "mhello %s %d" % (group, s.getsockname()[1]))
    data, control, flags, _ = s.recvmsg(100, 256)
    at, answer_from, to, ttl, tos = control_of(s, control)
    return [data.decode(), at == index, answer_from in (own, None), to == group, ttl, tos, flags]


@case
def hop_limit_and_class_of_one_datagram(peer):
    s = udp(peer)
    if family(peer) == socket.AF_INET:
        level, ttl, tos = socket.IPPROTO_IP, socket.IP_TTL, socket.IP_TOS
    else:
        level, ttl, tos = socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, socket.IPV6_TCLASS
    trace = []
    for control in ([], [(level, ttl, struct.pack("i", 9))], [(level, tos, struct.pack("i", 0x20))]):
        s.sendmsg([b"t"], control, 0, peer)
        trace.append(s.recv(100).decode())
    trace.append(outcome(s.sendmsg, [b"t"], [(level, ttl, struct.pack("i", 256))], 0, peer))
    index, own = interface(peer)
    if family(peer) == socket.AF_INET:
        info = (level, IP_PKTINFO, struct.pack("i4s4s", index, b"", b""))
    else:
        info = (level, socket.IPV6_PKTINFO, struct.pack("16si", b"", index))
    return trace + [s.sendmsg([b"e by index"], [info], 0, peer), outcome(s.recv, 100)]


@case
def segments(peer):
    s = connected(peer)
    trace = [s.getsockopt(SOL_UDP, UDP_SEGMENT), outcome(s.setsockopt, SOL_UDP, UDP_SEGMENT, 500)]
    trace += [s.getsockopt(SOL_UDP, UDP_SEGMENT), outcome(s.setsockopt, SOL_UDP, UDP_SEGMENT, 70000)]
    trace.append(s.sendmsg([b"e" * 700, b"", b"e" * 599, b"e"]))
    trace.append(sorted(len(s.recv(2000)) for _ in range(3)))
    s.setsockopt(SOL_UDP, UDP_SEGMENT, 0)
    trace.append(s.sendmsg([b"e" * 1000], [(SOL_UDP, UDP_SEGMENT, struct.pack("H", 400))]))
    trace.append(sorted(len(s.recv(2000)) for _ in range(3)))
    trace += [s.send(b"e" * 1000), len(s.recv(2000))]
    trace += [outcome(s.setsockopt, SOL_UDP, UDP_GRO, 1), s.getsockopt(SOL_UDP, UDP_GRO)]
    return trace + [s.send(b"e one"), outcome(s.recv, 100)]


@case
def parts_of_one_datagram(peer):
    s = connected(peer)
    trace = [s.send(b"e one ", socket.MSG_MORE), s.send(b"two ", socket.MSG_MORE), s.send(b"three")]
    trace.append(outcome(s.recv, 100))
    s.setsockopt(SOL_UDP, UDP_CORK, 1)
    trace += [s.getsockopt(SOL_UDP, UDP_CORK), s.send(b"e held"), s.send(b" back")]
    s.settimeout(0.3)
    trace.append(outcome(s.recv, 100))
    s.settimeout(5)
    s.setsockopt(SOL_UDP, UDP_CORK, 0)
    return trace + [outcome(s.recv, 100), s.send(b"e after"), outcome(s.recv, 100)]


def error_queue(s):
    s.setblocking(False)
    try:
        data, control, flags, to = s.recvmsg(100, 512, MSG_ERRQUEUE | socket.MSG_DONTWAIT)
    except OSError as e:
        return name(e.errno)
    _, _, value = control[0]
    number, origin, kind, code, _, info, _ = struct.unpack("IBBBBII", value[:16])
    at = 4 if s.family == socket.AF_INET else 8
    size = 4 if s.family == socket.AF_INET else 16
    offender = socket.inet_ntop(s.family, value[16 + at:16 + at + size])
    return [data.decode(), name(number), origin, kind, code, info, offender, to[:2], bool(flags & MSG_ERRQUEUE)]


@case
def the_error_queue(peer):
    s = udp(peer)
    if family(peer) == socket.AF_INET:
        s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    else:
        s.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    closed = (peer[0], peer[1] + 1)
    trace = [error_queue(s), s.sendto(b"anybody?", closed)]
    s.settimeout(5)
    trace.append(outcome(s.recv, 100))
    told = error_queue(s)
    trace.append(told[:6] + [told[6] == peer[0], tuple(told[7]) == closed, told[8]])
    trace += [error_queue(s), s.sendto(b"e still", peer)]
    s.settimeout(5)
    trace.append(outcome(s.recv, 100))
    t = udp(peer)
    return trace + [t.sendto(b"e", peer), t.recv(10).decode(), error_queue(t)]


@case
def both_families_on_one_socket(peer):
    if family(peer) == socket.AF_INET6:
        return []
    mapped = ("::ffff:" + peer[0], peer[1])
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.settimeout(5)
    trace = [s.sendto(b"e mapped", mapped)]
    data, source = s.recvfrom(100)
    trace += [data.decode(), source[:2] == mapped, s.getsockname()[0]]
    s.connect(mapped)
    trace += [s.getpeername()[:2] == mapped, s.getsockname()[0].startswith("::ffff:"), s.send(b"e two")]
    trace.append(outcome(s.recv, 100))
    only = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    only.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    trace.append(outcome(only.sendto, b"e", mapped))
    t = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    t.settimeout(5)
    t.bind(("::", 0))
    ask_for_control(t)
    t.sendto(b"t", mapped)
    data, control, _, source = t.recvmsg(100, 256)
    trace += [data.decode(), source[:2] == mapped, len(control), control_of(t, control)[2].startswith("::ffff:")]
    return trace + [outcome(udp(peer).bind, ("0.0.0.0", t.getsockname()[1]))]


@case
def loopback_is_reached_from_a_bound_socket(peer):
    s, t = udp(peer), udp(peer)
    s.bind((any_address(peer), 0))
    here = ("::1" if family(peer) == socket.AF_INET6 else "127.0.0.1", s.getsockname()[1])
    t.sendto(b"hello", here)
    data, source = s.recvfrom(100)
    trace = [data.decode(), source[0] == here[0], s.sendto(b"back", source[:2]), outcome(t.recv, 100)]
    trace += [s.sendto(b"e and away", peer), outcome(s.recv, 100)]
    trace += [t.sendto(b"again", here), outcome(s.recv, 100)]
    return trace


@case
def rules_of_sharing_a_port(peer):
    options = {"none": [], "address": [socket.SO_REUSEADDR], "port": [socket.SO_REUSEPORT]}
    trace = []
    for first in options:
        for second in options:
            a, b = udp(peer), udp(peer)
            for s, asked in ((a, first), (b, second)):
                for option in options[asked]:
                    s.setsockopt(socket.SOL_SOCKET, option, 1)
            a.bind((any_address(peer), 0))
            trace.append([first, second, outcome(b.bind, (any_address(peer), a.getsockname()[1]))])
            a.close()
            b.close()
    own = connected(peer).getsockname()[0]
    a, b = udp(peer), udp(peer)
    a.bind((own, 0))
    return trace + [outcome(b.bind, (own, a.getsockname()[1])), outcome(b.bind, (own, 0)), a.getsockname()[0] == own]


@case
def a_burst(peer):
    s = connected(peer)
    count = 200
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    for i in range(count):
        s.send(b"e%d" % i)
        if i % 50 == 49:
            s.recv(100, socket.MSG_PEEK)
    got = [s.recv(100) for _ in range(count)]
    return [got == [b"e%d" % i for i in range(count)]]


if __name__ == "__main__":
    role, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    roles = {"server": server, "member": member, "asker": asker}
    roles.get(role, lambda *peer: play([peer], sys.argv[4:]))(address, port)
