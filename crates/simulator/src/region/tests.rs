//! With the test of the same name of the live runner: what is simulated is the fleet that runs, host for host.

#![expect(
    clippy::disallowed_methods,
    reason = "a scenario is read from a file, which a test writes"
)]

use super::*;
use scenario::{LoadOptions, Scenario};

/// With the test of the same name of the live runner: what is simulated is the fleet that runs, host for host.
#[test]
fn hosts_are_given_to_the_core_as_they_are_planned() {
    let text = "[regions.region-a]\nhosts = 40\nzones = 3\nseeders = 2\n[build]\nsize = \"1 MiB\"\n\
                [network.host]\nuplink = \"1 MB/s\"\ndownlink = \"2 MB/s\"\nspread = \"50%\"\n\
                [faults.bad]\nkind = \"corrupt\"\nhosts = 3\n[faults.late]\nkind = \"join-late\"\nhosts = 4\nat = \"2s\"\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.toml");
    std::fs::write(&path, text).unwrap();
    let scenario = Scenario::load(&path, &LoadOptions::default()).unwrap();
    let plan = scenario.plan(0);
    let region = Region::new(RegionSetup {
        manifest: Arc::new(Manifest::new("x", swarm::Bytes::new(1), 16, vec![swarm::Hash::of(b"x")]).unwrap()),
        topology: Topology::new(&plan, &scenario.network).unwrap(),
        plan: Arc::new(plan.clone()),
        settings: scenario.swarm.clone(),
        recorded: None,
        deadline: Duration::from_secs(1),
    });
    for host in &plan.hosts {
        let member = MemberId::of(host.id);
        let (config, seed) = region.peer(member);
        assert_eq!((config.host, config.zone, seed), (host.id, host.swarm_zone, host.seed));
        assert!(
            config
                .seeders
                .iter()
                .map(|seeder| seeder.host)
                .eq(plan.seeders.iter().map(|seeder| seeder.id))
        );
        let links = host.links.unwrap();
        assert_eq!(region.transfers.links(member), (links.uplink, links.downlink));
        assert_eq!(region.setup.topology.zone(member), host.zone as usize);
        assert_eq!(region.members.serves(member), host.serves);
    }
    for seeder in &plan.seeders {
        assert_eq!(region.members.seeder(seeder.index as usize).host(), seeder.id);
    }
    assert_eq!(region.expected as usize, plan.required());
}
