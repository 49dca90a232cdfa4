"""A line of JSON for each entry, to a stream: the dry run in a pipe."""

import json
import sys
from collections.abc import Sequence
from functools import partial
from io import TextIOWrapper
from typing import BinaryIO, Self, TextIO

from pcapeda.aws.wire import EventLines, entry_lines, entry_v2_lines
from pcapeda.errors import OutputClosed, OutputFailed
from pcapeda.model import REGION, Batch, BatchLimits, Entry, Outcome
from pcapeda.sinks.base import BaseSink, Render, SinkOptions


class JsonlSink(BaseSink):
    """Writes what `render` makes of the entries of a batch, a line for each, and flushes after each batch.

    The stream is the caller's, and stays open. `send` raises `OutputClosed` when the reader of the stream went away,
    `OutputFailed` when it cannot be written (a full disk).
    """

    limits = BatchLimits(max_entries=256, max_bytes=1 << 22, max_age_ns=100_000_000)

    def __init__(self, stream: TextIO, render: Render) -> None:
        self._stream = stream
        self._text_of = self.render = render

    @classmethod
    def make(cls, options: SinkOptions) -> Self:
        return cls(options.stream or sys.stdout, cls._render_for(options))

    @staticmethod
    def _render_for(options: SinkOptions) -> Render:
        """What makes lines of events as rules see them; raw events have no such form."""
        if options.bus.raw:
            return EntriesSink._render_for(options)
        as_events = EventLines(region=options.bus.region or REGION)
        return partial(_with_rules, as_events) if options.rules else as_events

    def send(self, batch: Batch) -> Outcome:
        """Write the batch."""
        write_text(self._stream, self._text_of(batch.entries))
        return Outcome(len(batch.entries))

    def pass_on(self, lines: str | memoryview) -> None:
        """Write what was rendered already, as text or in UTF-8. Raises as `send` does."""
        if isinstance(lines, str):
            write_text(self._stream, lines)
        elif isinstance(self._stream, TextIOWrapper) and self._stream.encoding.lower() in ("utf-8", "utf8"):
            self._stream.flush()
            write_text(self._stream.buffer, lines)
        else:
            write_text(self._stream, str(lines, "utf-8"))


class EntriesSink(JsonlSink):
    """The same, of entries as PutEvents takes them."""

    @staticmethod
    def _render_for(options: SinkOptions) -> Render:
        bus = options.bus
        return partial(entry_v2_lines, raw=bus.raw) if bus.v2 else partial(entry_lines, bus=bus.name)


def _with_rules(as_events: Render, entries: Sequence[Entry]) -> str:
    """The events with the names of the rules that each matches."""
    # Line feeds are nowhere but at the ends of lines: JSON spells those in strings.
    lines = as_events(entries).split("\n")
    return "".join(
        f'{line[:-1]},"matched-rules":{json.dumps(entry.rules, ensure_ascii=False)}}}\n'
        for line, entry in zip(lines, entries, strict=False)
    )


def write_text(stream: TextIO | BinaryIO, text: str | memoryview) -> None:
    """Write and flush, with the operating system's answers in our words."""
    try:
        stream.write(text)  # type: ignore[arg-type]
        stream.flush()
    except BrokenPipeError:
        raise OutputClosed from None
    except OSError as error:
        raise OutputFailed(error.strerror or str(error)) from None
