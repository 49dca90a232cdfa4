"""Every option of a run, in the order of `--help`. A new one is a row here, and a field where its value is used."""

from enum import StrEnum
from typing import Any, Final

from pcapeda.options import Option, Range

SELECT, RULES, EVENT, AWS, SAFETY, OUTPUT = "Select", "Rules", "Event", "AWS", "Safety", "Output"
CLOCK, LIVE = "Clock and speed", "Live"

PANELS: Final = (SELECT, CLOCK, LIVE, RULES, EVENT, AWS, SAFETY, OUTPUT)
"""The order of the panels in `--help`."""

BOTH, REPLAY, SNIFF = ("replay", "sniff"), ("replay",), ("sniff",)
ALL = (*BOTH, "resend")

DAY_S: Final = 86_400
MANY: Final = 10**15
"""More than can be counted in a lifetime."""


class ShapeName(StrEnum):
    """What an event's detail looks like."""

    FULL = "full"
    MINIMAL = "minimal"
    PROXYLITY = "proxylity"


class Time(StrEnum):
    """Which time an event bears."""

    CAPTURE = "capture"
    NOW = "now"


class Transport(StrEnum):
    """Who makes the requests to the bus."""

    FAST = "fast"
    BOTO3 = "boto3"


class WhenFull(StrEnum):
    """What gives way when a spool is full."""

    BLOCK = "block"
    DROP_OLDEST = "drop-oldest"
    DROP_NEWEST = "drop-newest"


class Output(StrEnum):
    """How events are printed by a dry run."""

    PRETTY = "pretty"
    JSONL = "jsonl"
    ENTRIES = "entries"


class Log(StrEnum):
    """How a command talks on stderr."""

    TEXT = "text"
    JSON = "json"


def _option(field: str, names: str, kind: type, panel: str, text: str, default: Any = None, **more: Any) -> Option:
    return Option(field, tuple(names.split()), kind, panel, text, default, **{"commands": BOTH} | more)


def _whole(
    field: str, names: str, least: int, most: int, panel: str, text: str, default: int | None = None, **more: Any
) -> Option:
    more = {"metavar": "N", "bounds": Range(True, least, most)} | more
    return _option(field, names, int, panel, text, default, **more)


def _number(
    field: str, names: str, least: float, most: float, panel: str, text: str, default: float | None = None, **more: Any
) -> Option:
    more = {"metavar": "S", "bounds": Range(False, least, most)} | more
    return _option(field, names, float, panel, text, default, **more)


def _flag(field: str, names: str, panel: str, text: str, **more: Any) -> Option:
    return _option(field, names, bool, panel, text, False, **more)


