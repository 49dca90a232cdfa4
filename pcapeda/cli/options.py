"""The options that replay and sniff share: each is named here once, with its help and its panel."""

import inspect
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import typer

from pcapeda import bounds
from pcapeda.events.shapes import SHAPES

Command = TypeVar("Command", bound=Callable[..., None])

SELECT, RULES, EVENT, AWS, SAFETY, OUTPUT = "Select", "Rules", "Event", "AWS", "Safety", "Output"

PANELS = (SELECT, "", RULES, EVENT, AWS, SAFETY, OUTPUT)
"""The order of the panels in `--help`; a command's own have the empty place."""


class Output(StrEnum):
    """How events are printed by a dry run."""

    PRETTY = "pretty"
    JSONL = "jsonl"
    ENTRIES = "entries"


class Log(StrEnum):
    """How a command talks on stderr."""

    TEXT = "text"
    JSON = "json"


class WhenFull(StrEnum):
    """What gives way when a spool is full."""

    BLOCK = "block"
    DROP_OLDEST = "drop-oldest"
    DROP_NEWEST = "drop-newest"


class Transport(StrEnum):
    """Who makes the requests to the bus."""

    FAST = "fast"
    BOTO3 = "boto3"


class ShapeName(StrEnum):
    """What an event's detail looks like."""

    FULL = "full"
    vars().update({name.upper(): name for name in SHAPES if name != "full"})


class Time(StrEnum):
    """Which time an event bears."""

    CAPTURE = "capture"
    NOW = "now"


def number(field: str, *names: str, panel: str, **named: Any) -> Any:
    """An option for a number, within the bounds that the library has for that field."""
    least, most = bounds.RANGES[field].least, bounds.RANGES[field].most
    names = names or (f"--{bounds.option(field)}",)
    return typer.Option(*names, min=least, max=most, rich_help_panel=panel, **named)


