"""One socket program, both ends, whose trace must not depend on what carries it.

    semantics.py server ADDRESS PORT            serves until it is ended
    semantics.py client ADDRESS PORT ABSENT     plays every case, prints one JSON object: case -> trace

A trace holds results, errno names, readiness and order; never times, ports or addresses that
differ from run to run by nature. Addresses are compared inside the case and traced as booleans.
"""
import ctypes
import fcntl
import hashlib
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
import time

from cases import case, name, outcome, play

LIBC = ctypes.CDLL(None, use_errno=True)
RESET = struct.pack("ii", 1, 0)
BULK = 4 << 20
IPPROTO_MPTCP = 262


def read_all(connection):
    parts = []
    while True:
        part = connection.recv(65536)
        if not part:
            return b"".join(parts)
        parts.append(part)


# ---- the server: the first byte of a connection names what it does -------------------------

def serve_one(connection, peer):
    try:
        kind = connection.recv(1)
        if kind == b"e":                        # echo until end of file
            while data := connection.recv(65536):
                connection.sendall(data)
        elif kind == b"h":                      # the reply comes after the client's end of file
            body = read_all(connection)
            connection.sendall(b"got %d" % len(body))
        elif kind == b"f":                      # we finish first and still read
            connection.sendall(b"bye")
            connection.shutdown(socket.SHUT_WR)
            body = read_all(connection)
            LATE.append(len(body))
        elif kind == b"l":                      # what the previous "f" read after its own end
            while not LATE:
                time.sleep(0.01)
            connection.sendall(b"%d" % LATE.pop())
        elif kind == b"r":                      # reset with nothing unread
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        elif kind == b"u":                      # data, then a reset
            connection.sendall(b"partial")
            time.sleep(0.2)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        elif kind == b"a":                      # addresses as the server sees them
            answer = [peer[0], peer[1], *connection.getpeername()[:2], *connection.getsockname()[:2]]
            connection.sendall(json.dumps(answer).encode())
        elif kind == b"s":                      # silence until the client leaves
            read_all(connection)
        elif kind == b"b":                      # bulk towards the client
            block = bytes(range(256)) * 256
            for _ in range(BULK // len(block)):
                connection.sendall(block)
        elif kind == b"d":                      # digest of what the client sends
            digest = hashlib.sha256(read_all(connection)).hexdigest()
            connection.sendall(digest.encode())
    except OSError:
        pass
    finally:
        connection.close()


LATE = []


def server(address, port):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(128)
    print("listening", flush=True)
    while True:
        connection, peer = listener.accept()
        threading.Thread(target=serve_one, args=(connection, peer), daemon=True).start()


# ---- the client's cases ---------------------------------------------------------------------

def connected(peer, kind=b""):
    s = socket.create_connection(peer, timeout=10)
    s.settimeout(10)
    s.sendall(kind)
    return s


@case
def refused(peer, absent):
    s = socket.socket()
    started = time.monotonic()
    result = outcome(s.connect, (peer[0], peer[1] + 1))
    return [result, time.monotonic() - started < 1.0]


@case
def absent_host(peer, absent):
    s = socket.socket()
    started = time.monotonic()
    result = outcome(s.connect, (absent, peer[1]))
    # Linux gives up on an unanswered ARP after three seconds.
    return [result, 2.0 < time.monotonic() - started < 5.0]


@case
def non_blocking_connect(peer, absent):
    s = socket.socket()
    s.setblocking(False)
    trace = [name(s.connect_ex(peer))]
    poll = select.poll()
    poll.register(s, select.POLLOUT)
    trace.append([e & ~select.POLLIN for _, e in poll.poll(5000)])
    trace.append(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    trace.append(name(s.connect_ex(peer)))
    s.setblocking(True)
    s.sendall(b"exyz")
    trace.append(outcome(s.recv, 10))
    return trace


@case
def non_blocking_refused(peer, absent):
    s = socket.socket()
    s.setblocking(False)
    trace = [name(s.connect_ex((peer[0], peer[1] + 1)))]
    poll = select.poll()
    poll.register(s, select.POLLOUT)
    # A refused pair reports its error a moment before it is writable.
    wanted = select.POLLOUT | select.POLLERR
    for _ in range(1000):
        events = poll.poll(5000)[0][1] & wanted
        if events == wanted:
            break
        time.sleep(0.001)
    trace.append(events)
    trace.append(name(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)))
    return trace


@case
def connect_with_timeout(peer, absent):
    s = socket.socket()
    s.settimeout(0.5)
    return outcome(s.connect, (absent, peer[1]))


@case
def flags_survive(peer, absent):
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    s.connect_ex(peer)
    select.select([], [s], [], 5)
    trace = [bool(fcntl.fcntl(s, fcntl.F_GETFL) & os.O_NONBLOCK), fcntl.fcntl(s, fcntl.F_GETFD)]
    t = socket.socket()
    t.set_inheritable(True)
    t.connect(peer)
    return trace + [bool(fcntl.fcntl(t, fcntl.F_GETFL) & os.O_NONBLOCK), fcntl.fcntl(t, fcntl.F_GETFD)]


@case
def addresses(peer, absent):
    s = connected(peer, b"a")
    seen = json.loads(s.recv(4096))
    mine, theirs = s.getsockname(), s.getpeername()
    return [
        tuple(seen[0:2]) == mine, tuple(seen[2:4]) == mine, tuple(seen[4:6]) == peer,
        theirs == peer, mine[1] >= 1024, mine[0] != "0.0.0.0",
    ]


@case
def bound_port(peer, absent):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("", 23456))
    s.settimeout(5)
    s.connect(peer)
    s.sendall(b"a")
    seen = json.loads(s.recv(4096))
    return [seen[1], s.getsockname()[1]]


