"""Rules from `terraform show -json` (or `tofu show -json`) of a plan or a state, modules included.

Format: https://developer.hashicorp.com/terraform/internals/json-format. What a plan does not know yet is left out of
its values: the name of a rule or bus is then looked for where the configuration refers to it.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from pcapeda.rules.collect import Collector, transformed
from pcapeda.rules.documents import Document, elements, member, members, text
from pcapeda.rules.reader import Node
from pcapeda.rules.rule import Target

_INDEX = re.compile(r"\[(?:\d+|\"(?:[^\"\\]|\\.)*\")\]")


class _Resource(NamedTuple):
    address: str
    kind: str
    module: str
    values: Node
    node: Node


def is_terraform(root: Node) -> bool:
    """Whether a document is what Terraform shows of a plan or state."""
    return member(root, "format_version") is not None and (
        member(root, "planned_values") is not None or member(root, "values") is not None
    )


def read_terraform(document: Document, collector: Collector) -> None:
    """Add the rules and targets of a plan or state."""
    root = document.root
    values = member(root, "planned_values") or member(root, "values")
    resources = list(_resources(member(values, "root_module"), ""))
    references = dict(_references(member(root, "configuration", "root_module"), ""))
    buses = {one.address: text(member(one.values, "name")) for one in resources if one.kind == _BUS}
    names = {one.address: text(member(one.values, "name")) or one.address for one in resources if one.kind == _RULE}
    owned: dict[str, list[Target]] = {}
    for one in resources:
        if one.kind == _TARGET:
            rule = _rule_of(one, names, references, resources)
            if rule is None:
                collector.problem(
                    "warning", document.where(one.node), one.address, "the rule of this target is not known"
                )
            else:
                owned.setdefault(rule, []).append(_target(one))
    for one in resources:
        if one.kind == _RULE:
            problem, pattern = "", member(one.values, "event_pattern")
            schedule = text(member(one.values, "schedule_expression"))
            if text(pattern) is None and not schedule:
                problem, pattern = "event_pattern is only known after the plan is applied", None
            bus = text(member(one.values, "event_bus_name")) or _bus_of(one, buses, references)
            if bus is None:
                problem = "event_bus_name is only known after the plan is applied"
            collector.rule(
                document,
                one.node,
                names[one.address],
                pattern,
                bus=bus,
                state=_state(one.values),
                schedule=schedule,
                targets=owned.get(one.address, ()),
                problem=problem,
                arn=text(member(one.values, "arn")) or "",
            )


_RULE, _TARGET, _BUS = "aws_cloudwatch_event_rule", "aws_cloudwatch_event_target", "aws_cloudwatch_event_bus"


def _resources(module: Node | None, path: str) -> Iterator[_Resource]:
    """The managed resources of a module and of those in it."""
    todo = [(module, path)]
    while todo:
        current, path = todo.pop(0)
        for node in elements(member(current, "resources")):
            if text(member(node, "mode")) != "data":
                yield _Resource(
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


def _referred(one: _Resource, attribute: str, kind: str, references: dict[str, dict[str, list[str]]]) -> str | None:
    """The address (without indexes) of the resource of a kind that an attribute refers to."""
    prefix = f"{_plain(one.module)}." if one.module else ""
    for reference in references.get(_plain(one.address), {}).get(attribute, []):
        if reference.startswith(f"{kind}."):
            return prefix + ".".join(_plain(reference).split(".")[:2])
    return None


def _same_index(one: _Resource, candidates: list[str]) -> str | None:
    """Of resources made by `count` or `for_each`, the one with the same index."""
    if len(candidates) == 1:
        return candidates[0]
    index = "".join(_INDEX.findall(one.address)[-1:])
    return next((address for address in candidates if index and address.endswith(index)), None)


def _rule_of(
    one: _Resource, names: dict[str, str], references: dict[str, dict[str, list[str]]], resources: list[_Resource]
) -> str | None:
    """The address of the rule that a target belongs to."""
    wanted, bus = text(member(one.values, "rule")), text(member(one.values, "event_bus_name"))
    if wanted is not None:
        named = [address for address, name in names.items() if name == wanted]
        if len(named) > 1:  # the same name on several buses
            on_bus = {other.address: text(member(other.values, "event_bus_name")) for other in resources}
            named = [address for address in named if on_bus.get(address) == bus] or named
        return named[0] if named else None
    referred = _referred(one, "rule", _RULE, references)
    return _same_index(one, [address for address in names if _plain(address) == referred])


def _bus_of(one: _Resource, buses: dict[str, str | None], references: dict[str, dict[str, list[str]]]) -> str | None:
    """The bus of a rule whose values do not say it: the one referred to, or the default bus if nothing is said."""
    said = references.get(_plain(one.address), {}).get("event_bus_name")
    if not said:
        return "default"
    referred = _referred(one, "event_bus_name", _BUS, references)
    found = _same_index(one, [address for address in buses if _plain(address) == referred])
    return buses.get(found) if found else None


def _state(values: Node) -> str | None:
    enabled = text(member(values, "is_enabled"))
    return text(member(values, "state")) or ("DISABLED" if enabled == "false" else None)


def _target(one: _Resource) -> Target:
    transformers = elements(member(one.values, "input_transformer"))
    template = member(transformers[0], "input_template") if transformers else None
    paths = member(transformers[0], "input_paths") if transformers else None
    return Target(
        id=text(member(one.values, "target_id")) or one.address,
        arn=text(member(one.values, "arn")) or f"${{{one.address}.arn}}",
        input=text(member(one.values, "input")),
        input_path=text(member(one.values, "input_path")),
        transformer=transformed(paths, template) if transformers else None,
        problem="the template is only known after the plan is applied"
        if transformers and text(template) is None
        else "",
    )
