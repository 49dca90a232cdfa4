"""Secrets in the words of others, made unreadable before anybody keeps or shows them.

`masked` takes out what is a secret by its looks (whatever stands behind the name of a header or a setting that holds
one, credentials in URLs, keys and tokens of AWS) and whatever this run itself holds as a secret (`hold`), wherever it
stands: whole, in part, or spelt as URLs, JSON, HTML and HTTP's Basic scheme spell it.

It is applied where foreign words enter (answers, exceptions of libraries) and once more where words leave (errors,
notes, logs). What another side transforms on purpose cannot be known again; it has the secret anyway.
"""

import re
from collections import OrderedDict
from functools import cache, lru_cache
from threading import Lock

MASK = "***"

SHORTEST = 6
"""A secret of fewer characters is not looked for by itself: it would be found in every other word."""

PIECE = 12
"""So many characters in a row of a secret give it away; fewer are not known again."""

MOST_HELD = 256
"""Spellings of secrets that are kept at most; the oldest go first, as renewed credentials replace each other."""

LONGEST = 1 << 16
"""Characters of a secret that are looked at."""

MOST_PASSES = 8
"""How often a text is looked through at most: a bound on what a hostile answer can cost."""

_EMULATORS = frozenset({"test", "testing", "dummy", "foobar", "mock_access_key", "mock_secret_key", "localstack"})
"""What manuals of emulators say to use for credentials: no secrets, but words that people need to read."""

_held: OrderedDict[str, frozenset[str]] = OrderedDict()
"""Each spelling of a secret with its pieces; the one thing here that a process shares."""
_pieces: frozenset[str] = frozenset()
_lock = Lock()


def hold(*secrets: str | None) -> None:
    """From now on `masked` knows these wherever they stand."""
    for secret in secrets:
        if secret and len(secret) >= SHORTEST and secret.lower() not in _EMULATORS and secret not in _held:
            _hold(_spellings(secret[:LONGEST]))


def hold_login(user: str | None, password: str | None) -> None:
    """The same for a user's password, which HTTP's Basic scheme sends as one word together with the name (RFC 7617)."""
    import base64

    hold(password)
    if password:
        hold(base64.b64encode(f"{user or ''}:{password}".encode()).decode())


@lru_cache(256)  # a service that throttles says the same a thousand times
def masked(text: str) -> str:
    """The text without secrets. Doing it again changes nothing."""
    for _ in range(MOST_PASSES):  # what is hidden leaves the end of a word: a name right behind it is one only then
        before = text
        for pattern in _patterns():
            text = pattern.sub(_hide, text)
        text = _without_held(text)
        if text == before:
            break
    return text


def _hold(spellings: list[str]) -> None:
    global _pieces
    with _lock:
        for spelling in spellings:
            places = range(len(spelling) - PIECE + 1)
            _held[spelling] = frozenset(spelling[at : at + PIECE] for at in places)
        while len(_held) > MOST_HELD:
            _held.popitem(last=False)
        _pieces = frozenset().union(*_held.values())
    masked.cache_clear()


def _spellings(secret: str) -> list[str]:
    """How a text may spell a secret."""
    import html
    import json
    from urllib.parse import quote, quote_plus

    escaped = json.dumps(secret)[1:-1]
    spelt = (
        secret,
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        quote(secret, safe="").replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d"),
        escaped,
        escaped.replace("/", "\\/"),
        html.escape(secret),
        ascii(secret)[1:-1],
    )
    return list(dict.fromkeys(spelt))


def _without_held(text: str) -> str:
    """Without what is held: short secrets as whole words, long ones wherever a piece of them is."""
    with _lock:
        short = [spelling for spelling, parts in _held.items() if not parts]
        pieces = _pieces
    hidden = [(at, at + PIECE) for at in range(len(text) - PIECE + 1) if text[at : at + PIECE] in pieces]
    for spelling in short:
        found = re.finditer(rf"(?<![A-Za-z0-9]){re.escape(spelling)}(?![A-Za-z0-9])", text)
        hidden += [match.span() for match in found]
    shown, end = "", -1
    for start, stop in sorted(hidden):
        if start > end:
            shown += text[max(end, 0) : start] + MASK
        end = max(end, stop)
    return shown + text[max(end, 0) :]


# What is a secret by its looks