@case
def half_close_client(peer, absent):
    s = connected(peer, b"h")
    s.sendall(b"x" * 1000)
    s.shutdown(socket.SHUT_WR)
    trace = [outcome(s.send, b"more"), outcome(s.recv, 100), outcome(s.recv, 100)]
    return trace


@case
def half_close_server(peer, absent):
    s = connected(peer, b"f")
    trace = [outcome(read_all, s)]
    s.sendall(b"y" * 1234)
    s.close()
    t = connected(peer, b"l")
    return trace + [outcome(t.recv, 100)]


@case
def close_is_end_of_file(peer, absent):
    s = connected(peer, b"a")
    trace = [bool(s.recv(4096)), outcome(s.recv, 1), outcome(s.recv, 1)]
    poll = select.poll()
    poll.register(s, select.POLLIN | select.POLLRDHUP)
    return trace + [[bool(e & select.POLLIN) and bool(e & select.POLLRDHUP) for _, e in poll.poll(1000)]]


@case
def reset_is_reported(peer, absent):
    s = connected(peer, b"r")
    return outcome(s.recv, 1)


@case
def reset_after_data(peer, absent):
    s = connected(peer, b"u")
    first = outcome(s.recv, 100)
    return [first, outcome(s.recv, 100)]


@case
def write_after_reset(peer, absent):
    s = connected(peer, b"r")
    time.sleep(0.3)
    results = [outcome(s.send, b"a"), outcome(s.send, b"b")]
    return [r for r in results if r != 1][:1] and True


@case
def epoll_before_connect(peer, absent):
    s = socket.socket()
    s.setblocking(False)
    epoll = select.epoll()
    epoll.register(s, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
    epoll.poll(0)
    trace = [name(s.connect_ex(peer))]
    trace.append([bool(e & select.EPOLLOUT) for _, e in epoll.poll(5)])
    s.send(b"eping")
    got = b""
    for _ in range(10):
        for _, e in epoll.poll(1):
            if e & select.EPOLLIN:
                got += s.recv(100)
        if got:
            break
    trace.append(got.decode())
    epoll.modify(s, select.EPOLLOUT)
    trace.append([e for _, e in epoll.poll(1)])
    return trace


@case
def idle_listener(peer, absent):
    s = socket.socket()
    s.bind(("", 24001))
    s.listen(5)
    s.setblocking(False)
    trace = [outcome(s.accept), s.getsockname()[1], s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)]
    poll = select.poll()
    poll.register(s, select.POLLIN)
    trace.append(poll.poll(50))
    s.settimeout(0.1)
    return trace + [outcome(s.accept)]


@case
def listener_names_its_errors(peer, absent):
    s, t = socket.socket(), socket.socket()
    s.bind(("", 24002))
    s.listen(1)
    trace = [outcome(t.bind, ("", 24002)), outcome(socket.socket().accept), outcome(s.getpeername)]
    return trace + [outcome(socket.socket().getpeername), outcome(s.recv, 1), outcome(s.send, b"x")]


@case
def buffers_of_a_listener(peer, absent):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 100_000)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 60_000)
    s.bind(("", 24004))
    s.listen(5)
    sizes = lambda s: [s.getsockopt(socket.SOL_SOCKET, option) for option in (socket.SO_SNDBUF, socket.SO_RCVBUF)]
    poll = select.poll()
    poll.register(s, select.POLLOUT)
    trace = [sizes(s), poll.poll(0)]
    here = connected(peer).getsockname()[0]
    for size in (None, 40_000):
        if size:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        client = socket.create_connection((here, 24004))
        accepted, _ = s.accept()
        trace.append(sizes(accepted))
        client.sendall(b"x")
        trace.append(outcome(accepted.recv, 5))
    return trace


@case
def multipath(peer, absent):
    try:
        s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
        t = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    except OSError:
        return "a kernel without it"
    s.connect(peer)
    s.sendall(b"ehello")
    trace = [s.recv(5, socket.MSG_WAITALL).decode()]
    t.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    t.bind(("", 24005))
    t.listen(5)
    client = socket.create_connection((s.getsockname()[0], 24005))
    accepted, _ = t.accept()
    client.sendall(b"x")
    return trace + [outcome(accepted.recv, 5)]


