"""Between delivery and its spool: what is to be kept is written, and what waits there is drained.

Both count what they do; nothing counts as spooled before it was synced.
"""

from collections import Counter, deque
from collections.abc import Callable

from pcapeda.delivery.attempts import Attempt, Remains
from pcapeda.delivery.batching import MessageGroups
from pcapeda.delivery.ledger import Ledger, load_of
from pcapeda.delivery.spool import Put, Spool, SpoolFailed, SpoolRecord
from pcapeda.errors import PcapedaError
from pcapeda.model import Batch, BatchLimits, Entry, Failed
from pcapeda.units import SECOND_NS

PIECE = 500
"""Entries that are written to the spool at once: one sync for all of them."""

FULL_PAUSE_NS = SECOND_NS
"""How long a spool that is full, or a disk that fails, is left alone."""

LOOK_NS = SECOND_NS
"""How often it is looked whether the spool's files are still there."""

REREAD_NS = 300 * SECOND_NS
"""How long entries that the bus takes no longer, though it takes others, rest in the spool before the next round."""

NO_ROOM, NO_DISK, UNREADABLE = "spool full", "spool failed", "unreadable in the spool"
TAKEN_AWAY = "taken from the spool"
"""Why entries are lost that were in the spool: its folder or a file in it was deleted, replaced or cut."""


