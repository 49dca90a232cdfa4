"""Rules from every kind of source: what is read, what is resolved, and what is named because it is not known."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pcapeda.errors import BadConfig, BadRule, SinkDown
from pcapeda.rules.rule import Rule, Target, Transformer
from pcapeda.rules.sources.load import Loaded, load
from pcapeda.rules.sources.source_tree import MAX_BYTES, data_of, read_document, read_text

from .moto_server import client, moto_server

RULES = Path(__file__).parents[1] / "fixtures" / "rules"


def loaded(*names: str, **options: Any) -> Loaded:
    return load([str(RULES / name) for name in names], **options)


def named(found: Loaded) -> dict[str, Rule]:
    rules = {rule.name: rule for rule in found.rules}
    assert len(rules) == len(found.rules)
    return rules


def pattern(rule: Rule) -> Any:
    assert rule.pattern is not None, rule.problem
    return json.loads(rule.pattern.text)


def text_rules(tmp_path: Path, text: str, name: str = "rules.yaml", **options: Any) -> Loaded:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return load([str(path)], **options)


# single rules


def test_a_bare_pattern_is_a_rule_named_after_its_file() -> None:
    """JSON and YAML patterns alone, on the default bus, with the place they are written at."""
    rules = named(loaded("patterns/syslog.json", "patterns/dns.yaml"))
    assert list(rules) == ["syslog", "dns"]
    assert pattern(rules["syslog"]) == {"source": ["udp.raw"], "detail": {"Destination": {"Port": [514]}}}
    assert len(rules["dns"].pattern.alternatives) == 2  # type: ignore[union-attr]
    assert rules["syslog"].bus == "default"
    assert rules["syslog"].origin == f"{RULES}/patterns/syslog.json:1"


def test_the_shapes_of_the_event_bridge_api() -> None:
    """put-rule input, describe-rule, list-rules with targets beside it, and a list of rules with targets."""
    found = loaded("api")
    rules = named(found)
    assert not found.problems
    assert set(rules) == {"heartbeat", "ntp", "ntp-old", "snmp-trap", "statsd", "udp-port-514"}
    assert rules["udp-port-514"].bus == "udp"
    assert rules["heartbeat"].inactive_reason() == "runs on a schedule"
    assert rules["heartbeat"].arn == "arn:aws:events:eu-west-1:123456789012:rule/heartbeat"
    assert rules["ntp-old"].inactive_reason() == "disabled"
    assert found.targets["ntp"] == (
        Target("clock", "arn:aws:sqs:eu-west-1:123456789012:clock", input_path="$.detail.Source"),
    )
    assert found.targets["snmp-trap"][0].transformer == Transformer(
        (("from", "$.detail.Source.IpAddress"), ("size", "$.detail.Length")),
        '"trap from <from>, <size> bytes"',
    )


def test_targets_that_belong_to_no_rule_are_named(tmp_path: Path) -> None:
    """The output of list-targets-by-rule says no rule: a file whose name does not either is a problem."""
    (tmp_path / "a.json").write_text('{"Name": "a", "EventPattern": {"source": ["a"]}}')
    (tmp_path / "b.json").write_text('{"Name": "b", "EventPattern": {"source": ["b"]}}')
    (tmp_path / "targets.json").write_text('{"Targets": [{"Id": "x", "Arn": "y"}]}')
    found = load([str(tmp_path)])
    assert [str(one) for one in found.problems] == [
        f"{tmp_path}/targets.json: which rule has these targets? name the file after the rule"
    ]
    (tmp_path / "targets.json").rename(tmp_path / "rule-b-targets.json")
    assert load([str(tmp_path)]).targets == {"a": (), "b": (Target("x", "y"),)}


def test_invalid_patterns_are_kept_and_named_with_their_place(tmp_path: Path) -> None:
    """A pattern that EventBridge would refuse leaves a rule that selects nothing, and an error with file and line."""
    found = text_rules(tmp_path, "source: [a]\ndetail:\n  Port:\n    - numeric: [gt, 5]\n", "bad.yaml")
    (rule,) = found.rules
    message = "Event pattern is not valid. Reason: Unrecognized numeric range operator: gt at detail.Port"
    assert (rule.pattern, rule.inactive_reason()) == (None, message)
    assert [str(one) for one in found.problems] == [f"{tmp_path}/bad.yaml:4: bad: {message}"]
    found = text_rules(tmp_path, '{"Name": "x", "EventPattern": "{\\"a\\": 1}"}', "rule.json")
    assert found.problems[0].message.endswith('"a" must be an object or an array at a (line 1, column 7)')


def test_keys_written_twice_keep_their_meaning(tmp_path: Path) -> None:
    """A pattern's file is read with its duplicate keys: objects are merged, of two arrays the last counts."""
    found = text_rules(tmp_path, '{"detail": {"a": [1]}, "detail": {"b": [2], "b": [3]}}', "twice.json")
    (rule,) = found.rules
    assert rule.pattern is not None
    assert rule.pattern.paths == ("detail.a", "detail.b")
    assert rule.pattern.matches({"detail": {"a": 1, "b": 3}})


