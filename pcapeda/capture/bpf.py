"""Capture filters in libpcap's language (pcap-filter(7)): compiled by libpcap through Scapy's bindings, never by us.

One expression becomes different BPF programs: for the records of a capture file it depends on the link type; for a
live socket also on what the kernel shows to a filter, which is not what a file would hold (VLAN tags lie apart, a
cooked socket has no link header). A filter that cannot be compiled is an error; it never means 'no filter'.
"""

import ctypes
import struct
from collections.abc import Callable
from os import close, fsencode, pipe, write
from types import ModuleType
from typing import Any, Final

from pcapeda.capture.quiet_scapy import quiet_scapy
from pcapeda.errors import BadFilter, Unavailable
from pcapeda.model import Frame

SNAPLEN: Final = 262_144
"""Bytes of a frame that are kept, as tcpdump does by default."""

ETHERNET: Final = 1
RAW_IP: Final = 101
COOKED: Final = 276
"""LINKTYPE_LINUX_SLL2: what `tcpdump -i any` gives."""
_DLT: Final = {RAW_IP: 12}
"""LINKTYPE_ values whose DLT_ value, which libpcap's functions take, is another one on Linux."""
_CHECKED: Final = (ETHERNET, COOKED, 105, 117)
"""Link types of which one must accept an expression; Ethernet is asked first. (105: 802.11, 117: pflog.)"""

MAX_INSTRUCTIONS: Final = 4096
"""BPF_MAXINSNS of the Linux kernel."""
_INSTRUCTION: Final = struct.Struct("=HBBI")
_ANCILLARY: Final = 0xFFFFF000
"""SKF_AD_OFF: from here on, loads ask the kernel for what is known about a packet, not for its bytes."""
_NETWORK: Final = 0xFFF00000
"""SKF_NET_OFF: loads from here on count from the network header, wherever in the frame that begins."""
_COOKED_FIELDS: Final = {0: 0, 4: 8, 8: 28, 10: 4}
"""Offsets in the SLL2 header → SKF_AD_PROTOCOL, _IFINDEX, _HATYPE, _PKTTYPE (linux/filter.h)."""
_COOKED_HEADER: Final = 20


