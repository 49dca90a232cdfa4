"""Rules from wherever they are kept: files, folders, accounts.

A source is a file, a folder (searched for JSON and YAML files, hidden ones and `node_modules` left out), or `aws:` and
the name of a bus. A file is one of: a pattern alone; the input of `aws events put-rule --cli-input-json`; the output of
`describe-rule` or `list-rules`, with that of `list-targets-by-rule` in a file beside it that bears the rule's name; a
list of `{Name, EventPattern, EventBusName, State, Targets}`; a CloudFormation, SAM or CDK-synthesised template; what
`terraform show -json` gives, a Terraform state of version 4, or `*.tf.json`; a Serverless Framework service. A cloud
assembly of the CDK (`cdk.out`, or its `manifest.json`) is its stacks' templates.

What is not known offline is named in `problems`, never guessed; a rule that it concerns is kept and selects nothing.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pcapeda.errors import BadRule
from pcapeda.rules.json_reader import Node
from pcapeda.rules.rule import ENABLED_STATES, Rule, Target
from pcapeda.rules.sources.account import read_account
from pcapeda.rules.sources.assembly import MANIFEST, assembly_files, beside
from pcapeda.rules.sources.cloudformation import is_template, read_template
from pcapeda.rules.sources.diagnostics import Collector, Problem, targets
from pcapeda.rules.sources.given import Given
from pcapeda.rules.sources.serverless import is_serverless, read_serverless
from pcapeda.rules.sources.source_tree import Document, elements, member, members, read, real_path, text
from pcapeda.rules.sources.terraform import is_terraform, read_terraform
from pcapeda.rules.sources.terraform_json import read_terraform_json

ENDINGS = (".json", ".yaml", ".yml", ".template", ".tfstate")
"""Files of a folder that are looked into."""
MAX_FILES = 10_000
CODE = (".ts", ".js", ".mjs", ".cjs", ".py", ".go", ".java", ".cs")
"""Files of programs that make templates: of the CDK, or of Serverless."""
HCL = (".tf", ".tofu")
"""Files of Terraform's own language, which is not read."""

_PATTERN_FIELDS = {"source", "detail", "detail-type", "account", "region", "resources", "time", "id", "version", "$or"}


class Loaded(NamedTuple):
    """The rules that were found, what could not be understood of them, and remarks on what was left out."""

    rules: tuple[Rule, ...]
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...] = ()

    @property
    def targets(self) -> dict[str, tuple[Target, ...]]:
        """The targets of each rule, by its name."""
        return {rule.name: rule.targets for rule in self.rules}


def load(
    sources: Sequence[str],
    *,
    parameters: Mapping[str, str] | None = None,
    region: str | None = None,
    account: str | None = None,
    profile: str | None = None,
    endpoint_url: str | None = None,
) -> Loaded:
    """All rules of the sources, in order. Raises `BadRule` for a source that cannot be read or holds no rules.

    `parameters` are those of templates, and values that templates look up elsewhere (see `given.Given`); `region` and
    `account` what templates say of where they are deployed (if not given, what files beside them say, or the
    documentation's example account); `region`, `profile` and `endpoint_url` reach an account (`SinkDown` if they do
    not).
    """
    collector, given = Collector(), Given(dict(parameters or {}), region, account)
    held: list[tuple[Document, Path]] = []
    for source in map(str, sources):
        if source == "aws" or source.startswith("aws:"):
            bus = source.removeprefix("aws").removeprefix(":")
            read_account(bus, collector, region=region, profile=profile, endpoint_url=endpoint_url)
        else:
            _source(source, collector, given, held)
    for document, path in held:
        _give(document, path, collector)
    for name in given.values:
        if name not in collector.used:
            collector.problem("note", "parameters", "", f"{name} is not asked for by any template")
    problems = [one for one in collector.problems if one.severity != "note"]
    notes = [one for one in collector.problems if one.severity == "note"]
    return Loaded(tuple(collector.rules), tuple(problems), tuple(notes))


_HINT = (
    "a rule file is a pattern, put-rule or describe-rule JSON, a list of rules, a CloudFormation, SAM or CDK template, "
    "a Terraform state, terraform show -json, *.tf.json, or a Serverless service"
)
_HCL_HINT = "terraform plan -out p; terraform show -json p > plan.json (or with tofu), and give plan.json"
_CODE_HINT = (
    "cdk synth, and give cdk.out; or serverless package, and give .serverless/cloudformation-template-update-stack.json"
)


