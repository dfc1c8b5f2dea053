"""Multicast DNS by hand, on the kernel's own network.

mdns.py ask OWN-ADDRESS NAME          asks all, prints the address that is answered
mdns.py legacy OWN-ADDRESS NAME       the same from another port, as a plain resolver does
mdns.py answer OWN-ADDRESS NAME       answers for a name with the own address
"""

import socket
import struct
import sys
import time

GROUP, PORT = "224.0.0.251", 5353


def wire(name):
    labels = name.rstrip(".").split(".")
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def question(name):
    return bytes(4) + b"\0\1" + bytes(6) + wire(name) + b"\0\1\0\1"


def answer(name, address):
    record = wire(name) + b"\0\1\x80\1\0\0\0\x78\0\4" + socket.inet_aton(address)
    return b"\0\0\x84\0\0\0\0\1\0\0\0\0" + record


def address_in(message, name):
    """The address behind the name, wherever it stands: our answers have no pointers."""
    if len(message) < 12 or not message[2] & 0x80:
        return None
    at = message.lower().find(wire(name).lower() + b"\0\1", 12)
    while at >= 0:
        data = message[at + len(wire(name)) :]
        if data[8:10] == b"\0\4":
            return socket.inet_ntoa(data[10:14])
        at = message.lower().find(wire(name).lower() + b"\0\1", at + 1)
    return None


mode, own, name = sys.argv[1:]
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
sock.bind(("", 0 if mode == "legacy" else PORT))
sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
membership = socket.inet_aton(GROUP) + socket.inet_aton(own)
sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
if mode == "answer":
    print("listening", flush=True)
    while True:
        message, sender = sock.recvfrom(9000)
        if not message[2] & 0x80 and wire(name).lower() in message.lower():
            sock.sendto(answer(name, own), (GROUP, PORT))
else:
    end = time.monotonic() + 30
    sock.settimeout(1)
    found = None
    while not found and time.monotonic() < end:
        sock.sendto(question(name), (GROUP, PORT))
        try:
            while not found:
                found = address_in(sock.recvfrom(9000)[0], name)
        except TimeoutError:
            pass
    print(found)
