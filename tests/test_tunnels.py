"""Tunnels over UDP: which one a port leads to, and what `--tunnel` changes."""

import json
from itertools import product
from pathlib import Path

import pytest

from pcapeda.dissect import tunnel_ports
from pcapeda.dissect.extractor import Extractor
from pcapeda.engine.job import Job
from pcapeda.engine.run import datagrams
from pcapeda.errors import BadConfig
from pcapeda.model import Datagram, Frame
from pcapeda.report import Report
from pcapeda.ruletest.suite import read_suite
from tests.command import pcapeda
from tests.stacks import E4, ether, hexed, ip4, udp, via4
from tests.test_vectors import DOT11, ETH, IP4, SNAP, TUNNELS, raw
from tests.truth import write_pcapng

PAYLOADS = {
    int(vector.via.split()[2].partition(":")[2]): raw(vector.frame)[42:] for vector in TUNNELS if vector.decapsulate
}
"""By port, a payload in which the tunnel carries a datagram to port 22136."""
PAYLOADS |= dict.fromkeys((2123, 2152, 3386), PAYLOADS[2152])
VXLAN = hexed("08000000 00002a00") + E4


def innermost(source: int, destination: int, payload: bytes, **asked: object) -> Datagram:
    frame = ether(0x0800, ip4(udp(payload, sport=source, dport=destination)))
    found = Extractor(Report(), **{"decapsulate": True, **asked}).feed(  # type: ignore[arg-type]
        Frame(1, 1, frame, len(frame), None, 1)
    )
    assert isinstance(found, Datagram), found
    return found


def test_every_port_has_a_payload() -> None:
    assert PAYLOADS.keys() == tunnel_ports.PORTS.keys()


def pairs() -> list[tuple[int, int]]:
    return [pair for pair in product(tunnel_ports.PORTS, repeat=2) if pair[0] != pair[1]]


def test_the_destination_port_names_the_tunnel() -> None:
    """RFC 7348 5, RFC 8926 3.3: the source port may be any number, also one that is another tunnel's."""
    lost = [pair for pair in pairs() if innermost(*pair, PAYLOADS[pair[1]]).destination_port != 22136]
    assert lost == []


def test_the_other_port_is_asked_next() -> None:
    """What comes from a tunnel's port, to a port whose tunnel leads nowhere, is read as an answer."""
    lost = [pair for pair in pairs() if innermost(*pair, PAYLOADS[pair[0]]).destination_port != 22136]
    assert lost == []


def test_of_two_readings_the_destination_ports_counts() -> None:
    """Eight bytes and an IP packet are GTP-U and Juniper's mirroring alike."""
    payload = raw("30 ff 0020 0000002a" + IP4)
    assert innermost(30030, 2152, payload).via[-2:] == ("gtp:42", "ip4")
    assert innermost(2152, 30030, payload).via[-2:] == ("jmirror", "ip4")


def test_a_tunnel_that_ends_in_nothing_gives_its_datagram() -> None:
    """Two readings that lead nowhere: the datagram itself, not a part of a reading."""
    found = innermost(4789, 6081, bytes(60))
    assert (found.source_port, found.destination_port, found.via) == (4789, 6081, ("eth", "ip4"))


@pytest.mark.parametrize("name", tunnel_ports.TUNNELS)
def test_every_tunnel_has_a_name(name: str) -> None:
    """Whatever is known by a port of its own is known at any other by its name."""
    port = next((port for port, known in tunnel_ports.PORTS.items() if known == name), None)
    payload = OTHERS[name] if port is None else PAYLOADS[port]
    assert innermost(50000, 9999, payload).destination_port == 9999
    assert innermost(50000, 9999, payload, tunnels=[(9999, name)]).destination_port == 22136
    assert innermost(50000, 9999, payload, tunnels=[(9999, name)], decapsulate=False).destination_port == 22136


OTHERS = {
    "ethernet": raw(ETH),
    "hp-erm": bytes(12) + raw(ETH),
    "ip": raw(IP4),
    "nsh": raw("0fc2 02 01 000064ff" + IP4),
    "ppp": raw("ff03 0021" + IP4),
    "wlan": raw(DOT11 + SNAP),
}
"""What has no port of its own."""


