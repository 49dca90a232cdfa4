"""The pcapng capture file: blocks in sections. https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html

Every block tells its length in front and behind. So damage inside a block can be passed: reading goes on with the
next one. When the two lengths differ, the first one is followed only if a block seems to start where it leads.
"""

import math
import struct
from collections.abc import Generator, Iterator
from typing import NamedTuple

from pcapeda.capture.pcap import LARGER_PACKETS, largest_packet
from pcapeda.capture.stream import BLOCK_FRAMES, Note, Stream, cut
from pcapeda.errors import BadCapture
from pcapeda.model import Damage, Frame

MAGIC = b"\x0a\x0d\x0d\x0a"
"""A Section Header Block: the same in both byte orders."""

SECTION, INTERFACE, PACKET, SIMPLE, ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
"""The block types that are read: a header, an interface, and packets in three layouts (`PACKET` is obsolete)."""

_NAMES = {
    SECTION: "section header",
    INTERFACE: "interface description",
    PACKET: "packet block",
    SIMPLE: "simple packet block",
    ENHANCED: "enhanced packet block",
}
_SMALLEST = {SECTION: 28, INTERFACE: 20, PACKET: 32, SIMPLE: 16, ENHANCED: 32}
"""Bytes of a block that has no data and no options."""

LARGEST_BLOCK = (128 << 20) + (128 << 10)
"""More than this in any block means damage, as in Wireshark."""

LARGEST_KEPT = 16 << 20
"""More than this in a block that is read is passed over, unless a link type of the section has packets that large."""

MOST_INTERFACES = 65_536
"""Interfaces of one section that are kept: a bound on memory, far beyond any real capture."""

TICK_BLOCKS = 4096
"""Blocks without a packet in a row, after which whoever reads is let look whether it is to go on."""

MOST_NOTES = 10
"""Damaged blocks of one file that are reported one by one; of the rest, the number."""

IF_NAME, IF_TSRESOL, IF_TSOFFSET = 2, 9, 14
LONGEST_NAME = 256


class _Interface(NamedTuple):
    """What packets need to know of their interface. A time is `ticks * multiply // divide + add_ns`.

    `multiply` is 0 where the options are damaged, so that any time would be a guess; `largest` is -1 where the
    description itself cannot be read.
    """

    linktype: int
    snaplen: int
    name: str | None
    multiply: int
    divide: int
    add_ns: int
    largest: int


_UNREADABLE = _Interface(-1, 0, None, 0, 1, 0, -1)


class _Fault(NamedTuple):
    """What is wrong with a block."""

    what: str


