"""garbage.py SOCKET: a hostile program on the control socket, for about ten seconds."""
import os
import random
import socket
import sys
import time

path = sys.argv[1]
random.seed(1)
idle, disconnected, until = [], 0, time.monotonic() + 10
while time.monotonic() < until:
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(5)
    s.connect(path)
    try:
        kind = random.randrange(4)
        if kind == 0 and len(idle) < 64:        # says nothing for a long time
            idle.append(s)
            continue
        if kind == 1:                           # bytes at random, now and then with descriptors
            ends = socket.socketpair()
            socket.send_fds(s, [os.urandom(random.randrange(1, 2000))],
                            [ends[0].fileno()] * random.randrange(0, 10))
            for end in ends:
                end.close()
        else:                                   # a plausible head, then noise
            s.send(bytes([random.randrange(16), 0, 0, 0]) + os.urandom(random.randrange(300)))
        while s.recv(65536):
            pass
        disconnected += 1
    except (ConnectionError, BrokenPipeError):
        disconnected += 1
    except socket.timeout:
        sys.exit("the service kept a garbage connection for five seconds")
    finally:
        if s not in idle:
            s.close()
print("disconnected", disconnected)