# templates


def test_cloudformation() -> None:
    """Parameters, pseudo parameters, mappings, conditions and functions are resolved; the rest is named."""
    found = loaded("cloudformation/template.yaml")
    rules = named(found)
    syslog = rules["syslog-prod"]
    assert syslog.bus == "udp-prod"
    assert pattern(syslog) == {
        "source": ["udp.raw", "udp.test"],
        "account": ["123456789012"],
        "region": ["us-east-1"],
        "detail": {"Destination": {"Port": [514]}, "Source": {"IpAddress": [{"cidr": "198.51.100.0/24"}]}},
    }
    log, function = syslog.targets
    assert log.arn == "arn:aws:logs:us-east-1:123456789012:log-group:/udp"
    assert function.arn == "${Function.Arn}"
    assert function.transformer is not None
    assert function.transformer.template == '{"stage": "prod", "from": <from>}\n'
    assert "OnlyInTest" not in rules
    assert rules["OnlyInProd"].bus == "arn:aws:events:us-east-1:123456789012:event-bus/udp-prod"
    assert pattern(rules["OnlyInProd"]) == {"detail-type": ["UdpPacket"], "detail": {"Text": [{"prefix": "<134>"}]}}
    assert rules["Hourly"].inactive_reason() == "runs on a schedule"
    assert [one.message for one in found.problems] == [
        'not known offline: Fn::ImportValue "shared-source"',
        "not known offline: parameter Secret is read from SSM (give its value as a parameter)",
        "not known offline: parameter Unset has no default (give it as a parameter)",
        'Event pattern is not valid. Reason: "source" must be an object or an array at source',
        "0514 is 332 in YAML 1.1: quote it, or write 332",
    ]
    assert [one.message.partition(": ")[0] for one in found.notes] == ["the rules of a nested stack are not read"]
    lines = (RULES / "cloudformation/template.yaml").read_text().splitlines()
    for problem in found.problems:
        line = int(problem.origin.rpartition(":")[2])
        assert any(word in lines[line - 1] for word in ("ImportValue", "Secret", "Unset", "source: udp.raw", "0514"))


def test_a_number_parameter_is_text() -> None:
    """CloudFormation makes text of every parameter: a port from one asks for a string, and the rule is read so."""
    assert pattern(named(loaded("cloudformation/template.yaml"))["PortIsText"]) == {
        "detail": {"Destination": {"Port": ["514"]}}
    }


def test_parameters_region_and_account() -> None:
    """What is given replaces defaults; a parameter that nothing asks for is noted."""
    given = {"Stage": "test", "Secret": "s3", "Unset": "now", "Stgae": "typo"}
    found = loaded("cloudformation/template.yaml", parameters=given, region="eu-central-1", account="210987654321")
    rules = named(found)
    assert pattern(rules["syslog-test"])["detail"]["Source"] == {"IpAddress": [{"cidr": "203.0.113.0/24"}]}
    assert pattern(rules["syslog-test"])["account"] == ["210987654321"]
    assert pattern(rules["OnlyInTest"]) == {"source": ["test"]}
    assert rules["OnlyInProd"].state == "DISABLED"
    assert "detail-type" not in pattern(rules["OnlyInProd"])
    assert pattern(rules["FromSsm"]) == {"detail": {"Text": ["s3"]}}
    assert pattern(rules["NoDefault"]) == {"detail": {"Text": ["now"]}}
    assert "Stgae is not asked for by any template" in [one.message for one in found.notes]
    china = named(loaded("cloudformation/template.yaml", region="cn-north-1"))["syslog-prod"]
    assert china.targets[0].arn == "arn:aws-cn:logs:cn-north-1:123456789012:log-group:/udp"


