"""Files beside a template that say how it is deployed: cloud assemblies of the CDK, `samconfig.toml`, parameter files.

A cloud assembly (`cdk.out`) has a `manifest.json` that names its stacks: template, stack name, account and Region.
`samconfig.toml` has what `sam deploy` would use. Parameter files are those of the AWS CLI and CodePipeline.
"""

import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pcapeda.errors import BadConfig, BadRule
from pcapeda.rules.json_reader import Node
from pcapeda.rules.sources.given import Given
from pcapeda.rules.sources.source_tree import Document, elements, member, members, read_included, text

MANIFEST = "manifest.json"
_STACK, _ASSEMBLY = "aws:cloudformation:stack", "cdk:cloud-assembly"
_MAX_NESTING = 8
_MAX_STACKS = 1000
_SAM_BYTES = 2**20
_SAM_TEMPLATES = ("template.yaml", "template.yml", "template.json")


class Stack(NamedTuple):
    """A stack of a cloud assembly; account and Region are None where it is made for any."""

    template: Path
    name: str
    account: str | None
    region: str | None


def is_assembly(document: Document) -> bool:
    """Whether a document is the manifest of a cloud assembly."""
    artifacts = member(document.root, "artifacts")
    return member(document.root, "version") is not None and any(
        text(member(one, "type")) in (_STACK, _ASSEMBLY) for _, one in members(artifacts)
    )


def stacks(manifest: Path, document: Document | None = None, depth: int = 0) -> Iterator[Stack]:
    """The stacks of an assembly and of those nested in it (stages). Raises `BadRule` for one that cannot be read."""
    document = document or read_included(manifest, str(manifest))
    folder = manifest.parent
    for identity, artifact in members(member(document.root, "artifacts")):
        kind, properties = text(member(artifact, "type")), member(artifact, "properties")
        if kind == _STACK:
            template = text(member(properties, "templateFile"))
            if template and _inside(template):
                place = re.fullmatch(r"aws://([^/]*)/([^/]*)", text(member(artifact, "environment")) or "")
                account, region = place.groups() if place else ("", "")
                yield Stack(
                    folder / template,
                    text(member(properties, "stackName")) or identity,
                    account if account.isdecimal() else None,
                    None if region in ("", "unknown-region") else region,
                )
        elif kind == _ASSEMBLY and depth < _MAX_NESTING:
            name = text(member(properties, "directoryName"))
            if name and _inside(name):
                yield from stacks(folder / name / MANIFEST, depth=depth + 1)


def _inside(name: str) -> bool:
    """Whether a name in a manifest stays in the manifest's folder."""
    return not Path(name).is_absolute() and ".." not in Path(name).parts


def assembly_files(manifest: Path) -> list[Path] | None:
    """The templates of the assembly that a manifest describes; None if it is a manifest of something else."""
    try:
        document = read_included(manifest, str(manifest))
        if not is_assembly(document):
            return None
        found: list[Path] = []
        for stack in stacks(manifest, document):
            if stack.template not in found:
                found.append(stack.template)
            if len(found) > _MAX_STACKS:
                raise BadRule(f"{manifest}: more than {_MAX_STACKS:,} stacks")
    except BadRule:
        return None
    return found


def beside(template: Path, given: Given) -> tuple[Given, str]:
    """What is given, completed by the manifest or `samconfig.toml` beside a template; and a note of what it was."""
    manifest, sam = template.parent / MANIFEST, template.parent / "samconfig.toml"
    if _is_file(manifest):
        try:
            document = read_included(manifest, str(manifest))
            named = list(stacks(manifest, document)) if is_assembly(document) else []
        except BadRule:
            named = []
        for stack in named:
            if stack.template == template:
                return given.filled(region=stack.region, account=stack.account, stack=stack.name), ""
    if _is_file(sam):
        try:
            settings = sam_settings(sam)
        except BadConfig as error:
            return given, f"left out: {error}"
        if template.name == settings.template or (settings.template is None and template.name in _SAM_TEMPLATES):
            said = "parameters, Region and stack name are those of samconfig.toml beside it, where not given"
            return given.filled(values=settings.parameters, region=settings.region, stack=settings.stack), said
    return given, ""


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


class SamSettings(NamedTuple):
    """What `samconfig.toml` says of a deployment."""

    parameters: Mapping[str, str]
    region: str | None
    stack: str | None
    template: str | None


def sam_settings(path: Path, environment: str = "default") -> SamSettings:
    """The settings of `sam deploy` in a `samconfig.toml`. Raises `BadConfig`."""
    try:
        if path.stat().st_size > _SAM_BYTES:
            raise BadConfig(f"{path}: more than {_SAM_BYTES:,} bytes")
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadConfig(f"{path}: {error}") from None
    settings: dict[str, Any] = {}
    for command in ("global", "build", "deploy"):
        section = document.get(environment)
        for key in (command, "parameters"):
            section = section.get(key) if isinstance(section, dict) else None
        if isinstance(section, dict):
            settings |= section

    def string(*keys: str) -> str | None:
        return next((settings[key] for key in keys if isinstance(settings.get(key), str) and settings[key]), None)

    template = string("template_file", "template")
    return SamSettings(
        _overrides(settings.get("parameter_overrides")),
        string("region"),
        string("stack_name"),
        Path(template).name if template else None,
    )


def _overrides(written: Any) -> dict[str, str]:
    """`A=1 B="x y"`, `ParameterKey=A,ParameterValue=1 …`, or a list of these."""
    if isinstance(written, list):
        parts = [one for one in written if isinstance(one, str)]
    else:
        try:
            parts = shlex.split(written) if isinstance(written, str) else []
        except ValueError:
            parts = str(written).split()
    found: dict[str, str] = {}
    for part in parts:
        long = re.fullmatch(r"ParameterKey=([^,]*),\s*ParameterValue=(.*)", part, re.DOTALL)
        name, value = long.groups() if long else part.partition("=")[::2]
        if name:
            found[name.strip()] = value.strip("\"'") if long else value
    return found


def read_parameters(path: str) -> dict[str, str]:
    """A parameter file: the AWS CLI's list, CodePipeline's `{"Parameters": {…}}`, a plain map, or `samconfig.toml`.

    Raises `BadConfig`.
    """
    if path.endswith(".toml"):
        return dict(sam_settings(Path(path)).parameters)
    try:
        document = read_included(Path(path), path)
    except BadRule as error:
        raise BadConfig(str(error)) from None
    root = document.root
    inner = member(root, "Parameters")
    if root.kind == "object" and inner is not None and inner.kind in ("object", "array"):
        root = inner
    pairs: list[tuple[str, Node]] = members(root)
    for one in elements(root):
        key, held = text(member(one, "ParameterKey")), member(one, "ParameterValue")
        if key is not None and held is not None:
            pairs.append((key, held))
        elif one.kind == "string" and "=" in one.value:
            pairs.append((one.value.partition("=")[0], Node("string", one.value.partition("=")[2])))
    found = {name: value for name, given in pairs if (value := _plain(given)) is not None}
    if not found:
        raise BadConfig(
            f"{path}: no parameters in it",
            hint='[{"ParameterKey": …, "ParameterValue": …}], {"Parameters": {…}}, a plain map, or samconfig.toml',
        )
    return found


def _plain(value: Node) -> str | None:
    return ",".join(text(one) or "" for one in value.value) if value.kind == "array" else text(value)
