"""UDP as an event source for AWS: datagrams from captures and interfaces become EventBridge events.

The whole public surface is here; each name is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pcapeda.events.shape import Shape
    from pcapeda.fleet import run_many
    from pcapeda.iterate import datagrams
    from pcapeda.job import Bus, Job
    from pcapeda.model import Datagram, Entry, Report, Skip
    from pcapeda.pipeline import execute
    from pcapeda.sinks.eventbridge import EventBridgeSink
    from pcapeda.sinks.eventbridgev2 import EventBridgeV2Sink
    from pcapeda.sinks.memory import MemorySink

_HOMES = {
    "Shape": "events.shape",
    "run_many": "fleet",
    "Datagram": "model",
    "Entry": "model",
    "Report": "model",
    "Skip": "model",
    "Bus": "job",
    "Job": "job",
    "datagrams": "iterate",
    "execute": "pipeline",
    "EventBridgeSink": "sinks.eventbridge",
    "EventBridgeV2Sink": "sinks.eventbridgev2",
    "MemorySink": "sinks.memory",
}

__all__ = [
    "Bus",
    "Datagram",
    "Entry",
    "EventBridgeSink",
    "EventBridgeV2Sink",
    "Job",
    "MemorySink",
    "Report",
    "Shape",
    "Skip",
    "datagrams",
    "execute",
    "run_many",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"pcapeda.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'pcapeda' has no attribute {name!r}")