class _Section:
    """What the blocks of one section mean: its byte order and its interfaces."""

    def __init__(self, order: str) -> None:
        self.interfaces: list[_Interface] = []
        self.largest_kept = LARGEST_KEPT
        self.header = struct.Struct(f"{order}II").unpack_from
        self.number = struct.Struct(f"{order}I").unpack_from
        self.enhanced = struct.Struct(f"{order}IIIIIII").unpack_from
        self._version = struct.Struct(f"{order}HH").unpack_from
        self._obsolete = struct.Struct(f"{order}8xHHIIII").unpack_from
        self._interface = struct.Struct(f"{order}8xHHI").unpack_from
        self._option = struct.Struct(f"{order}HH").unpack_from
        self._seconds = struct.Struct(f"{order}q").unpack

    def version_fault(self, block: bytes) -> str:
        """Why this section cannot be read, if it cannot."""
        if len(block) < _SMALLEST[SECTION]:
            return f"a section header of {len(block)} bytes, less than it can have"
        major, minor = self._version(block, 12)
        if major != 1 or minor not in (0, 2):
            return f"a pcapng section of version {major}.{minor}, which nothing reads"
        return ""

    def describe(self, block: bytes) -> _Fault | None:
        """Take an Interface Description Block. Returns what is wrong with it, if anything."""
        if len(self.interfaces) >= MOST_INTERFACES:
            return _Fault(f"more than {MOST_INTERFACES:,} interfaces in one section")
        if len(block) < _SMALLEST[INTERFACE]:
            self.passed_over(INTERFACE)
            return _Fault(f"an interface description of {len(block)} bytes, less than it can have")
        linktype, _, snaplen = self._interface(block, 0)
        units, add_s, name, fault = 1_000_000, 0, None, None
        at, end = 16, len(block) - 4
        while at + 4 <= end:
            code, length = self._option(block, at)
            if code == 0:
                break
            value = block[at + 4 : at + 4 + length]
            wanted = {IF_TSRESOL: 1, IF_TSOFFSET: 8}.get(code, length)
            if at + 4 + length > end or length != wanted:
                units = 0
                fault = _Fault(f"option {code} of interface {len(self.interfaces)} is damaged: its times are unknown")
                break
            if code == IF_NAME:
                name = value[:LONGEST_NAME].rstrip(b"\0").decode("utf-8", "replace") or None
            elif code == IF_TSRESOL:
                units = (2 if value[0] & 0x80 else 10) ** (value[0] & 0x7F)
            elif code == IF_TSOFFSET:
                (add_s,) = self._seconds(value)
            at += 4 + length + (-length & 3)
        shared = math.gcd(units, 1_000_000_000)
        multiply, divide = (1_000_000_000 // shared, units // shared) if units else (0, 1)
        largest = largest_packet(linktype)
        self.interfaces.append(_Interface(linktype, snaplen, name, multiply, divide, add_s * 1_000_000_000, largest))
        if linktype in LARGER_PACKETS:
            self.largest_kept = LARGEST_BLOCK
        return fault

    def passed_over(self, kind: int) -> None:
        """Take note of a block that was not looked at: the interfaces after a lost one must keep their numbers."""
        if kind == INTERFACE and len(self.interfaces) < MOST_INTERFACES:
            self.interfaces.append(_UNREADABLE)

    def packet(self, kind: int, block: bytes, number: int) -> Frame | _Fault:
        """The packet in a block of one of the three kinds."""
        label = _NAMES[kind]
        if len(block) < _SMALLEST[kind]:
            return _Fault(f"{label} of {len(block)} bytes, less than it can have")
        start, on, ticks = 28, 0, None
        if kind == SIMPLE:
            start = 12
            (wire,) = self.number(block, 8)
            captured = wire
        else:
            if kind == ENHANCED:
                _, _, on, high, low, captured, wire = self.enhanced(block, 0)
            else:
                on, _, high, low, captured, wire = self._obsolete(block, 0)
            ticks = high << 32 | low
        if on >= len(self.interfaces):
            return _Fault(f"{label} of interface {on:,}, but only {len(self.interfaces):,} were described before it")
        interface = self.interfaces[on]
        if interface.largest < 0:
            return _Fault(f"{label} of interface {on:,}, whose description is damaged")
        if kind == SIMPLE and interface.snaplen:
            captured = min(captured, interface.snaplen)
        if captured > interface.largest:
            return _Fault(f"{label} claims {captured:,} packet bytes, more than the {interface.largest:,} possible")
        room = len(block) - start - 4
        if captured > room:
            return _Fault(f"{label} claims {captured:,} packet bytes, but holds {room:,} at most")
        if kind == SIMPLE and room - captured > 3:  # nothing but padding may follow: it has no options
            return _Fault(f"{label} of {captured:,} packet bytes, by its length and the snap length, holds {room:,}")
        time_ns = None
        if ticks is not None and interface.multiply:
            time_ns = ticks * interface.multiply // interface.divide + interface.add_ns
        return Frame(time_ns, interface.linktype, block[start : start + captured], wire, interface.name, number)


class _Damages:
    """Tells of damage, and keeps the number of lines about one file within bounds."""

    def __init__(self, name: str, note: Note) -> None:
        self._name, self._note = name, note
        self._noted = 0
        self._more_at = 0

    def passed(self, offset: int, what: str) -> None:
        """Damage that reading goes on after."""
        self._noted += 1
        if self._noted <= MOST_NOTES:
            self._note(Damage(self._name, offset, what, passed=True))
        elif self._noted == MOST_NOTES + 1:
            self._more_at = offset

    def final(self, offset: int, what: str) -> None:
        """Damage that ends the reading."""
        self._note(Damage(self._name, offset, what))

    def finish(self) -> None:
        """Report how many were not reported one by one."""
        if self._noted > MOST_NOTES:
            more = f"and {self._noted - MOST_NOTES:,} more damaged blocks from here on"
            self._note(Damage(self._name, self._more_at, more, passed=True))


def read(stream: Stream, name: str, note: Note) -> Iterator[list[Frame] | None]:
    """The packet records of a stream that starts with `MAGIC`, in blocks; None on each tick.

    Ends at the end of the stream, or at damage that cannot be passed; `note` is called with each damage, after every
    whole record before it. Raises `BadCapture` when the first section is none, or of a version that nothing reads.
    """
    damages = _Damages(name, note)
    try:
        yield from _Reader(stream, name, damages).read()
    except _Broken as broken:
        damages.final(broken.offset, broken.what)
    finally:
        damages.finish()


class _Broken(Exception):
    """Damage that ends the reading."""

    def __init__(self, offset: int, what: str) -> None:
        self.offset, self.what = offset, what


class _Reader:
    """Reads the blocks of one stream, section after section. Its generators yield None on each tick."""

    def __init__(self, stream: Stream, name: str, damages: _Damages) -> None:
        self._stream, self._name, self._damages = stream, name, damages
        self._section: _Section | None = None
        self._sections = 0
        self._number = 0
        """Packets until here."""

    def read(self) -> Iterator[list[Frame] | None]:
        """Everything. Raises `_Broken` after every whole record before the damage, and `BadCapture`."""
        others = 0
        while True:
            if self._section is not None:
                frames = self._enhanced(self._section)
                if frames:
                    self._number += len(frames)
                    yield frames
                    if len(frames) == BLOCK_FRAMES:
                        continue
            # One block of any kind, looked at from all sides.
            others += 1
            if others % TICK_BLOCKS == 0:
                yield None
            if not (yield from self._stream.want(12)):
                break
            packet = yield from self._block()
            if packet is not None:
                self._number += 1
                yield [packet]
        if self._stream.left:
            raise _Broken(self._stream.offset, cut(self._stream, "a block header", 12))
        if self._stream.trouble:
            raise _Broken(self._stream.offset, self._stream.trouble)

    def _enhanced(self, section: _Section) -> list[Frame]:
        """Sound Enhanced Packet Blocks in a row, which is nearly all there is, up to what is not plainly one."""
        stream = self._stream
        window, at, end = stream.window, stream.at, len(stream.window)
        enhanced, last_length, interfaces = section.enhanced, section.number, section.interfaces
        frames: list[Frame] = []
        add = frames.append
        new = tuple.__new__  # what Frame(...) does, without the call in between
        for ordinal in range(self._number + 1, self._number + 1 + BLOCK_FRAMES):
            if at + 32 > end:
                break
            kind, length, on, high, low, captured, wire = enhanced(window, at)
            stop = at + length
            if (
                kind != ENHANCED
                or length & 3
                or captured + 32 > length
                or stop > end
                or on >= len(interfaces)
                or last_length(window, stop - 4)[0] != length
            ):
                break
            linktype, _, label, multiply, divide, add_ns, largest = interfaces[on]
            if captured > largest:
                break
            time_ns = (high << 32 | low) * multiply // divide + add_ns if multiply else None
            start = at + 28
            add(new(Frame, (time_ns, linktype, window[start : start + captured], wire, label, ordinal, None)))
            at = stop
        stream.at = at
        return frames

    def _block(self) -> Generator[None, None, Frame | None]:
        """The next block, whose first 12 bytes are there: its packet, if it has one."""
        stream = self._stream
        offset = stream.offset
        first = stream.window[stream.at : stream.at + 12]
        if first.startswith(MAGIC):
            self._section = self._open(offset, first[8:])
        section = self._section
        assert section is not None, "a stream that is read here starts with MAGIC"
        kind, length = section.header(first, 0)
        label = _NAMES.get(kind, f"block of type 0x{kind:08x}")
        size = length + 3 & ~3  # some writers leave the padding out of the length
        if length < 12 or size > LARGEST_BLOCK:
            bound = "less than it can have" if length < 12 else f"more than the {LARGEST_BLOCK:,} possible"
            raise _Broken(offset, f"{label} claims a length of {length:,} bytes, {bound}")
        wanted = kind in _NAMES and size <= section.largest_kept
        block, last = yield from self._content(offset, label, size, section, wanted=wanted)
        if last != length:
            fault = f"{label} tells two lengths: {length:,} in front, {last:,} behind"
            if not (yield from _block_follows(stream, section)):
                raise _Broken(offset, fault)
            self._damages.passed(offset, fault)
            section.passed_over(kind)
            return None
        if kind in _NAMES and not wanted:
            self._damages.passed(offset, f"{label} of {length:,} bytes, more than it can have")
            section.passed_over(kind)
        return self._take(offset, kind, block, section) if wanted else None

    def _open(self, offset: int, order_mark: bytes) -> _Section:
        order = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}.get(order_mark)
        if order is None:
            fault = f"a section header with the byte-order mark 0x{order_mark.hex()}, which is none"
            if self._section is None:
                raise BadCapture(f"{self._name}: starts like pcapng, but with {fault}")
            raise _Broken(offset, fault)
        self._sections += 1
        return _Section(order)

    def _content(
        self, offset: int, label: str, size: int, section: _Section, *, wanted: bool
    ) -> Generator[None, None, tuple[bytes, int]]:
        """Consume a block: its bytes, or none where they are not wanted, and the length that stands at its end."""
        stream = self._stream
        if wanted:
            if not (yield from stream.want(size)):
                raise _Broken(offset, cut(stream, _a(label), size))
            block = stream.window[stream.at : stream.at + size]
            stream.at += size
            return block, section.number(block, size - 4)[0]
        skipped = yield from stream.skip(size - 4)
        if not (yield from stream.want(4)):
            raise _Broken(offset, cut(stream, _a(label), size, before=skipped))
        (last,) = section.number(stream.window, stream.at)
        stream.at += 4
        return b"", last

    def _take(self, offset: int, kind: int, block: bytes, section: _Section) -> Frame | None:
        """What a whole block of a kind that is read says: its packet, if it has one."""
        if kind == SECTION:
            fault = section.version_fault(block)
            if fault and self._sections == 1:
                raise BadCapture(f"{self._name}: {fault}")
            if fault:
                raise _Broken(offset, fault)
            return None
        found = section.describe(block) if kind == INTERFACE else section.packet(kind, block, self._number + 1)
        if isinstance(found, _Fault):
            self._damages.passed(offset, found.what)
            return None
        return found


def _a(label: str) -> str:
    return f"an {label}" if label[0] in "aeiou" else f"a {label}"


def _block_follows(stream: Stream, section: _Section) -> Generator[None, None, bool]:
    """Whether a block seems to start here."""
    if not (yield from stream.want(12)):
        return False
    kind, length = section.header(stream.window, stream.at)
    known = 0 < kind < 0x100 or kind & 0x7FFF_FFFF == 0x0BAD or kind & 0x8000_0000
    return kind == SECTION or bool(known and 12 <= length <= LARGEST_BLOCK and length % 4 == 0)
