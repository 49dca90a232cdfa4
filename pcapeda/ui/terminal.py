"""What a person sees on a terminal: the dry run, progress, summaries. The only file that knows colours.

A payload is shown as text only where every character is printable, everything else is a hex dump; whatever else comes
from others (names, messages) is made `visible`: nobody but this program speaks to the terminal.
"""

import os
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Self, TextIO

from pcapeda.aws import quotas
from pcapeda.errors import OutputClosed, OutputFailed, PcapedaError
from pcapeda.model import Batch, BatchLimits, Datagram, Entry, Outcome, SkipReason
from pcapeda.report import Report
from pcapeda.safety.masking import masked
from pcapeda.safety.visible import visible
from pcapeda.sinks.base import BaseSink, SinkOptions
from pcapeda.ui.snapshot import undelivered

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID
    from rich.text import Text

SERVICES = {
    53: "dns",
    67: "dhcp",
    68: "dhcp",
    69: "tftp",
    123: "ntp",
    137: "netbios-ns",
    138: "netbios-dgm",
    161: "snmp",
    162: "snmp-trap",
    443: "quic",
    500: "ike",
    514: "syslog",
    546: "dhcpv6",
    547: "dhcpv6",
    1812: "radius",
    1813: "radius-acct",
    1900: "ssdp",
    2055: "netflow",
    3478: "stun",
    4500: "ike-nat",
    4739: "ipfix",
    4789: "vxlan",
    5060: "sip",
    5353: "mdns",
    5355: "llmnr",
    5683: "coap",
    6081: "geneve",
    6343: "sflow",
    8125: "statsd",
    51820: "wireguard",
}
"""What usually speaks on a port, for the reader's eye (IANA service names, shortened)."""

ROWS = 8
"""Payload rows shown of one datagram unless all are asked for."""

INDENT = "    "

TURNED_AWAY = 5
"""How many of those whom a limit kept back are named in a summary."""


def open_console(stream: TextIO, *, width: int | None = None) -> "Console":
    """A rich console for the stream: colours only on a terminal, and never with NO_COLOR.

    What it prints has been made `visible`, but for line ends.
    """
    file = getattr(stream, "styled", stream)  # it needs no other guard
    return _screen()(file=file, highlight=False, emoji=False, markup=False, width=width, soft_wrap=True)


@cache
def _screen() -> "type[Console]":
    from rich.console import Console
    from rich.segment import Segment

    class Screen(Console):
        """A console that no text can take over, whoever forgot to look at it."""

        def render(self, *what: Any, **how: Any) -> Iterator[Segment]:
            for segment in super().render(*what, **how):
                text, style, control = segment
                yield segment if control else Segment(visible(text, keep="\n"), style)

    return Screen


