"""Captures read in tests: from a path, or from bytes that come in chunks of any size."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from pcapeda.capture.files import Capture, read
from pcapeda.capture.stream import Stream
from pcapeda.model import Damage, Frame
from tests.command import FIXTURES, ROOT

CAPTURES = sorted(
    path for path in FIXTURES.iterdir() if path.is_file() and path.suffix not in (".py", ".tsv", ".md", ".pyc")
)
"""Every fixture that is a capture."""

_SHARED = ROOT.parent / "shared" / "captures"
SHARED = sorted(path for path in _SHARED.glob("*") if path.is_file() and path.suffix not in (".md", ".tsv"))
"""Captures by others, where that folder is."""


def read_file(path: Path) -> tuple[list[Frame], list[Damage]]:
    """Every frame of a file, and what was said of damage."""
    damages: list[Damage] = []
    with Capture(str(path), note=damages.append) as capture:
        return [frame for frame in capture if frame is not None], damages


def read_bytes(content: bytes, sizes: Iterable[int] = (), *, live: bool = False) -> tuple[list[Frame], list[Damage]]:
    """The same of bytes, cut into chunks of these sizes (0: a tick), the rest in one piece."""
    damages: list[Damage] = []
    stream = Stream(chunked(content, sizes), live=live)
    return [frame for frame in read(stream, "test", damages.append) if frame is not None], damages


def chunked(content: bytes, sizes: Iterable[int]) -> Iterator[bytes | None]:
    """`content` in chunks of these sizes; None for a size of 0."""
    at = 0
    for size in sizes:
        if at >= len(content):
            return
        yield content[at : at + size] or None
        at += size
    if at < len(content):
        yield content[at:]
