"""What the Python cases share: the trace, the peer, and playing each case in a process of its own.

    cases.py PEER-SOCKET PEER-ADDRESS OWN-ADDRESS [CASE…]

A case prints results, errno names, readiness and order, without anything that differs between two runs by nature. Its
other end is the peer (peer.c), which obeys its commands.
"""
import errno
import os
import signal
import socket
import sys
import tempfile

AT_ONCE, LIMIT = 6, 25
CASES = {}
PEER_SOCKET = PEER = OWN = None
FAMILY = socket.AF_INET


def case(function):
    CASES["py_" + function.__name__] = function
    return function


def say(*words):
    print(*words, flush=True)


def name(error):
    return errno.errorcode.get(error, str(error))


def outcome(function, *arguments, **options):
    """The value of a call, or the name of its errno."""
    try:
        value = function(*arguments, **options)
    except socket.timeout:
        return "timed out"
    except OSError as e:
        return name(e.errno) if e.errno else type(e).__name__
    return value.decode("latin-1") if isinstance(value, (bytes, bytearray)) else value


class Peer:
    """The other end: each command is one call of it."""

    def __init__(self):
        self.control = socket.socket(socket.AF_UNIX)
        self.control.connect(PEER_SOCKET)
        self.answers = self.control.makefile("rb")
        self.data = b""

    def __call__(self, *words):
        self.control.sendall((" ".join(str(word) for word in words) + "\n").encode())
        result, error, length = (int(word) for word in self.answers.readline().split())
        self.data = self.answers.read(length)
        return name(error) if error else result

    def listens(self):
        self("tcp", 0)
        self("bind", 0, 0)
        return PEER, self("listen", 0, 16)

    def dial(self, **options):
        """A connection to the peer, whose end is its socket 1."""
        s = socket.create_connection(self.listens(), timeout=options.get("timeout"))
        self("accept", 0, 1)
        self("close", 0)
        return s

    def dials(self, listener, slot=1):
        self("tcp", slot)
        return self("connect", slot, listener.getsockname()[1], OWN)

    def closed_port(self):
        self("tcp", 9)
        port = self("bind", 9, 0)
        self("close", 9)
        return PEER, port


def listener(**options):
    s = socket.socket(FAMILY)
    s.bind(("", 0))
    s.listen(options.get("backlog", 16))
    return s


def play(function, out):
    os.dup2(out, 1)
    os.dup2(out, 2)
    signal.alarm(LIMIT)
    try:
        function(Peer())
    except BaseException as e:      # whatever it is, it is what the case has seen
        say("raised", type(e).__name__, e if isinstance(e, OSError) else "")
    sys.stdout.flush()
    os._exit(0)


def main():
    global PEER_SOCKET, PEER, OWN, FAMILY
    PEER_SOCKET, PEER, OWN = sys.argv[1:4]
    FAMILY = socket.AF_INET6 if ":" in PEER else socket.AF_INET
    wanted = [title for title in CASES if len(sys.argv) == 4 or title in sys.argv[4:]]
    files = {title: tempfile.TemporaryFile() for title in wanted}
    waiting, running, ended = list(wanted), {}, {}
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            title = waiting.pop(0)
            pid = os.fork()
            if pid == 0:
                play(CASES[title], files[title].fileno())
            running[pid] = title
        pid, status = os.wait()
        if pid in running:
            ended[running.pop(pid)] = status
    for title in wanted:
        print("==", title)
        files[title].seek(0)
        sys.stdout.write(files[title].read().decode("latin-1"))
        if ended[title]:
            print("ended by", ended[title])
