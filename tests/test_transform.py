"""What a target receives: the service's rules on constants, paths, templates and quotes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcapeda.errors import BadRule
from pcapeda.rules.json_reader import read_event
from pcapeda.rules.rule import Rule, Target, Transformer
from pcapeda.rules.transform import at_path, found, receives, to_json

EVENT: dict[str, Any] = {
    "version": "0",
    "id": "7bf73129-1428-4cd3-a780-95db273d1602",
    "detail-type": "UdpPacket",
    "source": "udp.raw",
    "account": "123456789012",
    "time": "2026-04-10T22:44:04Z",
    "region": "eu-west-1",
    "resources": ["arn:a", "arn:b"],
    "detail": {
        "Destination": {"IpAddress": "192.0.2.1", "Port": 514},
        "Text": 'say "hello"\n',
        "Via": ["eth", "vlan:10"],
        "Seen": [{"name": "Anna", "n": 1}, {"name": "Bob"}],
        "Truncated": True,
        "Nothing": None,
        "a/b_c-1": "odd",
    },
}
RULE = Rule("syslog", None, bus="udp")


def received(template: str | None = None, paths: dict[str, str] | None = None, **target: Any) -> str:
    transformer = None if template is None else Transformer(tuple((paths or {}).items()), template)
    return receives(Target("t", "arn", transformer=transformer, **target), EVENT, RULE)


def test_everything_by_default() -> None:
    """A target that asks for nothing special receives the whole event."""
    assert json.loads(received()) == EVENT
    assert " " not in received().replace('say \\"hello\\"', "")


def test_a_constant() -> None:
    """Input is passed on as it is written; it must be JSON."""
    assert received(input='{"a": 1}') == '{"a": 1}'
    with pytest.raises(BadRule, match=r"JSON syntax error in Input for target t\."):
        received(input="just text")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$", EVENT),
        ("$.detail-type", "UdpPacket"),
        ("$.detail.Destination", {"IpAddress": "192.0.2.1", "Port": 514}),
        ("$.detail.Destination.Port", 514),
        ("$.detail.Via[1]", "vlan:10"),
        ("$.resources[*]", ["arn:a", "arn:b"]),
        ("$.detail.Seen[*].name", ["Anna", "Bob"]),
        ("$.detail.Seen[*].n", [1]),
        ("$.detail.Destination.*", ["192.0.2.1", 514]),
        ("$.detail.Seen[0].*", ["Anna", 1]),
        ("$.detail.a/b_c-1", "odd"),
        ("$.detail.Nothing", None),
        ("$.detail.Text[*]", []),
    ],
)
def test_paths(path: str, value: Any) -> None:
    """Dot notation with indexes and wildcards; a wildcard gives the list of what is there."""
    assert at_path(EVENT, path) == value
    assert json.loads(received(input_path=path)) == value


@pytest.mark.parametrize("path", ["$.nowhere", "$.detail.Via[2]", "$.detail.Via.x", "$.source[0]", "$.detail.Text.x"])
def test_paths_that_lead_nowhere(path: str) -> None:
    """What is not there is told apart from null."""
    assert not found(at_path(EVENT, path))
    assert found(at_path(EVENT, "$.detail.Nothing"))
    assert received(input_path=path) == "null"


@pytest.mark.parametrize(
    "path", ["", "detail", "$detail", "$.detail['Text']", "$..Port", "$.a[-1]", "$.a[", "$.", "$.a b"]
)
def test_paths_that_are_none(path: str) -> None:
    """Bracket notation, deep scans and other JSON path syntax are refused, as the service documents."""
    with pytest.raises(BadRule, match="Invalid JSON path"):
        received(input_path=path)


PATHS = {
    "ip": "$.detail.Destination.IpAddress",
    "port": "$.detail.Destination.Port",
    "to": "$.detail.Destination",
    "via": "$.detail.Via",
    "cut": "$.detail.Truncated",
    "no": "$.detail.nowhere",
    "nil": "$.detail.Nothing",
    "text": "$.detail.Text",
    "detail-type": "$.detail-type",
}


@pytest.mark.parametrize(
    ("template", "result"),
    [
        # text in quotes keeps its quotes
        ('"from <ip>, port <port>"', '"from 192.0.2.1, port 514"'),
        ('"the <detail-type> \\"<ip>\\""', '"the UdpPacket \\"192.0.2.1\\""'),
        ('"info: <no>"', '"info: "'),
        ('"<cut> <nil>"', '"true null"'),
        ('"line <ip>"\n"line <port>"', '"line 192.0.2.1"\n"line 514"'),
        ('"plain"', '"plain"'),
        # outside quotes a value becomes JSON
        ('{"ip": <ip>, "port": <port>}', '{"ip": "192.0.2.1", "port": 514}'),
        ('{"ip": "<ip>", "port": "<port>"}', '{"ip": "192.0.2.1", "port": "514"}'),
        ('{"to": <to>}', '{"to": {"IpAddress":"192.0.2.1","Port":514}}'),
        ('{"via": [<via>, 9, "x"]}', '{"via": [["eth","vlan:10"], 9, "x"]}'),
        ('{"path": "udp/<ip>/<port>/in"}', '{"path": "udp/192.0.2.1/514/in"}'),
        ('{"text": <text>}', '{"text": "say \\"hello\\"\\n"}'),
        ('{"no": <no>, "nil": <nil>, "cut": <cut>}', '{"no": "", "nil": null, "cut": true}'),
        ("<to>", '{"IpAddress":"192.0.2.1","Port":514}'),
        ("<ip>", '"192.0.2.1"'),
        ("[<port>, <port>]", "[514, 514]"),
        # inside the quotes of text an object loses its quotes
        ('"to <to>"', '"to {IpAddress:192.0.2.1,Port:514}"'),
        ('"via <via>"', '"via [eth,vlan:10]"'),
        # brackets that are no placeholder can only be text after a line end
        ('{"a": "1 < 2"}', '{"a": "1 < 2"}'),
    ],
)  # fmt: skip
def test_templates(template: str, result: str) -> None:
    """Quotes in the template decide how a value is put in."""
    assert received(template, PATHS) == result


# What comes of a value: outside quotes, inside quotes of a JSON template, inside quotes of text. None: no JSON comes of
# the template, and the target gets nothing.
CELLS: dict[str, tuple[Any, str, str | None, str]] = {
    "a string": ("x y", '"x y"', "x y", "x y"),
    "a string with quotes": ('a "b"', '"a \\"b\\""', None, 'a "b"'),
    "a string with a line end": ("a\nb", '"a\\nb"', None, "a\nb"),
    "a string with a backslash": ("C:\\x", '"C:\\\\x"', None, "C:\\x"),
    "a string with a backslash that escapes": ("a\\nb", '"a\\\\nb"', "a\\nb", "a\\nb"),
    "an empty string": ("", '""', "", ""),
    "a number": (514, "514", "514", "514"),
    "a fraction": (1.5, "1.5", "1.5", "1.5"),
    "true": (True, "true", "true", "true"),
    "null": (None, "null", "null", "null"),
    "an object": ({"a": "b", "n": [1]}, '{"a":"b","n":[1]}', None, "{a:b,n:[1]}"),
    "an object with quotes in it": ({"a": 'b"c\\'}, '{"a":"b\\"c\\\\"}', None, "{a:bc\\\\}"),
    "an empty object": ({}, "{}", "{}", "{}"),
    "a list": (["HIGH", "LOW"], '["HIGH","LOW"]', None, "[HIGH,LOW]"),
    "a list of numbers": ([1, 2], "[1,2]", "[1,2]", "[1,2]"),
    "an empty list": ([], "[]", "[]", "[]"),
    "nothing there": (..., '""', "", ""),
}  # fmt: skip
OUTSIDE = ['{"k":<v>}', '{"k":{"m":[<v>, 1]},"o":<v>}', "[<v>]", " <v>", '{"\\"k":<v>}']
QUOTED = ['{"k":"<v>"}', '{"k":"a <v> b <v>"}', '["<v>"]', '[{"k":["a <v>"]}]', ' {"k":"\\"<v>"}']
TEXT = ['"<v>"', '"a <v> b <v>"', '"a <v>"\n"b <v>"', ' "\\"<v>\\" {<v>}"']
KEYS = ['{"<v>":1}', '{<v>:1}', '{"k":{"a <v>":1}}', '[{"<v>":<v>}]']  # fmt: skip


@pytest.mark.parametrize("kind", CELLS)
def test_every_value_in_every_place_of_every_template(kind: str) -> None:
    """What a value becomes depends on the quotes around it and on the template, and on nothing else."""
    value, outside, quoted, text = CELLS[kind]
    event = {"detail": {} if value is ... else {"v": value}}

    def filled(template: str) -> str:
        transformer = Transformer((("v", "$.detail.v"),), template)
        return receives(Target("t", "a", transformer=transformer), event, RULE)

    for template in OUTSIDE:
        assert filled(template) == template.replace("<v>", outside)
        json.loads(filled(template))
    for template in QUOTED:
        if quoted is None:
            with pytest.raises(BadRule, match="target t: no valid JSON comes of its template, so it gets nothing"):
                filled(template)
        else:
            assert filled(template) == template.replace("<v>", quoted)
            json.loads(filled(template))
    for template in TEXT:
        assert filled(template) == template.replace("<v>", text)
    for template in KEYS:
        with pytest.raises(BadRule, match="Invalid InputTemplate for target t"):
            filled(template)


@pytest.mark.parametrize(
    ("template", "result"),
    [
        ('{"payload": "<payload>"}', None),
        ('{"singlelistitem": "<listsingle>"}', None),
        ('{"not_valid": "users-service/users/<payload>", "bod": <payload>}', None),
        ('{"nested": {"level": "users/<user>"}, "bod": <payload>}',
         '{"nested": {"level": "users/baz"}, "bod": {"acc_id":"0a787ecb-4015","sf_id":"baz"}}'),
        ('"Payload of <payload> with path users/<user>"',
         '"Payload of {acc_id:0a787ecb-4015,sf_id:baz} with path users/baz"'),
        ('"single <listsingle> multiple <listmulti>"', '"single [HIGH] multiple [ACTIVE,INACTIVE]"'),
        ('{"command": <nothere>}', '{"command": ""}'),
        ('"info <nothere>"', '"info "'),
        ('"{[/Check with special characters for <user>"', '"{[/Check with special characters for baz"'),
    ],
)  # fmt: skip
def test_recorded_answers(template: str, result: str | None) -> None:
    """Answers that AWS itself gave: objects and lists inside quotes reach the target in text only."""
    payload = {"acc_id": "0a787ecb-4015", "sf_id": "baz"}
    event = {"detail": {"payload": payload, "listsingle": ["HIGH"], "listmulti": ["ACTIVE", "INACTIVE"]}}
    paths = {"payload": "$.detail.payload", "user": "$.detail.payload.sf_id", "nothere": "$.detail.notinmessage"}
    paths |= {name: f"$.detail.{name}" for name in ("listsingle", "listmulti")}
    target = Target("t", "a", transformer=Transformer(tuple(paths.items()), template))
    if result is None:
        with pytest.raises(BadRule, match="it gets nothing") as caught:
            receives(target, event, RULE)
        assert "is an object or array: put it outside quotes" in (caught.value.hint or "")
    else:
        assert receives(target, event, RULE) == result


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rule-name", "syslog"),
        ("rule-arn", "arn:aws:events:eu-west-1:123456789012:rule/udp/syslog"),
        ("event.ingestion-time", "2026-04-10T22:44:04Z"),
    ],
)
def test_reserved_strings_in_every_place(name: str, value: str) -> None:
    """They are strings like others."""
    place = f"<aws.events.{name}>"
    for template, kept in ((one, f'"{value}"') for one in OUTSIDE):
        assert received(template.replace("<v>", place)) == template.replace("<v>", kept)
    for template in (*QUOTED, *TEXT):
        assert received(template.replace("<v>", place)) == template.replace("<v>", value)
    for template in KEYS:
        with pytest.raises(BadRule, match="Invalid InputTemplate for target t"):
            received(template.replace("<v>", place))


@pytest.mark.parametrize("name", ["event", "event.json"])
def test_reserved_objects_in_every_place(name: str) -> None:
    """They are objects like others: whole outside quotes, nothing inside quotes of JSON, without quotes in text."""
    place = f"<aws.events.{name}>"
    whole = received(place)
    for template in OUTSIDE:
        assert received(template.replace("<v>", place)) == template.replace("<v>", whole)
    for template in QUOTED:
        with pytest.raises(BadRule, match="it gets nothing"):
            received(template.replace("<v>", place))
    for template in TEXT:
        made = received(template.replace("<v>", place))
        assert made == template.replace("<v>", whole.replace('\\"', "").replace('"', ""))


def test_reserved_variables() -> None:
    """The rule's name and ARN, the time of arrival, and the event without and with its detail."""
    template = (
        '{"arn": <aws.events.rule-arn>, "name": <aws.events.rule-name>, "at": <aws.events.event.ingestion-time>,'
        ' "event": <aws.events.event>, "json": <aws.events.event.json>}'
    )
    made = json.loads(received(template))
    assert made["arn"] == "arn:aws:events:eu-west-1:123456789012:rule/udp/syslog"
    assert made["name"] == "syslog"
    assert made["at"] == "2026-04-10T22:44:04Z"
    assert made["json"] == EVENT
    without = {key: value for key, value in EVENT.items() if key not in ("detail", "detail-type")}
    assert made["event"] == without | {"detailType": "UdpPacket"}
    assert received('"<aws.events.rule-name> fired"') == '"syslog fired"'


