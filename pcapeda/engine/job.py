"""One run as plain, picklable data: what to read, what to select, how events look, where they go, and the limits."""

from dataclasses import dataclass, field

from pcapeda.aws import quotas
from pcapeda.aws.bus import Bus
from pcapeda.delivery.spool import WhenFull
from pcapeda.dissect import tunnel_ports
from pcapeda.errors import BadConfig, BadField
from pcapeda.events.enrich import check_enrich
from pcapeda.events.shape import Shape
from pcapeda.limits.limits import Bounds
from pcapeda.options import bounds
from pcapeda.options.table import default
from pcapeda.rules.dialects import Dialect
from pcapeda.units import SECOND_NS

GRACE_S: float = default("grace_s")
"""How long an interrupted run may go on trying to deliver what it has read."""

PATIENCE_S: float = default("patience_s")
"""How long an event is tried before it is given up: longer than most outages, shorter than a person's patience."""

SPOOL_MIB = 1024
"""Most MiB of events that a spool holds unless told otherwise."""


def check_raw(shape: Shape) -> None:
    """Refuse what a raw event has no place for. Raises `BadConfig`."""
    if shape.text or shape.json_payload:
        raise BadField("a raw event has its payload as bytes: not with {shape.text} or {shape.json_payload}")
    if shape.name == "proxylity":
        raise BadConfig("raw events are for the shapes full and minimal: proxylity is a form of JSON")


