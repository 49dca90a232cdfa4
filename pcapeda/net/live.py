"""An interface → frames and ticks (Linux).

Receiving is urgent, decoding is not: the kernel writes the frames into a ring of memory that it shares with this
process (TPACKET_V3, Documentation/networking/packet_mmap.rst), one thread takes whole blocks of them out into a bounded
queue, and only the reader of the queue looks at single frames. A ring rather than a socket's receive buffer because it
takes packets at their own size (a buffer counts 768 bytes and more for each), as large as asked for with nothing but
CAP_NET_RAW (a buffer beyond net.core.rmem_max needs CAP_NET_ADMIN), and at one system call for many. When the queue is
full, frames wait in the ring; when that is full too, the kernel drops and counts them.

Scapy opens the socket and libpcap compiles the filter, which is in place before the socket is bound to an interface:
no frame that it refuses is ever received.
"""

import ctypes
import errno
import os
import select
import shlex
import socket
import struct
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from mmap import mmap
from pathlib import Path
from threading import Condition, Lock, Thread
from time import monotonic
from types import TracebackType
from typing import Final, NamedTuple, Self

from pcapeda.errors import BadConfig, InterfaceDown, NoRights, NoSuchInterface, PcapedaError
from pcapeda.model import Frame
from pcapeda.net.filter import COOKED, ETHERNET, RAW_IP, SNAPLEN, Filter, quiet_scapy

MIB: Final = 1024 * 1024
BUFFER_BYTES: Final = 64 * MIB
"""Ring memory by default: it holds a burst of 400,000 small packets (each takes its bytes and 82 more, rounded up
to 16) of which not one has been looked at yet."""
QUEUE_BYTES: Final = 16 * MIB
TICK_NS: Final = 100_000_000

ANY: Final = "any"
"""The name for all interfaces, now and to come."""

_LINKTYPES: Final = {1: ETHERNET, 772: ETHERNET, 801: 105, 803: 127, 519: RAW_IP, 776: RAW_IP, 65534: RAW_IP}
"""ARPHRD_ value (linux/if_arp.h) → LINKTYPE_ of what a SOCK_RAW socket gives there: Ethernet and loopback, 802.11 with
and without radiotap, raw IP (tun, WireGuard, sit). All others are read without their link header, as Linux cooked."""
_LINKTYPE_NAMES: Final = {
    ETHERNET: "Ethernet",
    RAW_IP: "raw IP",
    COOKED: "Linux cooked",
    105: "802.11",
    127: "radiotap",
}
_LOOPBACK: Final = 772
"""What this interface sends comes in again: only the latter is a frame, as for libpcap."""

# linux/if_packet.h, linux/sockios.h, linux/if.h, asm/socket.h
_SOL_PACKET, _SO_ATTACH_FILTER, _SO_TIMESTAMPNS = 263, 26, 35
_PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION, _TPACKET_V3 = 5, 6, 10, 2
_VLAN_VALID, _VLAN_TPID_VALID = 1 << 4, 1 << 6
_ETH_P_ALL = 3
_SIOCGIFCONF, _SIOCGIFFLAGS, _SIOCGIFHWADDR = 0x8912, 0x8913, 0x8927
_IFF_UP = 1

_BLOCK: Final = 256 * 1024
"""Bytes of a block of the ring: frames are handed over block by block. The largest frame must fit."""
_SMALL_BLOCK: Final = 128 * 1024
_RETIRE_MS: Final = 10
"""A block that is not full is handed over after so many milliseconds: the delay of a lone packet."""
_LINGER_S: Final = 1.0
"""At the end, frames the kernel has counted but not handed over yet are waited for this long at most."""

_BLOCK_HEAD = struct.Struct("=8xIIII")  # struct tpacket_block_desc: status, packets, offset of the first, bytes used
_STATUS_AT: Final = 8
_READY: Final = 1  # TP_STATUS_USER
# struct tpacket3_hdr: step to the next one, seconds, nanoseconds, bytes captured and on the wire, status, offset of the
# frame, VLAN tag and its TPID, which the kernel keeps apart; in the struct sockaddr_ll after it, the packet type.
_HEAD = struct.Struct("=6IH6xIH20xB")
# The rest of struct sockaddr_ll: protocol, interface index, hardware type, and the address with its length.
_COOKED_HEAD = struct.Struct("=50x2sIHxB8s")
_SLL2 = struct.Struct(">2sxxIHBB8s")  # https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html
_TAG = struct.Struct(">HH")
_SOCKADDR_LL = struct.Struct("=H2sIHBB8x")
_REFUSE_ALL: Final = struct.pack("=HBBI", 0x06, 0, 0, 0)
_NS: Final = 1_000_000_000


