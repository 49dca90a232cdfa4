"""The pcapng capture file: sections, interfaces, times, and damage that can be passed."""

import struct
import tracemalloc
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcapeda.capture import pcapng
from pcapeda.capture.files import read
from pcapeda.capture.stream import Stream
from pcapeda.errors import BadCapture
from pcapeda.model import Damage, Frame
from tests.reading import CAPTURES, read_bytes

# Written out by hand from draft-ietf-opsawg-pcapng: a section, an interface "lo" of link type 1, an enhanced packet
# of 4 of 60 bytes at 0x0006_4f1f_8a3c_5c00 microseconds. Big-endian, because that is how one reads.
BY_HAND = bytes.fromhex(
    "0a0d0d0a 0000001c 1a2b3c4d 0001 0000 ffffffffffffffff 0000001c"
    "00000001 00000020 0001 0000 00000000 0002 0002 6c6f 0000 0000 0000 00000020"
    "00000006 00000024 00000000 00064f1f 8a3c5c00 00000004 0000003c deadbeef 00000024"
)


def block(kind: int, body: bytes, *, order: str = "<", length: int | None = None, last: int | None = None) -> bytes:
    """A block; its two lengths can be made to lie."""
    body += bytes(-len(body) % 4)
    true = 12 + len(body)
    first = true if length is None else length
    return struct.pack(f"{order}II", kind, first) + body + struct.pack(f"{order}I", first if last is None else last)


def section(order: str = "<", *, version: tuple[int, int] = (1, 0)) -> bytes:
    """A Section Header Block."""
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, *version, -1), order=order)


def interface(*options: tuple[int, bytes], order: str = "<", link: int = 1, snaplen: int = 0) -> bytes:
    """An Interface Description Block."""
    listed = b"".join(
        struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4) for code, value in options
    )
    return block(1, struct.pack(f"{order}HHI", link, 0, snaplen) + listed, order=order)


def packet(
    data: bytes,
    *,
    on: int = 0,
    ticks: int = 0,
    claim: int | None = None,
    order: str = "<",
    length: int | None = None,
    last: int | None = None,
) -> bytes:
    """An Enhanced Packet Block; `claim` is the captured length it tells."""
    claimed = len(data) if claim is None else claim
    head = struct.pack(f"{order}IIIII", on, ticks >> 32, ticks & 0xFFFF_FFFF, claimed, len(data))
    return block(6, head + data, order=order, length=length, last=last)


START = section() + interface((2, b"eth0"))
GOOD = packet(b"good")


def data_of(frames: list[Frame]) -> list[bytes]:
    """The bytes of each frame; their numbers must count from 1."""
    assert [frame.number for frame in frames] == list(range(1, len(frames) + 1))
    return [frame.data for frame in frames]


def test_a_packet_by_hand() -> None:
    """Section, interface and enhanced packet as the specification lays them out."""
    assert read_bytes(BY_HAND) == ([Frame(0x00064F1F_8A3C5C00 * 1000, 1, b"\xde\xad\xbe\xef", 60, "lo", 1)], [])


@settings(deadline=None)
@given(
    st.integers(0, 2**64 - 1),
    st.integers(0, 255),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from("<>"),
    st.booleans(),
)
def test_times_are_exact_in_every_unit(ticks: int, resolution: int, offset: int, order: str, obsolete: bool) -> None:
    """Any resolution, power of ten or two, and any offset: whole nanoseconds, rounded down, not one off."""
    options = ((9, bytes([resolution])), (14, struct.pack(f"{order}q", offset)))
    if obsolete:
        head = struct.pack(f"{order}HHIIII", 0, 0, ticks >> 32, ticks & 0xFFFF_FFFF, 0, 0)
        one = block(2, head, order=order)
    else:
        one = packet(b"", ticks=ticks, order=order)
    frames, _ = read_bytes(section(order) + interface(*options, order=order) + one)
    unit = Fraction(1, 2 ** (resolution & 0x7F)) if resolution & 0x80 else Fraction(1, 10**resolution)
    assert frames[0].time_ns == (ticks * unit + offset) * 10**9 // 1


def test_interfaces_start_anew_in_each_section() -> None:
    """An interface of the section before is none of this one; each section has its byte order."""
    content = START + interface((2, b"eth1"), link=101) + packet(b"a", on=1)
    content += section(">") + interface((2, b"tun0"), order=">", link=228) + packet(b"b", order=">")
    content += packet(b"lost", on=1, order=">") + section() + interface() + packet(b"c")
    frames, damages = read_bytes(content)
    assert [(frame.interface, frame.linktype, frame.data) for frame in frames] == [
        ("eth1", 101, b"a"),
        ("tun0", 228, b"b"),
        (None, 1, b"c"),
    ]
    assert [damage.what for damage in damages] == [
        "enhanced packet block of interface 1, but only 1 were described before it"
    ]


