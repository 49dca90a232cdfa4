"""`pcapeda rules` and `--rules`: verdicts, expectations, explanations, for people, programs and a CI."""

import json
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest

from pcapeda.errors import BadConfig
from pcapeda.ruletest.suite import read_suite, schema
from tests.command import FIXTURES, pcapeda
from tests.test_cli import complaint, expected_rows

MIXED = FIXTURES / "mixed.pcap"
RULES = [
    {
        "Name": "syslog",
        "EventPattern": {"source": ["udp.raw"], "detail": {"Destination": {"Port": [514]}}},
        "Targets": [
            {
                "Id": "handler",
                "Arn": "arn:aws:lambda:us-east-1:123456789012:function:handler",
                "InputTransformer": {
                    "InputPathsMap": {"from": "$.detail.Source.IpAddress", "port": "$.detail.Destination.Port"},
                    "InputTemplate": '{"from": <from>, "port": <port>, "rule": <aws.events.rule-name>}',
                },
            }
        ],
    },
    {"Name": "miscased", "EventPattern": {"source": ["udp.raw"], "detail": {"destination": {"Port": [514]}}}},
    {"Name": "dns", "EventPattern": '{"detail": {"Destination": {"Port": [53]}}}'},
    {"Name": "off", "State": "DISABLED", "EventPattern": {"source": ["udp.raw"]}},
    {"Name": "elsewhere", "EventBusName": "other", "EventPattern": {"source": ["udp.raw"]}},
]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(RULES))
    return path


def count_to(port: int) -> int:
    return sum(row["dst_port"] == str(port) for row in expected_rows("mixed.pcap"))