class Interface(NamedTuple):
    """A place to listen. `addresses` are texts without prefix length; `linktype` names what its frames begin with."""

    name: str
    up: bool
    mac: str | None
    addresses: tuple[str, ...]
    linktype: str


class _Device(NamedTuple):
    ifindex: int
    name: str
    up: bool
    hardware: int
    mac: bytes

    @property
    def linktype(self) -> int:
        return _LINKTYPES.get(self.hardware, COOKED)


def interfaces() -> list[Interface]:
    """What `LiveSource` can listen on, with 'any' at the end. Raises `BadConfig` where live capture does not work."""
    _need_linux()
    addresses: dict[str, list[str]] = {}
    for name, address in _ipv4_addresses() + _ipv6_addresses():
        addresses.setdefault(name, []).append(address)
    found = []
    for index, name in socket.if_nameindex():
        with suppress(OSError):  # gone since
            device = _device(index, name)
            mac = device.mac.hex(":") if any(device.mac) else None
            found.append(
                Interface(name, device.up, mac, tuple(addresses.get(name, ())), _LINKTYPE_NAMES[device.linktype])
            )
    return [*found, Interface(ANY, True, None, (), _LINKTYPE_NAMES[COOKED])]


def _need_linux() -> None:
    if not hasattr(socket, "AF_PACKET"):
        raise BadConfig("live capture works on Linux only", hint="tcpdump -w - -i … udp | pcapeda replay -")


def _device(index: int, name: str) -> _Device:
    """Raises OSError when there is none of that name."""
    (flags,) = struct.unpack_from("H", _ask(_SIOCGIFFLAGS, name), 16)
    answer = _ask(_SIOCGIFHWADDR, name)
    (hardware,) = struct.unpack_from("H", answer, 16)
    return _Device(index, name, bool(flags & _IFF_UP), hardware, answer[18:24])


def _ask(request: int, name: str) -> bytes:
    """An ioctl on struct ifreq (netdevice(7))."""
    from fcntl import ioctl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        return ioctl(any_socket, request, os.fsencode(name).ljust(40, b"\0"))


def _ipv4_addresses() -> list[tuple[str, str]]:
    from fcntl import ioctl

    room = 64 * 1024
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        buffer = ctypes.create_string_buffer(room)
        answer = ioctl(any_socket, _SIOCGIFCONF, struct.pack("@iP", room, ctypes.addressof(buffer)))
    (used,) = struct.unpack_from("@i", answer)
    step = 40 if ctypes.sizeof(ctypes.c_void_p) == 8 else 32
    found = []
    for at in range(0, used, step):
        name = ctypes.string_at(ctypes.addressof(buffer) + at).split(b":")[0]  # eth0:1 is a label on eth0
        found.append((os.fsdecode(name), socket.inet_ntoa(buffer.raw[at + 20 : at + 24])))
    return found


