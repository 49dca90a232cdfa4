"""Runs the command line as people do: a subprocess with its own streams and environment."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "fixtures"
PCAPEDA = [sys.executable, "-m", "pcapeda"]

CLEAN = {
    "PATH": os.environ.get("PATH", ""),
    "HOME": "/nonexistent",
    "COLUMNS": "100",
    "PYTHONDONTWRITEBYTECODE": "1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1,localhost",
}
"""An environment without credentials, configuration or colours of its own."""

FAKE_AWS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
"""Credentials that a local server accepts."""


def pcapeda(
    *arguments: str | Path, stdin: bytes = b"", env: dict[str, str] | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[bytes]:
    """Run to the end; stdout and stderr are bytes, apart."""
    return subprocess.run(
        [*PCAPEDA, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        env=CLEAN | (env or {}),
        timeout=timeout,
        cwd=ROOT,
        check=False,
    )


def start(*arguments: str | Path, env: dict[str, str] | None = None, **streams: object) -> subprocess.Popen[bytes]:
    """Start it with pipes for all three streams (unless given otherwise)."""
    pipes: dict[str, object] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        [*PCAPEDA, *map(str, arguments)], env=CLEAN | (env or {}), cwd=ROOT, **(pipes | streams)
    )


def on_terminal(arguments: Sequence[str | Path], env: dict[str, str], *, stdin: bool = False) -> tuple[int, bytes]:
    """The exit code of a command, and what it writes, when stdout and stderr (and stdin, if so) are one terminal."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*PCAPEDA, *map(str, arguments)],
        stdin=slave if stdin else subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
        env=CLEAN | env,
        cwd=ROOT,
    )
    os.close(slave)
    output = b""
    try:
        while piece := os.read(master, 65536):
            output += piece
    except OSError:  # how Linux says that the other end of a terminal was closed
        pass
    os.close(master)
    return process.wait(30), output


@contextmanager
def started(*arguments: str | Path, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """The same, and it does not outlive a test that fails."""
    with start(*arguments, env=env) as process:
        try:
            yield process
        finally:
            process.kill()


_DRIVER = """
import json, os, sys, tempfile
import pcapeda.cli, pcapeda.engine.run, pcapeda.ui.terminal, pcapeda.ruletest.suite
from typer.main import get_command
given = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PCAPEDA_")}
get_command(pcapeda.cli.app).commands["replay"].make_context("x", ["x", "-c", "3"])  # what checks values is loaded
os.environ.update(given)
told = []
for arguments in json.load(sys.stdin):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.argv = ["pcapeda", *arguments]
            try:
                pcapeda.cli.main()
            except SystemExit as end:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(end.code or 0)
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(99)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0), err.seek(0)
        told.append((code, out.read().decode("latin-1"), err.read().decode("latin-1")))
print(json.dumps(told))
"""


def many(
    lines: Sequence[Sequence[str]], env: dict[str, str] | None = None, cwd: Path = ROOT
) -> list[subprocess.CompletedProcess[bytes]]:
    """Run many command lines, each in a process of its own that has imported nearly everything before."""
    command = [sys.executable, "-c", _DRIVER]
    done = subprocess.run(
        command,
        input=json.dumps(lines).encode(),
        stdout=subprocess.PIPE,
        env=CLEAN | {"PYTHONPATH": str(ROOT)} | (env or {}),
        cwd=cwd,
        check=True,
    )
    return [
        subprocess.CompletedProcess(list(line), code, out.encode("latin-1"), err.encode("latin-1"))
        for line, (code, out, err) in zip(lines, json.loads(done.stdout), strict=True)
    ]
