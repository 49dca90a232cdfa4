"""Live capture on real interfaces: veth pairs into namespaces, loopback, tun devices. tcpdump is the other opinion."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pcapeda.capture import interface
from pcapeda.capture.interface import LiveSource, interfaces
from pcapeda.capture.tpacket import MIB
from pcapeda.dissect.extractor import Extractor
from pcapeda.errors import BadConfig, BadFilter, ExitStatus, InterfaceDown, NoRights, NoSuchInterface, Unavailable
from pcapeda.model import Datagram, Frame
from pcapeda.report import Report
from tests import netns
from tests.command import ROOT
from tests.frames import ethernet, udp4
from tests.netns import HERE, HERE6, Veth, needs_netns, payloads, veth_pair
from tests.reading import read_file

pytestmark = needs_netns

DEADLINE_S = 30
TAG = struct.Struct(">HH")


@pytest.fixture(scope="module")
def veth() -> Iterator[Veth]:
    """A pair that no test breaks."""
    with veth_pair() as pair:
        yield pair


@pytest.fixture
def port() -> int:
    """One that no other run on this machine uses at the moment, in all likelihood."""
    return random.randrange(20_000, 60_000)


def collect(source: LiveSource, count: int, *, then: Callable[[], object] | None = None) -> list[Frame]:
    """At least `count` frames, and all others that had come by then (`then`, if given, is done before the end)."""
    found: list[Frame] = []
    deadline = time.monotonic() + DEADLINE_S
    for frame in source:
        if frame is not None:
            found.append(frame)
        assert frame is not None or time.monotonic() < deadline, f"{len(found)} of {count} frames came"
        if len(found) >= count:
            if then is not None:
                then()
            source.stop()
    return found


def capture(names: str | list[str], send: Callable[[], object], count: int, **options: object) -> list[Frame]:
    """What is received while `send` is done: `count` frames are expected."""
    with LiveSource([names] if isinstance(names, str) else names, **options) as source:  # type: ignore[arg-type]
        send()
        found = collect(source, count)
        assert source.kernel_drops() == 0
        return found


def datagrams(frames: list[Frame]) -> list[Datagram]:
    extractor = Extractor(Report())
    found = [extractor.feed(frame) for frame in frames]
    assert all(isinstance(one, Datagram) for one in found), found
    return found  # type: ignore[return-value]


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class TestEveryDatagram:
    """What was sent is received, and nothing else."""

    @pytest.mark.parametrize("to", [HERE, HERE6])
    def test_all_and_no_other(self, veth: Veth, port: int, to: str) -> None:
        """5,000 datagrams come once each, in order, numbered from 1, at a time between sending and receiving."""

        def send() -> None:
            veth.send(port - 1, 50, to=to)
            veth.send(port, 5000, 100, to=to)
            veth.send(port + 1, 50, to=to)

        before = time.time_ns()
        found = capture(veth.name, send, 5000, filter=f"udp port {port}")
        after = time.time_ns()
        assert [one.payload for one in datagrams(found)] == payloads(5000, 100)
        assert [frame.number for frame in found] == list(range(1, 5001))
        head = 62 if ":" in to else 42
        assert {(f.linktype, f.interface, f.wire_length, len(f.data)) for f in found} == {
            (1, veth.name, head + 100, head + 100)
        }
        times = [frame.time_ns or 0 for frame in found]
        assert before <= times[0] <= times[-1] <= after
        assert len(set(times)) > len(times) // 2, "nanoseconds tell the frames apart"

    def test_a_burst_waits_for_a_slow_reader(self, veth: Veth, port: int) -> None:
        """Nothing is lost while nobody reads and the queue is full: the ring holds it."""
        found = capture(
            veth.name, lambda: veth.send(port, 20_000), 20_000, filter=f"udp port {port}", max_queued_bytes=1
        )
        assert [one.payload for one in datagrams(found)] == payloads(20_000)

    def test_tcp_is_left_out(self, veth: Veth, port: int) -> None:
        """Without a filter all but TCP comes."""

        def send() -> None:
            veth.run(
                "import socket, sys\n"
                "s = socket.socket(); s.setblocking(False); s.connect_ex((sys.argv[1], int(sys.argv[2])))",
                HERE,
                port,
            )
            veth.send(port, 3)

        found = capture(veth.name, send, 3)
        protocols = [frame.data[23] for frame in found if frame.data[12:14] == b"\x08\0"]
        assert protocols.count(17) == 3
        assert 6 not in protocols

    def test_tcp_is_left_out_behind_a_vlan_filter(self, veth: Veth, port: int) -> None:
        """`vlan` in a filter shifts where the rest of it looks; the refusal of TCP is not shifted."""
        tcp = bytearray(udp4(b"x" * 20, dport=port))
        tcp[9] = 6
        frames = [ethernet(bytes(tcp)), ethernet(udp4(b"end", dport=port))]
        found = capture(veth.name, lambda: veth.inject(*frames), 1, filter="vlan 4094 or greater 1")
        assert [frame.data for frame in found if frame.data[12:14] == b"\x08\0"] == frames[1:]

    def test_two_interfaces(self, veth: Veth, port: int) -> None:
        """Frames of several interfaces share one row of numbers and bear the names."""
        with veth_pair() as other:

            def send() -> None:
                veth.send(port, 500)
                other.send(port, 700)

            found = capture([veth.name, other.name, veth.name], send, 1200, filter=f"udp port {port}")
            names = [frame.interface for frame in found]
            assert (names.count(veth.name), names.count(other.name)) == (500, 700)
            assert [frame.number for frame in found] == list(range(1, 1201))

    def test_not_addressed_to_us(self, veth: Veth, port: int) -> None:
        """Promiscuous by default: a frame for another MAC address counts."""
        stranger = ethernet(udp4(b"for another", dport=port))
        found = capture(veth.name, lambda: veth.inject(stranger), 1, filter=f"udp port {port}")
        assert [frame.data for frame in found] == [stranger]
        flags = int(Path(f"/sys/class/net/{veth.name}/flags").read_text(), 16)
        assert not flags & 0x100, "and the interface is left as it was"


class TestFrames:
    """A frame is what was on the wire."""

    def test_cut_by_the_snap_length(self, veth: Veth, port: int) -> None:
        """`snaplen` bytes are kept, and the length on the wire is told."""
        found = capture(veth.name, lambda: veth.send(port, 3, 1000), 3, filter=f"udp port {port}", snaplen=96)
        assert {(len(frame.data), frame.wire_length) for frame in found} == {(96, 1042)}
        assert [one.payload for one in datagrams(found)] == [payload[:54] for payload in payloads(3, 1000)]

    @pytest.mark.parametrize("tags", [[(0x8100, 10)], [(0x88A8, 20), (0x8100, 10)], [(0x8100, 0)]])
    def test_vlan_tags_are_put_back(self, veth: Veth, port: int, tags: list[tuple[int, int]]) -> None:
        """The outermost tag, which the kernel takes off, is where it was, whatever its TPID."""
        head = b"".join(TAG.pack(*tag) for tag in tags)
        plain = ethernet(udp4(b"tagged", dport=port))
        tagged = plain[:12] + head + plain[12:]
        outer = f"vlan {tags[0][1]}"
        found = capture(veth.name, lambda: veth.inject(plain, tagged), 1, filter=f"{outer} and ether dst {_mac(plain)}")
        assert [(frame.data, frame.wire_length) for frame in found] == [(tagged, len(tagged))]
        if len(tags) == 1:
            found = capture("any", lambda: veth.inject(tagged), 1, filter=f"udp port {port}")
            assert [(one.payload, one.via) for one in datagrams(found)] == [
                (b"tagged", ("sll2", f"vlan:{tags[0][1]}", "ip4"))
            ]

    def test_vlan_filter_selects(self, veth: Veth, port: int) -> None:
        """`vlan 10 and udp port N` selects by the tag that the kernel holds apart; `udp port N` takes tagged ones too,
        as tcpdump does."""
        plain = ethernet(udp4(b"tagged", dport=port))
        frames = [plain] + [plain[:12] + TAG.pack(0x8100, vlan) + plain[12:] for vlan in (10, 11)]
        found = capture(veth.name, lambda: veth.inject(*frames), 1, filter=f"vlan 10 and udp port {port}")
        assert [frame.data for frame in found] == [frames[1]]
        found = capture(veth.name, lambda: veth.inject(*frames), 3, filter=f"udp port {port}")
        assert [frame.data for frame in found] == frames

    def test_loopback_once(self, port: int) -> None:
        """A datagram on loopback, which packet sockets see going out and coming in, is one frame; the largest fits."""

        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for payload in (b"one", bytes(65_507), b"two"):
                    sender.sendto(payload, ("127.0.0.1", port))

        for name in ("lo", "any"):
            for size in (interface.BUFFER_BYTES, MIB):
                found = capture(name, send, 3, filter=f"udp dst port {port}", buffer_bytes=size)
                assert [one.payload for one in datagrams(found)] == [b"one", bytes(65_507), b"two"]
                assert {frame.interface for frame in found} == {"lo"}


class TestAny:
    """All interfaces at once, as Linux cooked frames."""

    def test_all_kinds_of_links(self, veth: Veth, port: int) -> None:
        """`port N` selects the same on Ethernet, loopback and a tun device, from IPv4 and IPv6."""
        with tun() as (name, write):

            def send() -> None:
                veth.send(port - 1, 5)
                veth.send(port, 10)
                veth.send(port, 10, to=HERE6)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    sender.sendto(b"loop", ("127.0.0.1", port))
                    sender.sendto(b"loop", ("127.0.0.1", port - 1))
                write(udp4(b"tunnelled", dport=port))
                write(udp4(b"tunnelled", dport=port - 1))

            found = capture("any", send, 22, filter=f"port {port} and not icmp and not icmp6")
            by_name = {veth.name: payloads(10) * 2, "lo": [b"loop"], name: [b"tunnelled"]}
            assert {frame.linktype for frame in found} == {276}
            for interface, expected in by_name.items():
                there = [frame for frame in found if frame.interface == interface]
                assert [one.payload for one in datagrams(there)] == expected

    @pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is not installed")
    def test_same_as_tcpdump(self, veth: Veth, port: int, tmp_path: Path) -> None:
        """Header, bytes, length and time are those that `tcpdump -i any` writes, to the nanosecond."""
        selection = f"udp port {port}"
        with tun() as (_, write), tcpdump("any", selection, tmp_path / "truth.pcap") as truth:

            def send() -> None:
                veth.send(port, 20)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    sender.sendto(b"loop", ("127.0.0.1", port))
                write(udp4(b"tunnelled", dport=port))

            found = capture("any", send, 22, filter=selection)
            expected = truth(22)
        seen = [(frame.time_ns, frame.linktype, frame.wire_length, frame.data) for frame in found]
        # The blocks of the ring keep the order of arrival for each CPU only.
        assert sorted(seen, key=str) == sorted(
            [(frame.time_ns, frame.linktype, frame.wire_length, frame.data) for frame in expected], key=str
        )


class TestOtherLinks:
    """Interfaces that are not Ethernet."""

    def test_raw_ip(self, port: int) -> None:
        """A tun device gives raw IP; the filter looks at the right place."""
        with tun() as (name, write):
            packets = [udp4(b"no", dport=port - 1), udp4(b"yes", dport=port)]
            found = capture(name, lambda: [write(one) for one in packets], 1, filter=f"udp port {port}")
            assert [(frame.linktype, frame.data) for frame in found] == [(101, packets[1])]

    def test_unknown_hardware_is_cooked(self, port: int) -> None:
        """A link whose header is not ours to know (here PPP) is read without it, and the filter still fits."""
        with tun(hardware=512) as (name, write):
            packets = [udp4(b"no", dport=port - 1), udp4(b"yes", dport=port)]
            found = capture(name, lambda: [write(one) for one in packets], 1, filter=f"udp port {port}")
            assert [(frame.linktype, frame.interface) for frame in found] == [(276, name)]
            assert [one.payload for one in datagrams(found)] == [b"yes"]
            assert struct.unpack(">2sxxIHBB8s", found[0].data[:20])[:3] == (
                b"\x08\0",
                socket.if_nametoindex(name),
                512,
            )


class TestFilter:
    """Never unfiltered."""

    def test_nothing_refused_slips_in(self, veth: Veth, port: int) -> None:
        """Under traffic, no frame that the filter refuses comes out, however often the capture starts."""
        flood = veth.start(
            "import socket, sys\n"
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "print(flush=True)\n"
            "while True: s.sendto(b'flood', (sys.argv[1], int(sys.argv[2])))",
            HERE,
            port,
        )
        try:
            assert flood.stdout is not None
            flood.stdout.readline()
            for _ in range(8):
                flowing = capture(veth.name, lambda: None, 1, filter=f"udp port {port}")
                assert {one.destination_port for one in datagrams(flowing)} == {port}
                for name in (veth.name, "any"):
                    with LiveSource([name], filter=f"udp port {port + 1}") as source:
                        assert next(iter(source)) is None
                        source.stop()
                        assert [frame for frame in source if frame is not None] == []
        finally:
            flood.kill()
            flood.communicate()

    @pytest.mark.parametrize("name", ["veth", "any"])
    @pytest.mark.parametrize("expression", ["udp and", "port http-no-such", "udp) or (tcp", "vlan and port"])
    def test_refused_by_libpcap(self, veth: Veth, name: str, expression: str) -> None:
        """A bad filter is an error before anything is received, with libpcap's words and the expression."""
        with pytest.raises(BadFilter, match=re.escape(repr(expression))) as caught:
            LiveSource([veth.name if name == "veth" else name], filter=expression).open()
        assert "\n" not in str(caught.value)

    def test_link_header_on_any(self) -> None:
        """What looks at bytes that a cooked socket does not have is refused, not guessed."""
        with pytest.raises(BadFilter, match="link-layer"):
            LiveSource(["any"], filter="link[6] = 3").open()

    def test_too_long_for_the_kernel(self, veth: Veth) -> None:
        """A filter beyond the kernel's 4,096 instructions is one clear line."""
        expression = " and ".join(f"not ether host 02:00:00:00:{one // 256:02x}:{one % 256:02x}" for one in range(500))
        with pytest.raises(BadFilter, match="instructions") as caught:
            LiveSource([veth.name], filter=expression).open()
        assert len(str(caught.value)) < 200


