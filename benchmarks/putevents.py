"""PutEvents: events per second into a loopback bus, against the loops that people write with boto3."""

import subprocess
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.bench import (
    ENVIRONMENT,
    PCAPEDA,
    PYTHON,
    Failed,
    Result,
    Run,
    Table,
    capture,
    in_turn,
    package,
    rate,
    ratio,
    run,
    say,
    scaled,
    times,
)
from benchmarks.bus import Bus, Counts, running

EVENTS = 100_000
DELAY_S = 0.02
SHARE = {
    False: {"boto3, ten a call": 0.25, "boto3, one a call": 0.03, "Scapy and boto3, one a call": 0.02},
    True: {"boto3, ten a call": 0.02, "boto3, one a call": 0.002, "Scapy and boto3, one a call": 0.002},
}
"""What part of the events slow ones get, by whether the bus waits before it answers."""

WANTED = {"boto3, ten a call": 4, "boto3, one a call": 30}


class Sent(NamedTuple):
    """What a client took, and what its server saw."""

    client: Run
    server: Counts


@cache
def has_option(command: str, option: str) -> bool:
    """Whether this version of pcapeda has an option."""
    done = subprocess.run([*PCAPEDA, command, "--help"], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    return f"{option} " in done.stdout


def measure(work: Path) -> Result:
    """Each client in turn, on a bus that answers at once and on one that takes its time."""
    result = Result(
        "putevents",
        "PutEvents",
        "Events per second into a bus on the loopback interface, in a process of its own, which counts entries and "
        "parses nothing: plain HTTP, kept-alive connections. pcapeda reads the capture, decodes, shapes, sends and "
        "judges each entry's result; the boto3 loops get their entries ready-made, from a file. The last one is the "
        "loop as articles have it: Scapy dissects, and each packet is one call.",
    )
    udp = capture(work, scaled(EVENTS, 300), "udp")
    entries = work / "entries.jsonl"
    run([*PCAPEDA, "replay", udp, "-n", "-o", "entries", "-q"], stdout=entries)
    clients: dict[str, Callable[[Bus, int], list[object]]] = {
        "pcapeda": lambda bus, count: replay(bus, count, udp),
    }
    if has_option("replay", "--transport"):
        clients["pcapeda --transport boto3"] = lambda bus, count: [*replay(bus, count, udp), "--transport", "boto3"]
    else:
        result.skipped.append("pcapeda --transport boto3: this version has no such option")
    if package(result, "boto3"):
        boto = [PYTHON, "-m", "benchmarks.peers.boto_entries"]
        clients["boto3, ten a call"] = lambda bus, count: [*boto, bus.url, entries, count, 10]
        clients["boto3, one a call"] = lambda bus, count: [*boto, bus.url, entries, count, 1]
        if package(result, "scapy"):
            loop = [PYTHON, "-m", "benchmarks.peers.article_loop"]
            clients["Scapy and boto3, one a call"] = lambda bus, count: [*loop, bus.url, capture(work, count, "udp")]
    result.tables.append(compare(result, clients, delayed=False))
    result.tables.append(compare(result, clients, delayed=True))
    return result


def replay(bus: Bus, count: int, path: Path) -> list[object]:
    return [*PCAPEDA, "replay", path, "--endpoint-url", bus.url, "-q", "-c", count]


def send(bus: Bus, client: Callable[[Bus, int], list[object]], count: int) -> Sent:
    bus.counts()
    taken = run(client(bus, count))
    came = bus.counts()
    if came.entries != count:
        raise Failed(f"the bus got {came.entries:,} entries instead of {count:,}")
    return Sent(taken, came)


def compare(result: Result, clients: dict[str, Callable[[Bus, int], list[object]]], *, delayed: bool) -> Table:
    title = f"A bus that answers after {DELAY_S * 1000:.0f} ms" if delayed else "A bus that answers at once"
    say(f"putevents: {title}")
    total = scaled(EVENTS, 300)
    counts = {name: max(20, int(total * SHARE[delayed].get(name, 0.4 if delayed else 1))) for name in clients}
    with running(DELAY_S if delayed else 0) as bus:
        sent = in_turn({name: partial(send, bus, clients[name], counts[name]) for name in clients})
    rates = {name: [counts[name] / one.client.wall_s for one in sent[name]] for name in clients}
    cpu = {name: [one.client.cpu_s / counts[name] for one in sent[name]] for name in clients}
    table = Table(
        title,
        ["", "pcapeda is faster by", "wanted", "less CPU by", "events/s", "CPU µs/event", "bus: µs/event", "events"],
    )
    for name in clients:
        faster = ratio(rates["pcapeda"], rates[name])
        spared = ratio(cpu[name], cpu["pcapeda"])
        if name != "pcapeda":
            result.figures[f"{title}: {name}"] = faster
        wanted = None if delayed else WANTED.get(name)
        table.rows.append(
            [
                name,
                "" if name == "pcapeda" else times(faster),
                "" if wanted is None else f"{wanted} ×",
                "" if name == "pcapeda" else times(spared),
                rate(median(rates[name])),
                f"{median(cpu[name]) * 1e6:,.0f}",
                f"{median(one.server.cpu_s for one in sent[name]) / counts[name] * 1e6:,.1f}",
                f"{counts[name]:,}",
            ]
        )
    return table