def _ipv6_addresses() -> list[tuple[str, str]]:
    try:
        rows = [line.split() for line in Path("/proc/net/if_inet6").read_text().splitlines()]
    except OSError:  # a kernel without IPv6
        return []
    return [(row[5], socket.inet_ntop(socket.AF_INET6, bytes.fromhex(row[0]))) for row in rows]


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
    """Frames given up between ring and reader: none, ever. A full queue leaves them in the ring."""

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
        self._rings: list[_Ring] = []
        self._drops = 0
        self._number = 0
        self._stopping = False
        self._closing = False
        self._thread: Thread | None = None
        self._waker: socket.socket | None = None
        # Guarded by `_changed`: the blocks that were received and not looked at yet, and how it all ended.
        self._changed = Condition()
        self._queue: deque[tuple[_Ring, bytes]] = deque()
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

    def open(self) -> None:
        """Start receiving.

        Raises `NoSuchInterface`, `NoRights`, `BadFilter`, or `BadConfig` for an interface that is down and for memory
        that the kernel does not have.
        """
        _need_linux()
        if not self._names:
            raise BadConfig("no interface to listen on")
        if ANY in self._names and len(self._names) > 1:
            raise BadConfig("'any' listens on all interfaces already: name it alone")
        devices = [_find(name) for name in self._names]
        try:
            for device in devices:
                self._rings.append(_Ring(device, self._buffer_bytes // len(devices), self._promisc))
            for ring in self._rings:
                ring.arm(self._socket_program(ring))
            for ring in self._rings:
                ring.bind()
        except BaseException:
            self.close()
            raise
        self._waker, waked = socket.socketpair()
        self._waker.setblocking(False)
        self._thread = Thread(target=self._receive, args=(waked,), name="pcapeda receiver", daemon=True)
        self._thread.start()

    def _socket_program(self, ring: "_Ring") -> bytes:
        interface = ring.device.name if ring.device.ifindex else None
        without_tcp = "not tcp"
        if self._filter is not None and self._filter.expression.strip():
            # Alone first: its own words for its own mistakes, and brackets that do not pair cannot reach around ours.
            self._filter.check_for(ring.linktype)
            # Ours comes first: a `vlan` in the other shifts where all that follows looks.
            without_tcp += f" and ({self._filter.expression})"
        return Filter(without_tcp).program(ring.linktype, interface=interface, snaplen=self._snaplen)

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
        for ring in self._rings:
            ring.close()
        self._rings.clear()

    def __iter__(self) -> Iterator[Frame | None]:
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
            yield from frames
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
                self._changed.wait(_RETIRE_MS / 1000)

    def _take(self, ring: "_Ring") -> bool:
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


def _find(name: str) -> _Device:
    if name == ANY:
        return _Device(0, ANY, True, -1, b"")
    try:
        index = socket.if_nametoindex(name)
        device = _device(index, socket.if_indextoname(index))  # an alternative name leads to the proper one
    except (OSError, ValueError):
        there = ", ".join(one.name for one in interfaces())
        raise NoSuchInterface(f"no interface {name!r}; there are: {there}") from None
    if not device.up:
        raise BadConfig(f"interface {name} is down", hint=f"ip link set {name} up")
    return device


class _Ring:
    """A packet socket and its ring. Receives nothing before `arm` and `bind`."""

    def __init__(self, device: _Device, size: int, promisc: bool) -> None:
        self.device = device
        self.linktype = device.linktype
        self.taken = 0
        """Frames handed over in the blocks that were copied."""
        self._received = self._dropped = 0
        self._counting = Lock()
        self._next = 0
        self._block = _BLOCK if size >= 8 * _BLOCK else _SMALL_BLOCK
        self.blocks = max(2, size // self._block)
        self.size = self.blocks * self._block
        self._ring: mmap | None = None
        try:
            cooked = _open_cooked()
        except PermissionError:
            raise _no_rights(device.name) from None
        if self.linktype == COOKED:
            self._socket = cooked
        else:
            cooked.close()
            self._socket = _open_scapy(device.name, promisc)
        self.descriptor = self._socket.fileno()

    def arm(self, program: bytes) -> None:
        """Put filter and ring in place."""
        self._attach(program)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        request = struct.pack("7I", self._block, self.blocks, self._block, self.blocks, _RETIRE_MS, 0, 0)
        try:
            self._socket.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
            self._ring = mmap(self.descriptor, self.size)
        except OSError as error:
            if error.errno != errno.ENOMEM:
                raise
            raise BadConfig(
                f"the kernel has no {self.size / MIB:,.0f} MiB for the receive buffer of {self.device.name}",
                hint="ask for less with --buffer-mib",
            ) from None

    def bind(self) -> None:
        """Receive from now on. (Python's bind() knows no packet socket that listens everywhere.)"""
        address = _SOCKADDR_LL.pack(socket.AF_PACKET, struct.pack(">H", _ETH_P_ALL), self.device.ifindex, 0, 0, 0)
        if ctypes.CDLL(None, use_errno=True).bind(self.descriptor, address, len(address)) == 0:
            return
        code = ctypes.get_errno()
        if code == errno.ENODEV:
            raise NoSuchInterface(f"interface {self.device.name} is gone")
        raise OSError(code, f"bind to {self.device.name}")

    def refuse_all(self) -> None:
        self._attach(_REFUSE_ALL)

    def _attach(self, program: bytes) -> None:
        code = ctypes.create_string_buffer(program, len(program))
        fprog = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)

    def failure(self) -> PcapedaError | None:
        """Why the socket signals an error, if it does."""
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code in (errno.ENETDOWN, errno.ENODEV, errno.ENXIO):
            return InterfaceDown(f"interface {self.device.name} went down or was removed")
        return InterfaceDown(f"interface {self.device.name}: {errno.errorcode.get(code, code)}") if code else None

    def count(self) -> tuple[int, int]:
        """Frames put into the ring so far, and frames dropped. (The kernel's own counts start anew at each reading.)"""
        with self._counting:
            if self._socket.fileno() >= 0:
                answer = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 12)
                packets, drops, _ = struct.unpack("3I", answer)
                self._received += packets - drops
                self._dropped += drops
            return self._received, self._dropped

    def ready(self) -> bool:
        assert self._ring is not None
        (status, *_) = _BLOCK_HEAD.unpack_from(self._ring, self._next * self._block)
        return bool(status & _READY)

    def copy(self) -> bytes:
        """The next block, which must be ready."""
        assert self._ring is not None
        start = self._next * self._block
        _, packets, _, used = _BLOCK_HEAD.unpack_from(self._ring, start)
        self.taken += packets
        return self._ring[start : start + used]

    def give_back(self) -> None:
        assert self._ring is not None
        struct.pack_into("=I", self._ring, self._next * self._block + _STATUS_AT, 0)
        self._next = (self._next + 1) % self.blocks

    def frames(self, block: bytes, number: int) -> list[Frame]:
        """The frames in a block, numbered on from `number`."""
        return (self._cooked if self.linktype == COOKED else self._plain)(block, number)

    def _plain(self, block: bytes, number: int) -> list[Frame]:
        linktype, name = self.linktype, self.device.name
        looped = self.device.hardware == _LOOPBACK
        unpack, new, found = _HEAD.unpack_from, tuple.__new__, []
        _, packets, at, _ = _BLOCK_HEAD.unpack_from(block)
        for _ in range(packets):
            step, seconds, nanoseconds, captured, wire, status, mac, tci, tpid, kind = unpack(block, at)
            start = at + mac
            at += step
            if looped and kind == socket.PACKET_OUTGOING:
                continue
            data = block[start : start + captured]
            if status & _VLAN_VALID or tci:
                data = data[:12] + _TAG.pack(tpid if status & _VLAN_TPID_VALID else 0x8100, tci) + data[12:]
                wire += 4
            number += 1
            # Past Frame's own __new__, which takes a third of the time this loop has for a frame.
            found.append(new(Frame, (seconds * _NS + nanoseconds, linktype, data, wire, name, number)))
        return found

    def _cooked(self, block: bytes, number: int) -> list[Frame]:
        """Each with the header that a SOCK_DGRAM socket leaves to us, made from its struct sockaddr_ll."""
        found = []
        _, packets, at, _ = _BLOCK_HEAD.unpack_from(block)
        for _ in range(packets):
            step, seconds, nanoseconds, captured, wire, status, mac, tci, tpid, kind = _HEAD.unpack_from(block, at)
            protocol, index, hardware, length, address = _COOKED_HEAD.unpack_from(block, at)
            start = at + mac
            at += step
            if hardware == _LOOPBACK and kind == socket.PACKET_OUTGOING:
                continue
            data = block[start : start + captured]
            if status & _VLAN_VALID or tci:
                data = struct.pack(">H", tci) + protocol + data
                protocol = struct.pack(">H", tpid if status & _VLAN_TPID_VALID else 0x8100)
                wire += 4
            data = _SLL2.pack(protocol, index, hardware, kind, length, address) + data
            number += 1
            time_ns = seconds * _NS + nanoseconds
            found.append(Frame(time_ns, COOKED, data, wire + _SLL2.size, _name(index), number))
        return found

    def close(self) -> None:
        if self._ring is not None:
            self._ring.close()  # it holds the socket, too
        self._socket.close()


@lru_cache(maxsize=1024)  # interfaces come and go: bounded
def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"#{index}"


def _open_scapy(name: str, promisc: bool) -> socket.socket:
    """Scapy's socket for the interface. Protocol 0 keeps it deaf until it has its filter and is bound anew."""
    with quiet_scapy():
        try:
            from scapy.arch.linux import L2ListenSocket
        except OSError as error:  # its older versions look into the home folder
            raise BadConfig(f"Scapy cannot be loaded: {error}", hint="is HOME a folder of this user?") from error
        opened = L2ListenSocket(iface=name, type=0, promisc=promisc, nofilter=1)
    return socket.socket(fileno=opened.ins.detach())


def _open_cooked() -> socket.socket:
    """A socket that takes the link header off: for 'any', where headers differ, and for links that Scapy does not
    know."""
    return socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)


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