class TestDrops:
    """What is lost is counted."""

    def test_sent_is_received_and_dropped(self, veth: Veth, port: int) -> None:
        """With a tiny buffer and nobody reading: what came and what the kernel dropped add up to what was sent."""
        with LiveSource([veth.name], filter=f"udp port {port}", buffer_bytes=1, max_queued_bytes=1) as source:
            assert source.granted_buffer <= 256 * 1024
            veth.send(port, 20_000, 1000)
            until(lambda: source.kernel_drops() > 0)
            source.stop()
            found = [frame for frame in source if frame is not None]
            drops = source.kernel_drops()
        assert 0 < len(found) < 20_000
        assert len(found) + drops == 20_000
        assert source.kernel_drops() == drops, "and the count is still there afterwards"

    def test_memory_that_is_not_there(self, veth: Veth) -> None:
        """A buffer that the kernel cannot give is one clear line."""
        with pytest.raises(Unavailable, match="MiB") as caught:
            LiveSource([veth.name], buffer_bytes=1 << 42).open()
        assert "--buffer-mib" in (caught.value.hint or "")


class TestEnds:
    """A capture ends in order."""

    @pytest.mark.parametrize("how", [("del",), ("set", "down")])
    @pytest.mark.parametrize("both", [False, True])
    def test_interface_goes(self, veth: Veth, port: int, how: tuple[str, ...], both: bool) -> None:
        """An interface that is removed or goes down: what had come is read, then the error, also with another one."""
        verb, *rest = how
        with veth_pair() as other:
            names = [other.name, veth.name] if both else [other.name]
            found = []
            with LiveSource(names, filter=f"udp port {port}") as source:
                other.send(port, 100)
                netns.ip("link", verb, other.name, *rest)
                with pytest.raises(InterfaceDown, match=other.name) as caught:
                    found = [0 for frame in source if frame is not None and found.append(frame) is None]
            assert caught.value.status is ExitStatus.UNAVAILABLE
            assert source.kernel_drops() == 0

    def test_what_came_before_the_interface_went(self, port: int) -> None:
        """Not a frame is lost when the interface goes."""
        with veth_pair() as other:
            found = []
            with LiveSource([other.name], filter=f"udp port {port}") as source:
                other.send(port, 3000)
                netns.ip("link", "del", other.name)
                with contextlib.suppress(InterfaceDown):
                    for frame in source:
                        found += [] if frame is None else [frame]
            assert [one.payload for one in datagrams(found)] == payloads(3000)

    def test_stopped_by_a_signal(self, veth: Veth, port: int) -> None:
        """`stop` may be called by a signal handler in the middle of waiting; all that had come is still there."""
        with LiveSource([veth.name], filter=f"udp port {port}") as source:
            veth.send(port, 500)
            previous = signal.signal(signal.SIGALRM, lambda *_: source.stop())
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.3)
                found = [frame for frame in source if frame is not None]
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, previous)
        assert [one.payload for one in datagrams(found)] == payloads(500)

    def test_ticks(self, veth: Veth) -> None:
        """None comes when nothing came."""
        with LiveSource([veth.name], filter="udp port 1", tick_ns=1_000_000) as source:
            frames = iter(source)
            assert [next(frames) for _ in range(5)] == [None] * 5

    def test_a_lone_frame_is_not_kept_waiting(self, veth: Veth, port: int) -> None:
        """A frame comes although no other follows it."""
        with LiveSource([veth.name], filter=f"udp port {port}") as source:
            for _ in range(3):
                veth.send(port)
                until(lambda: next(iter(source)) is not None)

    @pytest.mark.parametrize("queued", [1, interface.QUEUE_BYTES])
    def test_closed_unread(self, veth: Veth, port: int, queued: int) -> None:
        """Closing does not wait for a reader, not even with a full queue, and lets the interface go."""
        with LiveSource([veth.name], filter=f"udp port {port}", max_queued_bytes=queued) as source:
            veth.send(port, 5000)
        source.close()
        source.stop()
        assert _packet_sockets(veth.name) == 0

    def test_stopped_before_it_starts(self, veth: Veth) -> None:
        """A stop that comes early is a stop."""
        source = LiveSource([veth.name])
        source.stop()
        with source:
            assert list(source) in ([], [None])


