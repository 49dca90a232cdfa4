"""What a run asks of a capture, as text that means the same in every version: by it a checkpoint knows a run again.

The text is spelt out here, member by member, so that no change of a class changes it. What decides which events a
capture gives, how they look or where they go belongs in it; what decides when, how fast or how many does not.
"""

import json
from typing import Any

from pcapeda.aws.bus import Bus
from pcapeda.engine.job import Job
from pcapeda.events.enrich import name_of

VERSION = 2
"""Raise it when the text changes for a run that was possible before, and add what the version before wrote."""

DECIDES = {
    "Job": {"filter", "ports", "decapsulate", "tunnels", "fragment_age_s", "fragment_mib", "shape", "bus"},
    "Shape": {"name", "source", "detail_type", "resources", "text", "json_payload", "time", "enrich", "text_encoding"},
    "Bus": {"name", "region", "profile", "endpoint_url", "groups", "raw"},
}
"""The fields that are in the text of every run, by class."""

SUMS_UP = {"aggregate_s", "group_wait_s", "max_flows", "group"}
"""Those of a job that are in the text of a run which sums datagrams up."""


def asked_of(job: Job) -> str:
    """What of the job decides what is sent of a capture, and where to: canonical JSON (keys sorted, ASCII)."""
    shape = job.shape
    key: dict[str, Any] = {
        "version": VERSION,
        "filter": job.filter,
        "ports": sorted(job.ports),
        "decapsulate": job.decapsulate,
        "fragment_age_s": float(job.fragment_age_s),
        "fragment_mib": job.fragment_mib,
        "shape": {
            "name": shape.name,
            "source": shape.source,
            "detail_type": shape.detail_type,
            "resources": list(shape.resources),
            "text": shape.text,
            "json_payload": shape.json_payload,
            "time": shape.time,
        },
        "bus": _bus(job.bus),
    }
    if job.tunnels:
        key["tunnels"] = sorted(map(list, job.tunnels))
    if shape.text_encoding is not None:
        key["text_encoding"] = shape.text_encoding
    if shape.enrich is not None:
        key["enrich"] = name_of(shape.enrich)
    if job.summaries:
        key["summaries"] = {
            "kind": job.summaries,
            "hold_ns": job.hold_ns,
            "max_flows": job.max_flows,
            "group": job.group,
        }
    return json.dumps(key, sort_keys=True, separators=(",", ":"))


def _bus(bus: Bus) -> dict[str, object]:
    return {
        "name": bus.name,
        "region": bus.region,
        "profile": bus.profile,
        "endpoint_url": bus.endpoint_url,
        "groups": bus.groups,
        "raw": bus.raw,
    }


def asked_of_1(job: Job) -> str:
    """The same as the version before wrote it: what `repr` then made of a tuple of the job's members."""
    shape, bus = job.shape, job.bus
    shape_text = (
        f"Shape(name={shape.name!r}, source={shape.source!r}, detail_type={shape.detail_type!r}, "
        f"resources={shape.resources!r}, text={shape.text!r}, json_payload={shape.json_payload!r}, "
        f"time={shape.time!r}, file=None, loop=0, groups={bus.groups!r})"
    )
    bus_text = (
        f"Bus(name={bus.name!r}, region={bus.region!r}, profile={bus.profile!r}, endpoint_url={bus.endpoint_url!r}, "
        f"max_request_bytes=0, groups={bus.groups!r}, raw={bus.raw!r})"
    )
    values = (job.filter, sorted(job.ports), job.decapsulate, (job.fragment_age_s, job.fragment_mib))
    parts = [*map(repr, values), shape_text, bus_text]
    if job.summaries:
        parts += map(repr, (job.summaries, job.hold_ns, job.max_flows, job.group))
    return f"({', '.join(parts)})"
