"""Compressed streams, by their magic: gzip, bzip2, xz and LZMA, Zstandard.

Whatever the input claims or expands to, one step gives a bounded piece of output.
"""

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from pcapeda.capture.stream import CHUNK, Trouble
from pcapeda.errors import BadCapture

LZMA_MEMORY = 256 << 20
"""Most memory that an xz stream may ask for its dictionary; `xz -9` asks for 65 MiB."""

ZSTD_WINDOW_LOG = 27
"""Largest window of a Zstandard frame, 128 MiB: what `zstd -d` takes without an option."""

ZSTD_PIECE = 256
"""Bytes given to the `zstandard` package at once. It has no limit on output, but four bytes of input can become no
more than one block of 128 KiB, so these become 8 MiB at most."""


class Decoder(Protocol):
    """One member of a compressed stream on its way."""

    errors: tuple[type[Exception], ...]
    """What `step` raises for damaged input."""

    @property
    def eof(self) -> bool:
        """Whether the member is complete."""

    def step(self, data: bytes) -> bytes:
        """Give more input, b"" for what was given before; get a bounded piece of output. b"": more input is needed."""

    def left(self) -> bytes:
        """After the end: the input that was not part of the member."""


class Packing(NamedTuple):
    """A compressed format: its name, how each member of it starts, the bytes that takes, and a maker of decoders."""

    name: str
    start: re.Pattern[bytes]
    start_size: int
    decoder: Callable[[str], Decoder]


class _Zlib:
    errors: tuple[type[Exception], ...] = (zlib.error,)

    def __init__(self, name: str) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    def step(self, data: bytes) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, CHUNK)

    def left(self) -> bytes:
        return self._inner.unused_data


class _Bounded:
    """The decoders of the standard library that keep their own input: bz2, lzma, and Zstandard since Python 3.14."""

    def __init__(self, inner: Any, *errors: type[Exception]) -> None:
        self._inner = inner
        self.errors = errors

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    def step(self, data: bytes) -> bytes:
        output: bytes = b"" if not data and self._inner.needs_input else self._inner.decompress(data, CHUNK)
        return output

    def left(self) -> bytes:
        unused: bytes = self._inner.unused_data
        return unused


class _Zstandard:
    """The `zstandard` package, fed in pieces."""

    def __init__(self, inner: Any, *errors: type[Exception]) -> None:
        self._inner = inner
        self.errors = errors
        self._input = b""
        self._at = 0

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    def step(self, data: bytes) -> bytes:
        if data:
            self._input, self._at = self._input[self._at :] + data, 0
        parts, size = [], 0
        while self._at < len(self._input) and size < CHUNK and not self._inner.eof:
            parts.append(self._inner.decompress(self._input[self._at : self._at + ZSTD_PIECE]))
            size += len(parts[-1])
            self._at += ZSTD_PIECE
        return b"".join(parts)

    def left(self) -> bytes:
        unused: bytes = self._inner.unused_data
        return unused + self._input[self._at :]


def _bzip2(name: str) -> Decoder:
    return _Bounded(bz2.BZ2Decompressor(), OSError)


def _lzma(name: str) -> Decoder:
    return _Bounded(lzma.LZMADecompressor(memlimit=LZMA_MEMORY), lzma.LZMAError)


def _zstd(name: str) -> Decoder:
    try:
        from compression import zstd
    except ImportError:
        pass
    else:
        options = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
        return _Bounded(zstd.ZstdDecompressor(options=options), zstd.ZstdError)
    try:
        import zstandard
    except ImportError:
        need = "to read it, pip install 'pcapeda[zstd]' (or unpack it with zstd -d)"
        raise BadCapture(f"{name}: compressed with Zstandard: {need}") from None
    inner = zstandard.ZstdDecompressor(max_window_size=1 << ZSTD_WINDOW_LOG).decompressobj()
    return _Zstandard(inner, zstandard.ZstdError)


BARREN_BYTES = 64 << 20
"""Input out of which nothing came, after which a stream is given up: empty members and padding can go on for ever."""

