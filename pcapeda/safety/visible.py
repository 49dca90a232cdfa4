"""Text of others, made fit to be shown: names, values and messages that came from a file, a network or a service.

A terminal obeys what it is sent. So whatever is not ours is shown with every character visible: control characters (C0,
C1 with U+009B among them, DEL), line ends, characters that turn the direction of writing (U+202E, U+2066, …), those
that take no place, and bytes that are no UTF-8 become escapes as in Python: `\\x1b`, `\\n`, `\\u202e`, `\\udcff`. Data
is not touched where it goes to a program.
"""

import json
import re
from collections.abc import Callable
from typing import Any

_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
"""Spaces (category Zs) that Python does not call printable: they move a cursor, and nothing else."""

_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]",
)
"""What Python calls printable although nothing is to be seen (Unicode's Default_Ignorable_Code_Point)."""

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML 1.0 document can hold (section 2.2)."""

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str, *, keep: str = "") -> str:
    """The text with every character to be seen, on one line; the characters in `keep` stay as they are."""
    return text if _is_visible(text) else _escaped(text, keep, _in_python)


def visible_json(text: str) -> str:
    """JSON text that means the same, with every character to be seen; line ends between its tokens stay.

    What cannot be seen can only be inside a string, where JSON has an escape for it (RFC 8259, section 7).
    """
    return text if _is_visible(text) else _escaped(text, "\n", _in_json)


def json_of(data: Any) -> str:
    """Data as indented JSON: letters of all languages as they are, what cannot be seen as JSON's escapes."""
    return visible_json(json.dumps(data, indent=2, ensure_ascii=False))


def xml_text(text: str) -> str:
    """The text as XML 1.0 can hold it: what it cannot becomes U+FFFD."""
    return _NOT_IN_XML.sub("\ufffd", text)


def _is_visible(text: str) -> bool:
    return text.isprintable() and (text.isascii() or _UNSEEN.search(text) is None)


def _escaped(text: str, keep: str, escape: Callable[[str], str]) -> str:
    return "".join(
        char if char in keep or _is_visible(char) or _SPACES.match(char) is not None else escape(char) for char in text
    )


def _in_python(char: str) -> str:
    code = ord(char)
    return _SHORT.get(char) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


def _in_json(char: str) -> str:
    code = ord(char)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
