"""Datagrams for tests: one plain example, and a strategy for all there may be."""

import ipaddress

from hypothesis import strategies as st

from pcapeda.model import Datagram

EXAMPLE = Datagram(
    time_ns=1_775_861_044_123_456_789,
    source="198.51.100.7",
    source_port=40000,
    destination="192.0.2.1",
    destination_port=514,
    payload=b"<134>Oct 11 22:14:15 router link up",
    length=43,
    checksum=0x1C46,
    checksum_status="good",
    ip_version=4,
    via=("eth", "ip4"),
    whole=True,
    number=17,
    interface=None,
)

_v4 = st.integers(0, 2**32 - 1).map(lambda number: (4, str(ipaddress.IPv4Address(number))))
_v6 = st.integers(0, 2**128 - 1).map(lambda number: (6, str(ipaddress.IPv6Address(number))))
_payloads = st.binary(max_size=200) | st.text(max_size=60).map(str.encode)
_vias = st.lists(st.sampled_from(["eth", "vlan:10", "mpls:3", "udp:4789", "vxlan:42", "ip4", "ip6"]), min_size=2)


@st.composite
def datagrams(draw: st.DrawFn) -> Datagram:
    """Any datagram the decoders may give."""
    version, source = draw(_v4 | _v6)
    _, destination = draw(_v4 if version == 4 else _v6)
    payload = draw(_payloads)
    return Datagram(
        time_ns=draw(st.none() | st.integers(-(10**19), 10**21)),
        source=source,
        source_port=draw(st.integers(0, 65535)),
        destination=destination,
        destination_port=draw(st.integers(0, 65535)),
        payload=payload,
        length=len(payload) + 8,
        checksum=draw(st.integers(0, 65535)),
        checksum_status=draw(st.sampled_from(["good", "bad", "absent", "unverified"])),
        ip_version=version,
        via=tuple(draw(_vias)),
        whole=draw(st.booleans()),
        number=draw(st.integers(1, 10**9)),
        interface=draw(st.none() | st.text(max_size=10)),
    )