def test_sam() -> None:
    """EventBridgeRule and CloudWatchEvent events of functions and state machines, and their schedules."""
    found = loaded("cloudformation/sam.yaml")
    rules = named(found)
    assert not found.problems
    assert set(rules) == {"ParserSyslog", "ParserOld", "ParserTick", "telemetry"}
    assert pattern(rules["ParserSyslog"])["detail"] == {"Destination": {"Port": [514, 6514]}}
    assert rules["ParserSyslog"].targets == (Target("parser", "${Parser.Arn}", input_path="$.detail"),)
    assert rules["ParserOld"].inactive_reason() == "disabled"
    assert rules["ParserTick"].state == "DISABLED"
    assert rules["telemetry"].bus == "udp"
    assert rules["telemetry"].targets[0].input == '{"why": "hot"}'


def test_cdk() -> None:
    """A synthesised template: JSON, logical ids, targets by reference."""
    found = loaded("cloudformation/Stack.template.json")
    (rule,) = found.rules
    assert not found.problems
    assert (rule.name, rule.bus) == ("SyslogRule2C8C4E0B", "udp")
    assert rule.targets[0].arn == "${Queue4A7E3555.Arn}"
    assert rule.origin.endswith("Stack.template.json:3")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("!Ref Nowhere", "Nowhere, which the template does not declare"),
        ("!Ref AWS::StackId", "AWS::StackId (give it as a parameter)"),
        ("!GetAtt Queue.QueueName", "Queue.QueueName (AWS::SQS::Queue)"),
        ("!FindInMap [A, b, c]", "no mapping A.b.c"),
        ("!Select [7, [a]]", "Fn::Select finds no element 7"),
        ("!If [Nope, a, b]", "condition Nope is not defined"),
        ("!If [Loop, a, b]", "condition Loop is defined by itself"),
        ("!Cidr [10.0.0.0/8, 1, 8]", 'Fn::Cidr ["10.0.0.0/8",1,8]'),
        ("!Transform {Name: x}", 'Fn::Transform {"Name":"x"}'),
        ("{'Fn::Sub': '${Queue.Arn}'}", "Queue.Arn (AWS::SQS::Queue)"),
    ],
)
def test_what_is_not_known_offline_is_named(tmp_path: Path, value: str, reason: str) -> None:
    """Nothing is guessed: a value that cannot be resolved leaves the rule without a pattern, and says which."""
    text = (
        "Conditions: {Loop: !Not [!Condition Loop]}\nResources:\n  Queue: {Type: AWS::SQS::Queue}\n  R:\n"
        f"    Type: AWS::Events::Rule\n    Properties:\n      EventPattern:\n        source:\n          - {value}\n"
    )
    found = text_rules(tmp_path, text)
    assert [(one.message, one.origin.rpartition(":")[2]) for one in found.problems] in (
        [(f"not known offline: {reason}", "9")],
        [(f"not known offline: {reason}", "1")],  # the condition's own place
    )
    assert found.rules[0].inactive_reason() == f"not known offline: {reason}"


@pytest.mark.parametrize(
    ("function", "value"),
    [
        ("!Base64 ab", "YWI="),
        ("!Sub ['${a}-${!b}', {a: x}]", "x-${b}"),
        ("!Join [':', [a, !Ref P, c]]", "a:p:c"),
        ("!Select ['0', !Ref L]", "one"),
        ("!Select [1, !Split ['/', 'a/b']]", "b"),
        ("{'Fn::FindInMap': [M, x, z, {DefaultValue: d}]}", "d"),
        ("{'Fn::ToJsonString': {a: [1, true]}}", '{"a":[1,true]}'),
        ("!Ref AWS::URLSuffix", "amazonaws.com"),
        ("!Ref Bus", "b"),
        ("!Ref Other", "other"),
    ],
)
def test_functions(tmp_path: Path, function: str, value: str) -> None:
    """Each function that is resolved gives what CloudFormation's reference says."""
    text = (
        "Parameters: {P: {Type: String, Default: p}, L: {Type: List<Number>, Default: 'one,two'}}\n"
        "Mappings: {M: {x: {y: z}}}\nResources:\n  Bus: {Type: AWS::Events::EventBus, Properties: {Name: b}}\n"
        "  Other: {Type: AWS::Events::Rule, Properties: {Name: other, EventPattern: {source: [a]}}}\n"
        f"  R: {{Type: AWS::Events::Rule, Properties: {{EventPattern: {{source: [{function}]}}}}}}\n"
    )
    found = text_rules(tmp_path, text)
    assert not found.problems
    assert pattern(named(found)["R"]) == {"source": [value]}


