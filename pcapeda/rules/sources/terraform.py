"""Rules from `terraform show -json` (or `tofu show -json`) of a plan or a state, modules included, or a state itself.

Formats: https://developer.hashicorp.com/terraform/internals/json-format; a state's own is that of version 4. What a
plan does not know yet is left out of its values: a bus is then looked for where the configuration refers to it.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from pcapeda.errors import BadRule
from pcapeda.rules.json_reader import Node, json_of
from pcapeda.rules.rule import Target
from pcapeda.rules.sources.diagnostics import Collector, transformed
from pcapeda.rules.sources.source_tree import Document, elements, member, members, text
from pcapeda.rules.sources.unknowns import why_unknown

_INDEX = re.compile(r"\[(?:\d+|\"(?:[^\"\\]|\\.)*\")\]")


RULE, TARGET, BUS = "aws_cloudwatch_event_rule", "aws_cloudwatch_event_target", "aws_cloudwatch_event_bus"
_RAW_VERSION = "4"


class Resource(NamedTuple):
    """One instance of a resource; an attribute that is not known is left out, or is a value that says so."""

    address: str
    kind: str
    module: str
    values: Node
    node: Node


References = dict[str, dict[str, list[str]]]
"""For each address without indexes: what is referred to by each attribute that is written."""


def is_terraform(root: Node) -> bool:
    """Whether a document is what Terraform shows of a plan or state, or a state itself."""
    shown = member(root, "format_version") is not None and (
        member(root, "planned_values") is not None or member(root, "values") is not None
    )
    return shown or _is_raw(root)


def _is_raw(root: Node) -> bool:
    version = member(root, "version")
    return (
        version is not None
        and version.kind == "number"
        and member(root, "terraform_version") is not None
        and (member(root, "resources") is not None or member(root, "modules") is not None)
    )


def read_terraform(document: Document, collector: Collector) -> None:
    """Add the rules and targets of a plan or state. Raises `BadRule` for a state of another version."""
    root = document.root
    if _is_raw(root):
        version = text(member(root, "version"))
        if version != _RAW_VERSION:
            raise BadRule(
                f"{document.name}: a state of format version {version}; version {_RAW_VERSION} is read",
                hint="terraform show -json > state.json gives what is read of any version",
            )
        add_rules(document, collector, list(_instances(root)))
        return
    values = member(root, "planned_values") or member(root, "values")
    resources = list(_resources(member(values, "root_module"), ""))
    references = dict(_references(member(root, "configuration", "root_module"), ""))
    planned = member(root, "planned_values") is not None
    add_rules(document, collector, resources, references, later=_later(root) if planned else {})


def add_rules(
    document: Document,
    collector: Collector,
    resources: list[Resource],
    references: References | None = None,
    *,
    later: dict[str, set[str]] | None = None,
    own: set[str] | None = None,
) -> None:
    """Add the rules of resources, with their targets; of all, or of those alone whose plain address is in `own`.

    `later` has the attributes of each address that are only known after a plan is applied.
    """
    _Rules(document, collector, resources, references or {}, later, own).add()


class _Rules:
    """Puts rules, targets and buses together."""

    def __init__(
        self,
        document: Document,
        collector: Collector,
        resources: list[Resource],
        references: References,
        later: dict[str, set[str]] | None,
        own: set[str] | None,
    ) -> None:
        self._document, self._collector, self._references = document, collector, references
        self._resources, self._later, self._own = resources, later, own
        self._buses = {one.address: text(member(one.values, "name")) for one in resources if one.kind == BUS}
        self._names = {
            one.address: text(member(one.values, "name")) or one.address for one in resources if one.kind == RULE
        }
        self._rules = {one.address: one for one in resources if one.kind == RULE}

    def add(self) -> None:
        owned: dict[str, list[Target]] = {}
        for one in self._resources:
            if one.kind == TARGET:
                rule = _rule_of(one, self._names, self._references, self._rules)
                if rule is None:
                    self._say("warning", one, "the rule of this target is not known")
                else:
                    owned.setdefault(rule, []).append(_target(one, self._references))
        for one in self._rules.values():
            if self._own is None or _plain(one.address) in self._own:
                self._rule(one, owned.get(one.address, []))

    def _say(self, severity: str, one: Resource, message: str) -> None:
        where = self._document.where(one.node)
        self._collector.problem(severity, where, self._names.get(one.address, one.address), message)  # type: ignore[arg-type]

    def _rule(self, one: Resource, targets: list[Target]) -> None:
        pattern, schedule = member(one.values, "event_pattern"), text(member(one.values, "schedule_expression"))
        problem = ""
        if text(pattern) is None:
            why_pattern, why_schedule = self._why(one, "event_pattern"), self._why(one, "schedule_expression")
            pattern = None
            if why_pattern:
                problem = why_pattern
            elif why_schedule:
                schedule = f"${{{one.address}.schedule_expression}}"
                self._say("note", one, why_schedule)
            elif not schedule:
                problem = "it has neither event_pattern nor schedule_expression: EventBridge refuses it"
        if text(member(one.values, "name")) is None and (why := self._why(one, "name")):
            self._say("note", one, f"{why}: it is called by its address")
        self._collector.rule(
            self._document,
            one.node,
            self._names[one.address],
            pattern,
            bus=self._bus(one),
            state=self._state(one),
            schedule=schedule,
            targets=targets,
            problem=problem,
            arn=text(member(one.values, "arn")) or "",
        )

    def _why(self, one: Resource, attribute: str) -> str:
        """Why an attribute is not known; empty where it is not written."""
        reason = why_unknown(member(one.values, attribute))
        if reason:
            return f"{attribute} is not known offline: {reason}"
        if self._later is None:
            return ""
        after = self._later.get(one.address)
        written = self._references.get(_plain(one.address))
        if after is not None:
            waits = attribute in after
        else:  # a plan without its changes: by its configuration, or else what may be is taken to be
            waits = attribute in written if written is not None else attribute == "event_pattern"
        return f"{attribute} is only known after the plan is applied" if waits else ""

    def _bus(self, one: Resource) -> str:
        """The bus of a rule; one that is not known is named by what is referred to."""
        bus = text(member(one.values, "event_bus_name"))
        if bus is not None:
            return bus
        said = self._references.get(_plain(one.address), {}).get("event_bus_name")
        referred = _referred(one, "event_bus_name", BUS, self._references)
        found = _same_index(one, [address for address in self._buses if _plain(address) == referred])
        known = self._buses.get(found) if found else None
        why = self._why(one, "event_bus_name")
        if known is not None or not (said or why):
            return known or "default"
        self._say("note", one, f"{why or 'event_bus_name is not known'}: taken to be the bus that events are put on")
        return f"${{{said[0] if said else f'{one.address}.event_bus_name'}}}"

    def _state(self, one: Resource) -> str | None:
        for attribute in ("state", "is_enabled"):
            later = attribute in (self._later or {}).get(one.address, ())
            if later or why_unknown(member(one.values, attribute)):
                self._say("note", one, f"{self._why(one, attribute)}: taken to be enabled")
        enabled = text(member(one.values, "is_enabled"))
        return text(member(one.values, "state")) or ("DISABLED" if enabled == "false" else None)


def _later(root: Node) -> dict[str, set[str]]:
    """Of a plan's changes: the attributes of each resource that are only known after it is applied."""
    return {
        text(member(one, "address")) or "": {
            name
            for name, value in members(member(one, "change", "after_unknown"))
            if value.kind == "word" and value.value is True
        }
        for one in elements(member(root, "resource_changes"))
        if member(one, "change", "after_unknown") is not None
    }


