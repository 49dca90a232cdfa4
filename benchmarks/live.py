"""Live: what arrives over a veth pair, at top speed and at fixed rates, and how much of it comes out."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import bus
from benchmarks.bench import (
    ENVIRONMENT,
    PCAPEDA,
    PYTHON,
    SCALE,
    Failed,
    Result,
    Table,
    capture,
    in_turn,
    package,
    program,
    rate,
    ratio,
    say,
    scaled,
    times,
)
from tests.netns import Veth, veth_pair, why_not

PACKETS = 200_000
TRIAL_S = 5.0 if SCALE >= 1 else 1.0
"""How long each rate is tried."""
LAG_S = 1.5
"""Who keeps up with a rate has put everything out this long after the last packet."""
NEAR_MISS = 0.02
"""Share of the packets."""
CLOSE = 1.12
"""The search for the highest rate ends between two rates this close."""
SLOWEST = 50
PATIENCE_S = 90
"""How long a burst may take to come out."""

WANTED = {"Scapy sniff": 30}


class Sent(NamedTuple):
    """What tcpreplay says it did."""

    packets: int
    rate: float


class Heard(NamedTuple):
    """What became of some packets: how many were sent and at which rate, how many came out, how long the last took."""

    sent: Sent
    came: int
    lag_s: float

    @property
    def lost(self) -> int:
        return self.sent.packets - self.came


class Receiver(NamedTuple):
    """A listener: its command for an interface and a file for its output, and how to count what came out of it."""

    command: Callable[[str, Path], list[object]]
    count: Callable[[Path], int]
    grown: Callable[[Path], int] = lambda path: path.stat().st_size
    """Something that changes as long as more comes out."""
    to_stdout: bool = True


def lines(path: Path) -> int:
    """Lines of a file, by the piece."""
    with path.open("rb", buffering=0) as file:
        return sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 22), b""))


def records(path: Path) -> int:
    done = subprocess.run(["capinfos", "-Mc", path], capture_output=True, text=True, check=False)
    return int(done.stdout.split()[-1])


def send(veth: Veth, path: Path, count: int, pps: int | None, seconds: float | None = None) -> Sent:
    """Let tcpreplay send so many packets of a capture, again and again, from the other end: at a rate or at top speed.

    With `seconds` it is the time that ends it.
    """
    speed = ["--topspeed"] if pps is None else [f"--pps={pps}"]
    inside = ["ip", "netns", "exec", veth.namespace, "tcpreplay", "-q", "-K", "-i", veth.peer, "--no-flow-stats"]
    most = [f"--limit={count}"] if seconds is None else [f"--duration={seconds:.0f}"]
    done = subprocess.run([*inside, *speed, "--loop=0", *most, path], capture_output=True, text=True, check=False)
    sent = re.search(r"Actual: (\d+) packets", done.stdout)
    pace = re.search(r"([\d.]+) pps", done.stdout)
    if done.returncode or sent is None or pace is None:
        raise Failed(f"tcpreplay: {(done.stderr or done.stdout).strip()[-300:]}")
    return Sent(int(sent[1]), float(pace[1]))


def listening(interface: str) -> bool:
    """Whether some packet socket is bound to the interface."""
    index = Path(f"/sys/class/net/{interface}/ifindex").read_text().strip()
    return any(line.split()[4] == index for line in Path("/proc/net/packet").read_text().splitlines()[1:])


@contextmanager
def started(receiver: Receiver, interface: str, output: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The listener, once it listens; it is interrupted at the end, and has ended afterwards."""
    command = list(map(str, receiver.command(interface, output)))
    output.unlink(missing_ok=True)
    with (output if receiver.to_stdout else Path(os.devnull)).open("wb") as out:
        # tshark keeps what it captures in a file of its own while it is behind
        surroundings = ENVIRONMENT | {"TMPDIR": str(output.parent)}
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL, env=surroundings)
    try:
        until = time.monotonic() + 20
        while not listening(interface):
            if process.poll() is not None or time.monotonic() > until:
                raise Failed(f"{' '.join(command[:4])} does not listen")
            time.sleep(0.05)
        time.sleep(0.7)  # some open a second socket, or set their filter, after the first one
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def hear(
    receiver: Receiver, veth: Veth, output: Path, path: Path, count: int, pps: int | None, patience: float
) -> Heard:
    """Send to a listener, and wait until nothing more comes out of it (for a second), or patience ends."""
    with started(receiver, veth.name, output):
        sent = send(veth, path, count, pps)
        ended = changed = time.monotonic()
        size = -1
        while (now := time.monotonic()) - changed < 1 and now - ended < patience:
            if (grown := receiver.grown(output)) != size:
                size, changed = grown, now
            time.sleep(0.02)
    return Heard(sent, receiver.count(output), changed - ended)


