"""Suite files (`*.pcapeda.yaml`): captures, rules, how events look, and what should come out of it.

The form is described for editors by the JSON Schema `suite.schema.json` beside this module. Paths in a suite are
relative to its own folder.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

from pcapeda.dissect import tunnel_ports
from pcapeda.engine.job import Job, check_raw
from pcapeda.engine.run import execute
from pcapeda.errors import BadConfig, BadField, ExitStatus
from pcapeda.events.shape import Shape
from pcapeda.model import ACCOUNT, REGION
from pcapeda.options import Option
from pcapeda.options.bounds import check_number, option
from pcapeda.options.table import OPTIONS, default, of_owner
from pcapeda.report import Report
from pcapeda.rules.buses import bus_of
from pcapeda.rules.dialects import Dialect, in_dialect
from pcapeda.rules.sources.load import Loaded, load
from pcapeda.rules.sources.source_tree import read_document
from pcapeda.ruletest.coverage import Coverage, Expectation, ExpectationResult, judge
from pcapeda.safety.visible import visible

ENDINGS = (".pcapeda.yaml", ".pcapeda.yml")


@dataclass(frozen=True)
class Suite:
    """What to run and what to expect of it, as plain data."""

    name: str
    captures: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    bus: str | None = None
    """The bus events are put on; None: the one that all rules are on, else the default bus."""
    dialect: Dialect = "classic"
    account: str = ACCOUNT
    region: str = REGION
    shape: Shape = field(default_factory=Shape)
    aggregate_s: float | None = None
    max_flows: int = default("max_flows")
    group: int | None = None
    group_wait_s: float = default("group_wait_s")
    filter: str | None = None
    ports: frozenset[int] = frozenset()
    decapsulate: bool = False
    tunnels: tuple[tuple[int, str], ...] = ()
    expectations: tuple[Expectation, ...] = ()

    def given_place(self) -> tuple[str | None, str | None]:
        """Account and Region where they are not the defaults: those give way to what is said beside templates."""
        return (
            self.account if self.account != ACCOUNT else None,
            self.region if self.region != REGION else None,
        )

    def job(self) -> Job:
        """The run that makes its events."""
        own = {one.member: getattr(self, one.member) for one in _options("")}
        return Job(captures=self.captures, shape=self.shape, **own)


@dataclass(frozen=True)
class Result:
    """What came out: the rules as loaded, the trial, the run's report, and each expectation's judgement."""

    suite: Suite
    loaded: Loaded
    trial: Coverage
    report: Report
    judgements: tuple[ExpectationResult, ...]

    @property
    def holds(self) -> bool:
        """Whether every expectation held."""
        return all(one.holds for one in self.judgements)

    @property
    def problems(self) -> list[str]:
        """What could not be read or resolved, or was damaged: with any of it the counts say less than they seem to."""
        found = [*map(str, self.loaded.problems), *self.report.failures, *map(str, self.report.damages)]
        if self.report.ended_by is not None:
            found.append(str(self.report.ended_by))
        return list(dict.fromkeys(found))

    def status(self) -> ExitStatus:
        """The exit code it stands for: a problem fails a suite as an expectation that does not hold does."""
        status = self.report.status()
        return ExitStatus.INCOMPLETE if status is ExitStatus.OK and (self.problems or not self.holds) else status


def case_names(expectations: Sequence[Expectation]) -> list[str]:
    """What the test of each expectation is called: its name, or its rule's, never a number that is expected, so that
    the name outlives an edit. Those of one rule are told apart by their place among them."""
    names, used = [], Counter[str]()
    for one in expectations:
        name = one.name or (one.rule if one.rule is not None else "unmatched")
        name = visible(name).replace("::", ":")
        used[name] += 1
        names.append(name if used[name] == 1 else f"{name}[{used[name]}]")
    return names


def with_folders(paths: Sequence[str]) -> list[str]:
    """The paths, with the suites in a folder and those below it in the folder's place, where there are any."""
    found: list[str] = []
    for path in paths:
        inside = sorted(map(str, Path(path).rglob("*.pcapeda.y*ml"))) if Path(path).is_dir() else []
        found += [one for one in inside if is_suite(one)] or [path]
    return found


def is_suite(path: str) -> bool:
    """Whether a path names a suite file."""
    return path.endswith(ENDINGS)


def schema() -> dict[str, Any]:
    """The JSON Schema of suite files."""
    text = files("pcapeda.ruletest").joinpath("suite.schema.json").read_text(encoding="utf-8")
    told: dict[str, Any] = json.loads(text)
    for one in OPTIONS:  # the file says of most what is declared; what it says beyond that, stays
        if one.suite:
            keys = told["properties"]["event"]["properties"] if one.suite.startswith("event.") else told["properties"]
            keys.setdefault(one.suite_key, one.schema())
    return told


