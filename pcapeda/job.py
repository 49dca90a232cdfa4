"""One run as plain, picklable data: what to read, what to select, how events look, where they go, and the limits."""

from dataclasses import dataclass, field

from pcapeda.errors import BadConfig
from pcapeda.events import quotas
from pcapeda.events.flows import MAX_FLOWS
from pcapeda.events.shape import Shape
from pcapeda.limits import Bounds
from pcapeda.net import ports
from pcapeda.rules.dialects import Dialect
from pcapeda.sinks.aws import Transport
from pcapeda.sinks.spool import WhenFull

SECOND_NS = 1_000_000_000

LONGEST_S = 86_400
"""Longest time that datagrams may wait to be summed up, and longest time between reports: a day."""

GRACE_S = 10.0
"""How long an interrupted run may go on trying to deliver what it has read."""

MOST_JOBS = 64
"""More workers than one reader can feed."""

MOST_GROUPS = 10_000
"""Most groups that flows may be hashed into: their number must stay bounded."""

SPOOL_MIB, LEAST_SPOOL_MIB = 1024, 8
"""Most MiB of events that a spool holds unless told otherwise, and the least that can be asked for."""


@dataclass(frozen=True)
class Bus:
    """Where events go: an event bus (name or ARN; None: the default bus) and how the AWS SDK finds it."""

    name: str | None = None
    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    max_request_bytes: int = quotas.REQUEST_BYTES
    transport: Transport = field(default="fast", compare=False, repr=False)
    """Who makes the requests; the bus is the same one. (For a bus of EventBridge v2 it is always the SDK.)"""
    groups: int | None = None
    """On a bus of EventBridge v2: keep the order of each flow, with flows hashed into so many groups."""
    raw: bool = False
    """On a bus of EventBridge v2: the payload as bytes, the rest as metadata."""

    @property
    def v2(self) -> bool:
        """Whether this is a bus of EventBridge v2."""
        return self.name is not None and ":event-busv2/" in self.name

    def check(self) -> None:
        """Refuse what this bus cannot have. Raises `BadConfig`."""
        if self.v2:
            quotas.check_identity(None, None, (), self.name)
        elif self.groups is not None or self.raw:
            raise BadConfig(
                "--ordered, --groups and --raw are for buses of EventBridge v2",
                hint="give the ARN of one: --bus arn:aws:events:REGION:ACCOUNT:event-busv2/NAME/ID",
            )
        if self.groups is not None and not 1 <= self.groups <= MOST_GROUPS:
            raise BadConfig(f"--groups must be from 1 to {MOST_GROUPS:,}, not {self.groups}")

    def words(self) -> str:
        """Which bus this is, as far as it says."""
        ordered = None if self.groups is None else f"ordered in {self.groups} groups"
        where = [self.region, self.profile and f"profile {self.profile}", self.endpoint_url]
        where += [ordered, "raw" if self.raw else None]
        told = ", ".join(filter(None, where))
        return f"event bus {self.name or 'default'}" + (f" ({told})" if told else "")


def check_raw(shape: Shape) -> None:
    """Refuse what a raw event has no place for. Raises `BadConfig`."""
    if shape.text or shape.json_payload:
        raise BadConfig("a raw event has its payload as bytes: not with --text or --json-payload")
    if shape.name == "proxylity":
        raise BadConfig("raw events are for the shapes full and minimal: proxylity is a form of JSON")


