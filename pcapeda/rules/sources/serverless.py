"""Rules from a Serverless Framework service: what `serverless package` makes of it, without running anything.

The service becomes the CloudFormation template that the framework would make, as far as rules go: `eventBridge`,
`cloudwatchEvent` and `schedule` events become `AWS::Events::Rule`s with the framework's names, logical ids and targets,
beside the functions and what `resources` adds. That template is then read as any other.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pcapeda.rules.json_reader import Malformed, Node, json_of, parse
from pcapeda.rules.sources.cloudformation import is_template, read_template
from pcapeda.rules.sources.diagnostics import Collector
from pcapeda.rules.sources.given import Given
from pcapeda.rules.sources.serverless_variables import Variables
from pcapeda.rules.sources.source_tree import Document, descendants, elements, in_yaml_1_2, member, members, text
from pcapeda.rules.sources.unknowns import unknown, why_unknown

_LONGEST_NAME = 64
_SECTIONS = ("Parameters", "Mappings", "Conditions", "Outputs", "Transform")
_INPUTS = {"input": "Input", "inputPath": "InputPath", "inputTransformer": "InputTransformer"}


def is_serverless(root: Node) -> bool:
    """Whether a document is a Serverless Framework service."""
    provider = member(root, "provider")
    return member(root, "service") is not None and (
        member(root, "functions") is not None or (provider is not None and provider.kind in ("object", "string"))
    )


def read_serverless(document: Document, collector: Collector, given: Given, path: Path | None = None) -> None:
    """Add the rules of a service; files that it names are looked for beside `path`."""
    document = in_yaml_1_2(document)
    variables = Variables(document, collector, given, path)
    region = text(variables.at("provider", "region"))
    variables.given = given = given.filled(region=region)
    stage = variables.stage()
    service = text(variables.at("service")) or text(variables.at("service", "name")) or "service"
    stack = text(variables.at("provider", "stackName")) or f"{service}-{stage}"
    compiled = _Compiler(document, collector, variables, f"{service}-{stage}")
    template = compiled.template()
    if is_template(template):
        read_template(document, template, collector, given.filled(stack=stack), path)


def _object(at: int = -1, **members_of: Node | None) -> Node:
    return Node("object", [(key, value) for key, value in members_of.items() if value is not None], at)


def _string(value: str, at: int = -1) -> Node:
    return Node("string", value, at)


class _Compiler:
    """Makes the template."""

    def __init__(self, document: Document, collector: Collector, variables: Variables, prefix: str) -> None:
        self._document = document
        self._collector = collector
        self._variables = variables
        self._prefix = prefix
        self._resources: dict[str, Node] = {}

    def template(self) -> Node:
        """The sections that rules depend on."""
        for name, function in self._functions():
            self._function(name, function)
        sections: dict[str, list[tuple[str, Node]]] = {}
        for block in self._blocks():
            for name, resource in members(self._variables.opened(member(block, "Resources"))):
                made = self._variables.replaced(resource)
                self._resources[name] = _merged(self._resources[name], made) if name in self._resources else made
            for name in _SECTIONS:
                written = self._variables.opened(member(block, name))
                if written is not None:
                    sections.setdefault(name, []).extend(members(self._variables.replaced(written)))
            for name, extension in members(self._variables.opened(member(block, "extensions"))):
                if name in self._resources:
                    replaced = self._variables.replaced(extension)
                    self._resources[name] = _extended(self._resources[name], replaced)
        whole = [("Resources", Node("object", list(self._resources.items())))]
        return Node("object", whole + [(name, Node("object", pairs)) for name, pairs in sections.items()])

    def _blocks(self) -> Iterator[Node]:
        """`resources`, or each of a list of them."""
        written = self._variables.at("resources")
        for one in elements(written) if written is not None and written.kind == "array" else [written]:
            yield from self._known(self._variables.opened(one), "resources")

    def _functions(self) -> Iterator[tuple[str, Node]]:
        written = self._variables.at("functions")
        for one in elements(written) if written is not None and written.kind == "array" else [written]:
            for block in self._known(self._variables.opened(one), "functions"):
                for name, function in members(block):
                    for found in self._known(self._variables.opened(function), name):
                        yield name, found
        if self._variables.at("stepFunctions", "stateMachines") is not None:
            self._say("note", None, "", "the events of stepFunctions, which a plugin makes, are not read")

    def _known(self, node: Node | None, what: str) -> Iterator[Node]:
        """The node, unless it is none or not known, which is named."""
        reason = why_unknown(node)
        if reason:
            self._say("error", node, what, f"not known offline: {reason}")
        elif node is not None:
            yield node

    def _say(self, severity: str, node: Node | None, rule: str, message: str) -> None:
        self._collector.problem(severity, self._document.where(node), rule, message)  # type: ignore[arg-type]

    # functions and their events

    def _function(self, name: str, function: Node) -> None:
        named = self._variables.opened(member(function, "name")) or _string(f"{self._prefix}-{name}")
        logical = f"{_normal(name)}LambdaFunction"
        properties = _object(FunctionName=named)
        self._resources[logical] = _object(function.at, Type=_string("AWS::Lambda::Function"), Properties=properties)
        arn = Node("object", [("Fn::GetAtt", Node("array", [_string(logical), _string("Arn")]))])
        watched = scheduled = 0
        events = self._variables.opened(member(function, "events"))
        for number, written in enumerate(elements(events), 1):
            for event in self._known(self._variables.opened(written), name):
                if (found := member(event, "eventBridge")) is not None:
                    for one in self._known(self._variables.replaced(found), name):
                        self._event_bridge(name, named, number, one, arn)
                if (found := member(event, "cloudwatchEvent")) is not None:
                    watched += 1
                    for one in self._known(self._variables.replaced(found), name):
                        own = f"{_normal(name)}EventsRuleCloudWatchEvent{watched}"
                        self._watch(own, f"{name}CloudWatchEvent", one, arn)
                if (found := member(event, "schedule")) is not None:
                    for one in self._known(self._variables.replaced(found), name):
                        scheduled = self._schedule(name, scheduled, one, arn)

    def _event_bridge(self, key: str, function: Node, number: int, event: Node, arn: Node) -> None:
        stub, suffix = f"{text(function) or f'{self._prefix}-{key}'}-rule-{number}", f"rule-{number}"
        name = member(event, "name")
        if name is None:
            name = function if why_unknown(function) else _string(_shortened(stub, suffix), event.at)
        bus = member(event, "eventBus")
        if bus is not None and bus.kind == "string" and bus.value.startswith("arn"):
            bus = bus._replace(value=bus.value.partition("/")[2])
        elif bus is not None and bus.kind == "string" and bus.value not in ("", "default"):
            made = _object(bus.at, Type=_string("AWS::Events::EventBus"), Properties=_object(Name=bus))
            self._resources.setdefault(f"{_normal(bus.value)}EventBridgeEventBus", made)
        logical = re.sub(r"[^0-9A-Za-z]", "", stub)
        self._add(
            f"{logical[:1].upper()}{logical[1:]}EventBridgeRule",
            event,
            _target(event, _shortened(f"{text(name) or stub}-target", "target"), arn),
            Name=name,
            EventBusName=bus,
            EventPattern=member(event, "pattern"),
            ScheduleExpression=member(event, "schedule"),
        )

    def _watch(self, logical: str, identity: str, event: Node, arn: Node) -> None:
        written = member(event, "event")
        pattern = _one_line(written) if written is not None else None
        self._add(logical, event, _target(event, identity, arn), Name=member(event, "name"), EventPattern=pattern)

    def _schedule(self, function: str, count: int, event: Node, arn: Node) -> int:
        """The rules of a schedule, one for each rate; gives how many schedules the function has by now."""
        rate = member(event, "rate") if event.kind == "object" else event
        rates = elements(rate) if rate is not None and rate.kind == "array" else [rate]
        for one in rates:
            count += 1
            logical = f"{_normal(function)}EventsRuleSchedule{count}"
            if text(member(event, "method")) == "scheduler":
                self._say("note", event, logical, "a schedule of EventBridge Scheduler, which makes no rule")
                continue
            target = _target(event, f"{function}Schedule", arn)
            self._add(logical, event, target, Name=member(event, "name"), ScheduleExpression=one)
        return count

    def _add(self, logical: str, event: Node, target: Node, **properties: Node | None) -> None:
        enabled = member(event, "enabled")
        state = enabled if why_unknown(enabled) else _string("DISABLED") if text(enabled) == "false" else None
        targets = Node("array", [target], event.at)
        whole = _object(event.at, **properties, State=state, Targets=targets)
        self._resources[logical] = _object(event.at, Type=_string("AWS::Events::Rule"), Properties=whole)


def _normal(name: str) -> str:
    """A function's name in logical ids."""
    plain = name.replace("-", "Dash").replace("_", "Underscore")
    return plain[:1].upper() + plain[1:]


