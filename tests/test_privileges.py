"""`--drop-privileges`: after the sockets are open, no thread can do more than the user that was named."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.command import CLEAN, FAKE_AWS, ROOT
from tests.misbehaving import misbehaving
from tests.netns import Veth, needs_netns, veth_pair
from tests.test_cli import complaint, read_until
from tests.test_faults import poll

UID = 64321
NAME = "pcapeda-try"


def program() -> list[str] | None:
    """This interpreter, or another of the same version with its packages, as far as any user can run it."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = f"{ROOT}:{sysconfig.get_path('purelib')}"
    for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        command = ["env", f"PYTHONPATH={packages}", python, "-m", "pcapeda"]
        if shutil.which("setpriv") and os.geteuid() == 0 and Path(python).exists():
            powerless = ["setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups", *command]
            done = subprocess.run([*powerless, "schema"], env=CLEAN, cwd="/", capture_output=True, check=False)
            if done.returncode == 0:
                return command
    return None


PROGRAM = program() or []
pytestmark = [needs_netns, pytest.mark.skipif(not PROGRAM, reason="no other user can run this interpreter")]


@pytest.fixture(scope="module")
def veth() -> Iterator[Veth]:
    with veth_pair() as pair:
        yield pair


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that belongs to the user, on a path that everybody may walk (pytest keeps its own from others)."""
    with TemporaryDirectory(prefix="pcapeda-") as folder:
        Path(folder).chmod(0o755)
        place = Path(folder, "home")
        place.mkdir()
        os.chown(place, UID, UID)
        yield place


def as_seen_with(home: Path, *command: str) -> list[str]:
    """The command where `NAME` is a user whose home that is: /etc/passwd and /etc/group are others in its mounts."""
    for name, line in (("passwd", f"{NAME}:x:{UID}:{UID}::{home}:/bin/false"), ("group", f"{NAME}:x:{UID}:")):
        (home.parent / name).write_text(f"{Path('/etc', name).read_text()}{line}\n")
    mounts = " && ".join(f"mount --bind '{home.parent / name}' /etc/{name}" for name in ("passwd", "group"))
    return ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh", *command]


@contextmanager
def sniff_as(
    home: Path, *arguments: str, before: tuple[str, ...] = (), env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """`pcapeda sniff` where `NAME` is a user, which does not outlive a test that fails."""
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = as_seen_with(home, *before, *PROGRAM, "sniff", *arguments)
    with subprocess.Popen(command, env=CLEAN | (env or {}), cwd=home, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def sniff(
    home: Path, *arguments: str, before: tuple[str, ...] = (), **env: str
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """The same, and it drops its privileges to that user."""
    return sniff_as(home, "--drop-privileges", NAME, *arguments, before=before, env=env)


def threads_of(process: subprocess.Popen[bytes]) -> list[dict[str, list[str]]]:
    """What the kernel says of each thread."""
    told = []
    for path in Path(f"/proc/{process.pid}/task").glob("*/status"):
        lines = (line.partition(":") for line in path.read_text().splitlines())
        told.append({name: value.split() for name, _, value in lines})
    return told


@pytest.mark.parametrize(
    "before",
    [
        (),
        (
            "setpriv",
            f"--reuid={UID}",
            f"--regid={UID}",
            "--clear-groups",
            "--inh-caps=+net_raw",
            "--ambient-caps=+net_raw",
        ),
    ],
    ids=["from root", "from CAP_NET_RAW"],
)
def test_every_thread_is_the_user_and_capture_goes_on(veth: Veth, home: Path, before: tuple[str, ...]) -> None:
    """No thread keeps an id, a group or a capability; packets come in; what is written belongs to the user."""
    kept = home / "kept.pcapng"
    options = ("-i", veth.name, "-n", "--port", "5514", "-w", str(kept), "--metrics", "127.0.0.1:0")
    with sniff(home, *options, before=before) as process:
        assert process.stderr is not None
        read_until(process.stderr.fileno(), b"listening on ")
        threads = threads_of(process)
        assert len(threads) >= 3  # the run's, the receiver's, the metrics'
        for thread in threads:
            assert thread["Uid"] == thread["Gid"] == [str(UID)] * 4
            assert thread["Groups"] == []
            assert {thread[name][0].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {""}
            assert thread["NoNewPrivs"] == ["1"]
        veth.send(5514, 100)
        process.send_signal(signal.SIGTERM)
        output, talk = process.communicate(timeout=60)
    assert process.returncode == 130, talk
    assert len(output.splitlines()) == 100
    assert kept.stat().st_uid == UID
    assert kept.stat().st_size > 100 * 50


def test_credentials_are_the_users_and_are_looked_for_with_its_rights(veth: Veth, home: Path) -> None:
    """A credential_process in the user's own AWS configuration is found by HOME, and runs as that user, not as root."""
    told = home / "told"
    script = home / "credentials.sh"
    keys = json.dumps({"Version": 1, "AccessKeyId": "OFTHEUSER", "SecretAccessKey": "testing"})
    script.write_text(f"#!/bin/sh\necho $(id -u) $USER $LOGNAME $HOME > {told}\necho '{keys}'\n")
    script.chmod(0o755)
    (home / ".aws").mkdir()
    (home / ".aws" / "config").write_text(f"[default]\nregion = eu-west-1\ncredential_process = {script}\n")
    spool = home / "spool"
    with misbehaving("none") as server:
        options = ("-i", veth.name, "--port", "5514", "--endpoint-url", server.url, "--spool", str(spool))
        with sniff(home, *options, HOME="/root", USER="root") as process:
            assert process.stderr is not None
            read_until(process.stderr.fileno(), b"listening on ")
            veth.send(5514, 10)
            poll(lambda: len(server.told()["accepted"]) == 10, "delivered")
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        assert server.told()["keys"] == ["OFTHEUSER"]
    assert told.read_text().split() == [str(UID), NAME, NAME, str(home)]
    assert spool.stat().st_uid == UID