def run_suite(suite: Suite, *, show: int = 0, loaded: Loaded | None = None, **running: Any) -> Result:
    """Load the rules, walk the captures through them, and judge. `running` goes to `pipeline.execute`, `loaded` are the
    rules in the suite's dialect where they are loaded already.

    Raises `BadRule`, `BadCapture`, `BadConfig` for what cannot be read or honoured.
    """
    if suite.dialect == "v2-raw":
        check_raw(suite.shape)
        if suite.job().summaries is not None:
            raise BadConfig("raw events are single datagrams: not with aggregate or group")
    if loaded is None:
        account, region = suite.given_place()
        loaded = load(suite.rules, parameters=suite.parameters, region=region, account=account)
        loaded = in_dialect(loaded, suite.dialect)
    trial = Coverage(
        loaded.rules,
        bus=bus_of(loaded.rules, suite.bus),
        account=suite.account,
        region=suite.region,
        show=show,
        dialect=suite.dialect,
        wanted=[(one.rule, one.port) for one in suite.expectations if one.rule is not None and one.port is not None],
    )
    report = execute(suite.job(), sink=trial, **running)
    trial.finish()
    return Result(suite, loaded, trial, report, tuple(judge(suite.expectations, trial)))


def read_suite(path: str) -> Suite:
    """A suite from its file. Raises `BadConfig` naming the file and what is wrong in it."""
    told = _mapping(path, read_document(path), "the suite")
    _known(path, told, _SUITE_KEYS, "the suite")
    folder = Path(path).parent
    event = _mapping(path, told.get("event", {}), "event")
    _known(path, event, _EVENT_KEYS, "event")
    captures = _paths(path, told, "captures", folder)
    rules = _paths(path, told, "rules", folder)
    try:
        shape = Shape(**_values(path, "shape", told, event))
    except BadConfig as error:
        raise BadConfig(f"{path}: {error}") from None
    parameters = _mapping(path, told.get("parameters", {}), "parameters")
    dialect = _text(path, told, "dialect", "classic")
    if dialect not in get_args(Dialect):
        raise BadConfig(f"{path}: no dialect {dialect!r}; there are: {', '.join(get_args(Dialect))}")
    suite = Suite(
        name=Path(path).name,
        captures=captures,
        rules=rules,
        parameters={str(key): str(value) for key, value in parameters.items()},
        bus=_text(path, told, "bus", None),
        dialect=dialect,  # type: ignore[arg-type]
        account=_text(path, told, "account", ACCOUNT) or ACCOUNT,
        region=_text(path, told, "region", REGION) or REGION,
        shape=shape,
        **_values(path, "", told, event),
        expectations=read_expectations(path, told.get("expect", [])),
    )
    try:
        suite.job().check()
    except BadField as error:
        raise BadConfig(f"{path}: {error.told(_key)}", hint=error.told(_key).hint) from None
    except BadConfig as error:
        raise BadConfig(f"{path}: {error}") from None
    return suite


def _options(owner: str) -> list[Option]:
    return [one for one in of_owner(owner) if one.suite]


