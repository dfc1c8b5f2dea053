"""Python's own ways with sockets: time-outs, files, selectors, asyncio, servers, subprocesses."""
import array
import asyncio
import http.client
import http.server
import os
import select
import selectors
import socket
import socketserver
import struct
import subprocess
import sys
import tempfile
import threading

import suite
from suite import case, listener, outcome, say

RESET = struct.pack("ii", 1, 0)


@case
def create_connection(peer):
    s = peer.dial()
    say(s.family == suite.FAMILY, s.type.name, s.gettimeout())
    say(s.getpeername()[0] == suite.PEER, s.getsockname()[0] == suite.OWN)
    say(outcome(s.sendall, b"hello"), peer("recv", 1, 5, socket.MSG_WAITALL), peer.data)
    s.close()
    say(peer("recv", 1, 1), s.fileno())


@case
def create_connection_refused(peer):
    say(outcome(socket.create_connection, peer.closed_port()))
    s = socket.socket(suite.FAMILY)
    say(suite.name(s.connect_ex(peer.closed_port())))


@case
def connect_with_a_timeout(peer):
    s = socket.socket(suite.FAMILY)
    s.settimeout(10)
    say(outcome(s.connect, peer.listens()), s.gettimeout(), s.getblocking())


@case
def connect_non_blocking(peer):
    s = socket.socket(suite.FAMILY)
    s.setblocking(False)
    to = peer.listens()
    say(suite.name(s.connect_ex(to)))
    say([len(ready) for ready in select.select([], [s], [], 10)])
    say(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), suite.name(s.connect_ex(to)), suite.name(s.connect_ex(to)))


@case
def receive_timeouts(peer):
    s = peer.dial()
    s.settimeout(0.05)
    say(outcome(s.recv, 1))
    s.settimeout(0)
    say(outcome(s.recv, 1))
    s.settimeout(10)
    peer("send", 1, 0, "abc")
    say(outcome(s.recv, 3))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 50000))
    s.settimeout(None)
    say(outcome(s.recv, 1))


@case
def receive_into(peer):
    s = peer.dial()
    peer("send", 1, 0, "abcdefghij")
    view = bytearray(20)
    while s.recv_into(view, 20, socket.MSG_PEEK) < 10:
        pass
    say(s.recv_into(view, 3), bytes(view[:4]))
    say(s.recvfrom(2))
    say(s.recvfrom_into(view, 2)[0], bytes(view[:2]))
    data, control, flags, address = s.recvmsg(2, 100)
    say(data, control, flags, address)
    say(s.recvmsg_into([view], 100)[0])


@case
def send_messages(peer):
    s = peer.dial()
    say(s.sendmsg([b"ab", b"", b"cd"]), s.send(b"ef"), outcome(s.sendto, b"gh", ("192.0.2.1", 9)
                                                             if suite.FAMILY == socket.AF_INET else ("2001:db8::1", 9)))
    say(peer("recv", 1, 8, socket.MSG_WAITALL), peer.data)


@case
def file_objects(peer):
    s = peer.dial()
    with s.makefile("rwb") as both:
        both.write(b"line one\nline two\n")
        both.flush()
        say(peer("recv", 1, 18, socket.MSG_WAITALL), peer.data)
        peer("send", 1, 0, "answer")
        peer("shutdown", 1, socket.SHUT_WR)
        say(both.read())
    s.close()


@case
def detach_and_adopt(peer):
    s = peer.dial()
    fd = s.detach()
    say(s.fileno())
    t = socket.socket(fileno=fd)
    say(t.family == suite.FAMILY, t.type.name, t.proto, t.getpeername()[0] == suite.PEER)
    say(t.send(b"x"), peer("recv", 1, 1))


@case
def duplicates(peer):
    s = peer.dial()
    t = s.dup()
    s.close()
    say(t.family == suite.FAMILY, t.send(b"x"), peer("recv", 1, 1), t.get_inheritable())


@case
def inheritable(peer):
    s = peer.dial()
    say(s.get_inheritable())
    s.set_inheritable(True)
    code = ("import socket, sys; s = socket.socket(fileno=int(sys.argv[1])); s.sendall(b'hello');"
            "print(s.recv(6), s.type.name)")
    child = subprocess.Popen([sys.executable, "-c", code, str(s.fileno())], close_fds=False, stdout=subprocess.PIPE)
    say(peer("recv", 1, 5, socket.MSG_WAITALL), peer.data)
    peer("send", 1, 0, "answer")
    say(child.communicate()[0], child.returncode)


@case
def subprocess_with_a_socket_as_output(peer):
    s = peer.dial()
    child = subprocess.run(["echo", "through a child"], stdout=s)
    s.close()
    say(child.returncode, peer("drain", 1, 100))


@case
def subprocess_closes_others(peer):
    s = peer.dial()
    code = "import os, sys\ntry: os.fstat(int(sys.argv[1]))\nexcept OSError as e: print(e.errno)"
    say(subprocess.run([sys.executable, "-c", code, str(s.fileno())], capture_output=True).stdout)
    say(s.send(b"x"), peer("recv", 1, 1))


