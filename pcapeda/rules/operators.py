"""From an alternative as written to a `Test`: the grammar of the operators, refused with the service's own words.

The reasons are those of EventBridge's answers (TestEventPattern, PutRule); the first offence in document order counts.
"""

from collections.abc import Callable

from pcapeda.rules import matchers
from pcapeda.rules.json_reader import Malformed, Node, RawNumber, json_of, number
from pcapeda.rules.matchers import Block, Range, Test

_NESTED: dict[str, Callable[[str, str], Test]] = {
    "prefix": matchers.prefix,
    "suffix": matchers.suffix,
    "equals-ignore-case": matchers.equals_ignore_case,
}


def alternative(node: Node) -> Test:
    """One member of a field's array. Raises `Malformed`."""
    shown = json_of(node)
    if node.kind == "string":
        return matchers.string(node.value, shown)
    if node.kind == "number":
        return matchers.plain_number(node.value)
    if node.kind == "word":
        return matchers.word(node.value)
    if node.kind == "array":
        raise Malformed("Match value must be String, number, true, false, or null", node.at)
    if not node.value:
        raise Malformed("Match expression name not found", node.at)
    name, operand = node.value[0]
    if name not in _OPERATORS:
        raise Malformed(f"Unrecognized match type {name}", operand.at)
    test = _OPERATORS[name](operand, shown)
    if len(node.value) > 1:
        strange = name in ("numeric", "anything-but")
        raise Malformed(_TOO_MANY if strange else _ONE_KEY, node.value[1][1].at)
    return test


_ONE_KEY = "Only one key allowed in match expression"
_TOO_MANY = "Too many elements in numeric expression"


def _exactly(operand: Node, shown: str) -> Test:
    return matchers.exactly(_string(operand, "exact match pattern must be a string"), shown)


def _prefix(operand: Node, shown: str) -> Test:
    if operand.kind == "object":
        return matchers.prefix_ignore_case(_ignore_case("Prefix", operand), shown)
    return matchers.prefix(_string(operand, "prefix match pattern must be a string"), shown)


def _suffix(operand: Node, shown: str) -> Test:
    if operand.kind == "object":
        return matchers.suffix_ignore_case(_ignore_case("Suffix", operand), shown)
    return matchers.suffix(_string(operand, "suffix match pattern must be a string"), shown)


def _ignore_case(which: str, node: Node) -> str:
    """The text of `{"equals-ignore-case": text}` inside a prefix or suffix."""
    if not node.value:
        raise Malformed(f"{which} expression name not found", node.at)
    name, operand = node.value[0]
    if name != "equals-ignore-case":
        raise Malformed(f"Unsupported {which.lower()} pattern: {name}", operand.at)
    text = _string(operand, "equals-ignore-case match pattern must be a string")
    if len(node.value) > 1:
        raise Malformed(_ONE_KEY, node.value[1][1].at)
    return text


def _equals_ignore_case(operand: Node, shown: str) -> Test:
    return matchers.equals_ignore_case(_string(operand, "equals-ignore-case match pattern must be a string"), shown)


def _wildcard(operand: Node, shown: str) -> Test:
    return matchers.wildcard(_pieces(operand), shown)


def _pieces(operand: Node) -> list[str]:
    pieces = matchers.segments(_string(operand, "wildcard match pattern must be a string"))
    if isinstance(pieces, tuple):
        raise Malformed(f"{pieces[0]} at pos {pieces[1]}", operand.at)
    return pieces


def _exists(operand: Node, shown: str) -> Test:
    if operand.kind != "word" or operand.value is None:
        raise Malformed("exists match pattern must be either true or false.", operand.at)
    return matchers.exists(shown) if operand.value else matchers.absent(shown)


def _cidr(operand: Node, shown: str) -> Test:
    text = _string(operand, "prefix match pattern must be a string")  # the service's own wording
    parts = text.split("/")
    while parts and not parts[-1]:  # as Java splits: what is empty at the end does not count
        parts.pop()
    if len(parts) != 2:
        raise Malformed("Malformed CIDR, one '/' required", operand.at)
    digits, sign = parts[1], parts[1][:1]
    if sign in ("+", "-"):
        digits = digits[1:]
    if not digits.isdecimal() or len(digits) > 1000 or int(digits) > 0x7FFFFFFF:
        raise Malformed("Malformed CIDR, mask bits must be an integer", operand.at)
    bits = -int(digits) if sign == "-" else int(digits)
    if bits < 0:
        raise Malformed("Malformed CIDR, mask bits must not be negative", operand.at)
    found = matchers.address(parts[0])
    if found is None:
        looks = (":" in parts[0] and not parts[0].strip("0123456789abcdefABCDEF:")) or _dotted(parts[0])
        raise Malformed(f"{'Invalid' if looks else 'Nonstandard'} IP address: {parts[0]}", operand.at)
    width = 4 * len(found)
    if bits >= width:
        raise Malformed(f"IPv{4 if width == 32 else 6} mask bits must be < {width}", operand.at)
    hosts = (1 << (width - bits)) - 1
    first = int(found, 16) & ~hosts
    return matchers.cidr(Block(f"{first:0{len(found)}x}", f"{first | hosts:0{len(found)}x}", bits), shown)


def _dotted(text: str) -> bool:
    octets = text.split(".")
    return len(octets) == 4 and text.isascii() and all(octet.isdigit() for octet in octets)


