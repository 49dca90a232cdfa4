"""Options from the environment: every one of every command, by one rule, and the command line wins."""

import json
from typing import Any

import pytest

from tests.command import FIXTURES, many
from tests.test_cli import complaint
from tests.test_first_contact import COMMANDS, EVERY

MIXED = str(FIXTURES / "mixed.pcap")
HARMFUL = {"--help", "--version", "--install-completion", "--show-completion"}


def events(env: dict[str, str], *arguments: str) -> list[dict[str, Any]]:
    """What a replay of the fixture prints."""
    (done,) = many([("replay", MIXED, *arguments)], env=env)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_option_has_its_variable() -> None:
    """None is forgotten, none has two names, and what only ends the command has none."""
    for path, command in EVERY.items():
        for param in command.params:
            names = [name for name in param.opts if name.startswith("--")]
            if param.param_type_name != "option" or HARMFUL & set(names):
                assert param.envvar is None
                continue
            assert path in COMMANDS, "options of groups would need a rule of their own"
            assert param.envvar == "PCAPEDA_" + names[0][2:].upper().replace("-", "_")


def test_values_flags_and_lists() -> None:
    """A number, a word, a flag, several values in a row; an empty variable is none."""
    dry = {"PCAPEDA_DRY_RUN": "1"}
    assert len(events(dry)) == 13
    assert len(events(dry | {"PCAPEDA_COUNT": "2", "PCAPEDA_BUS": ""})) == 2
    ports = {one["detail"]["Destination"]["Port"] for one in events(dry | {"PCAPEDA_PORT": "514  8125"})}
    assert {514, 8125} == ports & {514, 8125, 53}
    assert events(dry | {"PCAPEDA_SHAPE": "minimal"})[0]["detail"].keys() == {"Destination", "Payload"}
    (one, *_) = events(dry | {"PCAPEDA_RESOURCE": "arn:a 'arn:b c'"})
    assert one["resources"] == ["arn:a", "arn:b c"]


def test_the_command_line_wins() -> None:
    """Also where an option can be given several times: the variable's values are not added."""
    env = {"PCAPEDA_DRY_RUN": "yes", "PCAPEDA_COUNT": "2", "PCAPEDA_PORT": "53", "PCAPEDA_LOG": "json"}
    found = events(env, "-c", "3", "--port", "514", "--log", "text")
    assert len(found) == 3
    assert all(514 in (one["detail"]["Destination"]["Port"], one["detail"]["Source"]["Port"]) for one in found)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PCAPEDA_COUNT", "many", "PCAPEDA_COUNT: 'many' is no whole number"),
        ("PCAPEDA_COUNT", "0", "PCAPEDA_COUNT: 0 is below 1"),
        ("PCAPEDA_PORT", "514 70000", "PCAPEDA_PORT: 70000 is above 65,535"),
        ("PCAPEDA_PORT", "'514", 'PCAPEDA_PORT: "\'514": no closing quotation'),
        ("PCAPEDA_PORT", "tcp://10.0.0.1:9514", "enableServiceLinks"),
        ("PCAPEDA_SHAPE", "round", "PCAPEDA_SHAPE: 'round' is not one of"),
        ("PCAPEDA_TEXT", "maybe", "PCAPEDA_TEXT: 'maybe' is neither 1 nor 0"),
        ("PCAPEDA_MAXSLEEP", "3", "PCAPEDA_MAXSLEEP cuts the captured silences that --speed keeps"),
        ("PCAPEDA_SOURCE", "aws.x", "PCAPEDA_SOURCE aws.x"),
        ("PCAPEDA_ALLOW", "nowhere", "PCAPEDA_ALLOW nowhere: not a network"),
        ("PCAPEDA_METRICS", "host", "PCAPEDA_METRICS host: not [HOST]:PORT"),
    ],
)
def test_a_bad_value_is_told_by_its_variable(name: str, value: str, words: str) -> None:
    """So that a person looks where it comes from."""
    (done,) = many([("replay", MIXED, "-n")], env={name: value})
    assert (done.returncode, done.stdout) == (2, b"")
    assert words in complaint(done.stderr)


def test_what_is_no_variable_is_told_and_does_nothing() -> None:
    """A misspelt one with the one that is meant; in JSON where that was asked for; not those of Kubernetes."""
    env = {"PCAPEDA_MAXRATE": "3", "PCAPEDA_SERVICE_HOST": "10.0.0.1", "PCAPEDA_PORT_9514_TCP": "tcp://10.0.0.1:9514"}
    plain, logged, helped = many(
        [("replay", MIXED, "-n", "-q"), ("replay", MIXED, "-n", "-q", "--log", "json"), ("--help",)], env=env
    )
    (line,) = plain.stderr.decode().splitlines()
    assert line.startswith("pcapeda: PCAPEDA_MAXRATE ")
    assert line.endswith("do you mean PCAPEDA_MAX_RATE?")
    assert [json.loads(one)["kind"] for one in logged.stderr.splitlines()] == ["note"]
    assert helped.stderr == b""
    assert (plain.returncode, len(plain.stdout.splitlines())) == (0, 13)


def test_the_variable_of_another_command_is_none_of_its_business() -> None:
    """A service's file may hold options of sniff while somebody runs resend with it."""
    (done,) = many([("version",)], env={"PCAPEDA_BUFFER_MIB": "64", "PCAPEDA_SPEED": "3"})
    assert (done.returncode, done.stderr) == (0, b"")
    (done,) = many([("inspect", MIXED)], env={"PCAPEDA_BUFFER_MIB": "64", "PCAPEDA_SPEED": "3"})
    assert b"PCAPEDA" not in done.stderr


def test_the_log_is_json_where_the_environment_says_so() -> None:
    """Wrong usage, too."""
    (done,) = many([("replay", "--no-such-option")], env={"PCAPEDA_LOG": "json"})
    assert json.loads(done.stderr)["kind"] == "problem"


def test_there_are_no_secrets_among_them() -> None:
    """Credentials come from where the SDK looks, never from an option."""
    names = {param.envvar or "" for command in EVERY.values() for param in command.params}
    assert not {name for name in names for word in ("SECRET", "TOKEN", "PASSWORD", "ACCESS_KEY") if word in name}