# Terraform and Serverless


def test_terraform_plan() -> None:
    """Rules and targets of the root and of modules; a target finds its rule by name or by what it refers to."""
    found = loaded("terraform/plan.json")
    rules = named(found)
    assert rules["syslog"].bus == "udp"
    assert rules["syslog"].targets[0].transformer == Transformer(
        (("from", "$.detail.Source.IpAddress"),), '{"from": <from>}'
    )
    inner = rules['module.dns["eu"].aws_cloudwatch_event_rule.this[0]']
    assert (inner.state, inner.bus) == ("DISABLED", "default")
    assert inner.targets[0].input_path == "$.detail"
    assert [str(one).partition(": ")[2] for one in found.problems] == [
        "later: event_pattern is only known after the plan is applied"
    ]


def test_terraform_state() -> None:
    """A state's rules come with their ARNs."""
    (rule,) = loaded("terraform/state.json").rules
    assert (rule.name, rule.arn, rule.state) == ("trap", "arn:aws:events:eu-west-1:123456789012:rule/trap", "ENABLED")


def test_a_bus_that_a_plan_does_not_know(tmp_path: Path) -> None:
    """A bus whose name is made when the plan is applied is noted, and the rule kept; none is the default bus."""
    rule = {
        "mode": "managed",
        "type": "aws_cloudwatch_event_rule",
        "values": {"name": "r", "event_pattern": '{"source":["a"]}'},
    }
    plan = {
        "format_version": "1.2",
        "planned_values": {"root_module": {"resources": [rule | {"address": "aws_cloudwatch_event_rule.r"}]}},
    }
    assert text_rules(tmp_path, json.dumps(plan), "plan.json").rules[0].bus == "default"
    referring = {
        "address": "aws_cloudwatch_event_rule.r",
        "expressions": {"event_bus_name": {"references": ["local.b"]}},
    }
    plan["configuration"] = {"root_module": {"resources": [referring]}}
    found = text_rules(tmp_path, json.dumps(plan), "plan.json")
    (one,) = found.rules
    assert (one.bus, one.bus_known, one.inactive_reason("any")) == ("${local.b}", False, "")
    assert not found.problems
    assert "event_bus_name is only known after the plan is applied" in found.notes[0].message


def test_serverless() -> None:
    """eventBridge events with the service's variables resolved, and its CloudFormation resources."""
    found = loaded("serverless/serverless.yml")
    rules = named(found)
    parser = rules["udp-dev-parser-rule-2"]  # the framework counts all events of the function
    assert parser.bus == "udp-dev"
    assert pattern(parser)["detail"] == {"Destination": {"Port": [514, 5514]}}
    assert parser.targets[0].transformer == Transformer((("from", "$.detail.Source.IpAddress"),), '{"from": <from>}')
    assert rules["udp-dev-parser-rule-3"].state == "DISABLED"
    assert rules["Dns"].bus == "udp-dev"
    assert [one.message for one in found.problems] == ["not known offline: ${ssm:/udp/secret}"]
    prod = named(loaded("serverless/serverless.yml", parameters={"stage": "prod"}))["udp-prod-parser-rule-2"]
    assert (prod.bus, pattern(prod)["detail"]) == ("udp-prod", {"Destination": {"Port": [514]}})


def test_serverless_variables_that_go_round(tmp_path: Path) -> None:
    """Variables that are defined by themselves are named, not followed for ever."""
    text = (
        "service: s\nprovider: {name: aws}\ncustom: {a: 'x${self:custom.b}', b: 'y${self:custom.a}'}\nfunctions:\n"
        "  f: {handler: h, events: [{eventBridge: {pattern: {source: ['${self:custom.a}']}}}]}\n"
    )
    found = text_rules(tmp_path, text)
    assert "defined by itself" in found.problems[0].message


