"""One UDP program, both ends, whose trace must not depend on what carries it.

    datagrams.py server ADDRESS PORT            serves until it is ended
    datagrams.py client ADDRESS PORT            plays every case, prints one JSON object: case -> trace

The server answers each datagram by its first byte: "e" sends it back, "a" sends the addresses that it saw, "2" sends
two datagrams, "z" sends an empty one, "i" sends the packet info, "n" sends nothing. Addresses are compared inside the
case and traced as booleans, and nothing is traced that differs from run to run by nature.
"""
import ctypes
import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import sys
import termios
import threading
import time

from cases import case, name, outcome, play

IP_PKTINFO = 8
LIBC = ctypes.CDLL(None, use_errno=True)


# ---- the server -----------------------------------------------------------------------------

def server(address, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((address, port))
    s.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    print("listening", flush=True)
    while True:
        data, control, _, peer = s.recvmsg(65536, 256)
        kind = data[:1]
        if kind == b"e":
            s.sendto(data, peer)
        elif kind == b"a":
            s.sendto(json.dumps([*peer, *s.getsockname()]).encode(), peer)
        elif kind == b"2":
            s.sendto(b"first", peer)
            s.sendto(b"second", peer)
        elif kind == b"z":
            s.sendto(b"", peer)
        elif kind == b"i":
            info = [c for c in control if c[:2] == (socket.IPPROTO_IP, IP_PKTINFO)]
            destination = socket.inet_ntoa(info[0][2][8:12]) if info else "none"
            s.sendto(destination.encode(), peer)


# ---- the client's cases ---------------------------------------------------------------------

def udp(timeout=5):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(timeout)
    return s


def connected(peer, timeout=5):
    s = udp(timeout)
    s.connect(peer)
    return s


def disconnect(s):
    unspecified = b"\0" * 16
    if LIBC.connect(s.fileno(), unspecified, 16) != 0:
        raise OSError(ctypes.get_errno(), "disconnect")


@case
def unconnected_echo(peer):
    s = udp()
    trace = [s.sendto(b"e one", peer)]
    data, source = s.recvfrom(100)
    trace += [data.decode(), source == peer]
    trace += [outcome(s.getpeername), s.getsockname()[0], s.getsockname()[1] != 0]
    return trace


@case
def connected_echo(peer):
    s = connected(peer, None)
    trace = [s.send(b"e two"), outcome(s.recv, 100), s.getpeername() == peer]
    trace += [s.getsockname()[0] not in ("0.0.0.0", peer[0]), s.getsockname()[1] != 0]
    trace.append(os.write(s.fileno(), b"e three"))
    trace.append(os.read(s.fileno(), 100).decode())
    trace.append(os.writev(s.fileno(), [b"e ", b"fo", b"ur"]))
    first, second = bytearray(3), bytearray(10)
    trace.append(os.readv(s.fileno(), [first, second]))
    trace += [first.decode(), second[:3].decode()]
    trace.append(s.sendto(b"e five", peer))
    data, source = s.recvfrom(100)
    return trace + [data.decode(), source == peer]


@case
def what_the_server_sees(peer):
    s = connected(peer)
    s.send(b"a")
    seen = json.loads(s.recv(200))
    return [tuple(seen[:2]) == s.getsockname(), seen[2], seen[3] == peer[1]]


@case
def refused(peer):
    s = connected((peer[0], peer[1] + 1), 3)
    trace = [s.send(b"x"), outcome(s.recv, 10)]
    s.settimeout(0.2)
    trace.append(outcome(s.recv, 10))
    return trace


@case
def refused_is_told_by_the_next_send(peer):
    s = connected((peer[0], peer[1] + 1), 3)
    trace = [s.send(b"x")]
    time.sleep(0.5)
    trace.append(outcome(s.send, b"y"))
    trace.append(outcome(s.send, b"z"))
    time.sleep(0.5)
    trace.append(name(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))
    trace.append(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    return trace


@case
def refused_is_not_told_to_the_unconnected(peer):
    s = udp(0.5)
    trace = [s.sendto(b"x", (peer[0], peer[1] + 1)), outcome(s.recv, 10)]
    s.settimeout(5)
    trace.append(s.sendto(b"e still", peer))
    return trace + [outcome(s.recv, 100)]


@case
def empty_datagrams(peer):
    s = connected(peer)
    s.send(b"z")
    data, source = s.recvfrom(10)
    trace = [len(data), source == peer, s.send(b"")]
    s.send(b"e after")
    return trace + [outcome(s.recv, 10)]


@case
def peek_and_truncation(peer):
    s = connected(peer)
    s.send(b"e0123456789")
    trace = [outcome(s.recv, 4, socket.MSG_PEEK), outcome(s.recv, 100, socket.MSG_PEEK)]
    buffer = bytearray(4)
    trace.append(s.recv_into(buffer, 4, socket.MSG_PEEK | socket.MSG_TRUNC))
    data, _, flags, source = s.recvmsg(5)
    trace += [data.decode(), bool(flags & socket.MSG_TRUNC), source == peer]
    s.send(b"e whole")
    data, _, flags, _ = s.recvmsg(100)
    return trace + [data.decode(), bool(flags & socket.MSG_TRUNC)]


@case
def sizes(peer):
    s = connected(peer)
    trace = []
    for size in (1, 1000, 1472, 2700, 9000, 30000, 60000):
        body = b"e" + os.urandom(size - 1)
        s.send(body)
        trace.append([size, s.recv(65536) == body])
    trace.append(outcome(s.send, b"n" * 65508))
    return trace


@case
def errors_of_sends(peer):
    s = udp()
    trace = [outcome(s.send, b"x"), outcome(s.sendto, b"n", peer), outcome(s.send, b"x")]
    trace.append(outcome(s.sendto, b"n", (peer[0], 0)))
    trace.append(outcome(s.getpeername))
    return trace


@case
def readiness(peer):
    s = udp()
    poll = select.poll()
    poll.register(s, select.POLLIN | select.POLLOUT)
    trace = [poll.poll(0)[0][1]]
    s.sendto(b"e x", peer)
    r, _, _ = select.select([s], [], [], 5)
    trace += [len(r), poll.poll(0)[0][1], len(s.recv(10))]
    time.sleep(0.05)
    trace += [poll.poll(0)[0][1], len(select.select([s], [], [], 0.05)[0])]
    return trace


@case
def epoll_level(peer):
    s = udp()
    e = select.epoll()
    e.register(s, select.EPOLLIN)
    trace = [len(e.poll(0.05))]
    s.sendto(b"2", peer)
    time.sleep(0.3)
    for _ in range(3):
        trace.append([event for _, event in e.poll(0.2)])
        trace.append(outcome(s.recv, 10, socket.MSG_DONTWAIT))
    return trace


@case
def epoll_edge(peer):
    s = udp()
    e = select.epoll()
    e.register(s, select.EPOLLIN | select.EPOLLET)
    s.sendto(b"e1", peer)
    trace = [[event for _, event in e.poll(5)], len(e.poll(0.05))]
    s.sendto(b"e2", peer)
    trace.append([event for _, event in e.poll(5)])
    trace += [outcome(s.recv, 10), outcome(s.recv, 10)]
    s.setblocking(False)
    return trace + [outcome(s.recv, 10)]


@case
def non_blocking(peer):
    s = udp()
    s.setblocking(False)
    trace = [outcome(s.recv, 10), s.sendto(b"e x", peer)]
    select.select([s], [], [], 5)
    trace += [outcome(s.recv, 10), outcome(s.recv, 10)]
    return trace


@case
def time_outs(peer):
    s = udp(None)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 200_000))
    s.sendto(b"n", peer)
    started = time.monotonic()
    trace = [outcome(s.recv, 10)]
    return trace + [0.15 < time.monotonic() - started < 1.0]


