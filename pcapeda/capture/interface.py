"""An interface → frames and ticks (Linux).

Receiving is urgent, decoding is not: the kernel writes the frames into a ring of memory, one thread takes whole blocks
of them out into a bounded queue, and only the reader of the queue looks at single frames. When the queue is full,
frames wait in the ring; when that is full too, the kernel drops and counts them.

Scapy opens the socket and libpcap compiles the filter, which is in place before the socket is bound to an interface:
no frame that it refuses is ever received.
"""

import os
import select
import shlex
import socket
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Condition, Thread
from time import monotonic
from types import TracebackType
from typing import Final, Self

from pcapeda.capture.bpf import COOKED, SNAPLEN, Filter
from pcapeda.capture.devices import ANY, Device, find, interfaces, need_linux
from pcapeda.capture.quiet_scapy import quiet_scapy
from pcapeda.capture.stream import BLOCK_FRAMES
from pcapeda.capture.tpacket import RETIRE_MS, Ring, has_headers
from pcapeda.errors import BadConfig, NoRights, NoSuchInterface, of_system
from pcapeda.model import Frame
from pcapeda.units import MIB

__all__ = ["ANY", "BUFFER_BYTES", "LiveSource", "interfaces"]

BUFFER_BYTES: Final = 128 * MIB
"""Ring memory by default: it holds a burst of 800,000 small packets, or 200,000 of 550 bytes, of which not one has been
looked at yet (each takes 82 bytes more, rounded up to 16)."""
QUEUE_BYTES: Final = 8 * MIB
TICK_NS: Final = 100_000_000

_LINGER_S: Final = 1.0
"""At the end, frames the kernel has counted but not handed over yet are waited for this long at most."""

_NS: Final = 1_000_000_000


