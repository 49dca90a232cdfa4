"""Rules from a Serverless Framework service: the `eventBridge` events of its functions, and its `resources`.

Variables are resolved offline as far as the file itself (`${self:…}`), what was given (`${opt:…}`, `${param:…}`,
`${env:…}`, `${sls:stage}`, by `--parameter NAME=VALUE`) and their defaults (`${opt:stage, 'dev'}`) go.
"""

import re
from collections.abc import Mapping

from pcapeda.model import ACCOUNT, REGION
from pcapeda.rules.cloudformation import Resolver, is_template, read_template
from pcapeda.rules.collect import Collector, Unresolved, target
from pcapeda.rules.documents import Document, elements, member, members, text, walk
from pcapeda.rules.reader import Node
from pcapeda.rules.rule import Target

_INNERMOST = re.compile(r"\$\{([^${}]*)\}")
_MAX_STEPS = 1000
_MAX_DEPTH = 60
_MAX_LENGTH = 100_000


def is_serverless(root: Node) -> bool:
    """Whether a document is a Serverless Framework service."""
    provider = member(root, "provider")
    return member(root, "service") is not None and (
        member(root, "functions") is not None or (provider is not None and provider.kind in ("object", "string"))
    )


def read_serverless(
    document: Document, collector: Collector, parameters: Mapping[str, str], region: str | None, account: str | None
) -> None:
    """Add the rules of a service."""
    root = document.root
    variables = _Variables(root, collector, parameters, region or REGION, account or ACCOUNT)
    resources = _resources(root, variables)
    template = Node("object", [("Resources", resources)]) if resources is not None else Node("object", [])
    resolver = Resolver(document, template, collector, parameters, region or REGION, account or ACCOUNT)
    service = text(member(root, "service")) or text(member(root, "service", "name")) or "service"
    stage = variables.stage()
    functions = member(root, "functions")
    for block in [functions] if functions is None or functions.kind == "object" else elements(functions):
        for function, written in members(block):
            count = 0
            for event in elements(member(written, "events")):
                found = member(event, "eventBridge")
                if found is not None:
                    count += 1
                    name = f"{service}-{stage}-{function}-rule-{count}"
                    _event(document, collector, variables, resolver, name, function, found)
    if is_template(template):
        read_template(document, template, collector, parameters, region, account)


def _resources(root: Node, variables: "_Variables") -> Node | None:
    """`resources.Resources`, or those of a list of such blocks, with variables replaced where that is possible."""
    written = member(root, "resources")
    blocks = [written] if written is not None and written.kind == "object" else elements(written)
    pairs = [pair for block in blocks for pair in members(member(block, "Resources"))]
    if not pairs:
        return None
    replaced = []
    for name, resource in pairs:
        try:
            replaced.append((name, variables.replaced(resource)))
        except Unresolved:
            replaced.append((name, resource))  # where it matters, it will not compile and be named there
    return Node("object", replaced, -1)


def _event(
    document: Document,
    collector: Collector,
    variables: "_Variables",
    resolver: Resolver,
    name: str,
    function: str,
    written: Node,
) -> None:
    problem, where = "", written
    bus = state = schedule = None
    pattern: Node | None = None
    targets: list[Target] = []
    try:
        event = variables.replaced(written)
        name = text(member(event, "name")) or name
        bus = resolver.text(member(event, "eventBus"))
        state = "DISABLED" if text(member(event, "enabled")) == "false" else None
        schedule = text(member(event, "schedule"))
        pattern = resolver.value(member(event, "pattern"))
        targets.append(_target(function, event))
    except Unresolved as unresolved:
        problem, where = f"not known offline: {unresolved.reason}", unresolved.node
    collector.rule(
        document, where, name, pattern, bus=bus, state=state, schedule=schedule, targets=targets, problem=problem
    )


def _target(function: str, event: Node) -> Target:
    renamed = {
        "input": "Input",
        "inputPath": "InputPath",
        "inputTransformer": "InputTransformer",
        "inputPathsMap": "InputPathsMap",
        "inputTemplate": "InputTemplate",
    }

    def upper(node: Node) -> Node:
        pairs = [
            (renamed.get(key, key), upper(inner) if key == "inputTransformer" else inner)
            for key, inner in members(node)
        ]
        return Node("object", pairs, node.at)

    kept = Node("object", [pair for pair in upper(event).value if pair[0] in renamed.values()], event.at)
    return target(kept, 1, arn=f"${{{function}.arn}}")._replace(id=function)


