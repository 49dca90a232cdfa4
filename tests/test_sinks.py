"""The contract of a sink, over every kind there is: a new one is a class, its row in `SINKS`, and its place below."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from pcapeda import Job, execute
from pcapeda.aws.bus import Bus
from pcapeda.cli.options import Output
from pcapeda.delivery.delivery import Delivery
from pcapeda.events.shape import Shape
from pcapeda.model import Batch, Entry, Outcome
from pcapeda.report import Report
from pcapeda.sinks.base import SINKS, BaseSink, SinkOptions, as_base, make_bus_sink, make_sink, sink_class
from tests.bus_v2 import ARN as V2_ARN
from tests.bus_v2 import bus_v2
from tests.command import FIXTURES
from tests.datagrams import EXAMPLE
from tests.put_events_server import put_events_server

SHAPE = Shape(resources=("arn:aws:ec2:eu-west-1:123456789012:instance/i-0",))
PAYLOADS = (b"", b"x", "Kö\u2028ln".encode(), b"\0\xff" * 700)
ENTRIES = tuple(SHAPE.entries([EXAMPLE._replace(number=i + 1, payload=PAYLOADS[i % 4]) for i in range(40)]))


@contextmanager
def options_for(name: str) -> Iterator[SinkOptions]:
    """What a run would say to a sink of this kind, with its other side in place."""
    if name == "eventbridge":
        with put_events_server() as server:
            yield SinkOptions(Bus("udp", region="us-east-1", endpoint_url=server.url))
    elif name == "eventbridge-v2":
        with bus_v2() as bus:
            yield SinkOptions(Bus(V2_ARN, endpoint_url=bus.url))
    else:
        with nullcontext():
            yield SinkOptions(stream=io.StringIO())


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "testing")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))


@pytest.fixture(params=SINKS)
def made(request: pytest.FixtureRequest) -> Iterator[tuple[BaseSink, SinkOptions]]:
    """A sink of every kind, as a run makes it."""
    with options_for(request.param) as options:
        sink = make_sink(request.param, options)
        try:
            yield sink, options
        finally:
            sink.close()


def batches(sink: BaseSink, entries: tuple[Entry, ...]) -> list[Batch]:
    """The entries, in batches that the sink takes."""
    most = sink.limits.max_entries
    pieces = [entries[at : at + most] for at in range(0, len(entries), most)]
    return [Batch(piece, sum(entry.size for entry in piece)) for piece in pieces]


def answers_for_all(outcome: Outcome, batch: Batch) -> bool:
    """Whether each entry is counted, once, and what failed is of the batch."""
    left = list(map(id, batch.entries))
    for failed in outcome.failed:
        left.remove(id(failed.entry))  # ValueError: it is none of these, or named twice
        assert failed.code
    return outcome.sent == len(left)


def test_what_it_says_of_itself(made: tuple[BaseSink, SinkOptions]) -> None:
    """Limits that a batch can keep, words of one line, and nothing that a run would have to guess."""
    sink, _ = made
    assert isinstance(sink, BaseSink)
    assert sink.limits.max_entries >= 1
    assert sink.limits.max_bytes >= 1
    assert sink.limits.max_age_ns >= 0
    assert sink.concurrency >= 1
    assert isinstance(sink.costs_money, bool)
    assert sink.billed_bytes >= 1
    assert sink.describe()
    assert sink.describe().isprintable()
    sink.check()
    assert all(isinstance(note, str) for note in sink.notes)
    assert all(isinstance(host, str) for host in sink.hosts)
    assert as_base(sink) is sink


def test_it_answers_for_every_entry(made: tuple[BaseSink, SinkOptions]) -> None:
    """One at a time, and as many as it takes at once."""
    sink, _ = made
    sink.check()
    one = Batch(ENTRIES[:1], ENTRIES[0].size)
    assert answers_for_all(sink.send(one), one)
    for batch in batches(sink, ENTRIES):
        outcome = sink.send(batch)
        assert answers_for_all(outcome, batch)
        assert outcome.deduplicated <= outcome.sent


def test_text_passed_on_is_what_it_would_have_sent(made: tuple[BaseSink, SinkOptions]) -> None:
    """Where it renders: as text, in UTF-8, and by itself are the same."""
    sink, options = made
    if sink.render is None:
        with pytest.raises(TypeError):
            sink.pass_on("text")
        return
    assert isinstance(options.stream, io.StringIO)
    entries = ENTRIES[: sink.limits.max_entries]
    sink.send(Batch(entries, 0))
    sent = options.stream.getvalue()
    text = sink.render(entries)
    sink.pass_on(text)
    sink.pass_on(memoryview(text.encode()))
    assert options.stream.getvalue() == sent * 3


def test_several_under_way_are_all_answered(made: tuple[BaseSink, SinkOptions]) -> None:
    """Where it has its own way of sending several batches at once."""
    sink, _ = made
    sender = sink.async_sender()
    if sender is None:
        return
    under_way = {sender.start(batch): batch for batch in batches(sink, ENTRIES)}
    assert len(under_way) > 1
    while under_way:
        for number, outcome in sender.poll(10):
            assert isinstance(outcome, Outcome)
            assert answers_for_all(outcome, under_way.pop(number))
    sender.close()


def test_closing_is_the_end_however_often(made: tuple[BaseSink, SinkOptions]) -> None:
    """Whether it has sent anything or not; what it could not renew does no harm."""
    sink, _ = made
    sink.renew()
    sink.close()
    sink.close()


def test_a_run_adds_up_with_it(made: tuple[BaseSink, SinkOptions]) -> None:
    """A capture, read to its end into it."""
    sink, _ = made
    report = execute(Job(captures=(str(FIXTURES / "mixed.pcap"),)), sink=sink)
    assert report.adds_up()
    assert report.status() == 0
    assert report.sent == 13


class Plain:
    """A sink of a user's own: the members of `model.Sink`, and nothing else."""

    def __init__(self) -> None:
        self.limits, self.concurrency, self.costs_money = ENTRIES_LIMITS, 3, True
        self.taken: list[Entry] = []

    def check(self) -> None:
        """Nothing to find out."""

    def send(self, batch: Batch) -> Outcome:
        self.taken += batch.entries
        return Outcome(len(batch.entries))

    def close(self) -> None:
        """Nothing is held."""


