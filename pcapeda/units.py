"""Units and their text: nanoseconds, bytes, ISO 8601. Standard library only, nothing of the house."""

from datetime import UTC, datetime
from functools import lru_cache

MILLISECOND_NS = 1_000_000
SECOND_NS = 1_000_000_000
MIB = 1 << 20


LAST_TIME_NS = 253_402_300_799_999_999_999
"""The last nanosecond of the year 9999, up to which ISO 8601 text has four digits for the year."""


@lru_cache(maxsize=1024)
def _iso_hour(hours: int) -> str:
    return datetime.fromtimestamp(hours * 3600, UTC).isoformat()[:13]


@lru_cache(maxsize=1024)
def hour_second(seconds: int | str) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{_iso_hour(hours)}:{rest // 60:02}:{rest % 60:02}"


def iso_time(time_ns: int) -> str:
    """A time from 1970 to 9999 as ISO 8601 text in UTC, with nine decimals."""
    digits = str(time_ns) if time_ns >= 1_000_000_000 else f"{time_ns:010d}"
    return f"{hour_second(digits[:-9])}.{digits[-9:]}Z"


def iso_second(time_ns: int) -> str:
    """The same, cut to the second."""
    return f"{hour_second(time_ns // 1_000_000_000)}Z"


def time_text(time_ns: int) -> str:
    """Any time as text: ISO 8601 from 1970 to 9999, else the seconds since 1970."""
    if 0 <= time_ns <= LAST_TIME_NS:
        return iso_time(time_ns)
    return f"{time_ns / 1e9:.9f} s from 1970"