def _instances(root: Node) -> Iterator[Resource]:
    """The managed resources of a state of version 4."""
    for node in elements(member(root, "resources")):
        kind, name = text(member(node, "type")) or "", text(member(node, "name")) or ""
        if text(member(node, "mode")) == "data":
            continue
        module = text(member(node, "module")) or ""
        for instance in elements(member(node, "instances")):
            key = member(instance, "index_key")
            index = "" if key is None else f"[{json_of(key)}]"
            address = f"{module}.{kind}.{name}{index}".removeprefix(".")
            values = member(instance, "attributes") or Node("object", [])
            yield Resource(address, kind, module, values, instance)


def _resources(module: Node | None, path: str) -> Iterator[Resource]:
    """The managed resources of a module and of those in it."""
    todo = [(module, path)]
    while todo:
        current, path = todo.pop(0)
        for node in elements(member(current, "resources")):
            if text(member(node, "mode")) != "data":
                yield Resource(
                    text(member(node, "address")) or "",
                    text(member(node, "type")) or "",
                    path,
                    member(node, "values") or Node("object", []),
                    node,
                )
        todo += [(child, text(member(child, "address")) or "") for child in elements(member(current, "child_modules"))]


def _references(module: Node | None, path: str) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """For each resource of the configuration, by its address without indexes: what its attributes refer to."""
    todo = [(module, path)]
    while todo:
        current, path = todo.pop()
        prefix = f"{path}." if path else ""
        for node in elements(member(current, "resources")):
            referred = {
                name: [text(one) or "" for one in elements(member(expression, "references"))]
                for name, expression in members(member(node, "expressions"))
            }
            yield prefix + (text(member(node, "address")) or ""), referred
        for name, call in members(member(current, "module_calls")):
            todo.append((member(call, "module"), f"{prefix}module.{name}"))