FilterOption = Annotated[
    str | None,
    typer.Option(
        "-f",
        "--filter",
        metavar="BPF",
        help="Only packets this pcap filter selects. (A port in it loses fragments: see --port.)",
        rich_help_panel=SELECT,
    ),
]
CountOption = Annotated[
    int | None,
    number("count", "-c", "--count", metavar="N", help="Stop after N datagrams.", panel=SELECT),
]
PortOption = Annotated[
    list[int] | None,
    number(
        "ports",
        metavar="N",
        help="Only datagrams from or to this UDP port. Repeatable.",
        panel=SELECT,
    ),
]
DecapsulateOption = Annotated[
    bool,
    typer.Option(
        "--decapsulate",
        help="Take the innermost UDP out of tunnels (VPC Traffic Mirroring, Gateway Load Balancer, GTP-U, …).",
        rich_help_panel=SELECT,
    ),
]
TunnelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tunnel",
        metavar="PORT=NAME",
        help="What this UDP port carries (8473=vxlan, 7932=hp-erm, …), over what is usual; implies --decapsulate. "
        "Repeatable.",
        rich_help_panel=SELECT,
    ),
]
FragmentAgeOption = Annotated[
    float,
    number(
        "fragment_age_s",
        metavar="S",
        help="Give up IP fragments whose datagram is not whole after S seconds of capture time.",
        panel=SELECT,
    ),
]
FragmentMibOption = Annotated[
    int,
    number(
        "fragment_mib",
        metavar="N",
        help="Memory for IP fragments that wait for others; the oldest give way.",
        panel=SELECT,
    ),
]
SourceOption = Annotated[
    str | None,
    typer.Option("--source", help="The event's source. (default: udp.raw)", rich_help_panel=EVENT),
]
DetailTypeOption = Annotated[
    str | None,
    typer.Option(
        "--detail-type",
        help="The event's detail-type. (default: by its kind: UdpPacket, UdpFlow, …)",
        rich_help_panel=EVENT,
    ),
]
ResourceOption = Annotated[
    list[str] | None,
    typer.Option("--resource", metavar="ARN", help="Put this ARN into resources. Repeatable.", rich_help_panel=EVENT),
]
ShapeOption = Annotated[
    ShapeName,
    typer.Option("--shape", help="What detail holds; `pcapeda schema` describes each shape.", rich_help_panel=EVENT),
]
AggregateOption = Annotated[
    float | None,
    number(
        "aggregate_s",
        metavar="S",
        help="Every S seconds one UdpFlow event per source, destination and port, instead of packets.",
        panel=EVENT,
    ),
]
MaxFlowsOption = Annotated[
    int,
    number(
        "max_flows",
        metavar="N",
        help="How many flows --aggregate keeps apart; the rest is summed up.",
        panel=EVENT,
    ),
]
GroupOption = Annotated[
    int | None,
    number(
        "group",
        metavar="N",
        help="Up to N datagrams to one address and port in one UdpPacketBatch event.",
        panel=EVENT,
    ),
]
GroupWaitOption = Annotated[
    float,
    number("group_wait_s", metavar="S", help="How long --group waits for more.", panel=EVENT),
]
ReportEventsOption = Annotated[
    float | None,
    number(
        "report_events_s",
        metavar="S",
        help="Every S seconds a UdpReport event: rates, refusals, drops, top sources.",
        panel=EVENT,
    ),
]
TextOption = Annotated[
    bool,
    typer.Option("--text", help="Add the payload as Text where it is printable UTF-8.", rich_help_panel=EVENT),
]
TextEncodingOption = Annotated[
    str | None,
    typer.Option(
        "--text-encoding",
        metavar="NAME",
        help="Add Text in this encoding instead (latin-1, cp1252, shift_jis, …).",
        rich_help_panel=EVENT,
    ),
]
JsonPayloadOption = Annotated[
    bool,
    typer.Option("--json-payload", help="Add the payload as Json where it is a JSON object.", rich_help_panel=EVENT),
]
TimeOption = Annotated[
    Time,
    typer.Option("--time", help="The event's time: when it was captured, or when it is sent.", rich_help_panel=EVENT),
]
BusOption = Annotated[
    str | None,
    typer.Option(
        "--bus", metavar="NAME|ARN", help="The event bus. (default: the account's default bus)", rich_help_panel=AWS
    ),
]
RegionOption = Annotated[str | None, typer.Option("--region", help="The AWS Region.", rich_help_panel=AWS)]
ProfileOption = Annotated[
    str | None, typer.Option("--profile", help="A profile of the AWS configuration.", rich_help_panel=AWS)
]
EndpointUrlOption = Annotated[
    str | None,
    typer.Option("--endpoint-url", metavar="URL", help="Another EventBridge endpoint.", rich_help_panel=AWS),
]
MaxRequestBytesOption = Annotated[
    int,
    number(
        "max_request_bytes",
        metavar="N",
        help="Most bytes of entries in one request; emulators may take only 262144.",
        panel=AWS,
    ),
]
TransportOption = Annotated[
    Transport,
    typer.Option(
        "--transport",
        help="Who makes the requests: pcapeda itself, or boto3 (plainer, slower; always on EventBridge v2).",
        rich_help_panel=AWS,
    ),
]
OrderedOption = Annotated[
    bool,
    typer.Option(
        "--ordered", help="On an EventBridge v2 bus: FIFO subscribers get each flow in order.", rich_help_panel=AWS
    ),
]
GroupsOption = Annotated[
    int | None,
    number(
        "groups",
        metavar="N",
        help="Event groups that --ordered hashes flows into. (default: 64)",
        panel=AWS,
    ),
]
RawOption = Annotated[
    bool,
    typer.Option(
        "--raw", help="On an EventBridge v2 bus: the payload as bytes, the rest as metadata.", rich_help_panel=AWS
    ),
]
MaxRateOption = Annotated[
    float | None,
    number(
        "max_rate",
        metavar="N",
        help="At most N events a second (0: no limit). Replay waits, sniff refuses and counts.",
        panel=SAFETY,
    ),
]
BurstOption = Annotated[
    int | None,
    number("burst", metavar="N", help="How many events --max-rate lets through at once.", panel=SAFETY),
]
MaxRatePerSourceOption = Annotated[
    float | None,
    number(
        "max_rate_per_source",
        metavar="N",
        help="At most N events a second of one source address, IPv6 by /64 (0: no limit). Refuses and counts.",
        panel=SAFETY,
    ),
]
AllowOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow", metavar="CIDR", help="Only datagrams from this network. Repeatable.", rich_help_panel=SAFETY
    ),
]
DenyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--deny",
        metavar="CIDR",
        help="No datagrams from this network, even if allowed. Repeatable.",
        rich_help_panel=SAFETY,
    ),
]
SampleOption = Annotated[
    str | None,
    typer.Option(
        "--sample",
        metavar="1/N",
        help="Keep one flow of N, both directions, the same ones in every run.",
        rich_help_panel=SAFETY,
    ),
]
MaxEventsOption = Annotated[
    int | None,
    number("max_events", metavar="N", help="Stop before event N + 1.", panel=SAFETY),
]
MaxCostOption = Annotated[
    float | None,
    number(
        "max_cost",
        metavar="USD",
        help="Stop before the published price of what was sent exceeds this.",
        panel=SAFETY,
    ),
]
PriceOption = Annotated[
    float | None,
    number(
        "price",
        metavar="USD",
        help="What a million events cost in your Region (default: 1.00); on an EventBridge v2 bus, a million KB "
        "(default: not known).",
        panel=SAFETY,
    ),
]
SpoolOption = Annotated[
    str | None,
    typer.Option(
        "--spool",
        metavar="DIR",
        help="Keep on disk what cannot be delivered; `pcapeda resend DIR` delivers it.",
        rich_help_panel=SAFETY,
    ),
]
SpoolMaxMibOption = Annotated[
    int | None,
    number(
        "spool_max_mib",
        metavar="N",
        help="Most MiB of events in the spool. (default: 1024)",
        panel=SAFETY,
    ),
]
WhenFullOption = Annotated[
    WhenFull | None,
    typer.Option(
        "--when-full",
        help="What gives way when the spool is full: the reading, or events. (default: block)",
        rich_help_panel=SAFETY,
    ),
]
SpoolLimitedOption = Annotated[
    bool,
    typer.Option(
        "--spool-limited",
        help="Keep in the spool what limits refuse, too; only `pcapeda resend DIR --limited` delivers it.",
        rich_help_panel=SAFETY,
    ),
]
GraceOption = Annotated[
    float,
    number(
        "grace_s",
        metavar="S",
        help="After Ctrl-C or SIGTERM, go on delivering what was read for S seconds at most.",
        panel=SAFETY,
    ),
]
PatienceOption = Annotated[
    float,
    number(
        "patience_s",
        metavar="S",
        help="Give an event up when it could not be delivered for S seconds: to the spool if there is one.",
        panel=SAFETY,
    ),
]
RulesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--rules",
        metavar="PATH",
        help="Rules: patterns, put-rule or describe-rule JSON, CloudFormation, SAM, CDK, Terraform JSON, Serverless; "
        "files, folders, or aws:BUS. Repeatable.",
        rich_help_panel=RULES,
    ),
]
ParameterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--parameter",
        metavar="K=V|@FILE",
        help="Value of a template's parameter, import (import:NAME) or SSM path (ssm:/PATH); or a file of values.",
        rich_help_panel=RULES,
    ),
]
OnlyMatchingOption = Annotated[
    bool,
    typer.Option(
        "--only-matching", help="Only emit events that some rule of --rules would match.", rich_help_panel=RULES
    ),
]
DryRunOption = Annotated[
    bool,
    typer.Option("-n", "--dry-run", help="Print the events; send nothing, need no account.", rich_help_panel=OUTPUT),
]
OutputOption = Annotated[
    Output | None,
    typer.Option(
        "-o",
        "--output",
        help="How a dry run prints. (default: pretty on a terminal, else jsonl)",
        rich_help_panel=OUTPUT,
        show_choices=True,
    ),
]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no summary.", rich_help_panel=OUTPUT)]
VerboseOption = Annotated[bool, typer.Option("-v", "--verbose", help="Show whole payloads.", rich_help_panel=OUTPUT)]

