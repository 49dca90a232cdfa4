"""What lint says of rules before they are deployed."""

from typing import Any

import pytest

from pcapeda.errors import BadRule
from pcapeda.events.schema import schema
from pcapeda.rules.fields import Field
from pcapeda.rules.lint import Finding, lint
from pcapeda.rules.lint_fields import impossible, places, suggestions
from pcapeda.rules.matchers import exists
from pcapeda.rules.pattern import Pattern
from pcapeda.rules.rule import Rule


def said(*patterns: Any, **rest: Any) -> list[Finding]:
    rules = [Rule(f"r{number}", Pattern.compile(pattern), **rest) for number, pattern in enumerate(patterns, 1)]
    return lint(rules, schema("full"), source="udp.raw", detail_type="UdpPacket")


GOOD = {"source": ["udp.raw"], "detail": {"Destination": {"Port": [514]}}}


def test_a_good_rule_is_passed_over() -> None:
    """The article's rule has nothing wrong with it."""
    assert said(GOOD) == []


@pytest.mark.parametrize(
    ("detail", "path", "message"),
    [
        ({"destination": {"Port": [514]}}, "detail.destination.Port", "did you mean 'detail.Destination.Port'?"),
        ({"Destination": {"Prot": [514]}}, "detail.Destination.Prot", "did you mean 'detail.Destination.Port'?"),
        ({"Nothing": {"like": ["it"]}}, "detail.Nothing.like", "no event has this field"),
        ({"Destination": {"Port": ["514"]}}, "detail.Destination.Port", 'have a number there, the rule wants ["514"]'),
        ({"Destination": {"IpAddress": [5]}}, "detail.Destination.IpAddress", "events have a string there"),
        ({"Length": [True]}, "detail.Length", "events have a number there"),
        ({"Destination": {"Port": [{"prefix": "5"}]}}, "detail.Destination.Port", "events have a number there"),
        ({"Destination": [{"exists": True}]}, "detail.Destination", "it is an object"),
    ],
)  # fmt: skip
def test_rules_that_can_never_match(detail: dict[str, Any], path: str, message: str) -> None:
    """A field that no event has, a miscased or misspelt one, a value of a type no event has there."""
    (finding, *_) = said({"detail": detail})
    assert (finding.severity, finding.path) == ("error", path)
    assert finding.message.startswith("can never match what pcapeda emits: ")
    assert message in finding.message


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("detail.DestinationPort", ["detail.Destination.Port"]),
        ("detail.destination.port", ["detail.Destination.Port"]),
        ("Destination.Port", ["detail.Destination.Port"]),
        ("detail.dst_port", ["detail.Destination.Port"]),
        ("detail.Destnation.Prt", ["detail.Destination.Port"]),
        ("detail.Port", ["detail.Destination.Port", "detail.Source.Port"]),
        ("detail.Source.Ip", ["detail.Source.IpAddress"]),
        ("detail.SourceIPAddress", ["detail.Source.IpAddress"]),
        ("detail.src-ip", ["detail.Source.IpAddress"]),
        ("detail.checksum_status", ["detail.ChecksumStatus"]),
        ("detail.Lenght", ["detail.Length"]),
        ("detail.File", ["detail.Capture.File"]),
        ("detail.json.a.b", ["detail.Json.a.b"]),
        ("Json.a", ["detail.Json.a"]),
        ("detail.Data", ["detail.Payload"]),
        ("DetailType", ["detail-type"]),
        ("detail.region", ["region"]),
        ("detail.Nothing.like", []),
        ("detail.c-count", []),
        ("detail.Protocol", []),
        ("", []),
    ],
)
def test_suggestions_are_right_all_the_way(path: str, meant: list[str]) -> None:
    """A misspelt or misplaced name is told with the whole path that is there, or with none."""
    known = places(schema("full"))
    assert suggestions(path, known) == meant
    for one in meant:
        assert not impossible(Field(one, (exists("true"),)), schema("full"), known)