def test_every_rule_has_its_matches_and_the_rest_its_reason(rules: Path) -> None:
    """Counts, shares, what no rule matches, what is disabled or elsewhere, and the nearest miss."""
    done = pcapeda("rules", "test", MIXED, "--rules", rules, "--show", "1", "-o", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    by_name = {rule["Name"]: rule for rule in told["Rules"]}
    total = len(expected_rows("mixed.pcap"))
    assert told["Events"] == total
    assert by_name["syslog"]["Matches"] == count_to(514) > 0
    assert by_name["dns"]["Matches"] == count_to(53) > 0
    assert by_name["syslog"]["Samples"][0]["detail"]["Destination"]["Port"] == 514
    assert by_name["miscased"]["Matches"] == 0
    nearest = json.dumps(by_name["miscased"]["NearestMiss"]["Explanation"])
    assert "detail.Destination.Port" in nearest
    assert by_name["off"]["Silent"] == "disabled"
    assert "other" in by_name["elsewhere"]["Silent"]
    assert told["Unmatched"]["Events"] == total - count_to(514) - count_to(53)
    assert sum(port["Events"] for port in told["Unmatched"]["Ports"]) == told["Unmatched"]["Events"]


def test_a_person_reads_the_same(rules: Path) -> None:
    """The pretty view names rules, the nearest miss and what falls through, within 80 columns of table."""
    text = pcapeda("rules", "test", MIXED, "--rules", rules, env={"COLUMNS": "80"}).stdout.decode()
    assert "miscased never matched; nearest was mixed.pcap frame 1 to port 514" in text
    assert "Matched by no rule" in text
    assert "disabled" in text


def test_what_a_target_receives(rules: Path) -> None:
    """--targets applies the target's transformer to the samples."""
    done = pcapeda("rules", "test", MIXED, "--rules", rules, "--targets", "-o", "json")
    syslog = next(rule for rule in json.loads(done.stdout)["Rules"] if rule["Name"] == "syslog")
    assert json.loads(syslog["Received"][0]["Input"]) == {"from": "192.0.2.1", "port": 514, "rule": "syslog"}


EXPECT = """
expect:
  - {rule: syslog, count: %d}
  - {rule: syslog, all-of-port: 514}
  - {rule: dns, at-least: 1, at-most: 100}
  - {rule: miscased, none: true}
  - unmatched: {at-least: 1}
"""


def test_expectations_that_hold(rules: Path, tmp_path: Path) -> None:
    """--expect with every kind of expectation; exit code 0."""
    expect = tmp_path / "expect.yaml"
    expect.write_text(EXPECT % count_to(514))
    done = pcapeda("rules", "test", MIXED, "--rules", rules, "--expect", expect)
    assert done.returncode == 0, done.stdout
    assert b"5 expectations, 0 failed" in done.stdout


def test_expectations_that_fail_say_why(rules: Path, tmp_path: Path) -> None:
    """Exit code 1, and each failure has what came out instead and the nearest miss; JUnit has them as failures."""
    expect = tmp_path / "expect.json"
    wrong = [{"rule": "miscased", "count": 4}, {"rule": "dns", "all-of-port": 514}, {"unmatched": "none"}]
    expect.write_text(json.dumps([*wrong, {"rule": "syslog", "at-least": 1}]))
    done = pcapeda("rules", "test", MIXED, "--rules", rules, "--expect", expect)
    assert done.returncode == 1
    text = done.stdout.decode()
    assert "FAILED rule miscased matches exactly 4 events" in text
    assert "names are case-sensitive" in text
    assert f"it matches 0 of {count_to(514)}" in text
    assert "4 expectations, 3 failed" in text
    done = pcapeda("rules", "test", MIXED, "--rules", rules, "--expect", expect, "-o", "junit")
    suite = ElementTree.fromstring(done.stdout)[0]
    assert (suite.get("tests"), suite.get("failures")) == ("5", "3")
    assert [case.get("name") for case in suite] == ["runs", "miscased", "dns", "unmatched", "syslog"]
    assert "mixed.pcap frame 1 to port 514" in suite.findall("testcase/failure")[1].text
    assert len(suite.findall("testcase/failure")) == 3


def test_junit_is_written_when_a_suite_cannot_be_read_and_suites_are_found_in_folders(
    rules: Path, tmp_path: Path
) -> None:
    """One suite that is none, one whose rule is misspelt, one that is right: each its own, exit code of the worst."""
    inner = rules.parent / "suites" / "deep"
    inner.mkdir(parents=True)
    start = f"captures: {MIXED}\nrules: ../../{rules.name}\nexpect:\n"
    (inner / "a.pcapeda.yaml").write_text(start + "  - {rule: sylog, count: 1}\n  - {rule: syslog, at-least: 1}\n")
    (inner.parent / "b.pcapeda.yml").write_text("captures: [\n")
    done = pcapeda("rules", "test", inner.parent, "-o", "junit")
    root = ElementTree.fromstring(done.stdout)
    outcome = {
        suite.get("name", "").rpartition("/")[2]: [[one.tag for one in case] for case in suite] for suite in root
    }
    assert outcome == {"a.pcapeda.yaml": [[], ["failure"], []], "b.pcapeda.yml": [["error"]]}
    assert done.returncode == 2


SUITE = """
captures: %s
rules: rules.json
event: {text: true}
expect:
  - {rule: syslog, count: %d}
  - {rule: dns, at-least: 1}
"""


def test_a_suite_file_holds_it_all(rules: Path, tmp_path: Path) -> None:
    """`rules test suite.pcapeda.yaml` needs nothing else; the file validates against the schema that ships."""
    suite = tmp_path / "edge.pcapeda.yaml"
    suite.write_text(SUITE % (MIXED, count_to(514)))
    done = pcapeda("rules", "test", suite)
    assert done.returncode == 0, done.stdout + done.stderr
    assert b"2 expectations, 0 failed" in done.stdout
    import yaml

    jsonschema.validate(yaml.safe_load(suite.read_text()), schema())
    assert json.loads(pcapeda("schema", "--suite").stdout) == schema()


SUMMARY_RULES = {
    "flow": {"detail-type": ["UdpFlow"], "detail": {"Destination": {"Port": [514]}, "Count": [{"numeric": [">", 0]}]}},
    "batch": {"detail-type": ["UdpPacketBatch"], "detail": {"Destination": {"Port": [514]}}},
}


@pytest.mark.parametrize(("kind", "options"), [("flow", ["--aggregate", "3600"]), ("batch", ["--group", "100"])])
def test_rules_for_summaries_are_tested_offline(kind: str, options: list[str], tmp_path: Path) -> None:
    """From options or from a suite, on the events that a replay makes; lint knows their fields, too."""
    rules, expect = tmp_path / "rules.json", [{"rule": "loud", "all-of-port": 514}, {"rule": "loud", "at-least": 1}]
    rules.write_text(json.dumps([{"Name": "loud", "EventPattern": SUMMARY_RULES[kind]}]))
    replayed = pcapeda("replay", MIXED, "-n", *options, "-q").stdout.splitlines()
    loud = [one for one in map(json.loads, replayed) if one["detail"]["Destination"]["Port"] == 514]
    assert 0 < len(loud) < len(replayed)
    done = pcapeda("rules", "test", MIXED, "--rules", rules, *options, "-o", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["Events"], told["Rules"][0]["Matches"]) == (len(replayed), len(loud))
    assert told["Unmatched"]["Events"] == sum(one["Events"] for one in told["Unmatched"]["Ports"])
    suite = tmp_path / "a.pcapeda.yaml"
    event = {options[0].removeprefix("--"): int(options[1])}
    suite.write_text(json.dumps({"captures": str(MIXED), "rules": "rules.json", "event": event, "expect": expect}))
    done = pcapeda("rules", "test", suite)
    assert b"2 expectations, 0 failed" in done.stdout, done.stdout + done.stderr
    jsonschema.validate(json.loads(suite.read_text()), schema())
    assert pcapeda("rules", "lint", rules, "--shape", kind).returncode == 0
    assert pcapeda("rules", "lint", rules).returncode == 1, "no packet's event has these fields"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("captures: a.pcap", "rules"),
        ("captures: a.pcap\nrules: r.json\nevent: {aggregate: soon}", "aggregate: 'soon' is no number"),
        ("captures: a.pcap\nrules: r.json\nevent: {aggregate: 0}", "aggregate: 0 is below 0.1"),
        ("captures: a.pcap\nrules: r.json\nevent: {group: 1.5}", "group"),
        (
            "captures: a.pcap\nrules: r.json\nevent: {aggregate: 60, group: 5}",
            "aggregate sums datagrams up and group keeps",
        ),
        ("captures: a.pcap\nrules: r.json\nexpected: []", "expected"),
        ("captures: a.pcap\nrules: r.json\nexpect: [{rule: a}]", "expectation 1"),
        ("captures: a.pcap\nrules: r.json\nexpect: [{rule: a, count: -1}]", "count"),
        ("captures: a.pcap\nrules: r.json\nexpect: [{rule: a, count: true}]", "count"),
        ("captures: a.pcap\nrules: r.json\nexpect: [{rule: a, at-least: 3, at-most: 2}]", "at-most"),
        ("captures: a.pcap\nrules: r.json\nexpect: [{unmatched: 0, rule: a}]", "unmatched"),
        ("captures: a.pcap\nrules: r.json\nevent: {shape: round}", "round"),
        ("captures: a.pcap\nrules: r.json\naccount: 123456789012", "quotes"),
        ("captures: [", "yaml"),
        ("- 1", "mapping"),
    ],
)
def test_a_suite_that_makes_no_sense_is_refused(text: str, words: str, tmp_path: Path) -> None:
    """One clear line that names the file and what is wrong in it."""
    suite = tmp_path / "bad.pcapeda.yaml"
    suite.write_text(text)
    with pytest.raises(BadConfig) as caught:
        read_suite(str(suite))
    assert "bad.pcapeda.yaml" in str(caught.value)
    assert words in str(caught.value)


