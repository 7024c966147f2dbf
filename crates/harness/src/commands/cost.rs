//! `harness cost`: what a deploy of a build to a fleet costs on AWS.

use std::fmt::Write;
use std::time::Duration;

use console::style;
use scenario::{LoadOptions, Scenario};
use serde_json::json;
use simulator::{Options, Status};
use swarm::Bytes;

use super::print;
use crate::cli::{CostArguments, Format};
use crate::cost::{self, Bill, Deploy, GB, Line, OfRegion, Prices};
use crate::exit::{Exit, print_error};
use crate::machine;
use crate::progress::seconds;

pub(crate) fn cost(arguments: &CostArguments) -> Exit {
    match computed(arguments) {
        Ok(text) => {
            print(&text);
            Exit::Success
        }
        Err(exit) => exit,
    }
}

fn computed(arguments: &CostArguments) -> Result<String, Exit> {
    let refused = |error: &(dyn std::error::Error + 'static)| {
        print_error("there is no bill", error);
        Exit::Usage
    };
    let prices = Prices::load(arguments.prices.as_deref()).map_err(|error| refused(&error))?;
    // Before the forecast, which takes seconds.
    for region in arguments.regions.iter().chain([&arguments.home]) {
        prices.of(region).map_err(|error| refused(&error))?;
    }
    let (scenario, sample) = scenarios(arguments)?;
    let forecast = forecast(&sample)?;
    let deploy = deploy(arguments, &scenario, &sample, &forecast)?;
    let bill = Bill::of(&deploy, &prices).map_err(|error| refused(&error))?;
    Ok(match arguments.format {
        Format::Text => text(&deploy, &sample, &prices, &bill),
        Format::Json => format!("{:#}\n", value(&deploy, &sample, &prices, &bill)),
    })
}

/// The fleet, and one that is like it and forecast in seconds.
fn scenarios(arguments: &CostArguments) -> Result<(Scenario, Scenario), Exit> {
    let told = |error: scenario::ScenarioError| {
        say!("{error}");
        Exit::Usage
    };
    let load = |options: &LoadOptions| match &arguments.scenario {
        Some(path) => Scenario::load(path, options),
        None => Scenario::of_text("cost", &written(arguments), options),
    };
    let mut options = LoadOptions {
        overrides: arguments.overrides.clone(),
        ..LoadOptions::default()
    };
    let scenario = load(&options).map_err(told)?;
    let parsed = |text: String| text.parse().expect("what is written here is KEY=VALUE");
    for region in scenario.regions.iter().filter(|region| region.hosts > SAMPLE_HOSTS) {
        let name = &region.name;
        options
            .overrides
            .push(parsed(format!("regions.{name}.hosts={SAMPLE_HOSTS}")));
    }
    if scenario.build_size().get() > SAMPLE_BYTES
        && matches!(scenario.build.source, scenario::BuildSource::Generated { .. })
    {
        options.overrides.push(parsed("build.size=1GiB".to_owned()));
    }
    // A fault that strikes one host in a thousand strikes none of so few: then it is the fleet itself that is forecast.
    let sample = load(&options).unwrap_or_else(|_| scenario.clone());
    Ok((scenario, sample))
}

/// The scenario of the command line. What hosts send and receive decides for how long somebody watches, and hardly what it costs.
fn written(arguments: &CostArguments) -> String {
    let count = arguments.regions.len().max(1);
    let share = arguments.hosts.div_ceil(u32::try_from(count).unwrap_or(u32::MAX));
    let mut text = format!("build.size = \"{}\"\n", arguments.size);
    for index in 1..=count {
        let zones = arguments.zones.min(share);
        let _ = writeln!(text, "[regions.region-{index}]\nhosts = {share}\nzones = {zones}");
    }
    text.push_str("[network]\nlatency = \"1ms\"\n[network.host]\nuplink = \"1 Gbit/s\"\ndownlink = \"2 Gbit/s\"\n");
    text
}

fn forecast(sample: &Scenario) -> Result<simulator::Forecast, Exit> {
    let options = Options {
        threads: machine::cores(),
        deadline: sample.time_limit(),
        record: false,
    };
    simulator::forecast(sample, &options, &Status::new(sample)).map_err(|error| {
        print_error("what goes from zone to zone cannot be forecast", &error);
        Exit::Usage
    })
}

