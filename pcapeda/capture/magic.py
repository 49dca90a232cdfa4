"""What a file that is no capture looks like, in the words a person would use."""

import re
import struct

WINDOW = 512
"""Bytes from the start that are looked at."""

_CONVERT = "editcap -F pcapng converts it"
_UNPACK = "unpack it first"

_FORMATS: tuple[tuple[bytes, str], ...] = (
    # Captures, but of other kinds.
    (rb"snoop\0\0\0", f"a snoop capture (Solaris): {_CONVERT}"),
    (rb"RTSS|GMBU", f"a Microsoft Network Monitor capture: {_CONVERT}"),
    (rb"btsnoop\0", "a btsnoop capture (Bluetooth), which holds no IP"),
    (rb"TRSNIFF data {4}\x1a|XCP\0|VL\0\0", f"a Sniffer or NetXRay capture: {_CONVERT}"),
    (rb"\x7fver|\xffver", f"a WildPackets capture: {_CONVERT}"),
    (rb"ObserverPktBuffe", f"a Network Instruments Observer capture: {_CONVERT}"),
    (rb"iptrace [12]\.0", f"an AIX iptrace capture: {_CONVERT}"),
    (
        rb"[\0-\xff]{72}[\x01\x02]\0[\x01\x02]\xc0",
        "a Windows event trace (ETL): etl2pcapng or pktmon etl2pcap converts it",
    ),
    (rb"(?:\xef\xbb\xbf)?<\?xml[\0-\xff]*<pdml", "PDML, which tshark writes: give the capture it was made from"),
    # Packed.
    (rb"PK(?:\x03\x04|\x05\x06|\x07\x08)", f"a ZIP archive: {_UNPACK}"),
    (rb"7z\xbc\xaf\x27\x1c", f"a 7-Zip archive: {_UNPACK}"),
    (rb"Rar!\x1a\x07", f"a RAR archive: {_UNPACK}"),
    (rb"[\0-\xff]{257}ustar", f"a tar archive: {_UNPACK}"),
    (rb"!<arch>\n", f"an ar archive: {_UNPACK}"),
    (rb"\x04\x22\x4d\x18|\x02\x21\x4c\x18", f"an LZ4 stream: {_UNPACK}, with lz4 -d"),
    (rb"\x1f[\x9d\xa0]", f"the output of compress: {_UNPACK}, with gzip -d"),
    (rb"\x89LZO\0", f"an LZO stream: {_UNPACK}"),
    (rb"\xff\x06\0\0sNaPpY", f"a Snappy stream: {_UNPACK}"),
    (rb"\x1f\x8b|BZh|\xfd7zX|\x28\xb5\x2f\xfd", f"a compressed stream, damaged or packed twice: {_UNPACK}"),
    # Everything else that people mix up with captures.
    (rb"\x7fELF", "an ELF program"),
    (rb"MZ", "a Windows program"),
    (rb"[\xce\xcf]\xfa\xed\xfe|\xca\xfe\xba\xbe", "a macOS program or a Java class"),
    (rb"SQLite format 3\0", "an SQLite database"),
    (rb"PAR1", "a Parquet file"),
    (rb"%PDF-", "a PDF document"),
    (rb"\x89PNG\r\n|\xff\xd8\xff|GIF8", "a picture"),
    (rb"OggS|ID3|RIFF|[\0-\xff]{4}ftyp", "sound or video"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Microsoft Office document"),
    (rb"ElfFile\0", "a Windows event log"),
    (rb"-----BEGIN ", "a key or a certificate"),
    (rb"version https://git-lfs", "a Git LFS pointer: git lfs pull fetches the file itself"),
    (rb"#!", "a script"),
    (rb"(?:\xef\xbb\xbf)?\s*<(?i:!doctype html|html|head|body)", "HTML, perhaps a login page instead of a download"),
    (rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|!--|[A-Za-z])", "XML"),
    (rb"(?:\xef\xbb\xbf)?\s*(?:\{\s*[\"}]|\[\s*[\[{\"\d\]-])", "JSON"),
    (rb"\0+$", "zeros, perhaps a download or a disk that was never written to its end"),
)

_PATTERNS = tuple((re.compile(pattern), words) for pattern, words in _FORMATS)

_PRINTABLE = re.compile(r"[^\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]*")


def looks_like(start: bytes) -> str:
    """What the first bytes of a file look like, for the sentence 'it looks like …'. `start` is not empty."""
    start = start[:WINDOW]
    for pattern, words in _PATTERNS:
        if pattern.match(start):
            return words
    if _erf(start):
        return f"an ERF capture (Endace): {_CONVERT}"
    text = _text(start)
    if text:
        return f'text (starts with "{text}")'
    return f"binary data (starts with {start[:8].hex(' ')})"


def _erf(start: bytes) -> bool:
    """An ERF record has no magic: a time between 1996 and 2100, a known type, and lengths that fit."""
    if len(start) < 16:
        return False
    seconds, kind, record, wire = struct.unpack_from("<4xIB", start) + struct.unpack_from(">HxxH", start, 10)
    return 820_000_000 < seconds < 4_102_444_800 and kind & 0x7F in range(1, 26) and record > 16 and 0 < wire <= 65_535


def _text(start: bytes) -> str:
    """The first words, if it is text in UTF-8 or UTF-16; safe to print."""
    encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    for end in range(len(start), max(len(start) - 4, 0), -1):  # the window may cut the last character
        try:
            text = start[:end].decode(encoding)
        except UnicodeDecodeError:
            continue
        if not _PRINTABLE.fullmatch(text):
            return ""
        line = " ".join(text.split())[:40].rstrip()
        return "".join(letter if letter.isprintable() else "·" for letter in line)
    return ""
