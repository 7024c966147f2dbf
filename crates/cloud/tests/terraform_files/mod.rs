//! Reads `terraform/` and evaluates it for one stage: variables, locals, and the arguments of modules and resources. What
//! modules and resources answer (ARNs, URLs) is made up from their names, so that a test sees who refers to whom.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hcl::eval::{Context, Evaluate, FuncArgs, FuncDef, ParamType};
use hcl::{Block, Body, Expression, Map};
use serde_json::Value;

/// The functions and the environment variables that they read.
pub const FUNCTIONS: [(&str, &[&str]); 6] = [
    ("build-worker", &["GLOBAL_BUCKET"]),
    ("pipeline-action", &["STATE_MACHINE_ARN"]),
    ("region-copier", &[]),
    ("regional-sync", &["BUILD_SUFFIXES", "SEEDERS_PER_REGION", "STAGE"]),
    ("replication-worker", &["DESTINATION_BUCKETS", "STATE_MACHINE_ARN"]),
    (
        "step-function-invoker",
        &[
            "BUILD_SUFFIXES",
            "DESTINATION_BUCKETS",
            "GLOBAL_BUCKET",
            "STAGE",
            "STATE_MACHINE_ARN",
        ],
    ),
];

/// The AWS regions of the fleet's regions in these tests: one with that of everything else, one with another.
pub const REGIONS: [(&str, &str); 2] = [("region-a", "us-east-1"), ("region-b", "eu-west-1")];

/// `terraform/` as evaluated for one stage.
pub struct Infrastructure {
    body: Vec<Block>,
    context: Context<'static>,
}

impl Infrastructure {
    pub fn on_aws(stage: &str) -> Self {
        Self::at(stage, None)
    }

    pub fn at(stage: &str, endpoint: Option<&str>) -> Self {
        Self::of(stage, endpoint, None)
    }

    /// On AWS, with a variable of this value.
    pub fn with(stage: &str, variable: &str, value: &str) -> Self {
        Self::of(stage, None, Some((variable, value)))
    }

