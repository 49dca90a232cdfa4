"""Capture filters (pcap-filter(7)): libpcap compiles them, through Scapy's bindings, and runs them over frames of files.

A filter that cannot be compiled is an error before anything is read; it never means 'no filter'.
"""

from ctypes import POINTER, byref, c_char_p, c_int, c_uint, create_string_buffer
from typing import Any

from pcapeda.errors import BadFilter
from pcapeda.model import Frame

SNAPLEN = 262_144

# LINKTYPE values whose DLT in libpcap is another on most systems (https://www.tcpdump.org/linktypes.html).
_DLT = {101: 12, 104: 104, 105: 105, 108: 108}

ETHERNET = 1


class Filter:
    """A filter expression. Compiled once for each link type that comes by.

    Raises `BadFilter`, from `check`, `program` and `matches`, with libpcap's own words: for an expression it refuses,
    for a link type it cannot compile for, and where there is no libpcap.
    """

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self._programs: dict[int, Any] = {}
        self._library: Any = None
        self._header: Any = None

    def __str__(self) -> str:
        return self.expression

    def check(self) -> None:
        """Compile for Ethernet, which finds every mistake of the expression itself."""
        self.program(ETHERNET)

    def program(self, linktype: int) -> Any:
        """The compiled `bpf_program` for a LINKTYPE_ value: `bf_len` instructions at `bf_insns`."""
        program = self._programs.get(linktype)
        if program is None:
            program = self._programs[linktype] = self._compile(linktype)
        return program

    def matches(self, frame: Frame) -> bool:
        """Whether the filter selects this frame; decided on the captured bytes and the original length."""
        program = self._programs.get(frame.linktype)
        if program is None:
            program = self.program(frame.linktype)
        header = self._header
        header.caplen = len(frame.data)
        header.len = frame.wire_length
        return bool(self._run(byref(program), byref(header), frame.data))

    def _compile(self, linktype: int) -> Any:
        library = self._load()
        program = library.bpf_program()
        expression = create_string_buffer(self.expression.encode())
        handle = library.pcap_open_dead(_DLT.get(linktype, linktype), SNAPLEN)
        if not handle:
            raise BadFilter(f"filter {self.expression!r}: libpcap does not know link type {linktype}")
        try:
            if library.pcap_compile(handle, byref(program), expression, 1, -1) != 0:
                words = bytes(bytearray(library.pcap_geterr(handle)).rstrip(b"\0")).decode(errors="replace")
                where = "" if linktype == ETHERNET else f" (for link type {linktype})"
                raise BadFilter(
                    f"filter {self.expression!r}: {words or 'libpcap refuses it'}{where}",
                    hint="the syntax is that of tcpdump: man pcap-filter",
                )
        finally:
            library.pcap_close(handle)
        return program

    def _load(self) -> Any:
        if self._library is None:
            try:
                from scapy.libs import winpcapy
            except (OSError, ImportError):
                raise BadFilter(
                    f"filter {self.expression!r}: no libpcap to compile it with",
                    hint="install libpcap (libpcap0.8 on Debian and Ubuntu, libpcap elsewhere)",
                ) from None
            run = winpcapy._lib.pcap_offline_filter
            run.argtypes = [POINTER(winpcapy.bpf_program), POINTER(winpcapy.pcap_pkthdr), c_char_p]
            run.restype = c_int
            self._run = run
            self._header = winpcapy.pcap_pkthdr()
            self._library = winpcapy
        return self._library
