"""Several calls of `Sink.send` at once, each in a thread of its own."""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from pcapeda.model import Batch, Outcome


class ThreadPoolSender:
    """Threads that send batches (a `model.AsyncSender`).

    They are daemons: a request without an answer does not keep the program from ending. (The executors of the standard
    library are waited for at the interpreter's end, however long that takes.)
    """

    def __init__(self, send: Callable[[Batch], Outcome], number: int) -> None:
        self._send = send
        self._number = number
        self._threads = 0
        self._flight = 0
        self._to_send: SimpleQueue[tuple[int, Batch] | None] = SimpleQueue()
        self._landed: SimpleQueue[tuple[int, Outcome | BaseException]] = SimpleQueue()

    def start(self, batch: Batch) -> int:
        """Send the batch in another thread."""
        if self._threads < self._number:
            self._threads += 1
            threading.Thread(target=self._work, name=f"send-{self._threads}", daemon=True).start()
        self._flight += 1
        self._to_send.put((self._flight, batch))
        return self._flight

    def poll(self, timeout_s: float) -> list[tuple[int, Outcome | BaseException]]:
        """The outcomes since the last call, or what `send` raised."""
        told: list[tuple[int, Outcome | BaseException]] = []
        try:
            while True:
                wait = timeout_s > 0 and not told
                told.append(self._landed.get(wait, timeout_s) if wait else self._landed.get_nowait())
        except Empty:
            return told

    def close(self) -> None:
        """Let every thread end once it has nothing under way."""
        for _ in range(self._threads):
            self._to_send.put(None)

    def _work(self) -> None:
        while (work := self._to_send.get()) is not None:
            number, batch = work
            try:
                self._landed.put((number, self._send(batch)))
            except BaseException as error:  # noqa: BLE001 - it is told where the outcomes are asked for
                self._landed.put((number, error))
