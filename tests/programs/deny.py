"""Runs a program where something that zt-launch needs is not there.

    deny.py pidfd_getfd PROGRAM…    under a seccomp filter that refuses it, as a container's may
    deny.py dumpable HOST PORT      as a process that nobody may look into; connects, and says what came of it
"""
import ctypes
import os
import socket
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
PIDFD_GETFD = 438
PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 4, 38, 22

if sys.argv[1] == "pidfd_getfd":
    load, equal, end = 0x20, 0x15, 0x06
    code = b"".join(
        struct.pack("HBBI", *instruction)
        for instruction in ((load, 0, 0, 0), (equal, 0, 1, PIDFD_GETFD), (end, 0, 0, 0x00050001), (end, 0, 0, 0x7FFF0000))
    )
    buffer = ctypes.create_string_buffer(code)
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 4, ctypes.addressof(buffer)))
    LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if LIBC.prctl(PR_SET_SECCOMP, 2, program) != 0:
        sys.exit("seccomp: errno %d" % ctypes.get_errno())
    os.execvp(sys.argv[2], sys.argv[2:])

LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
s = socket.socket()
s.settimeout(2)
print(s.connect_ex((sys.argv[2], int(sys.argv[3]))))
