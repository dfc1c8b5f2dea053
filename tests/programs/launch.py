"""Programs that wait in socket calls while something else happens to them.

    launch.py threads PORT COUNT    twenty threads accept, COUNT connections in all, then ends
    launch.py prefork PORT          four processes accept on one listener until ended
    launch.py alarm PORT            a signal handler runs while accept and connect wait
    launch.py again PORT            listens on one port again and again, then no longer, and waits
    launch.py registered PORT HOST  connects a socket that two epoll instances know already
    launch.py registrations PORT HOST
                                    many processes at once connect sockets that an instance knows already
    launch.py echo PORT             sends every datagram back, after the sender's address
    launch.py calls PORT HOST       asks that one with each of the calls that there are
    launch.py orphan PORT           waits in accept, and says how that ended
    launch.py forks PORT COUNT      COUNT processes, each with a listener of its own and a connection to it
    launch.py graceful PORT         ends with status 3 on SIGTERM while accept waits
"""
import errno
import os
import select
import signal
import socket
import sys
import threading
import time


def listener(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("", port))
    s.listen(128)
    print("listening", flush=True)
    return s


def answer(s):
    connection, peer = s.accept()
    with connection:
        connection.sendall(("%s %d\n" % (peer[0], os.getpid())).encode())
        # What is left unread at the close would reset the connection.
        connection.shutdown(socket.SHUT_WR)
        connection.recv(100)


def threads(port, count):
    s = listener(port)
    workers = [threading.Thread(target=lambda: [answer(s) for _ in range(count // 20)]) for _ in range(20)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print("done", flush=True)


def prefork(port):
    s = listener(port)
    for _ in range(3):
        if os.fork() == 0:
            break
    while True:
        answer(s)


class Alarm(Exception):
    pass


def ring(*_):
    raise Alarm


def interrupted(function, *arguments):
    """Whether a signal's handler ends a call, soon."""
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    started = time.monotonic()
    try:
        function(*arguments)
    except Alarm:
        return 0.2 < time.monotonic() - started < 0.8
    return False


def alarm(port):
    s = listener(port)
    print("accept", interrupted(s.accept), flush=True)
    print("connect", interrupted(socket.socket().connect, (sys.argv[3], port)), flush=True)
    # The kernel makes the call again after the signal (SA_RESTART); Python's handler runs when it is over.
    signal.signal(signal.SIGALRM, lambda *_: print("rang", flush=True))
    signal.siginterrupt(signal.SIGALRM, False)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    print("still accepting", flush=True)
    answer(s)
    print("accepted", flush=True)
    # With a time-out of its own, as C programs have it.
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, (0).to_bytes(8, "little") + (200_000).to_bytes(8, "little"))
    started = time.monotonic()
    try:
        s.accept()
    except BlockingIOError:
        print("timed out", 0.1 < time.monotonic() - started < 0.6, flush=True)


def again(port):
    end = time.monotonic() + 60
    for _ in range(5):
        s = socket.socket()
        while True:
            try:
                s.bind(("", port))
                break
            except OSError as error:
                # The service has the old one as long as it has not heard of its end.
                if error.errno != errno.EADDRINUSE or time.monotonic() > end:
                    raise
        s.listen()
        s.close()
    print("listening no more", flush=True)
    signal.pause()


def registered(port):
    """A socket is registered before it connects: the events are those of the connection."""
    s = socket.socket()
    s.setblocking(False)
    instances = [select.epoll(), select.epoll()]
    if os.fork() == 0:
        # A parent may leave an instance to its child.
        instances.append(select.epoll())
        for instance in instances:
            instance.register(s, select.EPOLLOUT | select.EPOLLET)
        print(s.connect_ex((sys.argv[3], port)) == errno.EINPROGRESS, flush=True)
        for instance in instances:
            print([(fd == s.fileno(), events) for fd, events in instance.poll(10)], flush=True)
        print(s.getpeername() == (sys.argv[3], port), flush=True)
        return
    print(os.wait()[1], flush=True)


def registrations(port):
    """The instance is made last: nothing but the registration is between it and `connect`."""
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            missed = 0
            for _ in range(100):
                with socket.socket() as s, select.epoll() as instance:
                    s.setblocking(False)
                    instance.register(s, select.EPOLLOUT | select.EPOLLET)
                    s.connect_ex((sys.argv[3], port))
                    missed += not instance.poll(10)
            os._exit(missed)
        children.append(child)
    print(sorted({os.waitpid(child, 0)[1] for child in children}), flush=True)


def echo(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("", port))
    print("listening", flush=True)
    while True:
        data, peer = s.recvfrom(65535)
        s.sendto(data if len(data) > 1000 else b"%s %s" % (data, peer[0].encode()), peer)


def calls(port):
    server = (sys.argv[3], port)
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(10)
    s.connect(server)
    s.send(b"one")
    print("write", s.recv(100).decode())
    free = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    free.settimeout(10)
    free.sendto(b"two", server)
    data, peer = free.recvfrom(100)
    print("sendto", data.decode() if peer == server else peer)
    free.sendmsg([b"th", b"ree"], [], 0, server)
    data, _, flags, peer = free.recvmsg(100)
    print("sendmsg", data.decode() if (peer, flags) == (server, 0) else (peer, flags))
    free.sendto(b"four", server)
    print("recv", free.recv(100).decode())
    free.sendto(b"five", server)
    data, _, flags, _ = free.recvmsg(2)
    print("cut", data.decode(), flags == socket.MSG_TRUNC)
    free.sendto(b"", server)
    print("empty", free.recvfrom(100)[0].decode())
    free.sendto(bytes(60000), server)
    print("large", len(free.recvfrom(65535)[0]))
    free.setblocking(False)
    try:
        free.recvfrom(100)
    except BlockingIOError:
        print("nothing", True)
    # Nobody is there: a connected socket hears of it, and goes on.
    s.connect((sys.argv[3], port + 1))
    s.send(b"x")
    try:
        print(s.recvfrom(100))
    except ConnectionRefusedError:
        print("refused", True)
    s.connect(server)
    s.send(b"six")
    print("still", s.recv(100).decode(), flush=True)


def orphan(port):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    s = listener(port)
    for call in (s.accept, socket.socket):
        try:
            call()
        except OSError as error:
            print("ended with", errno.errorcode[error.errno], flush=True)


def forks(port, count):
    """Every process has its own listener and its own thread that connects to it."""
    children = []
    for at in range(count):
        child = os.fork()
        if child == 0:
            s = socket.socket()
            s.bind((sys.argv[4], port + at))
            s.listen()
            caller = threading.Thread(target=lambda: socket.create_connection((sys.argv[4], port + at), 20).recv(100))
            caller.start()
            answer(s)
            caller.join()
            os._exit(0)
        children.append(child)
    print(sorted({os.waitpid(child, 0)[1] for child in children}), flush=True)


def graceful(port):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    listener(port).accept()


if sys.argv[1] == "forks":
    forks(int(sys.argv[2]), int(sys.argv[3]))
elif sys.argv[1] == "threads":
    threads(int(sys.argv[2]), int(sys.argv[3]))
else:
    {"prefork": prefork, "alarm": alarm, "again": again, "registered": registered,
     "registrations": registrations, "echo": echo, "calls": calls, "orphan": orphan, "graceful": graceful}[sys.argv[1]](int(sys.argv[2]))
