"""What says how a stack is deployed: cloud assemblies, samconfig.toml, parameter files; and Terraform's own files."""

# ruff: noqa: E501  (states and manifests are easier to read in long lines)
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pcapeda.errors import BadConfig, BadRule
from pcapeda.rules.rule import Rule
from pcapeda.rules.sources.assembly import read_parameters
from pcapeda.rules.sources.load import Loaded, load
from tests.command import pcapeda


def pattern(rule: Rule) -> Any:
    assert rule.pattern is not None, rule.problem
    return json.loads(rule.pattern.text)


def template(source: str, **resources: Any) -> dict[str, Any]:
    properties = {
        "Name": {"Fn::Sub": "${AWS::StackName}-r"},
        "EventPattern": {
            "source": [source],
            "account": [{"Ref": "AWS::AccountId"}],
            "region": [{"Ref": "AWS::Region"}],
        },
    }
    return {"Resources": {"R": {"Type": "AWS::Events::Rule", "Properties": properties}, **resources}}


# the CDK


@pytest.fixture
def assembly(tmp_path: Path) -> Path:
    """A cloud assembly with a stack for an account, one for any, a nested stack and a stage."""
    out = tmp_path / "cdk.out"
    stage = out / "assembly-Prod"
    stage.mkdir(parents=True)

    def stack(file: str, environment: str, name: str | None = None) -> dict[str, Any]:
        properties = {"templateFile": file} | ({"stackName": name} if name else {})
        return {"type": "aws:cloudformation:stack", "environment": environment, "properties": properties}

    artifacts = {
        "One.assets": {"type": "cdk:asset-manifest", "properties": {"file": "One.assets.json"}},
        "One": stack("One.template.json", "aws://111122223333/eu-west-1", "the-one"),
        "Any": stack("Any.template.json", "aws://unknown-account/unknown-region"),
        "assembly-Prod": {"type": "cdk:cloud-assembly", "properties": {"directoryName": "assembly-Prod"}},
        "Tree": {"type": "cdk:tree", "properties": {"file": "tree.json"}},
    }
    (out / "manifest.json").write_text(json.dumps({"version": "36.0.0", "artifacts": artifacts}))
    inner = {"Prod-Two": stack("ProdTwo.template.json", "aws://444455556666/us-east-2", "prod-two")}
    (stage / "manifest.json").write_text(json.dumps({"version": "36.0.0", "artifacts": inner}))
    nested = {
        "Type": "AWS::CloudFormation::Stack",
        "Properties": {"TemplateURL": {"Fn::Join": ["", ["https://s3.", {"Ref": "AWS::URLSuffix"}, "/x"]]}},
        "Metadata": {"aws:asset:path": "OneNested.nested.template.json"},
    }
    (out / "One.template.json").write_text(json.dumps(template("one", Nested=nested)))
    (out / "OneNested.nested.template.json").write_text(json.dumps(template("nested")))
    (out / "Any.template.json").write_text(json.dumps(template("any")))
    (stage / "ProdTwo.template.json").write_text(json.dumps(template("two")))
    (out / "One.assets.json").write_text('{"version": "36.0.0", "files": {}}')
    (out / "tree.json").write_text('{"version": "tree-0.1", "tree": {"id": "App"}}')
    return out


EXPECTED = {
    "the-one-r": {"source": ["one"], "account": ["111122223333"], "region": ["eu-west-1"]},
    "R": {"source": ["nested"], "account": ["111122223333"], "region": ["eu-west-1"]},
    "Any-r": {"source": ["any"], "account": ["123456789012"], "region": ["us-east-1"]},
    "prod-two-r": {"source": ["two"], "account": ["444455556666"], "region": ["us-east-2"]},
}


@pytest.mark.parametrize("given", [".", "manifest.json", ".."])
def test_a_cloud_assembly(assembly: Path, given: str) -> None:
    """The folder, its manifest, or a folder above it: each stack with its own account, Region and name, once."""
    found = load([str((assembly / given).resolve())])
    assert {rule.name: pattern(rule) for rule in found.rules} == EXPECTED
    assert len(found.rules) == len(EXPECTED)
    assert not found.problems


