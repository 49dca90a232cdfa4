"""Sources of rules that multiply what they hold: memory has a measured bound, and work a counted one."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pcapeda.rules.json_reader import Node
from pcapeda.rules.sources import bounds
from pcapeda.rules.sources.bounds import Bounds
from pcapeda.rules.sources.diagnostics import Unresolved
from pcapeda.rules.sources.load import load

MOST_MIB = 200
"""What reading a file of at most 1 MB may take beyond the interpreter and its modules."""

_MEASURE = """
import resource, sys
from pcapeda.errors import BadRule
from pcapeda.rules.sources.load import load
import yaml
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    found = load([sys.argv[1]])
    print(len(found.rules), found.problems[0].message if found.problems else "")
except BadRule as error:
    print(0, error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
_RULE = "{Type: AWS::Events::Rule, Properties: {EventPattern: %s}}\n"


def sub(folder: Path) -> str:
    large = "Parameters: {A: {Type: String, Default: " + "x" * 200_000 + "}}\nResources:\n  R: "
    return large + _RULE % f"!Sub '{'${A}' * 50_000}'"


def doubling(folder: Path) -> str:
    lines = ["Resources:", f"  B0: {{Type: AWS::Events::EventBus, Properties: {{Name: {'y' * 1000}}}}}"]
    for number in range(1, 60):
        name = f"!Sub '${{B{number - 1}}}${{B{number - 1}}}'"
        lines.append(f"  B{number}: {{Type: AWS::Events::EventBus, Properties: {{Name: {name}}}}}")
    return "\n".join(lines) + "\n  R: " + _RULE % "{source: [!Ref B59]}"


def joins(folder: Path) -> str:
    items = ",".join(["xxxx"] * 50_000)
    name = f"!Join ['{'-' * 5000}', !Ref A]"
    rule = f"{{Type: AWS::Events::Rule, Properties: {{Name: {name}, EventPattern: {{source: !Ref A}}}}}}"
    rules = "".join(f"  R{number}: {rule}\n" for number in range(100))
    return f"Parameters: {{A: {{Type: CommaDelimitedList, Default: '{items}'}}}}\nResources:\n{rules}"


def json_strings(folder: Path) -> str:
    found = ",".join(["!FindInMap [M, a, b]"] * 20_000)
    beside = f"Mappings: {{M: {{a: {{b: [{'x' * 100_000}]}}}}}}\nResources:\n  R: "
    return beside + _RULE % f"{{source: [{{'Fn::ToJsonString': [{found}]}}]}}"


def aliases(folder: Path) -> str:
    return f"x: &a {'x' * 500_000}\nResources:\n  R: " + _RULE % f"{{source: [{','.join(['*a'] * 50_000)}]}}"


def loops(folder: Path) -> str:
    items = ",".join(f"i{number}" for number in range(2000))
    rule = (_RULE % "{source: [a]}").strip()
    inner = f"{{'Fn::ForEach::B': [Y, [{items}], {{'R${{X}}${{Y}}': {rule}}}]}}"
    return f"Resources:\n  Fn::ForEach::A: [X, [{items}], {inner}]\n"


def patterns(folder: Path) -> str:
    """Many rules, each with as large a pattern as there may be, all of one parameter."""
    start = '{"source":[' + ",".join(f'"{number % 10}"' for number in range(900)) + '],"x":['
    rules = "".join(f"  R{number}: " + _RULE % f"!Sub '${{P}}{number}]}}'" for number in range(5000))
    return f"Parameters: {{P: {{Type: String, Default: '{start}'}}}}\nResources:\n{rules}"


def conditions(folder: Path) -> str:
    lines = ["Parameters: {P: {Type: String}}", "Conditions:", "  C0: !Equals [!Ref P, a]"]
    for number in range(1, 60):
        before = f"!Condition C{number - 1}"
        lines.append(f"  C{number}: !Or [{before}, {before}, !Not [{before}]]")
    return "\n".join(lines) + "\nResources:\n  R: " + _RULE % "{source: [!If [C59, a, b]]}"


def variables(folder: Path) -> str:
    lines = ["service: s", "provider: {name: aws}", "custom:", "  a0: [1, 2]"]
    lines += [f"  a{n}: ['${{self:custom.a{n - 1}}}', '${{self:custom.a{n - 1}}}']" for n in range(1, 55)]
    event = "{eventBridge: {pattern: {source: '${self:custom.a54}'}}}"
    return "\n".join(lines) + f"\nfunctions: {{f: {{handler: h, events: [{event}]}}}}\n"


def texts(folder: Path) -> str:
    lines = ["service: s", "provider: {name: aws}", "custom:", f"  a0: {'x' * 1000}"]
    lines += [f"  a{n}: '${{self:custom.a{n - 1}}}${{self:custom.a{n - 1}}}'" for n in range(1, 50)]
    event = "{eventBridge: {pattern: {source: ['${self:custom.a49}']}}}"
    return "\n".join(lines) + f"\nfunctions: {{f: {{handler: h, events: [{event}]}}}}\n"


def files(folder: Path) -> str:
    (folder / "a.yml").write_text("- ${file(a.yml)}\n- ${file(a.yml)}\n- ${file(b.yml)}\n")
    (folder / "b.yml").write_text("- ${file(a.yml)}\n" * 1000)
    return "service: s\nprovider: {name: aws}\nfunctions: {f: {handler: h, events: '${file(a.yml)}'}}\n"


def stacks(folder: Path) -> str:
    nested = "{Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: t%d.yaml}}\n"
    text = "Resources:\n" + "".join(f"  N{number}: " + nested % number for number in range(200))
    for number in range(200):
        (folder / f"t{number}.yaml").write_text(text)
    return text


BOMBS = [sub, doubling, joins, json_strings, aliases, loops, patterns, conditions, variables, texts, files, stacks]


def tf_locals(folder: Path) -> str:
    doubled = {f"a{n}": f"${{local.a{n - 1}}}${{local.a{n - 1}}}" for n in range(1, 60)}
    rule = {"r": {"event_pattern": "${jsonencode({source=[local.a59]})}"}}
    return json.dumps({"locals": {"a0": "x" * 1000} | doubled, "resource": {"aws_cloudwatch_event_rule": rule}})


def tf_deep(folder: Path) -> str:
    deep = ["[", "!", "(", "{a=", "a.", '"${', "-", "f("]
    rules = {f"r{n}": {"event_pattern": "${" + part * 50_000} for n, part in enumerate(deep)}
    return json.dumps({"resource": {"aws_cloudwatch_event_rule": rules}})


def tf_count(folder: Path) -> str:
    many = {"count": 1000, "name": '${join("-",local.l)}', "event_pattern": "${jsonencode({source=local.l})}"}
    rules = {f"r{number}": many for number in range(500)}
    return json.dumps({"locals": {"l": ["x"] * 1000}, "resource": {"aws_cloudwatch_event_rule": rules}})


@pytest.mark.parametrize(
    ("name", "made"),
    [("t.yaml", bomb) for bomb in BOMBS] + [("t.tf.json", bomb) for bomb in (tf_locals, tf_deep, tf_count)],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_source_cannot_exhaust_memory(tmp_path: Path, name: str, made: Callable[[Path], str]) -> None:
    """Whatever multiplies in it comes to an end, in words, before it has taken much memory."""
    path = tmp_path / name
    path.write_text(made(tmp_path))
    assert path.stat().st_size < 1_000_000
    done = subprocess.run([sys.executable, "-c", _MEASURE, str(path)], capture_output=True, text=True, check=True)
    told, mebibytes = done.stdout.splitlines()
    assert int(mebibytes) < MOST_MIB
    assert "not known" in told or "more than" in told or "characters of" in told or made is stacks


def test_steps_and_characters_are_counted() -> None:
    """What is left only shrinks: work ends by counts, not by the clock."""
    node, left = Node("string", "x"), Bounds()
    for _ in range(bounds.MAX_STEPS):
        left.spend(1, node)
    with pytest.raises(Unresolved, match=f"{bounds.MAX_STEPS:,} values"):
        left.spend(1, node)
    left = Bounds()
    for _ in range(bounds.MAX_MADE // 1000):
        left.joined(["x" * 1000], node)
    with pytest.raises(Unresolved, match=f"{bounds.MAX_MADE:,} characters of text"):
        left.joined(["x" * 1000], node)
    drawn: list[int] = []

    def parts() -> Iterator[str]:  # what comes after the bound is not even made
        for number in range(1000):
            drawn.append(number)
            yield "x" * (bounds.LONGEST // 10)

    with pytest.raises(Unresolved, match=f"longer than {bounds.LONGEST:,}"):
        Bounds().joined(parts(), node)
    assert len(drawn) <= 12


def test_large_templates_are_read(tmp_path: Path) -> None:
    """The bounds are far beyond what CloudFormation takes: 500 resources, each pattern of the largest size."""
    values = ", ".join(f"'{number:08}'" for number in range(300))
    rules = "".join(f"  R{number}: " + _RULE % f"{{source: [{values}]}}" for number in range(250))
    (tmp_path / "t.yaml").write_text("Resources:\n" + rules)
    found = load([str(tmp_path / "t.yaml")])
    assert len(found.rules) == 250
    assert not found.problems
