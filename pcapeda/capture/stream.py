"""Bytes that come in chunks, seen through a window: what the readers of file formats stand on."""

from collections.abc import Callable, Generator, Iterator

from pcapeda.model import Damage

CHUNK = 1 << 18
"""Bytes asked of a file at once: larger ones get fresh memory from the system each time, and its pages cost more."""

BLOCK_FRAMES = 256
"""Most frames that a reader hands over at once: enough to share the hand-over's cost, few enough for the caches."""

Note = Callable[[Damage], None]
"""Whom damage is reported to."""


class Trouble(Exception):
    """Why no more chunks can come although the stream has not ended: raised by a source of chunks."""


class Stream:
    """A window on chunks of bytes; None among the chunks is a tick: nothing came for a while.

    `window[at:]` is what has arrived and was not consumed; the owner moves `at` on. `live` says that the other end
    may be slow, so that one must never wait for more bytes than are needed. Memory is the window: what was consumed
    is dropped at each refill.
    """

    __slots__ = ("_base", "_chunks", "at", "live", "trouble", "window")

    def __init__(self, chunks: Iterator[bytes | None], *, live: bool = False) -> None:
        self._chunks = chunks
        self._base = 0
        self.live = live
        self.window = b""
        self.at = 0
        self.trouble = ""
        """Why the chunks ended early; empty when they did not."""

    @property
    def offset(self) -> int:
        """Where in the stream the window's `at` is, in bytes."""
        return self._base + self.at

    @property
    def left(self) -> int:
        """Bytes in the window that were not consumed."""
        return len(self.window) - self.at

    def want(self, size: int) -> Generator[None, None, bool]:
        """Refill until `size` bytes are there to consume. Returns whether they are; yields None on each tick."""
        have = self.left
        if have >= size:
            return True
        parts = [self.window[self.at :]]
        self._base += self.at
        self.at = 0
        # The window must be right at every tick, for whoever stops there; so parts are joined only once, at the end,
        # unless a tick comes in between.
        while have < size:
            chunk = self._next()
            if chunk is None:
                self.window = b"".join(parts)
                parts = [self.window]
                yield None
                continue
            if not chunk:
                break
            parts.append(chunk)
            have += len(chunk)
        self.window = b"".join(parts)
        return have >= size

    def skip(self, size: int) -> Generator[None, None, int]:
        """Consume `size` bytes without keeping them. Returns how many there were; yields None on each tick."""
        wanted = size
        while size > self.left:
            size -= self.left
            self._base += len(self.window)
            self.window, self.at = b"", 0
            chunk = self._next()
            if chunk is None:
                yield None
            elif not chunk:
                return wanted - size
            else:
                self.window = chunk
        self.at += size
        return wanted

    def rest(self) -> Iterator[bytes | None]:
        """What is in the window and every chunk after it, for another stream to stand on. Raises `Trouble`."""
        window, self.window = self.window[self.at :], b""
        self._base += self.at + len(window)
        self.at = 0
        if window:
            yield window
        while (chunk := self._next()) != b"":
            yield chunk
        if self.trouble:
            raise Trouble(self.trouble)

    def _next(self) -> bytes | None:
        """The next chunk, None for a tick, b"" at the end."""
        try:
            return next(self._chunks, b"")
        except Trouble as trouble:
            self.trouble = str(trouble)
            return b""


def cut(stream: Stream, what: str, needed: int, *, before: int = 0) -> str:
    """The words for a stream that ends inside `what`, of which `needed` bytes should be there.

    `before`: bytes of it that were consumed already.
    """
    words = f"cut in the middle of {what}: {before + stream.left:,} of {needed:,} bytes are there"
    return f"{words}; {stream.trouble}" if stream.trouble else words