@pytest.mark.parametrize(
    ("detail", "message"),
    [
        ({"Destination": {"Port": ["514", "53"]}}, 'wants ["514", "53"]: write 514, 53 without quotes'),
        ({"Destination": {"Port": [70000]}}, "70000: numbers there are 0 to 65535"),
        ({"Destination": {"Port": [{"numeric": [">", 65535]}]}}, "numbers there are 0 to 65535"),
        ({"Destination": {"Port": [{"numeric": ["<", 0]}]}}, "numbers there are 0 to 65535"),
        ({"Length": [-1]}, "-1: numbers there are 0 and more"),
        ({"IpVersion": [5]}, "5 is none of 4, 6"),
        ({"ChecksumStatus": ["ok"]}, '"ok" is none of "good", "bad", "absent", "unverified"'),
        ({"ChecksumStatus": ["Good"]}, 'did you mean "good"?'),
        ({"ChecksumStatus": [{"prefix": "x"}]}, "is none of"),
        ({"Truncated": [False]}, "false is none of true"),
        ({"Checksum": ["1c46"]}, '"1c46" does not look like what events have there'),
        ({"Source": {"IpAddress": ["10.0.0.0/8"]}}, '"10.0.0.0/8" is no IP address: a block is {"cidr": "10.0.0.0/8"}'),
        ({"Source": {"IpAddress": ["host"]}}, '"host" is no IP address'),
        ({"Payload": ["hello"]}, 'is base64: in base64 it is "aGVsbG8="; with --text there is detail.Text'),
        ({"Payload": ["<134>"]}, "is base64"),
        ({"Payload": [{"prefix": "GET /"}]}, 'in base64 it begins with "R0VUIC"'),
        ({"Payload": [{"wildcard": "*link down*"}]}, "is base64; with --text there is detail.Text"),
    ],
)  # fmt: skip
def test_values_that_no_event_has(detail: dict[str, Any], message: str) -> None:
    """Values beyond those that a field can have, and text where there is base64."""
    finding = said({"detail": detail})[0]
    assert (finding.severity, finding.message.partition(":")[0]) == ("error", "can never match what pcapeda emits")
    assert message in finding.message


@pytest.mark.parametrize(
    "detail",
    [
        {"Destination": {"Port": [0, 65535, {"numeric": [">=", 65535]}, {"numeric": ["<=", 0]}]}},
        {"Length": [0]},
        {"IpVersion": [{"anything-but": 4}]},
        {"ChecksumStatus": [{"prefix": "un"}, {"equals-ignore-case": "GOOD"}]},
        {"Checksum": ["0x1c46", {"prefix": "0x"}]},
        {"Payload": ["aGVsbG8=", {"prefix": "R0VUI"}, {"suffix": "Cg=="}, {"wildcard": "*aGVs*"}]},
        {"Json": {"anything": {"at": ["all"]}}},
        {"Via": [{"prefix": "vlan:"}]},
    ],
)
def test_values_that_events_have(detail: dict[str, Any]) -> None:
    """Nothing is said of what can be."""
    assert said({"detail": detail}) == []


def test_a_payload_asked_for_as_text() -> None:
    """Letters that could be base64, and hardly are: the hint has the base64 of them."""
    (finding,) = said({"detail": {"Payload": [{"prefix": "syslog"}]}})
    assert finding.severity == "info"
    assert 'it begins with "c3lzbG9n"' in finding.message


def test_members_that_an_option_makes() -> None:
    """A rule on Text or Json is told the option that it needs, unless it is given."""
    rules = [
        Rule("t", Pattern.compile({"detail": {"Text": [{"prefix": "x"}]}})),
        Rule("j", Pattern.compile({"detail": {"Json": {"a": [1]}}})),
    ]
    known = {"source": "udp.raw", "detail_type": "UdpPacket"}
    told = lint(rules, schema("full"), **known, text=False, json_payload=False)
    assert [(one.severity, one.rule, one.message.partition(" (")[0]) for one in told] == [
        ("info", "t", "events have Text only with --text"),
        ("info", "j", "events have Json only with --json-payload"),
    ]
    assert lint(rules, schema("full"), **known, text=True, json_payload=True) == []
    assert [one.rule for one in lint(rules, schema("full"), **known, text=True, json_payload=False)] == ["j"]


@pytest.mark.parametrize(
    "text", ['{"wildcard": "arn:x*"}', ' { "anything-but": ["a"] } ', '{"numeric":[">",5]}', '{"exists":true}']
)
def test_an_operator_in_a_string(text: str) -> None:
    """A string that spells an operator is compared as text: told wherever it stands, also for events of others."""
    for pattern in ({"source": ["udp.raw"], "resources": [text]}, {"source": ["aws.x"], "a": [{"anything-but": text}]}):
        told = [one for one in said(pattern) if one.severity == "warning"]
        assert len(told) == 1
        assert "is compared as text: take its quotes away" in told[0].message