def test_rule_arns() -> None:
    """A rule of the default bus has no bus in its ARN; a rule that was read with its ARN keeps it."""
    target = Target("t", "a", transformer=Transformer((), "<aws.events.rule-arn>"))
    assert receives(target, EVENT, Rule("r", None)) == '"arn:aws:events:eu-west-1:123456789012:rule/r"'
    assert receives(target, EVENT, Rule("r", None, arn="arn:x")) == '"arn:x"'
    assert receives(target, {}, Rule("r", None)) == '"arn:aws:events:us-east-1:123456789012:rule/r"'


def test_values_are_not_escaped_inside_quotes() -> None:
    """A value with quotes of its own breaks JSON it is put into; text in quotes is passed on as it comes out."""
    with pytest.raises(BadRule, match="no valid JSON comes of its template") as caught:
        received('{"text": "<text>"}', PATHS)
    assert caught.value.hint is not None
    assert "does not escape" in caught.value.hint
    assert received('"<text>"', PATHS) == '"say "hello"\n"'


@pytest.mark.parametrize(
    ("template", "paths", "message"),
    [
        ("<ip> is there", PATHS, "Invalid InputTemplate for target t: it must be JSON, or text in double quotes"),
        ('{"a": <ip>', PATHS, "Invalid InputTemplate for target t"),
        ('{<ip>: 1}', PATHS, "Invalid InputTemplate for target t"),
        ('{"<ip>": 1}', PATHS, "a placeholder cannot be an object key"),
        ('"<ipp>"', PATHS, "InputTemplate for target t contains invalid placeholder ipp."),
        ('{"a": <b>}', {"b": "$['x']"}, "Invalid JSON path"),
        ('"x"', {"AWS.x": "$.a"}, "InputPathsMap for target t contains invalid key AWS.x."),
        ('"x"', {"a b": "$.a"}, "contains invalid key a b."),
        ('"x"', {f"k{n}": "$.a" for n in range(101)}, "has 101 entries of 100"),
        ("", {}, "must have 1 to 8,192 characters"),
        ('"' + "x" * 8191 + '"', {}, "must have 1 to 8,192 characters"),
        ('"x"', {"a": "$" + ".a" * 128}, "InputPathsMap for target t, a: the path has 257 characters of 256."),
    ],
)  # fmt: skip
def test_templates_that_the_service_refuses(template: str, paths: dict[str, str], message: str) -> None:
    """What PutTargets refuses is refused, in its words where they are known."""
    with pytest.raises(BadRule) as caught:
        received(template, paths)
    assert message in str(caught.value)