ENTRIES_LIMITS = BaseSink.limits._replace(max_entries=7)


def test_one_that_inherits_nothing_has_the_defaults() -> None:
    """What it says holds, all else is as for any sink; the original is called."""
    plain = Plain()
    sink = as_base(plain)
    assert (sink.limits, sink.concurrency, sink.costs_money) == (ENTRIES_LIMITS, 3, True)
    assert (sink.ordered, sink.render, sink.async_sender(), list(sink.notes)) == (False, None, None, [])
    delivery = Delivery(plain, Report())
    delivery.add_all(list(ENTRIES))
    delivery.finish()
    assert sorted(plain.taken) == sorted(ENTRIES)


def test_what_such_a_one_says_beyond_that_counts() -> None:
    """Notes as they are after the check, hosts, order."""

    class Saying(Plain):
        hosts = ("bus.example.com",)
        ordered = True

        def check(self) -> None:
            self.notes = ["mind the gap"]

    sink = as_base(Saying())
    sink.check()
    assert (sink.notes, sink.hosts, sink.ordered) == (("mind the gap",), ("bus.example.com",), True)


def test_rows_name_classes() -> None:
    """Each is a class of its own, and a bus is chosen by its name."""
    classes = [sink_class(name) for name in SINKS]
    assert all(issubclass(one, BaseSink) for one in classes)
    assert len(set(classes)) == len(classes)
    with bus_v2() as bus:
        assert make_bus_sink(Bus(V2_ARN, endpoint_url=bus.url)).describe().startswith("event bus edge (v2)")


def test_every_output_is_a_choice() -> None:
    """What prints is in the table with its words, and on the command line, which is too fast to ask the table."""
    assert sorted(output.value for output in Output) == sorted(name for name, row in SINKS.items() if row.output)