def test_an_option_overrules_the_table() -> None:
    assert innermost(50000, 4789, VXLAN).destination_port == 40001
    assert innermost(50000, 4789, VXLAN, tunnels=[(4789, "lisp")]).destination_port == 4789
    assert innermost(50000, 4789, PAYLOADS[4341], tunnels=[(4789, "lisp")]).destination_port == 22136


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("vxlan", "expected PORT=NAME, such as 8473=vxlan"),
        ("9999=", "expected PORT=NAME"),
        ("=vxlan", "expected PORT=NAME"),
        ("-1=vxlan", "expected PORT=NAME"),
        ("٣=vxlan", "expected PORT=NAME"),
        ("0=vxlan", "a UDP port is a number from 1 to 65535"),
        ("65536=vxlan", "a UDP port is a number from 1 to 65535"),
        ("9" * 5000 + "=vxlan", "a UDP port is a number from 1 to 65535"),
        ("9999=vxlam", "no tunnel 'vxlam'; there are: amt, "),
    ],
)
def test_bad_values_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(BadConfig, match=complaint.replace("(", r"\(")):
        tunnel_ports.parse([text])


def test_a_port_has_one_tunnel() -> None:
    assert tunnel_ports.parse(["9999=vxlan", " 9999 = VXLAN "]) == ((9999, "vxlan"),)
    with pytest.raises(BadConfig, match="port 9999 is already vxlan"):
        tunnel_ports.parse(["9999=vxlan", "9999=gtp"])


@pytest.mark.parametrize("tunnels", [(4789,), ("9999=vxlan",), ((True, "vxlan"),), ((9999, ["vxlan"]),), ((9999, ""),)])
def test_a_job_checks_its_tunnels(tunnels: object) -> None:
    """A program's mistake is a `BadConfig`, too."""
    with pytest.raises(BadConfig, match="tunnel"):
        Job(captures=("a.pcap",), tunnels=tunnels).check()  # type: ignore[arg-type]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """VXLAN at port 9999, twice."""
    path = tmp_path / "vxlan.pcapng"
    frame = via4(9999, VXLAN)
    write_pcapng(path, [(1, frame, len(frame))] * 2)
    rules = [{"Name": "inner", "EventPattern": json.dumps({"detail": {"Destination": {"Port": [40001]}}})}]
    (tmp_path / "rules.json").write_text(json.dumps({"Rules": rules}))
    return path


@pytest.mark.parametrize("more", [(), ("--jobs", "2"), ("--decapsulate",)], ids=["alone", "jobs", "decapsulate"])
def test_replay(capture: Path, more: tuple[str, ...]) -> None:
    done = pcapeda("replay", capture, "-n", "--tunnel", "9999=vxlan", "-o", "entries", *more)
    assert done.returncode == 0, done.stderr
    details = [json.loads(json.loads(line)["Detail"]) for line in done.stdout.splitlines()]
    assert [detail["Destination"]["Port"] for detail in details] == [40001, 40001]


def test_inspect(capture: Path) -> None:
    done = pcapeda("inspect", capture, "--tunnel", "9999=vxlan", "-o", "json")
    assert json.loads(done.stdout)["DestinationPorts"] == [{"Port": 40001, "Count": 2}]


def test_rules(capture: Path) -> None:
    """`rules test` and `rules explain` see what `replay` sends."""
    rules = ("--rules", capture.parent / "rules.json", "--tunnel", "9999=vxlan", "-o", "json")
    tried = pcapeda("rules", "test", capture, *rules)
    assert b'"Matches": 2' in tried.stdout, tried
    told = pcapeda("rules", "explain", capture, "--frame", "2", *rules)
    assert json.loads(told.stdout)[0]["Explanation"]["matched"] is True, told


def test_a_suite(capture: Path) -> None:
    """The key `tunnels` holds what --tunnel takes, alone or in a list; its mistakes name the file."""
    suite = capture.parent / "tunnels.pcapeda.yaml"
    for value in ("9999=vxlan", "[9999=vxlan, 7932=hp-erm]"):
        suite.write_text(
            f"captures: {capture.name}\nrules: rules.json\ntunnels: {value}\nexpect: [{{rule: inner, count: 2}}]\n"
        )
        done = pcapeda("rules", "test", suite)
        assert done.returncode == 0, done
    suite.write_text(f"captures: {capture.name}\nrules: rules.json\ntunnels: 9999=vx\n")
    with pytest.raises(BadConfig, match=r"tunnels\.pcapeda\.yaml: --tunnel 9999=vx: no tunnel"):
        read_suite(str(suite))


def test_the_library(capture: Path) -> None:
    found = list(datagrams(str(capture), str(capture), tunnels=[(9999, "vxlan")]))
    assert [one.destination_port for one in found] == [40001] * 4


@pytest.mark.parametrize("command", [("replay",), ("inspect",), ("rules", "test", "--rules", "rules.json")])
def test_a_mistake_is_one_line(capture: Path, command: tuple[str, ...]) -> None:
    done = pcapeda(*command, capture, "--tunnel", "9999=vxlam")
    assert done.returncode == 2
    assert done.stderr.startswith(b"pcapeda: --tunnel 9999=vxlam: no tunnel 'vxlam'; there are: amt,"), done.stderr
    assert len(done.stderr.splitlines()) == 1