class SpoolWriter:
    """Collects what is to be kept, writes it in pieces, syncs it, and counts it only then.

    A spool that blocks gives back what it had no room for; one on a disk that fails does so for `patience_ns`, and
    what comes then is refused.
    """

    def __init__(self, spool: Spool, ledger: Ledger, clock: Callable[[], int], patience_ns: int) -> None:
        self._spool = spool
        self._ledger = ledger
        self._clock = clock
        self._patience_ns = patience_ns
        self._entries: list[Entry] = []
        self._dead: list[Failed] = []
        self._limited: list[Failed] = []
        self._rests_until = self._look_at = 0
        self._failing_since: int | None = None
        load = spool.load
        ledger.report.inherited += load.datagrams
        ledger.report.events_inherited += load.entries
        ledger.spooled(load)
        self._seen = (spool.pushed_out, spool.unreadable, spool.gone)
        self._gone_aside: Counter[str] = Counter()

    @property
    def ready(self) -> bool:
        """Whether the spool may be tried: it was not found full or failing just now."""
        return self._clock() >= self._rests_until

    @property
    def has_a_piece(self) -> bool:
        """Whether enough has been collected to be worth a sync."""
        return len(self._entries) >= PIECE or len(self._dead) >= PIECE or len(self._limited) >= PIECE

    @property
    def unwritten(self) -> bool:
        """Whether anything has been collected."""
        return bool(self._entries or self._dead or self._limited)

    @property
    def room(self) -> bool:
        """Whether more may be collected before something is written."""
        return len(self._entries) < PIECE

    def keep(self, entries: tuple[Entry, ...]) -> None:
        """These are for the spool."""
        self._entries += entries

    def bury(self, failed: Failed) -> None:
        """This is for the dead letters."""
        self._dead.append(failed)

    def limit(self, failed: Failed) -> None:
        """This was refused by a limit, and is kept apart."""
        self._limited.append(failed)

    def flush(self, *, ending: bool) -> list[Entry]:
        """Write what was collected; gives what found no room and may wait for some. At the end nothing may wait."""
        self._flush_aside()
        if not self._entries or not (ending or self.ready):
            return []
        entries, self._entries = self._entries, []
        full = True
        try:
            put = self._spool.put(entries)
        except PcapedaError as error:
            self._ledger.say(str(error))
            full = isinstance(error, SpoolFailed) and error.full
            left, reason = entries, NO_DISK
        else:
            self._failing_since = None
            left, reason = self._count(entries, put), NO_ROOM
        self.count_what_left()
        if not left:
            return []
        if ending or (reason == NO_DISK and not self._may_wait(full=full)):
            self._ledger.refuse(left, reason)
            return []
        if full:
            self._ledger.say(f"spool {self._spool.folder} is full: waiting until there is room")
        self._rests_until = self._clock() + FULL_PAUSE_NS
        return left

    def _count(self, entries: list[Entry], put: Put) -> list[Entry]:
        kept = put.taken - put.dropped
        dropped_first = self._spool.when_full == "drop-oldest"
        safe = entries[put.dropped : put.taken] if dropped_first else entries[:kept]
        self._ledger.spooled(load_of(safe))
        self._ledger.acknowledged(safe)
        self._ledger.refuse(entries[: put.dropped] if dropped_first else entries[kept : put.taken], NO_ROOM)
        return entries[put.taken :]

    def _may_wait(self, *, full: bool) -> bool:
        """Whether what the disk did not take may wait: until there is room, or while the disk has not failed long."""
        now = self._clock()
        self._failing_since = now if self._failing_since is None or full else self._failing_since
        return self._spool.when_full == "block" and now - self._failing_since <= self._patience_ns

    def _flush_aside(self) -> None:
        dead, self._dead = self._dead, []
        limited, self._limited = self._limited, []
        for failed in (*dead[self.put_dead(dead) :], *limited[self._put_limited(limited) :]):
            self._ledger.refuse((failed.entry,), failed.code)

    def put_dead(self, failures: list[Failed]) -> int:
        """Keep dead letters; gives how many there was room for, from the first on."""
        return self._put_aside(failures, self._spool.put_dead, self._ledger.report.dead)

    def _put_limited(self, failures: list[Failed]) -> int:
        return self._put_aside(failures, self._spool.put_limited, self._ledger.report.limited)

    def _put_aside(self, failures: list[Failed], put: Callable[[list[Failed]], Put], counts: Counter[str]) -> int:
        if not failures:
            return 0
        try:
            done = put(failures)
        except PcapedaError as error:
            self._ledger.say(str(error))
            return 0
        number = done.taken - done.dropped
        for failed in failures[:number]:
            if failed.entry.datagram_count:
                counts[failed.code] += failed.entry.datagram_count
            else:
                self._ledger.lost(load_of((failed.entry,)), failed.code)
        self._ledger.acknowledged([failed.entry for failed in failures[:number]])
        return number

    def look(self, *, now_at_once: bool = False) -> None:
        """Now and then, or at once: notice what somebody took away from the spool."""
        now = self._clock()
        if now >= self._look_at or now_at_once:
            self._look_at = now + LOOK_NS
            self._spool.look()
            self.count_what_left()
            self._look_aside()

    def _look_aside(self) -> None:
        """The same for what is kept apart, of which no more is known than how much this run has put there."""
        report = self._ledger.report
        for name, aside in self._spool.asides.items():
            aside.look()
            counts = report.dead if name == "dead" else report.limited
            if aside.gone.entries > self._gone_aside[name]:
                self._gone_aside[name] = aside.gone.entries
                self._ledger.note(
                    f"spool {aside.folder}: {aside.gone.entries:,} events were taken away by somebody else"
                )
            if aside.gone.entries and not len(aside) and counts:
                report.refused[TAKEN_AWAY] += counts.total()
                counts.clear()

    def count_what_left(self) -> None:
        """Count what left the spool undelivered: pushed out by newer ones, not to be understood, or taken away."""
        spool = self._spool
        seen, self._seen = self._seen, (spool.pushed_out, spool.unreadable, spool.gone)
        for reason, before, after in zip((NO_ROOM, UNREADABLE, TAKEN_AWAY), seen, self._seen, strict=True):
            self._ledger.lost(after - before, reason)
            self._ledger.unspooled(after - before)
        number = (spool.gone - seen[2]).entries
        if number:
            self._ledger.note(
                f"spool {spool.folder}: {number:,} events were taken away: its files were deleted or replaced"
            )


