"""What a person can fix: one exception type per kind of mistake, and the exit codes they lead to.

Every error that reaches the command line is a `PcapedaError`: one clear sentence, at times a hint on what to do, and
the exit status it stands for. Anything else that escapes is a defect of this program.
"""

import errno
import re
from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcapeda.report import Report

from pcapeda.safety.masking import masked


class ExitStatus(IntEnum):
    """The exit codes of every command; documented in README.md."""

    OK = 0
    """All delivered, printed or passed."""
    INCOMPLETE = 1
    """Finished, but something was not delivered, a capture was damaged, or a rule test failed."""
    USAGE = 2
    """Bad usage or bad input: nothing was done that depends on it."""
    UNAVAILABLE = 3
    """No rights, no credentials, or something is missing that may come back: bus, interface, port, room on a disk."""
    INTERRUPTED = 130
    """Interrupted by a signal, after flushing."""


class PcapedaError(Exception):
    """Base of all errors that a person can fix.

    `str(error)` is one line that says what is wrong and where; `hint` says what to do about it, when that is known.
    Neither holds a secret, whatever they were made of.
    """

    status = ExitStatus.USAGE

    report: "Report | None" = None
    """What had become of everything when the error ended a run."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(masked(message))
        self.hint = hint and masked(hint)


class BadConfig(PcapedaError):
    """An option, or a combination of options, that cannot be honoured."""


class BadField(BadConfig):
    """A value, or a combination of values, that a field of a job cannot have.

    `template` says what is wrong and names fields in braces; `values` take the places of its %s, as in
    `BadField("{count}: %s is below 1", -1)`. To those who use the library a field is `Job.count`; `told` gives the
    sentence with the names that others know it by.
    """

    def __init__(self, template: str, *values: object, owner: str = "Job", hint: str | None = None) -> None:
        self._parts = template, values, hint
        told = self.told(lambda field: f"{owner}.{field}")
        super().__init__(str(told), hint=told.hint)

    def told(self, name: Callable[[str], str]) -> BadConfig:
        """The same, with the fields called by `name`."""
        template, values, hint = self._parts

        def named(words: str) -> str:
            return re.sub(r"\{([\w.]+)\}", lambda match: name(match[1]), words)

        words = named(template)
        return BadConfig(words % values if values else words, hint=hint and named(hint))


class Unavailable(PcapedaError):
    """Something that is not there, or not free, and may be later: nobody has to mend a command for it."""

    status = ExitStatus.UNAVAILABLE


class BadCapture(PcapedaError):
    """An input that cannot be opened or is no capture at all. (Damage *inside* a capture is a `Damage`, not this.)"""


class CannotWrite(PcapedaError):
    """A file that is being written cannot be written any more: the disk is full, or it went away."""

    status = ExitStatus.INCOMPLETE


class BadFilter(PcapedaError):
    """A capture filter that libpcap refuses, or no libpcap to compile it with."""


class BadRule(PcapedaError):
    """An event pattern or rule that EventBridge would refuse, or a rule source that cannot be read."""


class BadEvent(PcapedaError):
    """An event that EventBridge would refuse: not an object, or a mandatory field is missing."""


class BadEnrichment(PcapedaError):
    """A function of `Shape.enrich` that raised, or gave something that an event cannot hold."""


class NoSuchInterface(Unavailable):
    """A network interface that does not exist: misspelt, or not there yet."""


class NoRights(Unavailable):
    """The operating system does not let this process do that."""


class WorkerLost(PcapedaError):
    """A process that worked for a run ended before its time: killed, or out of memory."""

    status = ExitStatus.INCOMPLETE


class InterfaceDown(Unavailable):
    """An interface that is down, or went down or away while it was read."""


class SinkDown(PcapedaError):
    """Where events go cannot be used: no credentials, denied, no such bus, no route. Another try now would fail too.

    `code` is the short name under which what could not be sent is counted. `final` says that no later try may be made
    either, however patient a run is: nothing more may be sent there.
    """

    status = ExitStatus.UNAVAILABLE

    def __init__(self, message: str, *, hint: str | None = None, code: str = "SinkDown", final: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.final = final


class BadSink(SinkDown):
    """A sink that breaks its promise: what it says of a batch does not account for every entry of that batch.

    Nothing of that batch counts as sent, and nothing more is sent: who trusts such an answer loses events in silence.
    """

    status = ExitStatus.INCOMPLETE

    def __init__(self, message: str) -> None:
        super().__init__(message, code="BadSink", final=True)


class Untrusted(SinkDown):
    """A peer could not prove that it is the one that was meant: its TLS certificate is another's, expired, or signed by
    nobody who is trusted. Nothing was sent to it, and nothing will be: the run ends, whatever else could be tried.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, code="untrusted certificate", final=True)


class OutputClosed(SinkDown):
    """Whoever read our standard output went away (`| head`): no error, but nothing more can be printed."""

    status = ExitStatus.OK

    def __init__(self) -> None:
        super().__init__("standard output was closed", code="output closed")


class OutputFailed(SinkDown):
    """Standard output cannot be written: a full disk, a descriptor that is closed. `why` is in the system's words."""

    status = ExitStatus.INCOMPLETE

    def __init__(self, why: str) -> None:
        super().__init__(f"cannot write to standard output: {why}", code="output failed")


_MENDED_BY_HAND = frozenset(
    getattr(errno, name)
    for name in ("ENOENT", "ENOTDIR", "EISDIR", "ENAMETOOLONG", "ELOOP", "EINVAL", "EEXIST", "ENOTEMPTY", "EBADF")
)
_RIGHTS = frozenset((errno.EACCES, errno.EPERM))


def of_system(what: str, problem: OSError) -> PcapedaError:
    """The error that a refusal of the operating system is: `what` says where.

    A path that cannot be is a person's to mend (`BadConfig`), missing rights are `NoRights`, and all else may be
    otherwise another time (`Unavailable`): a full disk, an address in use, too many open files.
    """
    words = f"{what}: {problem.strerror or problem}"
    if problem.errno in _MENDED_BY_HAND:
        return BadConfig(words)
    return NoRights(words) if problem.errno in _RIGHTS else Unavailable(words)
