"""Templates in the ways that people write them: what each rule says, what is not known of it, and nothing guessed."""

# ruff: noqa: E501  (a case is a line)
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pcapeda.rules.rule import Rule
from pcapeda.rules.sources.load import Loaded, load

ACCOUNT, REGION = "123456789012", "us-east-1"


class Case(NamedTuple):
    """The properties of a rule `R` in YAML, what stands beside `Resources: R` and in `Resources`, and what is right.

    `right` is the pattern, or where the rule has no usable one, words of the problem.
    """

    name: str
    properties: str
    right: Any
    beside: str = ""
    resources: str = ""
    given: dict[str, str] | None = None


def source(*values: str) -> dict[str, Any]:
    return {"source": list(values)}


def one(function: str) -> str:
    """A pattern that asks for what a function gives."""
    return f"{{EventPattern: {{source: [{function}]}}}}"


PARAMETERS = """Parameters:
  P: {Type: String, Default: pp}
  N: {Type: Number, Default: 514}
  L: {Type: CommaDelimitedList, Default: 'one, two,three'}
  Env: {Type: String, Default: dev, AllowedValues: [dev, prod]}
  Need: {Type: String}
  Path: {Type: 'AWS::SSM::Parameter::Value<String>', Default: /some/path}
  Json: {Type: String, Default: '{"source": ["json"]}'}
"""
CONDITIONS = """Conditions:
  IsProd: !Equals [!Ref Env, prod]
  IsDev: !Not [!Condition IsProd]
  Both: !And [!Condition IsDev, !Equals [a, a]]
  Either: !Or [!Condition IsProd, !Condition IsDev]
  Open: !Equals [!Ref Need, x]
  Decided: !Or [!Condition Open, !Condition IsDev]
  Refused: !And [!Condition Open, !Condition IsProd]
"""
MAPPINGS = """Mappings:
  Map: {dev: {name: mapped, list: [m1, m2]}, us-east-1: {name: here}}
"""
ALL = PARAMETERS + CONDITIONS + MAPPINGS


def arn(service: str, rest: str, region: str = REGION, account: str = ACCOUNT) -> str:
    return f"arn:aws:{service}:{region}:{account}:{rest}"


LITERAL = [
    Case("block style", "EventPattern:\n        source:\n          - aws.ec2", source("aws.ec2")),
    Case("flow style", "{EventPattern: {source: [aws.s3]}}", source("aws.s3")),
    Case("JSON in YAML", '{"EventPattern": {"source": ["aws.s3"]}}', source("aws.s3")),
    Case("JSON text", """{EventPattern: '{"source": ["x"]}'}""", source("x")),
    Case("block text", 'EventPattern: |\n        {"source": ["x"]}', source("x")),
    Case("folded text", 'EventPattern: >-\n        {"source":\n        ["x"]}', source("x")),
    Case("numbers", "{EventPattern: {detail: {n: [1, -2, 1.5]}}}", {"detail": {"n": [1, -2, 1.5]}}),
    Case("quoted numbers", "{EventPattern: {detail: {n: ['1', \"2\"]}}}", {"detail": {"n": ["1", "2"]}}),
    Case("words", "{EventPattern: {detail: {n: [true, False]}}}", {"detail": {"n": [True, False]}}),
    Case("numeric", "{EventPattern: {detail: {n: [{numeric: ['>=', 7]}]}}}", {"detail": {"n": [{"numeric": [">=", 7]}]}}),
    Case("prefix", "{EventPattern: {source: [{prefix: aws.}]}}", {"source": [{"prefix": "aws."}]}),
    Case("exists", "{EventPattern: {detail: {x: [exists: false]}}}", {"detail": {"x": [{"exists": False}]}}),
    Case("anything-but", "{EventPattern: {detail: {x: [anything-but: [a, b]]}}}", {"detail": {"x": [{"anything-but": ["a", "b"]}]}}),
    Case("or", "{EventPattern: {$or: [{source: [a]}, {detail-type: [b]}]}}", {"$or": [{"source": ["a"]}, {"detail-type": ["b"]}]}),
    Case("comments", "EventPattern: # here\n        source: # there\n          - a # and so on", source("a")),
    Case("an anchor", "{EventPattern: {source: &s [a], detail: {x: *s}}}", {"source": ["a"], "detail": {"x": ["a"]}}),
    Case("null as text", """{EventPattern: '{"detail":{"o":[null]}}'}""", {"detail": {"o": [None]}}),
    Case("null", "{EventPattern: {detail: {o: [null]}}}", "'null' values are not allowed in templates"),
    Case("a key with nothing", "EventPattern:\n        detail:\n          o:", "'null' values are not allowed in templates"),
    Case("neither", "{Description: neither}", "neither EventPattern nor ScheduleExpression"),
    Case("no properties", "{}", "neither EventPattern nor ScheduleExpression"),
    Case("a string for a list", "{EventPattern: {source: aws.s3}}", "must be an object or an array"),
]  # fmt: skip

