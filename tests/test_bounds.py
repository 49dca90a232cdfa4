"""One table of bounds: whatever value a field is given, library, suites and command line take or refuse it alike."""

import json
import math
from collections.abc import Iterator
from dataclasses import fields
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.main import get_command

import pcapeda
from pcapeda import Bus, Job
from pcapeda.cli import app
from pcapeda.cli.habits import UsageProblem
from pcapeda.errors import BadCapture, BadConfig, BadField, ExitStatus
from pcapeda.options.bounds import RANGES, option
from pcapeda.report import Report
from pcapeda.ruletest.suite import read_suite
from tests.command import FIXTURES

MIXED = FIXTURES / "mixed.pcap"
NUMBERS = {name for name in RANGES if name in Job.__dataclass_fields__}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("count", -1, "Job.count: -1 is below 1"),
        ("count", True, "Job.count: True is no whole number"),
        ("count", 1.5, "Job.count: 1.5 is no whole number"),
        ("count", "3", "Job.count: '3' is no whole number"),
        pytest.param("count", 10**5000, "is above 1,000,000,000,000,000", id="more digits than can be shown"),
        ("ports", 70000, "Job.ports: 70000 is above 65,535"),
        ("ports", [514, -1], "Job.ports: -1 is below 0"),
        ("ports", "514", "Job.ports: '514' is no whole number"),
        ("pps", math.nan, "Job.pps: nan is no number"),
        ("max_rate", math.inf, "Job.max_rate: inf is above 1,000,000,000"),
        ("max_rate", -math.inf, "Job.max_rate: -inf is below 0"),
        ("speed", 0, "Job.speed: 0 is below 0.000001"),
        ("max_cost", 10**400, "Job.max_cost: "),
        ("loop", None, "Job.loop: None is no whole number"),
        ("decapsulate", 1, "Job.decapsulate: 1 is neither True nor False"),
        ("captures", 5, "Job.captures: 5 holds no values"),
        ("captures", [5], "Job.captures: 5 is no text or path"),
        ("captures", "a\0b", "no file can be called that"),
        ("when_full", "panic", "Job.when_full: 'panic' is none of: block, drop-oldest, drop-newest"),
        ("shape", "full", "Job.shape: 'full' is no Shape"),
        ("bus", "my-bus", "Job.bus: 'my-bus' is no Bus"),
        ("parameters", "K=V", "Job.parameters: 'K=V' is no pair"),
        ("filter", b"udp", "Job.filter: b'udp' is no text"),
        ("spool", 1, "Job.spool: 1 is no text or path"),
    ],
)
def test_what_a_field_cannot_be_names_the_field(field: str, value: Any, words: str) -> None:
    """One line, at once, with the field, the value and the bound."""
    with pytest.raises(BadField) as caught:
        Job(**{field: value})
    assert words in str(caught.value)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


def test_contradictions_name_fields_in_the_library_and_options_elsewhere() -> None:
    """The same sentence, in the words of whoever reads it."""
    with pytest.raises(BadField, match=r"^Job\.speed and Job\.pps are two clocks") as caught:
        Job(captures="a", speed=1, pps=1).check()
    assert str(caught.value.told(lambda field: f"--{option(field)}")).startswith("--speed and --pps are")
    with pytest.raises(BadField, match=r"Job\.shape\.text"):
        Job(captures="a", aggregate_s=1, shape=pcapeda.Shape(text=True)).check()
    with pytest.raises(BadField, match=r"Shape\.source"):
        Job(captures="a", shape=pcapeda.Shape(source="aws.x")).check()
    with pytest.raises(BadField, match=r"Bus\.groups: 0 is below 1"):
        Bus(groups=0)


def test_sequences_are_taken_in_every_form() -> None:
    """A text is one path, not its letters; paths, sets and generators are as good as tuples."""
    assert Job(captures="x.pcap").captures == ("x.pcap",)
    assert Job(captures=Path("a/x.pcap")).captures == ("a/x.pcap",)
    assert Job(captures=b"x\xff").captures == ("x\udcff",)
    assert Job(captures=["a", Path("b")]).captures == ("a", "b")
    assert Job(captures={"b", "a"}).captures == ("a", "b")
    assert Job(captures=(name for name in "ab")).captures == ("a", "b")
    assert Job(rules="x.json", interfaces="eth0", allow="10.0.0.0/8").rules == ("x.json",)
    assert Job(ports={514}).ports == Job(ports=514).ports == Job(ports=[514]).ports == frozenset({514})
    assert Job(parameters={"a": "b"}).parameters == (("a", "b"),)
    assert Job(spool=Path("s")).spool == "s"
    assert Job(captures=None).captures == ()
    report = pcapeda.execute(Job(captures=MIXED, ports=514), sink=pcapeda.MemorySink())
    assert (report.sent, report.adds_up()) == (4, True)


def forever() -> Iterator[str]:
    while True:
        yield "x"


def test_what_never_ends_is_refused() -> None:
    with pytest.raises(BadField, match=r"Job\.rules: more than 1,000,000"):
        Job(rules=forever())


ANYTHING: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-3, 70000),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.fractions(),
    st.decimals(),
    st.complex_numbers(),
    st.lists(st.one_of(st.text(max_size=5), st.integers(), st.none()), max_size=3),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3),
    st.builds(Path, st.just("x")),
    st.builds(object),
)