@case
def packet_info(peer):
    s = udp()
    s.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    s.setsockopt(socket.IPPROTO_IP, 12, 1)      # IP_RECVTTL
    trace = [s.getsockopt(socket.IPPROTO_IP, IP_PKTINFO)]
    s.sendto(b"i", peer)
    data, control, flags, source = s.recvmsg(100, 256)
    trace += [data.decode() == peer[0], source == peer, flags]
    s2 = connected(peer)
    own = s2.getsockname()[0]
    for level, kind, value in sorted(control):
        if kind == IP_PKTINFO:
            trace.append(["info", socket.inet_ntoa(value[8:12]) == own, len(value)])
        else:
            trace.append([level, kind, len(value)])
    s.sendto(b"e small", peer)
    data, control, flags, _ = s.recvmsg(100, 16)
    return trace + [data.decode(), len(control), bool(flags & socket.MSG_CTRUNC)]


@case
def source_by_packet_info(peer):
    s = udp()
    own = connected(peer).getsockname()[0]
    info = struct.pack("i4s4s", 0, socket.inet_aton(own), b"\0" * 4)
    trace = [s.sendmsg([b"e ", b"parts"], [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, peer)]
    return trace + [outcome(s.recv, 100)]


@case
def reconnect(peer):
    s = connected((peer[0], peer[1] + 2))
    s.connect(peer)
    trace = [s.getpeername() == peer, s.send(b"e again"), outcome(s.recv, 100)]
    return trace


@case
def a_connected_socket_hears_only_its_peer(peer):
    other = udp()
    other.sendto(b"a", peer)
    json.loads(other.recv(200))
    s = connected((peer[0], peer[1] + 2), 0.4)
    s.sendto(b"e stranger", peer)
    return [outcome(s.recv, 100)]


@case
def many_sockets(peer):
    sockets = [udp() for _ in range(50)]
    for i, s in enumerate(sockets):
        s.sendto(b"e %d" % i, peer)
    return [s.recv(100).decode() for s in sockets]


@case
def bound_client(peer):
    s = udp()
    s.bind(("0.0.0.0", 0))
    port = s.getsockname()[1]
    trace = [port != 0, s.sendto(b"a", peer)]
    seen = json.loads(s.recv(200))
    trace += [seen[1] == port, s.getsockname() == ("0.0.0.0", port)]
    return trace + [outcome(s.bind, ("0.0.0.0", 0))]


@case
def port_in_use(peer):
    s, t = udp(), udp()
    s.bind(("0.0.0.0", 0))
    port = s.getsockname()[1]
    trace = [outcome(t.bind, ("0.0.0.0", port))]
    s.close()
    t = udp()
    return trace + [outcome(t.bind, ("0.0.0.0", port)), t.getsockname()[1] == port]


@case
def options(peer):
    s = udp()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    s.sendto(b"n", peer)
    trace = [s.getsockopt(socket.SOL_SOCKET, o) for o in
             (socket.SO_TYPE, socket.SO_DOMAIN, socket.SO_PROTOCOL, socket.SO_BROADCAST, socket.SO_ERROR,
              socket.SO_ACCEPTCONN)]
    s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 7)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 16)
    trace += [s.getsockopt(socket.IPPROTO_IP, o) for o in (socket.IP_TTL, socket.IP_TOS)]
    return trace