REFERENCES = [
    Case("Ref", one("!Ref P"), source("pp"), ALL),
    Case("Ref in full", one("{Ref: P}"), source("pp"), ALL),
    Case("a number is text", one("!Ref N"), source("514"), ALL),
    Case("a given value", one("!Ref Need"), source("g"), ALL, given={"Need": "g"}),
    Case("no default", one("!Ref Need"), "parameter Need has no default", ALL),
    Case("a list for the array", "{EventPattern: {source: !Ref L}}", source("one", "two", "three"), ALL),
    Case("a whole pattern", "{EventPattern: !Ref Json}", source("json"), ALL),
    Case("SSM", one("!Ref Path"), "parameter Path is read from SSM", ALL),
    Case("SSM by its path", one("!Ref Path"), source("found"), ALL, given={"ssm:/some/path": "found"}),
    Case("SSM by its name", one("!Ref Path"), source("v"), ALL, given={"Path": "v"}),
    Case("SSM given a path", one("!Ref Path"), source("w"), ALL, given={"Path": "/x", "ssm:/x": "w"}),
    Case("SSM given a path alone", one("!Ref Path"), "parameter Path is read from SSM", ALL, given={"Path": "/x"}),
    Case("account", one("!Ref AWS::AccountId"), source(ACCOUNT)),
    Case("Region", one("!Sub '${AWS::Region}'"), source(REGION)),
    Case("partition", one("!Ref AWS::Partition"), source("aws")),
    Case("stack name", one("!Ref AWS::StackName"), source("t")),
    Case("stack id", one("!Ref AWS::StackId"), "AWS::StackId"),
    Case("import", one("!ImportValue shared"), 'Fn::ImportValue "shared"'),
    Case("a given import", one("!ImportValue shared"), source("i"), given={"import:shared": "i"}),
    Case("import of a Sub", one("{'Fn::ImportValue': !Sub '${P}-x'}"), source("i"), ALL, given={"import:pp-x": "i"}),
    Case("resolve", one("'{{resolve:ssm:/a}}'"), "{{resolve:ssm:/a}}"),
    Case("resolve given", one("'{{resolve:ssm:/a}}'"), source("r"), given={"ssm:/a": "r"}),
    Case("resolve with a version", one("'{{resolve:ssm:/a:3}}'"), source("r"), given={"ssm:/a": "r"}),
    Case("resolve within text", one("'x-{{resolve:ssm:/a}}-y'"), source("x-r-y"), given={"ssm:/a": "r"}),
    Case("resolve in a Sub", one("!Sub '{{resolve:ssm:/${P}}}'"), source("r"), ALL, given={"ssm:/pp": "r"}),
    Case("resolve joined", one("!Join ['', ['{{resolve:ssm:/', !Ref P, '}}']]"), "{{resolve:ssm:/pp}}", ALL),
    Case("a secret", one("'{{resolve:secretsmanager:s:SecretString:k}}'"), "{{resolve:secretsmanager:s:SecretString:k}}"),
    Case("resolve in JSON text", """{EventPattern: '{"source": ["{{resolve:ssm:/a}}"]}'}""", "{{resolve:ssm:/a}}"),
    Case("a default that resolves", one("!Ref D"), "{{resolve:ssm:/d}}", "Parameters: {D: {Type: String, Default: '{{resolve:ssm:/d}}'}}\n"),
    Case("undeclared", one("!Ref Nowhere"), "Nowhere, which the template does not declare"),
]  # fmt: skip

