"""UDP as an event source for AWS: datagrams from captures and interfaces become EventBridge events.

The whole public surface is here and in `pcapeda.pytest_plugin`; docs/library.md shows it. Each name is imported when it
is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcapeda.aws.bus import Bus
    from pcapeda.engine.batch import run_many
    from pcapeda.engine.iterate import datagrams
    from pcapeda.engine.job import Job
    from pcapeda.engine.loop import RunObserver
    from pcapeda.engine.run import execute, resend
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
    from pcapeda.model import Batch, BatchLimits, Damage, Datagram, Entry, Failed, Outcome, Sink, Skip, SkipReason
    from pcapeda.report import Report
    from pcapeda.rules.pattern import Pattern
    from pcapeda.rules.rule import Rule, Target
    from pcapeda.rules.ruleset import RuleSet
    from pcapeda.rules.sources.load import load as load_rules
    from pcapeda.ruletest.local_bus import LocalBus
    from pcapeda.sinks.base import BaseSink
    from pcapeda.sinks.eventbridge import EventBridgeSink
    from pcapeda.sinks.eventbridge_v2 import EventBridgeV2Sink
    from pcapeda.sinks.memory import MemorySink

_HOMES = {
    "BadCapture": "errors",
    "BadConfig": "errors",
    "BadEnrichment": "errors",
    "BadEvent": "errors",
    "BadFilter": "errors",
    "BadRule": "errors",
    "BadSink": "errors",
    "BaseSink": "sinks.base",
    "Batch": "model",
    "BatchLimits": "model",
    "Bus": "aws.bus",
    "CannotWrite": "errors",
    "Damage": "model",
    "Datagram": "model",
    "Entry": "model",
    "EventBridgeSink": "sinks.eventbridge",
    "EventBridgeV2Sink": "sinks.eventbridge_v2",
    "ExitStatus": "errors",
    "Failed": "model",
    "InterfaceDown": "errors",
    "Job": "engine.job",
    "LocalBus": "ruletest.local_bus",
    "MemorySink": "sinks.memory",
    "NoRights": "errors",
    "NoSuchInterface": "errors",
    "Outcome": "model",
    "OutputClosed": "errors",
    "OutputFailed": "errors",
    "Pattern": "rules.pattern",
    "PcapedaError": "errors",
    "Report": "report",
    "Rule": "rules.rule",
    "RuleSet": "rules.ruleset",
    "Shape": "events.shape",
    "Sink": "model",
    "SinkDown": "errors",
    "Skip": "model",
    "Target": "rules.rule",
    "Untrusted": "errors",
    "RunObserver": "engine.loop",
    "Watcher": "engine.loop",  # its name before
    "SkipReason": "model",
    "WorkerLost": "errors",
    "datagrams": "engine.iterate",
    "execute": "engine.run",
    "load_rules": "rules.sources.load",
    "resend": "engine.run",
    "run_many": "engine.batch",
}

_OTHERWISE_NAMED = {"load_rules": "load", "Watcher": "RunObserver"}

__all__ = [
    "BadCapture",
    "BadConfig",
    "BadEnrichment",
    "BadEvent",
    "BadFilter",
    "BadRule",
    "BadSink",
    "BaseSink",
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
    "RunObserver",
    "Shape",
    "Sink",
    "SinkDown",
    "Skip",
    "SkipReason",
    "Target",
    "Untrusted",
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
