"""Serverless Framework services, as `serverless package` (3.40) makes rules of them."""

# ruff: noqa: E501  (services are easier to read in long lines)
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pcapeda.rules.rule import Rule
from pcapeda.rules.sources.load import Loaded, load

ACCOUNT = "123456789012"


def service(tmp_path: Path, text: str, files: dict[str, str] | None = None, **options: Any) -> Loaded:
    for name, held in (files or {}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(held)
    path = tmp_path / "serverless.yml"
    path.write_text(text)
    return load([str(path)], **options)


def events(*written: str, head: str = "", name: str = "f") -> str:
    listed = "".join(f"      - {one}\n" for one in written)
    return (
        f"service: svc\nprovider: {{name: aws}}\n{head}functions:\n  {name}:\n    handler: h.a\n    events:\n{listed}"
    )


def pattern(rule: Rule) -> Any:
    assert rule.pattern is not None, rule.problem
    return json.loads(rule.pattern.text)


def test_events_of_functions(tmp_path: Path) -> None:
    """Names, numbers and target ids as the framework gives them; what is no rule is left out."""
    found = service(
        tmp_path,
        events(
            "http: GET /x",
            "eventBridge: {pattern: {source: [a]}, inputTransformer: {inputPathsMap: {x: $.detail}, inputTemplate: '<x>'}}",
            "schedule: rate(10 minutes)",
            "schedule: {rate: [rate(1 hour), cron(0 12 * * ? *)], enabled: false, input: {k: v, body: '{\"z\": 1}'}}",
            "schedule: {rate: rate(1 day), method: scheduler}",
            "schedule: {rate: rate(2 days), name: named}",
            'cloudwatchEvent: {event: {source: ["a\\nb"]}, inputPath: $.detail, enabled: false}',
            "cloudwatchEvent: {event: {source: [c]}, name: cw, input: {a: 1}}",
            "eventBridge: {eventBus: default, schedule: rate(5 minutes), input: {x: [1]}}",
            "eventBridge: {eventBus: mine, name: own, pattern: {source: [d]}, enabled: false}",
            "eventBridge: {eventBus: 'arn:aws:events:eu-west-1:111122223333:event-bus/team/x', pattern: {source: [e]}}",
            name="my-fn_1",
        ),
    )
    assert not found.problems
    assert [(rule.name, rule.bus, rule.state, rule.schedule) for rule in found.rules] == [
        ("svc-dev-my-fn_1-rule-2", "default", "ENABLED", None),
        ("MyDashfnUnderscore1EventsRuleSchedule1", "default", "ENABLED", "rate(10 minutes)"),
        ("MyDashfnUnderscore1EventsRuleSchedule2", "default", "DISABLED", "rate(1 hour)"),
        ("MyDashfnUnderscore1EventsRuleSchedule3", "default", "DISABLED", "cron(0 12 * * ? *)"),
        ("named", "default", "ENABLED", "rate(2 days)"),
        ("MyDashfnUnderscore1EventsRuleCloudWatchEvent1", "default", "DISABLED", None),
        ("cw", "default", "ENABLED", None),
        ("svc-dev-my-fn_1-rule-9", "default", "ENABLED", "rate(5 minutes)"),
        ("own", "mine", "DISABLED", None),
        ("svc-dev-my-fn_1-rule-11", "team/x", "ENABLED", None),
    ]
    rules = {rule.name: rule for rule in found.rules}
    assert pattern(rules["MyDashfnUnderscore1EventsRuleCloudWatchEvent1"]) == {"source": ["ab"]}
    targets = [rule.targets[0] for rule in found.rules]
    assert {one.arn for one in targets} == {f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:svc-dev-my-fn_1"}
    assert [one.id for one in targets[:2]] == ["svc-dev-my-fn_1-rule-2-target", "my-fn_1Schedule"]
    assert [one.id for one in targets[5:7]] == ["my-fn_1CloudWatchEvent"] * 2
    assert targets[2].input == '{"k":"v","body":{"z":1}}'
    assert targets[5].input_path == "$.detail"
    assert targets[6].input == '{"a":1}'
    assert targets[0].transformer is not None
    assert [one.message for one in found.notes] == ["a schedule of EventBridge Scheduler, which makes no rule"]


def test_long_names_are_shortened(tmp_path: Path) -> None:
    """Beyond 64 characters: 31 characters less the suffix, the MD5 of the whole name, the suffix."""
    name = "a" * 60
    (rule,) = service(tmp_path, events("eventBridge: {pattern: {source: [a]}}", name=name)).rules
    whole = f"svc-dev-{name}-rule-1"
    digest = hashlib.md5(whole.encode(), usedforsecurity=False).hexdigest()
    assert rule.name == f"{whole[:25]}{digest}-rule-1"
    assert len(rule.name) == 64
    target = f"{rule.name}-target"
    digest = hashlib.md5(target.encode(), usedforsecurity=False).hexdigest()
    assert rule.targets[0].id == f"{target[:25]}{digest}-target"


CUSTOM = """custom:
  text: t
  list: [l1, "${sls:stage}-l2"]
  map: {dev: {n: [1, 2]}, prod: {n: [3]}}
  chain: ${self:custom.text}-c
  empty: ~
"""


@pytest.mark.parametrize(
    ("written", "right"),
    [
        ("${self:custom.text}", "t"),
        ("${self:custom.chain}", "t-c"),
        ("x-${self:custom.text}-${self:service}", "x-t-svc"),
        ("${self:custom.list.1}", "dev-l2"),
        ("${self:custom.none, 'd'}", "d"),
        ("${self:custom.none, self:custom.text}", "t"),
        ("${self:custom.empty, 'e'}", "e"),
        ("${self:provider.stage}", "dev"),
        ("${self:provider.region}", "us-east-1"),
        ("${opt:stage, 'o'}", "o"),
        ("${opt:x, opt:y, 'z'}", "z"),
        ("${opt:x, 'a, b'}", "a, b"),
        ("${env:HOME, 'unset'}", "unset"),
        ("${sls:stage}", "dev"),
        ("${aws:region}", "us-east-1"),
        ("${aws:accountId}", ACCOUNT),
        ("${param:p}", "of-dev"),
        ("${param:q}", "of-all"),
        ("${self:custom.map.${sls:stage}.n.0}", 1),
        ("${strToBool('true')}", True),
        ("${file(conf/v.yml):a.b}", "in-file-dev"),
        ("${file(./conf/${sls:stage}.json):k}", "j"),
        ("${file(none.yml):k, 'f'}", "f"),
        ("${file(../outside.yml):k}", "out"),
        ("no", "no"),
        ("${env:HOME}", "${env:HOME} (give it as a parameter)"),
        ("${opt:x}", "${opt:x} (give it as a parameter)"),
        ("${self:custom.none}", "${self:custom.none}"),
        ("${ssm:/p}", "${ssm:/p}"),
        ("${ssm:/p, 'not this'}", "${ssm:/p}"),
        ("${cf:stack.Out}", "${cf:stack.Out}"),
        ("${s3:bucket/key}", "${s3:bucket/key}"),
        ("${file(none.yml):k}", "there is no such file"),
        ("${file(code.js):k}", "JavaScript and TypeScript are not run"),
        ("${file(code.ts)}", "JavaScript and TypeScript are not run"),
        ("${file(/etc/hostname)}", "only files beside the service are read"),
        ("${file(fifo.yml):k}", "not a regular file"),
        ("${file(broken.yml):k}", "not readable as JSON or YAML"),
        ("${self:custom.map}-x", "is no text"),
    ],
)
def test_variables(tmp_path: Path, written: str, right: Any) -> None:
    """What the file itself, the files beside it and defaults say; what is elsewhere is named, never guessed."""
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "outside.yml").write_text("k: out\n")
    os.mkfifo(home / "fifo.yml")
    files = {"conf/v.yml": "a: {b: 'in-file-${sls:stage}'}\n", "conf/dev.json": '{"k": "j"}'}
    files |= {"code.js": "module.exports = {}", "code.ts": "", "broken.yml": "a: ["}
    head = CUSTOM + "params: {dev: {p: of-dev}, default: {p: no, q: of-all}}\n"
    (rule,) = (
        found := service(home, events(f'eventBridge: {{pattern: {{source: ["{written}"]}}}}', head=head), files)
    ).rules
    if isinstance(right, str) and right not in ("no", "e") and rule.pattern is None:
        assert right in rule.inactive_reason()
        assert len(found.problems) == 1
    else:
        assert pattern(rule) == {"source": [right]}


def test_given_values(tmp_path: Path) -> None:
    """Options, environment, SSM paths and outputs of stacks can be given, under their own names."""
    written = '["${opt:a}", "${env:B}", "${ssm:/c}", "${cf:s.Out}", "${cf(eu-west-1):s.Out}", \'${sls:stage}\']'
    given = {"a": "1", "B": "2", "ssm:/c": "3", "cf:s.Out": "4", "stage": "prod"}
    found = service(tmp_path, events(f"eventBridge: {{pattern: {{source: {written}}}}}"), parameters=given)
    (rule,) = found.rules
    assert (rule.name, pattern(rule)) == ("svc-prod-f-rule-1", {"source": ["1", "2", "3", "4", "4", "prod"]})
    assert not found.notes


def test_functions_events_and_resources_in_files(tmp_path: Path) -> None:
    """Whatever part of a service is in a file of its own is read, and places name that file."""
    text = """service: svc
provider: {name: aws, region: "${opt:region, 'eu-central-1'}", stackName: the-stack}
functions:
  - ${file(fns.yml)}
  - b: ${file(b.yml):fn}
    c: {handler: h, events: "${file(events.yml)}"}
resources:
  - ${file(res.yml)}
  - Conditions: {IsDev: !Equals ["${sls:stage}", dev]}
    Parameters: {P: {Type: String, Default: pp}}
    Mappings: {M: {dev: {k: mv}}}
    Resources:
      C: {Type: AWS::Events::Rule, Condition: IsDev, Properties: {EventPattern: {source: [!Ref P, !FindInMap [M, dev, k]]}}}
    extensions:
      CEventsRuleCloudWatchEvent1: {Properties: {State: DISABLED}}
"""
    files = {
        "fns.yml": "a: {handler: h, events: [{eventBridge: {pattern: {source: [a]}}}]}\n",
        "b.yml": "fn:\n  handler: h\n  events:\n    - eventBridge: {pattern: {source: [b, '${aws:region}']}}\n",
        "events.yml": "- cloudwatchEvent: {event: {source: [c]}}\n",
        "res.yml": "Resources:\n  R: {Type: AWS::Events::Rule, Properties: {Name: !Sub '${AWS::StackName}-r', EventPattern: "
        "{region: [!Ref AWS::Region], source: [!GetAtt BLambdaFunction.Arn]}}}\n",
    }
    found = service(tmp_path, text, files)
    assert not found.problems
    told = {rule.name: rule for rule in found.rules}
    assert {name: pattern(rule) for name, rule in told.items()} == {
        "svc-dev-a-rule-1": {"source": ["a"]},
        "svc-dev-b-rule-1": {"source": ["b", "eu-central-1"]},
        "CEventsRuleCloudWatchEvent1": {"source": ["c"]},
        "the-stack-r": {
            "region": ["eu-central-1"],
            "source": [f"arn:aws:lambda:eu-central-1:{ACCOUNT}:function:svc-dev-b"],
        },
        "C": {"source": ["pp", "mv"]},
    }
    assert told["CEventsRuleCloudWatchEvent1"].state == "DISABLED"
    assert told["svc-dev-b-rule-1"].origin == f"{tmp_path}/b.yml:4"
    assert told["the-stack-r"].origin == f"{tmp_path}/res.yml:2"
    # in a folder, the parts are not read again by themselves
    assert len(load([str(tmp_path)]).rules) == 5
    # what a person gives wins
    west = {rule.name: rule for rule in load([str(tmp_path / "serverless.yml")], region="eu-west-1").rules}
    assert pattern(west["svc-dev-b-rule-1"]) == {"source": ["b", "eu-west-1"]}


def test_what_is_not_known_is_named(tmp_path: Path) -> None:
    """Functions, events and resources that only code can tell are problems; a bus that is not known is a note."""
    text = """service: svc
provider: {name: aws}
functions:
  a: ${file(a.js)}
  b: {handler: h, events: ["${ssm:/event}", {eventBridge: {eventBus: "${ssm:/bus}", pattern: {source: [b]}}}]}
  c: {handler: h, name: "${ssm:/name}", events: [{eventBridge: {pattern: {source: [c]}}}]}
  d: {handler: h, events: [{eventBridge: {pattern: {source: [d]}, enabled: "${ssm:/on}", input: {x: "${ssm:/in}"}}}]}
resources:
  - ${file(r.ts)}
stepFunctions: {stateMachines: {m: {events: [{eventBridge: {}}]}}}
"""
    found = service(tmp_path, text, {"a.js": "", "r.ts": ""})
    assert [(one.rule, one.message) for one in found.problems] == [
        ("a", "not known offline: ${file(a.js)}: JavaScript and TypeScript are not run"),
        ("b", "not known offline: ${ssm:/event}"),
        ("resources", "not known offline: ${file(r.ts)}: JavaScript and TypeScript are not run"),
    ]
    assert [(rule.name, rule.bus, pattern(rule)["source"]) for rule in found.rules] == [
        ("svc-dev-b-rule-2", "${ssm:/bus}", ["b"]),
        ("Svcdevcrule1EventBridgeRule", "default", ["c"]),
        ("svc-dev-d-rule-1", "default", ["d"]),
    ]
    assert found.rules[2].targets[0].problem == "not known offline: ${ssm:/in}"
    said = [one.message for one in found.notes]
    for what in ("its bus", "its name", "its state", "the events of stepFunctions"):
        assert any(one.startswith(what) for one in said)


def test_yaml_is_that_of_the_framework(tmp_path: Path) -> None:
    """js-yaml reads YAML 1.2: `no` is text there, `0514` a decimal number, and nothing is odd."""
    values = "[no, on, y, 0514, 1_000, 12:30, 0x1F, +5, .5, true]"
    found = service(tmp_path, events(f"eventBridge: {{pattern: {{detail: {{a: {values}}}}}}}"))
    assert pattern(found.rules[0])["detail"]["a"] == ["no", "on", "y", 514, "1_000", "12:30", 31, 5, 0.5, True]
    assert not found.problems
