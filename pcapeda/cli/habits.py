"""What somebody meant who typed what another tool would take, or misspelt a name: the right way in one line.

People come from tcpdump and tshark: `-r FILE`, `-D`, `-nn`, a filter as the last arguments. Most of that is wrong usage
here, which `answer` puts into words; the rest would pass for something else and is refused by the two checks.
"""

import os
import re
import shlex
import socket
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from typer import BadParameter

from pcapeda.cli import environment
from pcapeda.cli.examples import EXAMPLES
from pcapeda.errors import BadConfig, PcapedaError
from pcapeda.options import bounds

UsageProblem: Any = BadParameter.__mro__[1]
"""What click raises for wrong usage: typer has no public name for it."""

CAPTURE = re.compile(r"\.(pcap|pcapng|cap|dmp|erf|snoop|pcap\d+)(\.\w{1,4})?$", re.IGNORECASE)
SUITE = re.compile(r"\.pcapeda\.ya?ml$")
RULES = re.compile(r"\.(json|ya?ml|template)$", re.IGNORECASE)

FILTER_WORDS = frozenset(
    (
        *(
            "(",
            "!",
            "not",
            "ether",
            "ip",
            "ip6",
            "arp",
            "tcp",
            "udp",
            "icmp",
            "icmp6",
            "proto",
            "vlan",
            "mpls",
            "vxlan",
        ),
        *("vxlan", "geneve", "host", "net", "port", "portrange", "src", "dst", "gateway", "greater", "less", "inbound"),
        *("outbound", "broadcast", "multicast"),
    )
)
"""First words of pcap filters (pcap-filter(7))."""

DISPLAY = "display filters are Wireshark's: a capture filter goes behind -f, as in -f 'udp port 514'"
SHOWN = "the payload is shown by --dry-run, the whole of it with -v"
WAYS = {
    "-D": "pcapeda interfaces lists them",
    "--list-interfaces": "pcapeda interfaces lists them",
    "-L": "pcapeda interfaces says what the frames of each begin with",
    "-Y": DISPLAY,
    "--display-filter": DISPLAY,
    "-R": DISPLAY,
    "-A": SHOWN,
    "-X": SHOWN,
    "-xx": SHOWN,
    "-T": "events are printed by --dry-run, as JSON lines with -o jsonl",
    "-e": "every field there is stands in the event: pcapeda schema",
    "-z": "pcapeda inspect CAPTURE shows what is in it",
    "-s": "frames are always taken whole: there is no snapshot length",
    "--snapshot-length": "frames are always taken whole: there is no snapshot length",
    "-p": "interfaces are always read in promiscuous mode",
    "-B": "the receive buffer is --buffer-mib N, of pcapeda sniff",
    "-U": "events are never held back; it is tcpdump that needs it: tcpdump -U -w - udp | pcapeda replay -",
    "-Z": "pcapeda sniff --drop-privileges USER becomes that user",
    "-F": 'a filter in a file goes behind -f: -f "$(cat FILE)"',
    "-t": "the time is in every event",
    "-a": "pcapeda sniff --duration S ends by time, -c N after so many datagrams",
}
"""What other tools have, and what is done here instead."""


def answer(problem: Any, arguments: Sequence[str]) -> PcapedaError:
    """What is wrong with a command line, by click's word for it, and the right way."""
    context = getattr(problem, "ctx", None)
    path = context.command_path if context is not None else "pcapeda"
    words = " ".join(problem.format_message().split()).rstrip(".")
    param = getattr(problem, "param", None)
    if option := getattr(problem, "option_name", None):
        if "not take a value" in words:
            return BadConfig(f"{option} takes no value", hint=f"see {path} --help")
        if not hasattr(problem, "possibilities"):  # it is known, and given without its value
            return BadConfig(f"{option} needs a value", hint=f"see {path} --help")
        return BadConfig(f"{_at(path)}no option {_shown(option)}: {_way(option, arguments, context)}")
    if type(problem).__name__ == "MissingParameter" and param is not None:
        return BadConfig(_missing(param, path, arguments))
    if param is not None:
        return BadConfig(f"{_origin(param, context)}: {_wrong(problem)}", hint=_help_on(param, path))
    if match := re.fullmatch(r"Got unexpected extra argument(?:s|\(s\))? \((.*)\)", words, re.DOTALL):
        return BadConfig(_too_many(match[1].split() or [match[1]], context, path))
    if words.startswith("No such command"):
        name = next((one for one in arguments if not one.startswith("-") and one not in path.split()), "")
        return BadConfig(_no_command(name, context))
    return BadConfig(words, hint=f"see {path} --help")


