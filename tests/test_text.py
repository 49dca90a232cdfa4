"""Payloads as Text in encodings, and as Json out of what senders put around it; and how many gave none."""

import json
import struct
from pathlib import Path

import pytest

from pcapeda.errors import BadConfig
from pcapeda.events.payload_text import encoding_named, printable_text
from pcapeda.events.shape import Shape, json_object
from tests.command import pcapeda
from tests.datagrams import EXAMPLE
from tests.frames import ethernet, udp4


@pytest.mark.parametrize(
    ("payload", "encoding", "text"),
    [
        ("Tür offen".encode("latin-1"), "utf-8", None),
        ("Tür offen".encode("latin-1"), "latin-1", "Tür offen"),
        ("5 € “net”".encode("cp1252"), "cp1252", "5 € “net”"),
        ("5 €".encode("cp1252"), "latin-1", None),
        ("警報".encode("shift_jis"), "shift_jis", "警報"),
        ("alarm\0".encode("utf-16-le"), "utf-16-le", "alarm"),
        (b"odd", "utf-16-le", None),
        (b"\x81", "cp1252", None),
        (b"\x1b[1;31mlink down\x1b[0m\n", "utf-8", "link down\n"),
        (b"\x1b[38:2:1:2:3mlink\x1b[K", "utf-8", "link"),
        (b"ding\x07", "utf-8", "ding"),
        (b"\x07", "utf-8", None),
        (b"\x1b[2J\x1b[0m", "utf-8", None),
        (b"\x1b]0;title\x07", "utf-8", None),
        (b"one\0two", "utf-8", None),
        (b"one\0two\x07", "latin-1", None),
        (b"one\0\0", "latin-1", "one"),
        (b"", "latin-1", None),
    ],
)
def test_text_in_an_encoding(payload: bytes, encoding: str, text: str | None) -> None:
    """Printable or nothing; what only a terminal sees is left out."""
    assert printable_text(payload, encoding) == text


@pytest.mark.parametrize(("name", "found"), [("LATIN1", "iso8859-1"), ("cp1252", "cp1252"), ("UTF8", "utf-8")])
def test_names_of_encodings(name: str, found: str) -> None:
    """Any name that Python knows; --text-encoding asks for Text."""
    assert encoding_named(name) == found
    assert Shape(text_encoding=name) == Shape(text_encoding=found, text=True)


@pytest.mark.parametrize(
    "name",
    [
        *("", "latin-99", "rot13", "hex", "base64", "zlib", "idna", "punycode", "unicode_escape"),
        *("raw-unicode-escape", "undefined", "a\0b", "../x", "é", "\udc80", "aliases"),
    ],
)
def test_names_that_are_none(name: str) -> None:
    """One clear error, also for Python's codecs that are no encodings of messages."""
    with pytest.raises(BadConfig, match="no text encoding"):
        Shape(text_encoding=name)
    if name and "\0" not in name and name.isascii():
        done = pcapeda("replay", "-n", "--text-encoding", name, "x.pcap")
        assert (done.returncode, done.stdout, b"no text encoding" in done.stderr) == (2, b"", True)


@pytest.mark.parametrize(
    ("payload", "document"),
    [
        (b'{"a":1}\0', '{"a":1}'),
        (b'{"a":1}\n\0\0', '{"a":1}'),
        (b'\xef\xbb\xbf{"a":1}', '{"a":1}'),
        (b'\xef\xbb\xbf {"a":1}\r\n', '{"a":1}'),
        (b'{"a":1}\n{"b":2}\n', '{"a":1}'),
        (b'{"a":1}\r\n\r\n{"b":2}{"c":3}', '{"a":1}'),
        (b'{"a":1}\n{"cut', '{"a":1}'),
        (b'\x1e{"a":1}\n\x1e{"b":2}\n', '{"a":1}'),
        (b'{"a":1}\0{"b":2}\0', '{"a":1}'),
        (b'{"a":1} and more', None),
        (b'{"a":1}]', None),
        (b'{"a":1},{"b":2}', None),
        (b'\0{"a":1}', None),
        (b'{"a\0":1}', None),
        (b'[{"a":1}]', None),
        (b"", None),
        (b"\xef\xbb\xbf", None),
    ],
)
def test_json_out_of_what_is_around_it(payload: bytes, document: str | None) -> None:
    """NULs of C senders, a byte order mark, several objects: the first one."""
    assert json_object(payload) == document
    added = Shape(json_payload=True).extras(EXAMPLE._replace(payload=payload))
    assert added == ("" if document is None else f',"Json":{document}')