def endpoint(address: str, port: int) -> str:
    """An address and a port as one word, IPv6 in brackets (RFC 3986)."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def printable(payload: bytes) -> str | None:
    """The payload as text, if it is UTF-8 and every character can be shown; line ends and tabs may be in it."""
    try:
        text = payload.rstrip(b"\0\r\n").decode()
    except UnicodeDecodeError:
        return None
    text = text.replace("\r\n", "\n").replace("\ufeff", "")  # RFC 5424 puts a byte order mark before UTF-8 text
    return text if text and text.replace("\n", "").replace("\t", "").isprintable() else None


def hex_rows(payload: bytes, width: int) -> list[str]:
    """A hex dump: offset, bytes, and ASCII where printable, as many bytes a row as the width holds well."""
    step = 32 if width >= 140 else 16 if width >= 76 else 8
    rows = []
    for at in range(0, len(payload), step):
        row = payload[at : at + step]
        ascii_text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        rows.append(f"{at:04x}  {row.hex(' '):<{step * 3 - 1}}  {ascii_text}")
    return rows


def payload_rows(payload: bytes, width: int) -> list[str]:
    """The payload as rows of at most `width` characters: text where it is text, else a hex dump."""
    from rich.cells import cell_len, chop_cells

    text = printable(payload)
    if text is None:
        return hex_rows(payload, width)
    rows: list[str] = []
    for line in text.split("\n"):
        line = line.expandtabs(4)
        rows.extend(chop_cells(line, width) if cell_len(line) > width else [line])
    return rows


class PrettySink(BaseSink):
    """The dry run on a terminal: when, from where to where, how much, and what is in it.

    `whole` shows all of every payload, otherwise a few rows of it; with `rules`, each event names those it matches.
    """

    limits = BatchLimits(max_entries=32, max_bytes=1 << 22, max_age_ns=100_000_000)

    def __init__(self, console: "Console", *, whole: bool = False, rules: bool = False) -> None:
        self._console = console
        self._whole = whole
        self._rules = rules
        self._day = ""

    @classmethod
    def make(cls, options: SinkOptions) -> Self:
        return cls(open_console(options.stream or sys.stdout), whole=options.whole, rules=options.rules)

    def send(self, batch: Batch) -> Outcome:
        """Show the batch. Raises `OutputClosed` when the terminal or the pipe is gone."""
        from rich.text import Text

        try:
            for entry in batch.entries:
                text = Text(no_wrap=True, end="")
                self._render(entry, text)
                self._console.print(text, end="", overflow="ignore", crop=False)
            self._console.file.flush()
        except BrokenPipeError:
            raise OutputClosed from None
        except OSError as error:
            raise OutputFailed(error.strerror or str(error)) from None
        return Outcome(len(batch.entries))

    def _render(self, entry: Entry, text: "Text") -> None:
        datagram = entry.datagram
        if datagram is None:
            text.append(visible(f"{entry.detail_type} from {entry.source}") + f"\n{INDENT}{visible(entry.detail)}\n\n")
            return
        width = self._console.width
        day, clock = _day_and_clock(datagram.time_ns)
        if day and day != self._day:
            self._day = day
            text.append(f"{day} UTC\n", "bold")
        self._heading(datagram, clock, width, text)
        for remark, style in _remarks(datagram):
            text.append(f"{INDENT}{visible(remark)}\n", style)
        if self._rules:
            matched = visible(", ".join(entry.rules))
            text.append(f"{INDENT}matches {matched}\n" if matched else f"{INDENT}matches no rule\n", "magenta")
        rows = payload_rows(datagram.payload, width - len(INDENT))
        shown = rows if self._whole or len(rows) <= ROWS + 1 else rows[:ROWS]
        style = "" if printable(datagram.payload) is not None else "dim"
        for row in shown:
            text.append(f"{INDENT}{row}\n", style)
        if len(shown) < len(rows):
            text.append(f"{INDENT}… {len(rows) - len(shown):,} more rows (-v shows all)\n", "italic dim")
        text.append("\n")

    def _heading(self, datagram: Datagram, clock: str, width: int, text: "Text") -> None:
        source = endpoint(datagram.source, datagram.source_port)
        destination = endpoint(datagram.destination, datagram.destination_port)
        service = SERVICES.get(datagram.destination_port) or SERVICES.get(datagram.source_port)
        size = f"{len(datagram.payload):,} bytes"
        tail = f"  {service}  {size}" if service else f"  {size}"
        number = f"#{datagram.number}"
        line = f"{number} {clock}  {source} → {destination}{tail}"
        break_at = "" if len(line) <= width else f"\n{INDENT}"
        text.append(number, "dim")
        text.append(f" {clock}  ", "cyan")
        text.append(source, "green")
        text.append(f"{break_at or ' '}→ ")
        text.append(destination, "bold green")
        if service:
            text.append(f"  {service}", "magenta")
        text.append(f"  {size}\n")


def _day_and_clock(time_ns: int | None) -> tuple[str, str]:
    if time_ns is None:
        return "", "no time"
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return "", f"{seconds}.{fraction:09d}"
    digits = f"{fraction:09d}" if fraction % 1000 else f"{fraction // 1000:06d}"
    return f"{moment:%Y-%m-%d}", f"{moment:%H:%M:%S}.{digits}"


def _remarks(datagram: Datagram) -> Iterable[tuple[str, str]]:
    if len(datagram.via) > 2:
        yield "via " + " ".join(datagram.via), "blue"
    if datagram.fragments:
        yield f"reassembled from {len(datagram.fragments)} fragments", "blue"
    if not datagram.whole:
        yield f"cut by the capture: {len(datagram.payload):,} of {datagram.length - 8:,} bytes", "yellow"
    if datagram.checksum_status == "bad":
        yield f"bad checksum 0x{datagram.checksum:04x}", "red"


class ConsoleReporter:
    """What is said on stderr while a run goes: notes at once, and on a terminal a progress line."""

    def __init__(
        self,
        console: "Console",
        *,
        quiet: bool = False,
        progress: bool = False,
        costs_money: bool,
        tariff: quotas.Tariff = quotas.CLASSIC,
    ) -> None:
        self._console = console
        self._quiet = quiet
        self._costs_money = costs_money
        self._tariff = tariff
        self._wanted = progress and console.is_terminal and not quiet
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._started = time.monotonic()

    def note(self, sentence: str) -> None:
        """One line, even when quiet: notes say what is wrong or what it will cost."""
        from rich.text import Text

        words = Text.assemble(("pcapeda: ", "bold"), visible(masked(sentence)))
        self._console.print(words, soft_wrap=not self._console.is_terminal)

    def say(self, sentence: str) -> None:
        """One line that a quiet run does without."""
        if not self._quiet:
            self.note(sentence)

    def tick(self, report: Report, reading: Report, position: int, size: int | None) -> None:
        """Move the progress line, which appears once a run takes longer than a second."""
        if not self._wanted or time.monotonic() - self._started < 1:
            return
        if self._progress is None:
            self._start(size)
        assert self._progress is not None
        assert self._task is not None
        cost = billed(report.chunks, self._tariff) if self._costs_money else None
        # Beside the words stand a spinner or a bar and sizes; and a terminal that echoes ^C must not have to wrap.
        room = self._console.width - (6 if size is None else 48)
        told = progress_words(report, reading, time.monotonic() - self._started, room, cost)
        self._progress.update(self._task, completed=position, total=size, told=told)

    def drained(self, report: Report) -> None:
        """Move the progress line of a spool that is delivered."""
        if not self._wanted or time.monotonic() - self._started < 1:
            return
        if self._progress is None:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (BarColumn(bar_width=20), MofNCompleteColumn(), TextColumn("{task.fields[told]}"))
            self._progress = Progress(*columns, console=self._console, transient=True)
            self._task = self._progress.add_task("", total=report.events_inherited, told="")
            self._progress.start()
        assert self._task is not None
        gone = report.events_inherited - report.events_spooled
        self._progress.update(self._task, completed=gone, told=f"events · {billed(report.chunks, self._tariff)}")

    def _start(self, size: int | None) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn

        columns = [BarColumn(bar_width=20), DownloadColumn()] if size is not None else [SpinnerColumn()]
        self._progress = Progress(*columns, TextColumn("{task.fields[told]}"), console=self._console, transient=True)
        self._task = self._progress.add_task("", total=size, told="")
        self._progress.start()

    def complain(self, error: PcapedaError) -> None:
        """What ended the run."""
        complain(error)

    def summary(self, report: Report, *, brief: bool = False) -> None:
        """What became of everything; when quiet or brief, no more than what was not delivered."""
        if not self._quiet and not brief:
            word = "delivered" if self._costs_money else "printed"
            show_summary(report, self._console, delivered=word, costs_money=self._costs_money, tariff=self._tariff)
        elif words := undelivered(report):
            self.note(f"not delivered: {words}")

    def stopped(self) -> None:
        """The last words before the process ends at once. For a signal handler, too."""
        stopped_at_once()

    def close(self) -> None:
        """Take the progress line away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def stopped_at_once() -> None:
    """The last words of a process that a second signal ends; not through a stream, which must not be entered twice."""
    with suppress(OSError):
        os.write(2, b"\npcapeda: stopped at once; what was under way may be lost\n")