    /// `terraform/pipeline` with these variables. What its resources answer is made up.
    pub fn pipeline(given: &[(&str, &str)]) -> Self {
        let mut pipeline = Self::read("terraform/pipeline");
        let mut variables = pipeline.defaults();
        let nested =
            |text: &str| -> hcl::Value { text.parse::<Expression>().unwrap().evaluate(&Context::new()).unwrap() };
        for (name, value) in given {
            assert!(variables.contains_key(*name), "no variable {name}");
            variables.insert((*name).to_owned(), nested(value));
        }
        pipeline.context.declare_var("var", hcl::Value::Object(variables));
        for (name, answer) in [
            ("path", r#"{ module = "terraform/pipeline" }"#),
            ("aws_kms_key", r#"{ artifacts = { arn = "key.arn" } }"#),
            (
                "aws_s3_bucket",
                r#"{ artifacts = { id = "artifacts.id", arn = "artifacts.arn" } }"#,
            ),
            ("aws_sns_topic", r#"{ approvals = { arn = "approvals.arn" } }"#),
            (
                "data",
                r#"{ aws_partition = { current = { partition = "aws-us-gov" } }, aws_caller_identity = { current = { account_id = "123" } } }"#,
            ),
        ] {
            pipeline.context.declare_var(name, nested(answer));
        }
        pipeline.evaluate_locals();
        let projects = pipeline.local("projects");
        let of_each = |answer: &dyn Fn(&str) -> String| {
            let answers = projects
                .as_object()
                .unwrap()
                .keys()
                .map(|key| (key.clone(), nested(&answer(key))));
            hcl::Value::Object(
                [("project".to_owned(), hcl::Value::Object(answers.collect()))]
                    .into_iter()
                    .collect(),
            )
        };
        let group = of_each(&|key| format!(r#"{{ arn = "log[{key}].arn", name = "log[{key}]" }}"#));
        let role = of_each(&|key| format!(r#"{{ arn = "role[{key}].arn", name = "role[{key}]" }}"#));
        let project = of_each(&|key| format!(r#"{{ name = "project[{key}]" }}"#));
        pipeline.context.declare_var("aws_cloudwatch_log_group", group);
        pipeline.context.declare_var("aws_iam_role", role);
        pipeline.context.declare_var("aws_codebuild_project", project);
        pipeline
    }

    fn read(folder: &str) -> Self {
        let mut files = files(&root().join(folder), "tf");
        files.sort();
        assert!(!files.is_empty());
        let mut body = Vec::new();
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let parsed: Body = hcl::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            body.extend(parsed.into_blocks());
        }
        Self {
            body,
            context: functions(),
        }
    }

    fn of(stage: &str, endpoint: Option<&str>, variable: Option<(&str, &str)>) -> Self {
        let mut infrastructure = Self::read("terraform");
        let mut variables = infrastructure.defaults();
        variables.insert("stage".to_owned(), stage.into());
        // On a local stack all is in one region, as the defaults have it.
        if endpoint.is_none() {
            let regions = REGIONS.map(|(region, aws)| (region.to_owned(), hcl::Value::from(aws)));
            variables.insert("regions".to_owned(), hcl::Value::Object(regions.into_iter().collect()));
        }
        if let Some(endpoint) = endpoint {
            variables.insert("endpoint_url".to_owned(), endpoint.into());
        }
        if let Some((name, value)) = variable {
            let value = value.parse::<Expression>().unwrap().evaluate(&Context::new()).unwrap();
            variables.insert(name.to_owned(), value);
        }
        let path: Map<String, hcl::Value> = [("module".to_owned(), "terraform".into())].into_iter().collect();
        infrastructure.context.declare_var("path", hcl::Value::Object(path));
        infrastructure.context.declare_var("var", hcl::Value::Object(variables));
        infrastructure.declare_answers();
        infrastructure.evaluate_locals();
        infrastructure
    }

    pub fn blocks(&self, kind: &str) -> impl Iterator<Item = &Block> {
        self.body.iter().filter(move |block| block.identifier() == kind)
    }

    pub fn block(&self, kind: &str, labels: &[&str]) -> &Block {
        let named = |block: &&Block| {
            block
                .labels()
                .iter()
                .map(hcl::BlockLabel::as_str)
                .eq(labels.iter().copied())
        };
        let found = self.blocks(kind).find(named);
        found.unwrap_or_else(|| panic!("terraform/ has no {kind} {labels:?}"))
    }

    pub fn evaluate(&self, expression: &Expression) -> Value {
        evaluate_in(&self.context, expression)
    }

    pub fn local(&self, name: &str) -> Value {
        let expression: Expression = format!("local.{name}").parse().unwrap();
        self.evaluate(&expression)
    }

    /// An argument of a function, whichever module declares it.
    pub fn function(&self, function: &str, argument: &str) -> Value {
        match function {
            "region-copier" => self.module("region_copier", argument),
            "regional-sync" => self.of_each("regional_sync", argument, "us-east-1"),
            _ => self.of_each("function", argument, function),
        }
    }

    /// An argument of a module.
    pub fn module(&self, module: &str, argument: &str) -> Value {
        self.evaluate(attribute(self.block("module", &[module]), argument))
    }

    /// An argument of that one of a module's instances which `for_each` makes for `key`.
    pub fn of_each(&self, module: &str, argument: &str, key: &str) -> Value {
        let block = self.block("module", &[module]);
        let all = attribute(block, "for_each").evaluate(&self.context);
        let all = all.unwrap_or_else(|error| panic!("{module}.for_each: {error}"));
        let value = match &all {
            // A set: its members are keys and values.
            hcl::Value::Array(members) => members.iter().find(|member| member.as_str() == Some(key)),
            all => map_of(all).get(key),
        };
        let value = value.unwrap_or_else(|| panic!("module {module} has no instance {key}"));
        let each: Map<String, hcl::Value> = [("key".to_owned(), key.into()), ("value".to_owned(), value.clone())]
            .into_iter()
            .collect();
        let mut context = self.context.clone();
        context.declare_var("each", hcl::Value::Object(each));
        evaluate_in(&context, attribute(block, argument))
    }

    /// An expression of a block that is there for `key` and `value`, which it calls by the name `name`.
    pub fn evaluate_for(&self, expression: &Expression, name: &str, key: hcl::Value, value: Value) -> Value {
        let value: hcl::Value = serde_json::from_value(value).unwrap();
        let one: Map<String, hcl::Value> = [("key".to_owned(), key), ("value".to_owned(), value)]
            .into_iter()
            .collect();
        let mut context = self.context.clone();
        context.declare_var(hcl::Identifier::new(name).unwrap(), hcl::Value::Object(one));
        evaluate_in(&context, expression)
    }

    fn defaults(&self) -> Map<String, hcl::Value> {
        let variables = self.blocks("variable").map(|block| {
            let default = block.body().attributes().find(|attribute| attribute.key() == "default");
            let value = default.map_or(hcl::Value::Null, |attribute| {
                let value = attribute.expr().evaluate(&self.context);
                value.unwrap_or_else(|error| panic!("default of {:?}: {error}", block.labels()))
            });
            (block.labels()[0].as_str().to_owned(), value)
        });
        variables.collect()
    }

    /// What modules and resources answer, made up: `region_queue[region-a].queue_url`.
    fn declare_answers(&mut self) {
        let regions = ["region-a", "region-b"];
        let aws_regions = ["us-east-1", "eu-west-1", "eu-west-2", "eu-west-3"];
        let functions = FUNCTIONS.map(|(function, _)| function);
        let mut modules = Map::new();
        for (module, keys, answers) in [
            (
                "global_bucket",
                &[] as &[&str],
                &["s3_bucket_id", "s3_bucket_arn"] as &[&str],
            ),
            ("regional_bucket", &regions, &["s3_bucket_id", "s3_bucket_arn"]),
            ("tracking_table", &[], &["dynamodb_table_id", "dynamodb_table_arn"]),
            (
                "deployment_log_table",
                &[],
                &["dynamodb_table_id", "dynamodb_table_arn"],
            ),
            (
                "region_queue",
                &regions,
                &[
                    "queue_url",
                    "queue_arn",
                    "dead_letter_queue_url",
                    "dead_letter_queue_arn",
                ],
            ),
            (
                "more_seeder_queue",
                &["region-a 2", "region-b 2", "region-a 3", "region-b 3"],
                &["queue_arn"],
            ),
            ("function_dead_letter_queue", &aws_regions, &["queue_arn"]),
            ("region_copier", &[], &["lambda_function_arn", "lambda_function_name"]),
            (
                "regional_sync",
                &aws_regions,
                &["lambda_function_arn", "lambda_function_name"],
            ),
            ("file_copy_workflow", &[], &["state_machine_arn"]),
            (
                "function",
                &functions,
                &[
                    "lambda_function_arn",
                    "lambda_function_name",
                    "lambda_function_invoke_arn",
                ],
            ),
        ] {
            let answers = |name: &str| -> hcl::Value {
                let answers = answers.iter();
                hcl::Value::Object(
                    answers
                        .map(|answer| ((*answer).to_owned(), format!("{name}.{answer}").into()))
                        .collect(),
                )
            };
            let instances = keys
                .iter()
                .map(|key| ((*key).to_owned(), answers(&format!("{module}[{key}]"))));
            let value = if keys.is_empty() {
                answers(module)
            } else {
                hcl::Value::Object(instances.collect())
            };
            modules.insert(module.to_owned(), value);
        }
        self.context.declare_var("module", hcl::Value::Object(modules));
        let nested =
            |text: &str| -> hcl::Value { text.parse::<Expression>().unwrap().evaluate(&Context::new()).unwrap() };
        self.context
            .declare_var("aws_sns_topic", nested(r#"{ failures = { arn = "topic.arn" } }"#));
        self.context.declare_var(
            "data",
            nested(
                r#"{ aws_partition = { current = { partition = "aws-us-gov" } }, aws_caller_identity = { current = { account_id = "123" } } }"#,
            ),
        );
        self.context.declare_var(
            "aws_api_gateway_rest_api",
            nested(r#"{ api = { id = "rest_api.id", execution_arn = "rest_api.execution_arn" } }"#),
        );
        self.context.declare_var(
            "aws_api_gateway_stage",
            nested(r#"{ api = { invoke_url = "stage.invoke_url" } }"#),
        );
    }

    /// Locals refer to each other in any order: evaluates what can be until nothing is left.
    fn evaluate_locals(&mut self) {
        let mut left: Vec<(String, Expression)> = self
            .blocks("locals")
            .flat_map(|block| block.body().attributes())
            .map(|attribute| (attribute.key().to_owned(), attribute.expr().clone()))
            .collect();
        let mut known = Map::new();
        while !left.is_empty() {
            let before = left.len();
            let mut errors = Vec::new();
            self.context.declare_var("local", hcl::Value::Object(known.clone()));
            left.retain(|(name, expression)| match expression.evaluate(&self.context) {
                Ok(value) => known.insert(name.clone(), value).is_some(),
                Err(error) => {
                    errors.push(format!("local.{name}: {error}"));
                    true
                }
            });
            assert!(left.len() < before, "{}", errors.join("\n"));
        }
        self.context.declare_var("local", hcl::Value::Object(known));
    }
}

fn evaluate_in(context: &Context<'_>, expression: &Expression) -> Value {
    let value = expression.evaluate(context).unwrap_or_else(|error| panic!("{error}"));
    serde_json::to_value(value).unwrap()
}

/// The functions of Terraform that our files call. `templatefile` answers the variables it is given, `jsonencode` its argument.
fn functions() -> Context<'static> {
    fn concat(args: FuncArgs) -> Result<hcl::Value, String> {
        Ok(hcl::Value::Array(args.iter().flat_map(list_of).cloned().collect()))
    }
    fn merge(args: FuncArgs) -> Result<hcl::Value, String> {
        Ok(hcl::Value::Object(
            args.iter().flat_map(|map| map_of(map).clone()).collect(),
        ))
    }
    fn coalesce(args: FuncArgs) -> Result<hcl::Value, String> {
        let first = args.iter().find(|value| !value.is_null()).cloned();
        Ok(first.unwrap_or(hcl::Value::Null))
    }
    fn values(args: FuncArgs) -> Result<hcl::Value, String> {
        // Terraform's maps are ordered by key.
        let sorted: BTreeMap<&String, &hcl::Value> = map_of(&args[0]).iter().collect();
        Ok(hcl::Value::Array(sorted.into_values().cloned().collect()))
    }
    fn join(args: FuncArgs) -> Result<hcl::Value, String> {
        let parts: Vec<String> = list_of(&args[1]).iter().map(text_of).collect();
        Ok(parts.join(&text_of(&args[0])).into())
    }
    fn replace(args: FuncArgs) -> Result<hcl::Value, String> {
        Ok(text_of(&args[0]).replace(&text_of(&args[1]), &text_of(&args[2])).into())
    }
    fn startswith(args: FuncArgs) -> Result<hcl::Value, String> {
        Ok(text_of(&args[0]).starts_with(&text_of(&args[1])).into())
    }
    fn trimsuffix(args: FuncArgs) -> Result<hcl::Value, String> {
        let (text, suffix) = (text_of(&args[0]), text_of(&args[1]));
        Ok(text.strip_suffix(&suffix).unwrap_or(&text).into())
    }
    fn trimprefix(args: FuncArgs) -> Result<hcl::Value, String> {
        let (text, prefix) = (text_of(&args[0]), text_of(&args[1]));
        Ok(text.strip_prefix(&prefix).unwrap_or(&text).into())
    }
    fn file(args: FuncArgs) -> Result<hcl::Value, String> {
        let text = fs::read_to_string(root().join(text_of(&args[0])));
        text.map(hcl::Value::from).map_err(|error| error.to_string())
    }
    fn set(args: FuncArgs) -> Result<hcl::Value, String> {
        let mut members = Vec::new();
        for member in list_of(&args[0]) {
            if !members.contains(member) {
                members.push(member.clone());
            }
        }
        Ok(hcl::Value::Array(members))
    }
    fn keys(args: FuncArgs) -> Result<hcl::Value, String> {
        let sorted: std::collections::BTreeSet<&String> = map_of(&args[0]).keys().collect();
        Ok(hcl::Value::Array(
            sorted.into_iter().map(|key| key.as_str().into()).collect(),
        ))
    }
    fn contains(args: FuncArgs) -> Result<hcl::Value, String> {
        Ok(list_of(&args[0]).contains(&args[1]).into())
    }
    fn length(args: FuncArgs) -> Result<hcl::Value, String> {
        Ok(match &args[0] {
            hcl::Value::Array(list) => list.len(),
            hcl::Value::Object(map) => map.len(),
            other => text_of(other).len(),
        }
        .into())
    }
    fn lookup(args: FuncArgs) -> Result<hcl::Value, String> {
        let found = map_of(&args[0]).get(&text_of(&args[1]));
        Ok(found.unwrap_or(&args[2]).clone())
    }
    fn setproduct(args: FuncArgs) -> Result<hcl::Value, String> {
        let (left, right) = (list_of(&args[0]), list_of(&args[1]));
        let pairs = left.iter().flat_map(|left| {
            let of_left = right
                .iter()
                .map(|right| hcl::Value::Array(vec![left.clone(), right.clone()]));
            of_left.collect::<Vec<_>>()
        });
        Ok(hcl::Value::Array(pairs.collect()))
    }
    fn range(args: FuncArgs) -> Result<hcl::Value, String> {
        let [from, to] = [&args[0], &args[1]].map(|value| value.as_i64().unwrap_or_default());
        Ok(hcl::Value::Array((from..to).map(hcl::Value::from).collect()))
    }
    fn tostring(args: FuncArgs) -> Result<hcl::Value, String> {
        Ok(args[0]
            .as_i64()
            .map_or_else(|| text_of(&args[0]), |number| number.to_string())
            .into())
    }
    fn last(args: FuncArgs) -> Result<hcl::Value, String> {
        args.last().cloned().ok_or_else(|| "expected an argument".to_owned())
    }
    let mut context = Context::new();
    for (name, function) in [
        ("concat", concat as fn(FuncArgs) -> Result<hcl::Value, String>),
        ("merge", merge),
        ("coalesce", coalesce),
        ("values", values),
        ("toset", set),
        ("keys", keys),
        ("contains", contains),
        ("length", length),
        ("lookup", lookup),
        ("join", join),
        ("replace", replace),
        ("startswith", startswith),
        ("trimsuffix", trimsuffix),
        ("trimprefix", trimprefix),
        ("file", file),
        ("setproduct", setproduct),
        ("range", range),
        ("tostring", tostring),
        ("jsonencode", last),
        ("templatefile", last),
    ] {
        let definition = FuncDef::builder().variadic_param(ParamType::Any).build(function);
        context.declare_func(hcl::Identifier::new(name).unwrap(), definition);
    }
    context
}

pub fn attribute<'b>(block: &'b Block, name: &str) -> &'b Expression {
    let found = block.body().attributes().find(|attribute| attribute.key() == name);
    let found = found.unwrap_or_else(|| panic!("{} {:?} has no {name}", block.identifier(), block.labels()));
    found.expr()
}

pub fn nested<'b>(block: &'b Block, name: &str) -> Option<&'b Block> {
    block.body().blocks().find(|block| block.identifier() == name)
}

pub fn string(value: &Value) -> String {
    let text = value.as_str();
    text.unwrap_or_else(|| panic!("expected a string: {value:?}"))
        .to_owned()
}

pub fn array(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("expected a list: {value:?}"))
}

pub fn object(value: &Value) -> &serde_json::Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("expected a map: {value:?}"))
}

fn text_of(value: &hcl::Value) -> String {
    let text = value.as_str();
    text.unwrap_or_else(|| panic!("expected a string: {value:?}"))
        .to_owned()
}

fn list_of(value: &hcl::Value) -> &Vec<hcl::Value> {
    value.as_array().unwrap_or_else(|| panic!("expected a list: {value:?}"))
}

fn map_of(value: &hcl::Value) -> &Map<String, hcl::Value> {
    value.as_object().unwrap_or_else(|| panic!("expected a map: {value:?}"))
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect()
}
