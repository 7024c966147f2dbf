//! Scenario files: whatever is in one, it is a scenario or a list of problems, each with a place; and a scenario has a plan for each host.

use scenario::{LoadOptions, Override, Scenario, Slack};

pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // Files of this machine are none of this.
    if text.contains("path") {
        return;
    }
    let (text, set) = text.split_once('\0').unwrap_or((&*text, ""));
    let mut options = LoadOptions::default();
    options.overrides.extend(set.parse::<Override>());
    let scenario = match Scenario::of_text("fuzz.toml", text, &options) {
        Ok(scenario) => scenario,
        Err(error) => {
            assert!(!error.problems.is_empty(), "it is refused without a word");
            assert!(error.problems.iter().all(|problem| !problem.message.is_empty()));
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(scenario.build_size().get() > 0 && scenario.host_count() > 0);
    let _ = scenario.warnings();
    let _ = scenario.time_limit();
    // A million hosts are planned in a second.
    if scenario.host_count() > 200 {
        return;
    }
    for (index, region) in scenario.regions.iter().enumerate() {
        let plan = scenario.plan(index);
        assert_eq!(plan.hosts.len(), region.hosts as usize);
        let _ = scenario.bounds(&plan, Slack::default());
    }
}
