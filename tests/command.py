"""Runs the command line as people do: a subprocess with its own streams and environment."""

import os
import subprocess
import sys
from collections.abc import Iterator
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


@contextmanager
def started(*arguments: str | Path, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """The same, and it does not outlive a test that fails."""
    with start(*arguments, env=env) as process:
        try:
            yield process
        finally:
            process.kill()
