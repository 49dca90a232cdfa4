"""The command line as somebody meets it who knows tcpdump and has read nothing: help, habits, odd arguments.

Commands are not listed here: the application is walked, so that one that is new is tested, too.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.main import get_command

from pcapeda.cli import app
from pcapeda.cli.examples import EXAMPLES
from pcapeda.cli.page import Command
from tests.command import CLEAN, FAKE_AWS, FIXTURES, PCAPEDA, ROOT, many, pcapeda
from tests.misbehaving import misbehaving
from tests.netns import needs_netns, veth_pair

MIXED = FIXTURES / "mixed.pcap"
TREE: Any = get_command(app)


def walk(command: Any = TREE, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every group and command with its name."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, (*path, name))


EVERY = dict(walk())
COMMANDS = {path: command for path, command in EVERY.items() if not hasattr(command, "commands")}
GROUPS = [path for path in EVERY if path not in COMMANDS]


def options(path: tuple[str, ...]) -> set[str]:
    return {name for param in EVERY[path].params if param.param_type_name == "option" for name in param.opts}


def one_line(done: subprocess.CompletedProcess[bytes]) -> str:
    """The one line on stderr of a command that was refused."""
    talk = done.stderr.decode()
    assert (done.returncode, done.stdout) == (2, b""), (done.stdout, talk)
    assert talk.startswith("pcapeda: "), talk
    assert len(talk.splitlines()) == 1, talk
    return talk


def test_there_is_something_to_walk() -> None:
    """All commands are ours, with environment and page: none was registered past `Application`."""
    assert {("replay",), ("sniff",), ("rules", "test"), ("help",), ("version",)} <= set(COMMANDS)
    assert all(isinstance(command, Command) for command in COMMANDS.values())


@pytest.mark.parametrize("path", GROUPS, ids=" ".join)
def test_a_group_alone_is_its_help(path: tuple[str, ...]) -> None:
    """`pcapeda` and `pcapeda rules` show what there is, and that is no mistake."""
    done = pcapeda(*path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == pcapeda(*path, "--help").stdout == pcapeda("help", *path).stdout
    for name in EVERY[path].commands:
        assert f"\n  {name} " in done.stdout.decode()


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_command_alone_works_or_says_what_is_missing(path: tuple[str, ...]) -> None:
    """What it must have, and an example."""
    done = pcapeda(*path)
    if done.returncode == 0:
        assert done.stdout
        return
    talk = one_line(done)
    assert "is missing, as in: " in talk
    assert f"pcapeda {' '.join(path)} " in talk.partition("as in")[2]


@pytest.mark.parametrize("columns", ["80", "140", "20", "0", "x"])
def test_help_fits_and_names_every_option(columns: str) -> None:
    """Every option, an example, the exit codes; nothing cut off at 80 columns, no colours in a pipe."""
    for done, path in zip(many([(*path, "--help") for path in EVERY], env={"COLUMNS": columns}), EVERY, strict=True):
        text = done.stdout.decode()
        assert (done.returncode, done.stderr) == (0, b"")
        assert max(map(len, text.splitlines())) <= (80 if columns in ("80", "20", "0", "x") else 100)
        assert "\x1b" not in text
        assert {name for name in options(path) if name not in text} == set()
        for line, _ in EXAMPLES[" ".join(path)]:
            assert f"  {line}\n" in text
        assert "Exit codes: 0 " in " ".join(text.split())
        assert ("PCAPEDA_MAX_RATE" in text) is any(param.envvar for param in EVERY[path].params)


def test_version_and_help_are_commands_too() -> None:
    """`help` and `version` for those who do not think of dashes; a name that is none is answered with the nearest."""
    assert pcapeda("version").stdout == pcapeda("--version").stdout == pcapeda("-V").stdout
    assert b"pcapeda replay" in pcapeda("help", "replay").stdout
    assert "do you mean pcapeda rules lint?" in one_line(pcapeda("help", "rules", "lnt"))
    assert "no command 'x'" in one_line(pcapeda("help", "version", "x"))


HABITS: list[tuple[tuple[str, ...], str, str]] = [
    (("-r", "x.pcap"), "-r", "x.pcap"),
    (("-rx.pcap",), "-r", "x.pcap"),
    (("-nr", "x.pcap"), "-r", "n"),
    (("-D",), "-D", "pcapeda interfaces"),
    (("-Y", "udp.port == 514"), "-Y", "-f 'udp port 514'"),
    (("-i", "any"), "-i", "pcapeda sniff -i any"),
    (("-w", "-"), "-w-", "-"),
    (("-w", "out.pcap"), "-w", "pcapeda sniff -w FILE"),
    (("-nn",), "-nn", "look"),
    (("-c", "3"), "-c", "option of pcapeda replay, pcapeda sniff"),
    (("-A",), "-A", "--dry-run"),
    (("-s", "0"), "-s", "snapshot"),
    (("-U",), "-U", "tcpdump -U -w -"),
]
"""What people type, the option that makes it right where a command has it, and what the answer holds."""


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_habits_are_answered_in_one_line(path: tuple[str, ...]) -> None:
    """Whatever command it is given to: the right way, exit code 2."""
    asked = [(words, answer) for words, option, answer in HABITS if option not in options(path)]
    assert asked
    for done, (_, answer) in zip(many([(*path, *words) for words, _ in asked]), asked, strict=True):
        assert answer in one_line(done)


MEANT = [
    ("replay -r x.pcap", "captures are arguments: pcapeda replay x.pcap"),
    ("inspect -r x.pcap", "captures are arguments: pcapeda inspect x.pcap"),
    ("sniff -r x.pcap", "captures are arguments: pcapeda replay x.pcap"),
    ("rules test -r x.pcap", "captures are arguments: pcapeda rules test x.pcap --rules PATH"),
    ("x.pcap", "captures are arguments: pcapeda replay x.pcap"),
    ("rules x.pcap", "captures are arguments: pcapeda rules test x.pcap --rules PATH"),
    ("README.md", "captures are arguments: pcapeda replay README.md"),
    ("x.pcapeda.yaml", "pcapeda rules test x.pcapeda.yaml"),
    ("rules.json", "pcapeda rules test CAPTURE --rules rules.json"),
    ("-i eth0", "pcapeda sniff -i eth0"),
    ("lo", "pcapeda sniff -i lo"),
    ("sniff lo", "pcapeda sniff -i lo"),
    ("replay lo", "pcapeda sniff -i lo"),
    ("sniff x.pcap", "pcapeda replay x.pcap"),
    ("sniff -i eth0 udp port 514", "a filter goes behind -f: pcapeda sniff -i eth0 -f 'udp port 514'"),
    ("replay x.pcap udp port 514", "a filter goes behind -f: pcapeda replay x.pcap -f 'udp port 514'"),
    ("replay x.pcap 'udp port 514'", "a filter goes behind -f: pcapeda replay x.pcap -f 'udp port 514'"),
    ("inspect x.pcap host 1.2.3.4", "a filter goes behind -f: pcapeda inspect x.pcap -f 'host 1.2.3.4'"),
    ("rules test x.pcap not tcp", "a filter goes behind -f: pcapeda rules test x.pcap -f 'not tcp'"),
    ("rules explain x.pcap udp port 514", "takes no filter"),
    ("interfaces x.pcap", "takes no captures: pcapeda replay x.pcap"),
    ("udp port 514", "a filter goes behind -f"),
    ("sniff -i lo -n -w -", "tcpdump -U -w - udp | pcapeda replay -"),
    ("replay x.pcap -n -nn", "-n is --dry-run"),
    ("repaly x.pcap", "do you mean pcapeda replay?"),
    ("lint rules.json", "do you mean pcapeda rules lint?"),
    ("rules lits", "do you mean pcapeda rules list?"),
    ("replay --dryrun x.pcap", "do you mean --dry-run?"),
    ("inspect x.pcap --speed 3", "option of pcapeda replay"),
    ("inspect x.pcap --bufer-mib 3", "do you mean --buffer-mib of pcapeda sniff?"),
    ("--dry-run", "option of pcapeda replay, pcapeda sniff"),
    ("resend a b", "it takes DIR"),
]


def test_what_was_meant_is_said() -> None:
    """The line with its mistake taken out."""
    for done, (_, answer) in zip(many([shlex.split(line) for line, _ in MEANT]), MEANT, strict=True):
        assert answer in one_line(done)


def test_a_file_that_is_called_like_a_filter_is_a_file(tmp_path: Path) -> None:
    """What is there is a capture, whatever its name."""
    shutil.copy(MIXED, tmp_path / "udp")
    done = subprocess.run(
        [*PCAPEDA, "replay", "udp", "-n"], cwd=tmp_path, capture_output=True, env=CLEAN | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 13


ODD = ["", " ", ".", "/", "/dev/null", "no/such", "a\nb", "\x1b[31m", "\udcff\udcfe", "-", "--", "x" * 5000, "%s{a}"]


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_odd_arguments_make_no_traceback(path: tuple[str, ...], tmp_path: Path) -> None:
    """Empty, no UTF-8, escape sequences, folders, what is not there: as an argument, and as the value of an option."""
    lines = [(*path, word) for word in ODD]
    for option in sorted(options(path)):
        before = ["-n"] if "-n" in options(path) else []
        lines += [(*path, *before, "/dev/null", f"{option}=\x1b[31m\udcff")]
    for done in many(lines, env=FAKE_AWS | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, cwd=tmp_path):
        assert b"Traceback" not in done.stderr, (done.args, done.stderr)
        assert done.returncode in (0, 1, 2, 3), (done.args, done.stderr)


class TestExamples:
    """What help shows is true."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """The files that the examples name."""
        pattern = {"source": ["udp.raw"], "detail": {"Destination": {"Port": [514]}}}
        template = {
            "Parameters": {"Stage": {"Type": "String"}},
            "Resources": {
                "Syslog": {
                    "Type": "AWS::Events::Rule",
                    "Properties": {"Name": "syslog", "EventPattern": pattern, "Targets": [{"Id": "a", "Arn": "arn:a"}]},
                }
            },
        }
        shutil.copy(MIXED, tmp_path / "capture.pcap")
        (tmp_path / "captures").mkdir()
        shutil.copy(FIXTURES / "vxlan-traffic-mirroring.pcap", tmp_path / "captures")
        (tmp_path / "rules.json").write_text(json.dumps(pattern))
        (tmp_path / "rules").mkdir()
        (tmp_path / "rules" / "syslog.json").write_text(json.dumps(pattern))
        (tmp_path / "template.yaml").write_text(json.dumps(template))
        (tmp_path / "expected.yaml").write_text("[{rule: rules, at-least: 1}]")
        (tmp_path / "suite.pcapeda.yaml").write_text(
            "{captures: capture.pcap, rules: rules.json, expect: [{rule: rules, at-least: 1}]}"
        )
        done = self.run(tmp_path, "replay capture.pcap -n -c 1")
        (tmp_path / "event.json").write_bytes(done.stdout)
        return tmp_path

    @staticmethod
    def run(folder: Path, words: str, stdin: bytes = b"", **variables: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*PCAPEDA, *shlex.split(words)],
            input=stdin,
            cwd=folder,
            capture_output=True,
            env=CLEAN | FAKE_AWS | {"PYTHONPATH": str(ROOT)} | variables,
            timeout=120,
        )

    def test_every_command_has_some(self) -> None:
        """Each for itself, and none for what is not there."""
        assert {" ".join(path) for path in EVERY} == set(EXAMPLES)
        for path, shown in EXAMPLES.items():
            for line, words in shown:
                assert f"pcapeda {path}".strip() in line
                assert len(line) <= 76, "two columns of margin on 80"
                assert not words or words.endswith(".")

    @pytest.mark.parametrize(
        "line", sorted({line for shown in EXAMPLES.values() for line, _ in shown if "resend" not in line})
    )
    def test_they_run(self, folder: Path, line: str) -> None:
        """All of them, to a bus here where they send; the interface is one of a network namespace."""
        words = line.rpartition("pcapeda ")[2]
        with misbehaving("none") as server:
            variables = {"PCAPEDA_ENDPOINT_URL": server.url}
            if words.startswith("sniff"):
                if needs_netns.args[0]:
                    pytest.skip(str(needs_netns.kwargs["reason"]))
                with veth_pair() as veth:
                    words = words.replace("eth0", veth.name)
                    done = self.run(folder, words, **variables, PCAPEDA_DURATION="0.2")
            else:
                stdin = MIXED.read_bytes() if " - " in f"{words} " else b""
                done = self.run(folder, words, stdin, **variables, PCAPEDA_MAXSLEEP="0.1" if "--speed" in words else "")
        assert done.returncode == 0, done.stderr
        assert words.startswith("sniff") or "--bus" in words or done.stdout

    def test_resend(self, folder: Path) -> None:
        """What waits, then the dead letters, of which there are none."""
        with misbehaving("none") as server:
            made = self.run(folder, "replay capture.pcap --bus my-bus --spool spool/", PCAPEDA_ENDPOINT_URL=server.url)
            assert made.returncode == 0
            assert self.run(folder, EXAMPLES["resend"][0][0].removeprefix("pcapeda ")).returncode == 0
        assert b"no dead letters" in self.run(folder, EXAMPLES["resend"][1][0].removeprefix("pcapeda ")).stderr


class TestCompletion:
    """Shell completion is there, in each shell that is."""

    SCRIPTS: ClassVar = {
        "bash": 'source "$1"; COMP_WORDS=(pcapeda replay --dry-r); COMP_CWORD=2; '
        '_pcapeda_completion pcapeda; echo "${COMPREPLY[@]}"',
        "zsh": 'autoload -Uz compinit; compinit -u; source "$1"; (( ${+_comps[pcapeda]} )) && '
        'words=(pcapeda replay --dry-r); CURRENT=3; _arguments() { print -r -- "$@" }; _pcapeda_completion',
        "fish": 'source $argv[1]; complete --do-complete "pcapeda replay --dry-r"',
    }

    @pytest.mark.parametrize("shell", SCRIPTS)
    def test_shows_and_works(self, shell: str, tmp_path: Path) -> None:
        """`--show-completion` started from a shell prints a script which completes in that shell."""
        program = shutil.which(shell)
        if program is None:
            pytest.skip(f"{shell} is not installed")
        command = tmp_path / "bin" / "pcapeda"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m pcapeda "$@"\n')
        command.chmod(0o755)
        env = CLEAN | {"PATH": f"{command.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
        shown = subprocess.run([program, "-c", "pcapeda --show-completion; true"], env=env, capture_output=True)
        assert b"pcapeda" in shown.stdout, shown.stderr
        script = tmp_path / "script"
        script.write_bytes(shown.stdout)
        arguments = [program, "-c", self.SCRIPTS[shell], *([] if shell == "fish" else ["x"]), str(script)]
        done = subprocess.run(arguments, env=env, capture_output=True, timeout=60)
        assert b"--dry-run" in done.stdout, done.stderr
        installed = subprocess.run([program, "-c", "pcapeda --install-completion; true"], env=env, capture_output=True)
        assert f"{shell} completion installed in {tmp_path}".encode() in installed.stdout, installed.stderr