class Filter:
    """A filter expression. Not for several threads at once: each takes its own.

    Building one costs nothing and proves nothing; `check` finds out whether libpcap takes it. Everything that compiles
    raises `BadFilter` with libpcap's own words, or where there is no libpcap.
    """

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self._matchers: dict[int, Callable[[bytes, int], bool]] = {}

    def __str__(self) -> str:
        return self.expression

    def check(self) -> None:
        """Raises `BadFilter` when no link type that libpcap filters by accepts the expression.

        Host names are looked up now, as libpcap does, so this may wait for a name server.
        """
        first: BadFilter | None = None
        for linktype in _CHECKED:
            try:
                self.check_for(linktype)
            except BadFilter as error:
                first = first or error
            else:
                return
        if first is not None:
            raise first

    def check_for(self, linktype: int) -> None:
        """Raises `BadFilter` when a packet socket whose frames become `linktype` cannot have this filter."""
        libpcap = self._libpcap()
        self._compile(libpcap, libpcap.pcap_open_dead(_DLT.get(linktype, linktype), SNAPLEN), linktype, optimize=False)

    def matches(self, frame: Frame) -> bool:
        """Whether the filter selects a record of a capture file, by its captured bytes and its length on the wire.

        Raises `BadFilter` for a link type that libpcap cannot compile the expression for.
        """
        matcher = self._matchers.get(frame.linktype)
        if matcher is None:
            matcher = self._matchers[frame.linktype] = self._matcher(frame.linktype)
        return matcher(frame.data, frame.wire_length)

    def program(
        self, linktype: int, *, interface: str | None = None, snaplen: int = SNAPLEN, headers: bool = False
    ) -> bytes:
        """The BPF program (an array of struct sock_filter) for a packet socket whose frames become `linktype`.

        It accepts at most `snaplen` bytes of a frame. With COOKED it is for a socket of type SOCK_DGRAM, or with
        `headers` for one of type SOCK_RAW, whose frames have link headers of whatever length. `interface` is
        where the socket listens: asked about it, libpcap writes code that finds the VLAN tags where that kernel keeps
        them, which needs the right to capture there. Raises `BadFilter`.
        """
        libpcap = self._libpcap()
        dlt = _DLT.get(linktype, linktype)
        handle = None
        if interface is not None and linktype != COOKED:
            words = ctypes.create_string_buffer(256)
            handle = libpcap.pcap_open_live(fsencode(interface), snaplen, 0, 100, words)
            if not handle:
                raise Unavailable(f"filter {self.expression!r}: libpcap cannot open {interface}: {_line(words.value)}")
            if libpcap.pcap_datalink(handle) != dlt:
                libpcap.pcap_close(handle)
                handle = None
        if handle is None:
            handle = libpcap.pcap_open_dead(dlt, snaplen)
        program = bytearray(self._compile(libpcap, handle, linktype))
        network = None if linktype != COOKED else _NETWORK if headers else 0
        self._for_kernel(program, snaplen, network)
        return bytes(program)

    def _matcher(self, linktype: int) -> Callable[[bytes, int], bool]:
        """A function of the captured bytes and the length on the wire."""
        libpcap = self._libpcap()
        # Compiled for a file of that link type, not for a socket: then libpcap refuses what a file cannot tell
        # (`inbound`, `ifindex`) where it would otherwise select nothing without a word.
        program = self._compile(libpcap, self._savefile(libpcap, linktype), linktype)
        code = ctypes.create_string_buffer(program, len(program))
        bpf = ctypes.create_string_buffer(struct.pack("@IP", len(program) // _INSTRUCTION.size, ctypes.addressof(code)))
        header = libpcap.pcap_pkthdr()
        # Scapy binds this function on some systems only, and says that it returns one byte: the answer, a number of
        # bytes, may end in a zero byte. The GIL is kept: giving it up costs more than the call.
        address = ctypes.cast(libpcap._lib["pcap_offline_filter"], ctypes.c_void_p).value
        assert address is not None
        run = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(address)
        bpf_at, header_at = ctypes.addressof(bpf), ctypes.addressof(header)

        def matcher(data: bytes, wire_length: int, _owned: object = (code, bpf)) -> bool:
            header.caplen = len(data)
            header.len = wire_length
            answer: int = run(bpf_at, header_at, data)
            return answer != 0

        return matcher

    def _compile(self, libpcap: ModuleType, handle: Any, linktype: int, *, optimize: bool = True) -> bytes:
        """The instructions that libpcap makes for `handle`, which is closed.

        Optimizing takes it seconds for hundreds of terms: not worth it for finding mistakes.
        """
        program = libpcap.bpf_program()
        expression = self.expression.encode("utf-8", "surrogateescape")
        try:
            if b"\0" in expression:  # C would read up to it, which is another filter
                raise BadFilter(f"filter {self.expression!r}: it holds a NUL character")
            if libpcap.pcap_compile(handle, ctypes.byref(program), expression, optimize, -1) != 0:
                where = "" if linktype == ETHERNET else f" (for link type {linktype})"
                raise BadFilter(
                    f"filter {self.expression!r}: {_line(libpcap.pcap_geterr(handle))}{where}",
                    hint="the syntax is that of tcpdump: man pcap-filter",
                )
            instructions = ctypes.string_at(program.bf_insns, program.bf_len * _INSTRUCTION.size)
            libpcap.pcap_freecode(ctypes.byref(program))
            return instructions
        finally:
            libpcap.pcap_close(handle)

    def _for_kernel(self, program: bytearray, snaplen: int, network: int | None) -> None:
        """Turn what libpcap compiled for frames as a file has them into what the socket needs, in place.

        `network` is where loads find the network header, if the frames are to become Linux cooked.
        """
        count = len(program) // _INSTRUCTION.size
        if count > MAX_INSTRUCTIONS:
            raise BadFilter(
                f"filter of {len(self.expression):,} characters: {count:,} instructions are more than the "
                f"{MAX_INSTRUCTIONS:,} that the kernel takes"
            )
        for at in range(0, len(program), _INSTRUCTION.size):
            code, yes, no, k = _INSTRUCTION.unpack_from(program, at)
            kind, mode = code & 0x07, code & 0xE0
            if kind == 0x06 and code & 0x18 == 0 and k:  # BPF_RET of a constant: how many bytes are kept
                k = snaplen
            elif (
                network is not None and kind in (0x00, 0x01) and mode in (0x20, 0x40, 0xA0) and k < _ANCILLARY
            ):  # loads of bytes
                if k >= _COOKED_HEADER:
                    k += network - _COOKED_HEADER
                elif mode == 0x20 and k in _COOKED_FIELDS:
                    k = _ANCILLARY + _COOKED_FIELDS[k]
                else:
                    raise BadFilter(
                        f"filter {self.expression!r}: it looks at link-layer bytes, which 'any' does not have",
                        hint="name the interfaces instead: -i eth0 -i eth1",
                    )
            _INSTRUCTION.pack_into(program, at, code, yes, no, k)

    def _savefile(self, libpcap: ModuleType, linktype: int) -> Any:
        """A handle on an empty capture file of that link type."""
        reading, writing = pipe()
        try:
            write(writing, struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, SNAPLEN, linktype))
        finally:
            close(writing)
        try:
            words = ctypes.create_string_buffer(256)
            handle = libpcap.pcap_open_offline(f"/dev/fd/{reading}".encode(), words)
        finally:
            close(reading)
        if not handle:
            raise BadFilter(f"filter {self.expression!r}: {_line(words.value)} (for link type {linktype})")
        return handle

    def _libpcap(self) -> ModuleType:
        """Scapy's bindings. Raises `BadFilter` when there is no libpcap."""
        try:
            with quiet_scapy():
                from scapy.libs import winpcapy
        except (OSError, ImportError, AttributeError) as error:
            raise BadFilter(
                f"filter {self.expression!r}: no libpcap to compile it with",
                hint="install libpcap (libpcap0.8 on Debian and Ubuntu, libpcap elsewhere)",
            ) from error
        module: ModuleType = winpcapy
        return module


def _line(words: bytes) -> str:
    """libpcap's words as one line."""
    return " ".join(words.decode("utf-8", "replace").split())