def _hcl(name: str) -> str:
    return f"{name}: Terraform's HCL is not read: let Terraform make JSON of it"


def _source(source: str, collector: Collector, given: Given, held: list[tuple[Document, Path]]) -> None:
    """Add the rules of a file or folder; what is read as a part of another file of a folder is not read twice."""
    files = _files(Path(source), collector)
    several = Path(source).is_dir() or files != [Path(source)]
    found: list[tuple[Path, Collector]] = []
    for path in files:
        own = Collector()
        found.append((path, own))
        try:
            document = read(path, str(path))
            kind = _read(document, path, own, given, alone=not several)
        except BadRule as error:
            if not several:
                raise
            own.problem("note", str(path), "", f"left out: {error}")
            continue
        if kind == "targets":
            held.append((document, path))
        elif kind is None:
            if not several:
                raise BadRule(f"{source}: no rules in it", hint=_HINT)
            own.problem("note", str(path), "", "left out: no rules in it")
        elif not own.rules:
            own.problem("note", str(path), "", f"{kind} without rules")
    included = {path for _, own in found for path in own.included}
    for path, own in found:
        if several and included and real_path(path) in included:
            collector.problem("note", str(path), "", "read as a part of the file that names it")
            collector.used |= own.used
        else:
            collector.take(own)


def _files(source: Path, collector: Collector) -> list[Path]:
    """A file, or the files of a folder and of those in it, by name; of a cloud assembly, its templates."""
    if not source.is_dir():
        if source.name.endswith(HCL):
            raise BadRule(_hcl(str(source)), hint=_HCL_HINT)
        if source.name.endswith(CODE):
            raise BadRule(f"{source}: programs are not run: let the tool that runs it make a template", hint=_CODE_HINT)
        stacks = assembly_files(source) if source.name == MANIFEST else None
        if stacks is not None and not stacks:
            raise BadRule(f"{source}: a cloud assembly without stacks")
        return stacks or [source]
    found: list[Path] = []
    unread: list[Path] = []
    for folder, inner, names in os.walk(source):
        assembly = assembly_files(Path(folder, MANIFEST)) if MANIFEST in names else None
        if assembly is not None:
            inner.clear()
            found += assembly
            continue
        inner[:] = sorted(name for name in inner if not name.startswith(".") and name != "node_modules")
        seen = [Path(folder, name) for name in sorted(names) if not name.startswith(".") and ".pcapeda." not in name]
        found += [path for path in seen if path.name.endswith(ENDINGS)]
        unread += [path for path in seen if path.name.endswith(HCL)]
        if len(found) > MAX_FILES:
            raise BadRule(f"{source}: more than {MAX_FILES:,} files")
    if not found and unread:
        raise BadRule(_hcl(str(unread[0] if len(unread) == 1 else source)), hint=_HCL_HINT)
    if not found:
        raise BadRule(f"{source}: no {', '.join(ENDINGS)} files in it")
    if unread:
        collector.problem("note", str(source), "", f"left out: {len(unread)} files of HCL ({_HCL_HINT})")
    return found


def _read(document: Document, path: Path, collector: Collector, given: Given, *, alone: bool) -> str | None:
    """Add the rules of a document; says what it is, or None where it is nothing that holds rules.

    In a folder, an object only counts as a pattern if it looks like one.
    """
    root = document.root
    if root.kind == "array":
        return "a list" if _rules(document, root, path.stem, collector) else None
    if root.kind != "object":
        return None
    for reader in READERS:
        if reader.matches(root, path):
            reader.read(document, path, collector, given)
            return reader.what
    listed = next((member(root, key) for key in ("Rules", "rules") if _is_list_of_objects(member(root, key))), None)
    if listed is not None:
        return "a list" if _rules(document, listed, path.stem, collector) or not listed.value else None
    if _is_rule(root) or _is_bare_rule(root):
        _rule(document, root, path.stem, collector)
        return "a rule"
    if _is_list_of_objects(member(root, "Targets")):
        return "targets"
    looks = any(key in _PATTERN_FIELDS for key, _ in members(root)) and all(
        value.kind in ("object", "array") for _, value in members(root)
    )
    if alone or looks:
        collector.rule(document, root, path.stem, root)
        return "a pattern"
    return None