_NAMES = r"""
    (?:proxy[-_]?)?authorization | (?:set[-_]?)?cookie2?
    | (?:x[-_])?amz[-_](?:s3)?(?:security|session|sso[-_]bearer)[-_]?token | x[-_]amz[-_](?:signature|credential)
    | x[-_]aws[-_]ec2[-_]metadata[-_]token | (?:aws[-_]?)?secret[-_]?access[-_]?key
    | (?:aws[-_]?)?(?:session|security)[-_]?token
    | (?:aws[-_]?)?(?:secret[-_]?key|access[-_]?key(?:[-_]?id)?) | x[-_]api[-_]key | api[-_]?key | client[-_]?secret
    | (?:refresh|access|bearer|id)[-_]?token | password | passwd | signature | credential
"""
_LINES = r"(?:proxy[-_]?)?authorization | (?:set[-_]?)?cookie2?"
"""Names whose value goes to the end of its line."""

_START = r"(?<![a-z0-9])"
_BETWEEN = r"""\\*["']?(?:\s*\])?\s*(?:=>|[:=]|,(?=\s*\\*["'])|</\w+>\s*<\w+>)\s*"""
"""What stands between a name and its value: in headers, JSON, maps and tuples of several languages, HTML."""

_FLAGS = re.VERBOSE | re.IGNORECASE


@cache  # made when they are needed first: most commands end without
def _patterns() -> tuple[re.Pattern[str], ...]:
    """Each with what is `kept` before a secret and `after` it."""
    return (
        # In quotes, up to the same quote; then bare, to the end of the line or of the word.
        re.compile(
            rf"""(?P<kept>{_START}(?:{_NAMES})(?:{_BETWEEN})\\*["'])(?!\*\*\*)[^"']*(?P<after>["']|$)""",
            _FLAGS,
        ),
        re.compile(rf"""(?P<kept>{_START}(?:{_LINES})(?:{_BETWEEN}))(?!["'\\*\s])[^\r\n"'<>]+(?P<after>)""", _FLAGS),
        re.compile(
            rf"""(?P<kept>{_START}(?:{_NAMES})(?:{_BETWEEN}))(?!["'\\*\s])[^\s,;&"'<>\]\)}}]+(?P<after>)""", _FLAGS
        ),
        # The user's name and password in a URL (RFC 3986, section 3.2.1), however carelessly they are written.
        re.compile(r"""(?P<kept>//)(?!\*\*\*@)[^\s/?\#"'<>]{1,1024}(?P<after>@)""", _FLAGS),
        re.compile(r"""(?P<kept>//)(?!\*\*\*@)[^\s:/@"'<>]{0,256}:[^\s@"'<>]{0,1024}(?P<after>@)""", _FLAGS),
        re.compile(
            r"""(?P<kept>)(?<![\w./+*-])[\w.+-]{1,256}:(?!//)[^\s@/"'<>]{1,256}(?P<after>@)(?=[\w\[])""", _FLAGS
        ),
        # HTTP's schemes, wherever they stand (RFC 9110, section 11).
        re.compile(r"""(?P<kept>\b(?:bearer|negotiate|ntlm)\s+)(?=[^\s"']*[0-9])[\w.~+/=-]{16,}(?P<after>)""", _FLAGS),
        # Identifiers of keys, and tokens, by how AWS begins them.
        re.compile(r"(?P<kept>)(?<![A-Za-z0-9])A(?:KI|SI)A[A-Z0-9]{12,124}(?P<after>)(?![A-Za-z0-9])"),
        re.compile(r"(?P<kept>)(?<![A-Za-z0-9])(?:IQoJ|FwoG|FQoG|AQoD)[A-Za-z0-9+/=%_-]{40,}(?P<after>)"),
        re.compile(r"(?P<kept>\b[Bb]asic\s+)(?P<basic>[A-Za-z0-9+/]{4,}={0,2})(?P<after>)"),
    )


def _hide(match: re.Match[str]) -> str:
    basic = match.groupdict().get("basic")
    if basic is not None and not _is_login(basic):
        return match[0]
    return f"{match['kept']}{MASK}{match['after']}"


def _is_login(word: str) -> bool:
    """Whether a word is what the Basic scheme makes of a name and a password."""
    import base64
    import binascii

    try:
        return b":" in base64.b64decode(word + "=" * (-len(word) % 4))
    except (binascii.Error, ValueError):
        return False
