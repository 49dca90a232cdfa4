"""Payloads as text: in which encoding, and what of it is for a terminal alone."""

import codecs
import re
from typing import Final

from pcapeda.errors import BadConfig

UTF8: Final = "utf-8"

_NO_MESSAGES: Final = frozenset({"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined"})
"""Python's encodings for text within programs and names: no message comes in them, and some take long to decode."""

_FOR_TERMINALS: Final = re.compile(r"\x1b\[[0-9;:]*[mK]|\x07")
"""Colours and 'erase to the end of the line' (ECMA-48 SGR and EL), as programs write them on a terminal; the bell."""


def encoding_named(name: str) -> str:
    """Python's own name of an encoding of text. Raises `BadConfig` where it knows none of this name."""
    try:
        found = codecs.lookup(name).name
        if found not in _NO_MESSAGES:
            b"text".decode(found, "replace")  # refuses what is no encoding of text
            return found
    except (LookupError, ValueError):
        pass
    raise BadConfig(
        f"no text encoding {name!r}",
        hint="there are latin-1, cp1252, utf-8, utf-16-le, shift_jis, koi8-r and many more",
    )


def printable_text(payload: bytes, encoding: str = UTF8) -> str | None:
    """The payload as text if it is printable in that encoding, else None.

    Line ends, tabs, any space and what joins letters may be in it, and the byte order mark that RFC 5424 puts before
    a message; control characters and what turns the direction of text may not. NULs at its end are dropped, and so are
    colours and bells.
    """
    try:
        text = payload.decode(encoding).rstrip("\0")
    except UnicodeError:
        return None
    if text.translate(_LAYOUT).isprintable():
        return text or None
    text = _FOR_TERMINALS.sub("", text)
    return text if text and text.translate(_LAYOUT).isprintable() else None


_LAYOUT = dict.fromkeys(map(ord, "\t\r\n\xa0\u1680\u202f\u205f\u3000\ufeff\u200c\u200d")) | dict.fromkeys(
    range(0x2000, 0x200B)
)
"""What `str.isprintable` refuses though it belongs in text."""