@case
def accept4_flags(peer, absent):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # an earlier run's connections may linger
    s.bind(("", 24003))
    s.listen(5)
    trace = []
    # The kernel's own loopback: the listener serves both worlds.
    for flags in (0, socket.SOCK_NONBLOCK, socket.SOCK_CLOEXEC, socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC):
        c = socket.create_connection(("127.0.0.1", 24003))
        fd = LIBC.accept4(s.fileno(), None, None, flags)
        trace.append([bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK), fcntl.fcntl(fd, fcntl.F_GETFD)])
        os.close(fd)
        c.close()
    return trace


@case
def options(peer, absent):
    s = connected(peer)
    trace = []
    for level, option in (
        (socket.SOL_SOCKET, socket.SO_TYPE), (socket.SOL_SOCKET, socket.SO_DOMAIN),
        (socket.SOL_SOCKET, socket.SO_PROTOCOL), (socket.SOL_SOCKET, socket.SO_ACCEPTCONN),
        (socket.SOL_SOCKET, socket.SO_ERROR), (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY),
    ):
        trace.append(outcome(s.getsockopt, level, option))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77)
    trace += [
        s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
        s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        s.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
        s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0],
    ]
    return trace


@case
def options_before_connect(peer, absent):
    s = socket.socket()
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    s.connect(peer)
    return [
        s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
        s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    ]


@case
def wrong_state(peer, absent):
    s = connected(peer, b"s")
    s.settimeout(None)
    trace = [outcome(s.connect, peer), outcome(s.listen, 1), outcome(s.accept), outcome(s.bind, ("", 0))]
    s.shutdown(socket.SHUT_WR)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    return trace + [outcome(s.send, b"x")]


@case
def silence(peer, absent):
    s = connected(peer, b"s")
    poll = select.poll()
    poll.register(s, select.POLLIN | select.POLLOUT)
    trace = [[e for _, e in poll.poll(100)]]
    poll.modify(s, select.POLLIN)
    trace.append(poll.poll(100))
    s.settimeout(None)
    trace.append(outcome(s.recv, 1, socket.MSG_DONTWAIT))
    s.settimeout(0.1)
    return trace + [outcome(s.recv, 1)]


@case
def peek_and_waitall(peer, absent):
    s = connected(peer, b"e")
    s.settimeout(None)
    s.sendall(b"abcdef")
    trace = [outcome(s.recv, 3, socket.MSG_PEEK | socket.MSG_WAITALL)]
    s.sendall(b"ghijkl")
    trace.append(outcome(s.recv, 12, socket.MSG_WAITALL))
    s.sendall(b"tail")
    time.sleep(0.1)
    trace.append(outcome(s.recvfrom, 4)[0].decode())
    return trace


@case
def bulk_down(peer, absent):
    s = connected(peer, b"b")
    return hashlib.sha256(read_all(s)).hexdigest()


@case
def bulk_up(peer, absent):
    s = connected(peer, b"d")
    s.sendall(os.urandom(0) + bytes(range(256)) * (BULK // 256))
    s.shutdown(socket.SHUT_WR)
    return outcome(s.recv, 100)


@case
def sendfile(peer, absent):
    path = os.path.join(os.environ.get("TMPDIR", "/tmp"), "semantics-%d" % os.getpid())
    with open(path, "wb+") as f:
        f.write(b"0123456789" * 10000)
        f.flush()
        f.seek(0)
        s = connected(peer, b"d")
        sent = s.sendfile(f)
        s.shutdown(socket.SHUT_WR)
    os.unlink(path)
    return [sent, outcome(s.recv, 100)]


@case
def fork_shares_a_connection(peer, absent):
    s = connected(peer, b"e")
    pid = os.fork()
    if pid == 0:
        s.sendall(b"child")
        os._exit(0)
    os.waitpid(pid, 0)
    first = outcome(s.recv, 5, socket.MSG_WAITALL)
    s.sendall(b"parent")
    return [first, outcome(s.recv, 6, socket.MSG_WAITALL), s.getpeername() == peer]


@case
def exec_inherits_a_connection(peer, absent):
    s = connected(peer, b"e")
    s.settimeout(None)
    s.set_inheritable(True)
    code = (
        "import socket,sys; s=socket.socket(fileno=int(sys.argv[1]));"
        "s.sendall(b'hello'); print(s.recv(5).decode(), s.getpeername()[0], s.family.name, s.type.name)"
    )
    import subprocess
    result = subprocess.run([sys.executable, "-c", code, str(s.fileno())], close_fds=False,
                            capture_output=True, text=True)
    return result.stdout.replace(peer[0], "PEER") + result.stderr


@case
def duplicates_keep_it_open(peer, absent):
    s = connected(peer, b"e")
    t = s.dup()
    s.close()
    t.sendall(b"still")
    return [outcome(t.recv, 5), t.getpeername() == peer]


@case
def many_at_once(peer, absent):
    sockets = [connected(peer, b"e") for _ in range(50)]
    for i, s in enumerate(sockets):
        s.sendall(b"%02d" % i)
    return [outcome(s.recv, 2, socket.MSG_WAITALL) for s in sockets]


def main():
    role, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if role == "server":
        server(address, port)
    play(((address, port), sys.argv[4]), sys.argv[5:])


main()
