"""How a run ends that somebody else's code, or a Ctrl-C, breaks off: in order, with all of it counted and reported."""

from collections.abc import Callable
from contextlib import suppress
from threading import Event

from pcapeda.engine.loop import RunObserver
from pcapeda.report import Report

BROKEN_OFF = "broken off"
"""Why datagrams are refused that had been read, and not handed on, when an exception ended the run."""


class Guarded:
    """An observer that cannot break a run off in the middle: its first exception stops the run, and is kept as `error`.

    From then on it is not called any more.
    """

    def __init__(self, observer: RunObserver, stop: Event) -> None:
        self.error: BaseException | None = None
        self._observer = observer
        self._stop = stop

    def _call(self, tell: Callable[[], None]) -> None:
        if self.error is not None:
            return
        try:
            tell()
        except BaseException as error:  # noqa: BLE001 - it is raised once the run has ended in order
            self.error = error
            self._stop.set()

    def note(self, sentence: str) -> None:
        """Pass it on."""
        self._call(lambda: self._observer.note(sentence))

    def say(self, sentence: str) -> None:
        """Pass it on."""
        self._call(lambda: self._observer.say(sentence))

    def tick(self, report: Report, reading: Report, position: int, size: int | None) -> None:
        """Pass it on."""
        self._call(lambda: self._observer.tick(report, reading, position, size))


def balance(report: Report) -> None:
    """Count as refused what was read and never handed on, because an exception came in between."""
    read = report.datagrams + report.reassembled + report.inherited
    ended = (
        report.sent
        + report.spooled
        + sum(counts.total() for counts in (report.dead, report.limited, report.refused, report.unselected))
    )
    if read > ended:
        report.refused[BROKEN_OFF] += read - ended


def with_report(error: BaseException, report: Report) -> BaseException:
    """The error, carrying the report as `error.report`."""
    with suppress(AttributeError, TypeError):
        error.report = report  # type: ignore[attr-defined]
    return error
