"""Says what passes at an interface, each kind of packet once.

Argument: the interface. A line for every kind: `out` or `in`, the protocol, source, destination, and of TCP which of S(YN), A(CK), F(IN)
and R(ST) are set. `listening` comes first; `lost` if the kernel had no room for some.
"""

import socket
import struct
import sys

SOL_PACKET = 263
PACKET_STATISTICS = 6
PACKET_OUTGOING = 4
ETH_P_ALL = 3
SO_RCVBUFFORCE = 33
KERNEL_BUFFER = 128 << 20
HEADERS = 128
IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
ICMP, IGMP, TCP, UDP, ICMP6, HOP_BY_HOP = 1, 2, 6, 17, 58, 0
NAMES = {ICMP: "icmp", IGMP: "igmp", TCP: "tcp", UDP: "udp", ICMP6: "icmp6"}


def ends(family, source, destination, protocol, rest):
    source, destination = socket.inet_ntop(family, source), socket.inet_ntop(family, destination)
    name = NAMES.get(protocol, f"ip{protocol}")
    if protocol in (TCP, UDP) and len(rest) >= 4:
        ports = struct.unpack("!HH", rest[:4])
        source, destination = f"{source} {ports[0]}", f"{destination} {ports[1]}"
    else:
        source, destination = f"{source} 0", f"{destination} 0"
    if protocol == TCP and len(rest) >= 14:
        flags = "".join(letter for letter, bit in (("S", 2), ("A", 16), ("F", 1), ("R", 4)) if rest[13] & bit)
        return f"{name} {source} {destination} {flags or '-'}"
    if protocol in (ICMP, ICMP6) and rest:
        return f"{name} {source} {destination} {rest[0]}"
    return f"{name} {source} {destination} -"


def words(kind, packet):
    if kind == IPV4 and len(packet) >= 20:
        rest = packet[(packet[0] & 15) * 4:]
        return ends(socket.AF_INET, packet[12:16], packet[16:20], packet[9], rest)
    if kind == IPV6 and len(packet) >= 40:
        protocol, rest = packet[6], packet[40:]
        if protocol == HOP_BY_HOP and len(rest) >= 8:
            protocol, rest = rest[0], rest[(rest[1] + 1) * 8:]
        return ends(socket.AF_INET6, packet[8:24], packet[24:40], protocol, rest)
    return "arp - 0 - 0 -" if kind == ARP else f"eth{kind:04x} - 0 - 0 -"


def main():
    # Protocol 0: nothing is received before the interface is chosen.
    receiver = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, KERNEL_BUFFER)
    receiver.bind((sys.argv[1], ETH_P_ALL))
    receiver.settimeout(0.2)
    print("listening", flush=True)
    seen = set()
    while True:
        try:
            packet, (_, kind, direction, _, _) = receiver.recvfrom(HEADERS)
        except TimeoutError:
            if struct.unpack("II", receiver.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]:
                print("lost", flush=True)
            continue
        except OSError:
            # The interface is down for now.
            continue
        line = ("out " if direction == PACKET_OUTGOING else "in ") + words(kind, packet)
        if line not in seen:
            seen.add(line)
            print(line, flush=True)


main()
