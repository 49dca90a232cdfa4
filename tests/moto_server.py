"""moto's server on a free loopback port: EventBridge, CloudWatch Logs and SQS over real HTTP, offline."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

REGION = "us-east-1"


@contextmanager
def moto_server() -> Iterator[str]:
    """The URL of a fresh server; its state is its own."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        reset(url)
        yield url
    finally:
        server.stop()


def reset(url: str) -> None:
    """Forget everything the server holds (its state is one for the process)."""
    import urllib.request

    urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST"), timeout=30).close()


def client(service: str, url: str) -> Any:
    """A boto3 client for the server, with credentials that need not be real."""
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )


def rule_into_log_group(url: str, *, name: str, pattern: str, bus: str | None = None) -> None:
    """A rule whose matched events land in the log group `/name`."""
    logs, events = client("logs", url), client("events", url)
    logs.create_log_group(logGroupName=f"/{name}")
    where = {"EventBusName": bus} if bus else {}
    events.put_rule(Name=name, EventPattern=pattern, State="ENABLED", **where)
    arn = f"arn:aws:logs:{REGION}:123456789012:log-group:/{name}"
    events.put_targets(Rule=name, Targets=[{"Id": "logs", "Arn": arn}], **where)


def logged(url: str, name: str) -> list[str]:
    """The messages in the log group of a rule."""
    logs = client("logs", url)
    messages: list[str] = []
    for page in logs.get_paginator("filter_log_events").paginate(logGroupName=f"/{name}"):
        messages.extend(event["message"] for event in page["events"])
    return messages