def test_the_most_that_is_taken() -> None:
    """Each limit is reached without a word."""
    assert received('"x"', {f"k{n}": "$.a" for n in range(100)}) == '"x"'
    assert len(received('"' + "x" * 8190 + '"')) == 8192
    assert received("<a>", {"a": "$." + "a" * 254}) == '""'
    assert received("<a>", {"a": "$." + "a" * 254}) == received("<" + "a" * 256 + ">", {"a" * 256: "$.a"})
    assert len(received(input='"' + "x" * 8190 + '"')) == 8192
    assert received(input_path="$." + "a" * 254) == "null"
    for refused in (
        {"input": '"' + "x" * 8191 + '"'},
        {"input_path": "$." + "a" * 255},
        {"template": "<" + "a" * 257 + ">", "paths": {"a" * 257: "$.a"}},
    ):
        with pytest.raises(BadRule, match=r"characters of|invalid key"):
            received(**refused)  # type: ignore[arg-type]


def test_one_of_the_three() -> None:
    """Input, InputPath and InputTransformer exclude each other; what is not known offline is told."""
    with pytest.raises(
        BadRule, match="Only one of Input, InputPath, or InputTransformer must be provided for target t"
    ):
        received(input="1", input_path="$")
    with pytest.raises(BadRule, match="target t: not known offline: Queue"):
        receives(Target("t", "a", problem="not known offline: Queue"), EVENT, RULE)