@pytest.mark.parametrize("text", ['{"a": 1}', "{", '["wildcard"]', '{"exists": true, "a": 1}', "prefix", '"x"'])
def test_other_json_in_a_string(text: str) -> None:
    """JSON that is no operator may be what events have."""
    assert said({"source": ["udp.raw"], "resources": [text]}) == []


@pytest.mark.parametrize(
    ("pattern", "severity", "path", "message"),
    [
        ({"source": ["aws.ec2"], "detail": {"state": ["x"]}}, "info", "source", "it is for other events: these bear"),
        ({"source": ["udp"], "detail": {"Length": [38]}}, "info", "source", "did you mean 'udp.raw'?"),
        ({"source": ["UDP.RAW"]}, "info", "source", "did you mean 'udp.raw'?"),
        ({"detail-type": ["EC2 x"], "detail": {"a": [1]}}, "info", "detail-type", "it is for other events"),
        ({"source": ["udp.raw"], "detail-type": ["UdpFlow"]}, "error", "detail-type",
         "'UdpFlow' is what --shape flow is about"),
        ({"detail-type": ["UdpFlow"]}, "error", "detail-type", "'UdpFlow' is what --shape flow is about"),
        ({"detail-type": ["UdpPackets"]}, "error", "detail-type", "did you mean 'UdpPacket'?"),
        ({"detail-type": ["udpflow"]}, "error", "detail-type", "did you mean 'UdpFlow'?"),
        ({"source": ["udp.raw"], "detail-type": ["Packet"]}, "error", "detail-type", "events bear 'UdpPacket'"),
        ({"source": ["udp.raw", "aws.ec2"], "detail": {"state": ["x"]}}, "error", "detail.state", "no event has this"),
    ],
)  # fmt: skip
def test_rules_for_other_events(pattern: Any, severity: str, path: str, message: str) -> None:
    """A rule on another source is nobody's mistake, whatever else it asks for; it is noted."""
    (finding,) = lint(
        [Rule("r", Pattern.compile(pattern))], schema("full"),
        source="udp.raw", detail_type="UdpPacket", other_types={"UdpFlow": "flow"},
    )  # fmt: skip
    assert (finding.severity, finding.path) == (severity, path)
    assert message in finding.message
    assert said({"source": [{"prefix": "udp."}], "detail-type": ["UdpPacket"]}) == []


def test_a_branch_for_other_events() -> None:
    """Of a rule for several sources only the branches for these events are looked at."""
    branches = [
        {"source": ["aws.ec2"], "detail": {"state": ["x"]}},
        {"source": ["udp.raw"], "detail": {"Length": [38]}},
    ]
    assert said({"$or": branches}) == []
    branches[1]["detail"] = {"length": [38]}
    (finding,) = said({"$or": branches})
    assert (finding.severity, finding.path) == ("error", "detail.length")


def test_neither_pattern_nor_schedule() -> None:
    """AWS asks for one of them."""
    (finding,) = lint([Rule("r", None)], schema("full"), source="udp.raw", detail_type="UdpPacket")
    assert str(finding).startswith("error: r: it has neither EventPattern nor ScheduleExpression")


def test_a_branch_that_can_never_match() -> None:
    """If another branch of `$or` can match, it is a warning for the branch."""
    (finding,) = said({"detail": {"$or": [{"Length": [38]}, {"length": [38]}]}})
    assert (finding.severity, finding.path) == ("warning", "detail.length")
    assert "detail.$or[1]" in finding.message


def test_absence_is_never_hopeless() -> None:
    """A rule may ask that a field is not there."""
    assert said({"detail": {"nowhere": [{"exists": False}], "Length": [38]}}) == []


def test_invalid_patterns() -> None:
    """A pattern that is refused is an error; a schedule has none."""
    broken = Rule("broken", None, problem="Event pattern is not valid.", origin="rules.json:3")
    clock = Rule("clock", None, schedule="rate(1 hour)")
    (finding,) = lint([broken, clock], schema("full"), source="udp.raw", detail_type="UdpPacket")
    assert str(finding) == "rules.json:3: error: broken: Event pattern is not valid."


