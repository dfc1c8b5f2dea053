"""full.py PORT: a server without a descriptor left: accept says so, loses nobody, and takes the same connection later."""
import errno
import os
import resource
import socket
import sys

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
listener = socket.create_server(("", int(sys.argv[1])))
taken = []
try:
    while True:
        taken.append(os.dup(1))
except OSError as error:
    assert error.errno == errno.EMFILE, error
for _ in range(3):
    print("full", flush=True)
    try:
        listener.accept()
        sys.exit("accepted without a descriptor")
    except OSError as error:
        assert error.errno == errno.EMFILE, error
os.close(taken.pop())
connection, _ = listener.accept()
connection.sendall(connection.recv(4096))
connection.close()
print("served", flush=True)
