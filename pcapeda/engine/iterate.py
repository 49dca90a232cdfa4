"""Datagrams for those who want no events: captures in, an iterator out, with nothing else opened or sent."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike

from pcapeda.capture.bpf import Filter
from pcapeda.capture.files import Capture, expand
from pcapeda.dissect.extractor import Extractor
from pcapeda.engine.filters import selected
from pcapeda.errors import BadCapture, BadFilter
from pcapeda.model import Damage, Datagram, Frame
from pcapeda.options import bounds
from pcapeda.report import Report


def datagrams(
    *captures: str | PathLike[str],
    filter: str | None = None,  # noqa: A002 - the option's name, as everywhere
    decapsulate: bool = False,
    tunnels: Iterable[tuple[int, str]] = (),
    report: Report | None = None,
    skip_bad: bool = False,
) -> Iterator[Datagram]:
    """The UDP datagrams of captures, in order.

    `report` gets the counts, damages and what could not be read; when the iteration is over, or was left, it adds up:
    each datagram that was yielded is `sent`, what was decoded and not asked for any more is `unselected`. Raises
    `BadCapture` or `BadFilter` for what cannot be read; with `skip_bad` that is in the report (`bad_inputs`,
    `failures`), and the next capture follows.
    """
    total = report if report is not None else Report()
    chosen, asked = Filter(filter) if filter else None, tuple(tunnels)
    if chosen is not None:
        chosen.check()
    try:
        paths = expand(bounds.paths("datagrams", "captures", captures))
    except BadCapture:
        if not skip_bad:
            raise
        paths = []
        for one in bounds.paths("datagrams", "captures", captures):
            with _told(total, skip=True):
                paths += expand((one,))
    for path in paths:
        with _told(total, skip=skip_bad):
            yield from _datagrams_of(path, chosen, decapsulate, asked, total)


@contextmanager
def _told(report: Report, *, skip: bool) -> Iterator[None]:
    """Let what is wrong with a capture go to the report instead of the caller, if it may be skipped."""
    try:
        yield
    except (BadCapture, BadFilter) as error:
        report.bad_inputs += 1
        report.failures.append(str(error))
        if not skip:
            raise


def _datagrams_of(
    path: str, chosen: Filter | None, decapsulate: bool, tunnels: tuple[tuple[int, str], ...], total: Report
) -> Iterator[Datagram]:
    reading = Report()
    extractor = Extractor(reading, decapsulate=decapsulate, tunnels=tunnels)
    taken = 0

    def damaged(damage: Damage) -> None:
        if not damage.harmless:
            reading.damages.append(damage)

    try:
        with Capture(path, note=damaged) as capture:
            for block in capture.blocks():
                frames: Sequence[Frame] = block or ()
                if frames and chosen is not None:
                    frames = selected(frames, chosen, reading)
                for datagram in extractor.feed_all(frames):
                    taken += 1
                    yield datagram
    finally:
        extractor.finish()
        reading.sent = taken
        if left := reading.datagrams + reading.reassembled - taken:
            reading.unselected["not asked for"] += left
        total.merge(reading)
