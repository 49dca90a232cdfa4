"""How a delivery behaves, and whom it calls: what a run gives it besides a sink, a report and a spool."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pcapeda.delivery.retry import Backoff
from pcapeda.model import Entry
from pcapeda.units import MILLISECOND_NS, SECOND_NS

RETRIES = Backoff(base_ns=100 * MILLISECOND_NS, calm_ns=SECOND_NS, cap_ns=20 * SECOND_NS, share=0.5)
"""An entry waits for up to half its age before it is tried again, up to a second while the sink takes anything; where
nothing is taken, up to half of the time since then: some ten tries in the first second, and one in ten at last."""

PATIENCE_NS = 300 * SECOND_NS
"""How long an entry is tried, counted from its first try, unless told otherwise."""


@dataclass(frozen=True)
class DeliveryOptions:
    """What a delivery is asked to do."""

    live: bool = False
    """Whether entries come as they happen: they cannot wait, and a sink that is down is tried again."""
    patience_ns: int = PATIENCE_NS
    """How long an entry is tried, counted from its first try."""
    keep_limited: bool = False
    """Whether the spool keeps what a limit refused, too."""
    retries: Backoff = RETRIES
    """When an entry that failed is tried again."""


@dataclass(frozen=True)
class RunHooks:
    """The time a delivery goes by, what it asks of the run around it, and what it tells."""

    clock: Callable[[], int] = time.monotonic_ns
    """Gives monotonic nanoseconds."""
    sleep: Callable[[float], object] = time.sleep
    """Takes seconds, and may return early."""
    jitter: Callable[[], float] = random.random
    """Gives numbers in [0, 1)."""
    stopping: Callable[[], bool] = lambda: False
    """Whether the person wants an end."""
    draining: Callable[[], bool] | None = None
    """Whether waiting inside `add` must end, too; as soon as `stopping`, unless given."""
    on_wait: Callable[[], None] = lambda: None
    """Called often while anything is waited for."""
    note: Callable[[str], None] = lambda sentence: None
    """Told, once each, what a person should read at once."""
    acknowledged: Callable[[list[Entry]], None] = lambda entries: None
    """Told the entries that need no further care (sent, spooled or dead letters) as soon as that is so."""
    refused: Callable[[Sequence[Entry]], None] = lambda entries: None
    """Told those that were given up."""


DEFAULT_OPTIONS, DEFAULT_HOOKS = DeliveryOptions(), RunHooks()
