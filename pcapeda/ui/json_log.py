"""What is said on stderr with `--log json`: one JSON object a line, for the programs that collect a service's logs.

Every line has `time` (RFC 3339, UTC, milliseconds), `level` (info, warning, error), `kind` and `message`. The kind is
`note` for a sentence, `problem` for what ended the command or kept it from starting (with `hint`, if it is known what
helps), `progress` and `summary` for the counts of a run, `stopped` for the last words of a run that a second signal
ended at once; these three have the members of `counts.counts`. Lines are ASCII: whatever else a message holds is
escaped as JSON does it.
"""

import json
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pcapeda.aws import quotas
from pcapeda.errors import PcapedaError
from pcapeda.report import Report
from pcapeda.safety.masking import masked
from pcapeda.ui.snapshot import snapshot, undelivered

PROGRESS_S = 10.0
"""Shortest time between two lines on the progress of a run."""

TURNED_AWAY = 5
"""How many of those whom a limit kept back are named."""


class JsonLog:
    """The talk of a run as JSON lines; a `pipeline.RunObserver`.

    `clock` gives monotonic seconds, `write` takes a line with its end. A log that cannot be written stops nothing.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        costs_money: bool = False,
        tariff: quotas.Tariff = quotas.CLASSIC,
        clock: Callable[[], float] = time.monotonic,
        write: Callable[[bytes], object] | None = None,
    ) -> None:
        self._quiet = quiet
        self._tariff = tariff if costs_money else quotas.FREE
        self._clock = clock
        self._write = write or _to_stderr
        self._progress_at = clock() + PROGRESS_S
        self._latest: tuple[Report, ...] = ()

    def line(self, level: str, kind: str, message: str, **members: Any) -> None:
        """One line."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        told = {"time": now, "level": level, "kind": kind, "message": _text(masked(message))} | members
        self._write(json.dumps(told).encode() + b"\n")

    def note(self, sentence: str) -> None:
        """Something is wrong, or doubtful."""
        self.line("warning", "note", sentence)

    def say(self, sentence: str) -> None:
        """Something that a quiet run does without."""
        if not self._quiet:
            self.line("info", "note", sentence)

    def tick(self, report: Report, reading: Report, position: int, size: int | None) -> None:
        """A line on progress every `PROGRESS_S` seconds."""
        self._latest = (report, reading)
        if self._quiet or self._clock() < self._progress_at:
            return
        self._progress_at = self._clock() + PROGRESS_S
        self._line_with_counts("info", "progress", "so far: ")

    def drained(self, report: Report) -> None:
        """The same for a spool that is delivered."""
        self.tick(report, Report(), 0, None)

    def complain(self, error: PcapedaError) -> None:
        """What ended the command, or kept it from starting."""
        hint = {"hint": _text(error.hint)} if error.hint else {}
        self.line("error", "problem", str(error), **hint)

    def summary(self, report: Report, *, brief: bool = False) -> None:
        """All counts of a run that is over, its exit code, and the first words that came with each error code.

        A quiet or brief one says no more than what was not delivered, if anything was not.
        """
        if self._quiet or brief:
            if words := undelivered(report):
                self.note(f"not delivered: {words}")
            return
        self._latest = (report,)
        self._line_with_counts(
            "warning" if report.lost or report.ended_by is not None else "info",
            "summary",
            "finished: ",
            interrupted=report.interrupted,
            exit_code=int(report.status()),
            messages={code: _text(words) for code, words in list(report.messages.items())[:20]},
            turned_away=[
                {"reason": reason, "source": source, "count": count}
                for (reason, source), count in report.turned_away.most_common(TURNED_AWAY)
            ],
        )

    def stopped(self) -> None:
        """The last words before the process ends at once: what is known by then. For a signal handler, too."""
        self._line_with_counts("error", "stopped", "stopped at once; what was under way may be lost; so far: ")

    def close(self) -> None:
        """Nothing is held."""

    def _line_with_counts(self, level: str, kind: str, message: str, **members: Any) -> None:
        told = snapshot(*self._latest, tariff=self._tariff)
        undelivered = told["spooled"] + told["dead"] + told["limited"] + told["refused"]
        message += f"{told['datagrams']:,} datagrams read, {told['sent']:,} delivered, {undelivered:,} not delivered"
        self.line(level, kind, message, **told, **members)


def take_over() -> None:
    """Let what others would print on stderr (libraries' logs and warnings, a defect's trace) come as lines, too."""
    log = JsonLog()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log.line("warning", "note", f"{record.name}: {record.getMessage()}")

    logging.captureWarnings(capture=True)
    logging.getLogger().addHandler(Handler(logging.WARNING))

    def defect(kind: type[BaseException], error: BaseException | None, trace: Any) -> None:
        lines = masked("".join(traceback.format_exception(kind, error, trace)))
        log.line(
            "error", "problem", f"a defect of pcapeda: {kind.__name__}: {error}", trace=_text(masked("".join(lines)))
        )

    sys.excepthook = defect
    threading.excepthook = lambda told: defect(told.exc_type, told.exc_value, told.exc_traceback)


def _to_stderr(line: bytes) -> None:
    # Not through sys.stderr, which must not be entered twice: a signal handler writes, too.
    with suppress(OSError):
        while line:
            line = line[os.write(2, line) :]


def _text(words: str) -> str:
    """Text that every reader of JSON takes: bytes of a file name that were no UTF-8 are shown as such."""
    return words.encode(errors="backslashreplace").decode()
