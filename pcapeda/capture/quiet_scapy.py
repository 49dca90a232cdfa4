"""Scapy without its voice."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_LOGGERS: Final = ("scapy", "scapy.runtime", "scapy.loading", "scapy.interactive")


@contextmanager
def quiet_scapy() -> Iterator[None]:
    """What Scapy has to say while it is loaded, opens a socket or dissects is nothing for the person at the terminal.

    It has a handler of its own that writes to stderr, where lines may be JSON, and its advice is for those who program
    with it. Afterwards its loggers are as they were: a program that uses Scapy besides still hears it.
    """
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    # Disabled rather than raised in level: loading Scapy sets levels.
    before = [logger.disabled for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.disabled = True
        try:
            yield
        finally:
            for logger, disabled in zip(loggers, before, strict=True):
                logger.disabled = disabled