class SpoolDrain:
    """What waits in the spool as batches, oldest first, and what becomes of them."""

    def __init__(
        self,
        spool: Spool,
        writer: SpoolWriter,
        ledger: Ledger,
        lanes: MessageGroups | None,
        limits: BatchLimits,
        clock: Callable[[], int],
    ) -> None:
        self._spool = spool
        self._writer = writer
        self._ledger = ledger
        self._groups = lanes
        self._limits = limits
        self._clock = clock
        self.remains = Remains(limits)
        """Entries from the spool that wait for another try."""
        self.under_way = 0
        """Batches from the spool that are under way, or ready to be."""
        self._reread_at: int | None = None
        self._behind: deque[Attempt] = deque()
        """Batches that failed when the endpoint was found dead: what they met may be their own fault, so they come
        after the others."""
        self._resting = 0
        """Entries that were tried in vain and wait for the next round."""
        self.held_back = False
        """Whether the oldest entries wait for others of their groups."""

    @property
    def busy(self) -> bool:
        """Whether any of it is under way, or waits for another try."""
        return self.under_way > 0 or bool(self.remains)

    @property
    def more(self) -> bool:
        """Whether there are entries that were not tried yet in this round, or are under way."""
        return self.busy or len(self._spool) > self._resting

    def rest(self, number: int) -> None:
        """So many entries stay in the spool although they were tried: their next round is later."""
        self._resting += number
        if self._reread_at is None:
            self._reread_at = self._clock() + REREAD_NS

    def begin_anew(self, now: int) -> None:
        """Let those that rested long enough come again."""
        if self._reread_at is not None and now >= self._reread_at and not self.busy and not self._behind:
            self._reread_at, self._resting = None, 0
            self._spool.rewind()

    def next_batch(self, now: int) -> Attempt | None:
        """The oldest entries that are not under way, as a batch."""
        if not len(self._spool):
            return None
        taken = self._spool.take(self._limits.max_entries)
        self._writer.count_what_left()
        if self._groups is not None and taken:
            taken, held = self._claim(taken, self._groups)
            self._spool.give_back(held)
            self.held_back = not taken
            if not taken and not self._behind:
                return None
        if not taken:
            if self._behind:
                return self._behind.popleft()._replace(since_ns=now, sinces=())
            if not self.busy:
                self.rest(len(self._spool) - self._resting)
            return None
        number, size = 1, taken[0].entry.size
        while number < len(taken) and size + taken[number].entry.size <= self._limits.max_bytes:
            size += taken[number].entry.size
            number += 1
        self._spool.give_back(taken[number:])
        if self._groups is not None:
            self.held_back = False
            self._groups.free([kept.entry for kept in taken[number:]])
        return Attempt(Batch(tuple(kept.entry for kept in taken[:number]), size), now, kept=tuple(taken[:number]))

    def _claim(self, taken: list[SpoolRecord], lanes: MessageGroups) -> tuple[list[SpoolRecord], list[SpoolRecord]]:
        may_go: list[SpoolRecord] = []
        held: list[SpoolRecord] = []
        for kept in taken:
            (may_go if lanes.claim(kept.entry) else held).append(kept)
        return may_go, held

    def give_back(self, one: Attempt, *, for_good: bool) -> None:
        """A batch that is not tried any more now. If `for_good`, its entries were tried long enough."""
        if for_good:
            self.rest(len(one.kept))
        elif one.is_retry:
            self._behind.append(one)
        else:
            self._spool.give_back(one.kept)

    def delivered(self, kept: list[SpoolRecord]) -> None:
        """These have left the spool: delivered, or among the dead letters."""
        if not kept:
            return
        there = self._spool.done(kept)
        self._ledger.unspooled(there)
        # What was pushed out or taken away meanwhile was counted as lost too soon.
        stolen = load_of([one.entry for one in kept if self._spool.was_taken_away(one.segment)])
        self._ledger.found(stolen, TAKEN_AWAY)
        self._ledger.found(load_of([one.entry for one in kept]) - there - stolen, NO_ROOM)

    def bury(self, failed: Failed, kept: SpoolRecord) -> None:
        """From the spool to its dead letters: there first, then gone here."""
        if not self._spool.dead_letters and self._writer.put_dead([failed]):
            self.delivered([kept])
        else:
            self.rest(1)