def test_simple_packets_have_no_time_and_the_first_interface() -> None:
    """Their captured length is the length on the wire, cut at the interface's snap length."""
    simple = block(3, struct.pack("<I", 4) + b"four") + block(3, struct.pack("<I", 60) + b"cut here")
    frames, damages = read_bytes(section() + interface((2, b"a"), snaplen=8) + interface((2, b"b")) + simple)
    assert frames == [Frame(None, 1, b"four", 4, "a", 1), Frame(None, 1, b"cut here", 60, "a", 2)]
    assert damages == []


def test_a_length_without_its_padding_is_read() -> None:
    """Some writers tell a length that is no multiple of four: the block is padded all the same (as Wireshark reads)."""
    odd = packet(b"good!", length=12 + 20 + 5)
    assert data_of(read_bytes(START + odd + GOOD)[0]) == [b"good!", b"good"]


PASSED = {
    "interface out of range": (packet(b"bad", on=7), "of interface 7, but only 1 were described"),
    "more than the block": (packet(b"bad", claim=200), "claims 200 packet bytes, but holds 4 at most"),
    "more than possible": (packet(b"bad", claim=0xFFFF_FFFF), "claims 4,294,967,295 packet bytes"),
    "no room for a header": (block(6, b"tiny"), "enhanced packet block of 16 bytes"),
    "obsolete, out of range": (block(2, struct.pack("<HHIIII", 9, 0, 0, 0, 0, 0)), "packet block of interface 9"),
    "simple, too short": (block(3, struct.pack("<I", 40) + b"bad"), "claims 40 packet bytes, but holds 4"),
    "two lengths": (packet(b"bad", last=99), "tells two lengths: 36 in front, 99 behind"),
    "simple, too long": (block(3, struct.pack("<I", 1) + b"bad and more"), "of 1 packet bytes, by its length"),
    "unknown, two lengths": (block(77, b"bad", last=99), "block of type 0x0000004d tells two lengths"),
    "short description": (block(1, b"bad!"), "an interface description of 16 bytes"),
}


@pytest.mark.parametrize("name", PASSED)
def test_damage_inside_a_block_is_passed(name: str) -> None:
    """The block is told with its place, its packet is left out, and what follows is read."""
    bad, words = PASSED[name]
    frames, (damage,) = read_bytes(START + GOOD + bad + GOOD)
    assert data_of(frames) == [b"good", b"good"]
    assert damage.offset == len(START + GOOD)
    assert words in damage.what
    assert damage.passed


FINAL = {
    "a length of 0, which would loop": (block(6, b"bad!", length=0), "claims a length of 0 bytes, less than"),
    "a length of 8": (block(77, b"bad!", length=8), "claims a length of 8 bytes, less than"),
    "a length of gigabytes": (block(6, b"bad!", length=0xFFFF_FFF0), "claims a length of 4,294,967,280 bytes"),
    "two lengths, nothing where the first leads": (
        block(6, b"bad!" * 9, length=20) + b"\xff" * 40,
        "tells two lengths",
    ),
    "a section in no byte order": (block(0x0A0D0D0A, bytes(16)), "byte-order mark 0x00000000"),
    "a section of the future": (section(version=(2, 0)), "version 2.0"),
    "a section too short": (block(0x0A0D0D0A, struct.pack("<I", 0x1A2B3C4D)), "a section header of 16 bytes"),
}


@pytest.mark.parametrize("name", FINAL)
def test_damage_that_hides_the_next_block_ends_the_file(name: str) -> None:
    """What came before is read; one line tells where and why no more can be."""
    bad, words = FINAL[name]
    frames, (damage,) = read_bytes(START + GOOD + bad + GOOD)
    assert data_of(frames) == [b"good"]
    assert damage.offset == len(START + GOOD)
    assert words in damage.what
    assert not damage.passed


def test_packets_before_any_interface_are_damage() -> None:
    """A section without interfaces says nothing about its packets: not even their link type."""
    frames, damages = read_bytes(section() + GOOD + block(3, struct.pack("<I", 4) + b"four") + interface() + GOOD)
    assert data_of(frames) == [b"good"]
    assert [damage.passed for damage in damages] == [True, True]


@pytest.mark.parametrize("option", [(9, b""), (9, b"\x06\x06"), (14, b"\0\0\0\0"), (77, b"")])
def test_damaged_options_make_times_unknown_not_wrong(option: tuple[int, bytes]) -> None:
    """A resolution or offset of the wrong length, or an option that runs out of its block: no time is guessed."""
    description = interface((2, b"eth0"), option)
    if option[0] == 77:
        description = description[:-6] + struct.pack("<H", 60_000) + description[-4:]
    frames, (damage,) = read_bytes(section() + description + packet(b"x", ticks=5))
    assert frames == [Frame(None, 1, b"x", 1, "eth0", 1)]
    assert damage.passed
    assert f"option {option[0]} of interface 0 is damaged" in damage.what


