"""The parts of a run, made from its job: bus, spool, rules, limits; and what is known of it before it starts."""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING

from pcapeda.aws import quotas
from pcapeda.aws.bus import Bus
from pcapeda.capture.bpf import Filter
from pcapeda.capture.files import Capture, expand
from pcapeda.delivery.spool import Spool
from pcapeda.dissect.extractor import Extractor
from pcapeda.engine.job import SPOOL_MIB, Job
from pcapeda.engine.summaries import Aggregator
from pcapeda.errors import BadConfig, of_system
from pcapeda.events.flows import FlowTable
from pcapeda.events.groups import Grouper
from pcapeda.events.shape import Shape
from pcapeda.limits.limits import Limits, in_force
from pcapeda.model import Datagram
from pcapeda.report import Report
from pcapeda.rules.buses import bus_notes, bus_of
from pcapeda.rules.dialects import in_dialect
from pcapeda.rules.rule import DEFAULT_BUS
from pcapeda.rules.ruleset import RuleSet
from pcapeda.rules.sources.load import load
from pcapeda.safety.private_files import read_regular
from pcapeda.units import MIB, SECOND_NS

if TYPE_CHECKING:
    from pcapeda.capture.interface import LiveSource

TARGET = "target.json"
"""The file in a spool that says for which bus its events are."""

TARGET_VERSION, MOST_TARGET_BYTES = 1, 1 << 16
_TEXT = (str, NoneType)
_TARGET: dict[str, tuple[type, ...]] = {
    "name": _TEXT,
    "region": _TEXT,
    "profile": _TEXT,
    "endpoint_url": _TEXT,
    "max_request_bytes": (int,),
    "transport": (str,),
    "groups": (int, NoneType),
    "raw": (bool,),
}
"""Its members, each a field of `Bus`, and what their values are."""

Note = Callable[[str], None]
"""Who is told a sentence."""


def live_source(job: Job) -> "LiveSource":
    """What a job that listens reads from, not open yet. Raises `BadFilter`."""
    from pcapeda.capture.interface import LiveSource

    return LiveSource(job.interfaces, filter=make_filter(job), buffer_bytes=job.buffer_mib * MIB)


def make_filter(job: Job) -> Filter | None:
    """The filter that a job asks for, which libpcap takes. Raises `BadFilter`."""
    if not job.filter:
        return None
    chosen = Filter(job.filter)
    chosen.check()
    return chosen


def open_spool(job: Job, note: Note, say: Note, report: Report) -> Spool:
    """The spool of a job, which keeps events for one bus. Raises `BadConfig` if it holds some for another."""
    assert job.spool is not None
    kept_for = spool_target(job.spool)
    spool = Spool(job.spool, max_bytes=(job.spool_max_mib or SPOOL_MIB) * MIB, when_full=job.when_full or "block")
    wanted = replace(job.bus, max_request_bytes=quotas.REQUEST_BYTES)
    try:
        if len(spool) and kept_for is None:
            raise of_no_bus(job.spool)
        if len(spool) and kept_for != wanted:
            assert kept_for is not None
            raise BadConfig(
                f"--spool {job.spool} holds events for {kept_for.words()}, not for {wanted.words()}",
                hint=f"give another folder, or deliver them first: pcapeda resend {job.spool}",
            )
        spool.label(TARGET, _target_text(wanted))
    except OSError as error:
        spool.close()
        raise of_system(f"--spool {job.spool}: {TARGET}", error) from None
    except BadConfig:
        spool.close()
        raise
    tell_of(spool, note, say, report)
    return spool


def tell_of(spool: Spool, note: Note, say: Note, report: Report) -> None:
    """Say what waits in a spool, and what of it cannot be read, which is a failure of the run."""
    if len(spool):
        say(f"{len(spool):,} events wait in the spool")
    if spool.damages:
        sentence = f"{len(spool.damages):,} places of the spool cannot be read; the first: {spool.damages[0]}"
        report.failures.append(sentence)
        note(sentence)


def _target_text(bus: Bus) -> bytes:
    return (
        json.dumps({"version": TARGET_VERSION} | {name: getattr(bus, name) for name in _TARGET}, indent=2) + "\n"
    ).encode()