def test_the_quota_of_characters_is_taken_to_the_last() -> None:
    """2,048 characters are as many as there may be, without white space outside strings; 4,096 compile."""

    def sized(size: int) -> str:
        text = '{"detail": {"Text": ["%s"]}}'
        return text % ("x" * (size - len((text % "").replace(" ", ""))))

    assert said(sized(2048)) == []
    (finding,) = said(sized(2049))
    assert (finding.severity, finding.message) == (
        "warning",
        "2,049 characters: the quota is 2,048 unless it was raised",
    )
    rules = [Rule("r", Pattern.compile(sized(4096)))]
    assert lint(rules, schema("full"), source="udp.raw", detail_type="UdpPacket", quota=4096) == []
    with pytest.raises(BadRule, match="it has 4,097 characters of 4,096"):
        Pattern.compile(sized(4097))


@pytest.mark.parametrize(("detail", "most", "what"), [
    ({"Length": [0]}, 300, "rules"),
    ({"Text": [{"wildcard": "a*b"}]}, 30, "rules with wildcards"),
    ({"Text": [{"anything-but": {"wildcard": "a*b"}}]}, 30, "rules with wildcards"),
])  # fmt: skip
def test_the_quotas_of_a_bus_are_taken_to_the_last(detail: Any, most: int, what: str) -> None:
    """As many rules as a bus takes are none too many; one more is; each bus counts by itself."""

    def told(*buses: str) -> list[str]:
        one = Pattern.compile({"detail": detail})
        rules = [Rule(f"r{number}", one, bus=bus) for number, bus in enumerate(buses)]
        found = lint(rules, schema("full"), source="udp.raw", detail_type="UdpPacket")
        return [str(one) for one in found if "quota" in one.message]

    assert told(*["default"] * most) == []
    assert told(*["default"] * most, "arn:aws:events:eu-west-1:123456789012:event-bus/x", "${Bus}") == []
    assert told(*["x"] * most, "arn:aws:events:eu-west-1:123456789012:event-bus/x") == [
        f"warning: {most + 1} {what} on bus x: the quota is {most} unless it was raised"
    ]


@pytest.mark.parametrize(
    ("detail", "message"),
    [
        ({"Source": {"IpAddress": ["fe80::1"]}}, "is compared as one"),
        ({"Source": {"IpAddress": [{"cidr": "10.0.0.0/8"}]}}, "also matches IPv6 addresses that begin with its bits"),
        ({"Text": [{"equals-ignore-case": "straße"}]}, "no other folding"),
        ({"Text": [{"anything-but": "a"}, {"anything-but": "b"}]}, "joined by OR"),
        ({"Text": ["514"]}, "is a string: the number 514 does not match it"),
    ],
)
def test_surprises(detail: dict[str, Any], message: str) -> None:
    """Where the engine does what a person may not expect, it is told, not changed."""
    (finding,) = said({"detail": detail})
    assert finding.severity == "info"
    assert message in finding.message


def test_notes_of_the_compiler() -> None:
    """Keys written twice are warned of."""
    (finding,) = said('{"detail": {"Length": [1], "Length": [2]}}')
    assert (finding.severity, finding.message) == ("warning", "detail.Length is written twice: the last one counts")


def test_duplicates_and_overlaps() -> None:
    """Rules of one bus that select the same events, and rules within others."""
    twins = said(GOOD, {"detail": {"Destination": {"Port": [514]}}, "source": ["udp.raw"]})
    assert [(one.severity, one.rule, one.message) for one in twins] == [
        ("warning", "r2", "selects the same events as rule r1")
    ]
    inner = said({"source": ["udp.raw"]}, GOOD)
    assert [(one.severity, one.rule, one.message) for one in inner] == [
        ("info", "r2", "all it selects is also selected by rule r1")
    ]
    apart = [Rule("a", Pattern.compile(GOOD)), Rule("b", Pattern.compile(GOOD), bus="other")]
    assert lint(apart, schema("full"), source="udp.raw", detail_type="UdpPacket") == []


def test_errors_come_first() -> None:
    """Findings are sorted by how bad they are."""
    found = said({"detail": {"Source": {"IpAddress": ["10.0.0.1"]}}}, {"detail": {"nowhere": [1]}})
    assert [one.severity for one in found] == ["error", "info"]
    assert found[0].data()["rule"] == "r2"
