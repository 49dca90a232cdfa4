"""The classic capture file: a header, then packet records. https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-06.html

Beside the standard format there are relatives. Some have a magic number of their own: nanoseconds, Kuznetzov's
modified format, Ixia's lcap. Others must be guessed from their records, because they use a magic number that is
taken: two more patches of Kuznetzov's, Nokia's appliances, AIX. Which ones there are, and what tells them apart, is
Wireshark's experience (wiretap/libpcap.c); whatever it reads is read here, in the same way.
"""

import struct
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

from pcapeda.capture.stream import BLOCK_FRAMES, Note, Stream, cut
from pcapeda.errors import BadCapture
from pcapeda.model import Damage, Frame

LARGEST_PACKET = 262_144
"""More captured bytes than this in one record mean damage, as in libpcap and Wireshark (MAXIMUM_SNAPLEN)."""

LARGER_PACKETS = {231: 128 << 20, 249: 128 << 20, 279: 32 << 20}
"""Link types whose 'packets' may be longer: D-Bus, USBPcap, EBHSCR."""


def largest_packet(linktype: int) -> int:
    """The most bytes that one packet of a link type can have been captured with."""
    return LARGER_PACKETS.get(linktype, LARGEST_PACKET)


RECORDS_TO_GUESS = 3
ENOUGH_TO_GUESS = RECORDS_TO_GUESS * (LARGEST_PACKET + 32)
"""How many records, and so how many bytes, decide between formats that share a magic number."""


class _Kind(NamedTuple):
    """One of the formats: bytes between a record's four numbers and its data, and nanoseconds per unit of fraction."""

    extra: int
    unit_ns: int
    oddities: str = ""
    """Which of the extra bytes can tell that the guess is wrong: 'modified', 'nokia' or nothing."""


_MICRO, _NANO = _Kind(0, 1000), _Kind(0, 1)
_SS990417 = _SS991029 = _Kind(8, 1000, "modified")
_SS990915 = _Kind(12, 1000, "modified")
_NOKIA = _Kind(4, 1000, "nokia")

_IXIA = (0x1C0001AC, 0x1C0001AB)
_KINDS: dict[int, tuple[_Kind, ...]] = {
    0xA1B2C3D4: (_MICRO, _SS990417, _NOKIA),
    0xA1B23C4D: (_NANO,),
    0xA1B2CD34: (_SS991029, _SS990915),
    0x1C0001AC: (_NANO,),
    0x1C0001AB: (_MICRO,),
}
"""By magic number, the formats that use it; the likeliest first."""

MAGICS = {magic.to_bytes(4, order): (magic, order) for magic in _KINDS for order in ("little", "big")}
"""The first four bytes of a file, with the magic number and the byte order they tell."""

_AIX_LINKTYPES = {6: 1, 9: 6, 15: 10, 24: 0}
"""AIX writes interface types (RFC 1573) where a LINKTYPE_ belongs: Ethernet, token ring, FDDI, loopback."""

_FDDI = 10
AIX_FDDI_PADDING = 3
"""Bytes that AIX puts in front of each FDDI frame."""


class Layout(NamedTuple):
    """How the records of a file are laid out: what its header says, and what was guessed."""

    linktype: int
    order: str
    extra: int
    unit_ns: int
    lengths: str
    """The order of the two lengths: 'straight', 'swapped' or 'maybe swapped'."""
    padding: int
    """Bytes in front of each packet that are not its own."""
    largest: int

    @property
    def header(self) -> int:
        """Bytes of a record before its packet."""
        return 16 + self.extra

    def frames(self, window: bytes, at: int, number: int, most: int) -> tuple[list[Frame], int, int, int, int]:
        """Up to `most` records from `window[at]` on, of which the first one has the number after `number`.

        Gives them, where the next one starts, and if that one is not whole, how many bytes it needs and how many of
        packet it claims: of more than `largest` it is no record. Last, the number of a record whose fraction is a
        second or more, or 0.
        """
        linktype, order, extra, unit_ns, lengths, padding, largest = self
        unpack = struct.Struct(f"{order}IIII{extra}x").unpack_from
        header, straight, end = 16 + extra, lengths == "straight", len(window)
        second, moved = 1_000_000_000 // unit_ns, 0
        found: list[Frame] = []
        add, new = found.append, tuple.__new__  # what Frame(...) does, without the call in between
        for ordinal in range(number + 1, number + 1 + most):
            start = at + header
            if start > end:
                return found, at, header, 0, moved
            seconds, fraction, captured, wire = unpack(window, at)
            if not straight:
                if lengths == "swapped" or captured > wire:
                    captured, wire = wire, captured
                trim = min(padding, captured, wire)
                start, captured, wire = start + trim, captured - trim, wire - trim
            stop = start + captured
            if stop > end or captured > largest:
                return found, at, stop - at, captured, moved
            if fraction >= second:
                moved = moved or ordinal
            # A fraction of a second or more is carried, and seconds have no sign: that is what the bytes say.
            time_ns = seconds * 1_000_000_000 + fraction * unit_ns
            add(new(Frame, (time_ns, linktype, window[start:stop], wire, None, ordinal, None)))
            at = stop
        return found, at, 0, 0, moved

    def scan(self, window: bytes, at: int, number: int, most: int) -> tuple["RecordRange | None", int, int, int, int]:
        """The same records as one range of bytes, for others to make frames of; a quarter of the work.

        Of the fractions only that of the first record is looked at.
        """
        if self.lengths != "straight":  # of these there are few, and long ones nowhere
            frames, after, needed, claimed, moved = self.frames(window, at, number, most)
            found = RecordRange(number, len(frames), memoryview(window)[at:after], self) if frames else None
            return found, after, needed, claimed, moved
        length_of = struct.Struct(f"{self.order}8xI").unpack_from
        first, last, header, largest, end = at, at, self.header, self.largest, len(window)
        records = 0
        try:
            # Whether a record is whole shows at the next one: at the end of the window at the latest.
            while records < most:
                (captured,) = length_of(window, at)
                if captured > largest:
                    break
                last = at
                at += header + captured
                records += 1
        except struct.error:
            pass
        if at > end:
            records, at = records - 1, last
        needed = claimed = 0
        if records < most:
            needed = header
            if at + header <= end:
                (claimed,) = length_of(window, at)
                needed += claimed
        found = RecordRange(number, records, memoryview(window)[first:at], self) if records else None
        moved = 0
        if records and struct.unpack_from(f"{self.order}4xI", window, first)[0] * self.unit_ns >= 1_000_000_000:
            moved = number + 1
        return found, at, needed, claimed, moved