@given(st.sampled_from([one.name for one in fields(Job)]), ANYTHING)
def test_whatever_the_value_a_job_is_made_or_refused_by_name(field: str, value: Any) -> None:
    """Never another exception; what is taken is within its bounds and plain."""
    job, words = made_or_refused(field, value)
    assert words.isprintable()
    if job is None:
        assert words.startswith(f"Job.{field}")
        return
    kept = getattr(job, field)
    if field in NUMBERS - {"ports"} and kept is not None:
        assert type(kept) in (int, float)
        assert kept in RANGES[field]


def made_or_refused(field: str, value: Any) -> tuple[Job | None, str]:
    """A job of that value, and what is wrong with it, in the value itself (then there is no job) or with others."""
    job = None
    try:
        job = Job(**{field: value})
        job.check()
    except BadConfig as error:
        return job, str(error)
    return job, ""


TREE: Any = get_command(app)


def verdict_of_command(field: str, value: float) -> bool:
    """Whether the command line takes a value for the option of a field."""
    name = f"--{option(field)}"
    replay = any(name in param.opts for param in TREE.commands["replay"].params)
    command, must = ("replay", ["x"]) if replay else ("sniff", ["-i", "x"])
    try:
        TREE.commands[command].make_context("x", [*must, f"{name}={value}"])
    except UsageProblem:
        return False
    return True


ON_COMMAND_LINE = sorted(NUMBERS - {"sample"})


@pytest.mark.parametrize("field", ON_COMMAND_LINE)
def test_command_line_and_library_have_the_same_bounds(field: str) -> None:
    """At each end and beyond it."""
    bounds = RANGES[field]
    step = 1 if bounds.whole else Fraction(1, 10**9)
    for value in (bounds.least, bounds.most, bounds.least - step, bounds.most + step * 10**9):
        number = int(value) if bounds.whole else float(value)
        try:
            Job(**{field: number})
            taken = True
        except BadField:
            taken = False
        assert taken is (bounds.least <= number <= bounds.most)
        assert verdict_of_command(field, number) is taken, (field, number)


SUITE_KEYS = {"aggregate": "aggregate_s", "max-flows": "max_flows", "group": "group", "group-wait": "group_wait_s"}


@pytest.mark.parametrize(("key", "field"), SUITE_KEYS.items())
def test_suites_and_their_schema_have_the_same_bounds(key: str, field: str, tmp_path: Path) -> None:
    """The schema says what the reader does, which is what the library does."""
    bounds = RANGES[field]
    schema = json.loads(files("pcapeda.ruletest").joinpath("suite.schema.json").read_text())["properties"]
    told = schema["event"]["properties"][key]
    assert (told["minimum"], told["maximum"]) == (bounds.least, bounds.most)
    assert told["type"] == ("integer" if bounds.whole else "number")
    assert schema["ports"]["oneOf"][0]["maximum"] == RANGES["ports"].most
    path = tmp_path / "a.pcapeda.yaml"
    extra = "" if key in ("aggregate", "group") else ", group: 5"
    for value, fine in ((bounds.least, True), (bounds.most, True), (bounds.most + 1, False), (bounds.least - 1, False)):
        path.write_text(f"{{captures: a.pcap, rules: r.json, event: {{{key}: {value}{extra}}}}}")
        if fine:
            assert getattr(read_suite(str(path)), field) == value
            continue
        with pytest.raises(BadConfig, match=rf"a\.pcapeda\.yaml: {key}: .* is (above|below) "):
            read_suite(str(path))


class TestDatagrams:
    """`datagrams(report=…)` accounts for everything."""

    def test_a_whole_walk_adds_up(self) -> None:
        """What was yielded is sent."""
        report = Report()
        found = list(pcapeda.datagrams(MIXED, report=report))
        assert (len(found), report.sent, report.adds_up(), report.status()) == (13, 13, True, ExitStatus.OK)

    @pytest.mark.parametrize("taken", range(1, 13))
    def test_one_that_is_left_adds_up(self, taken: int) -> None:
        """What was decoded already and never asked for is told."""
        report = Report()
        walk = pcapeda.datagrams(MIXED, report=report)
        for _ in range(taken):
            next(walk)
        walk.close()
        assert report.sent == taken
        assert report.adds_up()

    def test_filtered_and_damaged_ones_add_up(self) -> None:
        report = Report()
        list(pcapeda.datagrams(FIXTURES / "cut.pcap", MIXED, filter="udp port 514", report=report))
        assert report.adds_up()
        assert report.damages

    def test_a_bad_file_stops_it_unless_asked(self, tmp_path: Path) -> None:
        """With `skip_bad` it is told, and the others are read: one not there, one that is none, an empty folder."""
        none = tmp_path / "none.pcap"
        none.write_bytes(b"<html>certainly no capture</html>")
        (tmp_path / "empty").mkdir()
        names = [tmp_path / "missing.pcap", MIXED, none, tmp_path / "empty", MIXED]
        for bad in (names[0], none):
            report = Report()
            with pytest.raises(BadCapture):
                list(pcapeda.datagrams(bad, MIXED, report=report))
            assert report.adds_up()
        report = Report()
        assert len(list(pcapeda.datagrams(*names, report=report, skip_bad=True))) == 26
        assert report.adds_up()
        assert (report.bad_inputs, report.status()) == (3, ExitStatus.USAGE)
        assert [one.partition(":")[0].rpartition("/")[2] for one in report.failures] == [
            "missing.pcap",
            "empty",
            "none.pcap",
        ]
