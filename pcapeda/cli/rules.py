"""`pcapeda rules`: which rule matches which datagram, and why not, with no AWS account in reach."""

import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pcapeda.cli import options
from pcapeda.cli.interfaces import Format
from pcapeda.cli.junit import junit, kept_for_junit
from pcapeda.cli.options import RULES, ParameterOption, RulesOption
from pcapeda.cli.page import Application
from pcapeda.cli.running import fields_of, parameters_of, stopped_by_signals
from pcapeda.cli.schema import EventKind
from pcapeda.errors import BadConfig, ExitStatus, PcapedaError
from pcapeda.safety.visible import json_of, visible

if TYPE_CHECKING:
    from pcapeda.rules.dialects import Dialect
    from pcapeda.rules.sources.load import Loaded
    from pcapeda.ruletest.suite import Result, Suite

app = Application(help="Test event rules offline: which rule matches which packet, and why not.")


@app.callback()
def rules_alone(context: typer.Context) -> None:
    """Test event rules offline: which rule matches which packet, and why not."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help().rstrip())


RulesBusOption = Annotated[
    str | None,
    typer.Option(
        "--bus",
        metavar="NAME|ARN",
        help="The bus events are put on (by default the one that all rules are on, else the default bus).",
        rich_help_panel=RULES,
    ),
]
AccountOption = Annotated[
    str | None, typer.Option("--account", metavar="ID", help="AWS account in the events.", rich_help_panel=RULES)
]


class DialectName(StrEnum):
    """What the patterns of rules are."""

    CLASSIC = "classic"
    V2 = "v2"
    V2_RAW = "v2-raw"


DialectOption = Annotated[
    DialectName,
    typer.Option(
        "--dialect",
        help="Rules on a classic bus, or filters of subscribers on an EventBridge v2 bus, for events or raw events.",
        rich_help_panel=RULES,
    ),
]


class Findings(StrEnum):
    """How the findings are printed."""

    PRETTY = "pretty"
    JSON = "json"
    JUNIT = "junit"


@app.command("test")
@options.with_named(
    *("region", "profile", "endpoint_url", "filter", "port", "decapsulate", "tunnel", "shape", "source", "detail_type"),
    *("text", "text_encoding", "json_payload", "aggregate", "max_flows", "group", "group_wait"),
)
def try_rules(
    captures: Annotated[
        list[str],
        typer.Argument(metavar="CAPTURE|SUITE...", help="Captures, folders of them, or *.pcapeda.yaml suite files."),
    ],
    rules: RulesOption = None,
    parameter: ParameterOption = None,
    expect: Annotated[
        str | None,
        typer.Option("--expect", metavar="FILE", help="What should come out (YAML or JSON).", rich_help_panel=RULES),
    ] = None,
    show: Annotated[
        int,
        typer.Option("--show", metavar="N", min=0, help="Show N sample events of each rule.", rich_help_panel=RULES),
    ] = 0,
    targets: Annotated[
        bool,
        typer.Option("--targets", help="Show what each target receives of the samples.", rich_help_panel=RULES),
    ] = False,
    bus: RulesBusOption = None,
    dialect: DialectOption = DialectName.CLASSIC,
    account: AccountOption = None,
    output: Annotated[
        Findings, typer.Option("-o", "--output", help="For people, for programs, or for a CI's test report.")
    ] = Findings.PRETTY,
    **given: Any,
) -> None:
    """Say which rule matches which datagram of captures, and what falls through."""
    from pcapeda.ruletest.suite import run_suite, with_folders
    from pcapeda.ui.terminal import stopped_at_once

    if not rules:
        captures = with_folders(captures)
    broken: dict[str, PcapedaError] = {}
    suites, plain = _suites(captures, broken, output)
    if suites and (plain or rules or expect):
        raise BadConfig("a suite names its own captures, rules and expectations: give suites, or captures with --rules")
    if suites and dialect is not DialectName.CLASSIC:
        raise BadConfig("a suite names its own dialect", hint=f"dialect: {dialect.value} in the suite file")
    if not suites and not broken:
        own = {"bus": bus, "dialect": dialect.value} | ({"account": account} if account else {})
        suites = [_suite_asked_for(plain, rules, parameter, expect, own, given)]
    place = (given["region"], given["profile"], given["endpoint_url"])
    wanted = max(show, 1 if targets else 0)
    results = []
    with stopped_by_signals(stopped_at_once) as stop:
        for one in suites:
            with kept_for_junit(broken, one.name, output is Findings.JUNIT):
                loaded = load_rules(list(one.rules), one.parameters, *place, one.dialect, one)
                tell_bus(loaded, one.bus)
                results.append(run_suite(one, show=wanted, loaded=loaded, stop=stop))
    _show_results(results, broken, output, show, targets)
    raise typer.Exit(max([*(result.status() for result in results), *(error.status for error in broken.values())]))


def _suites(
    captures: list[str], broken: dict[str, PcapedaError], output: Findings
) -> "tuple[list[Suite], tuple[str, ...]]":
    """The suites among the captures, and the captures alone."""
    from pcapeda.ruletest.suite import is_suite, read_suite

    suites = []
    for path in [one for one in captures if is_suite(one)]:
        with kept_for_junit(broken, path, output is Findings.JUNIT):
            suites.append(read_suite(path))
    return suites, tuple(path for path in captures if not is_suite(path))


def _suite_asked_for(
    captures: tuple[str, ...],
    rules: list[str] | None,
    parameter: list[str] | None,
    expect: str | None,
    own: Mapping[str, Any],
    given: Mapping[str, Any],
) -> "Suite":
    """What the command line asks for, as a suite."""
    from pcapeda.aws.quotas import check_identity
    from pcapeda.events.shape import Shape
    from pcapeda.model import REGION
    from pcapeda.ruletest.suite import Suite, with_expectations

    if not rules:
        raise BadConfig("no rules to test", hint="give --rules PATH, or a suite file *.pcapeda.yaml")
    check_identity(given["source"], given["detail_type"], (), None)
    suite = Suite(
        name="rules",
        captures=captures,
        rules=tuple(rules),
        parameters=parameters_of(parameter),
        region=given["region"] or REGION,
        shape=Shape(**fields_of("shape", given)),
        **fields_of("", given),
        **own,
    )
    return with_expectations(suite, expect) if expect else suite


def _show_results(
    results: "list[Result]", broken: dict[str, PcapedaError], output: Findings, show: int, targets: bool
) -> None:
    if output is Findings.JSON:
        listing = [_result_data(result, targets) for result in results]
        typer.echo(json_of(listing[0] if len(listing) == 1 else listing))
    elif output is Findings.JUNIT:
        from pcapeda.ui.terminal import complain

        typer.echo(junit(results, broken))
        for error in broken.values():
            complain(error)
    else:
        from pcapeda.cli.rules_view import show_result

        for result in results:
            show_result(result, samples=show, targets=targets)


def load_rules(
    paths: list[str],
    parameters: Any,
    region: str | None,
    profile: str | None,
    endpoint_url: str | None,
    dialect: "Dialect" = "classic",
    suite: "Suite | None" = None,
) -> "Loaded":
    """Rules from wherever they are, with what could not be resolved, or has no sense in the dialect, said on stderr."""
    from pcapeda.rules.dialects import in_dialect
    from pcapeda.rules.sources.load import load

    account, where = suite.given_place() if suite is not None else (None, None)
    where = region or where
    loaded = load(
        paths, parameters=parameters, region=where, account=account, profile=profile, endpoint_url=endpoint_url
    )
    loaded = in_dialect(loaded, dialect)
    for problem in (*loaded.problems, *loaded.notes):
        print(f"pcapeda: {visible(str(problem))}", file=sys.stderr)  # noqa: T201
    return loaded


def tell_bus(loaded: "Loaded", given: str | None) -> str:
    """The bus that rules are tried on; said on stderr where it is not plain, or where no rule is on it."""
    from pcapeda.rules.buses import bus_notes, bus_of
    from pcapeda.safety.visible import visible

    bus = bus_of(loaded.rules, given)
    for sentence in bus_notes(loaded.rules, bus, given, some=False):
        print(f"pcapeda: {visible(sentence)}", file=sys.stderr)  # noqa: T201
    return bus


def _result_data(result: "Result", targets: bool) -> dict[str, Any]:
    listing = {"Suite": result.suite.name} | result.trial.data()
    listing["Expectations"] = [
        {"Expectation": str(one.expectation), "Holds": one.holds, "Words": one.words} for one in result.judgements
    ]
    listing["Problems"] = [str(problem) for problem in result.loaded.problems] + list(result.report.failures)
    listing["Damages"] = [str(damage) for damage in result.report.damages]
    if targets:
        from pcapeda.cli.rules_view import received

        for rule, tried in zip(listing["Rules"], result.trial.tried, strict=True):
            rule["Received"] = received(tried)
    return listing


@app.command("explain")
def explain(  # long: its options are its arguments
    path: Annotated[str, typer.Argument(metavar="EVENT.json|CAPTURE", help="An event, or with --frame a capture.")],
    rules: RulesOption = None,
    frame: Annotated[
        int | None,
        typer.Option("--frame", metavar="N", min=1, help="The number of the packet in the capture."),
    ] = None,
    parameter: ParameterOption = None,
    bus: RulesBusOption = None,
    dialect: DialectOption = DialectName.CLASSIC,
    region: options.RegionOption = None,
    profile: options.ProfileOption = None,
    endpoint_url: options.EndpointUrlOption = None,
    decapsulate: options.DecapsulateOption = False,
    tunnel: options.TunnelOption = None,
    shape: options.ShapeOption = options.ShapeName.FULL,
    source: options.SourceOption = None,
    detail_type: options.DetailTypeOption = None,
    text: options.TextOption = False,
    text_encoding: options.TextEncodingOption = None,
    json_payload: options.JsonPayloadOption = False,
    output: Annotated[Format, typer.Option("-o", "--output", help="For people or for programs.")] = Format.PRETTY,
) -> None:
    """Say field by field why each rule matches an event, or why not."""
    from pcapeda.dissect import tunnel_ports
    from pcapeda.events.shape import Shape

    if not rules:
        raise BadConfig("no rules to explain", hint="give --rules PATH")
    loaded = load_rules(rules, parameters_of(parameter), region, profile, endpoint_url, dialect.value)
    shaped = Shape(
        shape.value,
        source=source,
        detail_type=detail_type,
        text=text,
        text_encoding=text_encoding,
        json_payload=json_payload,
    )
    if frame is not None:
        asked = {"decapsulate": decapsulate, "tunnels": tunnel_ports.parse(tunnel or ())}
        event = _event_of_frame(path, frame, asked, shaped, dialect.value)
    else:
        event = _event_of_file(path, dialect.value)
    bus = tell_bus(loaded, bus)
    listing = []
    for rule in loaded.rules:
        silent = rule.inactive_reason(bus)
        explanation = rule.pattern.explain(event) if rule.pattern is not None else None
        listing.append((rule, silent, explanation))
    if output is Format.JSON:
        data = [
            {
                "Name": rule.name,
                "Silent": silent or None,
                "Explanation": explanation.data() if explanation is not None else None,
            }
            for rule, silent, explanation in listing
        ]
        typer.echo(json_of(data))
        return
    from pcapeda.cli.rules_view import show_explanations

    show_explanations(listing)


def _event_of_frame(path: str, number: int, asked: dict[str, Any], shape: Any, dialect: "Dialect") -> dict[str, Any]:
    from dataclasses import replace

    from pcapeda.engine.job import check_raw
    from pcapeda.engine.run import datagrams
    from pcapeda.rules.dialects import event_of

    if dialect == "v2-raw":
        check_raw(shape)

    for datagram in datagrams(path, **asked):
        if datagram.number == number:
            return event_of(replace(shape, file=path).entry(datagram), dialect)
        if datagram.number > number:
            break
    raise BadConfig(
        f"{path}: frame {number} holds no UDP datagram", hint=f"pcapeda replay {path} -n shows those there are"
    )


def _event_of_file(path: str, dialect: "Dialect") -> Any:
    from pcapeda.rules.json_reader import read_event

    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror}") from None
    event = read_event(data)
    if dialect == "v2-raw" and isinstance(event, dict) and isinstance(event.get("Metadata"), dict):
        return event["Metadata"]  # the event as it is delivered; else it is the metadata alone
    return event


@app.command("lint")
def lint(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Rule files, folders of them, or aws:BUS.")],
    parameter: ParameterOption = None,
    region: options.RegionOption = None,
    profile: options.ProfileOption = None,
    endpoint_url: options.EndpointUrlOption = None,
    dialect: DialectOption = DialectName.CLASSIC,
    shape: Annotated[
        EventKind, typer.Option("--shape", help="The kind of events they are for.", rich_help_panel=options.EVENT)
    ] = EventKind.FULL,
    source: options.SourceOption = None,
    detail_type: options.DetailTypeOption = None,
    text: options.TextOption = False,
    json_payload: options.JsonPayloadOption = False,
    output: Annotated[Format, typer.Option("-o", "--output", help="For people or for programs.")] = Format.PRETTY,
) -> None:
    """Find rules that are invalid, can never match what pcapeda emits, overlap, or would surprise."""
    from pcapeda.engine.job import check_raw
    from pcapeda.events.schema import IDENTITIES, metadata_schema, schema
    from pcapeda.events.shape import Shape
    from pcapeda.events.shapes import SHAPES
    from pcapeda.rules.dialects import FILTER_BYTES
    from pcapeda.rules.lint import QUOTA
    from pcapeda.rules.lint import lint as find

    raw = dialect is DialectName.V2_RAW
    if raw and shape.value not in SHAPES:
        raise BadConfig(f"raw events are single datagrams: not of the kind {shape.value}")
    if raw:
        check_raw(Shape(shape.value))
    loaded = load_rules(paths, parameters_of(parameter), region, profile, endpoint_url, dialect.value)
    default_source, default_type = IDENTITIES[shape.value]
    findings = find(
        loaded.rules,
        (metadata_schema if raw else schema)(shape.value),
        source=source or default_source,
        detail_type=detail_type or default_type,
        text=text,
        json_payload=json_payload,
        other_types={other: name for name, (_, other) in IDENTITIES.items() if other != default_type},
        quota=QUOTA if dialect is DialectName.CLASSIC else FILTER_BYTES,
    )
    if output is Format.JSON:
        typer.echo(json_of([one.data() for one in findings]))
    else:
        for one in findings:
            typer.echo(visible(str(one)))
        if not findings:
            typer.echo(f"{len(loaded.rules)} rules: nothing to say")
    serious = any(one.severity == "error" for one in findings) or bool(loaded.problems)
    raise typer.Exit(ExitStatus.INCOMPLETE if serious else ExitStatus.OK)


@app.command("list")
def list_rules(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Rule files, folders of them, or aws:BUS.")],
    parameter: ParameterOption = None,
    bus: Annotated[
        str | None, typer.Option("--bus", metavar="NAME|ARN", help="Mark rules of other buses.", rich_help_panel=RULES)
    ] = None,
    region: options.RegionOption = None,
    profile: options.ProfileOption = None,
    endpoint_url: options.EndpointUrlOption = None,
    output: Annotated[Format, typer.Option("-o", "--output", help="For people or for programs.")] = Format.PRETTY,
) -> None:
    """List rules with their bus, state, targets and pattern."""
    loaded = load_rules(paths, parameters_of(parameter), region, profile, endpoint_url)
    if output is Format.JSON:
        typer.echo(json_of([rule.data() for rule in loaded.rules]))
    else:
        from pcapeda.cli.rules_view import show_rules

        show_rules(loaded.rules, bus)
    if loaded.problems:
        raise typer.Exit(ExitStatus.INCOMPLETE)
