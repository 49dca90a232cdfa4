"""One line of JSON per entry, to a stream: the dry run in a pipe."""

from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import BinaryIO, TextIO

from pcapeda.errors import OutputClosed, OutputFailed
from pcapeda.model import Batch, BatchLimits, Entry, Outcome


class JsonlSink:
    """Writes what `render` makes of the entries of a batch, a line for each, and flushes after each batch.

    `send` raises `OutputClosed` when the reader of the stream went away, `OutputFailed` when it cannot be written
    (a full disk).
    """

    limits = BatchLimits(max_entries=256, max_bytes=1 << 22, max_age_ns=100_000_000)
    concurrency = 1
    costs_money = False

    def __init__(self, stream: TextIO, render: Callable[[Sequence[Entry]], str]) -> None:
        self._stream = stream
        self.render = render

    def check(self) -> None:
        """Nothing to find out."""

    def send(self, batch: Batch) -> Outcome:
        """Write the batch."""
        write_text(self._stream, self.render(batch.entries))
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

    def close(self) -> None:
        """The stream belongs to the caller and stays open."""


def write_text(stream: TextIO | BinaryIO, text: str | memoryview) -> None:
    """Write and flush, with the operating system's answers in our words."""
    try:
        stream.write(text)  # type: ignore[arg-type]
        stream.flush()
    except BrokenPipeError:
        raise OutputClosed from None
    except OSError as error:
        raise OutputFailed(error.strerror or str(error)) from None
