"""What lint says of targets: what PutTargets refuses, and what an event would find out."""

import json
from pathlib import Path
from typing import Any

import pytest

from pcapeda.events.schema import schema
from pcapeda.rules.lint import lint
from pcapeda.rules.pattern import Pattern
from pcapeda.rules.rule import Rule, Target, Transformer
from pcapeda.rules.sources.load import load

from .command import pcapeda

ALL = Pattern.compile({"source": ["udp.raw"]})
ARN = "arn:aws:sqs:eu-west-1:123456789012:q"


def said(*targets: Target, pattern: Pattern | None = ALL, schedule: str | None = None) -> list[tuple[str, str]]:
    rule = Rule("r", pattern, targets=targets, schedule=schedule)
    found = lint([rule], schema("full"), source="udp.raw", detail_type="UdpPacket")
    return [(one.severity, one.message) for one in found if one.path == ""]


def transforming(template: str, **paths: str) -> Target:
    return Target("t", ARN, transformer=Transformer(tuple(paths.items()), template))


PORT = "$.detail.Destination.Port"


@pytest.mark.parametrize(
    ("target", "severity", "message"),
    [
        (transforming('{"x": <nope>}'), "error", "InputTemplate for target t contains invalid placeholder nope."),
        (transforming('"<a b>"'), "error", "contains invalid placeholder a b."),
        (transforming('"<AWS.x>"', **{"AWS.x": PORT}), "error", "InputPathsMap for target t contains invalid key AWS."),
        (transforming('"<aws.events.x>"', **{"aws.events.x": PORT}), "error", "contains invalid key aws.events.x."),
        (transforming('"<a b>"', **{"a b": PORT}), "error", "contains invalid key a b."),
        (transforming("port <p>", p=PORT), "error", "it must be JSON, or text in double quotes"),
        (transforming('{"<p>": 1}', p=PORT), "error", "a placeholder cannot be an object key"),
        (transforming('{"p": <p>', p=PORT), "error", "Invalid InputTemplate for target t"),
        (transforming(""), "error", "must have 1 to 8,192 characters"),
        (transforming('"' + "x" * 8191 + '"'), "error", "must have 1 to 8,192 characters"),
        (transforming('"<p>"', p="$" + ".a" * 128), "error", "the path has 257 characters of 256."),
        (Target("t", ARN, input="hello"), "error", "JSON syntax error in Input for target t."),
        (Target("t", ARN, input='"' + "x" * 8191 + '"'), "error", "Input for target t has 8,193 characters of 8,192."),
        (Target("t", ARN, input="{}", input_path="$.detail"), "error", "Only one of Input, InputPath, or Input"),
        (Target("t", ARN, input_path="$." + "a" * 255), "error", "InputPath for target t has 257 characters of 256."),
        (Target("t", ""), "error", "target t has no Arn"),
        (Target("t", ARN, input_path="$.detail['Text']"), "warning", "target t: Invalid JSON path $.detail['Text']"),
        (transforming('"<p>"', p="detail"), "warning", "target t: Invalid JSON path detail: it must begin with $"),
        (transforming('"x"', p=PORT), "warning", "target t: p of InputPathsMap is nowhere in the template"),
        (transforming('"<p>"', p="$.detail.Port"), "warning", "target t: no event has $.detail.Port, so <p> is empty"),
        (transforming('{"d": "<d>"}', d="$.detail.Destination"), "warning", "<d> is an object or array inside quotes"),
        (transforming('{"t": "<t>"}', t="$.detail.Text"), "warning", "<t> is text of anybody's inside quotes"),
        (transforming('{"e": "<aws.events.event.json>"}'), "warning", "<aws.events.event.json> belongs outside quotes"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_target(target: Target, severity: str, message: str) -> None:
    """What PutTargets refuses is an error, what reaches nobody as it was meant a warning."""
    (finding,) = said(target)
    assert finding[0] == severity
    assert message in finding[1]
    if severity == "error":  # whatever the rule is for
        assert said(target, pattern=None, schedule="rate(1 hour)") == [finding]
        assert finding in said(target, pattern=Pattern.compile({"source": ["aws.ec2"]}))


@pytest.mark.parametrize(
    "target",
    [
        Target("t", ARN),
        Target("t", ARN, input='{"a": 1}'),
        Target("t", ARN, input='"text"'),
        Target("t", ARN, input_path="$.detail.Via[0]"),
        transforming('"port <p>"', p=PORT),
        transforming('{"p": <p>, "q": "<p>", "rule": "<aws.events.rule-name>"}', p=PORT),
        transforming('{"d": <d>, "t": <t>, "e": <aws.events.event>}', d="$.detail.Destination", t="$.detail.Text"),
        transforming('"<d>: <t>"', d="$.detail.Destination", t="$.detail.Text"),
        transforming("<j>", j="$.detail.Json.anything"),
        transforming("<v>", v="$.detail.Via[*]"),
        Target("?", "", problem="not known offline: Queue"),
    ],
)  # fmt: skip
def test_targets_that_nothing_is_said_of(target: Target) -> None:
    """Good targets, and what was told already when the rule was read."""
    assert said(target) == []


def test_paths_of_other_events_are_not_judged() -> None:
    """What a rule on another source puts into its template is not known here."""
    target = transforming('{"s": "<s>"}', s="$.detail.state")
    found = said(target, pattern=Pattern.compile({"source": ["aws.ec2"]}))
    assert found == []


def test_the_most_of_everything() -> None:
    """Five targets and a hundred paths are taken; one more of either is refused, and so is an Id used twice."""
    five = [Target(f"t{number}", ARN) for number in range(5)]
    assert said(*five) == []
    assert said(*five, Target("t5", ARN)) == [("error", "6 targets: a rule has at most 5")]
    hundred = {f"k{number}": PORT for number in range(100)}
    template = '"' + "".join(f"<{name}>" for name in hundred) + '"'
    assert said(transforming(template, **hundred)) == []
    (finding,) = said(transforming(template.replace("<k0>", "<k0><more>"), **hundred, more=PORT))
    assert finding == ("error", "InputPathsMap for target t has 101 entries of 100.")
    assert said(Target("t", ARN), Target("t", ARN + "2")) == [("error", "2 targets have the Id t")]


def test_what_is_missing_where_targets_are_written(tmp_path: Path) -> None:
    """A target without Id or Arn, one with an Id that is none, and null for a pattern."""
    told: Any = [
        {"Name": "a", "EventPattern": {"source": ["udp.raw"]},
         "Targets": [{"Arn": ARN}, {"Id": "x"}, {"Id": "a b", "Arn": ARN}]},
        {"Name": "b", "EventPattern": None},
        {"Name": "c", "State": "ENABLED"},
        {"Name": "d", "ScheduleExpression": "rate(1 hour)", "EventPattern": None},
    ]  # fmt: skip
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(told))
    rules = load([str(path)]).rules
    found = [str(one).partition("error: ")[2] for one in lint(rules, schema("full"), source="udp.raw", detail_type="U")]
    assert found == [
        "a: target 1 has no Id",
        "a: target x has no Arn",
        "a: target a b: an Id has 1 to 64 letters, digits, dots, dashes and underscores",
        "b: it has neither EventPattern nor ScheduleExpression",
        "c: it has neither EventPattern nor ScheduleExpression",
    ]
    for one in told[1:3]:  # alone in a file, too
        path.write_text(json.dumps(one))
        (rule,) = load([str(path)]).rules
        assert rule.problem == "it has neither EventPattern nor ScheduleExpression"


def test_exit_codes(tmp_path: Path) -> None:
    """Errors end with 1; warnings and remarks with 0. Options of the events are known to lint."""
    path = tmp_path / "rules.json"

    def linted(pattern: Any, *options: str, **target: Any) -> tuple[int, str]:
        targets = [{"Id": "t", "Arn": ARN} | target] if target else []
        path.write_text(json.dumps([{"Name": "r", "EventPattern": pattern, "Targets": targets}]))
        done = pcapeda("rules", "lint", str(path), *options)
        return done.returncode, done.stdout.decode()

    port = {"source": ["udp.raw"], "detail": {"Destination": {"Port": [514]}}}
    assert linted(port) == (0, "1 rules: nothing to say\n")
    assert linted(port, Input="hello")[0] == 1
    assert linted(port, InputPath="$.detail[x]")[0] == 0
    assert linted({"source": ["aws.ec2"], "detail": {"state": ["x"]}})[0] == 0
    text = {"source": ["udp.raw"], "detail": {"Text": [{"prefix": "x"}]}}
    assert "only with --text" in linted(text)[1]
    assert linted(text, "--text") == (0, "1 rules: nothing to say\n")
    inner = {"source": ["udp.raw"], "detail": {"Json": {"a": [1]}}}
    assert "only with --json-payload" in linted(inner)[1]
    assert linted(inner, "--json-payload") == (0, "1 rules: nothing to say\n")
    flow = {"source": ["udp.raw"], "detail-type": ["UdpFlow"], "detail": {"Count": [1]}}
    assert "--shape flow" in linted(flow)[1]
    assert linted(flow, "--shape", "flow") == (0, "1 rules: nothing to say\n")
    named = {"source": ["mine"], "detail-type": ["Mine"], "detail": {"Length": [8]}}
    assert linted(named, "--source", "mine", "--detail-type", "Mine") == (0, "1 rules: nothing to say\n")
