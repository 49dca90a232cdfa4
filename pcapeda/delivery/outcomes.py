"""What a sink says of a batch, held against the batch: every entry is accounted for once, or nothing is believed."""

from pcapeda.errors import BadSink
from pcapeda.model import Batch, Entry, Failed, Outcome


def checked(batch: Batch, outcome: object, sink: object) -> tuple[Outcome, dict[int, Failed]]:
    """The outcome, and the failures it tells of by the place of their entries in the batch, each with the batch's own.

    An entry is known by being the same, or by being equal: one that was copied on its way is the one it equals; of
    equal ones each stands for one place. Raises `BadSink` unless sent and failed come to the batch.
    """
    if not isinstance(outcome, Outcome):
        raise _bad(sink, f"send() gave {_kind(outcome)}, and no Outcome")
    entries, failed = batch.entries, outcome.failed
    for number in (outcome.sent, outcome.deduplicated):
        if type(number) is not int or not 0 <= number <= len(entries):
            raise _bad(sink, f"of {len(entries)} entries it counts {number!r:.40} as sent or known")
    try:
        failed = tuple(failed)
    except TypeError:
        raise _bad(sink, f"Outcome.failed is {_kind(failed)}, and no tuple of Failed") from None
    if outcome.sent + len(failed) != len(entries):
        raise _bad(
            sink, f"{outcome.sent} sent and {len(failed)} failed do not come to the {len(entries)} entries of the batch"
        )
    return outcome, _by_place(entries, failed, sink) if failed else {}


def _by_place(entries: tuple[Entry, ...], failed: tuple[Failed, ...], sink: object) -> dict[int, Failed]:
    same: dict[int, list[int]] = {}
    for place, entry in enumerate(entries):
        same.setdefault(id(entry), []).append(place)
    found: dict[int, Failed] = {}
    copies: list[Failed] = []
    for one in failed:
        if not isinstance(one, Failed) or not isinstance(one.code, str) or not isinstance(one.message, str):
            raise _bad(sink, f"among Outcome.failed is {_kind(one)}, and no Failed with a code")
        places = same.get(id(one.entry))
        if places:
            found[places.pop(0)] = one
        else:
            copies.append(one)
    if copies:
        _place_copies(entries, copies, found, sink)
    return {
        place: one._replace(entry=entries[place], retryable=bool(one.retryable)) for place, one in sorted(found.items())
    }


def _place_copies(entries: tuple[Entry, ...], copies: list[Failed], found: dict[int, Failed], sink: object) -> None:
    equal: dict[Entry, list[int]] = {}
    for place, entry in enumerate(entries):
        if place not in found:
            equal.setdefault(entry, []).append(place)
    for one in copies:
        try:
            places = equal.get(one.entry)
        except TypeError:  # what cannot be hashed is no Entry
            places = None
        if not places:
            raise _bad(sink, f"it failed ({one.code:.64}) an entry that is not of the batch, or one entry twice")
        found[places.pop(0)] = one


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"


def _bad(sink: object, what: str) -> BadSink:
    return BadSink(f"the sink {type(sink).__name__} does not answer for what it is given: {what}")