@pytest.mark.parametrize(
    "lost",
    [block(1, b"bad!"), block(1, struct.pack("<HHI", 1, 0, 0), last=99), block(1, bytes(17 << 20))],
    ids=["too short", "two lengths", "too large"],
)
def test_a_packet_of_an_unreadable_interface_is_damage(lost: bytes) -> None:
    """The numbers of the interfaces after a lost one stay right: no packet gets another one's link type."""
    content = section() + lost + interface((2, b"second")) + packet(b"lost") + packet(b"good", on=1)
    frames, damages = read_bytes(content)
    assert [(frame.interface, frame.data) for frame in frames] == [("second", b"good")]
    assert damages[0].offset == len(section())
    assert "whose description is damaged" in damages[1].what


def test_a_file_full_of_damage_is_told_in_few_lines() -> None:
    """The first ten one by one, the rest as a number: a hostile file must not fill the memory or the screen."""
    frames, damages = read_bytes(START + packet(b"bad", on=1) * 5000 + GOOD)
    assert data_of(frames) == [b"good"]
    assert len(damages) == 11
    assert damages[-1] == Damage(
        "test", len(START) + 10 * len(packet(b"bad")), "and 4,990 more damaged blocks from here on", passed=True
    )


def test_interfaces_without_end_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a bound they are left out, and so are their packets; both are told."""
    monkeypatch.setattr(pcapng, "MOST_INTERFACES", 3)
    frames, damages = read_bytes(section() + interface() * 5 + packet(b"good", on=2) + packet(b"lost", on=3))
    assert data_of(frames) == [b"good"]
    assert len(damages) == 3


def test_a_large_unknown_block_is_passed_without_keeping_it() -> None:
    """Skipping needs no memory, whatever the size."""
    pieces = [
        START + struct.pack("<II", 77, 12 + (64 << 20)),
        *[bytes(1 << 16)] * 1024,
        struct.pack("<I", 12 + (64 << 20)) + GOOD,
    ]
    damages: list[Damage] = []
    tracemalloc.start()
    try:
        frames = [frame for frame in read(Stream(iter(pieces)), "test", damages.append) if frame]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (data_of(frames), damages) == ([b"good"], [])
    assert peak < 1 << 20


def test_the_first_section_decides_whether_it_is_a_capture() -> None:
    """No byte order, or a version that nothing reads: no capture at all, instead of a damaged one."""
    with pytest.raises(BadCapture, match=r"version 0\.1"):
        read_bytes(section(version=(0, 1)))
    with pytest.raises(BadCapture, match="byte-order mark"):
        read_bytes(block(0x0A0D0D0A, bytes(16)))


def test_a_cut_at_every_byte_keeps_the_whole_packets_before_it() -> None:
    """Wherever the file ends, the packets before are there and the lost block is told with its place."""
    parts = [
        section(),
        interface((2, b"eth0")),
        GOOD,
        block(77, b"unknown!"),
        packet(b"better"),
        block(3, struct.pack("<I", 2) + b"ok"),
    ]
    content = b"".join(parts)
    starts = [sum(map(len, parts[:number])) for number in range(len(parts) + 1)]
    packets_end = [starts[3], starts[5], starts[6]]
    for end in range(4, len(content) + 1):
        frames, damages = read_bytes(content[:end])
        assert len(frames) == sum(place <= end for place in packets_end)
        if end in starts:
            assert damages == []
            continue
        (damage,) = damages
        assert damage.offset == max(start for start in starts if start < end)
        assert f"{end - damage.offset} of " in damage.what


PCAPNG = [path for path in CAPTURES if path.suffix == ".pcapng"]


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_mutated_captures_end_in_frames_damage_or_bad_capture(data: st.DataObject) -> None:
    """Bytes changed, dropped or doubled: nothing else is raised, and chunks make no difference."""
    content = bytearray(data.draw(st.sampled_from(PCAPNG)).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(4, len(content) - 1))
        new = data.draw(st.one_of(st.binary(max_size=8), st.sampled_from([b"\xff" * 4, bytes(4), b"\x0a\x0d\x0d\x0a"])))
        content[at : at + data.draw(st.integers(0, 8))] = new
    sizes = data.draw(st.lists(st.integers(0, 90), max_size=40))
    results = []
    for chunks in ((), sizes):
        try:
            results.append(read_bytes(bytes(content), chunks))
        except BadCapture as error:
            results.append(([], str(error)))  # type: ignore[arg-type]
    assert results[0] == results[1]
