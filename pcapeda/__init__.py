"""UDP as an event source for AWS: datagrams from captures and interfaces become EventBridge events.

The whole public surface is here and in `pcapeda.pytest_plugin`; docs/library.md shows it. Each name is imported when it
is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pcapeda.corridor import Watcher
    from pcapeda.errors import (
        BadCapture,
        BadConfig,
        BadEnrichment,
        BadEvent,
        BadFilter,
        BadRule,
        BadSink,
        CannotWrite,
        ExitStatus,
        InterfaceDown,
        NoRights,
        NoSuchInterface,
        OutputClosed,
        OutputFailed,
        PcapedaError,
        SinkDown,
        Untrusted,
        WorkerLost,
    )
    from pcapeda.events.shape import Shape
    from pcapeda.fleet import run_many
    from pcapeda.iterate import datagrams
    from pcapeda.job import Bus, Job
    from pcapeda.model import (
        Batch,
        BatchLimits,
        Damage,
        Datagram,
        Entry,
        Failed,
        Outcome,
        Report,
        Sink,
        Skip,
        Why,
    )
    from pcapeda.pipeline import execute, resend
    from pcapeda.rules.bus import LocalBus
    from pcapeda.rules.load import load as load_rules
    from pcapeda.rules.pattern import Pattern
    from pcapeda.rules.rule import Rule, Target
    from pcapeda.rules.ruleset import RuleSet
    from pcapeda.sinks.eventbridge import EventBridgeSink
    from pcapeda.sinks.eventbridgev2 import EventBridgeV2Sink
    from pcapeda.sinks.memory import MemorySink

_HOMES = {
    "BadCapture": "errors",
    "BadConfig": "errors",
    "BadEnrichment": "errors",
    "BadEvent": "errors",
    "BadFilter": "errors",
    "BadRule": "errors",
    "BadSink": "errors",
    "Batch": "model",
    "BatchLimits": "model",
    "Bus": "job",
    "CannotWrite": "errors",
    "Damage": "model",
    "Datagram": "model",
    "Entry": "model",
    "EventBridgeSink": "sinks.eventbridge",
    "EventBridgeV2Sink": "sinks.eventbridgev2",
    "ExitStatus": "errors",
    "Failed": "model",
    "InterfaceDown": "errors",
    "Job": "job",
    "LocalBus": "rules.bus",
    "MemorySink": "sinks.memory",
    "NoRights": "errors",
    "NoSuchInterface": "errors",
    "Outcome": "model",
    "OutputClosed": "errors",
    "OutputFailed": "errors",
    "Pattern": "rules.pattern",
    "PcapedaError": "errors",
    "Report": "model",
    "Rule": "rules.rule",
    "RuleSet": "rules.ruleset",
    "Shape": "events.shape",
    "Sink": "model",
    "SinkDown": "errors",
    "Skip": "model",
    "Target": "rules.rule",
    "Untrusted": "errors",
    "Watcher": "corridor",
    "Why": "model",
    "WorkerLost": "errors",
    "datagrams": "iterate",
    "execute": "pipeline",
    "load_rules": "rules.load",
    "resend": "pipeline",
    "run_many": "fleet",
}

_OTHERWISE_NAMED = {"load_rules": "load"}

__all__ = [
    "BadCapture",
    "BadConfig",
    "BadEnrichment",
    "BadEvent",
    "BadFilter",
    "BadRule",
    "BadSink",
    "Batch",
    "BatchLimits",
    "Bus",
    "CannotWrite",
    "Damage",
    "Datagram",
    "Entry",
    "EventBridgeSink",
    "EventBridgeV2Sink",
    "ExitStatus",
    "Failed",
    "InterfaceDown",
    "Job",
    "LocalBus",
    "MemorySink",
    "NoRights",
    "NoSuchInterface",
    "Outcome",
    "OutputClosed",
    "OutputFailed",
    "Pattern",
    "PcapedaError",
    "Report",
    "Rule",
    "RuleSet",
    "Shape",
    "Sink",
    "SinkDown",
    "Skip",
    "Target",
    "Untrusted",
    "Watcher",
    "Why",
    "WorkerLost",
    "__version__",
    "datagrams",
    "execute",
    "load_rules",
    "resend",
    "run_many",
]

if not TYPE_CHECKING:  # a type checker that saw this would take any name for one of ours

    def __getattr__(name):
        if name in _HOMES:
            return getattr(import_module(f"pcapeda.{_HOMES[name]}"), _OTHERWISE_NAMED.get(name, name))
        raise AttributeError(f"module 'pcapeda' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