def test_a_template_of_an_assembly(assembly: Path) -> None:
    """A template alone is known by the manifest beside it; what a person gives wins."""
    found = load([str(assembly / "One.template.json")])
    assert {rule.name: pattern(rule) for rule in found.rules} == {name: EXPECTED[name] for name in ("the-one-r", "R")}
    found = load([str(assembly / "One.template.json")], region="ap-south-1")
    assert pattern(found.rules[0])["region"] == ["ap-south-1"]
    assert not any("AWS::StackName is taken" in one.message for one in found.notes)


def test_a_manifest_does_not_lead_out_of_its_folder(tmp_path: Path) -> None:
    """Names with `..` and absolute ones are not followed; another manifest.json is no assembly."""
    (tmp_path / "secret.json").write_text(json.dumps(template("secret")))
    out = tmp_path / "out"
    out.mkdir()
    for place in ("../secret.json", str(tmp_path / "secret.json")):
        stack = {"type": "aws:cloudformation:stack", "properties": {"templateFile": place}}
        (out / "manifest.json").write_text(json.dumps({"version": "1", "artifacts": {"S": stack}}))
        for source in (out, out / "manifest.json"):
            with pytest.raises(BadRule):
                load([str(source)])
    (out / "manifest.json").write_text('{"name": "a web page"}')
    (out / "rule.json").write_text('{"source": ["x"]}')
    assert [rule.name for rule in load([str(out)]).rules] == ["rule"]


# parameters

