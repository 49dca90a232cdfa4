"""A packet socket whose frames the kernel writes into memory that it shares with this process.

TPACKET_V3 (Documentation/networking/packet_mmap.rst in the Linux source): a ring of blocks, each handed over whole.
A ring rather than a socket's receive buffer because it takes packets at their own size (a buffer counts 768 bytes and
more for each), as large as asked for with nothing but CAP_NET_RAW (a buffer beyond net.core.rmem_max needs
CAP_NET_ADMIN), and at one system call for many.
"""

import ctypes
import errno
import os
import re
import socket
import struct
from functools import lru_cache
from mmap import mmap
from threading import Lock
from typing import Final

from pcapeda.capture.bpf import COOKED
from pcapeda.capture.checksum import residue
from pcapeda.capture.devices import LOOPBACK, Device
from pcapeda.errors import InterfaceDown, NoSuchInterface, PcapedaError, Unavailable
from pcapeda.model import Frame, Offload
from pcapeda.units import MIB

RETIRE_MS: Final = 10
"""A block that is not full is handed over after so many milliseconds: the delay of a lone packet."""

# linux/if_packet.h, asm/socket.h
_SOL_PACKET, _SO_ATTACH_FILTER, _SO_TIMESTAMPNS = 263, 26, 35
_PACKET_ADD_MEMBERSHIP, _PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION = 1, 5, 6, 10
_PACKET_VNET_HDR = 15
_PACKET_MR_PROMISC, _TPACKET_V3 = 1, 2
_CHECKSUM_NOT_READY, _VLAN_VALID, _VLAN_TPID_VALID = 1 << 3, 1 << 4, 1 << 6
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
# The offset of the network header; and the rest of struct sockaddr_ll: protocol, interface index, hardware type, and
# the address with its length.
_COOKED_HEAD = struct.Struct("=26xH22x2sIHxB8s")
_SLL2 = struct.Struct(">2sxxIHBB8s")  # https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html
_TAG = struct.Struct(">HH")
_VLAN, _IP4, _IP6 = b"\x81\x00", b"\x08\x00", b"\x86\xdd"
_TAG_TYPES: Final = frozenset({_VLAN, b"\x88\xa8", b"\x91\x00"})
_LIKE_ETHERNET: Final = frozenset({1, LOOPBACK})  # hardware types
_ETHERNET_HEADER, _LEAST_TYPE = 14, 0x06  # what is less is a length (IEEE 802.3 3.2.6)
# linux/virtio_net.h, struct virtio_net_hdr, right before the frame: flags, kind of segmentation, length of the headers,
# bytes of payload in each segment, where the checksum begins that is still to be computed, and where in there it is.
_VNET = struct.Struct("=BBHHHH")
_KIND_AT: Final = -9
_NEEDS_CHECKSUM, _GSO_UDP = 1, 5
_SOCKADDR_LL = struct.Struct("=H2sIHBB8x")
_REFUSE_ALL: Final = struct.pack("=HBBI", 0x06, 0, 0, 0)
_NS: Final = 1_000_000_000


