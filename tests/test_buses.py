"""On which bus rules are tried where nobody says so, and what is said of rules on other buses."""

import json
from pathlib import Path
from typing import Any

import pytest

from pcapeda.aws.bus import Bus
from pcapeda.engine.job import Job
from pcapeda.engine.run import execute
from pcapeda.errors import BadConfig
from pcapeda.rules.buses import bus_notes, bus_of
from pcapeda.rules.pattern import Pattern
from pcapeda.rules.rule import Rule
from pcapeda.ruletest.local_bus import LocalBus
from pcapeda.ruletest.suite import read_suite, run_suite
from pcapeda.sinks.memory import MemorySink

from .command import pcapeda as run

MIXED = str(Path(__file__).parents[1] / "fixtures" / "mixed.pcap")
ALL: dict[str, Any] = {"source": ["udp.raw"]}
ARN = "arn:aws:events:eu-west-1:123456789012:event-bus/orders"


def rules(*buses: str) -> list[Rule]:
    return [Rule(f"r{number}", Pattern.compile(ALL), bus=bus) for number, bus in enumerate(buses)]


@pytest.mark.parametrize(
    ("buses", "given", "bus"),
    [
        (["orders", "orders"], None, "orders"),
        (["orders", ARN], None, "orders"),
        (["orders"], "audit", "audit"),
        (["orders"], "default", "default"),
        (["orders", "audit"], None, "default"),
        (["orders", "default"], None, "default"),
        (["orders", "${Bus}"], None, "orders"),
        (["${Bus}"], None, "default"),
        ([], None, "default"),
    ],
)
def test_the_bus_that_is_meant(buses: list[str], given: str | None, bus: str) -> None:
    """The one that was given; else the one that all rules are on, as far as it is known; else the default bus."""
    assert bus_of(rules(*buses), given) == bus
    clock = Rule("clock", None, schedule="rate(1 hour)")
    assert bus_of([*rules(*buses), clock], given) == bus


@pytest.mark.parametrize(
    ("buses", "given", "said"),
    [
        (["default", "default"], None, []),
        (["orders"], "orders", []),
        (["orders"], ARN, []),
        (["${Bus}"], "audit", []),
        (["orders", "orders"], None, ["the bus is orders, since all rules are on it"]),
        (["orders", "a", "a"], None, ["no rule can match: the events are put on bus default, and all 3 rules are on "
                                      "others: try --bus a (2) or --bus orders (1)"]),
        (["orders"], "audit", ["no rule can match: the events are put on bus audit, and the only rule is on another: "
                               "try --bus orders (1)"]),
        (["default", "orders"], None, ["1 rule is on other buses and cannot match, since the events are put on bus "
                                       "default: to try them, --bus orders (1)"]),
        (list("abcdefg"), None, ["no rule can match: the events are put on bus default, and all 7 rules are on others: "
                                 "try --bus a (1) or --bus b (1) or --bus c (1) or --bus d (1) or --bus e (1) or "
                                 "2 other buses"]),
    ],
)  # fmt: skip
def test_what_is_said_of_it(buses: list[str], given: str | None, said: list[str]) -> None:
    """A bus that was taken from the rules is named, and so is the one that would match; never is it silent."""
    given_rules = rules(*buses)
    assert bus_notes(given_rules, bus_of(given_rules, given), given) == said


@pytest.fixture
def on_orders(tmp_path: Path) -> str:
    path = tmp_path / "orders.json"
    path.write_text(json.dumps([{"Name": "r", "EventPattern": ALL, "EventBusName": "orders"}]))
    return str(path)


def test_rules_test_and_explain(on_orders: str, tmp_path: Path) -> None:
    """Rules of one bus are tried on it; with another --bus it is told which one would match."""
    done = run("rules", "test", MIXED, "--rules", on_orders, "-o", "json")
    assert json.loads(done.stdout)["Rules"][0]["Matches"] == 13
    assert done.stderr.decode() == "pcapeda: the bus is orders, since all rules are on it\n"
    event = tmp_path / "event.json"
    event.write_text(json.dumps(ALL | {"source": "udp.raw"}))
    done = run("rules", "explain", str(event), "--rules", on_orders)
    assert b"match" in done.stdout
    assert b"selects nothing" not in done.stdout
    done = run("rules", "test", MIXED, "--rules", on_orders, "--bus", "audit", "-o", "json")
    assert json.loads(done.stdout)["Rules"][0]["Silent"] == "on another bus: orders"
    assert b"no rule can match" in done.stderr
    assert b"try --bus orders (1)" in done.stderr


def test_suites_and_the_bus_in_memory(on_orders: str, tmp_path: Path) -> None:
    """A suite without a bus, and a local bus without one, take that of the rules."""
    suite = tmp_path / "one.pcapeda.yaml"
    suite.write_text(f"captures: {MIXED}\nrules: {on_orders}\nexpect: [{{rule: r, count: 13}}]\n")
    result = run_suite(read_suite(str(suite)))
    assert result.holds
    assert result.trial.bus == "orders"
    suite.write_text(f"captures: {MIXED}\nrules: {on_orders}\nbus: default\nexpect: [{{rule: r, none: true}}]\n")
    assert run_suite(read_suite(str(suite))).holds
    bus = LocalBus(rules("orders", "orders"))
    assert bus.bus == "orders"
    assert bus.put({"source": "udp.raw"}) == ["r0", "r1"]
    assert LocalBus(rules("orders"), bus="audit").put({"source": "udp.raw"}) == []


def test_runs_with_rules(on_orders: str) -> None:
    """A dry run takes the bus of the rules. What is sent goes to the bus of the run, and rules on others select
    nothing there: that stops the run, with the bus that would match."""
    job = Job(captures=(MIXED,), rules=(on_orders,), only_matching=True)
    assert execute(job, sink=MemorySink()).sent == 13
    with pytest.raises(BadConfig, match="none of the 1 rules selects events of bus default"):
        execute(job, sink=MemorySink(costs_money=True))
    with pytest.raises(BadConfig, match="none of the 1 rules selects events of bus audit"):
        execute(Job(captures=(MIXED,), rules=(on_orders,), only_matching=True, bus=Bus("audit")), sink=MemorySink())
    done = run("replay", MIXED, "-n", "--rules", on_orders, "--only-matching", "--bus", "audit")
    assert done.returncode == 2
    assert b"try --bus orders (1)" in done.stderr
    done = run("replay", MIXED, "-n", "--rules", on_orders, "--only-matching", "-o", "jsonl")
    assert len(done.stdout.splitlines()) == 13
    assert b"the bus is orders, since all rules are on it" in done.stderr
