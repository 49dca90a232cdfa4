"""Reassembly: order, overlap, age and memory; and that every fragment is accounted for."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapeda.dissect import reassembly
from pcapeda.dissect.reassembly import Reassembler, Whole
from pcapeda.model import Fragment

SECOND = 1_000_000_000
DATA = bytes(range(256)) * 4


def piece(
    start: int,
    stop: int,
    *,
    last: bool = False,
    data: bytes | None = None,
    length: int | None = None,
    key: object = "one",
    version: int = 4,
    time_ns: int | None = 0,
    number: int = 1,
) -> Fragment:
    """The share `DATA[start:stop]` of a payload, or other bytes in its place."""
    data = DATA[start:stop] if data is None else data
    length = stop - start if length is None else length
    return Fragment(key, start, not last, data, length, 17, "a", "b", version, (), time_ns, number, None)  # type: ignore[arg-type]


def defragmenter(*, max_bytes: int = 1 << 20, age_s: int = 30) -> Reassembler:
    return Reassembler(max_bytes, age_s * SECOND)


def feed(into: Reassembler, pieces: Iterable[Fragment]) -> list[Whole]:
    return [whole for whole in (into.add(fragment) for fragment in pieces) if whole is not None]


class TestOrder:
    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1)])
    @pytest.mark.parametrize("version", [4, 6])
    def test_any_order(self, order: tuple[int, ...], version: int) -> None:
        """Fragments complete a datagram in whatever order they come, and name their frames."""
        parts = [
            piece(0, 400, version=version, number=1),
            piece(400, 800, version=version, number=2),
            piece(800, 1024, last=True, version=version, number=3),
        ]
        into = defragmenter()
        (whole,) = feed(into, [parts[place] for place in order])
        assert whole.data == DATA
        assert whole.frames == (1, 2, 3)
        assert whole.first is parts[0]
        assert (into.used, into.held, dict(into.expired)) == (3, 0, {})

    @pytest.mark.parametrize("version", [4, 6])
    def test_exact_duplicates(self, version: int) -> None:
        """A fragment that came twice counts as used and does no harm, over IPv6 too (RFC 8200 4.5)."""
        into = defragmenter()
        first = piece(0, 512, version=version)
        wholes = feed(into, [first, first, piece(512, 1024, last=True, version=version)])
        assert [whole.data for whole in wholes] == [DATA]
        assert (into.used, into.held) == (3, 0)

    def test_interleaved(self) -> None:
        """Fragments of different keys do not meet."""
        into = defragmenter()
        wholes = feed(
            into,
            [
                piece(0, 512, key="one"),
                piece(0, 512, key="two", data=bytes(512)),
                piece(512, 1024, last=True, key="two", data=bytes(512)),
                piece(512, 1024, last=True, key="one"),
            ],
        )
        assert [whole.data for whole in wholes] == [bytes(1024), DATA]

    def test_missing(self) -> None:
        """What is not complete is held, and stays accounted for."""
        into = defragmenter()
        assert feed(into, [piece(0, 400), piece(800, 1024, last=True)]) == []
        assert (into.used, into.held, sum(into.expired.values())) == (0, 2, 0)

    def test_same_identification_again(self) -> None:
        """After a datagram is complete its key starts anew."""
        into = defragmenter()
        parts = [piece(0, 512), piece(512, 1024, last=True)]
        assert len(feed(into, parts + parts)) == 2


class TestOverlap:
    def test_same_bytes(self) -> None:
        """IPv4: fragments may overlap as long as they agree (RFC 791 3.2)."""
        into = defragmenter()
        wholes = feed(into, [piece(0, 512), piece(256, 768), piece(100, 300), piece(640, 1024, last=True)])
        assert [whole.data for whole in wholes] == [DATA]
        assert into.used == 4

    def test_one_over_several(self) -> None:
        """IPv4: a fragment fills every gap between those that are there."""
        into = defragmenter()
        wholes = feed(into, [piece(8, 16), piece(32, 40), piece(64, 1024, last=True), piece(0, 1000)])
        assert [whole.data for whole in wholes] == [DATA]

    def test_different_bytes(self) -> None:
        """IPv4: a contradiction gives the whole datagram up, and what comes for it later."""
        into = defragmenter()
        parts = [piece(0, 512), piece(504, 600, data=bytes(96)), piece(512, 1024, last=True)]
        assert feed(into, parts) == []
        assert dict(into.expired) == {reassembly.CONFLICT: 3}
        assert (into.used, into.held) == (0, 0)

    def test_ipv6(self) -> None:
        """IPv6: any overlap gives the whole datagram up, even of the same bytes (RFC 5722)."""
        into = defragmenter()
        parts = [piece(0, 512, version=6), piece(504, 1024, last=True, version=6), piece(512, 1024, version=6)]
        assert feed(into, parts) == []
        assert dict(into.expired) == {reassembly.OVERLAP: 3}

    def test_two_ends(self) -> None:
        """Two last fragments that end at different places contradict each other."""
        into = defragmenter()
        assert feed(into, [piece(512, 1024, last=True), piece(512, 520, last=True), piece(0, 512)]) == []
        assert dict(into.expired) == {reassembly.CONFLICT: 3}

    def test_beyond_the_end(self) -> None:
        """A fragment beyond the last one contradicts it, whichever comes first."""
        for parts in ([piece(512, 520, last=True), piece(800, 1024)], [piece(800, 1024), piece(512, 520, last=True)]):
            into = defragmenter()
            assert feed(into, parts) == []
            assert dict(into.expired) == {reassembly.CONFLICT: 2}


class TestRefused:
    def test_cut_by_the_snap_length(self) -> None:
        """A fragment whose bytes were not all captured cannot complete anything."""
        into = defragmenter()
        assert feed(into, [piece(0, 512, data=DATA[:100]), piece(512, 1024, last=True)]) == []
        assert (dict(into.expired), into.held) == ({reassembly.CUT: 1}, 1)

    def test_too_long(self) -> None:
        """Nothing ends beyond 65,535 bytes."""
        into = defragmenter()
        assert feed(into, [piece(65_528, 65_536, data=bytes(8))]) == []
        assert dict(into.expired) == {reassembly.TOO_LONG: 1}

    def test_up_to_the_limit(self) -> None:
        """A payload of 65,535 bytes is whole."""
        into = defragmenter()
        parts = [piece(0, 65_528, data=bytes(65_528)), piece(65_528, 65_535, data=bytes(7), last=True)]
        assert [len(whole.data) for whole in feed(into, parts)] == [65_535]

    def test_odd_length(self) -> None:
        """IPv6: only the last fragment may have a length that is no multiple of 8 (RFC 8200 4.5)."""
        into = defragmenter()
        assert feed(into, [piece(0, 401, version=6)]) == []
        assert dict(into.expired) == {reassembly.ODD: 1}

    def test_empty(self) -> None:
        """A fragment with nothing in it and more to come tells nothing."""
        into = defragmenter()
        assert feed(into, [piece(0, 0), piece(0, 512), piece(512, 1024, last=True)]) != []
        assert dict(into.expired) == {reassembly.EMPTY: 1}


class TestBounds:
    def test_age(self) -> None:
        """Fragments older than the limit by capture time are given up; just as old is not older."""
        into = defragmenter(age_s=30)
        feed(into, [piece(0, 512, key="old", time_ns=0), piece(0, 512, key="just", time_ns=1)])
        feed(into, [piece(0, 512, key="new", time_ns=30 * SECOND + 1)])
        assert (dict(into.expired), into.held) == ({reassembly.TOO_OLD: 1}, 2)

    def test_late_last_fragment(self) -> None:
        """A fragment that comes too late does not complete what waited for it."""
        into = defragmenter(age_s=30)
        assert feed(into, [piece(0, 512, time_ns=0), piece(512, 1024, last=True, time_ns=31 * SECOND)]) == []
        assert (dict(into.expired), into.held) == ({reassembly.TOO_OLD: 1}, 1)

    def test_times_that_run_backward(self) -> None:
        """A capture out of order loses nothing by it."""
        into = defragmenter(age_s=30)
        wholes = feed(into, [piece(0, 512, time_ns=100 * SECOND), piece(512, 1024, last=True, time_ns=0)])
        assert len(wholes) == 1

    def test_no_times(self) -> None:
        """Records without a time never grow old."""
        into = defragmenter()
        assert len(feed(into, [piece(0, 512, time_ns=None), piece(512, 1024, last=True, time_ns=None)])) == 1

    def test_memory(self) -> None:
        """Over the limit the longest waiting datagram goes first."""
        into = defragmenter(max_bytes=4 * 1024)
        feed(into, [piece(0, 1000, key=number) for number in range(4)])
        assert (dict(into.expired), into.held) == ({reassembly.EVICTED: 2}, 2)
        assert len(feed(into, [piece(1000, 1024, key=3, last=True)])) == 1

    @pytest.mark.parametrize("size", [0, 8])
    @pytest.mark.parametrize("same", [True, False])
    def test_a_flood_of_tiny_fragments(self, size: int, same: bool) -> None:
        """Duplicates, empty and tiny fragments are not free: what is held stays bounded."""
        into = defragmenter(max_bytes=100_000)
        last = size == 0
        feed(into, [piece(8, 8 + size, key="k" if same else number, last=last) for number in range(2_000)])
        assert into.held < 500
        assert into.held + sum(into.expired.values()) == 2_000

    def test_graves_are_bounded(self) -> None:
        """What is remembered of discarded datagrams is bounded too."""
        into = defragmenter(max_bytes=100_000)
        for number in range(2_000):
            feed(into, [piece(0, 8, key=number), piece(0, 8, key=number, data=bytes(8))])
        assert len(into._buffers) < 500


class TestWeight:
    def test_a_fragment_that_was_fragmented(self) -> None:
        """It counts for all the fragments it was made of, and names all their frames."""
        into = defragmenter()
        assert into.add(piece(0, 512), frames=(1, 2, 3), weight=3) is None
        assert into.held == 3
        whole = into.add(piece(512, 1024, last=True), frames=(4, 5), weight=2)
        assert whole is not None
        assert (whole.frames, whole.weight, into.used) == ((1, 2, 3, 4, 5), 5, 5)
        into.take_back(whole)
        assert into.used == 0

    def test_a_fragment_counted_elsewhere(self) -> None:
        """Without weight it is put together and counted nowhere."""
        into = defragmenter()
        assert into.add(piece(0, 512), weight=0) is None
        assert into.add(piece(512, 1024, last=True), weight=0) is not None
        assert (into.used, into.held, sum(into.expired.values())) == (0, 0, 0)


PIECES = st.lists(
    st.builds(
        lambda start, size, last, other, key, version, time: piece(
            start * 8,
            start * 8 + size,
            last=last,
            data=bytes(size) if other else DATA[start * 8 : start * 8 + size].ljust(size, b"\0"),
            key=key,
            version=version,
            time_ns=time,
        ),
        st.integers(0, 40),
        st.integers(0, 200),
        st.booleans(),
        st.booleans(),
        st.sampled_from("ab"),
        st.sampled_from([4, 6]),
        st.none() | st.integers(0, 100 * SECOND),
    ),
    max_size=40,
)


@given(PIECES, st.integers(0, 5_000))
def test_always_accounted_for(pieces: list[Fragment], max_bytes: int) -> None:
    """Whatever comes: used + given up + held is what came, nothing raises, and memory is bounded."""
    into = Reassembler(max_bytes, 30 * SECOND)
    for count, fragment in enumerate(pieces, 1):
        into.add(fragment)
        assert into.used + sum(into.expired.values()) + into.held == count
        assert into.held >= 0
        assert into._bytes <= max_bytes
    assert into._bytes == sum(buffer.cost for buffer in into._buffers.values())


@given(st.lists(st.integers(1, 127), min_size=1, max_size=8, unique=True), st.randoms(), st.sampled_from([4, 6]))
def test_any_cuts_in_any_order(cuts: list[int], random: object, version: int) -> None:
    """However a payload was cut and mixed, it comes together again, once."""
    starts = [0, *sorted(cut * 8 for cut in cuts)]
    parts = [
        piece(start, stop, last=stop == len(DATA), version=version)
        for start, stop in zip(starts, [*starts[1:], len(DATA)], strict=True)
    ]
    random.shuffle(parts)  # type: ignore[attr-defined]
    assert [whole.data for whole in feed(defragmenter(), parts)] == [DATA]