class Ring:
    """A packet socket and its ring of about `size` bytes. It receives nothing before `arm` and `bind`.

    `opened` is of protocol 0 and of type SOCK_RAW, or, where the frames of the device become Linux cooked, of whichever
    type `has_headers` says.
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
        self._vnet = False
        """Whether each frame has a struct virtio_net_hdr before it."""

    def arm(self, program: bytes, *, promisc: bool) -> None:
        """Put filter and ring in place. Raises `Unavailable` when the kernel has no memory for it."""
        self._attach(program)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        if promisc and self.device.ifindex:
            membership = struct.pack("=iHH8x", self.device.ifindex, _PACKET_MR_PROMISC, 0)
            self._socket.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
        self._vnet = self._ask_for_segments()
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

    def _ask_for_segments(self) -> bool:
        """Have the kernel tell how super-packets of UDP are to be cut, if it can."""
        if not _knows_udp_segments():
            return False
        try:
            self._socket.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        except OSError:
            return False
        return True

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
        looped, vnet = self.device.hardware == LOOPBACK, self._vnet
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
            offload = None
            if status & _CHECKSUM_NOT_READY or (vnet and block[start + _KIND_AT]):
                offload = self._offload(block, start, len(data) - captured)
            number += 1
            # Past Frame's own __new__, which takes a third of the time this loop has for a frame.
            found.append(new(Frame, (seconds * _NS + nanoseconds, linktype, data, wire, name, number, offload)))
        return found

    def _offload(self, block: bytes, start: int, added: int) -> Offload | None:
        """What is left to the card of the frame at `block[start]`, into which we have put `added` bytes of headers."""
        if not self._vnet:
            return Offload(-1)  # of whichever layer
        flags, kind, _, size, checksum_at, _ = _VNET.unpack_from(block, start - _VNET.size)
        if kind != _GSO_UDP:
            size = 0
        where = checksum_at + added if flags & _NEEDS_CHECKSUM else None
        return None if where is None and not size else Offload(where, size)

    def _cooked(self, block: bytes, number: int) -> list[Frame]:
        """Each with the header that a SOCK_DGRAM socket leaves to us, made from its struct sockaddr_ll."""
        found = []
        _, packets, at, _ = _BLOCK_HEAD.unpack_from(block)
        for _ in range(packets):
            step, seconds, nanoseconds, captured, wire, status, mac, tci, tpid, kind = _HEAD.unpack_from(block, at)
            net, protocol, index, hardware, length, address = _COOKED_HEAD.unpack_from(block, at)
            start = at + mac
            at += step
            if hardware == LOOPBACK and kind == socket.PACKET_OUTGOING:
                continue
            # How much of the frame is the link layer's: of Ethernet up to the type, which may be that of a VLAN tag.
            link = net - mac if hardware not in _LIKE_ETHERNET else min(net - mac, _ETHERNET_HEADER)
            if link == _ETHERNET_HEADER and hardware in _LIKE_ETHERNET and block[start + 12] >= _LEAST_TYPE:
                protocol = block[start + 12 : start + 14]
            data = block[start + link : start + captured]
            wire -= link
            if status & _VLAN_VALID or tci:
                if not link:
                    protocol = _behind_tag(protocol, data, wire)
                data = struct.pack(">H", tci) + protocol + data
                protocol = struct.pack(">H", tpid if status & _VLAN_TPID_VALID else 0x8100)
                wire += 4
            data = _SLL2.pack(protocol, index, hardware, kind, length, address) + data
            offload = None
            if status & _CHECKSUM_NOT_READY or (self._vnet and block[start + _KIND_AT]):
                offload = self._offload(block, start, len(data) - captured)
            number += 1
            time_ns = seconds * _NS + nanoseconds
            found.append(Frame(time_ns, COOKED, data, wire + _SLL2.size, _name(index), number, offload))
        return found

    def close(self) -> None:
        """Let go of the memory and the interface."""
        if self._ring is not None:
            self._ring.close()  # it holds the socket, too
        self._socket.close()


def has_headers() -> bool:
    """Whether a socket whose frames become Linux cooked had better be of type SOCK_RAW, from which we take the header.

    Such a one can be given segments. An earlier Linux cannot filter it safely: it finds network headers in the first
    part of a frame alone, and lets the frame go where they are in another one.
    """
    return _linux(os.uname().release) >= (6, 16)


def _knows_udp_segments() -> bool:
    """Whether this Linux can say of UDP how it is segmented. An earlier one drops such frames if it is asked to."""
    return _linux(os.uname().release) >= (6, 2)


def _linux(release: str) -> tuple[int, int]:
    """The version of a kernel, as far as it decides on what the kernel can do."""
    version = re.match(r"(\d+)\.(\d+)", release)
    return (0, 0) if version is None else (int(version[1]), int(version[2]))


def _behind_tag(protocol: bytes, data: bytes, wire: int) -> bytes:
    """The type of what a SOCK_DGRAM socket shows behind a VLAN tag that the kernel took off.

    The kernel (since 6.11) names the `protocol` behind all tags, but the data may begin with the rest of another one:
    its control information, then the type of what comes next. What type the tag itself has is nowhere: 802.1Q it is.
    """
    tagged = data[2:4] == protocol or data[2:4] in _TAG_TYPES
    return _VLAN if tagged and not _is_ip(protocol, data, wire) else protocol


def _is_ip(protocol: bytes, data: bytes, wire: int) -> bool:
    """Whether data of `wire` bytes are a packet of the version of IP that `protocol` is."""
    if protocol == _IP4:
        header = (data[0] & 0x0F) << 2 if data else 0
        return data[0] >> 4 == 4 and header >= 20 and residue(data[:header], 0) == 0
    if protocol == _IP6:
        return data[0] >> 4 == 6 and 40 + int.from_bytes(data[4:6]) <= wire
    return False


@lru_cache(maxsize=1024)  # interfaces come and go: bounded
def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"#{index}"
