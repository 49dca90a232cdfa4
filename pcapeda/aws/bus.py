"""Which event bus, and how the AWS SDK finds it: plain data."""

from dataclasses import dataclass, field
from typing import get_args

from pcapeda.aws import quotas
from pcapeda.aws.responses import Transport
from pcapeda.errors import BadField
from pcapeda.options import bounds


@dataclass(frozen=True)
class Bus:
    """Where events go: an event bus (name or ARN; None: the default bus) and how the AWS SDK finds it."""

    name: str | None = None
    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    max_request_bytes: int = quotas.REQUEST_BYTES
    transport: Transport = field(default="fast", compare=False, repr=False)
    """Who makes the requests; the bus is the same one. (For a bus of EventBridge v2 it is always the SDK.)"""
    groups: int | None = None
    """On a bus of EventBridge v2: keep the order of each flow, with flows hashed into so many groups."""
    raw: bool = False
    """On a bus of EventBridge v2: the payload as bytes, the rest as metadata."""

    def __post_init__(self) -> None:
        bounds.check_texts("Bus", self, ("name", "region", "profile", "endpoint_url"))
        bounds.check_numbers("Bus", self, ("max_request_bytes", "groups"))
        bounds.check_choice("Bus", self, "transport", get_args(Transport))
        bounds.check_flags("Bus", self, ("raw",))

    @property
    def v2(self) -> bool:
        """Whether this is a bus of EventBridge v2."""
        return self.name is not None and ":event-busv2/" in self.name

    def check(self) -> None:
        """Refuse what this bus cannot have. Raises `BadConfig`."""
        if self.v2:
            quotas.check_identity(None, None, (), self.name)
        elif self.groups is not None or self.raw:
            raise BadField(
                "an order ({groups}) and {raw} are for buses of EventBridge v2",
                owner="Bus",
                hint="give the ARN of one: {name} arn:aws:events:REGION:ACCOUNT:event-busv2/NAME/ID",
            )

    def words(self) -> str:
        """Which bus this is, as far as it says."""
        ordered = None if self.groups is None else f"ordered in {self.groups} groups"
        where = [self.region, self.profile and f"profile {self.profile}", self.endpoint_url]
        where += [ordered, "raw" if self.raw else None]
        named = ", ".join(filter(None, where))
        return f"event bus {self.name or 'default'}" + (f" ({named})" if named else "")