@case
def pass_by_a_unix_socket(peer):
    s = peer.dial()
    ours, theirs = socket.socketpair()
    socket.send_fds(ours, [b"x"], [s.fileno()])
    s.close()
    fd = socket.recv_fds(theirs, 10, 1)[1][0]
    t = socket.socket(fileno=fd)
    say(t.getpeername()[0] == suite.PEER, t.send(b"x"), peer("recv", 1, 1))


@case
def create_server(peer):
    s = socket.create_server(("", 0), family=suite.FAMILY, backlog=5)
    say(s.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR), s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    say(peer.dials(s))
    t, address = s.accept()
    say(address[0] == suite.PEER, t.getsockname()[0] == suite.OWN, t.getblocking())


@case
def create_server_for_both(peer):
    s = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    say(peer.dials(s))
    t, address = s.accept()
    say(address[0].replace("::ffff:", "") == suite.PEER)


@case
def accept_timeouts(peer):
    s = listener()
    s.settimeout(0.05)
    say(outcome(s.accept))
    s.settimeout(0)
    say(outcome(s.accept))
    s.settimeout(10)
    peer.dials(s)
    t, _ = s.accept()
    say(t.gettimeout(), t.getblocking())


@case
def selectors_all(peer):
    for kind in (selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector):
        with kind() as selector:
            s = peer.dial()
            s.setblocking(False)
            selector.register(s, selectors.EVENT_READ | selectors.EVENT_WRITE, "tag")
            say(kind.__name__, [(key.data, events) for key, events in selector.select(10)])
            selector.modify(s, selectors.EVENT_READ)
            say(selector.select(0.05))
            peer("send", 1, 0, "abc")
            say([events for _, events in selector.select(10)], s.recv(3))
            selector.unregister(s)
            s.close()
            peer("close", 1)


@case
def send_a_file(peer):
    s = peer.dial()
    with tempfile.TemporaryFile() as f:
        f.write(b"0123456789" * 20000)
        f.seek(5)
        done = []
        thread = threading.Thread(target=lambda: (done.append(s.sendfile(f)), s.close()))
        thread.start()
        say(peer("drain", 1, 400000))
        thread.join()
        say(done, f.tell())


@case
def sendfile_with_offsets(peer):
    s = peer.dial()
    with tempfile.TemporaryFile() as f:
        f.write(b"0123456789" * 100)
        f.flush()
        say(os.sendfile(s.fileno(), f.fileno(), 990, 100), peer("recv", 1, 10, socket.MSG_WAITALL), peer.data)
        say(outcome(os.sendfile, s.fileno(), f.fileno(), 5000, 100))
        say(outcome(os.sendfile, f.fileno(), s.fileno(), None, 10))


@case
def splice_both_ways(peer):
    if not hasattr(os, "splice"):
        return
    s = peer.dial()
    r, w = os.pipe()
    peer("send", 1, 0, "through")
    select.select([s], [], [], 10)
    say(os.splice(s.fileno(), w, 100), os.read(r, 100))
    os.write(w, b"a pipe")
    say(os.splice(r, s.fileno(), 100), peer("recv", 1, 6, socket.MSG_WAITALL), peer.data)
    say(outcome(os.splice, s.fileno(), s.fileno(), 10))


@case
def read_and_write_by_number(peer):
    s = peer.dial()
    say(os.write(s.fileno(), b"abc"), os.writev(s.fileno(), [b"de", b"f"]), peer("recv", 1, 6, socket.MSG_WAITALL))
    peer("send", 1, 0, "uvwxyz")
    first, second = bytearray(2), bytearray(4)
    select.select([s], [], [], 10)
    say(os.readv(s.fileno(), [first, second]), first, os.isatty(s.fileno()))
    say(outcome(os.lseek, s.fileno(), 0, 0), outcome(os.pread, s.fileno(), 1, 0))


@case
def reset_is_an_exception(peer):
    s = peer.dial()
    peer("reset", 1)
    try:
        s.recv(1)
    except ConnectionResetError:
        say("reset")
    say(outcome(s.recv, 1))


@case
def broken_pipe_is_an_exception(peer):
    s = peer.dial()
    s.shutdown(socket.SHUT_WR)
    try:
        s.send(b"x")
    except BrokenPipeError:
        say("broken pipe")


@case
def linger_resets(peer):
    s = peer.dial()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    s.close()
    say(peer("recv", 1, 1))


@case
def numbers_of_options(peer):
    s = peer.dial()
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 44)
    say(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), s.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))
    say(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1), len(s.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)))
    say(outcome(s.setsockopt, socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 0), outcome(s.getsockopt, socket.IPPROTO_TCP, 999))


@case
def scatter_of_arrays(peer):
    s = peer.dial()
    say(s.send(array.array("i", [1, 2, 3])), peer("recv", 1, 12, socket.MSG_WAITALL))
    say(s.send(memoryview(b"abcdef")[2:4]), peer("recv", 1, 2, socket.MSG_WAITALL), peer.data)