def complain(error: PcapedaError) -> None:
    """One line on stderr that says what is wrong, and a second one if it is known what helps."""
    print(f"pcapeda: {visible(str(error))}", file=sys.stderr)  # noqa: T201
    if error.hint:
        print(f"hint: {visible(error.hint)}", file=sys.stderr)  # noqa: T201


def progress_words(report: Report, reading: Report, seconds: float, room: int, cost: str | None) -> str:
    """What the progress line says: the datagrams so far, and of the rest, in the order of weight, what has room."""
    datagrams = report.datagrams + report.reassembled + reading.datagrams + reading.reassembled
    told = plural(datagrams, "datagram")
    drops = reading.kernel_drops + reading.queue_drops
    pieces: list[tuple[str, ...]] = [
        (f"{datagrams / max(seconds, 0.001):,.0f}/s",)
    ]  # each in one form, or long and short
    if cost is not None:
        pieces.append((cost,))
    if drops:
        pieces.append((f"{drops:,} dropped",))
    if report.refused:
        pieces.append((_snapshot(report.refused), f"{report.refused.total():,} refused"))
    for number, word in (
        (report.spooled, "spooled"),
        (report.dead.total(), "dead letters"),
        (report.limited.total(), "kept back"),
    ):
        if number:
            pieces.append((f"{number:,} {word}",))
    for place, forms in enumerate(pieces):
        later = sum(3 + len(other[-1]) for other in pieces[place + 1 :])
        form = next((form for form in forms if len(told) + 3 + len(form) + later <= room), forms[-1])
        if len(told) + 3 + len(form) <= room:
            told += f" · {form}"
    if report.turned_away:
        (reason, source), count = report.turned_away.most_common(1)[0]
        top_limited = f" · most by {source}: {count:,} {reason}"
        told += top_limited if len(told) + len(top_limited) <= room else ""
    return told


