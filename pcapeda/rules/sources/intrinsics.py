"""CloudFormation's intrinsic functions, resolved offline as far as that goes; what is not known is `Unresolved`.

Memory and time are bounded whatever a template says (`bounds`): every value that is made is a step, texts stop growing
at the longest text that can hold a pattern, and all texts of a template together have a bound, too.
"""

import base64
import re
from collections.abc import Callable, Iterable, Iterator

from pcapeda.rules.json_reader import Node, json_of, one_line
from pcapeda.rules.sources.bounds import Bounds
from pcapeda.rules.sources.conditions import Conditions
from pcapeda.rules.sources.diagnostics import Collector, Unresolved
from pcapeda.rules.sources.given import Given
from pcapeda.rules.sources.physical import PATHED, PHYSICAL, RULE_ARN, filled
from pcapeda.rules.sources.source_tree import Document, elements, member, members, text
from pcapeda.rules.sources.unknowns import UNKNOWN, as_written

NOTHING = Node("word", None, -2)
"""What AWS::NoValue stands for: the property is left out."""
LOOP = "Fn::ForEach::"
_TEXTS = ("Fn::Sub", "Fn::Join", "Fn::GetAtt", "Fn::ImportValue")
"""Functions of which something can be shown where a part is not known."""
_VARIABLE = re.compile(r"\$\{(!?)([^{}]*)\}")
_DYNAMIC = re.compile(r"\{\{resolve:([^{}]*)\}\}")
_STACKS = ("AWS::CloudFormation::Stack", "AWS::Serverless::Application")


