"""Giving up rights for good: what `--drop-privileges USER` does once the sockets are open (Linux).

Nothing that comes from the network is looked at with more rights than it takes to look. `drop` trusts nothing that it
has not seen afterwards: every thread of the process must be the other user, without groups of others, without
capabilities, and unable to become anybody else.
"""

import ctypes
import grp
import os
import pwd
import struct
import sysconfig
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from pcapeda.errors import BadConfig, NoRights

# linux/prctl.h, linux/capability.h
_PR_SET_NO_NEW_PRIVS, _CAPABILITY_VERSION_3 = 38, 0x20080522
_CAPABILITIES: Final = ("CapInh", "CapPrm", "CapEff", "CapAmb")


class Account(NamedTuple):
    """Whom to become: a user, a group, and the user's home folder."""

    name: str
    uid: int
    gid: int
    home: str


def account(wanted: str) -> Account:
    """The account that `USER[:GROUP]` names, in names or numbers. Raises `BadConfig` if it is unknown, or root."""
    name, colon, group = wanted.partition(":")
    try:
        user = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except (KeyError, ValueError, OverflowError):
        raise BadConfig(f"--drop-privileges {wanted}: no such user") from None
    gid = user.pw_gid
    if colon:
        try:
            gid = (grp.getgrgid(int(group)) if group.isdecimal() else grp.getgrnam(group)).gr_gid
        except (KeyError, ValueError, OverflowError):
            raise BadConfig(f"--drop-privileges {wanted}: no such group") from None
    if user.pw_uid == 0 or gid == 0:
        raise BadConfig(f"--drop-privileges {wanted}: root has all privileges: name another user and group")
    return Account(user.pw_name, user.pw_uid, gid, user.pw_dir)


def drop(to: Account) -> None:
    """Become that account for good, in every thread, with HOME, USER and LOGNAME as its own.

    Raises `NoRights` when that is not allowed, when it cannot be made sure of, or when the account cannot read this
    program; then the process must end. A process that is that user already gives up its capabilities.
    """
    _kernel(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    try:
        _change_groups(to)
        os.setresgid(to.gid, to.gid, to.gid)
        os.setresuid(to.uid, to.uid, to.uid)
    except OSError as error:
        raise NoRights(
            f"cannot become user {to.name}: {error.strerror}",
            hint="start as root, or as that user with CAP_NET_RAW alone",
        ) from None
    # Becoming another user has cleared them unless somebody set the securebits against that; staying the same has not.
    header, nothing = struct.pack("Ii", _CAPABILITY_VERSION_3, 0), bytes(24)
    _kernel(_libc.capset(header, nothing), "capset")
    _make_sure(to)
    os.environ.update(HOME=to.home, USER=to.name, LOGNAME=to.name)
    for place in (__file__, os.__file__, sysconfig.get_path("purelib")):
        if not os.access(place, os.R_OK):
            raise NoRights(
                f"user {to.name} cannot read {place}",
                hint="install pcapeda and its Python where that user can read them, as in /opt",
            )


def _change_groups(to: Account) -> None:
    try:
        os.setgroups([])
    except PermissionError:
        # Who is that user already may keep that user's own groups, and no others.
        if os.getresuid() != (to.uid,) * 3 or not set(os.getgroups()) <= set(os.getgrouplist(to.name, to.gid)):
            raise


def _make_sure(to: Account) -> None:
    """That no thread has more rights than it should, and that they cannot be had back."""
    try:
        threads = [path.read_text() for path in Path("/proc/self/task").glob("*/status")]
    except OSError:
        threads = []
    if not threads:
        raise NoRights("cannot make sure that privileges are dropped: /proc cannot be read")
    allowed = set(os.getgrouplist(to.name, to.gid))
    for thread in threads:
        status = {name: value.split() for name, _, value in (line.partition(":") for line in thread.splitlines())}
        if (
            status["Uid"] != [str(to.uid)] * 4
            or status["Gid"] != [str(to.gid)] * 4
            or not {int(group) for group in status["Groups"]} <= allowed
            or any(int(status[name][0], 16) for name in _CAPABILITIES)
            or status["NoNewPrivs"] != ["1"]
        ):
            raise NoRights(f"a thread has kept privileges: {' '.join(status['Name'])}")
    for regain in (partial(os.setuid, 0), partial(os.setgid, 0), partial(os.setgroups, [0])):
        with suppress(PermissionError):
            regain()
            raise NoRights("privileges could be had back after they were dropped")


def _kernel(answer: int, what: str) -> None:
    if answer != 0:
        raise NoRights(f"cannot drop privileges: {what}: {os.strerror(ctypes.get_errno())}")


_libc = ctypes.CDLL(None, use_errno=True)