def test_numbers_keep_their_digits() -> None:
    """What no double holds goes through with all its digits, and a key written twice is there twice."""
    event = read_event('{"a": 1.0000000000000001, "b": 12345678901234567890, "c": {"x": 1, "x": 2}}')
    assert (
        receives(Target("t", "a"), event, RULE) == '{"a":1.0000000000000001,"b":12345678901234567890,"c":{"x":1,"x":2}}'
    )
    assert receives(Target("t", "a", input_path="$.c.x"), event, RULE) == "2"


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)


@given(JSON)
def test_any_value_outside_quotes_stays_json(value: Any) -> None:
    """Whatever the value, a placeholder outside quotes makes valid JSON of it."""
    target = Target("t", "a", transformer=Transformer((("v", "$.detail.v"),), '{"v": <v>, "list": [<v>]}'))
    assert json.loads(receives(target, {"detail": {"v": value}}, RULE)) == {"v": value, "list": [value]}
    assert json.loads(to_json(value)) == value


@given(st.text(), st.dictionaries(st.text(), st.text(), max_size=2))
def test_templates_raise_nothing_but_bad_rule(template: str, paths: dict[str, str]) -> None:
    """Whatever the template and the paths, the answer is text or BadRule."""
    said = ""
    try:
        assert isinstance(received(template, paths), str)
    except BadRule as error:
        said = str(error)
    assert said.isprintable()