def usd(amount: float) -> str:
    """An amount with as many digits as make sense: cents where they matter, never a false zero."""
    if amount == 0:
        return "0.00 USD"
    return f"{amount:,.2f} USD" if amount >= 1 else f"{amount:.2g} USD" if amount >= 0.0001 else f"{amount:.6f} USD"


def billed(units: int, tariff: quotas.Tariff) -> str:
    """What so many billed units cost, or where that is not known, the units."""
    cost = tariff.usd(units)
    return f"{units:,} KB billed" if cost is None else usd(cost)


def plural(number: int, noun: str) -> str:
    """`1 frame`, `2,000 frames`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def show_summary(
    report: Report,
    console: "Console",
    *,
    delivered: str,
    costs_money: bool,
    tariff: quotas.Tariff = quotas.CLASSIC,
) -> None:
    """The law of conservation in a few lines: what was read, what became of it, what it cost.

    `delivered` is the word for what the sink did: delivered, printed.
    """
    from rich.text import Text

    lines: list[tuple[str, str, str]] = []
    skipped = sum(report.skips.values())
    segments = f" + {plural(report.segments, 'segment')}" if report.segments else ""
    read = f"{plural(report.frames, 'frame')}{segments} = {plural(report.datagrams, 'datagram')}"
    read += f" + {plural(report.fragments, 'fragment')} + {skipped:,} skipped"
    if report.frames or not report.events_inherited:
        lines.append(("read", read, ""))
    if report.skips:
        lines.append(("skipped", _reasons(report.skips), ""))
    if report.fragments:
        expired = sum(report.expired.values())
        pieces = f"{report.fragments:,} = {report.used:,} used + {expired:,} given up + {report.held:,} still waiting"
        lines.append(("fragments", f"{pieces}; {plural(report.reassembled, 'datagram')} reassembled", ""))
        if report.expired:
            lines.append(("given up", _snapshot(report.expired), "yellow"))
        if report.reassembled_skips:
            lines.append(("", "reassembled, but no datagram: " + _reasons(report.reassembled_skips), ""))
    if report.without_text:
        lines.append(
            ("no Text", f"{plural(report.without_text, 'payload')} not printable (see --text-encoding)", "yellow")
        )
    refused, unselected = sum(report.refused.values()), sum(report.unselected.values())
    dead, limited = sum(report.dead.values()), sum(report.limited.values())
    events = f"{report.datagrams + report.reassembled:,}"
    if report.inherited:
        events += f" + {report.inherited:,} from the spool"
    events += f" = {report.sent:,} {delivered}"
    if report.spooled:
        events += f" + {report.spooled:,} spooled"
    if dead:
        events += f" + {dead:,} dead letters"
    if limited:
        events += f" + {limited:,} kept back"
    events += f" + {refused:,} refused"
    if unselected:
        events += f" + {unselected:,} not selected"
    style = "red" if refused or dead else "yellow" if report.spooled or limited else "green"
    alike = (report.sent, report.spooled, report.inherited, 0) == (
        report.events,
        report.events_spooled,
        report.events_inherited,
        report.events_refused,
    )
    lines.append(("events" if alike else "datagrams", events, style))
    if not alike:
        told = plural(report.events, "event")
        if report.events_spooled:
            told += f"; {report.events_spooled:,} spooled"
        if report.events_refused:
            told += f"; {plural(report.events_refused, 'report')} on the run not delivered"
        lines.append((delivered, told, ""))
    if report.deduplicated:
        lines.append(
            ("known", f"{plural(report.deduplicated, 'event')} of these the bus had already and published once", "")
        )
    for reason, count in report.refused.most_common():
        words = report.messages.get(reason, "")
        lines.append(("refused", f"{count:,} {reason}" + (f": {words}" if words else ""), "red"))
    for code, count in report.dead.most_common():
        words = report.messages.get(code, "")
        lines.append(("dead", f"{count:,} {code}" + (f": {words}" if words else ""), "red"))
    if report.limited:
        lines.append(("kept back", _snapshot(report.limited), "yellow"))
    if report.retried or report.maybe_twice:
        tries = f"{report.retried:,} times an event was tried again"
        if report.maybe_twice:
            tries += f"; {report.maybe_twice:,} times an answer was lost: so many may be delivered twice"
            if tariff.v2:
                tries += ", but for those that the bus knew again"
        lines.append(("retried", tries, ""))
    if report.unselected:
        lines.append(("left out", _snapshot(report.unselected), ""))
    if report.turned_away:
        about = f" (each up to {report.turned_away_error:,} too high)" if report.turned_away_error else ""
        lines.append(("most by", _turned_away(report.turned_away) + about, ""))
    elif report.turned_away_error:
        lines.append(("most by", "many sources, of which none stands out", ""))
    drops = report.kernel_drops + report.queue_drops
    if drops:
        told = f"{plural(report.kernel_drops, 'packet')} by the kernel, {report.queue_drops:,} by us: too fast for us"
        lines.append(("dropped", f"{told} (a larger --buffer-mib or a filter helps)", "red"))
    if report.damages:
        lines.append(("damaged", f"{plural(len(report.damages), 'place')} in the input", "red"))
    if costs_money:
        units = f"{report.chunks:,} KB billed" if tariff.v2 else f"{plural(report.chunks, 'billed event')} of 64 KB"
        cost = tariff.usd(report.chunks)
        about = f": about {usd(cost)}" if cost is not None else ", at a price that is not known here"
        lines.append(("cost", f"{plural(report.requests, 'request')}, {units}{about}", ""))
    for label, words, style in lines:
        # A person's lines are folded between words; a log's stay whole.
        words = visible(words)
        rows = textwrap.wrap(words, max(console.width - 12, 40)) if console.is_terminal else [words]
        for number, row in enumerate(rows):
            console.print(Text.assemble((f"{'' if number else label:<10} ", "bold"), (row, style)), soft_wrap=True)


def _snapshot(snapshot: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in Counter(snapshot).most_common())


def _turned_away(snapshot: Mapping[tuple[str, str], int]) -> str:
    """Whom the limits kept back most, reason by reason."""
    by_reason: dict[str, list[str]] = {}
    for (reason, source), count in Counter(snapshot).most_common(TURNED_AWAY):
        by_reason.setdefault(reason, []).append(f"{source} ({count:,})")
    return "; ".join(f"{reason}: {', '.join(sources)}" for reason, sources in by_reason.items())


def _reasons(skips: Mapping[tuple[SkipReason, str], int]) -> str:
    """Reasons with the layers that stood behind them: `3 IP, but not UDP (2 tcp, 1 icmp)`, most frequent first."""
    by_reason: dict[SkipReason, Counter[str]] = {}
    for (why, layer), count in skips.items():
        by_reason.setdefault(why, Counter())[layer] += count
    parts = []
    for why, layers in sorted(by_reason.items(), key=lambda item: -item[1].total()):
        common = layers.most_common(4)
        named = ", ".join(f"{count:,} {layer}" for layer, count in common)
        more = f", {len(layers) - len(common)} other kinds" if len(layers) > len(common) else ""
        parts.append(f"{layers.total():,} {why.value} ({named}{more})")
    return "; ".join(parts)


def show_table(console: "Console", title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A plain table: first column left, the others right unless they are words."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=visible(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading.lstrip(">"), justify="right" if heading.startswith(">") else "left", overflow="fold")
    for row in rows:
        table.add_row(*[Text(visible(cell)) for cell in row])
    console.print(table, soft_wrap=False)
