"""A name server that is asked by TCP only (RFC 1035, RFC 7766).

Arguments: the address to listen at, then NAME=ADDRESS for every name it knows.
"""

import socket
import struct
import sys
import threading


def read(stream, count):
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def answer(query, known):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    asked = struct.unpack("!H", query[at + 1:at + 3])[0]
    question = query[12:at + 5]
    name = ".".join(labels).lower()
    print("asked for", name, asked, flush=True)
    address = known.get(name)
    records = b""
    if address and asked == 1:
        records = struct.pack("!HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(address)
    flags = 0x8180 if address else 0x8183
    return query[:2] + struct.pack("!HHHHH", flags, 1, 1 if records else 0, 0, 0) + question + records


def serve(stream, known):
    with stream:
        try:
            while True:
                query = read(stream, struct.unpack("!H", read(stream, 2))[0])
                said = answer(query, known)
                stream.sendall(struct.pack("!H", len(said)) + said)
        except (EOFError, OSError):
            pass


def main():
    known = dict(word.split("=") for word in sys.argv[2:])
    with socket.create_server((sys.argv[1], 53)) as server:
        while True:
            threading.Thread(target=serve, args=(server.accept()[0], known), daemon=True).start()


main()
