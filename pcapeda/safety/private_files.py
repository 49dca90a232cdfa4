"""Files and folders of our own: for nobody else's eyes, and never anything but what they look like.

What lies in a folder of ours may have been put there by somebody else: a pipe that nobody writes to, a device, a link
to another file. None of these is read, written, cut or waited for.
"""

import contextlib
import errno
import os
import stat
from pathlib import Path

FILE_MODE, FOLDER_MODE = 0o600, 0o700

_OTHER_KINDS = frozenset({errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.ENODEV, errno.EOPNOTSUPP, errno.EMLINK})
"""What opening says of links (ELOOP; EMLINK on FreeBSD), sockets and pipes without a reader, folders, devices."""


class NotRegular(OSError):
    """Something that is no regular file, or none of ours, stands where one should be."""

    def __init__(self, path: str | Path, what: str = "no regular file (a pipe, a link, a device or a folder)") -> None:
        super().__init__(errno.EINVAL, what, str(path))


def open_regular(path: str | Path, flags: int) -> int:
    """Open a regular file, and never wait for it; with `os.O_CREAT` it may be made, for its owner alone.

    Gives the descriptor, which programs started later do not inherit. The mode of a new file is 0600 whatever the
    umask; that of one that is there is left to whoever set it. Raises `NotRegular`, or `OSError` as `os.open` does.
    """
    flags |= os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        if flags & os.O_CREAT and (descriptor := _make(path, flags)) is not None:
            return descriptor
        descriptor = os.open(path, flags & ~(os.O_CREAT | os.O_EXCL | os.O_TRUNC))
    except OSError as error:
        if error.errno in _OTHER_KINDS:
            raise NotRegular(path) from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegular(path)
        if flags & os.O_TRUNC:
            os.ftruncate(descriptor, 0)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _make(path: str | Path, flags: int) -> int | None:
    """Make the file; None if something is there already and that may be."""
    try:
        descriptor = os.open(path, flags | os.O_EXCL, FILE_MODE)
    except FileExistsError:
        if flags & os.O_EXCL:
            raise
        return None
    _set_mode(descriptor, FILE_MODE)
    return descriptor


def _set_mode(target: int | Path, mode: int) -> None:
    """Undo what a strict umask took away. (A file system without modes says no, and has none.)"""
    try:
        os.chmod(target, mode)  # noqa: PTH101 - it may be a descriptor
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are missing, for their owner alone. Raises `OSError`."""
    try:
        path.mkdir(FOLDER_MODE)
    except FileNotFoundError:
        if path.parent == path:
            raise
        make_folder(path.parent)
        path.mkdir(FOLDER_MODE)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    _set_mode(path, FOLDER_MODE)


def read_regular(path: str | Path, most: int) -> bytes:
    """The content of a regular file of up to `most` bytes. Raises `OSError`, also for a larger one."""
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return content


def write_regular(path: Path, content: bytes) -> None:
    """Give a small file this content, whole or not at all: written beside it, synced, and put in its place.

    Raises `OSError`, also where something else than a regular file stands at `path`.
    """
    with contextlib.suppress(FileNotFoundError):
        os.close(open_regular(path, os.O_RDONLY))
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)  # of a process that was killed; never written into, whatever it is
    with os.fdopen(open_regular(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)


def create(path: str | Path) -> int:
    """Open for writing, from its beginning, what a person has named as output; a new file is for its owner alone.

    Links are followed and pipes are waited for, as a shell does. Gives the descriptor. Raises `OSError`.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    return _make(path, flags) or os.open(path, flags | os.O_TRUNC, FILE_MODE)
