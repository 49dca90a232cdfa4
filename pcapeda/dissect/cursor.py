"""What the layers of the tables share: a place in the bytes, and where to go next.

A layer is a function. It gets the `Cursor` at its first byte, moves it past its header, and says what follows: another
layer, a number to look up in one of the `tables`, or the end (a Skip, a Fragment, a Datagram). It never raises,
and reads no byte before `has` said that it is there.
"""

from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import NamedTuple, Union

from pcapeda.model import Datagram, Fragment, Frame, Skip, SkipReason

Found = Datagram | Fragment | Skip


class Space(Enum):
    """The number spaces in which a header names what follows it; each has a table in `tables`."""

    LINK = auto()
    """LINKTYPE_ values."""
    ETHERTYPE = auto()
    """EtherTypes, of Ethernet II and of all that borrow them."""
    IP = auto()
    """IP protocol numbers and IPv6 next headers."""
    PPP = auto()
    """PPP protocol numbers."""
    NLPID = auto()
    """Network layer protocol identifiers (ISO 9577, RFC 2684 6)."""
    GRE = auto()
    """Protocol types of GRE: EtherTypes and a few of its own."""


Step = Union[Found, tuple[Space, int], "Layer"]
Layer = Callable[["Cursor"], Step]


class _Branch(NamedTuple):
    """Another part of a layer, or another reading of it: where it lies, and all that was known before it."""

    following: Layer
    at: int
    stop: int
    end: int
    trailer: int
    via: tuple[str, ...]
    source: bytes
    destination: bytes
    pseudo: bytes
    outer: Datagram | Skip | None


class Cursor:
    """A place in the bytes of one frame, or of a reassembled payload.

    `at` is the next byte to read, `stop` where readable bytes end (the capture cut them there, or an enclosing layer
    ends), `end` where the innermost layer claims to end. Behind `stop` there are `trailer` more bytes that are taken
    for a check sequence or padding as long as no length claims them. `via` is the way so far. `source`, `destination`
    and `pseudo` are those of the innermost IP header. `tunnels` are the UDP ports whose payload is walked on, none if
    the outermost datagram is wanted. `outer` is what to answer if the tunnel that is being read leads to no datagram:
    the one whose payload it is.
    `fragments` are the frames that the payload was reassembled from, `branches` the parts of a layer not yet read.
    """

    __slots__ = (
        "at",
        "branches",
        "data",
        "destination",
        "end",
        "fragments",
        "frame",
        "outer",
        "pseudo",
        "source",
        "stop",
        "trailer",
        "tunnels",
        "via",
    )

    def __init__(self, frame: Frame, tunnels: Mapping[int, Layer] | None = None) -> None:
        self.frame = frame
        self.data = frame.data
        self.at = 0
        self.stop = len(frame.data)
        self.end = max(frame.wire_length, self.stop)
        self.trailer = 0
        self.via: tuple[str, ...] = ()
        self.source = self.destination = self.pseudo = b""
        self.tunnels = tunnels or {}
        self.outer: Datagram | Skip | None = None
        self.fragments: tuple[int, ...] = ()
        self.branches: list[_Branch] = []

    def has(self, size: int) -> bool:
        """Whether `size` more bytes can be read."""
        return self.at + size <= self.stop

    def byte(self, offset: int) -> int:
        return self.data[self.at + offset]

    def word(self, offset: int) -> int:
        """16 bits in network order."""
        at = self.at + offset
        return self.data[at] << 8 | self.data[at + 1]

    def number(self, offset: int, size: int) -> int:
        """An unsigned integer of `size` bytes in network order."""
        at = self.at + offset
        return int.from_bytes(self.data[at : at + size], "big")

    def take(self, offset: int, size: int) -> bytes:
        at = self.at + offset
        return self.data[at : min(at + size, self.stop)]

    def limit(self, size: int) -> None:
        """From `at` on there are `size` bytes by the word of a header: what follows them is not part of this layer."""
        self.end = self.at + size
        readable = self.stop + self.trailer
        self.stop, self.trailer = min(readable, self.end), 0

    def trim(self, size: int) -> None:
        """The last `size` bytes are a trailer, unless a length says that they are the packet's.

        Whether a check sequence was captured is known by flags that are wrong at times, or by custom alone.
        """
        self.end -= size
        stop = max(self.at, min(self.stop, self.end))
        self.trailer += self.stop - stop
        self.stop = stop

    def passed(self, layer: str, size: int) -> None:
        """Note a layer in `via` and go past its header."""
        self.via = (*self.via, layer)
        self.at += size

    def branch(self, following: "Layer", at: int | None = None) -> None:
        """Remember another part of the layer, which begins at `at`, to be read if this one leads to no datagram; or,
        without `at`, another reading of what comes next."""
        self.branches.append(
            _Branch(
                following,
                self.at if at is None else at,
                self.stop,
                self.end,
                self.trailer,
                self.via,
                self.source,
                self.destination,
                self.pseudo,
                self.outer,
            )
        )

    def turn(self) -> "Layer | None":
        """Go to the part that was remembered last, if there is one, and say which layer it is."""
        if not self.branches:
            return None
        following, self.at, self.stop, self.end, self.trailer, self.via, *ends, self.outer = self.branches.pop()
        self.source, self.destination, self.pseudo = ends
        return following

    def short(self, layer: str, size: int) -> Skip:
        """The answer for a header of `size` bytes that is not all there: cut by the capture, or never whole."""
        return self.skip(SkipReason.CUT if self.at + size <= self.end else SkipReason.MALFORMED, layer)

    def skip(self, why: SkipReason, layer: str) -> Skip:
        return Skip(why, layer, self.at, self.frame.number)