class RecordRange(NamedTuple):
    """Whole records as they are in the file, `records` of them, after the first `number` of the file."""

    number: int
    records: int
    data: bytes | memoryview
    layout: Layout

    def blocks(self) -> Iterator[list[Frame]]:
        """The records as frames."""
        window, at = bytes(self.data), 0
        for number in range(self.number, self.number + self.records, BLOCK_FRAMES):
            most = min(BLOCK_FRAMES, self.number + self.records - number)
            frames, at, *_ = self.layout.frames(window, at, number, most)
            yield frames


def read(stream: Stream, name: str, note: Note) -> Iterator[list[Frame] | None]:
    """The packet records of a stream that starts with one of `MAGICS`, in blocks; None on each tick.

    Ends at the end of the stream, or at damage, which `note` gets once, after every whole record before it. A
    record has nothing to find the next one by, so damage is never passed. Raises `BadCapture` for a version that
    nothing reads.
    """
    layout = yield from _layout(stream, name, note)
    number, told = 0, False
    while layout is not None:
        start = stream.offset
        block, stream.at, needed, claimed, moved = layout.frames(stream.window, stream.at, number, BLOCK_FRAMES)
        number += len(block)
        if moved and not told:
            told = True
            note(_too_much(layout, moved, name, start))
        if block:
            yield block
        if needed and not (yield from _go_on(stream, layout, number, needed, claimed, name, note)):
            return


def _too_much(layout: Layout, number: int, name: str, offset: int) -> Damage:
    """What to say of a file with the fraction of a second or more, which the format does not have."""
    unit, others = ("microseconds", "nanoseconds") if layout.unit_ns == 1000 else ("nanoseconds", "something else")
    words = f"packet record {number:,}: the {unit} of its time are a second or more (written as {others}, or negative?)"
    return Damage(
        name, offset, f"{words}; such times are taken as they stand, and may be wrong by minutes", harmless=True
    )


def ranges(
    stream: Stream, name: str, note: Note, most: int, in_ranges: Callable[[], bool]
) -> Iterator[RecordRange | list[Frame] | None]:
    """The same records: in ranges of up to `most` whenever `in_ranges()`, which is asked each time; else in blocks."""
    layout = yield from _layout(stream, name, note)
    number, told = 0, False
    while layout is not None:
        if in_ranges():
            found, stream.at, needed, claimed, moved = layout.scan(stream.window, stream.at, number, most)
            block = None
            number += 0 if found is None else found.records
        else:
            found = None
            block, stream.at, needed, claimed, moved = layout.frames(stream.window, stream.at, number, BLOCK_FRAMES)
            number += len(block)
        if moved and not told:
            told = True
            note(_too_much(layout, moved, name, stream.offset))
        if found is not None:
            yield found
        if block:
            yield block
        if needed and not (yield from _go_on(stream, layout, number, needed, claimed, name, note)):
            return


