"""flood.py SOCKET SECONDS: asks the service for more than it has: idle connections, and requests without a pause."""
import os
import socket
import sys
import time

path, seconds = sys.argv[1], float(sys.argv[2])
HELLO = bytes([1, 0, 0, 0])
idle, asked, until = [], 0, time.monotonic() + seconds
while time.monotonic() < until:
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.setblocking(False)
    try:
        s.connect(path)
        if len(idle) < 500:
            idle.append(s)
            continue
        s.send(HELLO)
        asked += 1
    except OSError:
        # Full: what is a moment's wait for an honest program is none for this one.
        pass
    s.close()
print("asked", asked, flush=True)
