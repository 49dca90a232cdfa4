"""Rules as they are on a bus of an AWS account (or of an emulator): read, and nothing else.

IAM permissions: `events:ListRules` and `events:ListTargetsByRule` on the bus and its rules.
"""

from typing import Any

from pcapeda.aws.session import make_client, one_line, translated
from pcapeda.errors import BadConfig, BadRule, SinkDown
from pcapeda.rules.json_reader import Node, node_of
from pcapeda.rules.rule import DEFAULT_BUS, bus_name
from pcapeda.rules.sources.diagnostics import Collector, targets
from pcapeda.rules.sources.source_tree import Document

_MOST_PAGES = 1000


def read_account(
    bus: str, collector: Collector, *, region: str | None, profile: str | None, endpoint_url: str | None
) -> None:
    """Add the rules and targets of a bus (name or ARN; empty: the default bus).

    Raises `SinkDown` where the account cannot be asked, `BadConfig` for what is wrong with how it is named, `BadRule`
    for a bus that is not there.
    """
    from botocore.exceptions import ClientError

    bus = bus or DEFAULT_BUS
    if region is None and bus.startswith("arn:"):
        region = bus.split(":")[3] or None
    name = f"aws:{bus_name(bus)}"
    try:
        client = make_client("events", region, profile, endpoint_url, concurrency=1, attempts=5)
        with translated(client.meta.endpoint_url):
            for rule in _pages(client.list_rules, "Rules", EventBusName=bus):
                held = _pages(client.list_targets_by_rule, "Targets", Rule=rule["Name"], EventBusName=bus)
                _add(collector, name, bus, rule, held)
    except ClientError as error:
        reason = error.response.get("Error", {})
        code, message = one_line(reason.get("Code", "")), one_line(reason.get("Message") or error)
        if code == "ResourceNotFoundException":
            raise BadRule(f"{name}: {message}") from None
        hint = None
        if "AccessDenied" in code or "NotAuthorized" in code:
            hint = "reading rules takes events:ListRules and events:ListTargetsByRule"
        raise SinkDown(f"{name}: rules cannot be read: {code}: {message}", hint=hint, code=code) from None
    except (BadConfig, SinkDown) as error:
        error.args = (f"{name}: rules cannot be read: {error}",)
        raise


def _pages(call: Any, key: str, **arguments: str) -> list[dict[str, Any]]:
    """All pages of a list."""
    found: list[dict[str, Any]] = []
    for _ in range(_MOST_PAGES):
        answer = call(**arguments)
        found += answer.get(key, [])
        token = answer.get("NextToken")
        if not token:
            break
        arguments["NextToken"] = token
    return found


def _add(collector: Collector, name: str, bus: str, rule: dict[str, Any], held: list[dict[str, Any]]) -> None:
    kept = ("Id", "Arn", "Input", "InputPath", "InputTransformer")
    listed = [{key: one[key] for key in kept if key in one} for one in held]
    pattern = rule.get("EventPattern")
    document = Document(f"{name}/{rule['Name']}", Node("object", []), None, {}, [], {})
    collector.rule(
        document,
        Node("object", []),
        rule["Name"],
        Node("string", pattern) if pattern else None,
        bus=rule.get("EventBusName") or bus,
        state=rule.get("State"),
        schedule=rule.get("ScheduleExpression"),
        targets=targets(node_of(listed)),
        arn=rule.get("Arn") or "",
    )
