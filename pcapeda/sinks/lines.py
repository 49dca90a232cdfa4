"""One line of JSON per entry, to a stream: the dry run in a pipe."""

from collections.abc import Callable, Sequence
from typing import TextIO

from pcapeda.errors import OutputClosed, SinkDown
from pcapeda.model import Batch, BatchLimits, Entry, Outcome


class LineSink:
    """Writes what `render` makes of the entries of a batch, a line for each, and flushes after each batch.

    `send` raises `OutputClosed` when the reader of the stream went away, `SinkDown` when it cannot be written
    (a full disk).
    """

    limits = BatchLimits(max_entries=256, max_bytes=1 << 22, max_age_ns=100_000_000)
    concurrency = 1
    costs_money = False

    def __init__(self, stream: TextIO, render: Callable[[Sequence[Entry]], str]) -> None:
        self._stream = stream
        self._render = render

    def check(self) -> None:
        """Nothing to find out."""

    def send(self, batch: Batch) -> Outcome:
        """Write the batch."""
        write_text(self._stream, self._render(batch.entries))
        return Outcome(len(batch.entries))

    def close(self) -> None:
        """The stream belongs to the caller and stays open."""


def write_text(stream: TextIO, text: str) -> None:
    """Write and flush, with the operating system's answers in our words."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        raise OutputClosed from None
    except OSError as error:
        raise SinkDown(f"cannot write to standard output: {error.strerror}", code="output failed") from None