BARREN_MEMBERS = 1000
"""The same for members: each takes more time than its few bytes."""

TICK_BYTES = 1 << 20
"""Input out of which nothing came, after which whoever reads is let look whether it is to go on."""

PACKINGS = (
    Packing("gzip", re.compile(rb"\x1f\x8b\x08"), 3, _Zlib),
    Packing("bzip2", re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"), 10, _bzip2),
    Packing("xz", re.compile(rb"\xfd7zXZ\0"), 6, _lzma),
    Packing("LZMA", re.compile(rb"\x5d\0\0[\0-\xff]{2}(?:\xff{8}|[\0-\xff]{5}\0{3})"), 13, _lzma),
    Packing("Zstandard", re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), 4, _zstd),
)

LONGEST_START = max(packing.start_size for packing in PACKINGS)
"""Bytes that tell whether a stream is compressed, and how."""


def packing_of(start: bytes) -> Packing | None:
    """How a stream is compressed, by its first bytes."""
    return next((packing for packing in PACKINGS if packing.start.match(start)), None)


def unpack(packing: Packing, chunks: Iterator[bytes | None], name: str) -> Iterator[bytes | None]:
    """The bytes of every member of a compressed stream, in pieces of some MiB at most; None on each tick.

    Zeros between members and after the last are padding. Raises `Trouble` where the stream is damaged or ends early,
    after everything before it was yielded, or where much input gives no output, and `BadCapture` (which names `name`)
    where the decoder is not installed.
    """
    members = _Members(packing, name)
    for chunk in chunks:
        if chunk is None or members.give(chunk):
            yield None
        if chunk is not None:
            yield from members.outputs()
    members.finish()


class _Members:
    """The members of one compressed stream on their way. What goes wrong raises `Trouble`."""

    def __init__(self, packing: Packing, name: str) -> None:
        self._packing, self._name = packing, name
        self._decoder: Decoder | None = packing.decoder(name)
        self._waiting = b""
        self._barren = self._ticked = self._empty = 0
        """Bytes out of which nothing came, those of them at the last tick, and the members."""

    def give(self, chunk: bytes) -> bool:
        """Take more input. Returns whether it is time for a tick."""
        self._waiting += chunk
        self._barren += len(chunk)
        if self._barren >= BARREN_BYTES:
            raise Trouble(f"nothing comes out of {self._barren:,} bytes of {self._packing.name}")
        tick = self._barren - self._ticked >= TICK_BYTES
        if tick:
            self._ticked = self._barren
        return tick

    def outputs(self) -> Iterator[bytes]:
        """What comes out of the input until now, in bounded pieces."""
        while (decoder := self._decoder or self._next()) is not None:
            try:
                output = decoder.step(self._waiting)
            except decoder.errors as error:
                raise Trouble(f"the {self._packing.name} stream is damaged ({error})") from None
            self._waiting = b""
            if output:
                self._barren = self._ticked = self._empty = 0
                yield output
            if decoder.eof:
                self._end(decoder)
            elif not output:
                break

    def _next(self) -> Decoder | None:
        """The decoder of the next member, if enough of it has come to know it."""
        name = self._packing.name
        self._waiting = self._waiting.lstrip(b"\0")
        if len(self._waiting) < self._packing.start_size:
            return None
        if not self._packing.start.match(self._waiting):
            raise Trouble(f"something that is not {name} follows the {name} stream")
        self._decoder = self._packing.decoder(self._name)
        return self._decoder

    def _end(self, decoder: Decoder) -> None:
        self._waiting = decoder.left()
        self._decoder = None
        self._empty += 1
        if self._empty > BARREN_MEMBERS:
            raise Trouble(f"nothing comes out of {self._empty:,} {self._packing.name} members in a row")

    def finish(self) -> None:
        """Look whether the stream may end here."""
        name = self._packing.name
        if self._decoder is not None:
            raise Trouble(f"the {name} stream ends early")
        if self._waiting:
            raise Trouble(f"{len(self._waiting)} bytes that are not {name} follow the {name} stream")