# YAML


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("514", 514), ("-1", -1), ("1.50", 1.5), ("1e3", 1000.0), ("'514'", "514"), ("!!str 514", "514"),
        ("true", True), ("False", False), ("~", None), ("", None), ("NULL", None), ("nUll", "nUll"),
        ("2024-01-01", "2024-01-01"), ("=", "="), ("y", "y"),
        ("098", "098"), ("987654321098", 987654321098), ("098765432109", "098765432109"),
        ("1.2.3.4", "1.2.3.4"), ("0o17", "0o17"), (".inf", ".inf"), ("|-\n  5", "5"),
    ],
)  # fmt: skip
def test_yaml_scalars_are_what_json_would_have(written: str, value: Any) -> None:
    """A plain scalar is a number or word where JSON spells it so, and text elsewhere."""
    document = read_text(f"a: {written}\n".encode(), "x.yaml")
    assert data_of(document.root) == {"a": value}
    assert not document.odd


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0514", 332), ("1_000", 1000), ("12:30", 750), ("0x1F", 31), ("0b101", 5), ("+5", 5), (".5", 0.5),
        ("1.", 1.0), ("on", True), ("No", False), ("-0_17", -15),
    ],
)  # fmt: skip
def test_yaml_scalars_that_are_not_what_they_look(written: str, value: Any) -> None:
    """Spellings that YAML 1.1 reads otherwise have that meaning, and are told."""
    document = read_text(f"a: {written}\n".encode(), "x.yaml")
    assert data_of(document.root) == {"a": value}
    assert [odd.startswith(f"{written} is ") for odd in document.odd.values()] == [True]


def test_yaml_aliases_and_merges() -> None:
    """Anchors, aliases and merge keys mean what YAML says; what is written beside a merge wins."""
    text = "base: &b {x: 1, y: 2}\nall: [*b, *b]\none: {<<: *b, y: 3}\nmany: {<<: [{x: 5}, *b], z: 0}\n"
    assert data_of(read_text(text.encode(), "x.yaml").root) == {
        "base": {"x": 1, "y": 2},
        "all": [{"x": 1, "y": 2}] * 2,
        "one": {"x": 1, "y": 3},
        "many": {"x": 5, "y": 2, "z": 0},
    }


_BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1]\n" + "\n".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 8)}]" for before, name in itertools.pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_BOMB.encode(), "more than 100,000 values, counting aliases"),
        (b"a: &a [*a]", "an alias contains itself in line 1"),
        (b"- " * 3000 + b"x", "nested deeper than 200 levels"),
        (b"[" * 100_000, "nest"),  # some versions of the parser give up first, in their own words
        (b"a: 1\n---\nb: 2", "2 documents in one file"),
        (b"", "nothing in it"),
        (b"# nothing", "nothing in it"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a: b: c", "mapping values are not allowed in this context in line 1"),
        (b"a: !!python/object/apply:os.system ['true']", ""),
        (b"? [a]\n: 1", "a key that is no text in line 1"),
        (b"!!int x", "'x' is no int in line 1"),
    ],
)
def test_hostile_and_broken_files(data: bytes, message: str) -> None:
    """What cannot be read, or would unfold without bound, is a BadRule of one line that names the file."""
    if not message:  # an unknown tag constructs nothing: it is kept as text to be named where it counts
        assert data_of(read_text(data, "f.yaml").root) == {"a": ["true"]}
        return
    with pytest.raises(BadRule) as caught:
        read_text(data, "f.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("f.yaml: ")
    assert "\n" not in str(caught.value)


def test_large_json_is_read_without_lines(tmp_path: Path) -> None:
    """Beyond half a megabyte JSON is read faster, and places are files without lines."""
    many = [
        {"Name": f"rule-{n}", "EventPattern": {"detail": {"n": [n, 1.5]}, "source": ["x" * 60]}} for n in range(6000)
    ]
    found = text_rules(tmp_path, json.dumps(many), "many.json")
    assert len(found.rules) == 6000
    assert pattern(found.rules[5]) == many[5]["EventPattern"]
    assert found.rules[5].origin == f"{tmp_path}/many.json"


# folders and accounts


def test_a_folder_is_searched_and_what_holds_no_rules_is_noted(tmp_path: Path) -> None:
    """Folders are searched without hidden files, node_modules and suites; other files are left out, and named."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.yml").write_text("source: [b]\n")
    (tmp_path / "a.json").write_text('{"source": ["a"]}')
    (tmp_path / "package.json").write_text('{"name": "x", "version": "1"}')
    (tmp_path / "broken.yaml").write_text("a: [")
    (tmp_path / "run.pcapeda.yaml").write_text("captures: []\n")
    for hidden in (".git", "node_modules"):
        (tmp_path / hidden).mkdir()
        (tmp_path / hidden / "c.json").write_text('{"source": ["c"]}')
    found = load([str(tmp_path)])
    assert [rule.name for rule in found.rules] == ["a", "b"]
    assert not found.problems
    assert [Path(one.origin).name for one in found.notes] == ["broken.yaml", "package.json"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.json", "[1, 2]", "no rules in it"),
        ("x.json", '"text"', "no rules in it"),
        ("x.yaml", "just words", "no rules in it"),
        ("x.json", "{", "not readable as JSON or YAML"),
        ("x.json", "{} {}", "text after the end of the document (line 1, column 4)"),
        ("missing", None, "No such file or directory"),
    ],
)
def test_sources_that_cannot_be_used(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    """A file given by name must be readable and hold rules: fail closed, with the file and the reason."""
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadRule) as caught:
        load([str(path)])
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_files_beyond_the_limit_are_not_read(tmp_path: Path) -> None:
    """A file larger than any source of rules is refused before it is read."""
    path = tmp_path / "huge.json"
    with path.open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(BadRule, match="bytes are more than the"):
        load([str(path)])
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BadRule, match="files in it"):
        load([str(empty)])


def test_plain_documents(tmp_path: Path) -> None:
    """Other files of the product are read by the same reader, as plain data."""
    path = tmp_path / "suite.yaml"
    path.write_text("a: [1, 2.5, x, true, ~]\nb: {c: 'on'}\n")
    assert read_document(str(path)) == {"a": [1, 2.5, "x", True, None], "b": {"c": "on"}}
    with pytest.raises(BadConfig, match="No such file"):
        read_document(str(tmp_path / "nowhere.yaml"))


@pytest.fixture(scope="module")
def account() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.mark.usefixtures("credentials")
def test_an_account(account: str) -> None:
    """Rules and targets of a bus are read, page after page, with state, schedule and transformer."""
    events = client("events", account)
    events.create_event_bus(Name="udp")
    for number in range(60):  # a page of moto has 50
        events.put_rule(Name=f"r{number:02}", EventBusName="udp", EventPattern=json.dumps({"detail": {"n": [number]}}))
    events.disable_rule(Name="r07", EventBusName="udp")
    events.put_rule(Name="tick", ScheduleExpression="rate(5 minutes)")
    target = {
        "Id": "one",
        "Arn": "arn:aws:sqs:us-east-1:123456789012:q",
        "InputTransformer": {"InputPathsMap": {"n": "$.detail.n"}, "InputTemplate": '{"n": <n>}'},
    }
    events.put_targets(Rule="r03", EventBusName="udp", Targets=[target])
    found = load(["aws:udp"], region="us-east-1", endpoint_url=account)
    rules = named(found)
    assert not found.problems
    assert sorted(rules) == [f"r{number:02}" for number in range(60)]
    assert rules["r07"].inactive_reason("udp") == "disabled"
    assert rules["r03"].targets == (
        Target("one", target["Arn"], transformer=Transformer((("n", "$.detail.n"),), '{"n": <n>}')),
    )
    assert rules["r03"].origin == "aws:udp/r03"
    assert rules["r03"].pattern is not None
    assert rules["r03"].pattern.matches({"detail": {"n": 3}})
    (tick,) = load(["aws:"], region="us-east-1", endpoint_url=account).rules
    assert (tick.name, tick.bus, tick.inactive_reason()) == ("tick", "default", "runs on a schedule")
    by_arn = load(["aws:arn:aws:events:us-east-1:123456789012:event-bus/udp"], endpoint_url=account)
    assert len(by_arn.rules) == 60


@pytest.mark.usefixtures("credentials")
def test_an_account_that_cannot_be_asked(account: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No such bus, nobody there, no credentials: one clear line, and the exit status that goes with it."""
    with pytest.raises((BadRule, SinkDown), match="aws:nowhere"):
        load(["aws:nowhere"], region="us-east-1", endpoint_url=account)
    with pytest.raises(SinkDown, match="rules cannot be read"):
        load(["aws:"], region="us-east-1", endpoint_url="http://127.0.0.1:9")
    with pytest.raises(BadConfig, match=r"rules cannot be read.*no-such-profile"):
        load(["aws:"], region="us-east-1", profile="no-such-profile")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(SinkDown, match="rules cannot be read: no AWS credentials"):
        load(["aws:"], region="us-east-1", endpoint_url=account)