OPTIONS: Final[tuple[Option, ...]] = (
    _option(
        *("filter", "-f --filter", str, SELECT),
        "Only packets this pcap filter selects. (A port in it loses fragments: see --port.)",
        metavar="BPF",
        suite="filter",
        suite_help="Only packets this pcap filter selects.",
    ),
    _whole("count", "-c --count", 1, MANY, SELECT, "Stop after N datagrams."),
    _whole(
        *("ports", "--port", 0, 65535, SELECT),
        "Only datagrams from or to this UDP port. Repeatable.",
        several=True,
        suite="ports",
        suite_help="Only datagrams from or to these ports.",
    ),
    _flag(
        *("decapsulate", "--decapsulate", SELECT),
        "Take the innermost UDP out of tunnels (VPC Traffic Mirroring, Gateway Load Balancer, GTP-U, …).",
        suite="decapsulate",
        suite_help="Take the innermost UDP out of tunnels.",
    ),
    _option(
        *("tunnels", "--tunnel", str, SELECT),
        "What this UDP port carries (8473=vxlan, 7932=hp-erm, …), over what is usual; implies --decapsulate. "
        "Repeatable.",
        metavar="PORT=NAME",
        several=True,
        suite="tunnels",
        suite_help="What UDP ports carry, such as 8473=vxlan, over what is usual; implies decapsulate.",
    ),
    _number(
        *("fragment_age_s", "--fragment-age", 0, DAY_S, SELECT),
        "Give up IP fragments whose datagram is not whole after S seconds of capture time.",
        30.0,
    ),
    _whole(
        *("fragment_mib", "--fragment-mib", 1, 65536, SELECT),
        "Memory for IP fragments that wait for others; the oldest give way.",
        64,
    ),
    # a replay's clock
    _number(
        *("speed", "-x --speed", 1e-6, 1e9, CLOCK),
        "Keep the captured gaps, F times as fast.",
        metavar="F",
        commands=REPLAY,
    ),
    _number("pps", "--pps", 1e-6, 1e9, CLOCK, "Emit N datagrams a second, evenly.", metavar="N", commands=REPLAY),
    _number(
        *("max_sleep_s", "--maxsleep", 0, 366 * DAY_S, CLOCK),
        "With --speed: no silence over S seconds.",
        commands=REPLAY,
    ),
    _whole("loop", "-l --loop", 0, MANY, CLOCK, "Replay N times (0: for ever).", 1, commands=REPLAY),
    _whole(
        *("jobs", "-j --jobs", 1, 64, CLOCK),
        "Processes that decode, for several captures or one large one; the events stay the same.",
        1,
        commands=REPLAY,
    ),
    # live
    _option(
        *("interfaces", "-i --interface", str, LIVE),
        "Where to listen; 'any' is all. Repeatable.",
        metavar="IFACE",
        several=True,
        required=True,
        commands=SNIFF,
    ),
    _number("duration_s", "--duration", 0, 36_525 * DAY_S, LIVE, "Stop after S seconds.", commands=SNIFF),
    _option("write", "-w --write", str, LIVE, "Keep the frames in a pcapng file.", metavar="FILE", commands=SNIFF),
    _whole("buffer_mib", "--buffer-mib", 1, 2047, LIVE, "Kernel receive buffer in MiB.", 128, commands=SNIFF),
    _option(
        *("", "--drop-privileges", str, LIVE),
        "Become this user for good once the sockets are open.",
        metavar="USER[:GROUP]",
        commands=SNIFF,
    ),
    # rules
    _option(
        *("rules", "--rules", str, RULES),
        "Rules: patterns, put-rule or describe-rule JSON, CloudFormation, SAM, CDK, Terraform JSON, Serverless; "
        "files, folders, or aws:BUS. Repeatable.",
        metavar="PATH",
        several=True,
    ),
    _option(
        *("parameters", "--parameter", str, RULES),
        "Value of a template's parameter, import (import:NAME) or SSM path (ssm:/PATH); or a file of values.",
        metavar="K=V|@FILE",
        several=True,
    ),
    _flag("only_matching", "--only-matching", RULES, "Only emit events that some rule of --rules would match."),
    # event
    _option("shape.source", "--source", str, EVENT, "The event's source. (default: udp.raw)", suite="event.source"),
    _option(
        *("shape.detail_type", "--detail-type", str, EVENT),
        "The event's detail-type. (default: by its kind: UdpPacket, UdpFlow, …)",
        suite="event.detail-type",
    ),
    _option(
        *("shape.resources", "--resource", str, EVENT),
        "Put this ARN into resources. Repeatable.",
        metavar="ARN",
        several=True,
        suite="event.resources",
        suite_help="ARNs in resources.",
    ),
    _option(
        *("shape.name", "--shape", ShapeName, EVENT),
        "What detail holds; `pcapeda schema` describes each shape.",
        ShapeName.FULL,
        suite="event.shape",
    ),
    _number(
        *("aggregate_s", "--aggregate", 0.1, DAY_S, EVENT),
        "Every S seconds one UdpFlow event per source, destination and port, instead of packets.",
        suite="event.aggregate",
        suite_help="One UdpFlow event per source, destination and port and so many seconds, instead of packets.",
    ),
    _whole(
        *("max_flows", "--max-flows", 1, 1_000_000, EVENT),
        "How many flows --aggregate keeps apart; the rest is summed up.",
        1000,
        suite="event.max-flows",
        suite_help="How many flows of a window are kept apart.",
    ),
    _whole(
        *("group", "--group", 1, 1_000_000, EVENT),
        "Up to N datagrams to one address and port in one UdpPacketBatch event.",
        suite="event.group",
        suite_help="Up to so many datagrams to one address and port in one UdpPacketBatch event.",
    ),
    _number(
        *("group_wait_s", "--group-wait", 0, DAY_S, EVENT),
        "How long --group waits for more.",
        1.0,
        suite="event.group-wait",
        suite_help="How many seconds a group waits for more.",
    ),
    _number(
        *("report_events_s", "--report-events", 1, DAY_S, EVENT),
        "Every S seconds a UdpReport event: rates, refusals, drops, top sources.",
    ),
    _flag(
        *("shape.text", "--text", EVENT),
        "Add the payload as Text where it is printable UTF-8.",
        suite="event.text",
        suite_help="Add Text.",
    ),
    _option(
        *("shape.text_encoding", "--text-encoding", str, EVENT),
        "Add Text in this encoding instead (latin-1, cp1252, shift_jis, …).",
        metavar="NAME",
        suite="event.text-encoding",
        suite_help="Add Text in this encoding instead (latin-1, cp1252, shift_jis, …).",
    ),
    _flag(
        *("shape.json_payload", "--json-payload", EVENT),
        "Add the payload as Json where it is a JSON object.",
        suite="event.json-payload",
        suite_help="Add Json.",
    ),
    _option(
        *("shape.time", "--time", Time, EVENT),
        "The event's time: when it was captured, or when it is sent.",
        Time.CAPTURE,
    ),
    # AWS
    _option(
        *("bus.name", "--bus", str, AWS),
        "The event bus. (default: the account's default bus)",
        metavar="NAME|ARN",
        commands=ALL,
    ),
    _option("bus.region", "--region", str, AWS, "The AWS Region.", commands=ALL),
    _option("bus.profile", "--profile", str, AWS, "A profile of the AWS configuration.", commands=ALL),
    _option(
        "bus.endpoint_url", "--endpoint-url", str, AWS, "Another EventBridge endpoint.", metavar="URL", commands=ALL
    ),
    _whole(
        *("bus.max_request_bytes", "--max-request-bytes", 1000, 1_000_000, AWS),
        "Most bytes of entries in one request; emulators may take only 262144.",
        1_000_000,
        commands=ALL,
    ),
    _option(
        *("bus.transport", "--transport", Transport, AWS),
        "Who makes the requests: pcapeda itself, or boto3 (plainer, slower; always on EventBridge v2).",
        Transport.FAST,
        commands=ALL,
    ),
    _flag("", "--ordered", AWS, "On an EventBridge v2 bus: FIFO subscribers get each flow in order."),
    _whole(*("bus.groups", "--groups", 1, 10_000, AWS), "Event groups that --ordered hashes flows into. (default: 64)"),
    _flag(
        "bus.raw", "--raw", AWS, "On an EventBridge v2 bus: the payload as bytes, the rest as metadata.", commands=ALL
    ),
    # safety
    _number(
        *("max_rate", "--max-rate", 0, 1e9, SAFETY),
        "At most N events a second (0: no limit). Replay waits, sniff refuses and counts.",
        metavar="N",
    ),
    _whole("burst", "--burst", 1, 10**9, SAFETY, "How many events --max-rate lets through at once."),
    _number(
        *("max_rate_per_source", "--max-rate-per-source", 0, 1e9, SAFETY),
        "At most N events a second of one source address, IPv6 by /64 (0: no limit). Refuses and counts.",
        metavar="N",
    ),
    _option(
        *("allow", "--allow", str, SAFETY),
        "Only datagrams from this network. Repeatable.",
        metavar="CIDR",
        several=True,
    ),
    _option(
        *("deny", "--deny", str, SAFETY),
        "No datagrams from this network, even if allowed. Repeatable.",
        metavar="CIDR",
        several=True,
    ),
    _option(
        *("sample", "--sample", str, SAFETY),
        "Keep one flow of N, both directions, the same ones in every run.",
        metavar="1/N",
        bounds=Range(True, 1, 999_999_999),
    ),
    _whole("max_events", "--max-events", 0, MANY, SAFETY, "Stop before event N + 1."),
    _number(
        *("max_cost", "--max-cost", 0, 1e9, SAFETY),
        "Stop before the published price of what was sent exceeds this.",
        metavar="USD",
    ),
    _number(
        *("price", "--price", 1e-9, 1e9, SAFETY),
        "What a million events cost in your Region (default: 1.00); on an EventBridge v2 bus, a million KB "
        "(default: not known).",
        metavar="USD",
        commands=ALL,
    ),
    _option(
        *("spool", "--spool", str, SAFETY),
        "Keep on disk what cannot be delivered; `pcapeda resend DIR` delivers it.",
        metavar="DIR",
    ),
    _whole(
        *("spool_max_mib", "--spool-max-mib", 8, 1 << 30, SAFETY), "Most MiB of events in the spool. (default: 1024)"
    ),
    _option(
        *("when_full", "--when-full", WhenFull, SAFETY),
        "What gives way when the spool is full: the reading, or events. (default: block)",
    ),
    _flag(
        *("spool_limited", "--spool-limited", SAFETY),
        "Keep in the spool what limits refuse, too; only `pcapeda resend DIR --limited` delivers it.",
    ),
    _number(
        *("grace_s", "--grace", 0, DAY_S, SAFETY),
        "After Ctrl-C or SIGTERM, go on delivering what was read for S seconds at most.",
        10.0,
        commands=ALL,
    ),
    _number(
        *("patience_s", "--patience", 0, DAY_S, SAFETY),
        "Give an event up when it could not be delivered for S seconds: to the spool if there is one.",
        300.0,
        commands=ALL,
    ),
    _option(
        *("checkpoint", "--checkpoint", str, SAFETY),
        "Remember there what has been delivered, and go on from it.",
        metavar="FILE",
        commands=REPLAY,
    ),
    # output
    _flag("", "-n --dry-run", OUTPUT, "Print the events; send nothing, need no account."),
    _option(*("", "-o --output", Output, OUTPUT), "How a dry run prints. (default: pretty on a terminal, else jsonl)"),
    _flag("", "-q --quiet", OUTPUT, "No progress and no summary.", commands=ALL),
    _flag("", "-v --verbose", OUTPUT, "Show whole payloads."),
    _option("", "--log", Log, OUTPUT, "How to talk on stderr: sentences, or JSON lines.", Log.TEXT, commands=ALL),
    _option(
        *("", "--metrics", str, OUTPUT),
        "Serve counts for Prometheus there; without HOST on 127.0.0.1 alone (every address: 0.0.0.0:PORT).",
        metavar="[HOST]:PORT",
    ),
)


def of_command(command: str) -> list[Option]:
    """The options of a command that runs a job, in the order of its page: by panels, what it must have first."""
    found = [one for one in OPTIONS if command in one.commands]
    return sorted(found, key=lambda one: (not one.required, PANELS.index(one.panel)))


def of_owner(owner: str) -> list[Option]:
    """The options that set fields of a part of a job: `bus` or `shape`; of the job itself where that is empty."""
    return [one for one in OPTIONS if one.field and one.owner == owner]


def named(name: str) -> Option:
    """The option of a parameter, as in `max_rate`."""
    return next(one for one in OPTIONS if one.parameter == name)


def default(field: str) -> Any:
    """The default of a field, as in `fragment_age_s` or `bus.raw`."""
    return next(one.default for one in OPTIONS if one.field == field)
