"""Coverage-guided fuzzing of everything between a frame and a datagram: decoders, tunnels, reassembly.

    python -m tests.fuzz.fuzz_decode -max_total_time=60 CORPUS_FOLDER

An input is two bytes of link type and then frames, each behind two bytes of length.
"""

import sys

import atheris

with atheris.instrument_imports(include=["pcapeda"]):
    from pcapeda.model import Datagram, Frame
    from pcapeda.report import Report
    from pcapeda.dissect import extractor
    from pcapeda.capture import linktypes  # noqa: F401 - instrumented here, used below

MOST_FRAMES = 16


def one_input(data: bytes) -> None:
    """No input makes a decoder raise, and the report adds up whatever it was."""
    linktype = int.from_bytes(data[:2], "big")
    for decapsulate in (False, True):
        report = Report()
        reader = extractor.Extractor(report, decapsulate=decapsulate, defrag_bytes=1 << 20)
        at = 2
        for number in range(1, MOST_FRAMES + 1):
            size = int.from_bytes(data[at : at + 2], "big")
            piece = data[at + 2 : at + 2 + size]
            at += 2 + size
            if not piece:
                break
            frame = Frame(number * 1_000_000_000, linktype, piece, max(size, len(piece)), None, number)
            found = reader.feed(frame)
            if isinstance(found, Datagram):
                assert len(found.payload) <= max(found.length, 8)
        reader.finish()
        report.sent = report.datagrams + report.reassembled
        assert report.adds_up()


def main() -> None:
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