def check_arguments(command: Any, context: Any, arguments: Sequence[str]) -> None:
    """Refuse what would be taken for something else. Raises `BadConfig`."""
    options = {name for param in command.params for name in param.opts}
    mine = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    if "-n" in options and any(re.fullmatch("-n{2,}", one) for one in mine):
        raise BadConfig(f"{_at(context.command_path)}names are never looked up; -n is --dry-run here: give it once")
    if "-w" in options and any(
        one == "-w-" or pair == ("-w", "-") for one, pair in zip(mine, _pairs(mine), strict=True)
    ):
        raise BadConfig("-w keeps the frames in a file; for a pipe: tcpdump -U -w - udp | pcapeda replay -")


def check_captures(command: Any, context: Any) -> None:
    """Refuse a filter, or an interface, where captures belong. Raises `BadConfig`."""
    captures = context.params.get("captures")
    if not captures or context.resilient_parsing:
        return
    there = [_is_there(one) for one in captures]
    for place, word in enumerate(captures):
        if word.split(" ")[0].lower() in FILTER_WORDS and not any(there[place:]):
            before = " ".join(map(_quoted, captures[:place])) or "CAPTURE"
            line = f"{context.command_path} {before} -f {_quoted(' '.join(captures[place:]))}"
            raise BadConfig(f"a filter goes behind -f: {line}")
        if not there[place] and word in _interfaces():
            raise BadConfig(f"{word} is an interface: pcapeda sniff -i {word}")


def nearest(name: str, names: Sequence[str]) -> str | None:
    """The name that was meant, if one is near."""
    return next(iter(get_close_matches(name, names, 1, 0.6)), None)


def _way(option: str, arguments: Sequence[str], context: Any) -> str:
    """What to do instead of giving an option that a command does not have."""
    command, path = context.command, context.command_path
    value = _value_of(option, arguments)
    known = [name for param in command.params for name in param.opts] + ["--help", "-h"]
    if option in ("-r", "--read-file", "-rr"):
        return f"captures are arguments: {_reading(command, path)} {_quoted(value or 'CAPTURE')}{_with_rules(path)}"
    if option in ("-i", "--interface"):
        return f"pcapeda sniff -i {_quoted(value or 'IFACE')} listens on an interface"
    if option == "-w":
        return "events go to a bus, or with --dry-run to standard output; pcapeda sniff -w FILE keeps frames"
    if re.fullmatch("-n+", option):
        return "nothing is looked up, so there is nothing to switch off"
    if re.fullmatch("-v+|-V", option):
        return f"see {path} --help; pcapeda version tells the version"
    others = sorted({place for place, param in _everything(context.find_root().command) if option in param.opts})
    near = nearest(option, [name for name in known if name.startswith("--")]) if option.startswith("--") else None
    if near is not None and not others:
        return f"do you mean {near}?"
    if option in WAYS and not others:
        return WAYS[option]
    if others:
        return f"it is an option of {', '.join(others)}"
    everywhere = {name for _, param in _everything(context.find_root().command) for name in param.opts}
    if option.startswith("--") and (near := nearest(option, sorted(everywhere))):
        owners = sorted({place for place, param in _everything(context.find_root().command) if near in param.opts})
        return f"do you mean {near} of {', '.join(owners)}?"
    return WAYS.get(option, f"see {path} --help")


def _wrong(problem: Any) -> str:
    """What is wrong with a value. Newer versions of typer have that from pydantic, in data."""
    words = " ".join(problem.message.split()).removeprefix("Value error, ").rstrip(".")
    errors = getattr(problem.__cause__, "errors", None)
    if errors is None:
        return words
    first = errors()[0]
    value, limits = first["input"], first.get("ctx", {})
    if str(value).strip().lower() in ("nan", "+nan", "-nan"):
        return f"{value} is no number"
    match first["type"]:
        case "less_than_equal":
            return f"{value} is above {bounds.words(limits['le'])}"
        case "greater_than_equal":
            return f"{value} is below {bounds.words(limits['ge'])}"
        case "int_parsing" | "int_from_float" | "int_parsing_size":
            return f"{value!r} is no whole number"
        case "float_parsing" | "finite_number":
            return f"{value!r} is no number"
    return words


def _missing(param: Any, path: str, arguments: Sequence[str]) -> str:
    if "-i" in param.opts:
        if found := [one for one in arguments if one in _interfaces()]:
            return f"{_at(path)}interfaces go behind -i: {path} -i {found[0]}"
        if found := [one for one in arguments if CAPTURE.search(one)]:
            return f"{path} listens; captures are for pcapeda replay {_quoted(found[0])}"
    name = param.metavar or param.name.upper()
    if param.param_type_name == "option":
        name = f"{'/'.join(param.opts)} {name}" + (f" (or {param.envvar})" if param.envvar else "")
    example = next(iter(EXAMPLES.get(path.removeprefix("pcapeda").strip(), ())), None)
    return f"{_at(path)}{name} is missing" + (
        f", as in: {example[0]}" if example is not None else f": see {path} --help"
    )