def spool_target(folder: str) -> Bus | None:
    """The bus that a spool keeps events for; None if there is no such spool, or nothing in it that says so.

    Raises `BadConfig` for what cannot be read or understood to the last member: a guess could send events to the
    wrong bus.
    """
    path = Path(folder) / TARGET
    try:
        told = json.loads(read_regular(path, MOST_TARGET_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise of_system(f"spool {folder}", error) from None
    except OSError as error:
        raise _bad_target(path, f"cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise _bad_target(path, "is no JSON") from None
    if not isinstance(told, dict):
        raise _bad_target(path, "is no JSON object")
    version = told.pop("version", TARGET_VERSION)
    if type(version) is not int or version != TARGET_VERSION:
        raise _bad_target(path, "is of another version of pcapeda")
    for name, value in told.items():
        if name not in _TARGET:
            raise _bad_target(path, f"has a member that this version does not know ({quotas.shown(name)})")
        if type(value) not in _TARGET[name]:
            raise _bad_target(path, f"has a value of {name} that this version does not understand")
    bus = Bus(**told)
    try:
        bus.check()
    except BadConfig as error:
        raise _bad_target(path, f"names a bus that cannot be ({error})") from None
    return bus


def _bad_target(path: Path, what: str) -> BadConfig:
    return BadConfig(
        f"{path} says for which bus the events of this spool are, but it {what}",
        hint="use the version of pcapeda that wrote it; or remove the file and name the bus: pcapeda resend "
        f"{path.parent} --bus NAME",
    )


def of_no_bus(folder: str) -> BadConfig:
    """The error for a spool with events for nobody knows which bus."""
    return BadConfig(
        f"spool {folder} has no {TARGET}: for which bus its events are is not known",
        hint=f"name it: pcapeda resend {folder} --bus NAME (--bus default for the default one)",
    )


def load_rules(job: Job, note: Note, *, dry: bool = False) -> RuleSet | None:
    """The rules of a job, together. A rule that cannot be known offline is told; it selects nothing.

    `dry`: nothing goes to the job's bus, so that if none is named it is the one that all rules are on.
    """
    if not job.rules:
        return None
    loaded = load(job.rules, parameters=dict(job.parameters), region=job.bus.region, profile=job.bus.profile)
    loaded = in_dialect(loaded, job.dialect)
    for problem in loaded.problems:
        note(str(problem))
    # The patterns of rules stand for filters of subscribers on a bus of v2, which has no rules.
    given = job.bus.name if dry else job.bus.name or DEFAULT_BUS
    bus = None if job.bus.v2 else bus_of(loaded.rules, given)
    notes = [] if bus is None else bus_notes(loaded.rules, bus, given)
    for sentence in notes:
        note(sentence)
    rules = RuleSet(loaded.rules, bus)
    if not any(not rule.inactive_reason(bus) for rule in loaded.rules) and job.only_matching:
        raise BadConfig(
            f"none of the {len(loaded.rules)} rules selects events of bus {bus or job.bus.name}: "
            "--only-matching would deliver nothing",
            hint="pcapeda rules list shows why",
        )
    return rules


def make_extractor(job: Job, reading: Report) -> Extractor:
    """What finds the datagrams that a job asks for, and counts in `reading`."""
    return Extractor(
        reading,
        decapsulate=job.decapsulate,
        tunnels=job.tunnels,
        defrag_bytes=job.fragment_mib * MIB,
        fragment_age_ns=int(job.fragment_age_s * SECOND_NS),
    )


def make_limits(job: Job, *, costs_money: bool) -> Limits:
    """The limits of a run. Live, the table of sources has a key that nobody can guess; a replay repeats itself."""
    live = bool(job.interfaces)
    key = os.urandom(16) if live else b""
    return Limits(
        job,
        live=live,
        costs_money=costs_money,
        summaries=job.summaries,
        window_s=job.aggregate_s or 0,
        key=key,
    )


def make_aggregator(job: Job, shape: Shape, *, live: bool, max_bytes: int) -> Aggregator | None:
    """What sums datagrams up into events of up to `max_bytes`, if the job asks for it."""
    if job.aggregate_s is not None:
        return FlowTable(shape, job.hold_ns, max_flows=job.max_flows, aligned=not live)
    if job.group is not None:
        return Grouper(shape, job.group, job.hold_ns, max_bytes=max_bytes)
    return None


def names_in_dns(hosts: Iterable[str]) -> Callable[[Datagram], bool]:
    """Tells DNS datagrams (RFC 1035) that ask for one of `hosts`: the lookups which sending itself causes.

    Without this a live run on the way to the bus would turn its own lookups into events, which cause lookups.
    """
    wanted = [b"".join(bytes([len(label)]) + label for label in host.lower().encode().split(b".")) for host in hosts]

    def ours(datagram: Datagram) -> bool:
        if datagram.destination_port != 53 and datagram.source_port != 53:
            return False
        question = datagram.payload[12:300].lower()
        return any(question.startswith(name) for name in wanted)

    return ours


def rate_in_force(job: Job) -> str:
    """What a live run to a bus may send, what a day of that costs, and how to change it: one sentence."""
    return in_force(make_limits(job, costs_money=True))


SMALLEST_RECORD = 16 + 20 + 8
"""Bytes of the smallest packet record that can hold a datagram: record header, IPv4, UDP, no payload."""


def forecast(job: Job) -> str:
    """How many events, requests and USD a replay may take at most, judged from the size of the files: one sentence."""
    sizes = [Capture.size_of(path) for path in expand(job.captures)]
    known = [size for size in sizes if size is not None]
    endless = len(known) < len(sizes) or job.loop == 0
    events = None if endless else sum(known) // SMALLEST_RECORD * job.loop
    tariff = job.tariff
    affordable = None
    if job.max_cost is not None and tariff.price is not None:
        affordable = quotas.chunks_for(job.max_cost, tariff.price)
    for cap in (job.count, job.max_events, affordable):
        if cap is not None:
            events = cap if events is None else min(events, cap)
    if events is None:
        return "no telling beforehand how many events this makes (a pipe, compressed, or endless): see --max-cost"
    requests = -(-events // (quotas.ENTRIES_PER_REQUEST_V2 if tariff.v2 else quotas.ENTRIES_PER_REQUEST))
    told = f"at most {events:,} event{'s'[: events != 1]} in {requests:,} full request{'s'[: requests != 1]}"
    if job.bus.groups is not None:  # of each group one event is under way
        told = f"at most {events:,} events, in more requests than {requests:,}"
    if tariff.price is None:
        return f"{told} (judged by the size of the files); {quotas.PRICE_UNKNOWN}"
    cost = quotas.cost_usd(events, tariff.price)
    if job.max_cost is not None:
        cost = min(cost, job.max_cost)
    usd = "less than 0.01" if 0 < cost < 0.01 else f"{cost:,.2f}"
    each = " if none is larger than 1 KB" if tariff.v2 and job.max_cost is None else ""
    return f"{told}, {usd} USD{each} (judged by the size of the files)"
