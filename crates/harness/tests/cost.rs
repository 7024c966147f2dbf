//! `harness cost`: what is printed, and what is refused. The numbers are held to hand-computed ones beside the code.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of test functions")]

mod program;

use program::{harness, scenario, text};
use serde_json::Value;

fn bill(arguments: &[&str]) -> Value {
    let made = harness(&[&["cost", "--format", "json"], arguments].concat());
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    serde_json::from_slice(&made.stdout).unwrap()
}

fn line<'a>(bill: &'a Value, what: &str, place: &str) -> Option<&'a Value> {
    let mut lines = bill["deploy"].as_array().unwrap().iter();
    lines.find(|line| line["what"] == what && line["place"] == place)
}

#[test]
fn a_fleet_of_the_command_line_has_a_line_for_each_thing_and_their_sum() {
    let of = ["--hosts", "3000", "--size", "64MiB", "--regions", "us-east-1,eu-west-1"];
    let bill = bill(&of);
    for (what, place, quantity) in [
        // 64 MiB are four parts of 16, one request before and one after them; copies are one up to 512 MiB.
        ("upload", "home", 6.0),
        ("copy", "region-1", 1.0),
        ("copy", "region-2", 1.0),
        ("pull", "region-2", 8.0),
        ("cross-region bytes", "region-2", 0.0625),
        ("workflow", "home", 9.0),
        ("rows", "home", 3002.0),
    ] {
        assert_eq!(
            line(&bill, what, place).unwrap()["quantity"],
            quantity,
            "{what} of {place}"
        );
    }
    assert_eq!(line(&bill, "cross-region bytes", "region-1"), None);
    let lines = bill["deploy"].as_array().unwrap().iter();
    let sum: f64 = lines.map(|line| line["usd"].as_f64().unwrap()).sum();
    assert!((sum - bill["deploy_usd"].as_f64().unwrap()).abs() < 1e-12);
    // Each of the three zones has the build about once, from the seeder or from another zone.
    let crossed = line(&bill, "cross-zone bytes", "region-1").unwrap()["quantity"]
        .as_f64()
        .unwrap();
    assert!((0.0625..0.5).contains(&crossed), "{crossed} GB");
    let printed = harness(&[&["cost"], &of[..]].concat());
    let printed = text(&printed.stdout);
    for part in [
        "64 MiB to 3000 hosts",
        "a month of it",
        "in all",
        "forecast of 600 hosts",
    ] {
        assert!(printed.contains(part), "{part:?} in {printed}");
    }
}

#[test]
fn a_scenario_has_its_own_regions_zones_and_hosts() {
    let smoke = scenario("smoke.toml");
    let bill = bill(&[&smoke, "--set", "build.size=20MiB", "--home", "eu-west-1"]);
    assert_eq!(line(&bill, "copy", "region-a").unwrap()["aws_region"], "eu-west-1");
    assert_eq!(line(&bill, "upload", "home").unwrap()["quantity"], 4.0);
    // In one zone nothing crosses, whether hosts know their zone or not.
    assert_eq!(line(&bill, "cross-zone bytes", "region-a"), None);
    assert_eq!(bill["cross_zone_usd_without_zones"], 0.0);
}

#[test]
fn what_cannot_be_billed_is_refused_with_what_could() {
    let flat_out = scenario("10k-hosts-flat-out.toml");
    let two = scenario("three-zones.toml");
    for (arguments, message) in [
        (&["--regions", "eu-wset-1"][..], "did you mean eu-west-1?"),
        (&["--home", "mars"][..], "no prices of region \"mars\""),
        (&["--prices", "/no/such/prices.toml"][..], "/no/such/prices.toml"),
        (&["--size", "large"][..], "--size"),
        (&["--hosts", "0"][..], "--hosts"),
        (&["no-such.toml"][..], "no-such.toml"),
        (
            &[&*two, "--regions", "us-east-1,us-east-2,us-west-1,us-west-2"][..],
            "--regions names 4 AWS regions",
        ),
        (&[&*two, "--hosts", "5"][..], "--hosts"),
        // Without links there is no forecast.
        (&[&*flat_out][..], "network.host"),
    ] {
        let refused = harness(&[&["cost"], arguments].concat());
        assert_eq!(
            refused.status.code(),
            Some(2),
            "{arguments:?}: {}",
            text(&refused.stdout)
        );
        let told = text(&refused.stderr);
        assert!(
            told.contains(message) && refused.stdout.is_empty(),
            "{arguments:?}: {told}"
        );
    }
}