PARAMETERS = {
    "aws.json": '[{"ParameterKey": "A", "ParameterValue": "1"}, {"ParameterKey": "B", "ParameterValue": "x,y"}, {"ParameterKey": "C", "UsePreviousValue": true}]',
    "pipeline.json": '{"Parameters": {"A": "1", "B": ["x", "y"]}, "StackPolicy": {}}',
    "plain.yaml": "A: 1\nB: [x, y]\n",
    "overrides.json": '["A=1", "B=x,y"]',
    "samconfig.toml": 'version = 0.1\n[default.deploy.parameters]\nparameter_overrides = "A=\\"1\\" B=x,y"\n',
    "long.toml": '[default.global.parameters]\nparameter_overrides = ["ParameterKey=A,ParameterValue=1", "ParameterKey=B,ParameterValue=x,y"]\n',
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_files(tmp_path: Path, name: str) -> None:
    """Every form that tools of deployment take."""
    (tmp_path / name).write_text(PARAMETERS[name])
    assert read_parameters(str(tmp_path / name)) == {"A": "1", "B": "x,y"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.json", "[]", "no parameters in it"),
        ("p.json", "[1, 2]", "no parameters in it"),
        ("p.json", '{"resource": {}, "x": null}', "no parameters in it"),
        ("p.json", "{", "not readable as JSON"),
        ("p.toml", "a = [", "p.toml"),
        ("p.toml", None, "No such file"),
        ("p.json", None, "No such file"),
    ],
)
def test_parameter_files_that_are_none(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    """One clear line with the file's name."""
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(BadConfig, match=message) as caught:
        read_parameters(str(tmp_path / name))
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


TEMPLATE = """Parameters: {A: {Type: String}, B: {Type: CommaDelimitedList}}
Resources:
  R:
    Type: AWS::Events::Rule
    Properties:
      Name: !Sub '${AWS::StackName}-r'
      EventPattern: {source: [!Ref A, !ImportValue i], detail: {b: !Ref B, s: ['{{resolve:ssm:/s}}'], r: [!Ref 'AWS::Region']}}
"""


def test_values_on_the_command_line(tmp_path: Path) -> None:
    """Files, imports and SSM paths are given by the option that gives parameters; a value wins over a file."""
    (tmp_path / "t.yaml").write_text(TEMPLATE)
    (tmp_path / "p.json").write_text(PARAMETERS["aws.json"])
    options = [f"@{tmp_path}/p.json", "import:i=imported", "ssm:/s=found", "A=2"]
    arguments = [part for one in options for part in ("--parameter", one)]
    done = pcapeda("rules", "list", str(tmp_path / "t.yaml"), "-o", "json", "--region", "eu-north-1", *arguments)
    assert done.returncode == 0, done.stderr
    (rule,) = json.loads(done.stdout)
    assert rule["Name"] == "t-r"
    assert json.loads(rule["EventPattern"]) == {
        "source": ["2", "imported"],
        "detail": {"b": ["x", "y"], "s": ["found"], "r": ["eu-north-1"]},
    }
    done = pcapeda("rules", "list", str(tmp_path / "t.yaml"), "--parameter", "nonsense")
    assert (done.returncode, done.stderr.decode().count("NAME=VALUE, or @FILE")) == (2, 1)


def test_samconfig_beside_a_template(tmp_path: Path) -> None:
    """It is what `sam deploy` would use: parameters, Region and stack name, with a note; of its own template alone."""
    (tmp_path / "template.yaml").write_text(
        TEMPLATE.replace(", !ImportValue i", "").replace(", s: ['{{resolve:ssm:/s}}']", "")
    )
    (tmp_path / "samconfig.toml").write_text(
        'version = 0.1\n[default.deploy.parameters]\nstack_name = "my-app"\nregion = "eu-west-3"\nparameter_overrides = "A=sam B=1"\n'
    )
    found = load([str(tmp_path / "template.yaml")])
    assert found.rules[0].name == "my-app-r"
    assert pattern(found.rules[0]) == {"source": ["sam"], "detail": {"b": ["1"], "r": ["eu-west-3"]}}
    assert any("samconfig.toml" in one.message for one in found.notes)
    found = load([str(tmp_path / "template.yaml")], parameters={"A": "given"}, region="us-west-2")
    assert pattern(found.rules[0]) == {"source": ["given"], "detail": {"b": ["1"], "r": ["us-west-2"]}}
    (tmp_path / "template.yaml").rename(tmp_path / "other.yaml")
    assert "parameter A has no default" in load([str(tmp_path / "other.yaml")]).rules[0].inactive_reason()
    (tmp_path / "other.yaml").rename(tmp_path / "template.yaml")
    (tmp_path / "samconfig.toml").write_text("[[[")
    assert any("left out" in one.message for one in load([str(tmp_path / "template.yaml")]).notes)


# Terraform


def test_hcl_is_told_what_to_do(tmp_path: Path) -> None:
    """A file or folder of HCL alone: how to get JSON; HCL beside rules is noted."""
    (tmp_path / "main.tf").write_text('resource "aws_cloudwatch_event_rule" "r" {}\n')
    for source in (tmp_path / "main.tf", tmp_path):
        done = pcapeda("rules", "list", str(source))
        assert done.returncode == 2
        assert b"HCL is not read" in done.stderr
        assert b"terraform plan -out p; terraform show -json p > plan.json" in done.stderr
    (tmp_path / "rule.json").write_text('{"source": ["x"]}')
    found = load([str(tmp_path)])
    assert len(found.rules) == 1
    assert "1 files of HCL" in found.notes[0].message


def state(*resources: dict[str, Any], **other: Any) -> str:
    return json.dumps(
        {"version": 4, "terraform_version": "1.9.0", "serial": 1, "outputs": {}, "resources": list(resources)} | other
    )


def resource(kind: str, name: str, *instances: dict[str, Any], **other: Any) -> dict[str, Any]:
    return {"mode": "managed", "type": kind, "name": name, "instances": list(instances)} | other


def read(tmp_path: Path, text: str, name: str) -> Loaded:
    (tmp_path / name).write_text(text)
    return load([str(tmp_path / name)])


def test_a_raw_state(tmp_path: Path) -> None:
    """Format version 4, as it is on disk: instances with their keys, modules, buses, targets."""

    def rule(name: str | None, source: str, **other: Any) -> dict[str, Any]:
        return {
            "attributes": {"name": name, "event_pattern": json.dumps({"source": [source]}), "event_bus_name": "default"}
            | other
        }

    found = read(
        tmp_path,
        state(
            resource("aws_cloudwatch_event_rule", "r", rule("r", "a", state="DISABLED", arn="arn:r")),
            resource(
                "aws_cloudwatch_event_rule",
                "m",
                rule("m-x", "x") | {"index_key": "x"},
                rule(None, "y") | {"index_key": 1},
                module='module.a["k"]',
            ),
            resource(
                "aws_cloudwatch_event_rule",
                "s",
                {
                    "attributes": {
                        "name": "s",
                        "schedule_expression": "rate(1 day)",
                        "event_pattern": None,
                        "is_enabled": False,
                    }
                },
            ),
            resource("aws_cloudwatch_event_rule", "n", {"attributes": {"name": "n"}}),
            resource("aws_cloudwatch_event_rule", "d", rule("d", "d"), mode="data"),
            resource(
                "aws_cloudwatch_event_target",
                "t",
                {
                    "attributes": {
                        "rule": "r",
                        "arn": "arn:t",
                        "target_id": "tid",
                        "event_bus_name": "default",
                        "input_path": "$.detail",
                    }
                },
            ),
            resource("aws_cloudwatch_event_target", "o", {"attributes": {"rule": "none", "arn": "arn:t"}}),
        ),
        "terraform.tfstate",
    )
    told = {rule.name: rule for rule in found.rules}
    assert list(told) == ["r", "m-x", 'module.a["k"].aws_cloudwatch_event_rule.m[1]', "s", "n"]
    assert (pattern(told["r"]), told["r"].state, told["r"].arn) == ({"source": ["a"]}, "DISABLED", "arn:r")
    assert [(one.id, one.arn, one.input_path) for one in told["r"].targets] == [("tid", "arn:t", "$.detail")]
    assert (told["s"].schedule, told["s"].state) == ("rate(1 day)", "DISABLED")
    assert [one.message for one in found.problems] == [
        "the rule of this target is not known",
        "it has neither event_pattern nor schedule_expression: EventBridge refuses it",
    ]


def test_a_state_of_another_version(tmp_path: Path) -> None:
    """One that is not read is told apart from patterns, with what to do."""
    with pytest.raises(BadRule, match="format version 3") as caught:
        read(tmp_path, '{"version": 3, "terraform_version": "0.11.0", "modules": []}', "terraform.tfstate")
    assert "terraform show -json" in (caught.value.hint or "")


def test_what_a_plan_does_not_know(tmp_path: Path) -> None:
    """By its changes: what is only known after it is applied is named; what is not written at all is told apart."""
    address = "aws_cloudwatch_event_rule."
    values: dict[str, dict[str, Any]] = {
        "a": {"name": "a"},
        "b": {"name": "b"},
        "c": {"event_pattern": '{"source":["c"]}'},
        "d": {"name": "d", "event_pattern": '{"source":["d"]}'},
    }
    later = {
        "a": {"event_pattern": True, "arn": True},
        "b": {"arn": True},
        "c": {"name": True},
        "d": {"event_bus_name": True, "state": True},
    }
    plan = {
        "format_version": "1.2",
        "planned_values": {
            "root_module": {
                "resources": [
                    {"address": address + key, "mode": "managed", "type": address[:-1], "values": held}
                    for key, held in values.items()
                ]
            }
        },
        "resource_changes": [
            {"address": address + key, "change": {"after_unknown": held}} for key, held in later.items()
        ],
    }
    found = read(tmp_path, json.dumps(plan), "plan.json")
    told = {rule.name: rule for rule in found.rules}
    assert told["a"].inactive_reason() == "event_pattern is only known after the plan is applied"
    assert "neither event_pattern nor schedule_expression" in told["b"].inactive_reason()
    assert pattern(told[address + "c"]) == {"source": ["c"]}
    assert (pattern(told["d"]), told["d"].bus_known, told["d"].state) == ({"source": ["d"]}, False, "ENABLED")
    assert len(found.problems) == 2
    said = [one.message for one in found.notes]
    for what in ("name", "event_bus_name", "state"):
        assert any(one.startswith(f"{what} is only known after the plan is applied") for one in said)


def module(**rules: Any) -> str:
    return json.dumps(
        {
            "variable": {"stage": {"default": "dev"}, "need": {}, "obj": {"default": {"k": "v"}}},
            "locals": {"src": ["a", "${var.stage}"], "loop": "${local.loop}"},
            "data": {"aws_caller_identity": {"me": {}}, "aws_region": {"here": {}}},
            "module": {"other": {"source": "./x"}},
            "resource": {
                "aws_s3_bucket": {"b": {"bucket": "bk-${var.stage}"}, "g": {}},
                "aws_cloudwatch_event_bus": {"bus": {"name": "bus-${var.stage}"}},
                "aws_cloudwatch_event_rule": rules,
            },
        }
    )


@pytest.mark.parametrize(
    ("written", "right"),
    [
        ('{"source":["x"]}', {"source": ["x"]}),
        ("${jsonencode({source = local.src})}", {"source": ["a", "dev"]}),
        ('${jsonencode({"source" : ["x"], "detail-type" = ["t"],})}', {"source": ["x"], "detail-type": ["t"]}),
        ("${jsonencode({source=[\"p-${var.stage}\"], detail={n=[1, -2.5, true, null]}})}", {"source": ["p-dev"], "detail": {"n": [1, -2.5, True, None]}}),
        ('{"source":["${var.stage}", "$${x}"]}', {"source": ["dev", "${x}"]}),
        ("${jsonencode({source=[aws_s3_bucket.b.bucket, aws_cloudwatch_event_bus.bus.name]})}", {"source": ["bk-dev", "bus-dev"]}),
        ("${jsonencode({account=[data.aws_caller_identity.me.account_id], region=[data.aws_region.here.name]})}", {"account": ["123456789012"], "region": ["us-east-1"]}),
        ("${jsonencode(var.stage == \"dev\" ? {source=[\"d\"]} : {source=[var.need]})}", {"source": ["d"]}),
        ("${jsonencode({source=[var.obj.k, var.obj[\"k\"], local.src[1]]})}", {"source": ["v", "v", "dev"]}),
        ("${jsonencode(merge({source=concat([\"a\"], [\"b\"])}, {detail-type=[join(\"-\", local.src)]}))}", {"source": ["a", "b"], "detail-type": ["a-dev"]}),
        ("${jsonencode({source=[format(\"%s-%d%%\", var.stage, 3), upper(\"a\"), replace(\"a.b\", \".\", \"-\")]})}", {"source": ["dev-3%", "A", "a-b"]}),
        ("${jsonencode({source=[true && !false ? \"y\" : \"n\"]}) /* said */}", {"source": ["y"]}),
        ("${jsonencode({source=[\"\\u00e9\\n\"]})}", {"source": ["é\n"]}),
        ("${jsonencode({source=[var.need]})}", "var.need (give it as a parameter)"),
        ("${jsonencode({source=[local.loop]})}", "nested too deep, or defined by itself"),
        ("${jsonencode({source=[aws_s3_bucket.b.arn]})}", "aws_s3_bucket.b.arn"),
        ("${jsonencode({source=[aws_s3_bucket.g.bucket]})}", "aws_s3_bucket.g.bucket"),
        ("${jsonencode({source=[module.other.x]})}", "module.other.x"),
        ("${jsonencode({source=[for x in local.src : x]})}", "a for expression"),
        ("${templatefile(\"x\", {})}", "templatefile()"),
        ("${jsonencode({source=[1 + 2]})}", "arithmetic"),
        ("${jsonencode({source=[\"a\"", "the expression"),
        ("%{ if true }x%{ endif }", "a directive"),
    ],
)  # fmt: skip
def test_expressions_of_tf_json(tmp_path: Path, written: str, right: Any) -> None:
    """What can be known of a pattern in Terraform's JSON is; what cannot is named by what it depends on."""
    (rule,) = (found := read(tmp_path, module(r={"name": "r", "event_pattern": written}), "main.tf.json")).rules
    if isinstance(right, str):
        assert rule.inactive_reason().startswith("event_pattern is not known offline: ")
        assert right in rule.inactive_reason()
        assert len(found.problems) == 1
    else:
        assert pattern(rule) == right
        assert not found.problems


def test_rules_of_tf_json(tmp_path: Path) -> None:
    """Buses, states, schedules, instances and targets, over the files of a folder."""
    (tmp_path / "targets.tf.json").write_text(
        json.dumps(
            {
                "resource": {
                    "aws_cloudwatch_event_target": {
                        "t": {
                            "rule": "${aws_cloudwatch_event_rule.r.name}",
                            "arn": "${aws_lambda_function.f.arn}",
                            "target_id": "tid",
                        },
                        "m": {
                            "for_each": '${toset(["x", "y"])}',
                            "rule": "${aws_cloudwatch_event_rule.m[each.key].name}",
                            "arn": "arn:${each.key}",
                        },
                        "i": {
                            "rule": "${aws_cloudwatch_event_rule.nameless.name}",
                            "arn": "arn:i",
                            "input_transformer": {"input_paths": {"a": "$.b"}, "input_template": "<a>"},
                        },
                    }
                }
            }
        )
    )
    found = read(
        tmp_path,
        module(
            r={
                "name": "r",
                "event_pattern": '{"source":["r"]}',
                "event_bus_name": "${aws_cloudwatch_event_bus.bus.name}",
                "state": "DISABLED",
            },
            m={
                "for_each": '${toset(["x", "y"])}',
                "name": "m-${each.value}",
                "event_pattern": "${jsonencode({source=[each.key]})}",
            },
            c={"count": 2, "name": "c-${count.index}", "event_pattern": '{"source":["c"]}'},
            nameless={"event_pattern": '{"source":["n"]}', "event_bus_name": "${var.need}"},
            s={"name": "s", "schedule_expression": "${var.need}"},
            none={"name": "none"},
        ),
        "main.tf.json",
    )
    address = "aws_cloudwatch_event_rule."
    assert [(rule.name, rule.bus, rule.state) for rule in found.rules] == [
        ("r", "bus-dev", "DISABLED"),
        ("m-x", "default", "ENABLED"),
        ("m-y", "default", "ENABLED"),
        ("c-0", "default", "ENABLED"),
        ("c-1", "default", "ENABLED"),
        (address + "nameless", f"${{{address}nameless.event_bus_name}}", "ENABLED"),
        ("s", "default", "ENABLED"),
        ("none", "default", "ENABLED"),
    ]
    told = {rule.name: rule for rule in found.rules}
    assert [(one.id, one.arn) for one in told["r"].targets] == [("tid", "${aws_lambda_function.f.arn}")]
    assert [one.arn for one in told["m-x"].targets] == ["arn:x"]
    assert told[address + "nameless"].targets[0].transformer is not None
    assert told["s"].inactive_reason() == "runs on a schedule"
    assert [one.rule for one in found.problems] == ["none"]
    assert any("the rules of modules are not read" in one.message for one in found.notes)
    assert len(load([str(tmp_path)]).rules) == len(found.rules)


# what others write is no instruction


@pytest.mark.parametrize("where", ["a\\0b", "/dev/zero", "../../../../dev/stdin", "fifo", ".", "x" * 5000, "loop"])
def test_files_that_are_named_in_files(tmp_path: Path, where: str) -> None:
    """Names that lead to devices, pipes, folders or nowhere are told, whoever wrote them, and nothing waits for them."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    stack = f'{{"Type": "AWS::CloudFormation::Stack", "Properties": {{"TemplateURL": "{where}"}}}}'
    rule = '{"Type": "AWS::Events::Rule", "Properties": {"EventPattern": {"source": ["a"]}}}'
    found = read(tmp_path, f'{{"Resources": {{"N": {stack}, "R": {rule}}}}}'.replace("\\0", "\\u0000"), "t.json")
    assert [rule.name for rule in found.rules] == ["R"]
    assert len(found.notes) == 1
    assert not {"\n", "\0"} & set(str(found.notes[0]))


def test_programs_are_not_run(tmp_path: Path) -> None:
    """A service or an app that is a program: how to get a template of it."""
    (tmp_path / "serverless.ts").write_text("export default {}")
    done = pcapeda("rules", "list", str(tmp_path / "serverless.ts"))
    assert done.returncode == 2
    assert b"programs are not run" in done.stderr
    assert b"cdk synth" in done.stderr