def _plain(address: str) -> str:
    """An address without the indexes of `count` and `for_each`."""
    return _INDEX.sub("", address)


def _referred(one: Resource, attribute: str, kind: str, references: References) -> str | None:
    """The address (without indexes) of the resource of a kind that an attribute refers to."""
    prefix = f"{_plain(one.module)}." if one.module else ""
    for reference in references.get(_plain(one.address), {}).get(attribute, []):
        if reference.startswith(f"{kind}."):
            return prefix + ".".join(_plain(reference).split(".")[:2])
    return None


def _same_index(one: Resource, candidates: list[str]) -> str | None:
    """Of resources made by `count` or `for_each`, the one with the same index."""
    if len(candidates) == 1:
        return candidates[0]
    index = "".join(_INDEX.findall(one.address)[-1:])
    return next((address for address in candidates if index and address.endswith(index)), None)


def _rule_of(one: Resource, names: dict[str, str], references: References, rules: dict[str, Resource]) -> str | None:
    """The address of the rule that a target belongs to."""
    wanted, bus = text(member(one.values, "rule")), text(member(one.values, "event_bus_name"))
    if wanted is not None:
        named = [address for address, name in names.items() if name == wanted]
        if len(named) > 1:  # the same name on several buses
            on_bus = {address: text(member(rule.values, "event_bus_name")) for address, rule in rules.items()}
            named = [address for address in named if on_bus.get(address) == bus] or named
        return named[0] if named else None
    referred = _referred(one, "rule", RULE, references) or why_unknown(member(one.values, "rule"))
    referred = ".".join(referred.split(".")[:2]) if referred.startswith(f"{RULE}.") else referred
    return _same_index(one, [address for address in names if _plain(address) == _plain(referred)])


def _target(one: Resource, references: References) -> Target:
    transformer = member(one.values, "input_transformer")
    transformers = elements(transformer) if transformer is None or transformer.kind == "array" else [transformer]
    template = member(transformers[0], "input_template") if transformers else None
    paths = member(transformers[0], "input_paths") if transformers else None
    shapes = ("input", "input_path", "input_transformer")
    reason = next((why for name in shapes if (why := why_unknown(member(one.values, name)))), "")
    if reason:
        problem = f"not known offline: {reason}"
    else:
        problem = "the template is only known after the plan is applied" if transformers and not text(template) else ""
    said = references.get(_plain(one.address), {}).get("arn") or [why_unknown(member(one.values, "arn"))]
    return Target(
        id=text(member(one.values, "target_id")) or one.address,
        arn=text(member(one.values, "arn")) or f"${{{said[0] or f'{one.address}.arn'}}}",
        input=text(member(one.values, "input")),
        input_path=text(member(one.values, "input_path")),
        transformer=transformed(paths, template) if transformers and not reason else None,
        problem=problem,
    )