def test_explain_a_frame_and_an_event(rules: Path, tmp_path: Path) -> None:
    """Field by field, for a frame of a capture and for an event from a file."""
    frame = pcapeda("rules", "explain", "--rules", rules, MIXED, "--frame", "1")
    assert frame.returncode == 0, frame.stderr
    event = json.loads(pcapeda("replay", MIXED, "-n", "-c", "1").stdout)
    kept = tmp_path / "event.json"
    kept.write_text(json.dumps(event))
    assert pcapeda("rules", "explain", "--rules", rules, kept).stdout == frame.stdout
    told = json.loads(pcapeda("rules", "explain", "--rules", rules, kept, "-o", "json").stdout)
    assert {one["Name"]: one["Explanation"]["matched"] for one in told if not one["Silent"]} == {
        "syslog": True,
        "miscased": False,
        "dns": False,
    }


def test_lint_finds_what_can_never_match(rules: Path) -> None:
    """An error for the miscased field, exit code 1; nothing to say of a good rule."""
    done = pcapeda("rules", "lint", rules)
    assert done.returncode == 1
    assert b"did you mean 'detail.Destination.Port'?" in done.stdout


def test_list_shows_rules_of_every_state(rules: Path) -> None:
    """Each rule with its bus, state and targets."""
    told = json.loads(pcapeda("rules", "list", rules, "-o", "json").stdout)
    assert [(one["Name"], one["EventBusName"], one["State"]) for one in told] == [
        ("syslog", "default", "ENABLED"),
        ("miscased", "default", "ENABLED"),
        ("dns", "default", "ENABLED"),
        ("off", "default", "DISABLED"),
        ("elsewhere", "other", "ENABLED"),
    ]
    assert b"handler" in pcapeda("rules", "list", rules).stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rules", "test", MIXED], "--rules"),
        (["rules", "test", MIXED, "--rules", "no/such/rules.json"], "no/such/rules.json"),
        (["rules", "test", MIXED, "--rules", "README.md"], "README.md"),
        (["rules", "explain", "--rules", "RULES", MIXED, "--frame", "3"], "frame 3"),
        (["rules", "explain", "--rules", "RULES", "no/such/event.json"], "no/such/event.json"),
        (["rules", "test", MIXED, "--rules", "RULES", "--parameter", "x"], "--parameter"),
        (["replay", MIXED, "-n", "--only-matching"], "--rules"),
        (["replay", MIXED, "-n", "--rules", "no/such/rules.json"], "no/such/rules.json"),
    ],
)
def test_bad_usage_is_one_line(arguments: list[str | Path], words: str, rules: Path) -> None:
    """What cannot be read or honoured is exit code 2, with the culprit named."""
    done = pcapeda(*[rules if argument == "RULES" else argument for argument in arguments])
    assert done.returncode == 2, done.stderr
    assert words in complaint(done.stderr)


def test_an_expectation_of_an_unknown_rule_is_refused(rules: Path, tmp_path: Path) -> None:
    """A misspelt rule name fails its own test: it is no rule that matches nothing."""
    expect = tmp_path / "expect.json"
    expect.write_text('[{"rule": "sylog", "none": true}]')
    done = pcapeda("rules", "test", MIXED, "--rules", rules, "--expect", expect)
    assert done.returncode == 1
    assert "no rule 'sylog' was loaded; there are: dns" in done.stdout.decode()


def test_only_matching_events_are_emitted(rules: Path) -> None:
    """The cheapest cost guard: what no rule matches is counted, not sent; each event printed names its rules."""
    done = pcapeda("replay", MIXED, "-n", "--rules", rules, "--only-matching")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["matched-rules"] for event in events].count(["syslog"]) == count_to(514)
    assert len(events) == count_to(514) + count_to(53)
    assert f"{len(expected_rows('mixed.pcap')) - len(events)} no rule" in done.stderr.decode()
    assert done.returncode == 0
    pretty = pcapeda("replay", MIXED, "-n", "--rules", rules, "-o", "pretty").stdout.decode()
    assert pretty.count("matches syslog") == count_to(514)
    assert "matches no rule" in pretty
