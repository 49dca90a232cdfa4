"""Coverage-guided fuzzing of the readers: pcap, pcapng, compressed or not.

    python -m tests.fuzz.fuzz_read -max_total_time=60 fixtures

An input is a whole capture file.
"""

import sys

import atheris

with atheris.instrument_imports(include=["pcapeda"]):
    from pcapeda.errors import BadCapture
    from pcapeda.model import Damage
    from pcapeda.capture import files, stream

MOST_FRAMES = 10_000


def one_input(data: bytes) -> None:
    """Any bytes give frames, then perhaps damage, or `BadCapture`; nothing else, and not without end."""
    damages: list[Damage] = []
    pieces = [data[at : at + 4096] for at in range(0, len(data), 4096)]
    try:
        for count, frame in enumerate(files.read(stream.Stream(iter(pieces)), "input", damages.append)):
            assert frame is None or frame.wire_length >= 0
            if count > MOST_FRAMES:
                break
    except BadCapture:
        pass
    assert len(damages) < 100


def main() -> None:
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