def test_what_the_user_cannot_write_ends_it_before_anything_is_sent(veth: Veth, home: Path) -> None:
    """A spool that belongs to root is refused at once: what is opened later is opened with the same rights."""
    spool = home.parent / "of-root"
    spool.mkdir(mode=0o700)
    options = ("-i", veth.name, "--endpoint-url", "http://127.0.0.1:9", "--spool", str(spool))
    with sniff(home, *options, **FAKE_AWS) as process:
        _, talk = process.communicate(timeout=60)
    assert process.returncode == 3
    assert f"spool {spool}: Permission denied" in talk.decode()
    assert b"Traceback" not in talk
    assert b"listening" not in talk


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ("no-such-user", "no such user"),
        (f"{NAME}:no-such-group", "no such group"),
        ("", "no such user"),
        ("99999999999999999999", "no such user"),
        ("root", "root has all privileges"),
        ("0", "root has all privileges"),
        (f"{NAME}:root", "root has all privileges"),
    ],
)
def test_whom_nobody_can_become_is_a_mistake(veth: Veth, home: Path, user: str, words: str) -> None:
    """An unknown user or group, and root: exit code 2, one line."""
    with sniff(home, "-i", veth.name, "-n", "--drop-privileges", user) as process:
        output, talk = process.communicate(timeout=60)
    assert (process.returncode, output) == (2, b"")
    assert words in complaint(talk)


@pytest.mark.parametrize(
    "before",
    [
        ("setpriv", "--bounding-set=-all,+net_raw"),
        (
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=+net_raw",
            "--ambient-caps=+net_raw",
        ),
        ("setpriv", f"--reuid={UID}", f"--regid={UID}", "--groups=4", "--inh-caps=+net_raw", "--ambient-caps=+net_raw"),
    ],
    ids=["root without CAP_SETUID", "somebody else", "with a group that is not the user's"],
)
def test_without_the_right_to_it_nothing_is_read(veth: Veth, home: Path, before: tuple[str, ...]) -> None:
    """Exit code 3, one line and a hint; a run that may open sockets but not give that up does not start."""
    with sniff(home, "-i", veth.name, "-n", before=before) as process:
        output, talk = process.communicate(timeout=60)
    assert (process.returncode, output) == (3, b"")
    assert f"cannot become user {NAME}" in complaint(talk)


def test_a_program_that_the_user_cannot_read_is_said(veth: Veth, home: Path) -> None:
    """The package is in a folder of root's: exit code 3 before anything is read, not a trace in the middle of it."""
    hidden = home.parent / "hidden"
    hidden.mkdir()
    shutil.copytree(ROOT / "pcapeda", hidden / "pcapeda", ignore=shutil.ignore_patterns("__pycache__"))
    hidden.chmod(0o700)
    command = [part.replace(f"PYTHONPATH={ROOT}", f"PYTHONPATH={hidden}") for part in PROGRAM]
    arguments = ("sniff", "-i", veth.name, "-n", "--drop-privileges", NAME)
    done = subprocess.run(
        as_seen_with(home, *command, *arguments), env=CLEAN, cwd="/", capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 3
    assert f"user {NAME} cannot read {hidden}" in complaint(done.stderr)