def highest(receiver: Receiver, veth: Veth, output: Path, path: Path, top: float) -> float:
    """The highest rate at which everything comes out in time; 0 if it does at none."""
    low, high = 0.0, top
    if keeps_up(receiver, veth, output, path, top, at_top=True):
        return top
    while high > max(low, SLOWEST) * CLOSE:
        pace = (max(low, SLOWEST) * high) ** 0.5
        if keeps_up(receiver, veth, output, path, pace):
            low = pace
        else:
            high = pace
    return low


def keeps_up(receiver: Receiver, veth: Veth, output: Path, path: Path, pps: float, *, at_top: bool = False) -> bool:
    """Whether everything comes out in time. A near miss gets a second try: one stall of the machine decides nothing."""
    for _ in range(2):
        heard = hear(receiver, veth, output, path, int(TRIAL_S * pps), None if at_top else int(pps), LAG_S + 1)
        say(f"    {heard.sent.rate:,.0f} packets/s: lost {heard.lost:,}, {heard.lag_s:.1f} s behind")
        if heard.lost == 0 and heard.lag_s <= LAG_S:
            return True
        if heard.lost > NEAR_MISS * heard.sent.packets or heard.lag_s > LAG_S + 0.5:
            return False
    return False


def receivers(result: Result, server: bus.Bus) -> dict[str, Receiver]:
    """Those that are installed."""
    sniff = [*PCAPEDA, "sniff", "-q", "-i"]
    unlimited = ["--max-rate", 0, "--max-rate-per-source", 0]
    entries = Entries(server)
    found = {
        "pcapeda to JSON lines": Receiver(lambda name, _: [*sniff, name, "-n", "-o", "jsonl"], lines),
        "pcapeda to a bus": Receiver(
            lambda name, _: [*sniff, name, "--endpoint-url", server.url, *unlimited], entries.take, entries.look
        ),
    }
    if program(result, "tcpdump") and shutil.which("capinfos"):
        found["tcpdump -w"] = Receiver(
            lambda name, path: ["tcpdump", "-i", name, "-n", "-w", path, "udp"], records, to_stdout=False
        )
    if program(result, "tshark"):
        found["tshark -T ek"] = Receiver(
            lambda name, _: [
                "tshark",
                "-n",
                "-i",
                name,
                "-f",
                "udp",
                "-T",
                "ek",
                "-l",
                "-o",
                "udp.check_checksum:TRUE",
            ],
            lambda path: lines(path) // 2,
        )
    if package(result, "scapy"):
        found["Scapy sniff"] = Receiver(
            lambda name, _: [PYTHON, "-m", "benchmarks.peers.scapy_lines", "-i", name], lines
        )
        if package(result, "boto3"):
            found["Scapy sniff and boto3 to a bus"] = Receiver(
                lambda name, _: [PYTHON, "-m", "benchmarks.peers.article_loop", server.url, "-i", name],
                entries.take,
                entries.look,
            )
    return found


