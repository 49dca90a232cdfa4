"""Physical names that a template writes down: what `Ref` and `Fn::GetAtt` of a resource return where its name is known.

A name that is not written is generated on deployment, and unknown. Each row is from the 'Return values' of the
resource's page in the CloudFormation Template Reference (read 2026-11). Left out is what holds a generated part even so
(secrets, load balancers, connections, API destinations).
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

_ARN = "arn:{partition}:{service}:{region}:{account}:"


RULE_ARN = _ARN.replace("{service}", "events") + "rule/{name}"
"""A rule's ARN; on a bus of its own the name is `BUS/RULE`."""


class Physical(NamedTuple):
    """How a kind of resource is named: the property that holds the name (dots lead inwards), what `Ref` returns, and
    the attributes. In texts `{name}`, `{region}`, `{account}`, `{partition}` and `{suffix}` stand for the values."""

    property: str
    ref: str | None
    attributes: dict[str, str]
    lower: bool = False
    """Whether the service keeps the name in lower case."""


def _row(
    name: str, ref: str | None = "{name}", *, arn: str = "", of: str = "Arn", lower: bool = False, **attributes: str
) -> Physical:
    """A row; `arn` is `service:resource`, `of` the attribute that returns it; `ref="arn"` if `Ref` returns it too."""
    service, _, resource = arn.partition(":")
    whole = _ARN.replace("{service}", service) + resource if resource else arn
    known = dict(attributes)
    if arn and of:
        known[of] = whole
    return Physical(name, whole if ref == "arn" else ref, known, lower)


def _global(service: str, resource: str) -> str:
    return f"arn:{{partition}}:{service}::{{account}}:{resource}"


_S3 = Physical(
    "BucketName",
    "{name}",
    {
        "Arn": "arn:{partition}:s3:::{name}",
        "DomainName": "{name}.s3.{suffix}",
        "RegionalDomainName": "{name}.s3.{region}.{suffix}",
        "DualStackDomainName": "{name}.s3.dualstack.{region}.{suffix}",
    },
)
_FUNCTION = _row("FunctionName", arn="lambda:function:{name}")
_TABLE = _row("TableName", arn="dynamodb:table/{name}")
_URL = "https://sqs.{region}.{suffix}/{account}/{name}"

