//! What tells people of the pipeline: the alarm of builds whose hosts say nothing, and the dashboard, per stage, on names that there are.

mod terraform_files;

use std::collections::BTreeSet;

use cloud::{HOST_DEPLOYMENT_LOGS, WORKFLOW, region_dead_letter_queue, seeder_queue, staged};
use serde_json::Value;
use terraform_files::{FUNCTIONS, Infrastructure, REGIONS, array, attribute, string};

/// The blocks `metric_query` by their id, each with its own block `metric` where it has one.
fn queries(infrastructure: &Infrastructure) -> Vec<(String, Value, Option<Value>)> {
    let alarm = infrastructure.block("resource", &["aws_cloudwatch_metric_alarm", "no_rows"]);
    let queries = alarm
        .body()
        .blocks()
        .filter(|block| block.identifier() == "metric_query");
    let evaluated = |block: &hcl::Block| -> Value {
        let attributes = block.body().attributes();
        attributes
            .map(|attribute| (attribute.key().to_owned(), infrastructure.evaluate(attribute.expr())))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    queries
        .map(|query| {
            let own = evaluated(query);
            (string(&own["id"]), own, query.body().blocks().next().map(evaluated))
        })
        .collect()
}

#[test]
fn an_alarm_tells_of_a_build_that_no_host_has_a_row_of() {
    let infrastructure = Infrastructure::with("prod", "rows_overdue_minutes", "45");
    let queries = queries(&infrastructure);
    let of = |id: &str| queries.iter().find(|(own, ..)| own == id).unwrap();
    let told: Vec<&str> = queries
        .iter()
        .filter(|(_, query, _)| query.get("return_data") == Some(&true.into()))
        .map(|(id, ..)| id.as_str())
        .collect();
    assert_eq!(told, ["overdue"], "one of them is what the alarm looks at");
    for (id, namespace, metric, dimension, value) in [
        (
            "succeeded",
            "AWS/States",
            "ExecutionsSucceeded",
            "StateMachineArn",
            "file_copy_workflow.state_machine_arn".to_owned(),
        ),
        (
            "written",
            "AWS/DynamoDB",
            "ConsumedWriteCapacityUnits",
            "TableName",
            staged(HOST_DEPLOYMENT_LOGS, "prod"),
        ),
    ] {
        let metric_of = of(id).2.as_ref().unwrap();
        assert_eq!(
            (&metric_of["namespace"], &metric_of["metric_name"]),
            (&namespace.into(), &metric.into())
        );
        assert_eq!(metric_of["dimensions"][dimension], value);
        assert_eq!(
            (&metric_of["period"], &metric_of["stat"]),
            (&2700.into(), &"Sum".into())
        );
        // A window without a metric is one with nothing.
        assert!(
            queries
                .iter()
                .any(|(_, query, _)| query["expression"] == format!("FILL({id}, 0)"))
        );
    }
    // Each name in the expression is another query's.
    let expression = string(&of("overdue").1["expression"]);
    let words = expression
        .split(|c: char| !c.is_ascii_lowercase())
        .filter(|word| word.len() > 2);
    for word in words {
        assert!(queries.iter().any(|(id, ..)| id == word), "{word} in {expression}");
    }
    let alarm = infrastructure.block("resource", &["aws_cloudwatch_metric_alarm", "no_rows"]);
    let said = |name: &str| infrastructure.evaluate(attribute(alarm, name));
    assert_eq!(
        (said("count"), said("alarm_name")),
        (1.into(), "fleetcast-no-rows-prod".into())
    );
    assert!(string(&said("alarm_description")).contains("45 minutes"));
    let local = Infrastructure::at("", Some("http://127.0.0.1:4566"));
    let alarm = local.block("resource", &["aws_cloudwatch_metric_alarm", "no_rows"]);
    assert_eq!(local.evaluate(attribute(alarm, "count")), 0);
}

#[test]
fn the_dashboard_shows_every_queue_and_function_of_the_stage_where_it_is() {
    let infrastructure = Infrastructure::with("staging", "seeders_per_region", "2");
    let dashboard = infrastructure.block("resource", &["aws_cloudwatch_dashboard", "stage"]);
    let said = |name: &str| infrastructure.evaluate(attribute(dashboard, name));
    assert_eq!(
        (said("count"), said("dashboard_name")),
        (1.into(), "fleetcast-staging".into())
    );
    let body = said("dashboard_body");
    let widgets = array(&body["widgets"]);
    let lines: BTreeSet<(String, String)> = widgets
        .iter()
        .filter(|widget| widget["type"] == "metric")
        .flat_map(|widget| array(&widget["properties"]["metrics"]))
        .map(|line| (string(&line[3]), string(&line[4]["region"])))
        .collect();
    let named = |name: &str, region: &str| (staged(name, "staging"), region.to_owned());
    for (region, aws_region) in REGIONS {
        for queue in [
            seeder_queue(region, 1),
            seeder_queue(region, 2),
            region_dead_letter_queue(region),
        ] {
            assert!(lines.contains(&named(&queue, aws_region)), "{queue} in {aws_region}");
        }
    }
    for (function, _) in FUNCTIONS {
        assert!(
            lines.iter().any(|(name, _)| *name == staged(function, "staging")),
            "{function}"
        );
    }
    assert!(lines.contains(&named(HOST_DEPLOYMENT_LOGS, "us-east-1")));
    assert!(
        lines.contains(&(
            "file_copy_workflow.state_machine_arn".to_owned(),
            "us-east-1".to_owned()
        )),
        "{WORKFLOW}"
    );
    // Every alarm is on it, by its region.
    let alarms: Vec<String> = widgets
        .iter()
        .filter(|widget| widget["type"] == "alarm")
        .flat_map(|widget| array(&widget["properties"]["alarms"]).clone())
        .map(|alarm| string(&alarm))
        .collect();
    let declared = infrastructure.local("alarms");
    assert_eq!(alarms.len(), terraform_files::object(&declared).len() + 1);
    assert!(
        alarms
            .iter()
            .any(|alarm| alarm == "arn:aws-us-gov:cloudwatch:us-east-1:123:alarm:fleetcast-no-rows-staging")
    );
    assert!(
        alarms
            .iter()
            .any(|alarm| alarm.contains(":eu-west-1:123:alarm:fleetcast-region-b-dead-letters-staging")),
        "{alarms:?}"
    );
}
