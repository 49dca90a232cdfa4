"""Rules from CloudFormation, SAM and CDK-synthesised templates, resolved offline as far as that goes.

Resolved: parameters (their defaults, or what is given), pseudo parameters, mappings, conditions, the functions of
`intrinsics`, `Ref` and `Fn::GetAtt` of resources whose names are written (`physical`), and nested stacks whose
templates are files. A number from a parameter is text, as CloudFormation has it: `[!Ref Port]` asks for "514", not
for 514.

A rule is what its pattern says: where only its name, bus or state is not known, it is kept under its logical id, as on
the bus that events are put on, and enabled, and a note says so. A pattern that is not known is named as a problem.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pcapeda.errors import BadRule
from pcapeda.rules.json_reader import Node, one_line
from pcapeda.rules.rule import Target
from pcapeda.rules.sources.diagnostics import Collector, Unresolved, target
from pcapeda.rules.sources.given import Given
from pcapeda.rules.sources.intrinsics import Resolver
from pcapeda.rules.sources.source_tree import (
    Document,
    descendants,
    elements,
    member,
    members,
    read_included,
    real_path,
    text,
)
from pcapeda.rules.sources.unknowns import as_written

_MAX_NESTED = 50
"""Templates that one template may nest, at any depth."""
_MAX_NESTING = 8
_RULE_EVENTS = ("EventBridgeRule", "CloudWatchEvent")
_NESTED = {"AWS::CloudFormation::Stack": "TemplateURL", "AWS::Serverless::Application": "Location"}
_LONGEST_ID = 64
_OWN_MACROS = (
    *("AWS::Serverless-2016-10-31", "AWS::LanguageExtensions", "AWS::CodeDeployBlueGreen"),
    *("AWS::SecretsManager-2020-07-23", "AWS::SecretsManager-2024-09-16", "AWS::ServiceCatalog"),
)
"""Transforms that make no rules and change none, but for what is read here."""


def is_template(root: Node) -> bool:
    """Whether a document is a CloudFormation template."""
    resources = members(member(root, "Resources"))
    return bool(resources) and (
        any(text(member(resource, "Type")) for _, resource in resources)
        or any(name.startswith("Fn::") for name, _ in resources)
    )


def read_template(document: Document, root: Node, collector: Collector, given: Given, path: Path | None = None) -> None:
    """Add the rules of a template (the document's root, or an object of it that has the sections of one).

    `path` is where the template's file is: nested templates are looked for beside it, if it is given.
    """
    _Template(document, root, collector, given, path, (), [_MAX_NESTED]).read()


class _Keys(NamedTuple):
    """What a rule's properties are called."""

    name: str = "Name"
    pattern: str = "EventPattern"
    schedule: str = "ScheduleExpression"


class _Template:
    """One template, and those that it nests."""

    def __init__(
        self,
        document: Document,
        root: Node,
        collector: Collector,
        given: Given,
        path: Path | None,
        within: tuple[Path, ...],
        left: list[int],
    ) -> None:
        self._document = document
        self._root = root
        self._collector = collector
        self._path = path
        self._within = (*within, real_path(path)) if path is not None else within
        self._left = left
        self._nested: dict[str, _Template | str] = {}
        self.resolver = Resolver(document, root, collector, given, outputs=self._output)

    def read(self) -> None:
        """Add all rules."""
        self._macros()
        for logical, resource in self.resolver.resources.items():
            kind = text(member(resource, "Type")) or ""
            if logical.startswith("Fn::"):
                self._say("error", resource, logical, "resources that a macro makes are not known offline")
            elif kind == "AWS::Events::Rule":
                self._resource(logical, resource)
            elif kind in ("AWS::Serverless::Function", "AWS::Serverless::StateMachine"):
                for name, event in members(member(resource, "Properties", "Events")):
                    self._sam_event(logical, resource, name, event, kind.rpartition("::")[2])
            elif kind in _NESTED:
                nested = self._stack(logical)
                if isinstance(nested, str):
                    self._say("note", resource, logical, f"the rules of a nested stack are not read: {nested}")
                else:
                    nested.read()
            elif kind.endswith("::MODULE"):
                self._say("note", resource, logical, f"rules in the module {kind} are not known offline")

    def _macros(self) -> None:
        written = member(self._root, "Transform")
        for one in elements(written) if written is not None and written.kind == "array" else [written]:
            name = text(one) or text(member(one, "Name"))
            if name and name not in _OWN_MACROS:
                self._say("note", one, "", f"what the macro {one_line(name, 100)} changes is not known offline")

    def _say(self, severity: str, node: Node | None, rule: str, message: str) -> None:
        self._collector.problem(severity, self._document.where(node), rule, message)  # type: ignore[arg-type]

    # rules

    def _resource(self, logical: str, resource: Node) -> None:
        properties = self._properties(logical, resource)
        if properties is not None:
            self._rule(logical, resource, properties, _Keys(), lambda: self._targets(properties))

    def _properties(self, logical: str, resource: Node) -> Node | None:
        try:
            return self.resolver.shallow(member(resource, "Properties")) or Node("object", [], resource.at)
        except Unresolved as unresolved:
            self._collector.rule(
                self._document, unresolved.node, logical, None, problem=f"not known offline: {unresolved.reason}"
            )
            return None

    def _sam_event(self, logical: str, resource: Node, name: str, event: Node, of: str) -> None:
        kind = text(member(event, "Type")) or ""
        properties = member(event, "Properties") or Node("object", [], event.at)
        own = logical + name
        if kind in _RULE_EVENTS or kind == "Schedule":
            keys = _Keys("Name" if kind == "Schedule" else "RuleName", "Pattern", "Schedule")
            suffix = "LambdaTarget" if of == "Function" else "StepFunctionsTarget"
            identity = own[: _LONGEST_ID - len(suffix)] + suffix
            arn = Node("object", [("Fn::GetAtt", Node("string", f"{logical}.Arn", event.at))], event.at)
            given = _sam_target(properties, arn, identity)
            self._rule(own, resource, properties, keys, lambda: [self._target(given, 1)], at=event)
        elif not kind:
            self._say("error", event, own, "the type of this event is not known offline")

    def _rule(
        self,
        logical: str,
        resource: Node,
        properties: Node,
        keys: _Keys,
        targets: Callable[[], list[Target | None]],
        at: Node | None = None,
    ) -> None:
        """One rule from its properties; what is not known of it is reported."""
        resolver = self.resolver
        if not self._deployed(logical, resource):
            return
        name = self._known(logical, "name", member(properties, keys.name), "it is called by its logical id")
        bus_written = member(properties, "EventBusName")
        bus = self._known(logical, "bus", bus_written, "taken to be the bus that events are put on")
        state = self._state(logical, properties)
        schedule_written = member(properties, keys.schedule)
        schedule = self._known(logical, "schedule", schedule_written, "it is shown as it is written")
        pattern: Node | None = None
        null = _null(properties)
        problem = "CloudFormation refuses it: 'null' values are not allowed in templates" if null else ""
        where = null or at or resource
        try:
            pattern = resolver.value(member(properties, keys.pattern))
        except Unresolved as unresolved:
            problem, where = f"not known offline: {unresolved.reason}", unresolved.node
        else:
            if pattern is None and not schedule and not problem:
                problem = (
                    f"it has neither {keys.pattern} nor {keys.schedule}: EventBridge refuses it "
                    "(Parameter(s) EventPattern or ScheduleExpression must be specified)"
                )
        self._collector.rule(
            self._document, where, name or logical, pattern,
            bus=bus, state=state, schedule=schedule, problem=problem,
            targets=[one for one in targets() if one is not None],
        )  # fmt: skip

    def _deployed(self, logical: str, resource: Node) -> bool:
        condition = text(member(resource, "Condition"))
        if condition is None:
            return True
        try:
            return self.resolver.condition(condition, resource)
        except Unresolved as unresolved:
            said = f"whether it is deployed is not known offline ({unresolved.reason}): taken to be"
            self._say("note", unresolved.node, logical, said)
            return True

    def _known(self, logical: str, what: str, written: Node | None, instead: str) -> str | None:
        """A property as text; if it is not known, a note, and the text with `${…}` in the places of what is not."""
        try:
            return self.resolver.text(written)
        except Unresolved as unresolved:
            said = f"its {what} is not known offline ({unresolved.reason}): {instead}"
            self._say("note", unresolved.node, logical, said)
            if what in ("name", "state"):
                return None
            shown = self.resolver.shown(written)
            return shown if "${" in shown else f"${{{shown}}}"

    def _state(self, logical: str, properties: Node) -> str | None:
        for key, states in (("State", {}), ("Enabled", {"false": "DISABLED", "true": "ENABLED"})):
            found = self._known(logical, "state", member(properties, key), "taken to be enabled")
            if found is not None:
                return states.get(found, found)
        return None

    # targets

    def _targets(self, properties: Node) -> list[Target | None]:
        try:
            given = self.resolver.shallow(member(properties, "Targets"))
        except Unresolved as unresolved:
            return [Target("?", "", problem=f"not known offline: {unresolved.reason}")]
        return [self._target(one, number) for number, one in enumerate(elements(given), 1)]

    def _target(self, written: Node, number: int) -> Target | None:
        """A target; an Arn or Id of something not yet there bears its logical id."""
        arn, identity = "", f"target-{number}"
        try:
            given = self.resolver.shallow(written)
            if given is None:  # AWS::NoValue
                return None
            arn = self.resolver.shown(member(given, "Arn"))
            identity = self._identity(member(given, "Id")) or identity
            kept = [pair for pair in members(given) if pair[0].startswith("Input")]
            resolved = self.resolver.value(Node("object", kept)) or Node("object", [])
            return target(resolved, number, arn=arn)._replace(id=identity)
        except Unresolved as unresolved:
            return Target(identity, arn, problem=f"not known offline: {unresolved.reason}")

    def _identity(self, written: Node | None) -> str | None:
        try:
            return self.resolver.text(written)
        except Unresolved:
            shown = self.resolver.shown(written)
            whole = shown.startswith("${") and shown.endswith("}") and shown.count("${") == 1
            return shown[2:-1].partition(".")[0] if whole else shown

    # nested stacks

    def _stack(self, logical: str) -> "_Template | str":
        """A nested stack's template, or why it is not read."""
        if logical not in self._nested:
            self._nested[logical] = "it contains itself"  # until it is known
            self._nested[logical] = self._opened(logical)
        return self._nested[logical]

    def _opened(self, logical: str) -> "_Template | str":
        resource = self.resolver.resources[logical]
        properties = member(resource, "Properties")
        asset = text(member(resource, "Metadata", "aws:asset:path"))  # where the CDK left the template
        written = member(properties, _NESTED[text(member(resource, "Type")) or ""])
        where = asset or (text(written) if written is not None and written.kind == "string" else None)
        if where is None or "://" in where or self._path is None:
            return f"its template is at {one_line(as_written(written), 100) or 'no place that is written'}"
        if "\0" in where:
            return "its template is at no place that is written"
        path = self._path.parent / where
        if real_path(path) in self._within or len(self._within) > _MAX_NESTING:
            return "it is nested in itself, or too deep"
        self._left[0] -= 1
        if self._left[0] < 0:
            return f"more than {_MAX_NESTED} templates"
        try:
            document = read_included(path, str(path))
        except BadRule as error:
            return str(error)
        self._collector.included.add(real_path(path))
        given = self._handed(properties)
        return _Template(document, document.root, self._collector, given, path, self._within, self._left)

    def _handed(self, properties: Node | None) -> Given:
        """What a nested stack is given: the parameters that are handed on, and what is looked up elsewhere."""
        given = self.resolver.given
        values = {name: value for name, value in given.values.items() if ":" in name}
        unknown = {"AWS::StackName": "AWS::StackName of a nested stack is made on deployment"}
        for name, written in members(member(properties, "Parameters")):
            try:
                found = self.resolver.value(written)
                parts = [text(one) or "" for one in elements(found)]
                values[name] = ",".join(parts) if parts else text(found) or ""
            except Unresolved as unresolved:
                unknown[name] = unresolved.reason
        return Given(values, given.region, given.account, None, unknown)

    def _output(self, logical: str, name: str) -> Node:
        """An output of a nested stack. Raises `Unresolved`."""
        nested = self._stack(logical)
        written = None if isinstance(nested, str) else member(nested.resolver.outputs.get(name), "Value")
        if isinstance(nested, str) or written is None:
            why = nested if isinstance(nested, str) else "there is no such output"
            raise Unresolved(f"{logical}.Outputs.{name} ({why})", self.resolver.resources[logical])
        return nested.resolver.value(written) or Node("string", "")


def _null(properties: Node) -> Node | None:
    """A null anywhere in the properties."""
    return next((node for node in descendants(properties) if node.kind == "word" and node.value is None), None)


def _sam_target(properties: Node, arn: Node, identity: str) -> Node:
    """SAM writes a target's members beside the pattern, makes an Id of the logical ids, and knows the Arn itself."""
    wanted = ("Input", "InputPath", "InputTransformer")
    given = [(key, value) for key, value in members(properties) if key in wanted]
    written = member(properties, "Target", "Id") or Node("string", identity, properties.at)
    return Node("object", [*given, ("Id", written), ("Arn", arn)], properties.at)
