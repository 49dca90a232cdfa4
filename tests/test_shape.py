"""A datagram as an event: the members that are promised, the same bytes every time, and nothing a bus refuses."""

import base64
import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapeda.aws import quotas
from pcapeda.aws.wire import EventLines, entry_json, event_json
from pcapeda.errors import BadConfig
from pcapeda.events.identity import packet_id
from pcapeda.events.payload_text import printable_text
from pcapeda.events.schema import schema
from pcapeda.events.shape import JSON_DEPTH, Shape, json_object
from pcapeda.model import Datagram
from tests.datagrams import EXAMPLE, datagrams


def detail(shape: Shape, datagram: Datagram) -> dict[str, object]:
    return json.loads(shape.entry(datagram).detail)


def test_the_full_shape_member_by_member() -> None:
    """Every member of a plain datagram, in its order, and none that does not apply."""
    entry = Shape(file="captures/edge.pcap").entry(EXAMPLE)
    assert (entry.source, entry.detail_type, entry.time_ns) == ("udp.raw", "UdpPacket", EXAMPLE.time_ns)
    assert list(json.loads(entry.detail).items()) == [
        ("Destination", {"IpAddress": "192.0.2.1", "Port": 514}),
        ("Source", {"IpAddress": "198.51.100.7", "Port": 40000}),
        ("IpVersion", 4),
        ("Length", 43),
        ("Checksum", "0x1c46"),
        ("ChecksumStatus", "good"),
        ("CapturedAt", "2026-04-10T22:44:04.123456789Z"),
        ("Capture", {"Frame": 17, "File": "edge.pcap"}),
        ("PacketId", packet_id(EXAMPLE)),
        ("Payload", base64.b64encode(EXAMPLE.payload).decode()),
    ]


def test_members_that_only_come_when_they_say_something() -> None:
    """Interface when live, Via beyond link and IP, Truncated when cut, no CapturedAt without a time."""
    told = detail(Shape(), EXAMPLE._replace(interface="eth0", via=("eth", "vlan:10", "ip4"), whole=False, time_ns=None))
    assert told["Capture"] == {"Frame": 17, "Interface": "eth0"}
    assert told["Via"] == ["eth", "vlan:10", "ip4"]
    assert told["Truncated"] is True
    assert "CapturedAt" not in told


def test_the_minimal_shape_is_exactly_the_article_s() -> None:
    """Destination.Port and Payload, nothing else."""
    payload = base64.b64encode(EXAMPLE.payload).decode()
    assert Shape("minimal").entry(EXAMPLE).detail == f'{{"Destination":{{"Port":514}},"Payload":"{payload}"}}'


def test_the_proxylity_shape() -> None:
    """One message with both ends, the data and the time, under the gateway's own source and detail-type."""
    entry = Shape("proxylity").entry(EXAMPLE)
    assert (entry.source, entry.detail_type) == ("proxylity", "udp-gateway-packet-ingress")
    assert json.loads(entry.detail) == {
        "Messages": [
            {
                "Tag": packet_id(EXAMPLE),
                "Remote": {"IpAddress": "198.51.100.7", "Port": 40000},
                "Local": {"IpAddress": "192.0.2.1", "Port": 514},
                "Data": base64.b64encode(EXAMPLE.payload).decode(),
                "Timestamp": "2026-04-10T22:44:04.123456789Z",
            }
        ]
    }


@pytest.mark.parametrize("name", ["full", "minimal", "proxylity"])
@given(st.lists(datagrams(), max_size=5), st.sampled_from([1, 50_000]), st.sampled_from(["capture", "now"]))
def test_lines_are_what_is_made_of_entries(name: str, found: list[Datagram], times: int, time: str) -> None:
    """Text without entries in between is the same text, and counts the same; also beyond one billed chunk."""
    found = [one._replace(payload=one.payload * times) for one in found if len(one.payload) < 5]
    shape = Shape(name, text=name == "full", time=time, file="é.pcap", resources=("arn:aws:é",))
    form = EventLines(region="eu-west-1", now_ns=0)
    entries = shape.entries(found)
    sizes = [entry.size for entry in entries]
    assert shape.lines(found, form) == (form(entries), len(found), sum(sizes), sum(map(quotas.chunks, sizes)))


@pytest.mark.parametrize("name", ["full", "minimal", "proxylity"])
@given(datagrams(), st.booleans(), st.sampled_from(["capture", "now"]), st.none() | st.text(max_size=12))
def test_every_event_validates_and_counts_its_bytes(
    name: str, datagram: Datagram, extras: bool, time: str, file: str | None
) -> None:
    """Whatever the datagram: valid JSON, valid by its own schema, the size that EventBridge computes, one line."""
    extras = extras and name == "full"
    shape = Shape(name, text=extras, json_payload=extras, time=time, file=file, resources=("arn:aws:é",))
    entry = shape.entry(datagram)
    line = event_json(entry, now_ns=0)
    assert "\n" not in line
    event = json.loads(line)
    jsonschema.validate(event, schema(name))
    assert event == entry.envelope(now_ns=0)
    timed = 14 if entry.time_ns is not None else 0
    texts = (entry.source, entry.detail_type, entry.detail, *entry.resources)
    assert entry.size == timed + sum(len(text.encode()) for text in texts)
    request = json.loads(entry_json(entry, "a-bus"))
    assert request["Detail"] == entry.detail
    assert ("Time" in request) == (entry.time_ns is not None)
    key = {"full": "Payload", "minimal": "Payload"}.get(name)
    told = event["detail"][key] if key else event["detail"]["Messages"][0]["Data"]
    assert base64.b64decode(told, validate=True) == datagram.payload


