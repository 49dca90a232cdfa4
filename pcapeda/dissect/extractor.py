"""Frame → datagram: the decoders in their order, then reassembly; every frame is counted once.

`fast_path` is asked first, then the tables, then Scapy; only a Skip that means 'I do not know this layer' goes on to
the next. A fragment waits until it is whole, and then decoding goes on behind it, as often as there are fragments
within.

Under decapsulation the innermost datagram is wanted. A tunnel that leads to none gives the datagram of the tunnel
itself; so does a fragment inside of a tunnel, except for the one that completes its datagram. Nothing is lost that way,
and each frame still gives one datagram at most.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Final

from pcapeda.dissect import fast_path, ip, scapy_fallback, tables, tunnel_ports
from pcapeda.dissect.cursor import Cursor, Space
from pcapeda.dissect.protocols import ethernet
from pcapeda.dissect.reassembly import Reassembler
from pcapeda.model import Datagram, Fragment, Frame, Skip, SkipReason
from pcapeda.report import Report
from pcapeda.units import MIB, SECOND_NS

UNKNOWN: Final = frozenset({SkipReason.UNKNOWN_LINK, SkipReason.UNKNOWN_LAYER})

FRUITLESS: Final = 4
"""After this many tries in vain Scapy is not asked about a layer again: it takes a hundred times longer."""

MAX_FRUITLESS: Final = 256
"""With this many unknown layers the bytes are noise."""

_TIME, _DATA = itemgetter(Frame._fields.index("time_ns")), itemgetter(Frame._fields.index("data"))

Found = Datagram | Fragment | Skip


class Extractor:
    """Walks frames to datagrams and counts them in `report`, whose reading half always adds up.

    `decapsulate` asks for the innermost datagram instead of the outermost; so do `tunnels`, ports and names of
    `tunnel_ports` that are read beside the known ones, or in their stead. Fragments wait in at most `defrag_bytes`
    of memory and for `fragment_age_ns` of capture time (RFC 791 3.2 and RFC 8200 4.5 leave the time to practice).
    One that is `apart` gets part of a capture's frames, and is asked by `feed_apart` alone.
    """

    def __init__(
        self,
        report: Report,
        *,
        decapsulate: bool = False,
        tunnels: Iterable[tuple[int, str]] = (),
        defrag_bytes: int = 64 * MIB,
        fragment_age_ns: int = 30 * SECOND_NS,
        apart: bool = False,
    ) -> None:
        self._report = report
        self._apart = apart
        asked = tuple(tunnels)
        self._tunnels = tunnel_ports.table(asked) if decapsulate or asked else {}
        self._fruitless: dict[str, int] = {}
        self._used, self._held = report.used, report.held
        self._defragmenter = Reassembler(defrag_bytes, fragment_age_ns, expired=report.expired)

    def feed(self, frame: Frame) -> Found:
        """What a frame gives: a datagram, a fragment that waits for others, or why there is none.

        A datagram that this frame completes has the frame's time and number, and `fragments` names all its frames.
        """
        datagrams, skips, slow_path, _ = self._decode_block((frame,))
        if slow_path:
            found = self._look_at(frame)
            assert found is not None, "one that works apart is given many frames"
            return found
        return datagrams[0] if datagrams else Skip(*skips[0], frame.number)

    def feed_all(self, frames: Sequence[Frame]) -> list[Datagram]:
        """The datagrams that frames give, in their order."""
        datagrams, _, slow_path, _ = self._decode_block(frames)
        return self._with_slow(datagrams, slow_path, []) if slow_path else datagrams

    def feed_apart(self, frames: Sequence[Frame]) -> tuple[list[Datagram], list[tuple[int, Frame]]]:
        """The datagrams that frames give by themselves; and the others, each with the number of datagrams before it.

        What becomes of those depends on frames before them: fragments, and layers that only Scapy may know. They are
        not counted here. For an extractor that works `apart` from the one that has seen all frames.
        """
        datagrams, _, slow_path, _ = self._decode_block(frames)
        left: list[tuple[int, Frame]] = []
        if slow_path:
            datagrams = self._with_slow(datagrams, slow_path, left)
        self._report.frames -= len(left)
        self._report.bytes_read -= sum(len(frame.data) for _, frame in left)
        return datagrams, left

    def _decode_block(self, frames: Sequence[Frame]) -> fast_path.DecodedBlock:
        """Count frames, and do those that are plain."""
        report = self._report
        # A segment counts as one, even where only some of those of a super-packet are asked for.
        report.bytes_read += sum(map(len, map(_DATA, frames)))
        report.cover(map(_TIME, frames))
        block = fast_path.decode_block(frames, self._tunnels)
        report.frames += len(frames) - block.segments
        report.segments += block.segments
        report.datagrams += len(block.datagrams)
        for (why, layer, _), number in Counter(block.skips).items():
            report.skips[why, layer] += number
        return block

    def _with_slow(
        self, datagrams: list[Datagram], slow_path: list[tuple[int, Frame]], left: list[tuple[int, Frame]]
    ) -> list[Datagram]:
        """The datagrams with those of the odd frames in their places; `left` gets what depends on other frames."""
        merged: list[Datagram] = []
        done = 0
        for before, frame in slow_path:
            merged += datagrams[done:before]
            done = before
            found = self._look_at(frame)
            if type(found) is Datagram:
                merged.append(found)
            elif found is None:
                left.append((len(merged), frame))
        merged += datagrams[done:]
        return merged

    def _look_at(self, frame: Frame) -> Found | None:
        """What such a frame gives, counted; None, and it is not, if that depends on frames that are not here."""
        found, tunnels = fast_path.decode(frame), self._tunnels
        if type(found) is Datagram:
            if not tunnels or not ethernet.tunnel_layers(tunnels, found.source_port, found.destination_port):
                self._report.datagrams += 1
                return found
        elif type(found) is Skip and found.reason not in UNKNOWN and not (tunnels and found.layer == "udp"):
            self._report.skips[found.reason, found.layer] += 1
            return found
        return self._slowly(frame, found)

    def _slowly(self, frame: Frame, found: Found) -> Found | None:
        """What the fast path did not finish: other layers, tunnels, fragments. None: it depends on other frames."""
        report = self._report
        outer: Datagram | Skip | None = None
        if not isinstance(found, Fragment):
            found, outer = tables.walk(Cursor(frame, self._tunnels), (Space.LINK, frame.linktype))
            if isinstance(found, Skip) and found.reason in UNKNOWN and outer is None and scapy_fallback.may_know(found):
                if self._apart:
                    return None
                found = self._deeply(frame, found)
        if self._apart and isinstance(found, Fragment):
            return None
        if isinstance(found, Fragment) and outer is None:
            report.fragments += 1
            found = self._reassemble(frame, found)
            self._take_over()
            return found
        if isinstance(found, Fragment):
            found = self._riding(frame, found) or found
            self._take_over()
        if outer is not None and not isinstance(found, Datagram):
            found = outer
        if isinstance(found, Datagram):
            report.datagrams += 1
        elif isinstance(found, Skip):
            report.skips[found.reason, found.layer] += 1
        return found

    def _deeply(self, frame: Frame, skip: Skip) -> Found:
        """Ask Scapy about a layer that nothing else knows; not for ever, where it did not know either."""
        tries = self._fruitless.get(skip.layer, 0)
        if tries == FRUITLESS or len(self._fruitless) > MAX_FRUITLESS:
            return skip
        found = scapy_fallback.decode(frame, bool(self._tunnels))
        if not isinstance(found, Skip) or found.reason not in UNKNOWN:
            return found
        self._fruitless[skip.layer] = tries + 1
        return skip

    def _reassemble(self, frame: Frame, fragment: Fragment) -> Found:
        """Add a fragment that is counted as one; what the reassembled packet gives, or the fragment itself."""
        whole = self._defragmenter.add(fragment)
        while whole is not None:
            found, outer = self._resume(frame, whole.data, whole.first, whole.frames)
            if isinstance(found, Fragment) and outer is None:
                # A fragment that was itself fragmented: it stands for all of its frames.
                self._defragmenter.take_back(whole)
                whole = self._defragmenter.add(found, frames=whole.frames, weight=whole.weight)
                continue
            if isinstance(found, Fragment):
                found = self._riding(frame, found) or found
            if outer is not None and not isinstance(found, Datagram):
                found = outer
            if isinstance(found, Datagram):
                self._report.reassembled += 1
            elif isinstance(found, Skip):
                self._report.reassembled_skips[found.reason, found.layer] += 1
            return found
        return fragment

    def _riding(self, frame: Frame, fragment: Fragment) -> Datagram | Skip | None:
        """Add a fragment inside of a tunnel, whose frame already counts as a datagram; the datagram it completes."""
        whole = self._defragmenter.add(fragment, weight=0)
        while whole is not None:
            found, outer = self._resume(frame, whole.data, whole.first, whole.frames)
            if isinstance(found, Fragment):
                whole = self._defragmenter.add(found, frames=whole.frames, weight=0)
                if whole is not None:
                    continue
            return found if isinstance(found, Datagram) else outer
        return None

    def _resume(
        self, frame: Frame, data: bytes, first: Fragment, frames: tuple[int, ...]
    ) -> tuple[Found, Datagram | Skip | None]:
        """Walk on behind an IP header, in a payload that was put together."""
        c = Cursor(frame, self._tunnels)
        c.data, c.stop, c.end = data, len(data), len(data)
        c.via, c.fragments = first.via, frames
        return tables.walk(c, ethernet.arrived(c, ip.reassembled(first, len(data))))

    def _take_over(self) -> None:
        """Bring the report's counts of fragments up to date."""
        report, defragmenter = self._report, self._defragmenter
        report.used, report.held = self._used + defragmenter.used, self._held + defragmenter.held

    def finish(self) -> None:
        """The source has ended: what still waits is counted as held."""
        self._take_over()