@case
def copies(peer):
    s = connected(peer)
    t = s.dup()
    s.send(b"e from s")
    trace = [outcome(t.recv, 100)]
    u = os.dup2(s.fileno(), 200)
    s.close()
    os.write(u, b"e from u")
    trace += [outcome(t.recv, 100)]
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        t.send(b"e child")
        os.write(write, t.recv(100))
        os._exit(0)
    os.waitpid(pid, 0)
    trace.append(os.read(read, 100).decode())
    os.close(u)
    return trace


class IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class Header(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("name_len", ctypes.c_uint32), ("vector", ctypes.POINTER(IoVec)),
                ("vector_len", ctypes.c_size_t), ("control", ctypes.c_void_p), ("control_len", ctypes.c_size_t),
                ("flags", ctypes.c_int)]


class Message(ctypes.Structure):
    _anonymous_ = ["header"]
    _fields_ = [("header", Header), ("len", ctypes.c_uint32)]


@case
def batches(peer):
    s = udp(None)
    address = struct.pack("=H", socket.AF_INET) + struct.pack("!H", peer[1]) + socket.inet_aton(peer[0]) + b"\0" * 8
    name = ctypes.create_string_buffer(address, 16)
    messages, texts = (Message * 3)(), []
    for i, message in enumerate(messages):
        text = ctypes.create_string_buffer(b"e batch %d" % i)
        texts.append(text)
        message.name, message.name_len = ctypes.addressof(name), 16
        message.vector, message.vector_len = ctypes.pointer(IoVec(ctypes.addressof(text), len(text) - 1)), 1
    trace = [LIBC.sendmmsg(s.fileno(), messages, 3, 0), [m.len for m in messages]]
    time.sleep(0.4)
    buffers = [ctypes.create_string_buffer(20) for _ in range(5)]
    taken = (Message * 5)()
    for message, buffer in zip(taken, buffers):
        message.vector, message.vector_len = ctypes.pointer(IoVec(ctypes.addressof(buffer), 20)), 1
    count = LIBC.recvmmsg(s.fileno(), taken, 5, socket.MSG_DONTWAIT, None)
    trace += [count, [m.len for m in taken], sorted(b.value.decode() for b in buffers[:3])]
    trace.append(LIBC.recvmmsg(s.fileno(), taken, 5, socket.MSG_DONTWAIT, None))
    return trace + [name_of_errno()]


