"""Rules from CloudFormation, SAM and CDK-synthesised templates, resolved offline as far as that goes.

Resolved: parameters (their defaults, or what is given), pseudo parameters, mappings, conditions, `Ref` and `Fn::GetAtt`
of event buses and rules, `Fn::Sub`, `Join`, `Select`, `Split`, `FindInMap`, `If`, `Base64`, `Length`, `ToJsonString`.
A number from a parameter is text, as CloudFormation has it: `[!Ref Port]` asks for "514", not for 514. What is only
known once it is deployed (`Fn::ImportValue`, attributes of other resources, SSM parameters) is named as a problem.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping

from pcapeda.model import ACCOUNT, REGION
from pcapeda.rules.collect import Collector, Unresolved, target
from pcapeda.rules.documents import Document, elements, member, members, text
from pcapeda.rules.reader import Node, json_of
from pcapeda.rules.rule import Target

_MAX_RESOLVED = 200_000
_MAX_DEPTH = 100
_NOTHING = Node("word", None, -2)
"""What AWS::NoValue stands for: the property is left out."""
_VARIABLE = re.compile(r"\$\{(!?)([^{}]*)\}")
_RULE_EVENTS = ("EventBridgeRule", "CloudWatchEvent")


def is_template(root: Node) -> bool:
    """Whether a document is a CloudFormation template."""
    resources = members(member(root, "Resources"))
    return bool(resources) and (
        any(text(member(resource, "Type")) for _, resource in resources)
        or any(name.startswith("Fn::") for name, _ in resources)
    )


def read_template(
    document: Document,
    root: Node,
    collector: Collector,
    parameters: Mapping[str, str],
    region: str | None,
    account: str | None,
) -> None:
    """Add the rules of a template (the document's root, or a part of it that holds `Resources`)."""
    resolver = Resolver(document, root, collector, parameters, region or REGION, account or ACCOUNT)
    for logical, resource in members(member(root, "Resources")):
        kind = text(member(resource, "Type")) or ""
        if logical.startswith("Fn::"):
            collector.problem("error", document.where(resource), logical, "resources made by a loop are not expanded")
        elif kind == "AWS::Events::Rule":
            _resource(resolver, logical, resource)
        elif kind in ("AWS::Serverless::Function", "AWS::Serverless::StateMachine"):
            for name, event in members(member(resource, "Properties", "Events")):
                _sam_event(resolver, logical, resource, name, event)
        elif kind in ("AWS::CloudFormation::Stack", "AWS::Serverless::Application"):
            collector.problem("note", document.where(resource), logical, "the rules of a nested stack are not read")


def _resource(resolver: "Resolver", logical: str, resource: Node) -> None:
    properties = member(resource, "Properties") or Node("object", [])
    _rule(resolver, resource, properties, logical, "Name", "EventPattern", lambda: _targets(resolver, properties))


def _sam_event(resolver: "Resolver", logical: str, resource: Node, name: str, event: Node) -> None:
    kind = text(member(event, "Type")) or ""
    properties = member(event, "Properties") or Node("object", [])
    if kind in _RULE_EVENTS or kind == "Schedule":
        _rule(
            resolver,
            resource,
            properties,
            logical + name,
            "Name" if kind == "Schedule" else "RuleName",
            "Pattern",
            lambda: [_target(resolver, _sam_target(properties), 1, f"${{{logical}.Arn}}")],
            at=event,
        )
    elif not kind:
        resolver.collector.problem(
            "error", resolver.document.where(event), logical + name, "the type of this event is not known offline"
        )


def _rule(
    resolver: "Resolver",
    resource: Node,
    properties: Node,
    logical: str,
    name_key: str,
    pattern_key: str,
    targets: Callable[[], list[Target]],
    at: Node | None = None,
) -> None:
    """One rule from its properties; one that cannot be resolved is kept, without a pattern, and named."""
    document, collector = resolver.document, resolver.collector
    name, problem, where = logical, "", at or resource
    pattern: Node | None = None
    bus = state = schedule = None
    try:
        condition = text(member(resource, "Condition"))
        if condition is not None and not resolver.condition(condition, resource):
            return
        name = resolver.text(member(properties, name_key)) or logical
        bus = resolver.text(member(properties, "EventBusName"))
        state = _state(resolver, properties)
        schedule = resolver.text(member(properties, "ScheduleExpression") or member(properties, "Schedule"))
        pattern = resolver.value(member(properties, pattern_key))
    except Unresolved as unresolved:
        problem, where = f"not known offline: {unresolved.reason}", unresolved.node
    collector.rule(
        document, where, name, pattern,
        bus=bus, state=state, schedule=schedule, targets=targets(), problem=problem,
    )  # fmt: skip


def _state(resolver: "Resolver", properties: Node) -> str | None:
    enabled = resolver.text(member(properties, "Enabled"))
    return resolver.text(member(properties, "State")) or ("DISABLED" if enabled == "false" else None)


def _sam_target(properties: Node) -> Node:
    """SAM writes a target's members beside the pattern."""
    wanted = ("Input", "InputPath", "InputTransformer")
    given = [(key, value) for key, value in members(properties) if key in wanted]
    identity = member(properties, "Target", "Id")
    return Node("object", [*given, *([("Id", identity)] if identity else [])], properties.at)


def _targets(resolver: "Resolver", properties: Node) -> list[Target]:
    try:
        given = resolver.shallow(member(properties, "Targets"))
    except Unresolved as unresolved:
        return [Target("?", "", problem=f"not known offline: {unresolved.reason}")]
    return [_target(resolver, one, number) for number, one in enumerate(elements(given), 1)]


def _target(resolver: "Resolver", given: Node, number: int, arn: str | None = None) -> Target:
    """A target; its Arn may be of something not yet there and is then told as it is written."""
    try:
        given = resolver.shallow(given) or given
        if arn is None:
            written = member(given, "Arn")
            try:
                arn = resolver.text(written) or ""
            except Unresolved:
                arn = _as_written(written)
        kept = [(key, value) for key, value in members(given) if key != "Arn"]
        resolved = resolver.value(Node("object", [pair for pair in kept if pair[0].startswith(("Id", "Input"))]))
        return target(resolved or given, number, arn=arn)
    except Unresolved as unresolved:
        identity = text(member(given, "Id")) or f"target-{number}"
        return Target(identity, arn or "", problem=f"not known offline: {unresolved.reason}")


def _as_written(node: Node | None) -> str:
    name = text(member(node, "Ref"))
    if name:
        return f"${{{name}}}"
    parts = [text(part) or "" for part in elements(member(node, "Fn::GetAtt"))]
    return f"${{{'.'.join(parts)}}}" if parts else json_of(node) if node is not None else ""


class Resolver:
    """Replaces intrinsic functions by their values."""

    def __init__(
        self,
        document: Document,
        root: Node,
        collector: Collector,
        parameters: Mapping[str, str],
        region: str,
        account: str,
    ) -> None:
        self.document = document
        self.collector = collector
        self._root = root
        self._given = parameters
        self._left = _MAX_RESOLVED
        self._depth = 0
        self._conditions: dict[str, bool | None] = {}
        partition = {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(region.rpartition("-")[0].rpartition("-")[0], "aws")
        suffix = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
        self._pseudo = {
            "AWS::AccountId": account,
            "AWS::Region": region,
            "AWS::Partition": "aws-cn" if region.startswith("cn-") else partition,
            "AWS::URLSuffix": "amazonaws.com.cn" if region.startswith("cn-") else suffix,
        }

    def text(self, node: Node | None) -> str | None:
        """A value that must come out as text. Raises `Unresolved`."""
        value = self.value(node)
        if value is None or (value.kind == "word" and value.value is None):
            return None
        found = text(value)
        if found is None:
            raise Unresolved("text is expected here", node or value)
        return found

    def value(self, node: Node | None) -> Node | None:
        """A value with all intrinsic functions in it replaced, or None where nothing is left. Raises `Unresolved`."""
        if node is None:
            return None
        self._left -= 1
        self._depth += 1
        try:
            if self._left < 0:
                raise Unresolved(f"more than {_MAX_RESOLVED:,} values to resolve", node)
            if self._depth > _MAX_DEPTH:
                raise Unresolved("nested too deep, or defined by itself", node)
            return self._value(node)
        finally:
            self._depth -= 1

    def shallow(self, node: Node | None) -> Node | None:
        """A value whose outermost function is replaced, and no more. Raises `Unresolved`."""
        found = self._function(node) if node is not None else None
        return node if found is None else self.value(node)

    def _value(self, node: Node) -> Node | None:
        function = self._function(node)
        if function is not None:
            made = function()
            return None if made is _NOTHING else made
        if node.kind == "object":
            pairs = [(key, self.value(inner)) for key, inner in node.value]
            return Node("object", [(key, inner) for key, inner in pairs if inner is not None], node.at)
        if node.kind == "array":
            values = [self.value(inner) for inner in node.value]
            return Node("array", [inner for inner in values if inner is not None], node.at)
        return node

    def _function(self, node: Node) -> Callable[[], Node] | None:
        """What computes a node, if it is an intrinsic function."""
        if node.kind != "object" or len(node.value) != 1:
            return None
        name, operand = node.value[0]
        if name == "Ref" and operand.kind == "string":
            return lambda: self._ref(operand.value, node)
        if not name.startswith("Fn::"):
            return None
        known: dict[str, Callable[[Node, Node], Node]] = {
            "Fn::Sub": self._sub,
            "Fn::Join": self._join,
            "Fn::Select": self._select,
            "Fn::Split": self._split,
            "Fn::FindInMap": self._find_in_map,
            "Fn::If": self._if,
            "Fn::Base64": self._base64,
            "Fn::GetAtt": self._get_att,
            "Fn::Length": self._length,
            "Fn::ToJsonString": self._to_json,
        }
        if name not in known:
            return lambda: self._unknown(name, node)
        return lambda: known[name](operand, node)

    def _unknown(self, name: str, node: Node) -> Node:
        detail = json_of(member(node, name) or node)
        raise Unresolved(f"{name} {detail if len(detail) <= 80 else detail[:79] + '…'}", node)

    def _must(self, node: Node) -> Node:
        value = self.value(node)
        if value is None:
            raise Unresolved("AWS::NoValue where a value is needed", node)
        return value

    def _string(self, node: Node) -> str:
        found = self.text(node)
        if found is None:
            raise Unresolved("null where text is needed", node)
        return found

    def _list(self, operand: Node, node: Node, least: int) -> list[Node]:
        if operand.kind != "array" or len(operand.value) < least:
            raise Unresolved(f"{node.value[0][0]} needs a list of {least}", node)
        return list(operand.value)

    # references

    def _ref(self, name: str, node: Node) -> Node:
        if name == "AWS::NoValue":
            return _NOTHING
        self.collector.used.add(name)
        declared = member(self._root, "Parameters", name)
        if declared is not None:
            return self._parameter(name, declared, node)
        if name in self._given:
            return Node("string", self._given[name], node.at)
        if name in self._pseudo:
            return Node("string", self._pseudo[name], node.at)
        resource = member(self._root, "Resources", name)
        kind = text(member(resource, "Type")) or ""
        if kind in ("AWS::Events::EventBus", "AWS::Events::Rule"):
            named = self.text(member(resource, "Properties", "Name"))
            if named is not None:
                return Node("string", named, node.at)
        if name.startswith("AWS::"):
            raise Unresolved(f"{name} (give it as a parameter)", node)
        raise Unresolved(f"{name}{f' ({kind})' if kind else ', which the template does not declare'}", node)

    def _parameter(self, name: str, declared: Node, node: Node) -> Node:
        kind = text(member(declared, "Type")) or "String"
        given = self._given.get(name)
        if given is None:
            if "SSM::Parameter" in kind:
                raise Unresolved(f"parameter {name} is read from SSM (give its value as a parameter)", node)
            given = text(member(declared, "Default"))
        if given is None:
            raise Unresolved(f"parameter {name} has no default (give it as a parameter)", node)
        if kind == "CommaDelimitedList" or "List<" in kind:
            return Node("array", [Node("string", part.strip(), node.at) for part in given.split(",")], node.at)
        return Node("string", given, node.at)

    def _get_att(self, operand: Node, node: Node) -> Node:
        parts = operand.value.split(".", 1) if operand.kind == "string" else [text(e) or "" for e in elements(operand)]
        if len(parts) != 2:
            raise Unresolved("Fn::GetAtt needs a resource and an attribute", node)
        logical, attribute = parts
        resource = member(self._root, "Resources", logical)
        kind = text(member(resource, "Type")) or ""
        if kind in ("AWS::Events::EventBus", "AWS::Events::Rule") and attribute in ("Arn", "Name"):
            name = self.text(member(resource, "Properties", "Name"))
            if name is not None and attribute == "Name":
                return Node("string", name, node.at)
            if name is not None:
                bus = self.text(member(resource, "Properties", "EventBusName")) if kind.endswith("Rule") else None
                what = f"rule/{f'{bus}/' if bus else ''}{name}" if kind.endswith("Rule") else f"event-bus/{name}"
                where = f"{self._pseudo['AWS::Partition']}:events:{self._pseudo['AWS::Region']}"
                return Node("string", f"arn:{where}:{self._pseudo['AWS::AccountId']}:{what}", node.at)
        raise Unresolved(f"{logical}.{attribute}{f' ({kind})' if kind else ''}", node)

    # functions

    def _sub(self, operand: Node, node: Node) -> Node:
        template, variables = operand, dict[str, Node]()
        if operand.kind == "array":
            parts = self._list(operand, node, 2)
            template, variables = parts[0], dict(members(parts[1]))
        if template.kind != "string":
            raise Unresolved("Fn::Sub needs text", node)

        def replaced(found: re.Match[str]) -> str:
            literal, name = found.group(1), found.group(2).strip()
            if literal:
                return f"${{{found.group(2)}}}"
            if name in variables:
                return self._string(variables[name])
            if "." in name:
                parts = [Node("string", part, node.at) for part in name.split(".", 1)]
                return self._string(Node("object", [("Fn::GetAtt", Node("array", parts, node.at))], node.at))
            return self._string(Node("object", [("Ref", Node("string", name, node.at))], node.at))

        return Node("string", _VARIABLE.sub(replaced, template.value), node.at)

    def _join(self, operand: Node, node: Node) -> Node:
        between, parts = self._list(operand, node, 2)[:2]
        joined = self._string(between).join(self._string(part) for part in elements(self._must(parts)))
        return Node("string", joined, node.at)

    def _select(self, operand: Node, node: Node) -> Node:
        index, values = self._list(operand, node, 2)[:2]
        position, found = self._string(index), elements(self._must(values))
        if not position.isdecimal() or int(position) >= len(found):
            raise Unresolved(f"Fn::Select finds no element {position}", node)
        return found[int(position)]

    def _split(self, operand: Node, node: Node) -> Node:
        between, whole = self._list(operand, node, 2)[:2]
        separator = self._string(between)
        if not separator:
            raise Unresolved("Fn::Split needs a separator", node)
        parts = self._string(whole).split(separator)
        return Node("array", [Node("string", part, node.at) for part in parts], node.at)

    def _find_in_map(self, operand: Node, node: Node) -> Node:
        keys = self._list(operand, node, 3)
        names = [self._string(key) for key in keys[:3]]
        found = member(self._root, "Mappings", *names)
        default = member(keys[3], "DefaultValue") if len(keys) > 3 else None
        if found is None and default is None:
            raise Unresolved(f"no mapping {'.'.join(names)}", node)
        return self._must(found if found is not None else default or node)

    def _base64(self, operand: Node, node: Node) -> Node:
        return Node("string", base64.b64encode(self._string(operand).encode()).decode(), node.at)

    def _length(self, operand: Node, node: Node) -> Node:
        return Node("number", str(len(elements(self._must(operand)))), node.at)

    def _to_json(self, operand: Node, node: Node) -> Node:
        return Node("string", json_of(self._must(operand)), node.at)

    # conditions

    def _if(self, operand: Node, node: Node) -> Node:
        name, yes, no = self._list(operand, node, 3)[:3]
        condition = text(name)
        if condition is None:
            raise Unresolved("Fn::If needs the name of a condition", node)
        return self.value(yes if self.condition(condition, node) else no) or _NOTHING

    def condition(self, name: str, node: Node) -> bool:
        """Whether a condition of the template holds. Raises `Unresolved`."""
        if name not in self._conditions:
            written = member(self._root, "Conditions", name)
            if written is None:
                raise Unresolved(f"condition {name} is not defined", node)
            self._conditions[name] = None  # being looked at
            try:
                self._conditions[name] = self._holds(written)
            finally:
                if self._conditions[name] is None:
                    del self._conditions[name]
        found = self._conditions[name]
        if found is None:
            raise Unresolved(f"condition {name} is defined by itself", node)
        return found

    def _holds(self, node: Node) -> bool:
        self._depth += 1
        try:
            if self._depth > _MAX_DEPTH:
                raise Unresolved("conditions nested too deep", node)
            named = member(node, "Condition")
            if named is not None:
                return self.condition(text(named) or "", node)
            name, operand = node.value[0] if node.kind == "object" and len(node.value) == 1 else ("", node)
            if name == "Fn::Equals":
                left, right = (self._must(side) for side in self._list(operand, node, 2)[:2])
                return (text(left) or json_of(left)) == (text(right) or json_of(right))
            if name == "Fn::Not":
                return not self._holds(self._list(operand, node, 1)[0])
            if name == "Fn::And":
                return all(self._holds(part) for part in self._list(operand, node, 2))
            if name == "Fn::Or":
                return any(self._holds(part) for part in self._list(operand, node, 2))
            raise Unresolved(f"condition {json.dumps(json_of(node))[:80]}", node)
        finally:
            self._depth -= 1
