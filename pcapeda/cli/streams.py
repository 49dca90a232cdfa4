"""Standard streams as every command wants them: none of them can end a run with a traceback, or speak for others.

- What cannot be written to stderr (closed, a full disk, a reader that went away) is lost and stops nothing.
- What cannot be written to stdout raises `OutputClosed` or `OutputFailed`, once; from then on it goes nowhere.
- Descriptors 0 to 2 that were closed are taken, so that no file that is opened later gets the number of a stream.
- Text that is not ours reaches neither stderr nor a terminal but through `visible`, whoever prints it.
"""

import io
import os
import re
import select
import sys
from collections.abc import Callable
from typing import Any

from pcapeda.errors import OutputClosed, OutputFailed
from pcapeda.safety.visible import visible, visible_json

STDERR_PATIENCE_MS = 1000
"""How long a stderr that takes nothing just now, and will not wait itself, is waited for."""

_STYLE = re.compile(r"(\x1b\[[0-9;]*m)")
"""What colours text and does nothing else (ECMA-48, SGR)."""


class Output(io.FileIO):
    """Descriptor 1. Its first failure is raised in our words; after it nothing is written, and nothing fails."""

    _dead = False

    def write(self, data: Any, /) -> int:
        """Write some of it; waits where a non-blocking descriptor would not."""
        if self._dead:
            return memoryview(data).nbytes
        try:
            while (written := super().write(data)) is None:
                select.select([], [self.fileno()], [])
        except BrokenPipeError:
            self._dead = True
            raise OutputClosed from None
        except OSError as error:
            self._dead = True
            raise OutputFailed(error.strerror or str(error)) from None
        return written


class ConsoleReporter(io.FileIO):
    """Descriptor 2: what cannot be written is lost."""

    def write(self, data: Any, /) -> int:
        """Write all of it, or as much as can be."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest:
                written = super().write(rest)
                if written is None and not _takes_more(self.fileno()):
                    break
                rest = rest[written or 0 :]
        except OSError:
            pass
        return size


def _takes_more(descriptor: int) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLOUT)
    return bool(poller.poll(STDERR_PATIENCE_MS))


class Guarded(io.TextIOWrapper):
    """A stream of text each piece of which goes through `clean`."""

    def __init__(self, buffer: io.BufferedWriter, clean: Callable[[str], str], **how: Any) -> None:
        super().__init__(buffer, **how)
        self._clean = clean

    def write(self, text: str, /) -> int:
        """Write it cleaned; the number of characters given. Raises `TypeError` for bytes, by which click knows it."""
        if not isinstance(text, str):
            raise TypeError("text is written here, not bytes")
        super().write(self._clean(text))
        return len(text)

    @property
    def styled(self) -> "Styled":
        """The same for one that cleans what it writes itself, and sends colours and cursor movements with it."""
        return Styled(self)


class Styled:
    """A guarded stream without its guard."""

    def __init__(self, stream: Guarded) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write it as it is."""
        return io.TextIOWrapper.write(self._stream, text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def take_over() -> None:
    """Put ours in the place of `sys.stdout` and `sys.stderr`."""
    _occupy()
    out, talk = sys.stdout, sys.stderr
    screen = os.isatty(1)
    sys.stdout = Guarded(
        io.BufferedWriter(Output(1, "wb", closefd=False)),
        _clean_output if screen else str,
        encoding=_encoding(out, 1),
        errors="backslashreplace",
        line_buffering=screen,
    )
    sys.stderr = Guarded(
        io.BufferedWriter(ConsoleReporter(2, "wb", closefd=False)),
        _clean_talk,
        encoding=_encoding(talk, 2),
        errors="backslashreplace",
        line_buffering=True,
    )


def _encoding(stream: Any, descriptor: int) -> str:
    """JSON is UTF-8 wherever it goes; a terminal gets what it can show."""
    return getattr(stream, "encoding", None) or "utf-8" if os.isatty(descriptor) else "utf-8"


def _clean_talk(text: str) -> str:
    return visible(text, keep="\n")


def _clean_output(text: str) -> str:
    """For a terminal: what comes here is JSON, or help with its colours."""
    return "".join(piece if number % 2 else visible_json(piece) for number, piece in enumerate(_STYLE.split(text)))


def _occupy() -> None:
    """Open what was closed the wrong way round: using it fails as it would have, and nobody else gets its number."""
    for descriptor, how in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, how)
            if opened != descriptor:  # those before it are open: it is the lowest free one; other threads may interfere
                os.dup2(opened, descriptor)
                os.close(opened)
