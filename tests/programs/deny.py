"""Runs a program where something that zt-launch might use is not there.

    deny.py looks PROGRAM…          under a seccomp filter that refuses what a usual container's refuses
    deny.py dumpable HOST PORT      as a process that nobody may look into; connects, and says what came of it
    deny.py user HOST PORT          the same as another user
    deny.py ring                    asks for a ring of io_uring, and says what came of it
"""
import ctypes
import os
import socket
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
# ptrace, process_vm_readv, process_vm_writev, kcmp, pidfd_getfd
REFUSED = {"x86_64": (101, 310, 311, 312, 438), "aarch64": (117, 270, 271, 272, 438)}[os.uname().machine]
PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 4, 38, 22

if sys.argv[1] == "looks":
    load, equal, end = 0x20, 0x15, 0x06
    code = [(load, 0, 0, 0)]
    code += [(equal, len(REFUSED) - at, 0, number) for at, number in enumerate(REFUSED)]
    code += [(end, 0, 0, 0x7FFF0000), (end, 0, 0, 0x00050001)]
    buffer = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code), ctypes.addressof(buffer)))
    LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if LIBC.prctl(PR_SET_SECCOMP, 2, program) != 0:
        sys.exit("seccomp: errno %d" % ctypes.get_errno())
    os.execvp(sys.argv[2], sys.argv[2:])

if sys.argv[1] == "ring":
    # io_uring_setup
    LIBC.syscall(425, 8, ctypes.create_string_buffer(256))
    sys.exit(print(ctypes.get_errno()))

if sys.argv[1] == "user":
    os.setresuid(65534, 65534, 65534)
else:
    LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
s = socket.socket()
s.settimeout(2)
print(s.connect_ex((sys.argv[2], int(sys.argv[3]))))