FUNCTIONS = [
    Case("Sub", one("!Sub 'a-${P}'"), source("a-pp"), ALL),
    Case("Sub with variables", one("!Sub ['${x}-${P}', {x: !Ref N}]"), source("514-pp"), ALL),
    Case("Sub literal", one("!Sub '${!x}-${P}'"), source("${x}-pp"), ALL),
    Case("Sub of a whole pattern", """{EventPattern: !Sub '{"source": ["${P}"]}'}""", source("pp"), ALL),
    Case("Sub with a variable of a pattern", """{EventPattern: !Sub ['{"source": ["${x}"]}', {x: !Join ['-', !Ref L]}]}""", source("one-two-three"), ALL),
    Case("Sub of what is not known", """{EventPattern: !Sub '{"source": ["${Need}"]}'}""", "parameter Need", ALL),
    Case("Join", one("!Join [':', [a, !Ref P]]"), source("a:pp"), ALL),
    Case("Join of an ARN", one("!Join ['', ['arn:aws:codecommit:', !Ref 'AWS::Region', ':', !Ref 'AWS::AccountId', ':', !Ref P]]"), source(arn("codecommit", "pp")), ALL),
    Case("Join of a whole pattern", """{EventPattern: !Join ['', ['{"source": ["', !Ref P, '"]}']]}""", source("pp"), ALL),
    Case("Join without NoValue", one("!Join ['-', [a, !If [IsProd, b, !Ref 'AWS::NoValue'], c]]"), source("a-c"), ALL),
    Case("Split", "{EventPattern: {source: !Split [',', 'a,b']}}", source("a", "b")),
    Case("Select", one("!Select [1, !Ref L]"), source("two"), ALL),
    Case("Select of a Split", one("!Select [0, !Split ['.', 'a.b']]"), source("a")),
    Case("FindInMap", one("!FindInMap [Map, !Ref Env, name]"), source("mapped"), ALL),
    Case("FindInMap by Region", one("!FindInMap [Map, !Ref 'AWS::Region', name]"), source("here"), ALL),
    Case("FindInMap of a list", "{EventPattern: {source: !FindInMap [Map, dev, list]}}", source("m1", "m2"), ALL),
    Case("FindInMap of nothing", one("!FindInMap [Map, none, name]"), "no mapping Map.none.name", ALL),
    Case("FindInMap with a default", one("{'Fn::FindInMap': [Map, none, name, {DefaultValue: d}]}"), source("d"), ALL),
    Case("Base64", one("!Base64 ab"), source("YWI=")),
    Case("ToJsonString", "{EventPattern: {'Fn::ToJsonString': {source: [!Ref P]}}}", source("pp"), ALL),
    Case("Length", "{EventPattern: {detail: {n: [{'Fn::Length': [a, b]}]}}}", {"detail": {"n": [2]}}),
    Case("If", one("!If [IsProd, yes-, no-]"), source("no-"), ALL),
    Case("If given", one("!If [IsProd, yes-, no-]"), source("yes-"), ALL, given={"Env": "prod"}),
    Case("If of whole patterns", "{EventPattern: !If [IsProd, {source: [p]}, {source: [d]}]}", source("d"), ALL),
    Case("If leaves out", "{EventPattern: {source: [a], detail: !If [IsProd, {x: [1]}, !Ref 'AWS::NoValue']}}", source("a"), ALL),
    Case("If leaves out an element", "{EventPattern: {source: [a, !If [IsProd, b, !Ref 'AWS::NoValue']]}}", source("a"), ALL),
    Case("If by And", one("!If [Both, y-, n-]"), source("y-"), ALL),
    Case("If by Or", one("!If [Either, y-, n-]"), source("y-"), ALL),
    Case("If not known", one("!If [Open, y-, n-]"), "parameter Need", ALL),
    Case("Or is decided by one", one("!If [Decided, y-, n-]"), source("y-"), ALL),
    Case("And is decided by one", one("!If [Refused, y-, n-]"), source("n-"), ALL),
    Case("If does not look at the other", one("!If [IsProd, !Ref Need, n-]"), source("n-"), ALL),
    Case("If by a condition named Yes", one("!If [Yes, y-, n-]"), source("y-"), "Conditions: {Yes: !Not [!Condition No], No: !Equals [a, b]}\n"),
    Case("Cidr", one("!Select [0, !Cidr [10.0.0.0/8, 1, 8]]"), "Fn::Cidr"),
    Case("GetAZs", one("!Select [0, !GetAZs '']"), "Fn::GetAZs"),
    Case("Transform", "{EventPattern: {'Fn::Transform': {Name: 'AWS::Include', Parameters: {Location: s3://x}}}}", "Fn::Transform"),
    Case("a loop in the pattern", "{EventPattern: {detail: {'Fn::ForEach::F': [X, !Ref L, {'k-${X}': ['&{X}']}]}}}", {"detail": {"k-one": ["one"], "k-two": ["two"], "k-three": ["three"]}}, ALL),
]  # fmt: skip