def test_ids_tell_datagrams_apart_and_repeat_on_every_run() -> None:
    """The id depends on what the datagram is and where it stands, not on the file's name; a second pass differs."""
    assert packet_id(EXAMPLE) == "cd63cbcd093b1646f21bca488128f16f"
    assert Shape(file="a.pcap").entry(EXAMPLE).id == Shape(file="b.pcap").entry(EXAMPLE).id
    changes = [
        {"time_ns": 1},
        {"time_ns": None},
        {"number": 18},
        {"source": "198.51.100.8"},
        {"source_port": 1},
        {"destination": "192.0.2.2"},
        {"destination_port": 1},
        {"payload": b""},
    ]
    ids = {packet_id(EXAMPLE)} | {packet_id(EXAMPLE._replace(**change)) for change in changes}
    ids |= {packet_id(EXAMPLE, loop) for loop in (1, 2)}
    assert len(ids) == len(changes) + 3


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"plain", "plain"),
        (b"two\nlines\twith tab\r\n", "two\nlines\twith tab\r\n"),
        (b"ends in NUL\0\0", "ends in NUL"),
        ("Grüße 東京".encode(), "Grüße 東京"),
        ("\ufeffRFC 5424\u3000東京".encode(), "\ufeffRFC 5424\u3000東京"),
        (b"", None),
        (b"\0", None),
        (b"a\0b", None),
        (b"\x1b[2J", None),
        (b"\xff\xfe", None),
        ("hidden \u202e mark".encode(), None),
    ],
)
def test_text_is_printable_utf8_or_nothing(payload: bytes, text: str | None) -> None:
    """Text appears only where a person could read it."""
    assert printable_text(payload) == text
    assert detail(Shape(text=True), EXAMPLE._replace(payload=payload)).get("Text") == text


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"t": 21.5, "ok": true}', {"t": 21.5, "ok": True}),
        (b' \n{"a":\n1}\n', {"a": 1}),
        (b'{"n": 9223372036854775807}', {"n": 9223372036854775807}),
        (b'{"n": -9223372036854775808}', {"n": -9223372036854775808}),
        (b'{"n": 9223372036854775808}', None),
        (b'{"n": ' + b"9" * 5000 + b"}", None),
        (b'{"n": 1e400}', None),
        (b'{"n": NaN}', None),
        (b'{"n": Infinity}', None),
        (b'{"s": "\\ud800"}', None),
        (b'{"s": "\xff"}', None),
        (b"[1]", None),
        (b"{", None),
        (b"", None),
        (b'{"a":' * 20000 + b"1" + b"}" * 20000, None),
    ],
)
def test_json_is_an_object_that_a_bus_accepts_or_nothing(payload: bytes, expected: object) -> None:
    """Json appears only where PutEvents would take it: finite, within 64 bits, not too deep, real characters."""
    assert detail(Shape(json_payload=True), EXAMPLE._replace(payload=payload)).get("Json") == expected


def test_json_nesting_is_bounded_so_that_every_reader_of_the_event_can_follow() -> None:
    """`JSON_DEPTH` levels are accepted, one more is not; brackets in strings do not count."""

    def nested(levels: int) -> bytes:
        return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"

    deepest = Shape(json_payload=True).entry(EXAMPLE._replace(payload=nested(JSON_DEPTH)))
    assert "Json" in deepest.envelope(now_ns=0)["detail"]
    assert json_object(nested(JSON_DEPTH + 1)) is None
    assert json_object(b'{"a":"' + b"[" * 5000 + b'"}') is not None


def test_what_a_shape_cannot_do_is_refused() -> None:
    """An unknown shape, and additions a shape has no place for."""
    with pytest.raises(BadConfig, match="round"):
        Shape("round")
    with pytest.raises(BadConfig, match="minimal"):
        Shape("minimal", text=True)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"a":1}\0', '{"a":1}'),
        (b'{"a":1}\n\0\0', '{"a":1}'),
        (b'\xef\xbb\xbf{"a":1}', '{"a":1}'),
        (b'{"a":1}\n{"a":2}\n', '{"a":1}'),
        (b'{"a":1}\r\n\r\n{"a":2}\r\n', '{"a":1}'),
        (b'{"a":1}\nno object', None),
        (b'{"a":1}\0{"a":2}', '{"a":1}'),
        (b'{"a":\n1}', '{"a":1}'),
    ],
)
def test_json_as_senders_write_it(payload: bytes, expected: str | None) -> None:
    """NULs behind, a byte order mark before, several lines: the first object."""
    assert Shape(json_payload=True).extras(EXAMPLE._replace(payload=payload)) == (
        "" if expected is None else f',"Json":{expected}'
    )
