//! Each line held against numbers that were computed by hand.

use super::*;

fn deploy_of_two() -> Deploy {
    let region = |name: &str, aws_region: &str, hosts| OfRegion {
        name: name.to_owned(),
        aws_region: aws_region.to_owned(),
        hosts,
        zones: 3,
        seeders: 2,
        cross_zone: 3 << 30,
    };
    Deploy {
        home: "us-east-1".to_owned(),
        regions: vec![region("a", "us-east-1", 60_000), region("b", "eu-west-1", 40_000)],
        build: 4 << 30,
        watched: Duration::from_secs(60),
    }
}

fn line<'a>(lines: &'a [Line], what: &str, place: &str) -> &'a Line {
    let found = lines.iter().find(|line| line.what == what && line.place == place);
    found.unwrap_or_else(|| panic!("no line {what} of {place} in {lines:#?}"))
}

#[track_caller]
fn holds(line: &Line, quantity: f64, usd: f64) {
    assert!(
        (line.quantity - quantity).abs() < 1e-6 * quantity,
        "{line:?}, not {quantity}"
    );
    assert!((line.usd - usd).abs() < 1e-6 * usd, "{line:?}, not $ {usd}");
}

#[test]
fn each_line_of_a_deploy_is_what_one_computes_by_hand() {
    let bill = Bill::of(&deploy_of_two(), &Prices::load(None).unwrap()).unwrap();
    let of = |what, place| line(&bill.deploy, what, place);
    // 4 GiB in parts of 16 MiB: 256, one to begin and one to end. $ 0.005 a thousand.
    holds(of("upload", "home"), 258.0, 0.00129);
    // Parts of 128 MiB: 32 and 2.
    holds(of("copy", "a"), 34.0, 0.00017);
    holds(of("copy", "b"), 34.0, 0.00017);
    // 4 GB from Virginia to Ireland at $ 0.02; nothing within Virginia.
    holds(of("cross-region bytes", "b"), 4.0, 0.08);
    assert!(
        !bill
            .deploy
            .iter()
            .any(|line| line.what == "cross-region bytes" && line.place == "a")
    );
    // 512 requests of 8 MiB by each of two seeders, $ 0.0004 a thousand.
    holds(of("pull", "a"), 1024.0, 0.000_409_6);
    holds(of("queue", "a"), 4.0, 0.000_001_6);
    // 3 GB at $ 0.01 out of one zone and $ 0.01 into the other.
    holds(of("cross-zone bytes", "a"), 3.0, 0.06);
    // Seven states and a copy for each region, $ 0.025 a thousand.
    holds(of("workflow", "home"), 9.0, 0.000_225);
    holds(of("functions", "home"), 5.0, 0.000_001);
    // Two copies of 4 GiB at 110 MB/s are 78.09 s, and five calls of half a second: 80.59 s of a quarter of a GB.
    holds(of("functions' time", "home"), 20.147_578, 0.000_268_635_7);
    // A row a host, and two of the replication: $ 0.625 a million.
    holds(of("rows", "home"), 100_002.0, 0.062_501_25);
    // Four seeders' counts, eight rows and the replication's row in a look, and a look every 866 ms: 70 looks.
    holds(of("watch", "home"), 70.0 * 13.0, 0.000_113_75);
}

#[test]
fn a_month_is_storage_of_every_copy_rows_and_seeders_that_listen() {
    let bill = Bill::of(&deploy_of_two(), &Prices::load(None).unwrap()).unwrap();
    let of = |what, place| line(&bill.month, what, place);
    // 4 GB at $ 0.023, in both regions and at home.
    for place in ["home", "a", "b"] {
        holds(of("storage", place), 4.0, 0.092);
    }
    // Two seeders that ask every 20 s for 730 hours: $ 0.40 a million.
    holds(of("listening", "a"), 262_800.0, 0.105_12);
    // 45 MB of rows at $ 0.25 a GB.
    holds(of("rows kept", "home"), 45e6 / GB, 0.25 * 45e6 / GB);
    let total = 3.0 * 0.092 + 2.0 * 0.105_12 + 0.25 * 45e6 / GB;
    assert!((sum(&bill.month) - total).abs() < 1e-9, "{}", sum(&bill.month));
}

/// Five regions of 100,000 hosts and 10 GB: what a forgotten zone costs.
#[test]
fn hosts_that_take_chunks_from_any_zone_cost_a_thousand_times_more() {
    let mut deploy = deploy_of_two();
    let region = OfRegion {
        hosts: 100_000,
        ..deploy.regions[0].clone()
    };
    (deploy.regions, deploy.build) = (vec![region; 5], 10 << 30);
    let usd = usd_without_zones(&deploy, &Prices::load(None).unwrap());
    // 500,000 hosts, 10 GB each, two thirds of them from another zone, at $ 0.02.
    assert!((usd - 66_666.666_667).abs() < 0.001, "{usd}");
    for region in &mut deploy.regions {
        region.zones = 1;
    }
    assert_eq!(usd_without_zones(&deploy, &Prices::load(None).unwrap()), 0.0);
}

#[test]
fn small_builds_take_a_request_and_parts_are_never_more_than_s3_takes() {
    assert_eq!(requests(1, UPLOAD_ABOVE, UPLOAD_PART), 1.0);
    assert_eq!(requests(UPLOAD_ABOVE, UPLOAD_ABOVE, UPLOAD_PART), 1.0);
    assert_eq!(requests(UPLOAD_ABOVE + 1, UPLOAD_ABOVE, UPLOAD_PART), 4.0);
    assert_eq!(requests(1 << 40, UPLOAD_ABOVE, UPLOAD_PART), 10_002.0);
}

#[test]
fn a_region_without_prices_is_no_bill() {
    let prices = Prices::load(None).unwrap();
    let mut deploy = deploy_of_two();
    deploy.regions[1].aws_region = "eu-west-11".to_owned();
    let error = Bill::of(&deploy, &prices).unwrap_err().to_string();
    assert!(error.contains("\"eu-west-11\"; did you mean eu-west-1?"), "{error}");
    let mut deploy = deploy_of_two();
    deploy.home = "mars".to_owned();
    assert!(Bill::of(&deploy, &prices).is_err());
}

/// The states of the happy path are counted where the workflow is declared.
#[test]
fn the_workflow_has_so_many_states_as_are_billed() {
    let definition = include_str!("../../../../terraform/step_function_definition.json");
    let definition: serde_json::Value = serde_json::from_str(definition).unwrap();
    let (mut name, mut count) = (definition["StartAt"].as_str().unwrap(), 0.0);
    loop {
        let state = &definition["States"][name];
        count += 1.0;
        // The first choice of each is the good one.
        let next = state["Choices"][0]["Next"].as_str().or_else(|| state["Next"].as_str());
        match next {
            Some(next) => name = next,
            None => break,
        }
    }
    assert_eq!((name, count), ("AllCopiesSuccessful", TRANSITIONS));
}