@dataclass(frozen=True)
class Job(Bounds):
    """One run as plain, picklable data: what to read, what to select, how events look, and the limits.

    Exactly one of `captures` (paths, folders, '-') and `interfaces` is given. Each field bears the name of its
    command-line option; None and empty mean 'not asked for'.
    """

    captures: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    # select
    filter: str | None = None
    count: int | None = None
    ports: frozenset[int] = frozenset()
    decapsulate: bool = False
    tunnels: tuple[tuple[int, str], ...] = ()
    """UDP ports and the names of the tunnels behind them, beside the known ones or in their stead; asking for any asks
    for `decapsulate`."""
    fragment_age_s: float = 30.0
    fragment_mib: int = 64
    rules: tuple[str, ...] = ()
    """Where rules are: each event is told which of them it matches."""
    parameters: tuple[tuple[str, str], ...] = ()
    """Names and values of the parameters of templates among the rules."""
    only_matching: bool = False
    # event
    shape: Shape = field(default_factory=Shape)
    bus: Bus = field(default_factory=Bus)
    aggregate_s: float | None = None
    max_flows: int = MAX_FLOWS
    group: int | None = None
    group_wait_s: float = 1.0
    report_events_s: float | None = None
    # what is not lost
    spool: str | None = None
    spool_max_mib: int | None = None
    when_full: WhenFull | None = None
    spool_limited: bool = False
    grace_s: float = GRACE_S
    checkpoint: str | None = None
    # replay's clock
    speed: float | None = None
    pps: float | None = None
    max_sleep_s: float | None = None
    loop: int = 1
    jobs: int = 1
    """Processes that decode and shape, the one that reads among them."""
    # live
    duration_s: float | None = None
    write: str | None = None
    buffer_mib: int = 128

    def check(self) -> None:
        """Refuse what cannot be honoured, before anything is opened. Raises `BadConfig`."""
        if bool(self.captures) == bool(self.interfaces):
            raise BadConfig("a run reads either captures or interfaces: give one of them")
        if self.loop != 1 and "-" in self.captures:
            raise BadConfig("--loop cannot read standard input twice: give a file")
        if self.speed is not None and self.pps is not None:
            raise BadConfig("--speed and --pps are two clocks: give one of them")
        for option, value in (("--speed", self.speed), ("--pps", self.pps)):
            if value is not None and not 0 < value < float("inf"):
                raise BadConfig(f"{option} must be more than 0, not {value:g}")
        spans = (
            ("--maxsleep", self.max_sleep_s),
            ("--duration", self.duration_s),
            ("--fragment-age", self.fragment_age_s),
            ("--grace", self.grace_s),
        )
        for option, value in spans:
            if value is not None and not 0 <= value < float("inf"):
                raise BadConfig(f"{option} must be a number from 0 on, not {value:g}")
        if self.only_matching and not self.rules:
            raise BadConfig("--only-matching needs rules to match: give --rules PATH")
        if self.max_sleep_s is not None and self.speed is None:
            raise BadConfig("--maxsleep cuts the captured silences that --speed keeps: give --speed too")
        if self.spool is None and (self.spool_max_mib is not None or self.when_full is not None):
            raise BadConfig("--spool-max-mib and --when-full say how a spool is kept: give --spool DIR too")
        if self.spool is None and self.spool_limited:
            raise BadConfig("--spool-limited keeps in the spool what limits refuse: give --spool DIR too")
        if self.spool_max_mib is not None and self.spool_max_mib < LEAST_SPOOL_MIB:
            raise BadConfig(f"--spool-max-mib must be at least {LEAST_SPOOL_MIB}, not {self.spool_max_mib}")
        if self.checkpoint is not None and self.interfaces:
            raise BadConfig("--checkpoint remembers captures: what comes from an interface comes once")
        if self.checkpoint is not None and "-" in self.captures:
            raise BadConfig("--checkpoint cannot know standard input again: give a file")
        ports.table(self.tunnels)
        self.bus.check()
        self.check_bounds()
        self._check_summaries()
        self._check_jobs()
        if self.bus.raw:
            self._check_raw()

    def _check_raw(self) -> None:
        if self.summaries is not None or self.report_events_s is not None:
            raise BadConfig(
                "--raw sends the payload of single datagrams: not with --aggregate, --group or --report-events"
            )
        check_raw(self.shape)

    @property
    def dialect(self) -> Dialect:
        """How rules see what goes to the job's bus."""
        return "v2-raw" if self.bus.raw else "v2" if self.bus.v2 else "classic"

    @property
    def tariff(self) -> quotas.Tariff:
        """What events cost on the job's bus."""
        return quotas.tariff(v2=self.bus.v2, price=self.price)

    def _check_jobs(self) -> None:
        """Refuse to share out what is decided between one datagram and the next."""
        if not 1 <= self.jobs <= MOST_JOBS:
            raise BadConfig(f"--jobs must be from 1 to {MOST_JOBS}, not {self.jobs}")
        if self.jobs == 1:
            return
        if self.interfaces:
            raise BadConfig("--jobs is for captures: what comes from an interface comes in one stream")
        asked = {
            "--count": self.count,
            "--speed": self.speed,
            "--pps": self.pps,
            "--rules": self.rules,
            "--aggregate": self.aggregate_s,
            "--group": self.group,
            "--report-events": self.report_events_s,
            "--checkpoint": self.checkpoint,
            "--max-rate": self.max_rate,
            "--max-rate-per-source": self.max_rate_per_source,
            "--allow": self.allow,
            "--deny": self.deny,
            "--sample": self.sample,
            "--max-events": self.max_events,
            "--max-cost": self.max_cost,
        }
        for option, value in asked.items():
            if value not in (None, ()):
                raise BadConfig(
                    f"--jobs shares the work out, and {option} decides from one datagram to the next: give one"
                )

    def _check_summaries(self) -> None:
        lengths = (
            ("--aggregate", self.aggregate_s, 0.1),
            ("--group-wait", self.group_wait_s, 0.0),
            ("--report-events", self.report_events_s, 1.0),
        )
        for option, value, least in lengths:
            if value is not None and not least <= value <= LONGEST_S:
                raise BadConfig(f"{option} must be from {least:g} to {LONGEST_S:,} seconds, not {value:g}")
        if self.max_flows < 1:
            raise BadConfig(f"--max-flows must be at least 1, not {self.max_flows}")
        if self.group is not None and self.group < 1:
            raise BadConfig(f"--group must be at least 1, not {self.group}")
        if self.aggregate_s is not None and self.group is not None:
            raise BadConfig("--aggregate sums datagrams up and --group keeps each: give one of them")
        if self.summaries is not None and self.shape.name != "full":
            raise BadConfig(f"--shape {self.shape.name} is for one event a datagram: not with --aggregate or --group")
        if self.aggregate_s is not None and (self.shape.text or self.shape.json_payload):
            raise BadConfig("--text and --json-payload add to single datagrams: not with --aggregate")

    @property
    def hold_ns(self) -> int:
        """How long a datagram may wait for others."""
        return int((self.aggregate_s if self.aggregate_s is not None else self.group_wait_s) * SECOND_NS)

    @property
    def summaries(self) -> str | None:
        """`flow` or `batch` where an event stands for many datagrams."""
        return "flow" if self.aggregate_s is not None else "batch" if self.group is not None else None
