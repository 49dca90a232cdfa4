"""The loop of many an article: Scapy dissects, and each packet is one put_events.

python -m benchmarks.peers.article_loop URL CAPTURE
python -m benchmarks.peers.article_loop URL -i INTERFACE
"""

import json
import sys
from base64 import b64encode

import boto3
from scapy.all import UDP, Packet, PcapReader, sniff


def main(url: str, *where: str) -> None:
    client = boto3.client("events", endpoint_url=url)

    def put(packet: Packet) -> None:
        if UDP in packet:
            payload = b64encode(bytes(packet[UDP].payload)).decode()
            detail = {"Destination": {"Port": packet[UDP].dport}, "Payload": payload}
            entry = {"Source": "udp.raw", "DetailType": "UdpPacket", "Detail": json.dumps(detail)}
            client.put_events(Entries=[entry])

    if where[0] == "-i":
        sniff(iface=where[1], filter="udp", store=False, prn=put)
    else:
        for packet in PcapReader(where[0]):
            put(packet)


if __name__ == "__main__":
    main(*sys.argv[1:])
