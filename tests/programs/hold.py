"""hold.py ADDRESS PORT COUNT: opens COUNT HTTP connections, is served on each, keeps all open."""
import resource
import socket
import sys
import time

resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sockets = [socket.create_connection((address, port), timeout=20) for _ in range(count)]
served = 0
for s in sockets:
    s.sendall(b"GET / HTTP/1.1\r\nHost: lan\r\n\r\n")
for s in sockets:
    answer = b""
    while b"hello from the LAN\n" not in answer:
        part = s.recv(4096)
        assert part, "closed early: %r" % answer
        answer += part
    assert answer.startswith(b"HTTP/1.1 200"), answer
    served += 1
print("served", served, flush=True)
time.sleep(60)