async def echo_once(reader, writer):
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()


@case
def asyncio_client(peer):
    async def run():
        host, port = peer.listens()
        reader, writer = await asyncio.open_connection(host, port)
        peer("accept", 0, 1)
        writer.write(b"hello\n")
        await writer.drain()
        say(peer("recv", 1, 6, socket.MSG_WAITALL), peer.data)
        peer("send", 1, 0, "answer")
        peer("close", 1)
        say(await reader.read(), reader.at_eof())
        writer.close()
        await writer.wait_closed()
    asyncio.run(run())


@case
def asyncio_refused(peer):
    async def run():
        try:
            await asyncio.open_connection(*peer.closed_port())
        except ConnectionRefusedError:
            say("refused")
    asyncio.run(run())


@case
def asyncio_server(peer):
    async def run():
        server = await asyncio.start_server(echo_once, "", 0, family=suite.FAMILY)
        s = server.sockets[0]
        loop = asyncio.get_running_loop()
        for _ in range(3):
            say(await loop.run_in_executor(None, peer.dials, s))
            peer("send", 1, 0, "line")
            peer("shutdown", 1, socket.SHUT_WR)
            say(await loop.run_in_executor(None, peer, "drain", 1, 100))
            peer("close", 1)
        server.close()
        await server.wait_closed()
        say(peer("tcp", 2) >= 0, peer("connect", 2, 1, suite.OWN))
    asyncio.run(run())


@case
def asyncio_times_out(peer):
    async def run():
        reader, writer = await asyncio.open_connection(*peer.listens())
        try:
            await asyncio.wait_for(reader.read(1), 0.05)
        except asyncio.TimeoutError:
            say("timed out")
        writer.transport.abort()
        peer("accept", 0, 1)
        say(await asyncio.get_running_loop().run_in_executor(None, peer, "recv", 1, 1))
    asyncio.run(run())


@case
def asyncio_send_a_file(peer):
    async def run():
        loop = asyncio.get_running_loop()
        s = peer.dial()
        s.setblocking(False)
        with tempfile.TemporaryFile() as f:
            f.write(b"x" * 300000)
            f.flush()
            heard = loop.run_in_executor(None, peer, "drain", 1, 300000)
            say(await loop.sock_sendfile(s, f), await heard)
    asyncio.run(run())


class Upper(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline().upper())


@case
def socketserver_threads(peer):
    class Server(socketserver.ThreadingTCPServer):
        address_family = suite.FAMILY
        daemon_threads = True
    with Server(("", 0), Upper) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for _ in range(3):
            say(peer.dials(server.socket))
            peer("send", 1, 0, "words")
            peer("shutdown", 1, socket.SHUT_WR)
            say(peer("recv", 1, 5, socket.MSG_WAITALL), peer.data)
        server.shutdown()


@case
def socketserver_forks(peer):
    class Server(socketserver.ForkingTCPServer):
        address_family = suite.FAMILY
    with Server(("", 0), Upper) as server:
        say(peer.dials(server.socket))
        peer("send", 1, 0, "words")
        peer("shutdown", 1, socket.SHUT_WR)
        server.handle_request()
        say(peer("recv", 1, 5, socket.MSG_WAITALL), peer.data)


@case
def http_within_the_container(peer):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = self.path.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        address_family = suite.FAMILY

    server = Server(("", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    connection = http.client.HTTPConnection(suite.OWN, server.server_address[1], timeout=10)
    for path in ("/one", "/two", "/three"):
        connection.request("GET", path)
        answer = connection.getresponse()
        say(answer.status, answer.read())
    connection.close()
    server.shutdown()


@case
def threads_share_a_connection(peer):
    s = peer.dial()
    threads = [threading.Thread(target=lambda: [s.sendall(b"0123456789") for _ in range(50)]) for _ in range(6)]
    for thread in threads:
        thread.start()
    say(peer("drain", 1, 3000))
    for thread in threads:
        thread.join()


@case
def udp_echo(peer):
    s = socket.socket(suite.FAMILY, socket.SOCK_DGRAM)
    s.settimeout(10)
    peer("udp", 2)
    port = peer("bind", 2, 0)
    say(s.sendto(b"datagram", (suite.PEER, port)), peer("recv", 2, 100), peer.data)
    say(peer("sendto", 2, s.getsockname()[1], suite.OWN, "answer"))
    data, address = s.recvfrom(100)
    say(data, address[0] == suite.PEER, address[1] == port)


@case
def udp_connected(peer):
    s = socket.socket(suite.FAMILY, socket.SOCK_DGRAM)
    s.settimeout(10)
    peer("udp", 2)
    port = peer("bind", 2, 0)
    say(outcome(s.connect, (suite.PEER, port)), s.getpeername()[1] == port, s.getsockname()[0] == suite.OWN)
    say(s.send(b"one"), peer("recv", 2, 100), peer.data)
    say(peer("sendto", 2, s.getsockname()[1], suite.OWN, "longer"), s.recv(3), s.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE))


if __name__ == "__main__":
    suite.main()