def _numeric(operand: Node, shown: str) -> Test:
    if operand.kind != "array":
        raise Malformed("Value of numeric must be an array.", operand.at)
    terms: list[Node] = operand.value
    operator = _operator(terms, 0, operand, "Invalid member in numeric match")
    if operator not in ("=", "<", "<=", ">", ">="):
        raise Malformed(f"Unrecognized numeric range operator: {operator}", terms[0].at)
    bound = _bound(terms, 1, operand, "equals" if operator == "=" else operator)
    if operator in ("=", "<", "<="):
        if len(terms) > 2:
            raise Malformed(_TOO_MANY, terms[2].at)
        value = _comparable(bound)
        if operator == "=":
            return matchers.numeric(Range(value, False, value, False), shown)
        return matchers.numeric(Range(None, False, value, operator == "<"), shown)
    if len(terms) == 2:
        return matchers.numeric(Range(_comparable(bound), operator == ">", None, False), shown)
    upper = _operator(terms, 2, operand, "Bad value in numeric range")
    if upper not in ("<", "<="):
        raise Malformed(f"Bad numeric range operator: {upper}", terms[2].at)
    top = _bound(terms, 3, operand, upper)
    if len(terms) > 4:
        raise Malformed("Too many terms in numeric range expression", terms[4].at)
    low, high = _comparable(bound), _comparable(top)
    if low >= high:
        raise Malformed("Bottom must be less than top", operand.at)
    return matchers.numeric(Range(low, operator == ">", high, upper == "<"), shown)


def _operator(terms: list[Node], index: int, whole: Node, reason: str) -> str:
    if index >= len(terms):
        raise Malformed(f"{reason}: ]", whole.at)
    return _string(terms[index], f"{reason}: {_token(terms[index])}")


def _bound(terms: list[Node], index: int, whole: Node, operator: str) -> Node:
    if index >= len(terms) or terms[index].kind != "number":
        raise Malformed(f"Value of {operator} must be numeric", terms[index].at if index < len(terms) else whole.at)
    return terms[index]


def _comparable(node: Node) -> float:
    value = number(node.value)
    if isinstance(value, RawNumber):
        raise Malformed(f"Cannot compare number : {node.value}", node.at)
    return value


def _token(node: Node) -> str:
    return {"object": "{", "array": "["}.get(node.kind) or json_of(node)


def _anything_but(operand: Node, shown: str) -> Test:
    if operand.kind == "object":
        return _anything_but_form(operand, shown)
    if operand.kind in ("string", "number"):
        return matchers.anything_but([_excluded(operand)], shown)
    if operand.kind != "array":
        raise Malformed("Value of anything-but must be an array or single string/number value.", operand.at)
    excluded = []
    for node in operand.value:
        if node.kind not in ("string", "number"):
            raise Malformed("Inside anything but list, start|null|boolean is not supported.", node.at)
        excluded.append(_excluded(node))
    if len({node.kind for node in operand.value}) != 1:
        raise Malformed(
            "Inside anything but list, either all values are number or string, mixed type is not supported", operand.at
        )
    return matchers.anything_but(excluded, shown)


def _excluded(node: Node) -> str | float:
    return str(node.value) if node.kind == "string" else _comparable(node)


_FORMS = {
    "prefix": "prefix/suffix match pattern must be a string",
    "suffix": "prefix/suffix match pattern must be a string",
    "equals-ignore-case": ("Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported."),
    "wildcard": "wildcard match pattern must be a string",
}


def _anything_but_form(node: Node, shown: str) -> Test:
    """`{"prefix": …}` and its like inside anything-but: a string or a list of strings."""
    if not node.value:
        raise Malformed("Anything-But expression name not found", node.at)
    name, operand = node.value[0]
    if name not in _FORMS:
        raise Malformed(f"Unsupported anything-but pattern: {name}", operand.at)
    if operand.kind not in ("string", "number", "array"):
        raise Malformed("Value of anything-but must be an array or single string/number value.", operand.at)
    tests = []
    for inner in operand.value if operand.kind == "array" else [operand]:
        text = _string(inner, _FORMS[name])
        if not text and name in ("prefix", "suffix"):
            raise Malformed("Null prefix/suffix not allowed", inner.at)
        if name == "wildcard":
            tests.append(matchers.wildcard(_pieces(inner), json_of(inner)))
        else:
            tests.append(_NESTED[name](text, json_of(inner)))
    if not tests:
        raise Malformed(f"Empty list in anything-but/{name}", operand.at)
    if len(node.value) > 1:
        raise Malformed(_TOO_MANY, node.value[1][1].at)
    kinds: dict[str, matchers.Kind] = {
        "prefix": "anything-but-prefix",
        "suffix": "anything-but-suffix",
        "equals-ignore-case": "anything-but-equals-ignore-case",
        "wildcard": "anything-but-wildcard",
    }
    return matchers.anything_but_tests(kinds[name], tests, shown)


def _string(node: Node, reason: str) -> str:
    if node.kind != "string":
        raise Malformed(reason, node.at)
    return str(node.value)


_OPERATORS: dict[str, Callable[[Node, str], Test]] = {
    "exactly": _exactly,
    "prefix": _prefix,
    "suffix": _suffix,
    "equals-ignore-case": _equals_ignore_case,
    "wildcard": _wildcard,
    "exists": _exists,
    "cidr": _cidr,
    "numeric": _numeric,
    "anything-but": _anything_but,
}
