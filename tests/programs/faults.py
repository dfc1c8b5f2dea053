"""Programs for tests that break things. Every ROLE runs until it is ended.

faults.py serve PORT                    echoes over TCP and UDP: two forked workers share a listener on PORT and take
                                        turns by select; a thread blocks in accept on PORT + 1; another in recvfrom
faults.py talk ADDRESS PORT [SECONDS]   talks to such a server, for ever or for a time, and prints "served KIND" whenever
                                        it is served anew: after its start and after each failure
faults.py crowd ADDRESS PORT COUNT      so many connections at once, each of which wants one answer and then ends
faults.py ping ADDRESS PORT             one connection and a byte back and forth: the longest wait, when a line comes in
"""
import errno
import os
import select
import signal
import socket
import sys
import threading
import time

LIMIT = 10                  # seconds for any one call: longer is a hang
PAUSE = 0.005
# What a program may hear when a service, its own or its peer's, is killed: what the kernel says when a host goes down.
HONEST = {errno.ECONNRESET, errno.EPIPE, errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN,
          errno.ETIMEDOUT, errno.ECONNABORTED, errno.ENOTCONN}


def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def fatal(what):
    """Whatever is not expected ends the process: a traceback in its log."""
    def run(*arguments):
        try:
            what(*arguments)
        except BaseException:
            import traceback
            say("FATAL", traceback.format_exc())
            os._exit(1)
    return run


def honest(error):
    if not isinstance(error, TimeoutError) and error.errno not in HONEST:
        raise error


def listen(port):
    listener = socket.create_server(("", port), backlog=64)
    listener.setblocking(False)
    return listener


def echo(connection, size=4096):
    """Whether the connection goes on."""
    try:
        data = connection.recv(size)
        if data:
            connection.sendall(data)
            return True
    except BlockingIOError:
        return True
    except OSError as error:
        honest(error)
    connection.close()
    return False


@fatal
def worker(listener):
    number, connections = listener.fileno(), set()
    while True:
        ready, _, _ = select.select([listener, *connections], [], [], 1)
        assert listener.fileno() == number
        for socket_ in ready:
            if socket_ is not listener:
                if not echo(socket_):
                    connections.discard(socket_)
                continue
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                continue
            connection.settimeout(LIMIT)
            connections.add(connection)


@fatal
def blocking(listener):
    listener.setblocking(True)
    while True:
        connection, _ = listener.accept()
        connection.settimeout(LIMIT)
        threading.Thread(target=fatal(lambda it: [None for _ in iter(lambda: echo(it), False)]), args=[connection],
                         daemon=True).start()


@fatal
def datagrams(port):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("", port))
    number = server.fileno()
    while True:
        try:
            data, sender = server.recvfrom(4096)
            server.sendto(data, sender)
        except OSError as error:
            honest(error)
        assert server.fileno() == number


def serve(port):
    shared = listen(port)
    parent = os.getpid()
    for _ in range(2):
        if os.fork() == 0:
            # Ends with its parent.
            threading.Thread(target=lambda: [time.sleep(0.2) for _ in iter(os.getppid, -1) if os.getppid() == parent
                                             or os._exit(0)], daemon=True).start()
            worker(shared)
    shared.close()
    threading.Thread(target=blocking, args=[listen(port + 1)], daemon=True).start()
    threading.Thread(target=datagrams, args=[port], daemon=True).start()
    say("listening")
    while True:
        signal.pause()


@fatal
def talk_tcp(kind, address, port, until):
    fresh = True
    while time.monotonic() < until:
        try:
            with socket.create_connection((address, port), LIMIT) as connection:
                while time.monotonic() < until:
                    connection.sendall(b"x" * 100)
                    if not connection.recv(4096):
                        break
                    if fresh:
                        fresh = False
                        say("served", kind)
                    time.sleep(PAUSE)
        except OSError as error:
            honest(error)
            say("error", kind, type(error).__name__, error)
        fresh = True
        time.sleep(PAUSE)


@fatal
def talk_udp(address, port, until):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(0.3)
    client.bind(("", 0))
    number, fresh = client.fileno(), True
    while time.monotonic() < until:
        try:
            client.sendto(b"x" * 100, (address, port))
            client.recvfrom(4096)
            if fresh:
                fresh = False
                say("served udp")
        except OSError as error:
            honest(error)
            fresh = True
        assert client.fileno() == number
        time.sleep(PAUSE)


def talk(address, port, seconds=3600):
    until = time.monotonic() + float(seconds)
    jobs = [threading.Thread(target=talk_tcp, args=["tcp", address, port, until]),
            threading.Thread(target=talk_tcp, args=["blocking", address, port + 1, until]),
            threading.Thread(target=talk_udp, args=[address, port, until])]
    for job in jobs:
        job.daemon = True
        job.start()
    for job in jobs:
        job.join()


def crowd(address, port, count):
    @fatal
    def one():
        while True:
            try:
                with socket.create_connection((address, port), 6 * LIMIT) as connection:
                    connection.sendall(b"x" * 100)
                    if connection.recv(4096):
                        return
            except OSError as error:
                honest(error)
            time.sleep(PAUSE)

    jobs = [threading.Thread(target=one) for _ in range(count)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()


@fatal
def ping(address, port):
    connection = socket.create_connection((address, port), LIMIT)
    worst, count = [0.0], [0]

    @fatal
    def go():
        say("pinging")
        while True:
            before = time.monotonic()
            connection.sendall(b"p")
            assert connection.recv(1) == b"p"
            worst[0] = max(worst[0], time.monotonic() - before)
            count[0] += 1
            time.sleep(PAUSE)

    threading.Thread(target=go, daemon=True).start()
    while True:
        time.sleep(0.5)
        say("worst", int(worst[0] * 1000), "ms of", count[0])


def main():
    role, *arguments = sys.argv[1:]
    arguments = [int(argument) if argument.isdigit() else argument for argument in arguments]
    {"serve": serve, "talk": talk, "crowd": crowd, "ping": ping}[role](*arguments)


if __name__ == "__main__":
    main()
