"""Dialects: what patterns mean as filters on a bus of EventBridge v2, and that the classic language stays as it was."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pcapeda.aws.wire import entry_v2_json, put_raw_events_entry, raw_event
from pcapeda.engine.run import Bus, Job, execute
from pcapeda.events.schema import metadata_schema
from pcapeda.events.shape import Shape
from pcapeda.rules.dialects import Dialect, event_of, in_dialect, unusable
from pcapeda.rules.pattern import Pattern
from pcapeda.rules.sources.load import load
from pcapeda.sinks.memory import MemorySink
from tests.bus_v2 import ARN
from tests.command import FIXTURES, ROOT, pcapeda
from tests.datagrams import EXAMPLE

CLASSIC = {"source": ["udp.raw"], "detail": {"Destination": {"Port": [514]}}}
WILDCARD = {"detail": {"Text": [{"wildcard": "*failed for*"}]}}
RAW = {"source": ["udp.raw"], "DestinationPort": ["514"]}


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """One rule of each kind in a file."""
    path = tmp_path / "rules.json"
    named = {"classic": CLASSIC, "wildcard": WILDCARD, "raw": RAW}
    path.write_text(json.dumps([{"Name": name, "EventPattern": pattern} for name, pattern in named.items()]))
    return path


@pytest.mark.parametrize(
    ("pattern", "dialect", "why"),
    [
        (CLASSIC, "classic", ""),
        (CLASSIC, "v2", ""),
        (CLASSIC, "v2-raw", "raw events have no detail"),
        ({"detail": {"exists": ["x"]}}, "v2-raw", "raw events have no detail"),
        (WILDCARD, "classic", ""),
        (WILDCARD, "v2", "must not contain wildcard"),
        ({"a": [{"anything-but": {"wildcard": "a*"}}]}, "v2", "must not contain wildcard"),
        ({"a": [{"anything-but": {"prefix": "a"}}], "b": [{"numeric": [">", 1]}]}, "v2", ""),
        ({"$or": [{"a": ["1"]}, {"b": ["1"]}]}, "v2", ""),
        (RAW, "v2-raw", ""),
        ({"DestinationPort": ["514", "53"], "Truncated": ["true"]}, "v2-raw", ""),
        ({"DestinationPort": [{"prefix": "5"}]}, "v2-raw", "exact values only"),
        ({"DestinationPort": [{"exists": True}]}, "v2-raw", "exact values only"),
        ({"DestinationPort": [{"anything-but": "5"}]}, "v2-raw", "exact values only"),
        ({"$or": [{"DestinationPort": ["1"]}, {"SourcePort": ["1"]}]}, "v2-raw", "no $or"),
        ({"a": ["東" * 1500]}, "v2", "4,096"),
    ],
)
def test_what_a_dialect_refuses(pattern: dict[str, Any], dialect: Dialect, why: str) -> None:
    """By the guide: no wildcards in filters, exact values alone on metadata, nothing called detail in raw events."""
    said = unusable(Pattern.compile(pattern), dialect)
    assert (why in said) if why else (said == "")


def test_a_rule_sees_of_a_raw_event_what_the_sink_sends() -> None:
    """One function for both: the event of the dialect is the metadata of the request."""
    entry = Shape().entry(EXAMPLE)
    assert event_of(entry, "v2-raw") == put_raw_events_entry(entry)["Metadata"]
    assert event_of(entry, "v2") == event_of(entry, "classic") == entry.envelope()
    assert Pattern.compile(RAW).matches(event_of(entry, "v2-raw"))
    assert not Pattern.compile({"DestinationPort": [514]}).matches(event_of(entry, "v2-raw"))


def test_the_classic_dialect_changes_nothing(rules: Path) -> None:
    """Rules and problems are those that were loaded."""
    loaded = load([str(rules)])
    assert in_dialect(loaded, "classic") == loaded


def run(*arguments: object) -> tuple[int, str, str]:
    done = pcapeda("rules", *map(str, arguments))
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_test_counts_by_dialect(rules: Path) -> None:
    """The same rules and capture: each dialect matches with what it can, and says why the others select nothing."""
    counts: dict[str, dict[str, Any]] = {}
    for dialect in ("classic", "v2", "v2-raw"):
        arguments: list[object] = [
            "test",
            FIXTURES / "mixed.pcap",
            "--rules",
            rules,
            "--dialect",
            dialect,
            "-o",
            "json",
        ]
        if dialect != "v2-raw":
            arguments.append("--text")
        status, told, talk = run(*arguments)
        found = {one["Name"]: one for one in json.loads(told)["Rules"]}
        counts[dialect] = {name: one.get("Silent") or one["Matches"] for name, one in found.items()}
        assert status == (0 if dialect == "classic" else 1)
        assert ("raw events have no detail" in talk) == (dialect == "v2-raw")
        problems = json.loads(told)["Problems"]
        assert len(problems) == len(set(problems)) == {"classic": 0, "v2": 1, "v2-raw": 2}[dialect]
    ports = counts["classic"]["classic"]
    assert counts["classic"] == {"classic": ports, "wildcard": 1, "raw": 0}
    assert ports > 0
    assert counts["v2"]["classic"] == ports
    assert "wildcard" in counts["v2"]["wildcard"]
    assert counts["v2-raw"]["raw"] == ports
    assert "raw events have no detail" in counts["v2-raw"]["classic"]


def test_lint_calls_out_what_matches_nothing(rules: Path, tmp_path: Path) -> None:
    """A classic pattern, an operator, a number and a name that no metadata has: each is an error, in words."""
    status, told, _ = run("lint", rules, "--dialect", "v2-raw")
    assert status == 1
    assert 'in metadata it is "DestinationPort": ["…"]' in told
    assert "raw:" not in told
    path = tmp_path / "more.json"
    path.write_text(json.dumps({"DestinationPort": [514], "destinationport": ["514"]}))
    status, told, _ = run("lint", path, "--dialect", "v2-raw")
    assert status == 1
    assert "events have a string there, the rule wants [514]" in told
    assert "did you mean 'DestinationPort'?" in told
    assert run("lint", rules, "--dialect", "v2")[1].count("wildcard matchers") == 1


def test_explain_knows_the_dialect(rules: Path, tmp_path: Path) -> None:
    """Of a frame, and of an event as it is delivered: metadata field by field."""
    told = run("explain", FIXTURES / "mixed.pcap", "--frame", 1, "--rules", rules, "--dialect", "v2-raw")[1]
    assert 'holds  DestinationPort: "514"' in told
    delivered = tmp_path / "event.json"
    delivered.write_text(entry_v2_json(Shape().entry(EXAMPLE), raw=True))
    told = run("explain", delivered, "--rules", rules, "--dialect", "v2-raw")[1]
    assert 'holds  DestinationPort: "514"' in told


@pytest.mark.parametrize("extra", [["--text"], ["--json-payload"], ["--shape", "proxylity"]])
def test_what_raw_events_have_no_place_for_is_refused(rules: Path, extra: list[str]) -> None:
    """As by replay --raw: one line, exit code 2."""
    for arguments in (
        ["test", FIXTURES / "mixed.pcap", "--rules", rules],
        ["explain", FIXTURES / "mixed.pcap", "--frame", 1, "--rules", rules],
    ):
        status, _, talk = run(*arguments, "--dialect", "v2-raw", *extra)
        assert (status, talk.count("\n")) == (2, talk.count("pcapeda: "))
        assert "raw event" in talk


def test_raw_events_are_single_datagrams(rules: Path) -> None:
    """Rules for summaries have no raw form: refused by test and lint, in one line."""
    for arguments in (
        ["test", FIXTURES / "mixed.pcap", "--rules", rules, "--aggregate", 5],
        ["lint", rules, "--shape", "flow"],
    ):
        status, _, talk = run(*arguments, "--dialect", "v2-raw")
        assert (status, "raw events are single datagrams" in talk) == (2, True)


def test_suites_have_a_dialect(rules: Path, tmp_path: Path) -> None:
    """`dialect:` in the file, and nowhere else; an unknown one is refused by name."""
    suite = tmp_path / "raw.pcapeda.yaml"
    text = f"captures: {FIXTURES / 'mixed.pcap'}\nrules: {rules}\ndialect: v2-raw\n"
    suite.write_text(text + "expect: [{rule: raw, all-of-port: 514}, {rule: classic, none: true}]\n")
    status, told, _ = run("test", suite, "-o", "json")
    assert [one["Holds"] for one in json.loads(told)["Expectations"]] == [True, True]
    assert run("test", suite, "--dialect", "v2")[0] == 2
    suite.write_text(text.replace("v2-raw", "v3"))
    status, _, talk = run("test", suite)
    assert (status, "no dialect 'v3'" in talk) == (2, True)


def test_a_run_to_a_bus_of_v2_judges_by_its_dialect(rules: Path) -> None:
    """--only-matching on a raw bus sends what METADATA filters would select, whatever bus the rules are on."""
    job = Job(
        captures=(str(FIXTURES / "mixed.pcap"),),
        bus=Bus(name=ARN, raw=True),
        rules=(str(rules),),
        only_matching=True,
    )
    sink = MemorySink()
    execute(job, sink=sink)
    assert sink.entries
    assert {entry.rules for entry in sink.entries} == {("raw",)}
    assert {raw_event(entry)[1]["DestinationPort"] for entry in sink.entries} == {"514"}


def test_the_page_names_all_metadata() -> None:
    """docs/eventbridge-v2.md lists every name that lint knows, and no other."""
    text = (ROOT / "docs" / "eventbridge-v2.md").read_text(encoding="utf-8")
    table = text.partition("| metadata |")[2].partition("\n\n")[0]
    first_cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert set(re.findall("`([^`]+)`", "".join(first_cells))) == set(metadata_schema("full")["properties"])