def _too_many(words: list[str], context: Any, path: str) -> str:
    given = [one for param in context.command.params if param.param_type_name == "argument" for one in [param.metavar]]
    listens = any("-i" in param.opts for param in context.command.params)
    if words[0].lower() in FILTER_WORDS:
        text = _quoted(" ".join(words))
        if any("-f" in param.opts for param in context.command.params):
            names = context.params.get("interface") or ["IFACE"]
            start = " ".join([path, *(f"-i {_quoted(name)}" for name in names if listens)])
            return f"{_at(path)}a filter goes behind -f: {start} -f {text}"
        return f"{path} takes no filter: pcapeda replay CAPTURE -f {text}, or pcapeda sniff -i IFACE -f {text}"
    if listens and words[0] in _interfaces():
        return f"{_at(path)}interfaces go behind -i: {path} -i {words[0]}"
    if CAPTURE.search(words[0]) and not given:
        return f"{path} takes no captures: pcapeda replay {_quoted(words[0])}"
    takes = f"it takes {' '.join(given)}" if given else "it takes options only"
    return f"{_at(path)}{_quoted(' '.join(words))} is too much: {takes}; see {path} --help"


def _no_command(name: str, context: Any) -> str:
    root = context.find_root().command
    group, path = context.command, context.command_path
    said = f"no command {_shown(name)}"
    if SUITE.search(name):
        return f"{said}: a suite is tested by pcapeda rules test {_quoted(name)}"
    if CAPTURE.search(name):
        return f"{said}: captures are arguments: {_reading(group, path)} {_quoted(name)}{_with_rules(path)}"
    if name in _interfaces():
        return f"{said}: pcapeda sniff -i {name} listens on that interface"
    if RULES.search(name):
        return f"{said}: rules are tested by pcapeda rules test CAPTURE --rules {_quoted(name)}"
    if name and _is_there(name):
        return f"{said}: captures are arguments: pcapeda replay {_quoted(name)}"
    if name.lower() in FILTER_WORDS:
        return f"{said}: a filter goes behind -f: pcapeda sniff -i IFACE -f 'udp port 514'"
    places = {place.removeprefix("pcapeda "): place for place in _commands(root)}
    by_last = {place.split()[-1]: place for place in places.values()} | {
        words.split()[0]: "pcapeda " + words.split()[0] for words in places
    }
    near = nearest(name.lower(), [*group.commands]) or nearest(name.lower(), [*by_last])
    if near is None:
        return f"{said}: see {path} --help"
    return f"{said}: do you mean {path + ' ' + near if near in group.commands else by_last[near]}?"


def _at(path: str) -> str:
    """Which command it is that does not have or take something."""
    return path.removeprefix("pcapeda").strip() + ": " if path != "pcapeda" else ""


def _reading(command: Any, path: str) -> str:
    """The command that reads captures: the one that was given, if it does."""
    if any(param.name == "captures" for param in command.params):
        return path
    return "pcapeda rules test" if path.startswith("pcapeda rules") else "pcapeda replay"


def _with_rules(path: str) -> str:
    return " --rules PATH" if path.startswith("pcapeda rules") else ""


def _origin(param: Any, context: Any) -> str:
    if param.param_type_name == "argument":
        return str(param.metavar or param.name.upper())
    name = environment.long_name(param)
    return environment.origin(context, name) if context is not None else name


def _help_on(param: Any, path: str) -> str:
    value = os.environ.get(param.envvar or "", "")
    if re.match("(tcp|udp)://", value):
        return "Kubernetes sets that for a service of this name: enableServiceLinks: false"
    return f"see {path} --help"


def _value_of(option: str, arguments: Sequence[str]) -> str | None:
    """What stands behind an option on the command line."""
    for one, (_, value) in zip(arguments, _pairs(arguments), strict=True):
        if one == option or (len(option) == 2 and re.fullmatch(f"-\\w*{re.escape(option[1])}", one)):
            return value if value and (value == "-" or not value.startswith("-")) else None
        if one.startswith(option + "=") or (len(option) == 2 and one.startswith(option)):
            return one[len(option) :].removeprefix("=")
    return None


def _pairs(arguments: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(arguments, [*arguments[1:], ""], strict=False))


def _commands(group: Any, place: str = "pcapeda") -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{place} {name}")
        else:
            yield f"{place} {name}"


def _everything(command: Any, place: str = "pcapeda") -> Iterator[tuple[str, Any]]:
    """Every option of every command, with the command."""
    for param in command.params:
        if param.param_type_name == "option":
            yield place, param
    for name, below in getattr(command, "commands", {}).items():
        yield from _everything(below, f"{place} {name}")


def _is_there(path: str) -> bool:
    try:
        return path == "-" or Path(path).exists()
    except (OSError, ValueError):
        return False


def _interfaces() -> set[str]:
    try:
        return {name for _, name in socket.if_nameindex()}
    except OSError:
        return set()


def _quoted(text: str) -> str:
    """Text as a shell takes it, on one line."""
    return shlex.quote(text) if text.isprintable() else ascii(text)


def _shown(text: str) -> str:
    text = text if len(text) <= 60 else f"{text[:57]}…"
    return text if text.isprintable() and text.strip() else ascii(text)