def known(kind: str, properties: str, function: str, value: str) -> Case:
    """A reference to a resource `X` whose name is written, or is not."""
    return Case(
        f"{kind} {function} {value}",
        one(function),
        source(value),
        resources=f"  X: {{Type: {kind}, Properties: {properties}}}\n",
    )


def generated(kind: str, function: str, properties: str = "{}") -> Case:
    return Case(
        f"{kind} {function} generated",
        one(function),
        f"({kind})",
        resources=f"  X: {{Type: {kind}, Properties: {properties}}}\n",
    )


NAMES = [
    known("AWS::S3::Bucket", "{BucketName: b}", "!Ref X", "b"),
    known("AWS::S3::Bucket", "{BucketName: b}", "!GetAtt X.Arn", "arn:aws:s3:::b"),
    known("AWS::S3::Bucket", "{BucketName: !Sub '${AWS::AccountId}-b'}", "!Ref X", f"{ACCOUNT}-b"),
    known("AWS::SQS::Queue", "{QueueName: q}", "!Ref X", f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/q"),
    known("AWS::SQS::Queue", "{QueueName: q}", "!GetAtt X.Arn", arn("sqs", "q")),
    known("AWS::SQS::Queue", "{QueueName: q}", "!GetAtt X.QueueName", "q"),
    known("AWS::SNS::Topic", "{TopicName: t}", "!Ref X", arn("sns", "t")),
    known("AWS::SNS::Topic", "{TopicName: t}", "!GetAtt X.TopicName", "t"),
    known("AWS::DynamoDB::Table", "{TableName: t}", "!Ref X", "t"),
    known("AWS::DynamoDB::Table", "{TableName: t}", "!GetAtt X.Arn", arn("dynamodb", "table/t")),
    known("AWS::Lambda::Function", "{FunctionName: f}", "!Ref X", "f"),
    known("AWS::Lambda::Function", "{FunctionName: f}", "!GetAtt [X, Arn]", arn("lambda", "function:f")),
    known("AWS::Serverless::Function", "{FunctionName: f}", "!GetAtt X.Arn", arn("lambda", "function:f")),
    known("AWS::StepFunctions::StateMachine", "{StateMachineName: m}", "!Ref X", arn("states", "stateMachine:m")),
    known("AWS::StepFunctions::StateMachine", "{StateMachineName: m}", "!GetAtt X.Name", "m"),
    known("AWS::Serverless::StateMachine", "{Name: m}", "!GetAtt X.Arn", arn("states", "stateMachine:m")),
    known("AWS::Events::EventBus", "{Name: b}", "!Ref X", "b"),
    known("AWS::Events::EventBus", "{Name: b}", "!GetAtt X.Arn", arn("events", "event-bus/b")),
    known("AWS::Events::Rule", "{Name: r, EventPattern: {source: [a]}}", "!Ref X", "r"),
    known("AWS::Events::Rule", "{Name: r, EventBusName: b, EventPattern: {source: [a]}}", "!Ref X", "b|r"),
    known("AWS::Events::Rule", "{Name: r, EventBusName: b, EventPattern: {source: [a]}}", "!GetAtt X.Arn", arn("events", "rule/b/r")),
    known("AWS::Logs::LogGroup", "{LogGroupName: /g}", "!Ref X", "/g"),
    known("AWS::Logs::LogGroup", "{LogGroupName: /g}", "!GetAtt X.Arn", arn("logs", "log-group:/g:*")),
    known("AWS::Kinesis::Stream", "{Name: s}", "!GetAtt X.Arn", arn("kinesis", "stream/s")),
    known("AWS::KinesisFirehose::DeliveryStream", "{DeliveryStreamName: s}", "!GetAtt X.Arn", arn("firehose", "deliverystream/s")),
    known("AWS::IAM::Role", "{RoleName: r}", "!GetAtt X.Arn", f"arn:aws:iam::{ACCOUNT}:role/r"),
    known("AWS::IAM::Role", "{RoleName: r, Path: /p/}", "!GetAtt X.Arn", f"arn:aws:iam::{ACCOUNT}:role/p/r"),
    known("AWS::IAM::ManagedPolicy", "{ManagedPolicyName: m}", "!Ref X", f"arn:aws:iam::{ACCOUNT}:policy/m"),
    known("AWS::ECR::Repository", "{RepositoryName: r}", "!Ref X", "r"),
    known("AWS::ECR::Repository", "{RepositoryName: r}", "!GetAtt X.Arn", arn("ecr", "repository/r")),
    known("AWS::ECS::Cluster", "{ClusterName: c}", "!GetAtt X.Arn", arn("ecs", "cluster/c")),
    known("AWS::CodePipeline::Pipeline", "{Name: p}", "!Ref X", "p"),
    known("AWS::CodeBuild::Project", "{Name: p}", "!Ref X", "p"),
    known("AWS::CodeCommit::Repository", "{RepositoryName: r}", "!GetAtt X.Arn", arn("codecommit", "r")),
    known("AWS::CodeCommit::Repository", "{RepositoryName: r}", "!GetAtt X.Name", "r"),
    known("AWS::CloudWatch::Alarm", "{AlarmName: a}", "!GetAtt X.Arn", arn("cloudwatch", "alarm:a")),
    known("AWS::Batch::JobQueue", "{JobQueueName: q}", "!Ref X", arn("batch", "job-queue/q")),
    known("AWS::Glue::Job", "{Name: j}", "!Ref X", "j"),
    known("AWS::Glue::Database", "{DatabaseInput: {Name: d}}", "!Ref X", "d"),
    known("AWS::RDS::DBInstance", "{DBInstanceIdentifier: MyDb}", "!Ref X", "mydb"),
    known("AWS::SSM::Parameter", "{Name: /p, Type: String, Value: v}", "!GetAtt X.Value", "v"),
    known("AWS::SSM::Parameter", "{Name: /p, Type: String, Value: v}", "!Ref X", "/p"),
    known("AWS::AutoScaling::AutoScalingGroup", "{AutoScalingGroupName: g}", "!Ref X", "g"),
    known("AWS::Backup::BackupVault", "{BackupVaultName: v}", "!Ref X", "v"),
    generated("AWS::S3::Bucket", "!Ref X"),
    generated("AWS::S3::Bucket", "!GetAtt X.Arn", "{BucketName: !Ref 'AWS::NoValue'}"),
    generated("AWS::SQS::Queue", "!GetAtt X.Arn"),
    generated("AWS::CodeCommit::Repository", "!Ref X", "{RepositoryName: r}"),
    generated("AWS::SecretsManager::Secret", "!Ref X", "{Name: s}"),
    generated("AWS::Events::Connection", "!GetAtt X.Arn", "{Name: c}"),
    generated("AWS::Events::ApiDestination", "!GetAtt X.Arn", "{Name: c}"),
    generated("AWS::ElasticLoadBalancingV2::LoadBalancer", "!Ref X", "{Name: c}"),
    generated("AWS::EC2::Instance", "!Ref X"),
    generated("Custom::Thing", "!GetAtt X.Name", "{Name: c}"),
]  # fmt: skip

EVERY = LITERAL + REFERENCES + FUNCTIONS + NAMES


def read(tmp_path: Path, text: str, given: dict[str, str] | None = None, name: str = "t.yaml") -> Loaded:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return load([str(path)], parameters=given)


def named(found: Loaded, name: str) -> Rule:
    (rule,) = (rule for rule in found.rules if rule.name == name)
    return rule


def pattern(rule: Rule) -> Any:
    assert rule.pattern is not None, rule.problem
    return json.loads(rule.pattern.text)


def test_there_are_many() -> None:
    """Each way is there once."""
    assert len({case.name for case in EVERY}) == len(EVERY) >= 120


@pytest.mark.parametrize("case", EVERY, ids=[case.name for case in EVERY])
def test_a_rule_is_read_right_or_named(tmp_path: Path, case: Case) -> None:
    """The pattern as CloudFormation would deploy it; or none, and the reason in words, at its place."""
    properties = case.properties if case.properties.startswith("{") else f"\n      {case.properties}"
    text = f"{case.beside}Resources:\n{case.resources}  R:\n    Type: AWS::Events::Rule\n    Properties: {properties}\n"
    found = read(tmp_path, text, case.given)
    rule = named(found, "R")
    if isinstance(case.right, str):
        assert case.right in rule.inactive_reason()
        assert {problem.severity for problem in found.problems} == {"error"}
        assert case.right in found.problems[0].message
        assert found.problems[0].origin.startswith(f"{tmp_path}/t.yaml:")
    else:
        assert pattern(rule) == case.right
        assert (rule.inactive_reason(), found.problems) == ("", ())


# what is known, beside the pattern

KEPT = [
    ("Name: !Ref Need", "R", "default", "its name is not known offline (parameter Need"),
    ("Name: !Sub '${AWS::StackName}-r'", "t-r", "default", "AWS::StackName is taken to be t, the file's name"),
    ("Name: !ImportValue n", "R", "default", "its name is not known offline (Fn::ImportValue"),
    ("Name: '{{resolve:ssm:/n}}'", "R", "default", "its name is not known offline ({{resolve:ssm:/n}})"),
    ("Name: !Sub 'x-${Need}'", "R", "default", "its name is not known offline"),
    ("EventBusName: !Ref Need", "R", "${Need}", "its bus is not known offline (parameter Need"),
    ("EventBusName: !Sub '${P}-${Need}'", "R", "pp-${Need}", "its bus is not known offline"),
    ("EventBusName: !ImportValue b", "R", "${b}", "its bus is not known offline (Fn::ImportValue"),
    ("EventBusName: '{{resolve:ssm:/b}}'", "R", "${ssm:/b}", "its bus is not known offline"),
    ("EventBusName: !GetAtt Nested.Outputs.Bus", "R", "${Nested.Outputs.Bus}", "its bus is not known offline"),
    ("State: !Ref Need", "R", "default", "its state is not known offline (parameter Need"),
    ("State: !If [Open, ENABLED, DISABLED]", "R", "default", "its state is not known offline"),
]


@pytest.mark.parametrize(("line", "name", "bus", "note"), KEPT, ids=[one[0] for one in KEPT])
def test_a_known_pattern_is_kept(tmp_path: Path, line: str, name: str, bus: str, note: str) -> None:
    """Where only the name, bus or state is not known the rule selects, and a note says what is taken instead."""
    stack = "  Nested: {Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: https://x/y}}\n"
    text = f"{ALL}Resources:\n{stack}  R:\n    Type: AWS::Events::Rule\n    Properties:\n      {line}\n"
    found = read(tmp_path, text + "      EventPattern: {source: [udp.raw]}\n")
    rule = named(found, name)
    assert pattern(rule) == source("udp.raw")
    assert (rule.bus, rule.state) == (bus, "ENABLED")
    assert rule.inactive_reason() == rule.inactive_reason("default") == ""
    assert rule.inactive_reason("other") == ("on another bus: default" if bus == "default" else "")
    assert not found.problems
    assert any(note in one.message for one in found.notes)


def test_a_bus_of_an_account_that_is_not_known(tmp_path: Path) -> None:
    """Its name is known, and decides."""
    bus = "!Sub 'arn:aws:events:${AWS::Region}:${Need}:event-bus/b'"
    text = f"{ALL}Resources:\n  R: {{Type: AWS::Events::Rule, Properties: {{EventBusName: {bus}, EventPattern: {{source: [a]}}}}}}\n"
    (rule,) = read(tmp_path, text).rules
    assert rule.bus == f"arn:aws:events:{REGION}:${{Need}}:event-bus/b"
    assert (rule.bus_known, rule.inactive_reason("b"), rule.inactive_reason("c")) == (True, "", "on another bus: b")


def test_a_pattern_that_is_not_known_leaves_what_is(tmp_path: Path) -> None:
    """Name, bus and schedule are told even so."""
    text = "Resources:\n  R:\n    Type: AWS::Events::Rule\n    Properties: {Name: n, EventBusName: b, State: DISABLED, "
    (rule,) = read(tmp_path, text + "EventPattern: {source: [!ImportValue s]}}\n").rules
    assert (rule.name, rule.bus, rule.state, rule.pattern) == ("n", "b", "DISABLED", None)


def test_a_schedule_that_is_not_known_is_shown(tmp_path: Path) -> None:
    """It is a schedule all the same: nothing to select, and no problem."""
    text = (
        "Parameters: {S: {Type: String}}\nResources:\n  R: {Type: AWS::Events::Rule, Properties: {ScheduleExpression: "
    )
    found = read(tmp_path, text + "!Sub 'rate(${S})'}}\n")
    assert found.rules[0].data()["ScheduleExpression"] == "rate(${S})"
    assert found.rules[0].inactive_reason() == "runs on a schedule"
    assert not found.problems


def test_a_condition_decides_whether_there_is_a_rule(tmp_path: Path) -> None:
    """One that does not hold leaves the rule out; one that is not known is noted, and the rule kept."""
    resources = "".join(
        f"  {name}: {{Type: AWS::Events::Rule, Condition: {name}, Properties: {{EventPattern: {{source: [{name}]}}}}}}\n"
        for name in ("IsDev", "IsProd", "Open")
    )
    found = read(tmp_path, f"{ALL}Resources:\n{resources}")
    assert [rule.name for rule in found.rules] == ["IsDev", "Open"]
    assert not found.problems
    assert "whether it is deployed is not known offline (parameter Need" in found.notes[0].message


def test_targets_bear_their_logical_ids(tmp_path: Path) -> None:
    """What is made on deployment is told by its logical id; what is written is known."""
    text = """Parameters: {Need: {Type: String}}
Resources:
  Fn: {Type: AWS::Lambda::Function}
  Queue: {Type: AWS::SQS::Queue, Properties: {QueueName: q}}
  Pipeline: {Type: AWS::CodePipeline::Pipeline}
  R:
    Type: AWS::Events::Rule
    Properties:
      EventPattern: {source: [a]}
      Targets:
        - {Id: !Ref Fn, Arn: !GetAtt Fn.Arn}
        - {Id: !GetAtt Queue.QueueName, Arn: !GetAtt Queue.Arn, InputPath: $.detail}
        - {Id: !Sub '${Fn}-t', Arn: !Sub 'arn:aws:codepipeline:${AWS::Region}:${AWS::AccountId}:${Pipeline}'}
        - {Id: !Ref Need, Arn: !ImportValue a, Input: !Sub '{"x": "${Need}"}'}
        - !Ref AWS::NoValue
"""
    found = read(tmp_path, text)
    assert not found.problems
    assert found.rules[0].data()["Targets"] == [
        {"Id": "Fn", "Arn": "${Fn.Arn}"},
        {"Id": "q", "Arn": arn("sqs", "q")},
        {"Id": "${Fn}-t", "Arn": arn("codepipeline", "${Pipeline}")},
        {"Id": "Need", "Arn": "${a}"},
    ]
    problems = [target.problem for target in found.rules[0].targets]
    assert problems[:3] == ["", "", ""]
    assert "parameter Need" in problems[3]


def test_sam_events(tmp_path: Path) -> None:
    """SAM's own names: of rules by logical ids, of targets by the suffix of what they call."""
    text = """Transform: AWS::Serverless-2016-10-31
Globals: {Function: {Timeout: 3}}
Parameters: {Rate: {Type: String, Default: rate(1 day)}}
Resources:
  Bus: {Type: AWS::Events::EventBus, Properties: {Name: !Sub '${AWS::StackName}-bus'}}
  F:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: fn
      Events:
        A: {Type: EventBridgeRule, Properties: {EventBusName: !Ref Bus, Pattern: {source: [a]}, RuleName: named}}
        B: {Type: CloudWatchEvent, Properties: {Pattern: {source: [b]}, Enabled: false, Target: {Id: own}}}
        C: {Type: Schedule, Properties: {Schedule: !Ref Rate}}
        D: {Type: EventBridgeRule, Properties: {Description: neither}}
        E: {Type: Api, Properties: {Path: /, Method: get}}
        G: {Type: ScheduleV2, Properties: {ScheduleExpression: rate(1 day)}}
  M:
    Type: AWS::Serverless::StateMachine
    Properties: {Events: {A: {Type: EventBridgeRule, Properties: {Pattern: {source: [m]}, State: DISABLED}}}}
"""
    found = read(tmp_path, text)
    told = {rule.name: rule for rule in found.rules}
    assert list(told) == ["named", "FB", "FC", "FD", "MA"]
    assert (told["named"].bus, pattern(told["named"])) == ("t-bus", source("a"))
    assert [(one.id, one.arn) for one in told["named"].targets] == [("FALambdaTarget", arn("lambda", "function:fn"))]
    assert (told["FB"].state, told["FB"].targets[0].id) == ("DISABLED", "own")
    assert told["FC"].schedule == "rate(1 day)"
    assert "neither Pattern nor Schedule" in told["FD"].inactive_reason()
    assert (told["MA"].state, told["MA"].targets[0].id) == ("DISABLED", "MAStepFunctionsTarget")
    assert told["MA"].targets[0].arn == "${M.Arn}"


def test_loops(tmp_path: Path) -> None:
    """Resources of Fn::ForEach, one inside another, with identifiers in keys, texts and references."""
    text = """Transform: AWS::LanguageExtensions
Parameters: {Names: {Type: CommaDelimitedList, Default: 'a.1,b'}}
Resources:
  Fn::ForEach::Outer:
    - N
    - !Ref Names
    - B&{N}: {Type: AWS::S3::Bucket, Properties: {BucketName: !Sub 'b-${N}'}}
      Fn::ForEach::Inner:
        - K
        - [x, y]
        - R&{N}${K}:
            Type: AWS::Events::Rule
            Properties: {Name: !Join ['-', [!Ref N, !Ref K]], EventPattern: {source: ['${N}-${K}'], b: [!Ref 'B&{N}']}}
  Fn::ForEach::Open: [Z, !Ref Unknown, {'Q${Z}': {Type: AWS::Events::Rule}}]
"""
    found = read(tmp_path, text)
    assert {rule.name: pattern(rule) for rule in found.rules} == {
        f"{n}-{k}": {"source": [f"{n}-{k}"], "b": [f"b-{n}"]} for n in ("a.1", "b") for k in ("x", "y")
    }
    assert [one.message for one in found.problems] == [
        "not known offline: Unknown, which the template does not declare"
    ]


def test_macros_and_modules_are_noted(tmp_path: Path) -> None:
    """What others make of a template is not known, and said."""
    text = """Transform: [AWS::Serverless-2016-10-31, Mine]
Resources:
  M: {Type: Org::Service::Use::MODULE}
  R: {Type: AWS::Events::Rule, Properties: {EventPattern: {source: [a]}}}
  Fn::Transform: {Name: Other}
"""
    found = read(tmp_path, text)
    assert len(found.rules) == 1
    assert [one.message for one in found.notes] == [
        "what the macro Mine changes is not known offline",
        "rules in the module Org::Service::Use::MODULE are not known offline",
    ]
    assert [one.message for one in found.problems] == ["resources that a macro makes are not known offline"]


# nested stacks

CHILD = """Parameters: {Bus: {Type: String, Default: wrong}, Src: {Type: String, Default: wrong}, Many: {Type: CommaDelimitedList}}
Resources:
  B: {Type: AWS::Events::EventBus, Properties: {Name: !Ref Bus}}
  C: {Type: AWS::Events::Rule, Properties: {Name: !Sub '${AWS::StackName}-c', EventBusName: !Ref B, EventPattern: {source: [!Ref Src], many: !Ref Many}}}
Outputs: {Name: {Value: !Ref B}, Other: {Value: !ImportValue x}}
"""


def test_nested_stacks(tmp_path: Path) -> None:
    """A nested template that is a file is read with the values that it is given, and gives its outputs."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "child.yaml").write_text(CHILD)
    text = """Parameters: {Need: {Type: String}}
Resources:
  N: {Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: ./sub/child.yaml, Parameters: {Bus: bus, Src: s, Many: [1, b]}}}
  O: {Type: AWS::Serverless::Application, Properties: {Location: sub/child.yaml, Parameters: {Bus: two, Src: !Ref Need, Many: ''}}}
  P: {Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: https://s3.amazonaws.com/b/k}}
  Q: {Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: t.yaml}}
  R: {Type: AWS::Events::Rule, Properties: {EventBusName: !GetAtt N.Outputs.Name, EventPattern: {source: [r]}}}
  S: {Type: AWS::Events::Rule, Properties: {EventPattern: {source: [!GetAtt N.Outputs.Other]}}}