def name_of_errno():
    return name(ctypes.get_errno())


@case
def inherited_across_exec(peer):
    s = connected(peer, None)
    os.set_inheritable(s.fileno(), True)
    code = "import os, sys; fd = int(sys.argv[1]); os.write(fd, b'e exec'); print(os.read(fd, 100).decode())"
    child = subprocess.run([sys.executable, "-c", code, str(s.fileno())], close_fds=False, capture_output=True)
    return [child.stdout.decode(), child.returncode]


@case
def passed_to_another_process(peer):
    s = connected(peer, None)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    code = ("import os, socket, sys; u = socket.socket(fileno=int(sys.argv[1]));"
            "fd = socket.recv_fds(u, 10, 1)[1][0]; os.write(fd, b'e passed'); print(os.read(fd, 100).decode())")
    theirs.set_inheritable(True)
    child = subprocess.Popen([sys.executable, "-c", code, str(theirs.fileno())], close_fds=False,
                             stdout=subprocess.PIPE)
    socket.send_fds(ours, [b"x"], [s.fileno()])
    return [child.communicate()[0].decode(), child.returncode]


@case
def shut_down_sending(peer):
    s = connected(peer)
    return [outcome(s.shutdown, socket.SHUT_WR), outcome(s.send, b"x")]


@case
def next_length(peer):
    s = connected(peer)
    waiting = lambda: struct.unpack("i", fcntl.ioctl(s, termios.FIONREAD, b"\0" * 4))[0]
    trace = [waiting()]
    s.send(b"2")
    time.sleep(0.4)
    trace.append(waiting())
    s.recv(100)
    return trace + [waiting()]


@case
def blocked_reader(peer):
    s = connected(peer)
    got = []
    t = threading.Thread(target=lambda: got.append(outcome(s.recv, 100)))
    t.start()
    time.sleep(0.1)
    s.send(b"e wake")
    t.join()
    return got


@case
def loopback_stays_native(peer):
    a, b = udp(), udp()
    a.bind(("127.0.0.1", 0))
    b.sendto(b"hello", a.getsockname())
    data, source = a.recvfrom(10)
    a.sendto(b"back", source)
    return [data.decode(), outcome(b.recv, 10)]


@case
def one_socket_two_networks(peer):
    a, s = udp(), udp()
    a.bind(("127.0.0.1", 0))
    s.sendto(b"e first", peer)
    trace = [outcome(s.recv, 100), s.sendto(b"local", a.getsockname())]
    data, source = a.recvfrom(100)
    a.sendto(b"reply", source)
    trace.append(data.decode())
    data, source = s.recvfrom(100)
    trace += [data.decode(), source == a.getsockname()]
    return trace + [s.sendto(b"e last", peer), outcome(s.recv, 100)]


@case
def from_one_network_to_the_other_and_back(peer):
    a, s = udp(), connected(peer)
    a.bind(("127.0.0.1", 0))
    trace = [s.send(b"e first"), outcome(s.recv, 100)]
    disconnect(s)
    trace += [outcome(s.getpeername), s.getsockname()[0], outcome(s.send, b"x")]
    s.connect(a.getsockname())
    trace += [s.getsockname()[0], s.send(b"more"), outcome(a.recv, 10)]
    disconnect(s)
    s.connect(peer)
    return trace + [s.getpeername() == peer, s.send(b"e last"), outcome(s.recv, 100)]


if __name__ == "__main__":
    role, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    server(address, port) if role == "server" else play([(address, port)], sys.argv[4:])
