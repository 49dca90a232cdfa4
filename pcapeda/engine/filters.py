"""What a person asked to see, by filter and by port, without what sending causes; the rest is counted."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

from pcapeda.capture.bpf import Filter
from pcapeda.model import Datagram, Frame, SkipReason
from pcapeda.report import Report

_PORT_IN_FILTER = re.compile(r"\bport(range)?\b|\b(udp|tcp)\s*\[")
_FRAGMENTS_IN_FILTER = re.compile(r"\b(ip|ip6|ether)\s*\[")

PORTS = "other ports"
"""Why datagrams are left out that have none of the ports asked for."""

OWN = "own traffic"
"""Why datagrams are left out that sending caused."""


def selected(frames: Sequence[Frame], chosen: Filter, report: Report) -> list[Frame]:
    """The frames that the filter selects. Raises `BadFilter` where libpcap cannot use it for their link type."""
    kept = []
    for frame in frames:
        if chosen.matches(frame):
            kept.append(frame)
        else:
            report.frames += 1
            report.bytes_read += len(frame.data)
            report.skips[SkipReason.NOT_SELECTED, "filter"] += 1
    return kept


def with_ports(found: list[Datagram], ports: frozenset[int], unselected: Counter[str]) -> list[Datagram]:
    """The datagrams from or to one of these ports, or all if there are none."""
    if not ports:
        return found
    kept = [one for one in found if one.destination_port in ports or one.source_port in ports]
    return _counted(kept, found, PORTS, unselected)


def without_own(found: list[Datagram], ours: Callable[[Datagram], bool], unselected: Counter[str]) -> list[Datagram]:
    """The datagrams that sending has not caused."""
    return _counted([one for one in found if not ours(one)], found, OWN, unselected)


def _counted(kept: list[Datagram], found: list[Datagram], reason: str, unselected: Counter[str]) -> list[Datagram]:
    if len(kept) < len(found):
        unselected[reason] += len(found) - len(kept)
    return kept


def lost_fragments(expression: str | None, report: Report) -> str | None:
    """What to say where fragments waited in vain for others that a port in the filter left out, if so."""
    waited = report.held + report.expired.total()
    if expression is None or not waited or not _PORT_IN_FILTER.search(expression):
        return None
    if _FRAGMENTS_IN_FILTER.search(expression):
        return None  # it selects by the bytes of IP headers already
    return (
        f"{waited:,} of {report.fragments:,} fragments were left alone: a port in --filter selects the first fragment "
        "of a datagram only, the others have no ports; --port N selects whole datagrams (or add to the filter: "
        "or ip[6:2] & 0x3fff != 0)"
    )