class Reader(NamedTuple):
    """A kind of file that tools of deployment read or write: what it is called, how it is known, how it is read."""

    what: str
    matches: Callable[[Node, Path], bool]
    """Whether a document is one, by its root (an object) and its path."""
    read: Callable[[Document, Path, Collector, Given], None]
    """Adds its rules to the collector."""


def _read_template(document: Document, path: Path, collector: Collector, given: Given) -> None:
    completed, said = beside(path, given)
    if said:
        collector.problem("note", document.name, "", said)
    read_template(document, document.root, collector, completed, path)


READERS = (
    Reader("a template", lambda root, _: is_template(root), _read_template),
    Reader(
        "a Terraform plan or state",
        lambda root, _: is_terraform(root),
        lambda document, _path, collector, _given: read_terraform(document, collector),
    ),
    Reader(
        "a Terraform configuration",
        lambda _, path: path.name.endswith((".tf.json", ".tofu.json")),
        lambda document, path, collector, given: read_terraform_json(document, collector, given, path),
    ),
    Reader(
        "a Serverless service",
        lambda root, _: is_serverless(root),
        lambda document, path, collector, given: read_serverless(document, collector, given, path),
    ),
)
"""In this order: the first that knows a document reads it."""


def _is_list_of_objects(node: Node | None) -> bool:
    return node is not None and node.kind == "array" and all(one.kind == "object" for one in node.value)


def _is_rule(node: Node) -> bool:
    """Whether an object is a rule as the EventBridge API writes it."""
    pattern = member(node, "EventPattern")
    return (pattern is not None and pattern.kind in ("string", "object")) or (
        text(member(node, "ScheduleExpression")) is not None and member(node, "Name") is not None
    )


def _is_bare_rule(node: Node) -> bool:
    """Whether an object is such a rule that has neither a pattern nor a schedule (or null for one)."""
    name = member(node, "Name")
    any_key = any(member(node, key) is not None for key in ("EventPattern", "ScheduleExpression", "EventBusName"))
    state = text(member(node, "State")) in (*ENABLED_STATES, "DISABLED")
    return name is not None and name.kind == "string" and (any_key or state)


def _rules(document: Document, listed: Node, stem: str, collector: Collector) -> bool:
    """Add a list of rules; False if it is a list of something else."""
    found = [one for one in elements(listed) if _is_rule(one) or _is_bare_rule(one)]
    for number, one in enumerate(elements(listed), 1):
        if found:
            _rule(document, one, f"{stem}-{number}", collector)
    return bool(found)


def _rule(document: Document, node: Node, otherwise: str, collector: Collector) -> None:
    """Add a rule as the EventBridge API writes it."""
    pattern, schedule = member(node, "EventPattern"), text(member(node, "ScheduleExpression"))
    neither = schedule is None and (pattern is None or (pattern.kind == "word" and pattern.value is None))
    collector.rule(
        document,
        node,
        text(member(node, "Name")) or otherwise,
        pattern,
        bus=text(member(node, "EventBusName")),
        state=text(member(node, "State")),
        schedule=schedule,
        targets=targets(member(node, "Targets")),
        problem="it has neither EventPattern nor ScheduleExpression" if neither else "",
        arn=text(member(node, "Arn")) or "",
    )


def _give(document: Document, path: Path, collector: Collector) -> None:
    """Give the output of `list-targets-by-rule` to the rule of the same folder whose name its file's name holds."""
    beside = [
        rule for rule in collector.rules if Path(rule.origin.rpartition(":")[0] or rule.origin).parent == path.parent
    ]
    named = [rule for rule in beside if re.search(rf"(?<![^\W_]){re.escape(rule.name)}(?![^\W_])", path.stem)]
    owner = max(named, key=lambda rule: len(rule.name), default=beside[0] if len(beside) == 1 else None)
    if owner is None:
        collector.problem("warning", str(path), "", "which rule has these targets? name the file after the rule")
        return
    found = targets(member(document.root, "Targets"))
    index = collector.rules.index(owner)
    collector.rules[index] = owner.with_targets((*owner.targets, *found))
