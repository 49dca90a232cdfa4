"""Processes beside this one: how they are started, fed and ended. What they do is said in `parallel`.

Little is imported here, so that they can be started before this process has imported what it needs itself.
"""

import contextlib
import mmap
import os
import select
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from pcapeda.errors import BadConfig, PcapedaError

SLOTS = 2
"""Pieces of work that one worker has at a time: one at work, one that waits for it."""

SLOT_BYTES = 4 << 20
"""Memory of a slot to begin with: it grows when a piece of work, or what is made of it, is larger."""


class Worker:
    """A process that waits for work, as its parent sees it.

    Words go through `connection`; what is long lies in `slots`, memory that both processes see. A worker ends with its
    parent: when the connection is closed.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        files = [os.memfd_create(f"pcapeda-{number}") for number in range(SLOTS)]
        for file in files:
            os.ftruncate(file, SLOT_BYTES)
        self.slots = [mmap.mmap(file, SLOT_BYTES) for file in files]
        passed = [theirs.fileno(), *files]
        # No fork: other threads may hold locks. No multiprocessing: it would run the main program once more.
        code = "import sys; sys.path[:] = sys.argv[2:]; from pcapeda.engine.parallel import work; work(sys.argv[1])"
        self.process = subprocess.Popen(  # noqa: S603 - this very interpreter
            [sys.executable, "-c", code, ",".join(map(str, passed)), *sys.path],
            pass_fds=passed,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C is for the parent, which ends us
        )
        for file in files:
            os.close(file)
        theirs.close()
        self.connection = Connection(ours.detach())
        self._answers = select.poll()  # asked often, and `Connection.poll` takes ten times as long
        self._answers.register(self.connection.fileno(), select.POLLIN)

    def has_answered(self) -> bool:
        """Whether there is something to receive, or nothing ever will be."""
        return bool(self._answers.poll(0))

    def close(self) -> None:
        """End the process, at once: nothing that it makes is wanted any more."""
        self.connection.close()
        self.process.kill()
        self.process.wait()
        for slot in self.slots:
            with contextlib.suppress(BufferError):  # somebody still looks at it: it goes with the last one
                slot.close()


class Workers:
    """So many workers, which are ready for work as soon as they have imported what they need.

    Raises `BadConfig` if there cannot be so many processes.
    """

    def __init__(self, number: int) -> None:
        self.all: list[Worker] = []
        try:
            for _ in range(number):
                self.all.append(Worker())
        except OSError as error:
            self.close()
            raise BadConfig(f"--jobs {number + 1}: cannot start so many processes: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all of them, whatever they are at."""
        for worker in self.all:
            worker.close()
        self.all.clear()


def put(memory: mmap.mmap, data: bytes | memoryview, at: int = 0) -> None:
    """Write into a slot, which grows if it must."""
    end = at + len(data)
    if end > len(memory):
        memory.resize(max(end, 2 * len(memory)))
    memory[at:end] = data


def serve(passed: str, make: Callable[[Any], Callable[[Any, list[mmap.mmap]], object]]) -> None:
    """The life of a worker. `passed` are its descriptors: of the connection, and of the slots.

    The first thing that comes is what `make` needs to make a function, which answers all others; a `PcapedaError` that
    it raises is an answer, too.
    """
    descriptor, *files = map(int, passed.split(","))
    slots = [mmap.mmap(file, SLOT_BYTES) for file in files]
    connection = Connection(descriptor)
    with contextlib.suppress(EOFError, ConnectionError):
        answer = make(connection.recv())
        while True:
            order = connection.recv()
            try:
                made: object = answer(order, slots)
            except PcapedaError as error:
                made = error
            connection.send(made)
