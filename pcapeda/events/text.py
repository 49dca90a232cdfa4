"""JSON text in pieces, of what events say again and again."""

import json
from functools import lru_cache

quote = json.JSONEncoder(ensure_ascii=False).encode
"""JSON text of a string; json.dumps would build an encoder for each call."""


def shown(name: str) -> str:
    """A file name that can travel as UTF-8, whatever bytes the file system holds."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


@lru_cache(maxsize=256)
def interface_text(name: str | None) -> str:
    """An interface as JSON text that continues an object; empty where there is none."""
    return "" if name is None else f',"Interface":{quote(shown(name))}'
