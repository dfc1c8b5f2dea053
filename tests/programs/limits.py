"""limits.py ADDRESS PORT COUNT: reaches the limit of open descriptors, its own or its service's, and goes on after it.

Opens up to COUNT connections to a server of faults.py until one fails, uses those that are there, closes them, and
does it once more. Prints how many there were and how each round ended.
"""
import errno
import socket
import sys
import time

address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
# What the kernel says when this process, the whole system or its memory for sockets has no more.
SCARCE = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def used(connection):
    connection.sendall(b"x" * 1000)
    echoed = b""
    while len(echoed) < 1000:
        part = connection.recv(4096)
        assert part, "closed early"
        echoed += part


def some():
    kept = []
    try:
        while len(kept) < count:
            kept.append(socket.create_connection((address, port), 20))
        return kept, "all"
    except OSError as error:
        if error.errno not in SCARCE:
            raise
        return kept, errno.errorcode[error.errno]


def closed(kept):
    for connection in kept:
        connection.close()


def some_more():
    """What was closed is free when the service has heard of it."""
    until = time.monotonic() + 20
    while True:
        kept, end = some()
        if len(kept) >= 5:
            return kept, end
        closed(kept)
        assert time.monotonic() < until, "nothing became free again: " + end
        time.sleep(0.05)


for _ in range(2):
    kept, end = some_more()
    for connection in kept:
        used(connection)
    closed(kept)
    print(len(kept), end, flush=True)
