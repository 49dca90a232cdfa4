"""Replay to JSON lines: captures of made-up and of real traffic, against tshark, dpkt and Scapy; and our slow cases."""

import gzip
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.bench import (
    PCAPEDA,
    PYTHON,
    ROOT,
    Result,
    Run,
    Table,
    capture,
    in_turn,
    package,
    program,
    rate,
    ratio,
    run,
    say,
    scaled,
    times,
)

PACKETS = 1_000_000
REAL = Path(os.environ.get("BENCH_CAPTURES", ROOT.parent / "shared" / "captures"))
"""A folder of captures of real traffic, if there is one."""

TSHARK = ["tshark", "-n", "-o", "udp.check_checksum:TRUE"]
FIELDS = (
    *("frame.number", "frame.time_epoch", "ip.version", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "vlan.id"),
    *("udp.srcport", "udp.dstport", "udp.length", "udp.checksum", "udp.checksum.status", "udp.payload"),
)
WANTED = {"tshark -T ek": 12, "dpkt": 3, "Scapy": 40}
PREFIX = {"tshark -T ek": 0.1, "tshark -T fields": 0.2, "dpkt": 0.2, "Scapy": 0.04}
"""The share of the packets that slow ones get: enough that starting up does not matter."""


def measure(work: Path) -> Result:
    """Packets per second of each, on the same capture."""
    result = Result(
        "replay",
        "Replay to JSON lines",
        "A capture to one JSON event per UDP datagram, checksums verified, payload in base64, one process, to "
        "/dev/null. dpkt and Scapy stand for straightforward scripts (`benchmarks/peers/`) that print the same "
        "events; tshark prints its own JSON (`-T ek`) or the same members as columns (`-T fields`), told to verify "
        "checksums and to leave out what is not UDP. Slow ones get the beginning of the capture; packets per second "
        "are compared, starting up included.",
    )
    peers = contenders(result)
    made = partial(capture, work)
    result.tables.append(compare(result, peers, "made-up traffic", made, scaled(PACKETS, 2000)))
    real = real_traffic(result, work, scaled(PACKETS, 2000))
    if real is not None:
        name, count = real
        result.tables.append(compare(result, peers, "real traffic", partial(first, name), count))
    result.tables.append(slow_cases(work, scaled(PACKETS // 4, 2000)))
    return result


def contenders(result: Result) -> dict[str, Callable[[Path], list[object]]]:
    """The commands of those that are installed, given a capture."""
    commands: dict[str, Callable[[Path], list[object]]] = {
        "pcapeda": lambda path: [*PCAPEDA, "replay", path, "-n", "-o", "jsonl", "-q"]
    }
    if program(result, "tshark"):
        fields = [word for name in FIELDS for word in ("-e", name)]
        commands["tshark -T ek"] = lambda path: [*TSHARK, "-r", path, "-Y", "udp", "-T", "ek"]
        commands["tshark -T fields"] = lambda path: [*TSHARK, "-r", path, "-Y", "udp", "-T", "fields", *fields]
    if package(result, "dpkt"):
        commands["dpkt"] = lambda path: [PYTHON, "-m", "benchmarks.peers.dpkt_lines", path]
    if package(result, "scapy"):
        commands["Scapy"] = lambda path: [PYTHON, "-m", "benchmarks.peers.scapy_lines", path]
    return commands


def compare(
    result: Result,
    peers: dict[str, Callable[[Path], list[object]]],
    title: str,
    prefix: Callable[[int], Path],
    packets: int,
) -> Table:
    """All of them in turn on a capture, of which `prefix` gives the first so many packets."""
    counts = {name: max(1000, int(packets * PREFIX.get(name, 1))) for name in peers}
    paths = {name: prefix(count) for name, count in counts.items()}
    say(f"replay: {title}, {packets:,} packets")
    runs = in_turn({name: partial(run, peers[name](paths[name])) for name in peers})
    rates = {name: [counts[name] / one.wall_s for one in runs[name]] for name in peers}
    cpu = {name: [one.cpu_s / counts[name] for one in runs[name]] for name in peers}
    table = Table(
        title.capitalize(),
        ["", "pcapeda is faster by", "wanted", "less CPU by", "packets/s", "CPU µs/packet", "packets given"],
    )
    for name in peers:
        faster = ratio(rates["pcapeda"], rates[name])
        if name != "pcapeda":
            result.figures[f"{title}: {name}"] = faster
        wanted = WANTED.get(name)
        table.rows.append(
            [
                name,
                "" if name == "pcapeda" else times(faster),
                "" if wanted is None else f"{wanted} ×",
                "" if name == "pcapeda" else times(ratio(cpu[name], cpu["pcapeda"])),
                rate(median(rates[name])),
                f"{median(cpu[name]) * 1e6:.2f}",
                f"{counts[name]:,}",
            ]
        )
    return table


def first(capture_: Path, count: int) -> Path:
    """The first packets of a capture as one of its own, made with editcap."""
    path = capture_.with_name(f"{capture_.stem}-{count}.pcap")
    if not path.exists():
        run(["editcap", "-F", "pcap", "-r", capture_, path, f"1-{count}"])
    return path


def real_traffic(result: Result, work: Path, least: int) -> tuple[Path, int] | None:
    """The Ethernet captures of real traffic one after the other, as often as it takes, and their number of packets."""
    if not REAL.is_dir():
        result.skipped.append("real traffic: no captures of it here")
        return None
    for tool in ("capinfos", "mergecap", "editcap"):
        if shutil.which(tool) is None:
            result.skipped.append(f"real traffic: {tool} is not installed")
            return None
    path = work / f"real-{least}.pcap"
    if not path.exists():
        once = work / "real-once.pcap"
        pieces = [
            piece for number, file in enumerate(sorted(REAL.iterdir())) if (piece := _ethernet(file, work, number))
        ]
        run(["mergecap", "-a", "-F", "pcap", "-w", once, *pieces])
        copies = -(-least // _packets(once))
        run(["mergecap", "-a", "-F", "pcap", "-w", path, *[once] * min(copies, 500)])
    return path, _packets(path)


def _packets(path: Path) -> int:
    done = subprocess.run(["capinfos", "-Mc", path], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def _ethernet(path: Path, work: Path, number: int) -> Path | None:
    """A capture of Ethernet frames as a classic pcap, which every contender reads; None if it is none, or damaged."""
    asked = subprocess.run(["capinfos", "-TrmcEQ", path], capture_output=True, text=True, check=False)
    if asked.returncode or asked.stderr.strip() or '"ether"' not in asked.stdout:
        return None
    piece = work / f"real-piece-{number}.pcap"
    done = subprocess.run(["editcap", "-F", "pcap", path, piece], capture_output=True, check=False)
    return piece if done.returncode == 0 else None


def slow_cases(work: Path, packets: int) -> Table:
    """What costs more than the plain case: packets per second of pcapeda alone, in turn with the plain case."""
    plain = capture(work, packets)
    udp = capture(work, packets, "udp")
    zipped = work / (plain.name + ".gz")
    if not zipped.exists():
        with plain.open("rb") as source, gzip.open(zipped, "wb", compresslevel=6) as target:
            shutil.copyfileobj(source, target)
    cases: dict[str, tuple[Path, list[str]]] = {
        "plain: mixed traffic": (plain, []),
        "nothing but UDP": (udp, []),
        "every address a new one": (capture(work, packets, "forged"), []),
        "pcapng": (capture(work, packets, suffix=".pcapng"), []),
        "gzip": (zipped, []),
        "nothing but fragments": (capture(work, packets, "fragments"), []),
        "VXLAN, --decapsulate": (capture(work, packets, "vxlan"), ["--decapsulate"]),
        "--text --json-payload, JSON payloads": (capture(work, packets, "json"), ["--text", "--json-payload"]),
        "-f 'udp port 514'": (plain, ["-f", "udp port 514"]),
        "--rules of one rule": (plain, ["--rules", str(ROOT / "fixtures" / "rules" / "demo.json")]),
        "--aggregate 1": (plain, ["--aggregate", "1"]),
        "--shape minimal": (plain, ["--shape", "minimal"]),
        "-o entries": (plain, ["-o", "entries"]),
        "-o pretty": (capture(work, packets // 10), ["-o", "pretty"]),
        "a link type that only Scapy decodes": (scapy_decoded(work, packets // 20), []),
    }
    counts = dict.fromkeys(cases, packets)
    counts |= {"-o pretty": packets // 10, "a link type that only Scapy decodes": packets // 20}

    def once(name: str) -> Run:
        path, options = cases[name]
        output = [] if "-o" in options else ["-o", "jsonl"]
        return run([*PCAPEDA, "replay", path, "-n", *output, "-q", *options])

    say("replay: slow cases")
    runs = in_turn({name: partial(once, name) for name in cases})
    rates = {name: [counts[name] / one.wall_s for one in runs[name]] for name in cases}
    plainly = next(iter(cases))
    table = Table(
        "Slow cases, and what is no slower",
        ["pcapeda alone", "of the plain pace", "packets/s", "packets given"],
        note="The captures are smaller here, so that starting up shows a little.",
    )
    for name in cases:
        table.rows.append(
            [name, f"{ratio(rates[name], rates[plainly]):.2f}", rate(median(rates[name])), f"{counts[name]:,}"]
        )
    return table


def scapy_decoded(work: Path, packets: int) -> Path:
    """The same traffic under a link type that only Scapy knows: its number for Linux's loopback device, 772."""
    plain = capture(work, packets).read_bytes()
    path = work / f"scapy-decoded-{packets}.pcap"
    path.write_bytes(plain[:20] + (772).to_bytes(4, "little") + plain[24:])
    return path
