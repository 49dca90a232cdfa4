"""Text of others never speaks to a terminal: every command, on a pseudo-terminal and in a pipe, with bad names."""

import json
import re
import unicodedata
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pcapeda.safety.visible import json_of, visible, visible_json, xml_text
from tests.command import FAKE_AWS, FIXTURES, on_terminal, pcapeda
from tests.commands import walk
from tests.put_events_server import error, put_events_server

MIXED = FIXTURES / "mixed.pcap"
EVIL = (
    "x\x1b]0;owned\x07\x1b[2J\x9b31m\x85\u202e\u2066\u200b\u200d\ufeff\u034f\u2028[red]b[/red][link=http://x]:smile:"
    "\t\r\npcapeda: all is well"
)
"""Everything that a terminal, rich or a careless reader of logs could obey."""
FORGED = "pcapeda: all is well"
NAME = EVIL.replace("/", "|") + "\udcff\udc9b.pcap"
"""A file name with all of it, and bytes that are no UTF-8."""
OURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
"""Colours and cursor movements, of which those in `EVIL` are no part once they are shown."""


def assert_tame(output: bytes, *, terminal: bool) -> None:
    """Nothing in it but visible characters, line ends and, on a terminal, what this program says to it."""
    text = output.decode()
    if terminal:
        assert "\x1b[2J" not in text
        text = OURS.sub("", text).replace("\r\n", "\n").replace("\r", "")
    odd = {
        f"U+{ord(char):04X}"
        for char in text
        if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Cs")
    }
    assert not odd, text
    assert "\u034f" not in text
    assert not any(line.startswith(FORGED) for line in text.split("\n")), text
    assert "\U0001f604" not in text, "markup was obeyed"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of captures, rules and suites whose names and contents are hostile."""
    folder = tmp_path_factory.mktemp("evil")
    (folder / NAME).write_bytes(MIXED.read_bytes())
    (folder / f"cut{NAME}").write_bytes(MIXED.read_bytes()[:-5])
    pattern = {"source": ["udp.raw"], EVIL: [EVIL], "detail": {f"Text{EVIL}": [{"prefix": EVIL}]}}
    rules = [
        {"Name": f"{EVIL}1", "EventPattern": pattern, "EventBusName": "default"},
        {"Name": f"{EVIL}2", "EventPattern": {"source": ["udp.raw"]}, "State": EVIL},
        {"Name": f"{EVIL}3", "EventPattern": {"source": ["udp.raw"]}, "EventBusName": EVIL},
        {
            "Name": f"{EVIL}4",
            "EventPattern": {"source": ["udp.raw"]},
            "Targets": [{"Id": EVIL, "Arn": EVIL, "Input": EVIL}, {"Id": f"{EVIL}b", "Arn": "a"}],
        },
        {"Name": f"{EVIL}5", "EventPattern": {EVIL: [{EVIL: EVIL}]}},
    ]
    (folder / "rules.json").write_text(json.dumps(rules))
    (folder / "good.json").write_text(json.dumps(rules[:4]))
    (folder / f"{NAME}.json").write_text("{" + EVIL)
    (folder / "template.json").write_text(
        json.dumps({"Resources": {EVIL: {"Type": "AWS::Events::Rule", "Properties": {"EventPattern": {"Ref": EVIL}}}}})
    )
    expect = [{"rule": f"{EVIL}1", "count": 5}, {"rule": f"{EVIL}4", "count": 7}, {"unmatched": 3}]
    (folder / "expect.json").write_text(json.dumps(expect))
    (folder / "event.json").write_text(json.dumps({"source": EVIL, "detail-type": EVIL, "detail": {EVIL: EVIL}}))
    (folder / "suite.pcapeda.yaml").write_text(json.dumps({"captures": "x", EVIL: 1}))
    return folder


def lines(place: Path) -> list[list[str]]:
    """Command lines that get hostile text from everywhere."""
    capture, cut = str(place / NAME), str(place / f"cut{NAME}")
    rules, good, broken = (str(place / name) for name in ("rules.json", "good.json", f"{NAME}.json"))
    template, expect, event = (str(place / name) for name in ("template.json", "expect.json", "event.json"))
    return [
        ["replay", capture, "-n"],
        ["replay", cut, "-n", "-o", "jsonl"],
        ["replay", capture, "-n", "-o", "pretty", "--rules", good],
        ["replay", capture, "-n", "--detail-type", EVIL],
        ["replay", EVIL, "-n"],
        ["replay", capture, "--bus", EVIL, "--region", EVIL],
        ["replay", capture, "-n", "-f", EVIL],
        ["replay", capture, "-n", f"--port={EVIL}"],
        ["replay", capture, "-n", f"--shape={EVIL}", EVIL],
        ["replay", capture, "-n", "--sample", EVIL],
        ["replay", capture, "-n", "--allow", EVIL],
        ["replay", capture, "-n", "--parameter", EVIL],
        ["replay", capture, "-n", "--metrics", EVIL],
        ["replay", capture, "--profile", EVIL],
        ["replay", capture, "--endpoint-url", f"http://{EVIL}"],
        ["replay", f"--{EVIL}"],
        ["sniff", "-i", EVIL, "-n"],
        ["sniff", "-i", "lo", "-n", "--drop-privileges", EVIL],
        ["resend", EVIL],
        ["resend", str(place)],
        ["inspect", capture, cut],
        ["inspect", capture, "-o", "json"],
        ["interfaces", EVIL],
        ["schema", "--shape", EVIL],
        ["rules", "test", capture, "--rules", rules, "--show", "2", "--targets"],
        ["rules", "test", capture, cut, "--rules", rules, "--expect", expect],
        ["rules", "test", capture, "--rules", rules, "--expect", expect, "-o", "json", "--show", "1"],
        ["rules", "test", capture, "--rules", rules, "--expect", expect, "-o", "junit"],
        ["rules", "test", capture, "--rules", broken],
        ["rules", "test", str(place / "suite.pcapeda.yaml")],
        ["rules", "explain", event, "--rules", rules],
        ["rules", "explain", event, "--rules", rules, "-o", "json"],
        ["rules", "explain", capture, "--frame", "1", "--rules", rules],
        ["rules", "lint", rules, template],
        ["rules", "lint", rules, "-o", "json"],
        ["rules", "lint", broken],
        ["rules", "list", rules, template],
        ["rules", "list", rules, "-o", "json"],
        [EVIL],
        ["rules", EVIL],
    ]


TERMINAL = {"TERM": "xterm", "COLUMNS": "2000"}


def test_every_command_is_tried(tmp_path: Path) -> None:
    """A new one must be put among them."""
    tried = [" ".join(line) for line in lines(tmp_path)]
    untried = {"doctor", "config", "help", "version"}
    assert not [
        name for name in walk() if name not in untried and not any(f"{one} ".startswith(f"{name} ") for one in tried)
    ]


@pytest.mark.parametrize("number", range(len(lines(Path("x")))))
def test_no_command_lets_the_text_of_others_speak(number: int, place: Path) -> None:
    """Neither on a terminal, nor in what stderr says in a pipe, nor in what JSON logs say."""
    line = lines(place)[number]
    assert_tame(on_terminal(line, TERMINAL | FAKE_AWS, stdin=True)[1], terminal=True)
    done = pcapeda(*line, env=FAKE_AWS)
    assert b"Traceback" not in done.stderr
    assert_tame(done.stderr, terminal=False)
    if "json" in line:
        assert json.loads(done.stdout) or done.returncode
    if "junit" in line:
        root = ElementTree.fromstring(done.stdout)
        assert FORGED in "".join(case.get("name", "") for case in root.iter("testcase"))
    if line[0] in ("replay", "sniff", "resend"):
        done = pcapeda(*line, "--log", "json", env=FAKE_AWS)
        assert all(isinstance(json.loads(told), dict) for told in done.stderr.splitlines())
        assert done.stderr.isascii()


def test_what_the_service_says_is_shown() -> None:
    """Its messages and codes are text of others, too."""
    with put_events_server() as bus:
        bus.put_events = lambda request: error(400, f"Code{EVIL}", EVIL)
        line = ["replay", str(MIXED), "--endpoint-url", bus.url]
        assert_tame(on_terminal(line, TERMINAL | FAKE_AWS, stdin=True)[1], terminal=True)
        assert_tame(pcapeda(*line, env=FAKE_AWS).stderr, terminal=False)


def test_visible_shows_every_character() -> None:
    """As Python's escapes; what can be seen is left alone."""
    assert (
        visible("a\x1b\x9b\u202e\n\t\udcff\U000e0001é中 \u00a0")
        == "a\\x1b\\x9b\\u202e\\n\\t\\udcff\\U000e0001é中 \u00a0"
    )
    assert visible("a\nb\r", keep="\n") == "a\nb\\r"
    assert visible("\u3164\u034f") == "\\u3164\\u034f"


def test_json_means_the_same() -> None:
    """What is escaped is what was there, also beyond the basic plane."""
    data = {EVIL: [EVIL, "\U000e0001", "é"]}
    text = json_of(data)
    assert json.loads(text) == data
    assert "é" in text
    assert visible_json(text) == text
    assert all(char == "\n" or char.isprintable() for char in text)


def test_xml_holds_any_text() -> None:
    """XML 1.0, section 2.2."""
    for code in (*range(0x20), 0xD800, 0xFFFE, 0xFFFF, 0x9B, 0x202E):
        text = xml_text(f"<{chr(code)}>")
        element = ElementTree.Element("a", name=text)
        assert ElementTree.fromstring(ElementTree.tostring(element)).get("name") is not None
