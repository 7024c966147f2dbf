//! `harness bootstrap` and `harness doctor`: the pipeline at an endpoint, made and looked at.

use std::fmt::Write;

use cloud::Cloud;
use pipeline::{PartState, Pipeline, ProvisionError};

use super::{print, reach};
use crate::cli::{BootstrapArguments, DoctorArguments, Format};
use crate::exit::{Exit, print_error};

pub(crate) async fn bootstrap(arguments: BootstrapArguments) -> Exit {
    let endpoint = arguments
        .place
        .endpoint_url
        .clone()
        .or_else(|| std::env::var("AWS_ENDPOINT_URL").ok());
    let Some(endpoint) = endpoint else {
        say!(
            "harness: bootstrap is for local stacks, whose roles nobody looks at; expected --endpoint-url URL or \
             AWS_ENDPOINT_URL. On AWS use terraform/"
        );
        return Exit::Usage;
    };
    let cloud = match reach::connect(&arguments.place).await {
        Ok(cloud) => cloud,
        Err(exit) => return exit,
    };
    let pipeline = Pipeline::new(&cloud, &arguments.regions).with_seeders(arguments.seeders_per_region);
    let functions_reach = arguments.function_endpoint_url.as_deref().unwrap_or(&endpoint);
    let tell = |what: &str| say!("harness: {what}");
    match pipeline
        .provision(&arguments.packages, Some(functions_reach), &tell)
        .await
    {
        Ok(made) => {
            print(&format!(
                "api_gateway_url {endpoint}/restapis/{}/{}/_user_request_\nstep_function_arn {}\nfailure_topic_arn {}\n",
                made.api_id, made.api_stage, made.state_machine_arn, made.topic_arn
            ));
            Exit::Success
        }
        Err(error) => {
            print_error("bootstrap", &error);
            match error {
                ProvisionError::Package { .. } | ProvisionError::Regions(_) => Exit::Usage,
                ProvisionError::Cloud(_) => Exit::Failed,
            }
        }
    }
}

pub(crate) async fn doctor(arguments: &DoctorArguments) -> Exit {
    if let Err(exit) = reach::look_at_settings(&arguments.place) {
        return exit;
    }
    let cloud = Cloud::connect(&arguments.place.config()).await;
    let found = Pipeline::new(&cloud, &arguments.regions).inspect().await;
    let missing = found.iter().filter(|part| part.state != PartState::Healthy).count();
    match arguments.format {
        Format::Text => {
            let mut text = String::new();
            for part in &found {
                let word = part.state.word();
                let _ = match part.state.problem() {
                    None => writeln!(text, "{word:<8} {} {}", part.kind, part.name),
                    Some(problem) => writeln!(
                        text,
                        "{:<8} {} {}: {problem}",
                        word.to_uppercase(),
                        part.kind,
                        part.name
                    ),
                };
            }
            print(&text);
        }
        Format::Json => {
            let parts: Vec<_> = found
                .iter()
                .map(|part| {
                    serde_json::json!({
                        "kind": part.kind, "name": part.name, "state": part.state.word(), "problem": part.state.problem(),
                    })
                })
                .collect();
            print(&format!("{:#}\n", serde_json::Value::from(parts)));
        }
    }
    if missing == 0 {
        return Exit::Success;
    }
    say!(
        "harness: {missing} of {} parts are missing or not as they should be; on a local stack `./get-started.sh` or `harness bootstrap` makes them, on \
         AWS `terraform apply` in terraform/",
        found.len()
    );
    Exit::No
}