LogOption = Annotated[
    Log,
    typer.Option("--log", help="How to talk on stderr: sentences, or JSON lines.", rich_help_panel=OUTPUT),
]
MetricsOption = Annotated[
    str | None,
    typer.Option(
        "--metrics",
        metavar="[HOST]:PORT",
        help="Serve counts for Prometheus there; without HOST on 127.0.0.1 alone (every address: 0.0.0.0:PORT).",
        rich_help_panel=OUTPUT,
    ),
]


class Shared:
    """What replay and sniff both take: option and default. A member's name is that of the flag."""

    filter: FilterOption = None
    count: CountOption = None
    port: PortOption = None
    decapsulate: DecapsulateOption = False
    tunnel: TunnelOption = None
    fragment_age: FragmentAgeOption = 30.0
    fragment_mib: FragmentMibOption = 64
    rules: RulesOption = None
    parameter: ParameterOption = None
    only_matching: OnlyMatchingOption = False
    source: SourceOption = None
    detail_type: DetailTypeOption = None
    resource: ResourceOption = None
    shape: ShapeOption = ShapeName.FULL
    aggregate: AggregateOption = None
    max_flows: MaxFlowsOption = 1000
    group: GroupOption = None
    group_wait: GroupWaitOption = 1.0
    report_events: ReportEventsOption = None
    text: TextOption = False
    text_encoding: TextEncodingOption = None
    json_payload: JsonPayloadOption = False
    time: TimeOption = Time.CAPTURE
    bus: BusOption = None
    region: RegionOption = None
    profile: ProfileOption = None
    endpoint_url: EndpointUrlOption = None
    max_request_bytes: MaxRequestBytesOption = 1_000_000
    transport: TransportOption = Transport.FAST
    ordered: OrderedOption = False
    groups: GroupsOption = None
    raw: RawOption = False
    max_rate: MaxRateOption = None
    burst: BurstOption = None
    max_rate_per_source: MaxRatePerSourceOption = None
    allow: AllowOption = None
    deny: DenyOption = None
    sample: SampleOption = None
    max_events: MaxEventsOption = None
    max_cost: MaxCostOption = None
    price: PriceOption = None
    spool: SpoolOption = None
    spool_max_mib: SpoolMaxMibOption = None
    when_full: WhenFullOption = None
    spool_limited: SpoolLimitedOption = False
    grace: GraceOption = 10.0
    patience: PatienceOption = 300.0
    dry_run: DryRunOption = False
    output: OutputOption = None
    quiet: QuietOption = False
    verbose: VerboseOption = False
    log: LogOption = Log.TEXT
    metrics: MetricsOption = None


def with_shared(command: Command) -> Command:
    """Give a command that takes `**given` the options of `Shared`: typer reads what a function takes off its signature.

    In `--help` what the command must have comes first; panels of its own follow the one about selecting.
    """
    own = [one for one in inspect.signature(command).parameters.values() if one.kind is not one.VAR_KEYWORD]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=getattr(Shared, name), annotation=annotation)
        for name, annotation in Shared.__annotations__.items()
    ]
    first = [one for one in own if one.default is one.empty]
    later = [one.replace(kind=one.KEYWORD_ONLY) for one in own if one not in first]
    parameters = [*first, *sorted([*shared, *later], key=_panel_order)]
    described: Any = command
    described.__signature__ = inspect.Signature(parameters, return_annotation=None)
    described.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def _panel_order(parameter: inspect.Parameter) -> int:
    panel = parameter.annotation.__metadata__[0].rich_help_panel
    return PANELS.index(panel) if panel in PANELS else PANELS.index(SELECT) + 1
