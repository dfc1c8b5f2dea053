"""A name server with two names, for the domain of a network: name_server.py ADDRESS"""

import socket
import sys

NAMES = {b"\x02db\x04corp\x07example\x00": bytes([192, 0, 2, 7])}

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
print("listening", flush=True)
while True:
    question, sender = server.recvfrom(1500)
    end = question.index(b"\x00", 12) + 1
    name, kind = question[12:end].lower(), question[end : end + 2]
    known = name in NAMES
    answer = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04" + NAMES.get(name, b"")
    has_one = known and kind == b"\x00\x01"
    flags = b"\x81\x80" if known else b"\x81\x83"
    counts = b"\x00\x01" + (b"\x00\x01" if has_one else b"\x00\x00") + bytes(4)
    server.sendto(
        question[:2] + flags + counts + question[12 : end + 4] + (answer if has_one else b""),
        sender,
    )