def _values(path: str, owner: str, told: Mapping[str, Any], event: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the shape, or of the job itself, by the options that suites have."""
    return {one.member: _value(path, one, event if one.suite in _IN_EVENT else told) for one in _options(owner)}


def _value(path: str, one: Option, given: Mapping[str, Any]) -> Any:
    key = one.suite_key
    if one.field == "tunnels":
        return _tunnels(path, given)
    if one.several and one.bounds is not None:
        return frozenset(_number(path, value, key, one.field) for value in _list(path, given, key))
    if one.several:
        return tuple(_texts(path, given, key))
    if one.bounds is not None:
        return _number(path, given[key], key, one.field) if key in given else one.default
    if one.kind is bool:
        return _flag(path, given, key)
    return _text(path, given, key, None if one.default is None else str(one.default))


def _tunnels(path: str, told: Mapping[str, Any]) -> tuple[tuple[int, str], ...]:
    try:
        return tunnel_ports.parse(_texts(path, told, "tunnels"))
    except BadConfig as error:
        raise BadConfig(f"{path}: {error}") from None


_IN_EVENT = frozenset(one.suite for one in OPTIONS if one.suite.startswith("event."))
_EVENT_KEYS = frozenset(one.removeprefix("event.") for one in _IN_EVENT)
_SUITE_KEYS = frozenset(one.suite for one in OPTIONS if one.suite) - _IN_EVENT | {
    *("captures", "rules", "parameters", "bus", "dialect", "account", "region", "event", "expect"),
}
_EXPECT_KEYS = frozenset(("name", "rule", "unmatched", "count", "at-least", "at-most", "none", "all-of-port"))


def read_expectations(path: str, told: Any) -> tuple[Expectation, ...]:
    """The list under `expect`, or the whole of a file given to --expect. Raises `BadConfig`."""
    if isinstance(told, Mapping) and "expect" in told:
        told = told["expect"]
    if not isinstance(told, list):
        raise BadConfig(f"{path}: expect must be a list")
    expectations: list[Expectation] = []
    for number, one in enumerate(told, 1):
        where = f"expectation {number}"
        expected = _mapping(path, one, where)
        _known(path, expected, _EXPECT_KEYS, where)
        name = _text(path, expected, "name", "") or ""
        if "unmatched" in expected:
            if expected.keys() - {"name"} != {"unmatched"}:
                raise BadConfig(f"{path}: {where}: unmatched stands alone: a number, none, or bounds")
            bounds = expected["unmatched"]
            if not isinstance(bounds, Mapping):
                bounds = {"none": True} if bounds == "none" else {"count": bounds}
            _known(path, bounds, _EXPECT_KEYS - {"name", "rule", "unmatched", "all-of-port"}, where)
            expectations.append(replace(_bounded(path, where, None, bounds), name=name))
            continue
        rule = expected.get("rule")
        if not isinstance(rule, str) or not rule:
            raise BadConfig(f"{path}: {where} must name a rule, or say unmatched")
        bounds = {key: value for key, value in expected.items() if key not in ("name", "rule")}
        if not bounds:
            raise BadConfig(f"{path}: {where} must say how many: count, at-least, at-most, none or all-of-port")
        if "all-of-port" in bounds:
            port = _number(path, bounds.pop("all-of-port"), f"{where}: all-of-port", "ports")
            expectations.append(Expectation(rule, port=port, name=name))
        if bounds:
            expectations.append(replace(_bounded(path, where, rule, bounds), name=name))
    return tuple(expectations)


def _bounded(path: str, where: str, rule: str | None, bounds: Mapping[str, Any]) -> Expectation:
    if bounds.keys() == {"none"} and bounds["none"] is True:
        return Expectation(rule, 0, 0)
    if bounds.keys() == {"count"}:
        count = bounds["count"]
        if count == "none":
            return Expectation(rule, 0, 0)
        exactly = _whole(path, count, f"{where}: count")
        return Expectation(rule, exactly, exactly)
    if bounds and bounds.keys() <= {"at-least", "at-most"}:
        least = _whole(path, bounds.get("at-least", 0), f"{where}: at-least")
        most = bounds.get("at-most")
        most = None if most is None else _whole(path, most, f"{where}: at-most")
        if most is not None and most < least:
            raise BadConfig(f"{path}: {where}: at-most {most:,} is below at-least {least:,}")
        return Expectation(rule, least, most)
    raise BadConfig(f"{path}: {where}: count, none, or at-least and at-most: give one of the three")


def with_expectations(suite: Suite, path: str) -> Suite:
    """The suite with what a file of expectations says."""
    return replace(suite, expectations=suite.expectations + read_expectations(path, read_document(path)))


def _mapping(path: str, value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadConfig(f"{path}: {where} must be a mapping of names to values")
    return value


def _known(path: str, given: Mapping[str, Any], names: frozenset[str], where: str) -> None:
    for name in given:
        if name not in names:
            raise BadConfig(f"{path}: {where}: no key {name!r}; there are: {', '.join(sorted(names))}")


def _list(path: str, given: Mapping[str, Any], name: str) -> list[Any]:
    value = given.get(name, [])
    if isinstance(value, list):
        return value
    return [value]


def _texts(path: str, given: Mapping[str, Any], name: str) -> list[str]:
    values = _list(path, given, name)
    if not all(isinstance(value, str) and value for value in values):
        raise BadConfig(f"{path}: {name} must be a text or a list of texts")
    return values


def _paths(path: str, given: Mapping[str, Any], name: str, folder: Path) -> tuple[str, ...]:
    values = _texts(path, given, name)
    if not values:
        raise BadConfig(f"{path}: {name} must name at least one")
    return tuple(value if value.startswith("aws:") else str(folder / value) for value in values)


def _text(path: str, given: Mapping[str, Any], name: str, default: str | None) -> str | None:
    value = given.get(name, default)
    if value is not None and not isinstance(value, str):
        raise BadConfig(f"{path}: {name} must be a text (put it in quotes)")
    return value


def _flag(path: str, given: Mapping[str, Any], name: str) -> bool:
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise BadConfig(f"{path}: {name} must be true or false")
    return value


def _number(path: str, value: Any, key: str, field: str) -> Any:
    """A number within the bounds that the library has for the field."""
    try:
        return check_number("Job", field, value)
    except BadField as error:
        raise BadConfig(f"{path}: {error.told(lambda _: key)}") from None


def _key(field: str) -> str:
    """What a field of a job is called in a suite."""
    return field if field in ("ports", "captures", "rules") else option(field)


def _whole(path: str, value: Any, where: str, most: int = 1 << 62) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise BadConfig(f"{path}: {where} must be a whole number from 0 on")
    return value
