"""Capture filters: over files they select what tcpdump selects, and refuse what it refuses, in its words."""

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapeda.capture.bpf import COOKED, ETHERNET, RAW_IP, Filter
from pcapeda.errors import BadFilter, ExitStatus
from pcapeda.model import Frame
from tests.command import FIXTURES, ROOT
from tests.frames import ethernet, frame, udp4
from tests.reading import read_file

needs_tcpdump = pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is not installed")

PLAIN = [
    "mixed.pcap",
    "ipv6.pcap",
    "qinq.pcap",
    "linux-cooked-v1.pcap",
    "linux-cooked-v2.pcap",
    "raw-ip.pcap",
    "null.pcap",
    "ppp.pcap",
    "us-be.pcap",
    "icmp-quotes.pcap",
    "fragments-ipv6.pcap",
]
EXPRESSIONS = [
    "udp",
    "not tcp",
    "udp port 514",
    "udp dst port 53 or udp dst port 161",
    "ip6 and udp",
    "vlan",
    "vlan and vlan and udp",
    "ip[6:2] & 0x1fff = 0 and ip proto 17",
    "greater 100",
    "net 192.0.2.0/24",
    "ether broadcast",
    "inbound",
    "ifindex 2",
    "udp and",
    "port no-such-service-at-all",
]


@needs_tcpdump
@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_selects_what_tcpdump_selects(name: str, expression: str, tmp_path: Path) -> None:
    """The same frames of a file, whatever its link type; or the same refusal."""
    path, selected = FIXTURES / name, tmp_path / "selected.pcap"
    command = ["tcpdump", "-n", "-r", str(path), "-w", str(selected), expression]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    frames, _ = read_file(path)
    chosen = Filter(expression)
    if done.returncode:
        words = done.stderr.strip().splitlines()[-1].removeprefix("tcpdump: ")
        with pytest.raises(BadFilter) as caught:
            [chosen.matches(one) for one in frames]
        assert words in str(caught.value)
        return
    expected = [(one.time_ns, one.data) for one in read_file(selected)[0]]
    assert [(one.time_ns, one.data) for one in frames if chosen.matches(one)] == expected


@needs_tcpdump
def test_the_expressions_tell_something() -> None:
    """Of the comparison above: most of the expressions select some frames of the mixed capture and leave others."""
    frames, _ = read_file(FIXTURES / "mixed.pcap")
    counts = [sum(Filter(expression).matches(one) for one in frames) for expression in EXPRESSIONS[:5]]
    assert all(0 < count < len(frames) for count in counts)


def test_each_link_type_has_its_program() -> None:
    """One filter serves frames of several link types in turn."""
    chosen = Filter("udp port 514")
    packet = udp4(b"hello")
    sll2 = struct.pack(">HxxIHBB8x", 0x0800, 1, 1, 0, 6) + packet
    for linktype, data in [(ETHERNET, ethernet(packet)), (RAW_IP, packet), (COOKED, sll2)] * 2:
        assert chosen.matches(Frame(None, linktype, data, len(data), None, 1))
        assert not Filter("udp port 515").matches(Frame(None, linktype, data, len(data), None, 1))


def test_length_is_that_on_the_wire() -> None:
    """`greater` looks at the length before the snap length cut it; what was cut off matches nothing."""
    whole = frame(b"x" * 400)
    cut = whole._replace(data=whole.data[:60])
    assert Filter("greater 400").matches(cut)
    assert not Filter("less 399").matches(cut)
    assert Filter("udp port 514").matches(cut)
    assert not Filter("udp port 514").matches(whole._replace(data=whole.data[:36]))
    assert Filter("ether[100] = 0x78").matches(whole)
    assert not Filter("ether[100] = 0x78").matches(cut)


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 9, 12, 101, 105, 113, 228, 276]))
def test_any_bytes(data: bytes, wire_length: int, linktype: int) -> None:
    """No frame makes a filter fail, and none is selected by a filter and its opposite (a cut one may be by neither)."""
    one = Frame(None, linktype, data, wire_length, None, 1)
    assert not (_YES.matches(one) and _NO.matches(one))


_YES, _NO = Filter("udp port 514 or ip6 or tcp"), Filter("not (udp port 514 or ip6 or tcp)")


@pytest.mark.parametrize("linktype", [147, 9999])
def test_unknown_link_type(linktype: int) -> None:
    """A link type that libpcap has no filters for is named."""
    one = Frame(None, linktype, bytes(60), 60, None, 1)
    with pytest.raises(BadFilter, match=rf"'udp'.*{linktype}"):
        Filter("udp").matches(one)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("udp and", "syntax error"),
        ("udp) or (tcp", "syntax error"),
        ("host no-such-host.invalid", "unknown host"),
        ("port 99999", "illegal port number"),
        ("udp\nand\nfoo", "syntax error"),
        ("udp\0tcp", "NUL"),
        ("(" * 50_000, "'"),
    ],
)
def test_check_refuses(expression: str, words: str) -> None:
    """One line with libpcap's words and the expression; a matter of usage."""
    with pytest.raises(BadFilter, match=words) as caught:
        Filter(expression).check()
    assert "\n" not in str(caught.value)
    assert repr(expression) in str(caught.value)
    assert caught.value.status is ExitStatus.USAGE


@pytest.mark.parametrize(
    "expression", ["udp", "vlan 10", "inbound", "ifindex 3", "wlan type mgt", "ether proto 0x88cc", ""]
)
def test_check_accepts(expression: str) -> None:
    """What fits some link type may be asked for; whether it fits the frames is seen with them."""
    Filter(expression).check()


def test_no_libpcap() -> None:
    """Without libpcap: one line, and which package to install."""
    code = (
        "import ctypes.util\n"
        "ctypes.util.find_library = lambda name: None\n"
        "from pcapeda.capture.bpf import BadFilter, Filter\n"
        "try: Filter('udp').check()\n"
        "except BadFilter as error: print(error, '|', error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.startswith("filter 'udp': no libpcap to compile it with | install libpcap (libpcap0.8 on Debian")
    assert done.stderr == ""


def test_socket_program_keeps_the_snap_length() -> None:
    """The program for a socket accepts `snaplen` bytes and not one more; refusing stays refusing."""
    program = Filter("udp").program(ETHERNET, snaplen=96)
    returns = [k for code, _, _, k in struct.iter_unpack("=HBBI", program) if code == 0x06]
    assert sorted(returns) == [0, 96]


def test_socket_program_for_cooked() -> None:
    """Without a link header, its fields are asked of the kernel, and the packet begins at 0 (linux/filter.h)."""
    program = list(struct.iter_unpack("=HBBI", Filter("ip6 and udp").program(COOKED)))
    assert program[0] == (0x28, 0, 0, 0xFFFFF000), "ldh of the protocol"
    assert (0x30, 0, 0, 6) in program, "ldb of IPv6's next header"
    with pytest.raises(BadFilter, match="link-layer"):
        Filter("link[6] = 3").program(COOKED)
