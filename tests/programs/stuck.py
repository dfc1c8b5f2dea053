"""stuck.py STATE [ADDRESS PORT]: brings sockets into a state that they do not leave by themselves, says "stuck", and
waits to be killed. ADDRESS PORT is the server of faults.py, or a stuck one.

connecting   non-blocking attempts to an address that nobody has
listening    a listener on PORT that never accepts; others fill its queue
filling      connections to such a listener, more than its backlog, each with bytes on the way
half-open    connections that were shut down for sending, with the echo unread
sending      blocked in a send to a peer that never reads
unread       a listener on PORT whose accepted connections and datagrams are never read
reading      blocked in a receive
"""
import resource
import socket
import sys
import threading
import time

COUNT = 20

resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
state, arguments = sys.argv[1], sys.argv[2:]
address, port = (arguments + ["", "0"])[:2]
at = (address, int(port))
kept = []


def attempts(count):
    for _ in range(count):
        kept.append(socket.socket())
        kept[-1].setblocking(False)
        kept[-1].connect_ex(at)


def connections(count):
    for _ in range(count):
        kept.append(socket.create_connection(at, 30))
        kept[-1].settimeout(None)


def in_thread(what, *arguments):
    threading.Thread(target=what, args=arguments, daemon=True).start()


def connecting():
    attempts(COUNT)


def listening():
    kept.append(socket.create_server(at, backlog=5))


def filling():
    attempts(3 * COUNT)
    for socket_ in kept:
        try:
            socket_.send(b"x" * 100)
        except OSError:
            pass


def half_open():
    connections(COUNT)
    for socket_ in kept:
        socket_.sendall(b"x" * 1000)
        socket_.shutdown(socket.SHUT_WR)


def sending():
    connections(COUNT)
    sent = [0] * COUNT

    def send(number, socket_):
        while True:
            sent[number] += socket_.send(b"x" * 65536)

    for number, socket_ in enumerate(kept):
        in_thread(send, number, socket_)
    before = None
    while sent != before or 0 in sent:
        before = list(sent)
        time.sleep(0.5)


def unread():
    listener = socket.create_server(at, backlog=128)
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(at)

    def accept():
        while True:
            kept.append(listener.accept())

    in_thread(accept)
    kept.append(datagrams)


def reading():
    connections(COUNT)
    for socket_ in kept:
        in_thread(socket_.recv, 1)


{"connecting": connecting, "listening": listening, "filling": filling, "half-open": half_open, "sending": sending,
 "unread": unread, "reading": reading}[state]()
print("stuck", flush=True)
time.sleep(3600)
