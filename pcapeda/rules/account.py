"""Rules as they are on a bus of an AWS account (or of an emulator): read, and nothing else.

IAM permissions: `events:ListRules` and `events:ListTargetsByRule` on the bus and its rules.
"""

from typing import Any

from pcapeda.errors import BadRule, SinkDown
from pcapeda.rules.collect import Collector, targets
from pcapeda.rules.documents import Document
from pcapeda.rules.reader import Node, node_of
from pcapeda.rules.rule import DEFAULT_BUS, bus_name

_MOST_PAGES = 1000


def read_account(
    bus: str, collector: Collector, *, region: str | None, profile: str | None, endpoint_url: str | None
) -> None:
    """Add the rules and targets of a bus (name or ARN; empty: the default bus).

    Raises `SinkDown` where the account cannot be asked, `BadRule` for a bus that is not there.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    bus = bus or DEFAULT_BUS
    if region is None and bus.startswith("arn:"):
        region = bus.split(":")[3] or None
    name = f"aws:{bus_name(bus)}"
    try:
        session = boto3.session.Session(profile_name=profile, region_name=region)
        client = session.client(
            "events",
            endpoint_url=endpoint_url,
            config=Config(retries={"mode": "standard", "max_attempts": 5}, connect_timeout=10, read_timeout=30),
        )
        for rule in _pages(client.list_rules, "Rules", EventBusName=bus):
            held = _pages(client.list_targets_by_rule, "Targets", Rule=rule["Name"], EventBusName=bus)
            _add(collector, name, bus, rule, held)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        message = error.response.get("Error", {}).get("Message", "") or str(error)
        if code == "ResourceNotFoundException":
            raise BadRule(f"{name}: {message}") from None
        hint = None
        if "AccessDenied" in code or "NotAuthorized" in code:
            hint = "reading rules takes events:ListRules and events:ListTargetsByRule"
        raise SinkDown(f"{name}: rules cannot be read: {code}: {message}", hint=hint, code=code) from None
    except BotoCoreError as error:
        raise SinkDown(f"{name}: rules cannot be read: {error}", code=type(error).__name__) from None


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