fn deploy(
    arguments: &CostArguments,
    scenario: &Scenario,
    sample: &Scenario,
    forecast: &simulator::Forecast,
) -> Result<Deploy, Exit> {
    let count = scenario.regions.len();
    let aws_regions = match arguments.regions.len() {
        0 => vec![arguments.home.clone(); count],
        given if given == count => arguments.regions.clone(),
        given => {
            let names: Vec<&str> = scenario.regions.iter().map(|region| &*region.name).collect();
            say!(
                "harness: --regions names {given} AWS regions, and the scenario has {count} regions; expected one for each of {}",
                names.join(", ")
            );
            return Err(Exit::Usage);
        }
    };
    let (build, of_sample) = (scenario.build_size().get(), sample.build_size().get());
    // A chunk comes into a zone about once, however many hosts there are: what crosses is so many builds.
    let scaled = |bytes: u64| (bytes as f64 * build as f64 / of_sample as f64) as u64;
    let regions = scenario.regions.iter().zip(aws_regions).zip(&forecast.regions);
    let regions = regions.map(|((region, aws_region), forecast)| OfRegion {
        name: region.name.clone(),
        aws_region,
        hosts: region.hosts,
        zones: region.zones,
        seeders: region.seeders,
        cross_zone: scaled(forecast.cross_zone_bytes.unwrap_or_default()),
    });
    let last = forecast.outcomes().iter().filter_map(|host| host.verified_after).max();
    let watched = last.unwrap_or_else(|| scenario.time_limit());
    Ok(Deploy {
        home: arguments.home.clone(),
        regions: regions.collect(),
        build,
        watched: watched.mul_f64(build as f64 / of_sample as f64).max(WATCHED_LEAST),
    })
}

fn hosts(deploy: &Deploy) -> u64 {
    deploy.regions.iter().map(|region| u64::from(region.hosts)).sum()
}

fn text(deploy: &Deploy, sample: &Scenario, prices: &Prices, bill: &Bill) -> String {
    let mut text = format!(
        "{} to {} hosts, from {}; prices of {}, US dollars\n\n",
        Bytes::new(deploy.build),
        hosts(deploy),
        deploy.home,
        prices.date
    );
    for (title, lines) in [("a deploy", &bill.deploy), ("a month of it", &bill.month)] {
        let _ = writeln!(text, "{}", style(title).bold());
        lines.iter().for_each(|line| write_line(&mut text, line));
        let _ = writeln!(text, "  {:<60} {:>12}\n", "in all", dollars(cost::sum(lines)));
    }
    let _ = writeln!(
        text,
        "What goes from zone to zone is from a forecast of {} hosts and {}; watched for {} at most. Machines are not in it.",
        sample.host_count(),
        Bytes::new(sample.build_size().get()),
        seconds(deploy.watched),
    );
    let without = cost::usd_without_zones(deploy, prices);
    if without > 0.0 {
        let _ = writeln!(
            text,
            "Hosts that do not know their zone (outside of EC2 it is `peer --zone`) take chunks from any: cross-zone bytes are {} then.",
            dollars(without)
        );
    }
    text
}

fn write_line(text: &mut String, line: &Line) {
    let quantity = match line.unit {
        "GB" | "GB months" | "GB s" => format!("{:.2}", line.quantity),
        _ => format!("{:.0}", line.quantity),
    };
    let place = if line.place == line.aws_region {
        line.place.clone()
    } else {
        format!("{}, {}", line.place, line.aws_region)
    };
    let _ = writeln!(
        text,
        "  {:<19} {place:<24} {quantity:>10} {:<12} {:>5}",
        line.what,
        line.unit,
        dollars(line.usd)
    );
}

/// Four digits of what is less than a dollar: most of these are cents.
fn dollars(usd: f64) -> String {
    if usd >= 1.0 {
        format!("{usd:.2}")
    } else {
        format!("{usd:.4}")
    }
}

fn value(deploy: &Deploy, sample: &Scenario, prices: &Prices, bill: &Bill) -> serde_json::Value {
    json!({
        "prices_of": prices.date,
        "home": deploy.home,
        "hosts": hosts(deploy),
        "build_bytes": deploy.build,
        "watched_seconds": deploy.watched.as_secs_f64(),
        "forecast": {"hosts": sample.host_count(), "build_bytes": sample.build_size().get()},
        "deploy": bill.deploy,
        "deploy_usd": cost::sum(&bill.deploy),
        "month": bill.month,
        "month_usd": cost::sum(&bill.month),
        "cross_zone_usd_without_zones": cost::usd_without_zones(deploy, prices),
        "bytes_of_a_gb": GB,
    })
}

/// Hosts of a region that are forecast, and bytes of the build, at most: seconds.
const SAMPLE_HOSTS: u32 = 300;
/// Also where the key is set.
const SAMPLE_BYTES: u64 = 1 << 30;
/// Somebody looks at the result, too.
const WATCHED_LEAST: Duration = Duration::from_secs(10);