def _shortened(name: str, suffix: str) -> str:
    """A name of at most 64 characters: a longer one is cut, with a digest of all of it before the suffix."""
    if len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.md5(name.encode(errors="replace"), usedforsecurity=False).hexdigest()
    return f"{name[: max(31 - len(suffix), 0)]}{digest}-{suffix}"


def _target(event: Node, identity: str, arn: Node) -> Node:
    """A target as EventBridge has it."""
    made: list[tuple[str, Node]] = [("Id", _string(identity, event.at)), ("Arn", arn)]
    for key, value in members(event):
        if key == "input":
            made.append(("Input", _input(value)))
        elif key == "inputTransformer":
            upper = [(f"{name[:1].upper()}{name[1:]}", inner) for name, inner in members(value)]
            made.append(("InputTransformer", value if why_unknown(value) else Node("object", upper, value.at)))
        elif key in _INPUTS:
            made.append((_INPUTS[key], value))
    return Node("object", made, event.at)


def _one_line(node: Node) -> Node:
    """A pattern without the line ends in its texts, which the framework takes out of these."""
    if node.kind == "object":
        return Node("object", [(key, _one_line(inner)) for key, inner in node.value], node.at)
    if node.kind == "array":
        return Node("array", [_one_line(inner) for inner in node.value], node.at)
    if node.kind == "string" and re.search(r"[\r\n]", node.value):
        return node._replace(value=re.sub(r"[\r\n]", "", node.value))
    return node


