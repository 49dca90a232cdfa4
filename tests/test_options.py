"""Options are declared once: the command line, the environment, the library and suite files go by one table."""

import json
import re
import subprocess
import sys
from dataclasses import MISSING, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.main import get_command

from pcapeda import Bus, Job, Shape
from pcapeda.aws.responses import Transport
from pcapeda.cli import app
from pcapeda.delivery.spool import WhenFull
from pcapeda.events.flows import MAX_FLOWS
from pcapeda.events.shapes import SHAPES
from pcapeda.options import table
from pcapeda.options.table import OPTIONS, of_owner
from pcapeda.ruletest.suite import Suite, schema
from tests.command import FIXTURES

OWNERS: dict[str, Any] = {"": Job, "bus": Bus, "shape": Shape}
TREE: Any = get_command(app)


@pytest.mark.parametrize("one", [one for one in OPTIONS if one.field], ids=lambda one: one.field)
def test_each_sets_a_field_that_has_its_default(one: Any) -> None:
    """What the library does unless told otherwise is what the command line does."""
    (field,) = [field for field in fields(OWNERS[one.owner]) if field.name == one.member]
    default = field.default if field.default is not MISSING else None
    assert (default or None) == (one.default or None)


def test_each_field_of_a_job_has_its_option() -> None:
    """But for the captures, which are arguments, and for what has options of its own parts."""
    assert {field.name for field in fields(Job)} == {one.member for one in of_owner("")} | {"captures", "shape", "bus"}
    assert {field.name for field in fields(Bus)} == {one.member for one in of_owner("bus")}


def test_choices_are_those_of_the_library() -> None:
    """The same words in the same order."""
    assert table.named("shape").choices == tuple(SHAPES)
    assert table.named("transport").choices == get_args(Transport)
    assert table.named("when_full").choices == get_args(WhenFull)
    assert table.named("max_flows").default == MAX_FLOWS


def test_names_are_used_once() -> None:
    """No two options share a flag, a field or a suite's key."""
    for names in (
        [name for one in OPTIONS for name in one.names],
        [one.field for one in OPTIONS if one.field],
        [one.suite for one in OPTIONS if one.suite],
    ):
        assert len(names) == len(set(names))


@pytest.mark.parametrize("command", ["replay", "sniff", "resend"])
def test_a_command_has_what_is_declared_for_it(command: str) -> None:
    """Names, help, bounds and default, and the variable of each."""
    params = {param.name: param for param in TREE.commands[command].params}
    for one in table.of_command(command):
        param = params[one.parameter]
        assert (tuple(param.opts), param.help, param.rich_help_panel) == (one.names, one.help, one.panel)
        assert param.envvar == "PCAPEDA_" + one.parameter.upper()
        assert (param.default or None, param.multiple) == (one.default or None, one.several)


@pytest.mark.parametrize("one", [one for one in OPTIONS if one.suite], ids=lambda one: one.suite)
def test_the_schema_of_suites_says_what_is_declared(one: Any) -> None:
    """Member by member; the file may say more of a text, as how long it is."""
    told = json.loads(files("pcapeda.ruletest").joinpath("suite.schema.json").read_text())["properties"]
    told = told["event"]["properties"] if one.suite.startswith("event.") else told
    declared, written = one.schema(), told[one.suite_key]
    if one.kind is str and one.field != "tunnels":
        written.pop("minLength", None), written.pop("maxLength", None)
        for form in written.get("oneOf", ()):
            form.get("items", form).pop("minLength", None), form.pop("minItems", None)
    elif one.field == "tunnels":
        written, declared = written["description"], declared["description"]
    assert written == declared


def test_a_suite_has_the_fields_of_its_keys() -> None:
    """With the defaults of a run."""
    suite = Suite("x", ("a.pcap",))
    for one in of_owner(""):
        if one.suite:
            assert getattr(suite, one.member) == getattr(Job(captures="a.pcap"), one.member)
    assert schema() == json.loads(files("pcapeda.ruletest").joinpath("suite.schema.json").read_text())


ONE_MORE = """
import sys
from dataclasses import dataclass
from pcapeda.options import table

table.OPTIONS += (table._whole("toy", "--toy", 1, 9, table.SAFETY, "How many toys.", 3, suite="event.toy"),)

from pcapeda.engine import job, run


@dataclass(frozen=True)
class Job(job.Job):
    toy: int = table.default("toy")


job.Job = Job
execute = run.execute


def told(job, **named):
    print("toys:", job.toy, file=sys.stderr)
    return execute(job, **named)


run.execute = told
from pcapeda.ruletest import suite


@dataclass(frozen=True)
class Suite(suite.Suite):
    toy: int = table.default("toy")


suite.Suite = Suite
from pcapeda.cli import main

main()
"""


def test_one_more_is_a_row_and_a_field(tmp_path: Path) -> None:
    """Page, variable, bounds, suite and schema follow by themselves."""

    def run(*arguments: str, **env: str) -> tuple[int, str]:
        command = [sys.executable, "-c", ONE_MORE, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env={"COLUMNS": "100", **env}, check=False)
        return done.returncode, done.stdout + done.stderr

    replay = ("replay", str(FIXTURES / "mixed.pcap"), "-n", "-c", "1")
    assert re.search(r"--toy N\s+How many toys\. \(default: 3\)", run("sniff", "--help")[1])
    assert "toys: 3\n" in run(*replay)[1]
    assert "toys: 5\n" in run(*replay, "--toy", "5")[1]
    assert "toys: 7\n" in run(*replay, PCAPEDA_TOY="7")[1]
    status, words = run(*replay, PCAPEDA_TOY="10")
    assert (status, words.startswith("pcapeda: PCAPEDA_TOY: 10 is above 9\n")) == (2, True)
    told = json.loads(run("schema", "--suite")[1])["properties"]["event"]["properties"]["toy"]
    assert told == {"type": "integer", "minimum": 1, "maximum": 9}
    (tmp_path / "rules.json").write_text('{"source": ["udp.raw"]}')
    path = tmp_path / "a.pcapeda.yaml"
    for toys in (8, 10):
        path.write_text(f"{{captures: {FIXTURES}/mixed.pcap, rules: rules.json, event: {{toy: {toys}}}}}")
        status, words = run("rules", "test", str(path))
        assert (status, f"{path}: toy: 10 is above 9" in words) == ((0, False) if toys == 8 else (2, True))


def test_the_table_is_light() -> None:
    """It is read for every --help."""
    code = "import sys; import pcapeda.options.table; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    ours = {name for name in loaded if name.startswith("pcapeda")}
    assert ours == {"pcapeda", "pcapeda.options", "pcapeda.options.table"}
    assert not {"typer", "pydantic", "dataclasses"} & set(loaded)
