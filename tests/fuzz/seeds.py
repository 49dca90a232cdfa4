"""Seeds for `fuzz_decode`: the frames of the fixtures, a file each. `python -m tests.fuzz.seeds FOLDER`."""

import sys
from pathlib import Path

from pcapeda.errors import BadCapture
from pcapeda.capture.files import Capture, expand


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for path in expand(["fixtures"]):
        runs: dict[int, bytes] = {}
        try:
            with Capture(path, note=lambda damage: None) as capture:
                for frame in capture:
                    if frame is not None:
                        head = runs.get(frame.linktype, frame.linktype.to_bytes(2, "big"))
                        data = frame.data[:65535]
                        runs[frame.linktype] = head + len(data).to_bytes(2, "big") + data
        except BadCapture:
            continue
        for linktype, run in runs.items():
            (folder / f"{Path(path).name}-{linktype}").write_bytes(run)


if __name__ == "__main__":
    main()
