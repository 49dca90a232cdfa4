"""What is known of a deployment beside its template: parameters and other values, account, Region, stack name."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pcapeda.model import ACCOUNT, REGION


@dataclass(frozen=True)
class Given:
    """Values by name, and where the stack is deployed.

    `values` has parameters under their names; what a template looks up elsewhere under a prefix: `import:NAME` is
    what `Fn::ImportValue` finds, `ssm:/PATH` a parameter of Systems Manager, and in general `SERVICE:REST` what stands
    for `{{resolve:SERVICE:REST}}`; `Queue.Arn` is an attribute, `Queue` the physical id of a resource.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    region: str | None = None
    account: str | None = None
    stack: str | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)
    """Parameters that are given a value (by a template that nests this one) which is not known, and why not."""

    def pseudo(self) -> dict[str, str]:
        """The pseudo parameters, but for the stack's name. Without a Region or an account: those of examples."""
        region = self.region or REGION
        partition = next(
            (name for start, name in _PARTITIONS if region.startswith(start)),
            "aws",
        )
        return {
            "AWS::AccountId": self.account or ACCOUNT,
            "AWS::Region": region,
            "AWS::Partition": partition,
            "AWS::URLSuffix": _SUFFIXES.get(partition, "amazonaws.com"),
        }

    def filled(
        self,
        *,
        values: Mapping[str, str] | None = None,
        region: str | None = None,
        account: str | None = None,
        stack: str | None = None,
    ) -> "Given":
        """The same, completed by what a file beside the template says; what a person gave wins."""
        return replace(
            self,
            values={**(values or {}), **self.values},
            region=self.region or region,
            account=self.account or account,
            stack=self.stack or stack,
        )


_PARTITIONS = (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov"), ("us-iso-", "aws-iso"), ("us-isob-", "aws-iso-b"))
_SUFFIXES = {"aws-cn": "amazonaws.com.cn", "aws-iso": "c2s.ic.gov", "aws-iso-b": "sc2s.sgov.gov"}
