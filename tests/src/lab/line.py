"""One direction of a line: frames that come in at one interface leave at another, later.

Arguments: interface in, interface out, delay in seconds, bits per second (0: no bound), bytes that may wait (0: no bound).

The kernel's own delay (netem) is missing where laboratories run. Frames keep the header that says what the sender left to
the network card, so that large segments pass as one frame and cost little.
"""

import select
import socket
import sys
import time
from collections import deque

SOL_PACKET = 263
PACKET_VNET_HDR = 15
PACKET_IGNORE_OUTGOING = 23
ETH_P_ALL = 3
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33
KERNEL_BUFFER = 128 << 20
LARGEST = 70_000
VNET_HDR = 10
AT_ONCE = 64


def packets(interface, protocol):
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    opened.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, KERNEL_BUFFER)
    opened.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, KERNEL_BUFFER)
    opened.bind((interface, protocol))
    return opened


def main():
    receiver = packets(sys.argv[1], ETH_P_ALL)
    # Protocol 0: nothing is received by this one.
    sender = packets(sys.argv[2], 0)
    delay, bits, most = float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
    seconds_per_byte = 8 / bits if bits else 0.0
    on_the_way = deque()
    # When the last frame has gone onto the line.
    busy_until = 0.0
    receiver.setblocking(False)
    while True:
        now = time.monotonic()
        while on_the_way and on_the_way[0][0] <= now:
            try:
                sender.send(on_the_way.popleft()[1])
            except OSError:
                # The other end is down, or has no room: lost, as on any line.
                pass
        wait = max(0.0, on_the_way[0][0] - now) if on_the_way else None
        if not select.select([receiver], [], [], wait)[0]:
            continue
        for _ in range(AT_ONCE):
            try:
                frame = receiver.recv(LARGEST)
            except BlockingIOError:
                break
            except OSError:
                # The interface is down for now.
                time.sleep(0.01)
                break
            now = time.monotonic()
            begins = max(now, busy_until)
            size = len(frame) - VNET_HDR
            if bits and most and (begins - now) / seconds_per_byte + size > most:
                continue
            busy_until = begins + size * seconds_per_byte
            on_the_way.append((busy_until + delay, frame))


main()