@dataclass(frozen=True)
class Job(Bounds):
    """One run as plain, picklable data: what to read, what to select, how events look, and the limits.

    Exactly one of `captures` (paths, folders, '-') and `interfaces` is given. Each field bears the name of its
    command-line option; None and empty mean 'not asked for'.
    """

    captures: bounds.Paths = bounds.Paths(bounds.paths, ())
    interfaces: bounds.Texts = bounds.Texts(bounds.texts, ())
    # select
    filter: str | None = None
    count: int | None = None
    ports: bounds.Numbers = bounds.Numbers(bounds.numbers, frozenset())
    decapsulate: bool = False
    tunnels: bounds.NamedPorts = bounds.NamedPorts(bounds.named_ports, ())
    """UDP ports and the names of the tunnels behind them, beside the known ones or in their stead; asking for any asks
    for `decapsulate`."""
    fragment_age_s: float = default("fragment_age_s")
    fragment_mib: int = default("fragment_mib")
    rules: bounds.Paths = bounds.Paths(bounds.paths, ())
    """Where rules are: each event is told which of them it matches."""
    parameters: bounds.Pairs = bounds.Pairs(bounds.pairs, ())
    """Names and values of the parameters of templates among the rules."""
    only_matching: bool = False
    # event
    shape: Shape = field(default_factory=Shape)
    bus: Bus = field(default_factory=Bus)
    aggregate_s: float | None = None
    max_flows: int = default("max_flows")
    group: int | None = None
    group_wait_s: float = default("group_wait_s")
    report_events_s: float | None = None
    # what is not lost
    spool: bounds.Path = bounds.Path(bounds.path, None)
    spool_max_mib: int | None = None
    when_full: WhenFull | None = None
    spool_limited: bool = False
    grace_s: float = GRACE_S
    patience_s: float = PATIENCE_S
    """How long an event is tried, counted from its first try."""
    checkpoint: bounds.Path = bounds.Path(bounds.path, None)
    # replay's clock
    speed: float | None = None
    pps: float | None = None
    max_sleep_s: float | None = None
    loop: int = default("loop")
    jobs: int = default("jobs")
    """Processes that decode and shape, the one that reads among them."""
    # live
    duration_s: float | None = None
    write: bounds.Path = bounds.Path(bounds.path, None)
    buffer_mib: int = default("buffer_mib")

    def __post_init__(self) -> None:
        super().__post_init__()
        bounds.check_declared("Job", self)
        for name, kind in (("shape", Shape), ("bus", Bus)):
            if not isinstance(value := getattr(self, name), kind):
                raise BadField(f"{{{name}}}: %s is no {kind.__name__}", bounds.shown(value))

    def check(self) -> None:
        """Refuse what cannot be honoured, before anything is opened. Raises `BadConfig`."""
        if bool(self.captures) == bool(self.interfaces):
            raise BadField("a run reads either {captures} or {interfaces}: give one of them")
        if self.shape.enrich is not None:
            check_enrich(self.shape.enrich, jobs=self.jobs)
            if self.aggregate_s is not None:
                raise BadField("{shape}.enrich is for single datagrams: an event of {aggregate_s} sums up many")
        if self.loop != 1 and "-" in self.captures:
            raise BadField("{loop} cannot read standard input twice: give a file")
        if self.speed is not None and self.pps is not None:
            raise BadField("{speed} and {pps} are two clocks: give one of them")
        if self.only_matching and not self.rules:
            raise BadField("{only_matching} needs rules to match: give {rules}")
        if self.max_sleep_s is not None and self.speed is None:
            raise BadField("{max_sleep_s} cuts the captured silences that {speed} keeps: give {speed} too")
        self._check_kept()
        if self.tunnels:
            tunnel_ports.table(self.tunnels)
        quotas.check_identity(self.shape.source, self.shape.detail_type, self.shape.resources, self.bus.name)
        self.bus.check()
        self.check_bounds()
        self._check_summaries()
        self._check_jobs()
        if self.bus.raw:
            self._check_raw()

    def _check_kept(self) -> None:
        """Refuse what a spool or a checkpoint cannot keep."""
        if self.spool is None and (self.spool_max_mib is not None or self.when_full is not None):
            raise BadField("{spool_max_mib} and {when_full} say how a spool is kept: give {spool} too")
        if self.spool is None and self.spool_limited:
            raise BadField("{spool_limited} keeps in the spool what limits refuse: give {spool} too")
        if self.checkpoint is not None and self.interfaces:
            raise BadField("{checkpoint} remembers captures: what comes from an interface comes once")
        if self.checkpoint is not None and "-" in self.captures:
            raise BadField("{checkpoint} cannot know standard input again: give a file")

    def _check_raw(self) -> None:
        if self.summaries is not None or self.report_events_s is not None:
            raise BadField(
                "{bus.raw} sends the payload of single datagrams: not with {aggregate_s}, {group} or {report_events_s}"
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
        if self.jobs == 1:
            return
        if self.interfaces:
            raise BadField("{jobs} is for captures: what comes from an interface comes in one stream")
        for name in _ONE_AFTER_ANOTHER:
            if getattr(self, name) not in (None, ()):
                raise BadField(
                    f"{{jobs}} shares the work out, and {{{name}}} decides from one datagram to the next: give one"
                )

    def _check_summaries(self) -> None:
        if self.aggregate_s is not None and self.group is not None:
            raise BadField("{aggregate_s} sums datagrams up and {group} keeps each: give one of them")
        if self.summaries is not None and self.shape.name != "full":
            raise BadField("{shape} %s is for one event a datagram: not with {aggregate_s} or {group}", self.shape.name)
        if self.aggregate_s is not None and (self.shape.text or self.shape.json_payload):
            raise BadField("{shape.text} and {shape.json_payload} add to single datagrams: not with {aggregate_s}")

    @property
    def hold_ns(self) -> int:
        """How long a datagram may wait for others."""
        return int((self.aggregate_s if self.aggregate_s is not None else self.group_wait_s) * SECOND_NS)

    @property
    def summaries(self) -> str | None:
        """`flow` or `batch` where an event stands for many datagrams."""
        return "flow" if self.aggregate_s is not None else "batch" if self.group is not None else None


_ONE_AFTER_ANOTHER = (
    *("count", "speed", "pps", "rules", "aggregate_s", "group", "report_events_s", "checkpoint", "max_rate"),
    *("max_rate_per_source", "allow", "deny", "sample", "max_events", "max_cost"),
)
"""What decides from one datagram to the next, and so cannot be shared out."""
