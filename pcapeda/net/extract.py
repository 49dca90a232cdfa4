"""Frame → datagram: the decoders in their order, then reassembly; every frame is counted once."""

from pcapeda.model import Datagram, Fragment, Frame, Report, Skip
from pcapeda.net import wire


class Extractor:
    """Walks frames to datagrams and counts them in `report`, whose reading half always adds up."""

    def __init__(self, report: Report, *, decapsulate: bool = False) -> None:
        self._report = report
        self._decapsulate = decapsulate

    def feed(self, frame: Frame) -> Datagram | Fragment | Skip:
        """What a frame gives: a datagram, a fragment that waits for others, or why there is none."""
        report = self._report
        report.frames += 1
        report.bytes_read += len(frame.data)
        if frame.time_ns is not None:
            if report.first_ns is None or frame.time_ns < report.first_ns:
                report.first_ns = frame.time_ns
            if report.last_ns is None or frame.time_ns > report.last_ns:
                report.last_ns = frame.time_ns
        found = wire.decode(frame)
        if type(found) is Datagram:
            report.datagrams += 1
        elif type(found) is Skip:
            report.skips[found.why, found.layer] += 1
        else:
            report.fragments += 1
            report.held += 1
        return found

    def finish(self) -> None:
        """The source has ended: what still waits is counted as held."""
