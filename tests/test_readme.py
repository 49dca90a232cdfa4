"""README.md says what is so: its picture is what the command prints, and its commands work."""

import json
import re
import shlex
import subprocess
import sys

import pytest

from tests.command import CLEAN, ROOT, pcapeda

README = (ROOT / "README.md").read_text()
PICTURE = re.compile(r"<!-- demo -->\n+```\n\$ (?P<command>[^\n]*)\n(?P<output>.*?)```\n+<!-- /demo -->", re.DOTALL)


def test_the_picture_is_what_the_command_prints() -> None:
    """The dry run shown is the one that the command under it gives, to the letter, 80 columns wide."""
    match = PICTURE.search(README)
    assert match is not None
    program, *arguments = shlex.split(match["command"])
    assert program == "pcapeda"
    done = pcapeda(*arguments, "-o", "pretty", env={"COLUMNS": "80"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() + done.stderr.decode() == match["output"]


def commands() -> list[str]:
    """The indented command lines that need neither an account nor an interface."""
    lines = re.findall(r"^    (pcapeda [^#\n]+)", README, re.MULTILINE)
    return [line.split("|")[0].strip() for line in lines if "fixtures/" in line]


@pytest.mark.parametrize("command", commands())
def test_the_commands_on_fixtures_work(command: str) -> None:
    """Every command README shows on a capture of this repository ends well."""
    done = pcapeda(*shlex.split(command)[1:])
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_there_are_commands_to_try() -> None:
    """The list above is not empty by accident."""
    assert len(commands()) >= 3


def test_the_library_in_five_lines_works() -> None:
    """The example of the library runs as it stands."""
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(code) == 1
    done = subprocess.run([sys.executable, "-c", code[0]], capture_output=True, cwd=ROOT, env=CLEAN, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_every_json_in_it_is_json() -> None:
    """The rule and the policy can be pasted."""
    documents = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    assert len(documents) >= 2
    for document in documents:
        json.loads(document)


def test_every_option_that_readme_names_exists() -> None:
    """No option is promised that the command line does not have."""
    commands = [[], ["replay"], ["sniff"], ["inspect"], ["schema"], ["rules", "test"], ["rules", "explain"]]
    helps = "".join(pcapeda(*command, "--help").stdout.decode() for command in commands)
    for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)):
        assert option in helps, option


def test_links_lead_somewhere() -> None:
    """Every relative link is a file of the repository."""
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_the_first_two_commands_are_the_set_up() -> None:
    """`make demo` and `make test` are the first commands a newcomer reads."""
    assert re.findall(r"^    (\S.*?)(?:\s+#.*)?$", README, re.MULTILINE)[:2] == ["make demo", "make test"]