class TestRefusals:
    """What cannot be captured is one clear line."""

    @pytest.mark.parametrize("name", ["no-such-interface0", "nope", "\udcff"])
    def test_unknown(self, name: str) -> None:
        """An unknown interface: the list of those there are. It may come yet."""
        with pytest.raises(NoSuchInterface, match=r"lo, .*any$") as caught:
            LiveSource([name]).open()
        assert caught.value.status is ExitStatus.UNAVAILABLE

    @pytest.mark.parametrize("name", ["", "lo\0", "../lo", "eth 0"])
    def test_impossible(self, name: str) -> None:
        """A name that no interface can have is a person's to mend."""
        with pytest.raises(BadConfig, match=r"lo, .*any$") as caught:
            LiveSource([name]).open()
        assert caught.value.status is ExitStatus.USAGE

    def test_down(self) -> None:
        """An interface that is down at the start: how to bring it up."""
        with veth_pair() as pair:
            netns.ip("link", "set", pair.name, "down")
            with pytest.raises(InterfaceDown, match=f"{pair.name} is down") as caught:
                LiveSource([pair.name]).open()
            assert caught.value.hint == f"ip link set {pair.name} up"

    @pytest.mark.parametrize("names", [[], ["any", "lo"]])
    def test_senseless(self, names: list[str]) -> None:
        """None at all, or one twice by way of 'any'."""
        with pytest.raises(BadConfig):
            LiveSource(names).open()

    @pytest.mark.parametrize("name", ["lo", "any"])
    def test_no_rights(self, name: str) -> None:
        """Without CAP_NET_RAW: what helps, for root in a container and for everyone else."""
        assert _open_as(name, "--bounding-set", "-net_raw", "--inh-caps", "-all") == (
            f"NoRights 3 no right to capture on {name} | "
            "this container or service lacks CAP_NET_RAW (docker run --cap-add NET_RAW)"
        )
        words = _open_as(name, "--reuid", "65534", "--regid", "65534", "--clear-groups")
        assert words.startswith(f"NoRights 3 no right to capture on {name} | sudo ")
        assert re.search(r"cp \S+ (\S+) && sudo setcap cap_net_raw\+ep \1, then \1 -m pcapeda sniff", words)

    def test_one_capability_is_enough(self) -> None:
        """CAP_NET_RAW alone, as an unprivileged service has it: the whole buffer, and a filter, too."""
        words = _open_as(
            "lo",
            *("--reuid", "65534", "--regid", "65534", "--clear-groups"),
            *("--inh-caps", "-all,+net_raw", "--ambient-caps", "+net_raw"),
        )
        assert words == f"opened {interface.BUFFER_BYTES}"

    def test_not_linux(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Elsewhere it is said at once, with the way that works there."""
        monkeypatch.delattr(socket, "AF_PACKET")
        with pytest.raises(BadConfig, match="Linux") as caught:
            LiveSource(["lo"]).open()
        assert "tcpdump" in (caught.value.hint or "")
        assert not isinstance(caught.value, NoRights)


def test_interfaces(veth: Veth) -> None:
    """The list agrees with ip(8): names, state, MAC and addresses; 'any' is last."""
    rows = json.loads(subprocess.run(["ip", "-j", "address"], capture_output=True, check=True).stdout)
    expected = {
        row["ifname"]: (
            "UP" in row["flags"],
            None if row["address"] == "00:00:00:00:00:00" else row["address"],
            sorted(address["local"] for address in row["addr_info"]),
        )
        for row in rows
        if row["link_type"] in ("ether", "loopback")
    }
    found = interfaces()
    assert {one.name: (one.up, one.mac, sorted(one.addresses)) for one in found if one.name in expected} == expected
    assert {one.linktype for one in found if one.name in expected} == {"Ethernet"}
    assert veth.name in expected
    assert found[-1].name == "any"


def test_opening_is_silent() -> None:
    """Scapy has nothing to say to the person at the terminal."""
    code = "from pcapeda.capture.interface import LiveSource as L\nwith L(['lo'], filter='udp'): pass"
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, cwd=ROOT, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def _mac(frame: bytes) -> str:
    return frame[:6].hex(":")


def _packet_sockets(name: str) -> int:
    """How many packet sockets of this machine are bound to the interface."""
    index = str(socket.if_nametoindex(name))
    rows = Path("/proc/net/packet").read_text().splitlines()[1:]
    return sum(row.split()[4] == index for row in rows)


def _open_as(name: str, *privileges: str) -> str:
    """Open an interface in a process with other privileges (setpriv(1)); what came of it, as one line."""
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    prefix = ["setpriv", *privileges]
    tried = subprocess.run(
        [*prefix, sys.executable, "-c", "import pcapeda"], capture_output=True, cwd=ROOT, check=False
    )
    if tried.returncode:
        pytest.skip(f"this Python cannot run there: {tried.stderr.decode().strip()[-200:]}")
    code = (
        "import sys\n"
        "from pcapeda.errors import PcapedaError\n"
        "from pcapeda.capture.interface import LiveSource\n"
        "try:\n"
        "    with LiveSource([sys.argv[1]], filter='udp') as source: print('opened', source.granted_buffer)\n"
        "except PcapedaError as error:\n"
        "    print(type(error).__name__, int(error.status), error, '|', error.hint)\n"
    )
    done = subprocess.run(
        [*prefix, sys.executable, "-c", code, name],
        capture_output=True,
        cwd=ROOT,
        env=os.environ | {"HOME": "/nonexistent"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


@contextlib.contextmanager
def tun(hardware: int | None = None) -> Iterator[tuple[str, Callable[[bytes], object]]]:
    """A tun device (without addresses) whose other end is a function: what it is given comes in there."""
    from fcntl import ioctl

    try:
        descriptor = os.open("/dev/net/tun", os.O_RDWR)
    except OSError as error:
        pytest.skip(f"/dev/net/tun: {error.strerror}")
    try:
        request = struct.pack("16sH22x", f"pt{os.getpid()}".encode(), 0x1001)  # IFF_TUN | IFF_NO_PI
        name = ioctl(descriptor, 0x400454CA, request)[:16].rstrip(b"\0").decode()  # TUNSETIFF
        if hardware is not None:
            ioctl(descriptor, 0x400454CD, hardware)  # TUNSETLINK
        with contextlib.suppress(OSError):
            Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
        netns.ip("link", "set", name, "up")
        yield name, lambda packet: os.write(descriptor, packet)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def tcpdump(interface: str, selection: str, path: Path) -> Iterator[Callable[[int], list[Frame]]]:
    """tcpdump at work; the function waits for so many frames in its file and reads them."""
    command = ["tcpdump", "-i", interface, "-U", "--time-stamp-precision=nano", "-w", str(path), selection]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        while b"listening on" not in (line := process.stderr.readline()):
            assert line, "tcpdump ended"
        if interface == "any" and b"LINUX_SLL2" not in line:
            pytest.skip("this tcpdump does not give LINUX_SLL2")

        def frames(count: int) -> list[Frame]:
            until(lambda: len(read_file(path)[0]) >= count)
            return read_file(path)[0]

        yield frames
    finally:
        process.terminate()
        process.communicate()
