"""The count of everything a run did: the law of conservation."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pcapeda.errors import ExitStatus, PcapedaError
from pcapeda.model import Damage, SkipReason
from pcapeda.safety.masking import masked

_TIMES = ("first_ns", "last_ns")
"""The members of a report that are times: of these 0 is not nothing."""


@dataclass
class Report:
    """The count of everything, so that nothing is lost in silence. `adds_up` is the law of conservation."""

    frames: int = 0
    segments: int = 0
    """What super-packets of segmentation offload held beyond one datagram each (live only); as good as frames."""
    bytes_read: int = 0
    datagrams: int = 0
    """Datagrams that came in one piece."""
    fragments: int = 0
    """IP fragments read; each is used, expired or held."""
    skips: Counter[tuple[SkipReason, str]] = field(default_factory=Counter)
    """Frames that gave nothing, by reason and layer."""

    used: int = 0
    """Fragments that a completed reassembly consumed, duplicates among them."""
    expired: Counter[str] = field(default_factory=Counter)
    """Fragments given up: by reason (too old, over the memory cap, contradicting another, …)."""
    held: int = 0
    """Fragments that still waited for the rest at the end."""
    reassembled: int = 0
    """Datagrams that were put together from fragments."""
    reassembled_skips: Counter[tuple[SkipReason, str]] = field(default_factory=Counter)
    """Reassembled IP packets that gave no datagram."""
    without_text: int = 0
    """Datagrams whose payload gave no Text though it was asked for; they are delivered without it."""

    sent: int = 0
    """Datagrams delivered; an event that stands for many counts as many."""
    events: int = 0
    """Events delivered."""
    events_refused: int = 0
    """Events not delivered that stood for no datagram, dead letters among them: reports on the run."""
    deduplicated: int = 0
    """Events delivered that the bus had already and did not publish twice (EventBridge v2)."""
    spooled: int = 0
    """Datagrams that wait in the spool, synced to disk."""
    events_spooled: int = 0
    """Events that wait there."""
    refused: Counter[str] = field(default_factory=Counter)
    """Datagrams not delivered because something went wrong, by reason or the sink's error code."""
    messages: dict[str, str] = field(default_factory=dict)
    """The first words that came with each code in `refused`."""
    unselected: Counter[str] = field(default_factory=Counter)
    """Datagrams not delivered because the person asked so (ports, rules, sampling), by reason."""
    turned_away: Counter[tuple[str, str]] = field(default_factory=Counter)
    """The sources that limits kept back most, by reason and source: the first few, not all."""
    turned_away_error: int = 0
    """By how much a count in `turned_away` may be too high."""

    inherited: int = 0
    """Datagrams that waited in the spool before the run; they end like those read."""
    events_inherited: int = 0
    """Events that waited there."""
    dead: Counter[str] = field(default_factory=Counter)
    """Datagrams kept among the spool's dead letters because they can never succeed, by reason or error code."""
    limited: Counter[str] = field(default_factory=Counter)
    """Datagrams kept apart in the spool because a limit refused them, by limit."""

    requests: int = 0
    retried: int = 0
    """Entries tried again (each try counts)."""
    maybe_twice: int = 0
    """Entries whose request got no answer that could be read: it may have been taken, so another try may deliver the
    entry twice (each such request counts)."""
    bytes_sent: int = 0
    chunks: int = 0
    """Billed units of the entries sent: chunks of 64 KB, or on a bus of EventBridge v2 KB."""
    kernel_drops: int = 0
    """Packets the kernel could not hand over in time (live only)."""
    queue_drops: int = 0
    """Packets received, but given up because decoding lagged too far behind (live only)."""
    damages: list[Damage] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Sentences for the person: inputs that could not be read, an interface that went down, a budget reached."""
    bad_inputs: int = 0
    """Inputs that were no capture at all."""
    first_ns: int | None = None
    last_ns: int | None = None
    outage: bool = False
    """Whether the sink is left alone for now: it does not answer, or it refused us."""
    interrupted: bool = False
    ended_by: PcapedaError | None = None
    """Why the run ended before its time: the sink was given up, or the interface went away."""

    def __getstate__(self) -> dict[str, Any]:
        """What is not zero: workers send one of these for every range of packets."""
        return {name: value for name, value in vars(self).items() if value or (value is not None and name in _TIMES)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(vars(Report()) | state)

    def remember(self, code: str, message: str) -> None:
        """Keep the first message of a code: enough to tell a person, and bounded."""
        if message and code not in self.messages:
            self.messages[code] = masked(message)

    def cover(self, times: Iterable[int | None]) -> None:
        """Stretch the time from first to last to hold these."""
        deduplicated = [time_ns for time_ns in times if time_ns is not None]
        if deduplicated:
            self.first_ns = min(deduplicated) if self.first_ns is None else min(self.first_ns, *deduplicated)
            self.last_ns = max(deduplicated) if self.last_ns is None else max(self.last_ns, *deduplicated)

    def merge(self, other: "Report") -> None:
        """Add the counts of `other` to this one, in place."""
        self.cover((other.first_ns, other.last_ns))
        for name, value in vars(other).items():
            if not value or name in _TIMES:
                continue
            mine = getattr(self, name)
            if name == "ended_by":
                self.ended_by = mine or value
            elif isinstance(value, Counter):
                mine.update(value)
            elif isinstance(value, dict):
                setattr(self, name, value | mine)
            else:  # numbers add up, lists follow one another, a flag stays set
                setattr(self, name, mine or value if isinstance(value, bool) else mine + value)

    @property
    def lost(self) -> bool:
        """Whether anything that was to be delivered was not, or could not be read."""
        undelivered = self.events_spooled or self.refused.total() or self.dead or self.limited or self.events_refused
        return bool(undelivered or self.damages or self.failures or self.kernel_drops or self.queue_drops)

    def status(self) -> ExitStatus:
        """The exit code this run stands for."""
        if self.ended_by is not None:
            return self.ended_by.status
        if self.interrupted:
            return ExitStatus.INTERRUPTED
        if self.bad_inputs:
            return ExitStatus.USAGE
        return ExitStatus.INCOMPLETE if self.lost or not self.adds_up() else ExitStatus.OK

    def adds_up(self) -> bool:
        """Whether everything read is accounted for."""
        read = self.frames + self.segments == self.datagrams + self.fragments + sum(self.skips.values())
        pieces = self.fragments == self.used + sum(self.expired.values()) + self.held
        kept = self.spooled + sum(self.dead.values()) + sum(self.limited.values())
        delivered = self.datagrams + self.reassembled + self.inherited == (
            self.sent + kept + sum(self.refused.values()) + sum(self.unselected.values())
        )
        return read and pieces and delivered
