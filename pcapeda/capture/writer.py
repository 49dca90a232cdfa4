"""Frames kept as a pcapng file. https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html"""

import contextlib
import os
import struct
from types import TracebackType

from pcapeda.capture.pcapng import ENHANCED, IF_NAME, IF_TSOFFSET, IF_TSRESOL, INTERFACE, LONGEST_NAME, SECTION, SIMPLE
from pcapeda.errors import CannotWrite, Unavailable, of_system
from pcapeda.model import Frame
from pcapeda.safety.private_files import create

FLUSH_BYTES = 1 << 18
"""So much is kept back until the next flush; then it goes to the file in one piece."""

ERA_S = 1 << 33
"""An interface counts nanoseconds from a multiple of this many seconds (272 years), which fit into 64 bits."""

_Key = tuple[str | None, int, int, int]
"""An interface of the file: name, link type, snap length (0: none), and seconds that are added to its times."""


class CaptureWriter:
    """Writes frames into a new pcapng file: nanoseconds, the length on the wire, each interface with its name.

    Raises what `of_system` makes of it when the file cannot be made, and `CannotWrite` when it cannot be written on.
    The file ends with a whole block whenever nobody is in the middle of `flush`; call that often enough for your taste.

    A frame without a time goes into a Simple Packet Block, which belongs to the first interface of its section; so
    where needed another section begins. That block can tell of a cut only what its interface's snap length tells: a
    frame that was cut to nothing, or is longer than its length on the wire, gets the length of its data for both.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._interfaces: dict[_Key, int] = {}
        self._pending: list[bytes] = []
        self._pending_size = 0
        try:
            self._fd: int | None = create(path)
        except OSError as error:
            raise of_system(f"{path}: cannot be written", error) from None
        self._begin_section()
        try:
            self.flush()
        except CannotWrite as error:
            raise Unavailable(str(error)) from None

    def __enter__(self) -> "CaptureWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, frame: Frame) -> None:
        """Keep one frame; it is in the file after the next `flush`, or earlier."""
        time_ns, linktype, data, wire, interface, *_ = frame
        era = 0 if time_ns is None else time_ns // 1_000_000_000 // ERA_S * ERA_S
        if time_ns is None or not -(1 << 63) <= era < 1 << 63:
            self._write_untimed(frame)
        else:
            on = self._interface((interface, linktype, 0, era))
            ticks = time_ns - era * 1_000_000_000
            head = struct.pack("<IIIII", on, ticks >> 32, ticks & 0xFFFF_FFFF, len(data), wire)
            self._block(ENHANCED, head + data)
        if self._pending_size >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Give everything to the operating system."""
        content, self._pending, self._pending_size = b"".join(self._pending), [], 0
        if self._fd is None:
            return
        try:
            while content:
                content = content[os.write(self._fd, content) :]
        except OSError as error:
            # Nothing more can follow: the file may end inside a block now.
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = None
            raise CannotWrite(f"{self._path}: cannot be written any more ({error.strerror})") from None

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _write_untimed(self, frame: Frame) -> None:
        size, wire = len(frame.data), frame.wire_length
        if size > wire or not size:
            wire = size
        key = (frame.interface, frame.linktype, size if size < wire else 0, 0)
        if self._interfaces.get(key, len(self._interfaces)) != 0:
            self._begin_section()
        self._interface(key)
        self._block(SIMPLE, struct.pack("<I", wire) + frame.data)

    def _begin_section(self) -> None:
        self._interfaces = {}
        self._block(SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))

    def _interface(self, key: _Key) -> int:
        """The number of an interface in this section, described where it was not yet."""
        on = self._interfaces.get(key)
        if on is None:
            name, linktype, snaplen, era = key
            if not 0 <= linktype <= 0xFFFF:
                raise CannotWrite(f"{self._path}: pcapng has no room for link type {linktype}")
            on = self._interfaces[key] = len(self._interfaces)
            options = _option(IF_NAME, name.encode("utf-8", "replace")[:LONGEST_NAME]) if name else b""
            options += _option(IF_TSRESOL, b"\x09")
            if era:
                options += _option(IF_TSOFFSET, struct.pack("<q", era))
            self._block(INTERFACE, struct.pack("<HHI", linktype, 0, snaplen) + options + bytes(4))
        return on

    def _block(self, kind: int, body: bytes) -> None:
        padding = bytes(-len(body) % 4)
        length = 12 + len(body) + len(padding)
        self._pending.append(struct.pack("<II", kind, length) + body + padding + struct.pack("<I", length))
        self._pending_size += length


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)