class _Variables:
    """Replaces `${…}` from the inside out."""

    def __init__(
        self, root: Node, collector: Collector, parameters: Mapping[str, str], region: str, account: str
    ) -> None:
        self._root = root
        self._collector = collector
        self._given = parameters
        self._aws = {"region": region, "accountId": account}
        self._steps = self._depth = 0

    def stage(self) -> str:
        """The stage that names are made with: as given, as the provider says, or `dev`."""
        try:
            written = member(self._root, "provider", "stage")
            return self._given.get("stage") or text(self.replaced(written) if written else None) or "dev"
        except Unresolved:
            return "dev"

    def replaced(self, node: Node) -> Node:
        """A value with its variables replaced. Raises `Unresolved`."""
        if not any(one.kind == "string" and "${" in one.value for one in walk(node)):
            return node
        self._depth += 1
        try:
            if self._depth > _MAX_DEPTH:
                raise Unresolved("a variable is defined by itself, or too deep", node)
            return self._replaced(node)
        finally:
            self._depth -= 1

    def _replaced(self, node: Node) -> Node:
        if node.kind == "object":
            if len(node.value) == 1 and node.value[0][0] == "Fn::Sub":
                return node  # CloudFormation's own ${…}
            return Node("object", [(key, self.replaced(inner)) for key, inner in node.value], node.at)
        if node.kind == "array":
            return Node("array", [self.replaced(inner) for inner in node.value], node.at)
        return self._text(node)

    def _text(self, node: Node) -> Node:
        written = str(node.value)
        while (found := _INNERMOST.search(written)) is not None:
            self._steps += 1
            if self._steps > _MAX_STEPS or len(written) > _MAX_LENGTH:
                raise Unresolved("too many variables", node)
            value = self._value(found.group(1), node)
            if found.group() == written:
                return value
            inner = text(value)
            if inner is None:
                raise Unresolved(f"{found.group()} is no text", node)
            written = written[: found.start()] + inner + written[found.end() :]
        return Node("string", written, node.at)

    def _value(self, expression: str, node: Node) -> Node:
        """The first of the alternatives, separated by commas, that is known."""
        for one in _alternatives(expression):
            literal = _literal(one, node)
            if literal is not None:
                return literal
            kind, _, name = one.partition(":")
            found = self._known(kind, name, node)
            if found is not None:
                return found
        given = expression.startswith(("opt:", "param:", "env:"))
        raise Unresolved(f"${{{expression}}}{' (give it as a parameter)' if given else ''}", node)

    def _known(self, kind: str, name: str, node: Node) -> Node | None:
        if kind == "self":
            found = member(self._root, *re.split(r"[.]", name)) if name else self._root
            if found is None and name == "provider.stage":
                return Node("string", self.stage(), node.at)
            return self.replaced(found) if found is not None else None
        if kind == "aws" and name in self._aws:
            return Node("string", self._aws[name], node.at)
        if kind == "sls" and name == "stage":
            return Node("string", self.stage(), node.at)
        if kind in ("opt", "param", "env"):
            self._collector.used.add(name)
            if name in self._given:
                return Node("string", self._given[name], node.at)
            if kind == "param":
                for stage in (self.stage(), "default"):
                    found = member(self._root, "params", stage, name)
                    if found is not None:
                        return self.replaced(found)
        return None


def _alternatives(expression: str) -> list[str]:
    """`opt:stage, 'a, b'` at its commas outside quotes."""
    return [part.strip() for part in re.findall(r"(?:'[^']*'|\"[^\"]*\"|[^,])+", expression)]


def _literal(text: str, node: Node) -> Node | None:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return Node("string", text[1:-1], node.at)
    if text in ("true", "false", "null"):
        return Node("word", {"true": True, "false": False, "null": None}[text], node.at)
    if re.fullmatch(r"-?\d+(\.\d+)?", text):
        return Node("number", text, node.at)
    return None