def _go_on(
    stream: Stream, layout: Layout, number: int, needed: int, claimed: int, name: str, note: Note
) -> Generator[None, None, bool]:
    """Refill for a record that is not whole; false, and the damage was reported, where there is no way on."""
    part = f"packet record {number + 1:,}"
    if needed <= stream.left and claimed <= layout.largest:  # what was there was not taken, and never would be
        note(Damage(name, stream.offset, f"{part} cannot be read: no progress"))
        return False
    if claimed > layout.largest:
        claim = f"{part} claims {claimed:,} bytes, more than the {layout.largest:,} possible"
        note(Damage(name, stream.offset, claim))
        return False
    if (yield from stream.want(needed)):
        return True
    if stream.left:
        if stream.left < layout.header:
            part = f"the header of {part}"
        note(Damage(name, stream.offset, cut(stream, part, needed)))
    elif stream.trouble:
        note(Damage(name, stream.offset, stream.trouble))
    return False


def _layout(stream: Stream, name: str, note: Note) -> Generator[None, None, Layout | None]:
    """What the header at the stream's start says; None, and the damage was reported, if it is cut."""
    magic, byte_order = MAGICS[stream.window[stream.at : stream.at + 4]]
    order = "<" if byte_order == "little" else ">"
    header_size = 28 if magic in _IXIA else 24  # Ixia adds the size of all records
    if not (yield from stream.want(header_size)):
        note(Damage(name, stream.offset, cut(stream, "the file header", header_size)))
        return None
    major, minor, snaplen, link_field = struct.unpack_from(f"{order}4xHH8xII", stream.window, stream.at)
    if major < 2:
        raise BadCapture(f"{name}: a pcap file of version {major}.{minor}, which nothing reads any more")
    stream.at += header_size

    linktype = link_field & 0x03FF_FFFF  # above it there are the FCS length and a flag that says it is meant
    kinds = _KINDS[magic]
    padding = 0
    if (major, minor) < (2, 3) or major == 543:  # DG/UX called its version 543.0
        kinds = kinds[:1]
        if (major, minor) == (2, 2) and magic == 0xA1B2C3D4 and link_field in _AIX_LINKTYPES:
            linktype, kinds = _AIX_LINKTYPES[link_field], (_NANO,)
            padding = AIX_FDDI_PADDING if linktype == _FDDI else 0
        lengths = "swapped"
    else:
        lengths = "maybe swapped" if (major, minor) == (2, 3) else "straight"
    largest = largest_packet(linktype)
    kind = kinds[0]
    if len(kinds) > 1 and lengths == "straight":
        kind = yield from _guess(stream, kinds, order, largest, snaplen)
    return Layout(linktype, order, kind.extra, kind.unit_ns, lengths, padding, largest)


def _guess(
    stream: Stream, kinds: tuple[_Kind, ...], order: str, largest: int, snaplen: int
) -> Generator[None, None, _Kind]:
    """Which of the formats that share a magic number makes most sense of the first records; the earlier wins a draw.

    Of a live stream only what has arrived is looked at: waiting for a second packet would hold back the first.
    """
    if not stream.live:
        yield from stream.want(ENOUGH_TO_GUESS)
    scores = [_oddities(stream, kind, order, largest, snaplen) for kind in kinds]
    return kinds[scores.index(min(scores))]


def _oddities(stream: Stream, kind: _Kind, order: str, largest: int, snaplen: int) -> int:
    """How many things in the first records look wrong when they are read as `kind`."""
    window, at = stream.window, stream.at
    odd: int = 0
    unmarked = 0  # zeros where Nokia's marks belong, as editcap writes them, tell nothing: then all else must be right
    header = 16 + kind.extra
    for _ in range(RECORDS_TO_GUESS):
        if at + header > len(window):
            odd += at < len(window) and not stream.live
            return odd + (unmarked if odd else 0)
        _, fraction, captured, wire = struct.unpack_from(f"{order}IIII", window, at)
        odd += (fraction >= 1_000_000) + (captured > snaplen) + (wire > 128 << 20) + (captured > wire)
        if kind.oddities == "modified":
            interface, protocol, packet_type = struct.unpack_from(f"{order}IHB", window, at + 16)
            # An Ethernet type, one of Linux's numbers below them, or nothing; PACKET_HOST to PACKET_OUTGOING.
            known = protocol >= 0x0600 or protocol <= 0x17 or protocol in (0x60, 0x200, 0x400)
            odd += (interface > 10_000) + (not known) + (packet_type > 4)
        elif kind.oddities == "nokia":
            (stuff,) = struct.unpack_from(f"{order}I", window, at + 16)
            marked = stuff & 0x0FFF00F0 == 0x0FBF0000 and (
                stuff >> 28 in (0x9, 0xB)
                and stuff >> 12 & 0xF in (0xB, 0xD)
                and stuff >> 8 & 0xF in (0x6, 0x9)
                and stuff & 0xF in (1, 2)
            )
            unmarked = unmarked or (0 if stuff else RECORDS_TO_GUESS)
            odd += bool(stuff) and not marked
        if captured > largest:
            return odd + 1 + unmarked
        at += header + captured
        if at > len(window):
            odd += not stream.live
            return odd + (unmarked if odd else 0)
    return odd + (unmarked if odd else 0)
