"""A packet socket whose frames the kernel writes into memory that it shares with this process.

TPACKET_V3 (Documentation/networking/packet_mmap.rst in the Linux source): a ring of blocks, each handed over whole.
A ring rather than a socket's receive buffer because it takes packets at their own size (a buffer counts 768 bytes and
more for each), as large as asked for with nothing but CAP_NET_RAW (a buffer beyond net.core.rmem_max needs
CAP_NET_ADMIN), and at one system call for many.
"""

import ctypes
import errno
import socket
import struct
from functools import lru_cache
from mmap import mmap
from threading import Lock
from typing import Final

from pcapeda.errors import InterfaceDown, NoSuchInterface, PcapedaError, Unavailable
from pcapeda.model import Frame
from pcapeda.net.devices import LOOPBACK, Device
from pcapeda.net.filter import COOKED

MIB: Final = 1024 * 1024
RETIRE_MS: Final = 10
"""A block that is not full is handed over after so many milliseconds: the delay of a lone packet."""

# linux/if_packet.h, asm/socket.h
_SOL_PACKET, _SO_ATTACH_FILTER, _SO_TIMESTAMPNS = 263, 26, 35
_PACKET_ADD_MEMBERSHIP, _PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION = 1, 5, 6, 10
_PACKET_MR_PROMISC, _TPACKET_V3 = 1, 2
_VLAN_VALID, _VLAN_TPID_VALID = 1 << 4, 1 << 6
_ETH_P_ALL = 3

_BLOCK: Final = 256 * 1024
"""Bytes of a block: the largest frame must fit."""
_SMALL_BLOCK: Final = 128 * 1024
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


class Ring:
    """A packet socket and its ring of about `size` bytes. It receives nothing before `arm` and `bind`.

    `opened` is of protocol 0 and of type SOCK_RAW, or SOCK_DGRAM where the frames of the device become Linux cooked.
    """

    def __init__(self, opened: socket.socket, device: Device, size: int) -> None:
        self._socket = opened
        self.descriptor = opened.fileno()
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

    def arm(self, program: bytes, *, promisc: bool) -> None:
        """Put filter and ring in place. Raises `Unavailable` when the kernel has no memory for it."""
        self._attach(program)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        if promisc and self.device.ifindex:
            membership = struct.pack("=iHH8x", self.device.ifindex, _PACKET_MR_PROMISC, 0)
            self._socket.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
        request = struct.pack("7I", self._block, self.blocks, self._block, self.blocks, RETIRE_MS, 0, 0)
        try:
            self._socket.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
            self._ring = mmap(self.descriptor, self.size)
        except OSError as error:
            if error.errno != errno.ENOMEM:
                raise
            raise Unavailable(
                f"the kernel has no {self.size / MIB:,.0f} MiB for the receive buffer of {self.device.name}",
                hint="ask for less with --buffer-mib",
            ) from None

    def bind(self) -> None:
        """Receive from now on. Raises `NoSuchInterface` when the interface is gone."""
        # Not by Python's bind(): it cannot say 'everywhere', and it goes by name, which may be another's by now.
        address = _SOCKADDR_LL.pack(socket.AF_PACKET, struct.pack(">H", _ETH_P_ALL), self.device.ifindex, 0, 0, 0)
        if ctypes.CDLL(None, use_errno=True).bind(self.descriptor, address, len(address)) == 0:
            return
        code = ctypes.get_errno()
        if code == errno.ENODEV:
            raise NoSuchInterface(f"interface {self.device.name} is gone")
        raise OSError(code, f"bind to {self.device.name}")

    def refuse_all(self) -> None:
        """Receive nothing more."""
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
        """Whether the kernel has handed over the next block."""
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
        """Let the kernel have the block that was copied."""
        assert self._ring is not None
        struct.pack_into("=I", self._ring, self._next * self._block + _STATUS_AT, 0)
        self._next = (self._next + 1) % self.blocks

    def frames(self, block: bytes, number: int) -> list[Frame]:
        """The frames in a block, numbered on from `number`."""
        return (self._cooked if self.linktype == COOKED else self._plain)(block, number)

    def _plain(self, block: bytes, number: int) -> list[Frame]:
        linktype, name = self.linktype, self.device.name
        looped = self.device.hardware == LOOPBACK
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
            if hardware == LOOPBACK and kind == socket.PACKET_OUTGOING:
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
        """Let go of the memory and the interface."""
        if self._ring is not None:
            self._ring.close()  # it holds the socket, too
        self._socket.close()


@lru_cache(maxsize=1024)  # interfaces come and go: bounded
def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"#{index}"