def capture(path: Path, *packets: bytes) -> Path:
    """A capture file of Ethernet frames."""
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    path.write_bytes(head + b"".join(struct.pack("<4I", 1, 0, len(one), len(one)) + one for one in packets))
    return path


@pytest.mark.parametrize("options", [(), ("--jobs", "2"), ("--pps", "100000"), ("--group", "2"), ("-o", "entries")])
def test_payloads_without_text_are_counted(tmp_path: Path, options: tuple[str, ...]) -> None:
    """On the screen and in the log, by whatever way a run goes; none where Text was not asked for."""
    payloads = [b"plain", "Tür".encode("latin-1"), b"\0\1\2"]
    path = capture(tmp_path / "x.pcap", *(ethernet(udp4(one)) for one in payloads))
    for asked, without in [(["--text"], 2), (["--text-encoding", "latin-1"], 1), ([], 0)]:
        done = pcapeda("replay", "-n", path, *asked, *options)
        assert done.returncode == 0, done.stderr
        line = [one for one in done.stderr.decode().splitlines() if one.startswith("no Text")]
        assert [one.split()[2] for one in line] == ([str(without)] if without else [])
        log = json.loads(pcapeda("replay", "-n", path, "--log", "json", *asked, *options).stderr.splitlines()[-1])
        assert log["without_text"] == without


RULE = json.dumps({"Name": "door", "EventPattern": json.dumps({"detail": {"Text": [{"prefix": "Tür"}]}})})


def test_rules_and_suites_read_text_in_an_encoding(tmp_path: Path) -> None:
    """A rule on Text matches under --text-encoding, in `rules test` and in a suite, and not without."""
    path = capture(tmp_path / "x.pcap", ethernet(udp4("Tür offen".encode("latin-1"))))
    rule = tmp_path / "rule.json"
    rule.write_text(RULE)
    suite = tmp_path / "door.pcapeda.yaml"
    for asked, key, count in [
        (["--text"], "text: true", 0),
        (["--text-encoding", "cp1252"], "text-encoding: cp1252", 1),
    ]:
        done = pcapeda("rules", "test", path, "--rules", rule, "-o", "json", *asked)
        assert done.returncode == 0, done.stderr
        (told,) = json.loads(done.stdout)["Rules"]
        assert told["Matches"] == count
        suite.write_text(
            f"captures: x.pcap\nrules: rule.json\nevent: {{{key}}}\nexpect: [{{rule: door, count: {count}}}]\n"
        )
        assert pcapeda("rules", "test", suite).returncode == 0
    suite.write_text("captures: x.pcap\nrules: rule.json\nevent: {text-encoding: latin-99}\n")
    done = pcapeda("rules", "test", suite)
    assert (done.returncode, b"latin-99" in done.stderr) == (2, True)


def fragments(payload: bytes) -> list[bytes]:
    """An Ethernet frame for each of two fragments."""
    whole = udp4(payload)
    made = []
    for at, stop, more in [(20, 44, 0x2000), (44, len(whole), 0)]:
        head = bytearray(whole[:20])
        struct.pack_into("!HHH", head, 2, 20 + stop - at, 7, more | (at - 20) // 8)
        made.append(ethernet(bytes(head) + whole[at:stop]))
    return made


@pytest.mark.parametrize(
    ("expression", "events", "hinted"),
    [
        ("udp port 514", 0, True),
        ("udp dst portrange 500-600", 0, True),
        ("udp[2:2] = 514", 0, True),
        ("udp port 514 or ip[6:2] & 0x3fff != 0", 1, False),
        ("host 192.0.2.1", 1, False),
        ("ip[6:2] & 0x2000 != 0", 0, False),
        (None, 1, False),
    ],
)
def test_a_port_in_a_filter_and_fragments(tmp_path: Path, expression: str | None, events: int, hinted: bool) -> None:
    """The later fragments have no ports and never come: the run says so, and what helps."""
    path = capture(tmp_path / "x.pcap", *fragments(b"x" * 100))
    asked = [] if expression is None else ["-f", expression]
    for options in [(), ("--jobs", "2")]:
        done = pcapeda("replay", "-n", path, *asked, *options)
        assert (done.returncode, len(done.stdout.splitlines())) == (0, events), done.stderr
        assert (b"--port N selects whole datagrams" in done.stderr) == hinted
    assert b"0 still waiting" in pcapeda("replay", "-n", path, "--port", "514").stderr
