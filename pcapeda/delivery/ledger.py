"""Who counts what becomes of entries, and tells those who asked to be told."""

from collections.abc import Callable, Sequence

from pcapeda.delivery.spool import EntryCount
from pcapeda.model import Entry
from pcapeda.report import Report


def load_of(entries: Sequence[Entry]) -> EntryCount:
    """What entries come to."""
    return EntryCount.of(entry.datagram_count for entry in entries)


class Ledger:
    """The entries' side of a report.

    `note` is told sentences for a person, each once until `forget_words`; `acknowledged` the entries that need no
    further care, `refused` those that were given up.
    """

    def __init__(
        self,
        report: Report,
        note: Callable[[str], None],
        acknowledged: Callable[[list[Entry]], None],
        refused: Callable[[Sequence[Entry]], None],
    ) -> None:
        self.report = report
        self.note = note
        self.acknowledged = acknowledged
        self._refused = refused
        self._said: set[str] = set()

    def say(self, sentence: str) -> None:
        """Tell a sentence that was not told before."""
        if sentence not in self._said:
            self._said.add(sentence)
            self.note(sentence)

    def forget_words(self) -> None:
        """What was said may be said again: things have changed."""
        self._said.clear()

    def refuse(self, entries: Sequence[Entry], code: str) -> None:
        """These were not delivered, and nothing keeps them."""
        if entries:
            self.lost(load_of(entries), code)
            self._refused(entries)

    def lost(self, load: EntryCount, code: str) -> None:
        """Count the datagrams that entries stand for; those that stand for none are counted as themselves."""
        if load.datagrams:
            self.report.refused[code] += load.datagrams
        if load.bare:
            self.report.events_refused += load.bare
            self.say(f"reports on the run are not delivered: {code}")

    def found(self, load: EntryCount, code: str) -> None:
        """Take back what was counted as lost too soon."""
        report = self.report
        report.events_refused -= load.bare
        if load.datagrams:
            report.refused[code] -= load.datagrams
            report.refused = +report.refused

    def spooled(self, load: EntryCount) -> None:
        """This much more waits in the spool."""
        self.report.spooled += load.datagrams
        self.report.events_spooled += load.entries

    def unspooled(self, load: EntryCount) -> None:
        """This much has left it."""
        self.spooled(EntryCount() - load)