class LiveSource:
    """Frames from interfaces as they arrive, and None when nothing came for `tick_ns`.

    `interfaces` are names, or 'any' for all of them: its frames are LINKTYPE_LINUX_SLL2, like tcpdump's.
    `filter` selects (TCP is always left out: no datagram is in it, and what this program sends to AWS is). The rings
    take `buffer_bytes` in all, the queue `max_queued_bytes`; of each frame `snaplen` bytes are kept. `promisc` also
    receives what is not addressed to this host.

    Nothing happens before `open`. Iterating ends after `stop`, with all that had been received by then, or raises
    `InterfaceDown`, also with all that had been received. One thread may iterate.
    """

    queue_drops = 0
    """Frames given up between ring and reader: none before `leave`. A full queue leaves them in the ring."""

    def __init__(
        self,
        interfaces: Sequence[str],
        *,
        filter: Filter | str | None = None,  # noqa: A002 - the option's name, as everywhere
        buffer_bytes: int = BUFFER_BYTES,
        max_queued_bytes: int = QUEUE_BYTES,
        tick_ns: int = TICK_NS,
        snaplen: int = SNAPLEN,
        promisc: bool = True,
    ) -> None:
        self._names = tuple(dict.fromkeys(interfaces))
        self._filter = Filter(filter) if isinstance(filter, str) else filter
        self._buffer_bytes = buffer_bytes
        self._max_queued_bytes = max_queued_bytes
        self._tick_s = tick_ns / _NS
        self._snaplen = snaplen
        self._promisc = promisc
        self._claimed: list[tuple[Device, socket.socket, bytes]] = []
        self._rings: list[Ring] = []
        self._drops = 0
        self._number = 0
        self._stopping = False
        self._closing = False
        self._thread: Thread | None = None
        self._waker: socket.socket | None = None
        # Guarded by `_changed`: the blocks that were received and not looked at yet, and how it all ended.
        self._changed = Condition()
        self._queue: deque[tuple[Ring, bytes]] = deque()
        self._queued_bytes = 0
        self._ended = False
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def claim(self) -> None:
        """Open the sockets, which receive nothing yet, and compile the filter for them.

        Only this needs rights; `open` does it if it was not done. Raises `NoSuchInterface`, `NoRights`, `BadFilter`, or
        `InterfaceDown`.
        """
        need_linux()
        if not self._names:
            raise BadConfig("no interface to listen on")
        if ANY in self._names and len(self._names) > 1:
            raise BadConfig("'any' listens on all interfaces already: name it alone")
        devices = {device.ifindex: device for device in map(find, self._names)}
        with self._undone_on_failure():
            for device in devices.values():
                opened = _open(device)
                self._claimed.append((device, opened, b""))
                self._claimed[-1] = (device, opened, self._socket_program(device))

    def open(self) -> None:
        """Start receiving.

        Raises what `claim` does, or `Unavailable` for memory that the kernel does not have.
        """
        if not self._claimed:
            self.claim()
        share = self._buffer_bytes // len(self._claimed)
        claimed, self._claimed = self._claimed, []
        self._rings = [Ring(opened, device, share) for device, opened, _ in claimed]
        with self._undone_on_failure():
            for ring, (_, _, program) in zip(self._rings, claimed, strict=True):
                ring.arm(program, promisc=self._promisc)
            for ring in self._rings:
                ring.bind()
        self._waker, waked = socket.socketpair()
        self._waker.setblocking(False)
        self._thread = Thread(target=self._receive, args=(waked,), name="pcapeda receiver", daemon=True)
        self._thread.start()

    @contextmanager
    def _undone_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):  # gone in the meantime, or a kernel that cannot do this
                names = ", ".join(self._names)
                raise of_system(f"cannot capture on {names}", error) from error
            raise

    def _socket_program(self, device: Device) -> bytes:
        interface = device.name if device.ifindex else None
        without_tcp = "not tcp"
        if self._filter is not None and self._filter.expression.strip():
            # Alone first: its own words for its own mistakes, and brackets that do not pair cannot reach around ours.
            self._filter.check_for(device.linktype)
            # Ours comes first: a `vlan` in the other shifts where all that follows looks.
            without_tcp += f" and ({self._filter.expression})"
        return Filter(without_tcp).program(
            device.linktype, interface=interface, snaplen=self._snaplen, headers=has_headers()
        )

    @property
    def granted_buffer(self) -> int:
        """Bytes of ring memory in all, while open."""
        return sum(ring.size for ring in self._rings)

    def kernel_drops(self) -> int:
        """How many frames the kernel had no room for so far."""
        self._drops = max(self._drops, sum(ring.count()[1] for ring in self._rings))
        return self._drops

    def stop(self) -> None:
        """Receive nothing more. What had been received can still be iterated. For any thread, or a signal handler."""
        self._stopping = True
        if self._waker is not None:
            with suppress(OSError):  # full: it is awake; closed: it has ended
                self._waker.send(b"\0")

    def leave(self, read: int) -> None:
        """Give up what was received and not read; `read` is the number of the last frame that was."""
        for ring in self._rings:
            ring.refuse_all()
        self.queue_drops = max(0, sum(ring.count()[0] for ring in self._rings) - read)

    def close(self) -> None:
        """Let go of everything, also of frames that nobody has looked at."""
        self._closing = True
        self.stop()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self.kernel_drops()
        if self._waker is not None:
            self._waker.close()
        for _, opened, _ in self._claimed:
            opened.close()
        self._claimed = []
        for ring in self._rings:
            ring.close()
        self._rings.clear()

    def __iter__(self) -> Iterator[Frame | None]:
        for block in self.blocks():
            if block is None:
                yield None
            else:
                yield from block

    def blocks(self) -> Iterator[list[Frame] | None]:
        """The frames in lists, as the kernel hands them over; None on each tick."""
        while True:
            with self._changed:
                if not self._queue and not self._ended:
                    self._changed.wait(self._tick_s)
                block = None
                if self._queue:
                    ring, block = self._queue.popleft()
                    self._queued_bytes -= len(block)
                    self._changed.notify_all()
                elif self._ended:
                    break
            if block is None:
                yield None
                continue
            frames = ring.frames(block, self._number)
            self._number += len(frames)
            for first in range(0, len(frames), BLOCK_FRAMES):
                yield frames[first : first + BLOCK_FRAMES]
        if self._failure is not None:
            raise self._failure

    def _receive(self, waked: socket.socket) -> None:
        """The thread: blocks from the rings to the queue, until stopped or an interface fails; then what is left."""
        try:
            with waked:
                self._watch(waked)
            self._drain()
        except Exception as error:  # noqa: BLE001 - it must reach the reader, whatever it is
            self._failure = self._failure or error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _watch(self, waked: socket.socket) -> None:
        poller = select.poll()
        poller.register(waked, select.POLLIN)
        by_descriptor = {ring.descriptor: ring for ring in self._rings}
        for descriptor in by_descriptor:
            poller.register(descriptor, select.POLLIN)
        while not self._stopping:
            for descriptor, event in poller.poll():
                ring = by_descriptor.get(descriptor)
                if ring is None:
                    return
                self._take(ring)
                if event & ~select.POLLIN:
                    self._failure = ring.failure()
                    if self._failure is not None:
                        return

    def _drain(self) -> None:
        """All that the kernel says it has received, so that nothing is lost without being counted."""
        for ring in self._rings:
            ring.refuse_all()
        deadline = monotonic() + _LINGER_S
        while not self._closing:
            moved = [self._take(ring) for ring in self._rings]
            if any(moved):
                deadline = monotonic() + _LINGER_S
            waiting = [ring for ring in self._rings if ring.taken < ring.count()[0]]
            if not waiting or monotonic() > deadline:
                return
            with self._changed:
                self._changed.wait(RETIRE_MS / 1000)

    def _take(self, ring: Ring) -> bool:
        """Move the blocks that are ready, at most one round of the ring: the others have their turn, too."""
        for count in range(ring.blocks):
            if not ring.ready():
                return count > 0
            # The lock is also the memory barrier between the kernel's mark on a block and the reading of it, and
            # between that and our mark.
            with self._changed:
                while self._queued_bytes >= self._max_queued_bytes and not self._closing:
                    self._changed.wait()
            if self._closing:
                return False
            block = ring.copy()
            with self._changed:
                self._queue.append((ring, block))
                self._queued_bytes += len(block)
                self._changed.notify_all()
            ring.give_back()
        return True