PHYSICAL: dict[str, Physical] = {
    "AWS::ApiGateway::ApiKey": _row("Name", None),
    "AWS::Athena::WorkGroup": _row("Name"),
    "AWS::AutoScaling::AutoScalingGroup": _row("AutoScalingGroupName"),
    "AWS::AutoScaling::LaunchConfiguration": _row("LaunchConfigurationName"),
    "AWS::Backup::BackupVault": _row(
        "BackupVaultName", arn="backup:backup-vault:{name}", of="BackupVaultArn", BackupVaultName="{name}"
    ),
    "AWS::Batch::ComputeEnvironment": _row(
        "ComputeEnvironmentName", "arn", arn="batch:compute-environment/{name}", of="ComputeEnvironmentArn"
    ),
    "AWS::Batch::JobQueue": _row("JobQueueName", "arn", arn="batch:job-queue/{name}", of="JobQueueArn"),
    "AWS::CloudTrail::Trail": _row("TrailName", arn="cloudtrail:trail/{name}"),
    "AWS::CloudWatch::Alarm": _row("AlarmName", arn="cloudwatch:alarm:{name}"),
    "AWS::CloudWatch::CompositeAlarm": _row("AlarmName", arn="cloudwatch:alarm:{name}"),
    "AWS::CodeBuild::Project": _row("Name", arn="codebuild:project/{name}"),
    "AWS::CodeCommit::Repository": _row("RepositoryName", None, arn="codecommit:{name}", Name="{name}"),
    "AWS::CodeDeploy::Application": _row("ApplicationName"),
    "AWS::CodeDeploy::DeploymentGroup": _row("DeploymentGroupName"),
    "AWS::CodePipeline::Pipeline": _row("Name"),
    "AWS::Config::ConfigRule": _row("ConfigRuleName"),
    "AWS::DynamoDB::GlobalTable": _TABLE,
    "AWS::DynamoDB::Table": _TABLE,
    "AWS::EC2::KeyPair": _row("KeyName"),
    "AWS::ECR::Repository": _row(
        "RepositoryName",
        arn="ecr:repository/{name}",
        RepositoryUri="{account}.dkr.ecr.{region}.{suffix}/{name}",
    ),
    "AWS::ECS::Cluster": _row("ClusterName", arn="ecs:cluster/{name}"),
    "AWS::ECS::Service": _row("ServiceName", None, Name="{name}"),
    "AWS::EKS::Cluster": _row("Name", arn="eks:cluster/{name}"),
    "AWS::ElastiCache::ReplicationGroup": _row("ReplicationGroupId", lower=True),
    "AWS::ElasticBeanstalk::Application": _row("ApplicationName"),
    "AWS::ElasticBeanstalk::Environment": _row("EnvironmentName"),
    "AWS::ElasticLoadBalancing::LoadBalancer": _row("LoadBalancerName"),
    "AWS::Events::Archive": _row("ArchiveName", arn="events:archive/{name}"),
    "AWS::Events::EventBus": _row("Name", arn="events:event-bus/{name}", Name="{name}"),
    "AWS::Glue::Crawler": _row("Name"),
    "AWS::Glue::Database": _row("DatabaseInput.Name"),
    "AWS::Glue::Job": _row("Name"),
    "AWS::Glue::Trigger": _row("Name"),
    "AWS::Glue::Workflow": _row("Name"),
    "AWS::IoT::Thing": _row("ThingName", arn="iot:thing/{name}"),
    "AWS::IoT::TopicRule": _row("RuleName", arn="iot:rule/{name}"),
    "AWS::KMS::Alias": _row("AliasName"),
    "AWS::Kinesis::Stream": _row("Name", arn="kinesis:stream/{name}"),
    "AWS::KinesisFirehose::DeliveryStream": _row("DeliveryStreamName", arn="firehose:deliverystream/{name}"),
    "AWS::Lambda::Function": _FUNCTION,
    "AWS::Logs::LogGroup": _row("LogGroupName", arn="logs:log-group:{name}:*"),
    "AWS::MediaConvert::Queue": _row("Name", arn="mediaconvert:queues/{name}", Name="{name}"),
    "AWS::Pipes::Pipe": _row("Name", arn="pipes:pipe/{name}"),
    "AWS::RDS::DBCluster": _row("DBClusterIdentifier", arn="rds:cluster:{name}", of="DBClusterArn", lower=True),
    "AWS::RDS::DBInstance": _row("DBInstanceIdentifier", arn="rds:db:{name}", of="DBInstanceArn", lower=True),
    "AWS::Redshift::Cluster": _row("ClusterIdentifier", lower=True),
    "AWS::ResourceGroups::Group": _row("Name", arn="resource-groups:group/{name}"),
    "AWS::S3::Bucket": _S3,
    "AWS::SES::ConfigurationSet": _row("Name"),
    "AWS::SNS::Topic": _row("TopicName", "arn", arn="sns:{name}", of="TopicArn", TopicName="{name}"),
    "AWS::SQS::Queue": _row("QueueName", _URL, arn="sqs:{name}", QueueName="{name}", QueueUrl=_URL),
    "AWS::SSM::Document": _row("Name"),
    "AWS::SSM::Parameter": _row("Name"),
    "AWS::SageMaker::Pipeline": _row("PipelineName"),
    "AWS::Scheduler::ScheduleGroup": _row("Name", arn="scheduler:schedule-group/{name}"),
    "AWS::Serverless::Function": _FUNCTION,
    "AWS::Serverless::SimpleTable": _TABLE,
    "AWS::Serverless::StateMachine": _row("Name", "arn", arn="states:stateMachine:{name}", Name="{name}"),
    "AWS::StepFunctions::Activity": _row("Name", "arn", arn="states:activity:{name}", Name="{name}"),
    "AWS::StepFunctions::StateMachine": _row(
        "StateMachineName", "arn", arn="states:stateMachine:{name}", Name="{name}"
    ),
    "AWS::Synthetics::Canary": _row("Name"),
}

PATHED: dict[str, Physical] = {
    "AWS::IAM::Group": Physical("GroupName", "{name}", {"Arn": _global("iam", "group{path}{name}")}),
    "AWS::IAM::InstanceProfile": Physical(
        "InstanceProfileName", "{name}", {"Arn": _global("iam", "instance-profile{path}{name}")}
    ),
    "AWS::IAM::ManagedPolicy": Physical(
        "ManagedPolicyName",
        _global("iam", "policy{path}{name}"),
        {"PolicyArn": _global("iam", "policy{path}{name}")},
    ),
    "AWS::IAM::Role": Physical("RoleName", "{name}", {"Arn": _global("iam", "role{path}{name}")}),
    "AWS::IAM::User": Physical("UserName", "{name}", {"Arn": _global("iam", "user{path}{name}")}),
}
"""Those whose ARN holds the property `Path`, `/` if it is not written."""


def filled(form: str, name: str, pseudo: Mapping[str, str], path: str = "/") -> str:
    """A text of a row with its places filled in; `pseudo` are the pseudo parameters."""
    values = {
        "name": name,
        "path": path,
        "partition": pseudo["AWS::Partition"],
        "region": pseudo["AWS::Region"],
        "account": pseudo["AWS::AccountId"],
        "suffix": pseudo["AWS::URLSuffix"],
    }
    return re.sub(r"\{(\w+)\}", lambda found: values[found.group(1)], form)