class Resolver:
    """Replaces intrinsic functions by their values."""

    def __init__(
        self,
        document: Document,
        root: Node,
        collector: Collector,
        given: Given,
        *,
        outputs: Callable[[str, str], Node] | None = None,
    ) -> None:
        """`outputs` resolves an output of a nested stack by the stack's logical id and the output's name."""
        self.document = document
        self.collector = collector
        self.given = given
        self._outputs = outputs
        self._bounds = Bounds()
        self._lenient = 0
        self._pseudo = given.pseudo()
        self._tables: dict[int, tuple[Node, dict[str, Node]]] = {}
        self.parameters = dict(members(member(root, "Parameters")))
        self._mappings = member(root, "Mappings")
        self.resources: dict[str, Node] = {}
        self.outputs: dict[str, Node] = dict(members(member(root, "Outputs")))
        written = dict(members(member(root, "Conditions")))
        for name in [name for name in written if name.startswith(LOOP)]:
            written.update(self._unrolled(name, written.pop(name)))
        self._conditions = Conditions(written, self._bounds, self._must)
        for name, resource in members(member(root, "Resources")):
            self.resources.update(self._unrolled(name, resource) if name.startswith(LOOP) else {name: resource})

    def _unrolled(self, name: str, loop: Node) -> dict[str, Node]:
        try:
            return dict(self._loop(loop))
        except Unresolved as unresolved:
            self.collector.problem("error", self.document.where(loop), name, f"not known offline: {unresolved.reason}")
            return {}

    # what is asked for

    def text(self, node: Node | None) -> str | None:
        """A value that must come out as text. Raises `Unresolved`."""
        value = self.value(node)
        if value is None or (value.kind == "word" and value.value is None):
            return None
        found = text(value)
        if found is None:
            raise Unresolved("text is expected here", node or value)
        return found

    def shown(self, node: Node | None) -> str:
        """A value as text, with `${Name}` in the place of every reference that is not known."""
        self._lenient += 1
        try:
            return self.text(node) or ""
        except Unresolved:
            return as_written(node)
        finally:
            self._lenient -= 1

    def value(self, node: Node | None) -> Node | None:
        """A value with all intrinsic functions in it replaced, or None where nothing is left. Raises `Unresolved`."""
        if node is None:
            return None
        self._bounds.spend(1, node)
        with self._bounds.deeper(node):
            return self._value(node)

    def shallow(self, node: Node | None) -> Node | None:
        """A value whose outermost function is replaced, and no more. Raises `Unresolved`."""
        found = self._function(node) if node is not None else None
        return node if found is None else self.value(node)

    def _text_of(self, parts: Iterable[str], node: Node) -> Node:
        """The parts as one text, with its dynamic references replaced."""
        return Node("string", self._dynamic(self._bounds.joined(parts, node), node), node.at)

    def _dynamic(self, written: str, node: Node) -> str:
        """Text with its dynamic references (`{{resolve:ssm:/path}}`) replaced by what was given for them."""
        if "{{resolve:" not in written:
            return written

        def looked_up(found: re.Match[str]) -> str:
            name = found.group(1)
            for one in (name, name.rpartition(":")[0]) if name.startswith("ssm") else (name,):
                self.collector.used.add(one)
                if one in self.given.values:
                    return self.given.values[one]
            if self._lenient:
                return f"${{{name}}}"
            raise Unresolved(one_line(found.group(), 200), node)

        return _DYNAMIC.sub(looked_up, written)

    # values

    def _value(self, node: Node) -> Node | None:
        function = self._function(node)
        if function is not None:
            made = function()
            return None if made is NOTHING else made
        if node.kind == "object":
            written = node.value
            if any(key.startswith(LOOP) for key, _ in written):
                written = [
                    pair
                    for key, inner in written
                    for pair in (self._loop(inner) if key.startswith(LOOP) else [(key, inner)])
                ]
            pairs = [(key, self.value(inner)) for key, inner in written]
            return Node("object", [(key, inner) for key, inner in pairs if inner is not None], node.at)
        if node.kind == "array":
            values = [self.value(inner) for inner in node.value]
            return Node("array", [inner for inner in values if inner is not None], node.at)
        if node.kind == "string":
            whole = self._bounds.joined([node.value], node)
            return node._replace(value=self._dynamic(whole, node)) if "{{resolve:" in whole else node
        return node

    def _function(self, node: Node) -> Callable[[], Node] | None:
        """What computes a node, if it is an intrinsic function."""
        if node.kind != "object" or len(node.value) != 1:
            return None
        name, operand = node.value[0]
        if name == "Ref" and operand.kind == "string":
            return lambda: self._reference(operand.value, node, lambda: self._ref(operand.value, node))
        if not name.startswith("Fn::") or name.startswith(LOOP):
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
            "Fn::ImportValue": self._import,
            "Fn::Length": self._length,
            "Fn::ToJsonString": self._to_json,
        }
        if name == UNKNOWN:
            return lambda: self._told(operand, node)
        if name not in known:
            return lambda: self._unknown(name, node)
        if name in _TEXTS:
            return lambda: known[name](operand, node)
        return lambda: self._strictly(lambda: known[name](operand, node))

    def _strictly(self, made: Callable[[], Node]) -> Node:
        """What depends on a value, rather than holding it, is not known where the value is not."""
        lenient, self._lenient = self._lenient, 0
        try:
            return made()
        finally:
            self._lenient = lenient

    def _unknown(self, name: str, node: Node) -> Node:
        detail = json_of(member(node, name) or node)
        raise Unresolved(f"{name} {detail if len(detail) <= 80 else detail[:79] + '…'}", node)

    def _told(self, operand: Node, node: Node) -> Node:
        reason, written = elements(operand)
        if self._lenient:
            return written
        raise Unresolved(reason.value, node)

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

    def _table(self, node: Node | None) -> dict[str, Node]:
        """The members of an object of the document by name; large ones are looked up often."""
        if node is None or node.kind != "object":
            return {}
        if id(node) not in self._tables:
            self._tables[id(node)] = (node, dict(node.value))
        return self._tables[id(node)][1]

    # references

    def _reference(self, name: str, node: Node, look_up: Callable[[], Node]) -> Node:
        try:
            return look_up()
        except Unresolved:
            if self._lenient:
                return Node("string", f"${{{name}}}", node.at)
            raise

    def _given(self, name: str) -> str | None:
        self.collector.used.add(name)
        return self.given.values.get(name)

    def _ref(self, name: str, node: Node) -> Node:
        if name == "AWS::NoValue":
            return NOTHING
        declared = self.parameters.get(name)
        if declared is not None:
            return self._parameter(name, declared, node)
        given = self._given(name)
        if given is None and name in self.given.unknown:
            raise Unresolved(self.given.unknown[name], node)
        if given is None:
            given = self._stack_name() if name == "AWS::StackName" else self._pseudo.get(name)
        if given is not None:
            return self._text_of([given], node)
        if name.startswith("AWS::"):
            raise Unresolved(f"{name} (give it as a parameter)", node)
        return self._physical(name, None, node)

    def _stack_name(self) -> str:
        if self.given.stack is not None:
            return self.given.stack
        name = re.split(r"[/\\]", self.document.name)[-1]
        for ending in (".json", ".yaml", ".yml", ".template"):
            name = name.removesuffix(ending)
        self.collector.problem("note", self.document.name, "", f"AWS::StackName is taken to be {name}, the file's name")
        return name

    def _parameter(self, name: str, declared: Node, node: Node) -> Node:
        kind = text(member(declared, "Type")) or "String"
        given = self._given(name)
        if name in self.given.unknown:
            raise Unresolved(self.given.unknown[name], node)
        if "SSM::Parameter::Value" in kind:
            given = self._from_ssm(name, given, declared, node)
        if given is None:
            given = text(member(declared, "Default"))
        if given is None:
            raise Unresolved(f"parameter {name} has no default (give it as a parameter)", node)
        if kind == "CommaDelimitedList" or "List<" in kind or "<CommaDelimitedList" in kind:
            parts = given.split(",")
            self._bounds.spend(len(parts), node)
            return Node("array", [self._text_of([part.strip()], node) for part in parts], node.at)
        return self._text_of([given], node)

    def _from_ssm(self, name: str, given: str | None, declared: Node, node: Node) -> str:
        """The value of a parameter that names one of Systems Manager: as given itself, or for the path it names."""
        path = given if given is not None else text(member(declared, "Default")) or ""
        found = self._given(f"ssm:{path}") if path else None
        if found is not None:
            return found
        if given is not None and not given.startswith("/"):
            return given
        raise Unresolved(f"parameter {name} is read from SSM (give its value as a parameter)", node)

    def _get_att(self, operand: Node, node: Node) -> Node:
        if operand.kind == "string":
            parts = operand.value.split(".", 1)
        else:
            parts = [self._string(one) for one in elements(operand)]
        if len(parts) != 2:
            raise Unresolved("Fn::GetAtt needs a resource and an attribute", node)
        logical, attribute = parts

        def look_up() -> Node:
            given = self._given(f"{logical}.{attribute}")
            return self._text_of([given], node) if given is not None else self._physical(logical, attribute, node)

        return self._reference(f"{logical}.{attribute}", node, look_up)

    def _physical(self, logical: str, attribute: str | None, node: Node) -> Node:
        """What a resource is called, or one of its attributes, where the template writes down its name."""
        resource = self.resources.get(logical)
        kind = text(member(resource, "Type")) or ""
        shown = logical if attribute is None else f"{logical}.{attribute}"
        why = f"{shown} ({kind})" if kind else f"{shown}, which the template does not declare"
        properties = member(resource, "Properties")
        if kind in _STACKS and attribute is not None and attribute.startswith("Outputs.") and self._outputs:
            return self._outputs(logical, attribute.removeprefix("Outputs."))
        if kind == "AWS::SSM::Parameter" and attribute == "Value":
            return self._must(member(properties, "Value") or node)
        if kind == "AWS::Events::Rule":
            made = self._rule(properties, attribute)
        else:
            row = PHYSICAL.get(kind) or PATHED.get(kind)
            made = row and (row.ref if attribute is None else row.attributes.get(attribute))
            if row is not None and made is not None:
                name = self.text(member(properties, *row.property.split(".")))
                path = self.text(member(properties, "Path")) if kind in PATHED else None
                made = name and filled(made, name.lower() if row.lower else name, self._pseudo, path or "/")
        if not made:
            raise Unresolved(why, node)
        return self._text_of([made], node)

    def _rule(self, properties: Node | None, attribute: str | None) -> str | None:
        """A rule's name, or with its bus before it on a bus that is not the default one; or its ARN."""
        name, bus = self.text(member(properties, "Name")), self.text(member(properties, "EventBusName"))
        if name is None or attribute not in (None, "Arn"):
            return None
        bus = bus.rpartition("event-bus/")[2] if bus else ""
        bus = "" if bus == "default" else bus
        if attribute is None:
            return f"{bus}|{name}" if bus else name
        return filled(RULE_ARN, f"{bus}/{name}" if bus else name, self._pseudo)

    def _import(self, operand: Node, node: Node) -> Node:
        name = self._string(operand)
        given = self._given(f"import:{name}")
        if given is not None:
            return self._text_of([given], node)
        if self._lenient:
            return Node("string", f"${{{name}}}", node.at)
        raise Unresolved(f"Fn::ImportValue {json_of(Node('string', one_line(name, 200)))}", node)

    # functions

    def _sub(self, operand: Node, node: Node) -> Node:
        template, variables = operand, dict[str, Node]()
        if operand.kind == "array":
            parts = self._list(operand, node, 2)
            template, variables = parts[0], dict(members(parts[1]))
        if template.kind != "string":
            raise Unresolved("Fn::Sub needs text", node)

        def pieces() -> Iterator[str]:
            end = 0
            for found in _VARIABLE.finditer(template.value):
                yield template.value[end : found.start()]
                end = found.end()
                yield self._variable(found, variables, node)
            yield template.value[end:]

        return self._text_of(pieces(), node)

    def _variable(self, found: re.Match[str], variables: dict[str, Node], node: Node) -> str:
        literal, name = found.group(1), found.group(2).strip()
        if literal:
            return f"${{{found.group(2)}}}"
        if name in variables:
            return self._string(variables[name])
        if "." in name:
            parts = [Node("string", part, node.at) for part in name.split(".", 1)]
            return self._string(Node("object", [("Fn::GetAtt", Node("array", parts, node.at))], node.at))
        return self._string(Node("object", [("Ref", Node("string", name, node.at))], node.at))

    def _join(self, operand: Node, node: Node) -> Node:
        between, parts = self._list(operand, node, 2)[:2]
        separator = self._string(between)
        found = elements(self._must(parts))
        self._bounds.spend(len(found), node)

        def pieces() -> Iterator[str]:
            for number, part in enumerate(found):
                if number:
                    yield separator
                yield self._plain(part, node)

        return self._text_of(pieces(), node)

    def _plain(self, part: Node, node: Node) -> str:
        found = text(part)
        if found is None:
            raise Unresolved("text is expected here", part if part.at >= 0 else node)
        return found

    def _select(self, operand: Node, node: Node) -> Node:
        index, values = self._list(operand, node, 2)[:2]
        position, found = self._string(index), elements(self._must(values))
        if not position.isdecimal() or len(position) > 6 or int(position) >= len(found):
            raise Unresolved(f"Fn::Select finds no element {one_line(position, 40)}", node)
        return found[int(position)]

    def _split(self, operand: Node, node: Node) -> Node:
        between, whole = self._list(operand, node, 2)[:2]
        separator, joined = self._string(between), self._string(whole)
        if not separator:
            raise Unresolved("Fn::Split needs a separator", node)
        self._bounds.spend(joined.count(separator) + 1, node)
        return Node("array", [Node("string", part, node.at) for part in joined.split(separator)], node.at)

    def _find_in_map(self, operand: Node, node: Node) -> Node:
        keys = self._list(operand, node, 3)
        default = member(keys[3], "DefaultValue") if len(keys) > 3 else None
        names = [self._string(key) for key in keys[:3]]
        found = self._mappings
        for name in names:
            found = self._table(found).get(name)
        if found is None and default is None:
            raise Unresolved(f"no mapping {one_line('.'.join(names), 200)}", node)
        return self._must(found if found is not None else default or node)

    def _base64(self, operand: Node, node: Node) -> Node:
        encoded = base64.b64encode(self._string(operand).encode(errors="replace")).decode()
        return self._text_of([encoded], node)

    def _length(self, operand: Node, node: Node) -> Node:
        return Node("number", str(len(elements(self._must(operand)))), node.at)

    def _to_json(self, operand: Node, node: Node) -> Node:
        return self._text_of([json_of(self._must(operand))], node)

    # loops (AWS::LanguageExtensions)

    def _loop(self, loop: Node) -> list[tuple[str, Node]]:
        """What `Fn::ForEach::Name: [identifier, collection, {key: value}]` stands for. Raises `Unresolved`."""
        with self._bounds.deeper(loop):
            if loop.kind != "array" or len(loop.value) != 3 or text(loop.value[0]) is None:
                raise Unresolved("Fn::ForEach needs an identifier, a collection and a body", loop)
            name, body = str(text(loop.value[0])), loop.value[2]
            made: list[tuple[str, Node]] = []
            for one in elements(self._must(loop.value[1])):
                bound = self._bounds.bound(body, name, self._plain(one, loop))
                for key, inner in members(bound):
                    made += self._loop(inner) if key.startswith(LOOP) else [(key, inner)]
            return made

    # conditions

    def _if(self, operand: Node, node: Node) -> Node:
        name, yes, no = self._list(operand, node, 3)[:3]
        condition = text(name)
        if condition is None:
            raise Unresolved("Fn::If needs the name of a condition", node)
        return self.value(yes if self.condition(condition, node) else no) or NOTHING

    def condition(self, name: str, node: Node) -> bool:
        """Whether a condition of the template holds. Raises `Unresolved`."""
        return self._conditions.hold(name, node)