def _open(device: Device) -> socket.socket:
    """A socket that is deaf (protocol 0) until it has its filter and is bound.

    It is Scapy's; or one of our own where frames become Linux cooked: for 'any', where headers differ, and for links
    whose headers we do not know.
    """
    try:
        cooked = socket.socket(socket.AF_PACKET, socket.SOCK_RAW if has_headers() else socket.SOCK_DGRAM, 0)
    except PermissionError:
        raise _no_rights(device.name) from None
    if device.linktype == COOKED:
        return cooked
    cooked.close()
    with quiet_scapy():
        try:
            from scapy.arch.linux import L2ListenSocket
        except OSError as error:  # its older versions look into the home folder
            raise BadConfig(f"Scapy cannot be loaded: {error}", hint="is HOME a folder of this user?") from error
        try:
            opened = L2ListenSocket(iface=device.name, type=0, promisc=False, nofilter=1)
        except (OSError, ValueError) as error:
            raise NoSuchInterface(f"interface {device.name} cannot be opened: {error}") from error
    return socket.socket(fileno=opened.ins.detach())


def _no_rights(name: str) -> NoRights:
    words = f"no right to capture on {name}"
    if os.geteuid() == 0:
        return NoRights(words, hint="this container or service lacks CAP_NET_RAW (docker run --cap-add NET_RAW)")
    # sudo does not find what a virtual environment has, and the python there is a link, which takes no capability.
    python, copy = (shlex.quote(path) for path in (sys.executable, f"{sys.executable}-capture"))
    return NoRights(
        words,
        hint=f"sudo {python} -m pcapeda sniff …   or once, for a copy of the interpreter: "
        f"cp {shlex.quote(os.path.realpath(sys.executable))} {copy} && sudo setcap cap_net_raw+ep {copy}, "
        f"then {copy} -m pcapeda sniff …",
    )
