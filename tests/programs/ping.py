"""Echo requests by both types of ICMP socket: the trace must not depend on what carries them.

    ping.py ADDRESS ABSENT      plays every case, prints one JSON object: case -> trace. ABSENT is an address of the same
                                network that nobody has.
"""
import select
import socket
import struct
import sys

from cases import case, name, outcome, play

SOL_RAW, ICMP_FILTER, IP_RECVERR, IPV6_RECVERR, MSG_ERRQUEUE = 255, 1, 11, 25, 0x2000


def is_v6(address):
    return ":" in address


def echo_socket(address, of_type):
    family, protocol = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if is_v6(address) else (socket.AF_INET, 1)
    s = socket.socket(family, of_type, protocol)
    s.settimeout(5)
    return s


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def request(address, identifier, sequence, payload):
    kind = 128 if is_v6(address) else 8
    message = struct.pack("!BBHHH", kind, 0, 0, identifier, sequence) + payload
    return struct.pack("!BBHHH", kind, 0, checksum(message), identifier, sequence) + payload


def answer(message):
    """Type, code, identifier, sequence, payload."""
    kind, code, _, identifier, sequence = struct.unpack("!BBHHH", message[:8])
    return kind, code, identifier, sequence, message[8:]


def answered(s, message, limit=5):
    """Whether it is the answer to this that arrives among what does."""
    wanted = answer(message)[2:]
    while select.select([s], [], [], limit)[0]:
        data, source = s.recvfrom(70000)
        if s.type == socket.SOCK_RAW and s.family == socket.AF_INET:
            data = data[20:]
        got = answer(data)
        if got[0] in (0, 129) and got[2:] == wanted:
            return source
    return None


@case
def datagram_socket(peer, _):
    s = echo_socket(peer, socket.SOCK_DGRAM)
    trace = [s.type == socket.SOCK_DGRAM, s.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL)]
    for sequence, size in ((1, 56), (2, 0), (3, 1400), (4, 9000)):
        payload = bytes(i % 251 for i in range(size))
        trace.append(s.sendto(request(peer, 7, sequence, payload), (peer, 0)))
        data, source = s.recvfrom(70000)
        kind, code, identifier, number, got = answer(data)
        trace += [kind, code, number, got == payload, source[:2] == (peer, 0)]
        trace.append(identifier == s.getsockname()[1] != 0)
    trace += [s.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE), outcome(s.sendto, b"short", (peer, 0))]
    return trace


@case
def connected_and_bound(peer, _):
    s = echo_socket(peer, socket.SOCK_DGRAM)
    s.bind(("::" if is_v6(peer) else "0.0.0.0", 4711))
    s.connect((peer, 0))
    trace = [s.getsockname()[1], outcome(s.getpeername), s.getsockname()[0] not in ("::", "0.0.0.0", peer)]
    s.send(request(peer, 1, 1, b"payload"))
    trace.append(answer(s.recv(100))[2:4])
    return trace + [answer(request(peer, 1, 1, b"payload"))[4].decode()]


@case
def hop_limit_of_the_answer(peer, _):
    s = echo_socket(peer, socket.SOCK_DGRAM)
    if is_v6(peer):
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    else:
        s.setsockopt(socket.IPPROTO_IP, 12, 1)
    s.sendto(request(peer, 1, 1, b"payload"), (peer, 0))
    _, control, _, _ = s.recvmsg(100, 100)
    return [[level, kind, struct.unpack("i", value)[0]] for level, kind, value in control]


@case
def raw_socket(peer, _):
    s = echo_socket(peer, socket.SOCK_RAW)
    if not is_v6(peer):
        s.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("I", 0xFFFFFFFF & ~1))
    trace = []
    for sequence, identifier in ((1, 0x1234), (2, 0x1234), (3, 0x4321)):
        message = request(peer, identifier, sequence, b"0123456789" * 5)
        s.sendto(message, (peer, 0))
        source = answered(s, message)
        trace.append(source is not None and source[0] == peer)
    trace.append(s.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_RAW)
    if not is_v6(peer):
        trace.append(outcome(s.setsockopt, SOL_RAW, ICMP_FILTER, struct.pack("I", 0xFFFFFFFF & ~1)))
        s.sendto(request(peer, 5, 5, b"x"), (peer, 0))
        packet = s.recv(1000)
        trace += [packet[0], struct.unpack("!H", packet[2:4])[0], packet[8], packet[9]]
        trace += [socket.inet_ntoa(packet[12:16]) == peer, checksum(packet[:20]), checksum(packet[20:])]
    return trace


@case
def an_absent_host(peer, absent):
    s = echo_socket(peer, socket.SOCK_DGRAM)
    if is_v6(peer):
        s.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    else:
        s.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    s.settimeout(10)
    s.sendto(request(peer, 7, 9, b"anybody"), (absent, 0))
    trace = [outcome(s.recv, 100)]
    s.setblocking(False)
    data, control, _, to = s.recvmsg(200, 512, MSG_ERRQUEUE)
    number, origin, kind, code = struct.unpack("IBBB", control[0][2][:7])
    return trace + [name(number), origin, kind, code, to[0] == absent, answer(data)[3]]


if __name__ == "__main__":
    play(sys.argv[1:3])