"""
    found = read(tmp_path, text)
    rules = list(found.rules)
    assert [(rule.name, rule.bus) for rule in rules] == [("C", "bus"), ("C", "two"), ("R", "bus"), ("S", "default")]
    assert pattern(rules[0]) == {"source": ["s"], "many": ["1", "b"]}
    assert "parameter Need has no default" in rules[1].inactive_reason()
    assert pattern(rules[2]) == source("r")
    assert 'Fn::ImportValue "x"' in rules[3].inactive_reason()
    assert rules[0].origin == f"{tmp_path}/sub/child.yaml:4"
    said = [one.message for one in found.notes]
    assert "the rules of a nested stack are not read: its template is at https://s3.amazonaws.com/b/k" in said
    assert "the rules of a nested stack are not read: it is nested in itself, or too deep" in said


def test_a_nested_template_of_a_folder_is_read_once(tmp_path: Path) -> None:
    """Where its parent is: not again by itself, with other values."""
    (tmp_path / "a-child.yaml").write_text(CHILD)
    (tmp_path / "parent.yaml").write_text(
        "Resources: {N: {Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: a-child.yaml, "
        "Parameters: {Bus: bus, Src: s, Many: x}}}}"
    )
    found = load([str(tmp_path)])
    assert [pattern(rule) for rule in found.rules] == [{"source": ["s"], "many": ["x"]}]
    assert (f"{tmp_path}/a-child.yaml", "read as a part of the file that names it") in [
        (one.origin, one.message) for one in found.notes
    ]