class Entries:
    """What the bus got, counted up between one listener and the next."""

    def __init__(self, server: bus.Bus) -> None:
        self._server = server
        self._seen = 0

    def look(self, _: Path) -> int:
        self._seen += self._server.counts().entries
        return self._seen

    def take(self, path: Path) -> int:
        seen = self.look(path)
        self._seen = 0
        return seen


def measure(work: Path) -> Result:
    """Bursts at top speed, then the highest rate of each."""
    result = Result(
        "live",
        "Live",
        "tcpreplay sends UDP from a network namespace over a veth pair, on the same cores. Each listener with its own "
        "defaults: `pcapeda sniff -n -o jsonl` into a file, the same into a loopback bus with its limits lifted, "
        "`tcpdump -w`, `tshark -T ek`, Scapy's `sniff` with a callback that prints the same events, and the loop that "
        "puts each packet on a bus.",
    )
    if reason := why_not():
        result.skipped.append(reason)
        return result
    if not program(result, "tcpreplay"):
        return result
    with ExitStack() as stack:
        veth = stack.enter_context(veth_pair())
        server = stack.enter_context(bus.running())
        found = receivers(result, server)
        output = work / "live.out"
        for kind, title in (("udp", "mixed sizes"), ("syslog", "syslog")):
            path = capture(work, scaled(PACKETS, 1000), kind)
            result.tables.append(bursts(result, found, veth, output, path, title))
        path = capture(work, scaled(PACKETS, 1000), "udp")
        result.tables.append(rates(result, found, veth, output, path))
        output.unlink(missing_ok=True)
    return result


def bursts(result: Result, found: dict[str, Receiver], veth: Veth, output: Path, path: Path, title: str) -> Table:
    """How much of a burst gets lost."""
    count = scaled(PACKETS, 1000)
    say(f"live: bursts of {count:,}, {title}")
    heard = in_turn(
        {name: partial(hear, one, veth, output, path, count, None, PATIENCE_S) for name, one in found.items()}
    )
    table = Table(
        f"A burst of {count:,} datagrams at top speed, {title}",
        ["", "lost", "of", "at most lost", "all out after", "sent at packets/s"],
        note="Medians of the rounds, and the worst one. Wanted of pcapeda: nothing is lost.",
    )
    for name, each in heard.items():
        worst = max(one.lost for one in each)
        result.figures[f"burst, {title}: {name} lost at most"] = worst
        table.rows.append(
            [
                name,
                f"{median(one.lost for one in each):,.0f}",
                f"{each[0].sent.packets:,}",
                f"{worst:,}",
                f"{median(one.lag_s for one in each):.1f} s",
                rate(median(one.sent.rate for one in each)),
            ]
        )
    return table


def rates(result: Result, found: dict[str, Receiver], veth: Veth, output: Path, path: Path) -> Table:
    """The highest rate that each keeps up with."""
    say("live: highest rates")
    top = send(veth, path, scaled(PACKETS, 1000), None).rate
    kept = in_turn({name: partial(highest, one, veth, output, path, top) for name, one in found.items()})
    table = Table(
        "The highest rate without loss",
        ["", "to Scapy sniff", "wanted", "packets/s"],
        note=f"Found by halving the distance between rates, each tried for {TRIAL_S:.0f} s: nothing may be lost, and "
        f"everything must be out {LAG_S} s after the last packet; a near miss is tried again. "
        f"Alone, the sender reaches {rate(top)} packets/s.",
    )
    scapy = kept.get("Scapy sniff")
    for name, each in kept.items():
        result.figures[f"highest rate: {name}"] = median(each)
        faster = None if scapy is None or 0 in scapy else ratio(each, scapy)
        table.rows.append(
            [
                name,
                "" if faster is None else times(faster),
                f"{WANTED['Scapy sniff']} ×" if name == "pcapeda to JSON lines" else "",
                rate(median(each)) if median(each) else f"below {SLOWEST}",
            ]
        )
    return table