def _input(value: Node) -> Node:
    """Constant input as text; a `body` that is text of JSON becomes what it says, as the framework has it."""
    if value.kind != "object":
        return value
    reason = next((why for one in descendants(value) if (why := why_unknown(one))), "")
    if reason:
        return unknown(reason, value)
    body = member(value, "body")
    if body is not None and body.kind == "string":
        with suppress(Malformed):
            read = parse(body.value)[0]
            value = Node("object", [(key, read if key == "body" else inner) for key, inner in value.value], value.at)
    return _string(json_of(value), value.at)


def _merged(old: Node, new: Node) -> Node:
    """Two descriptions of one resource: objects are merged, of other values the later counts."""
    if old.kind != "object" or new.kind != "object":
        return new
    pairs = dict(old.value)
    for key, value in new.value:
        pairs[key] = _merged(pairs[key], value) if key in pairs else value
    return Node("object", list(pairs.items()), new.at)


def _extended(resource: Node, extension: Node) -> Node:
    """A resource with the properties (each as a whole) and attributes of an extension."""
    pairs = dict(members(resource))
    for key, value in members(extension):
        if key == "Properties" and key in pairs:
            together = {**dict(members(pairs[key])), **dict(members(value))}
            value = Node("object", list(together.items()), value.at)
        pairs[key] = value
    return Node("object", list(pairs.items()), resource.at)
