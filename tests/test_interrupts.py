"""Signals and what comes after them: a pipe is read to its end, a hang-up is an end, and nohup stays nohup."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.command import CLEAN, FIXTURES, PCAPEDA, ROOT
from tests.test_cli import read_until
from tests.test_faults import poll

MIXED = FIXTURES / "mixed.pcap"
DATAGRAMS = 13

WRITER = """
import signal, sys, threading
data = open(sys.argv[1], "rb").read()
go = threading.Event()
signal.signal(signal.SIGINT, lambda *_: go.set())
sys.stdout.buffer.write(data[:24])  # as tcpdump does: the header at once, the packets when the buffer is full
sys.stdout.buffer.flush()
sys.stderr.write("ready")
sys.stderr.flush()
go.wait()
sys.stdout.buffer.write(data[24:])
sys.stdout.buffer.flush()
if sys.argv[2] == "stays":
    threading.Event().wait()
"""
"""A writer that hands its packets over when it is interrupted, and then ends or stays."""


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)
    return bool(caught >> (number - 1) & 1)


@contextmanager
def pipeline(end: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """`writer | pcapeda replay - -n`, one process group as in a shell, once both have their handlers."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [*PCAPEDA, "replay", "-", "-n", *options],
        stdin=reading,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=CLEAN,
        cwd=ROOT,
        process_group=0,
    )
    os.close(reading)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(MIXED), end],
        stdout=writing,
        stderr=subprocess.PIPE,
        process_group=process.pid,
    )
    os.close(writing)
    try:
        assert writer.stderr is not None
        read_until(writer.stderr.fileno(), b"ready")
        poll(lambda: catches(process.pid, signal.SIGTERM), "handlers")
        yield process
    finally:
        writer.kill()
        process.kill()
        writer.communicate()


@pytest.mark.parametrize("options", [(), ("--pps", "1000"), ("--jobs", "2"), ("--max-rate", "500")])
def test_a_pipe_is_read_to_its_end_after_an_interrupt(options: tuple[str, ...]) -> None:
    """Ctrl-C goes to both ends of a pipe; what the other one hands over because of it is not lost."""
    with pipeline("ends", *options) as process:
        os.killpg(process.pid, signal.SIGINT)
        out, talk = process.communicate(timeout=60)
    assert len(out.splitlines()) == DATAGRAMS, talk
    assert process.returncode == 130
    assert f"{DATAGRAMS} = {DATAGRAMS} printed + 0 refused" in talk.decode()


def test_a_writer_that_does_not_end_is_waited_for_until_the_grace_is_over() -> None:
    """Everything it has written by then is delivered, and a person is told what is waited for."""
    with pipeline("stays", "--grace", "2") as process:
        os.killpg(process.pid, signal.SIGINT)
        out, talk = process.communicate(timeout=60)
    assert len(out.splitlines()) == DATAGRAMS
    assert b"for 2 s at most; a second Ctrl-C" in talk
    assert b"0 refused" in talk
    assert process.returncode == 130


def test_a_second_interrupt_ends_the_wait_for_a_pipe() -> None:
    """At once, whatever the grace."""
    with pipeline("stays", "--grace", "600") as process:
        os.killpg(process.pid, signal.SIGINT)
        assert process.stderr is not None
        read_until(process.stderr.fileno(), b"600 s at most")
        os.killpg(process.pid, signal.SIGINT)
        _, talk = process.communicate(timeout=60)
    assert b"stopped at once" in talk
    assert process.returncode == 130


def test_a_named_pipe_that_nobody_writes_is_not_waited_for(tmp_path: Path) -> None:
    """There is nothing to come: an interrupt ends it within far less than the grace."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(
        [*PCAPEDA, "replay", fifo, "-n", "--grace", "600"], env=CLEAN, cwd=ROOT, stderr=subprocess.PIPE
    ) as process:
        poll(lambda: catches(process.pid, signal.SIGTERM), "handlers")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130


@pytest.mark.parametrize("first", [[], ["nohup"]])
def test_a_hang_up_is_an_end_unless_it_was_ignored(first: list[str]) -> None:
    """As SIGTERM: flushed, summed up, 130. Under nohup nothing happens, and SIGTERM still ends it."""
    command = [*first, *PCAPEDA, "replay", str(MIXED), "-n", "--loop", "0", "--pps", "200"]
    with subprocess.Popen(command, env=CLEAN, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        before = read_until(process.stdout.fileno(), b"\n")
        process.send_signal(signal.SIGHUP)
        if first:
            before += read_until(process.stdout.fileno(), b"\n")
            before += read_until(process.stdout.fileno(), b"\n")
            assert process.poll() is None
            process.send_signal(signal.SIGTERM)
        rest, talk = process.communicate(timeout=30)
    assert process.returncode == 130
    printed = len((before + rest).splitlines())
    assert f"{printed:,} = {printed:,} printed + 0 refused" in talk.decode()


def test_standard_input_that_does_not_wait_is_waited_for() -> None:
    """O_NONBLOCK, left there by whoever had the pipe before: no error, no spinning."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    data = MIXED.read_bytes()
    with subprocess.Popen(
        [*PCAPEDA, "replay", "-", "-n"], stdin=reading, stdout=subprocess.PIPE, env=CLEAN, cwd=ROOT
    ) as process:
        os.close(reading)
        poll(lambda: catches(process.pid, signal.SIGTERM), "handlers")
        os.write(writing, data[:1000])
        assert process.stdout is not None
        first = read_until(process.stdout.fileno(), b"\n")
        os.write(writing, data[1000:])
        os.close(writing)
        rest, _ = process.communicate(timeout=30)
    assert len((first + rest).splitlines()) == DATAGRAMS
    assert process.returncode == 0
