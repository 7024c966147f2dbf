//! What hosts of a run are given.

use super::*;
use bytes::Bytes;
use cloud::CloudConfig;
use peer::{Answer, Role, StoreOpener};
use scenario::{Links, LoadOptions, Serves};
use swarm::Manifest;

/// With the test of the same name of the simulator: what runs is the fleet that is simulated, host for host.
#[tokio::test]
async fn hosts_are_given_to_the_core_as_they_are_planned() {
    let text = "[regions.region-a]\nhosts = 40\nzones = 3\nseeders = 2\n[regions.region-b]\nhosts = 20\n\
                [build]\nsize = \"1 MiB\"\n\
                [network.host]\nuplink = \"1 MB/s\"\ndownlink = \"2 MB/s\"\nspread = \"50%\"\n\
                [faults.bad]\nkind = \"corrupt\"\nhosts = 3\n[faults.lazy]\nkind = \"stall\"\nhosts = 2\n\
                [faults.gone]\nkind = \"leave\"\nhosts = 4\nat = \"2s\"\n\
                [faults.liar]\nkind = \"claim\"\nhosts = 2\n[faults.overloaded]\nkind = \"busy\"\nhosts = 1\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.toml");
    std::fs::write(&path, text).unwrap();
    let scenario = Scenario::load(&path, &LoadOptions::default()).unwrap();
    let plans: Arc<[RegionPlan]> = scenario.plans().into();
    let mut given = Vec::new();
    for index in 0..3 {
        let fleet = fleet(&scenario, &plans, Slice { index, count: 3 }).await;
        assert_eq!(
            fleet.pending(),
            (0..fleet.shared.slots.len())
                .filter(|slot| fleet.shared.plan(*slot).is_required())
                .count()
        );
        for slot in 0..fleet.shared.slots.len() {
            let region = fleet.shared.slots[slot].region;
            let plan = fleet.shared.plan(slot);
            let config = node_config(&fleet.shared, slot, &fleet.surroundings, &fleet.finished);
            assert_eq!(config.seed, plan.seed);
            assert_eq!(config.shaping.uplink, plan.links.as_ref().map(Links::uplink));
            assert_eq!(config.shaping.downlink, plan.links.as_ref().map(Links::downlink));
            assert_eq!(serves(&config.store), plan.serves);
            let Role::Host(configure) = config.role else {
                panic!("a host is a host");
            };
            let core = configure(plan.id, Bytes::new());
            assert_eq!((core.host, core.zone), (plan.id, plan.swarm_zone));
            let seeders = (0..plans[region].seeders.len()).map(seeder_of_test);
            assert!(
                core.seeders
                    .iter()
                    .map(|seeder| seeder.host)
                    .eq(seeders.map(|seeder| seeder.host()))
            );
            let row = fleet.shared.row(slot, &NodeReport::default(), None, Time::ZERO);
            assert_eq!(row.host_id, scenario.regions[region].host_name(plan.index));
            assert!(row.zone.ends_with(&format!("-zone-{}", plan.zone)), "{}", row.zone);
            given.push((region, plan.clone()));
        }
    }
    given.sort_by_key(|(region, plan)| (*region, plan.index));
    let planned = plans
        .iter()
        .flat_map(|plan| plan.hosts.iter().map(|host| (plan.region, host.clone())));
    assert!(given.into_iter().eq(planned), "every planned host is in one slice");
}

/// What the owner of such a store does with requests.
#[tokio::test]
async fn hosts_believe_what_the_run_has_signed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.toml");
    let text = "[regions.region-a]\nhosts = 1\n[build]\nid = \"a.zip\"\nsize = \"1 KiB\"\n";
    std::fs::write(&path, text).unwrap();
    let scenario = Scenario::load(&path, &LoadOptions::default()).unwrap();
    let plans: Arc<[RegionPlan]> = scenario.plans().into();
    let fleet = fleet(&scenario, &plans, Slice { index: 0, count: 1 }).await;
    let config = node_config(&fleet.shared, 0, &fleet.surroundings, &fleet.finished);
    let Role::Host(configure) = config.role else {
        panic!("a host is none");
    };
    let verifier = configure(HostId::new(1), Bytes::new()).verifier.unwrap();
    let manifest = Manifest::of("a.zip", &[7; 1024], 64).unwrap();
    let mut other = scenario.clone();
    other.seed += 1;
    let signed_by = |scenario: &Scenario| swarm::BuildInfo {
        signature: crate::live::signed::sign(scenario, &manifest).to_string().into(),
        ..manifest.info()
    };
    assert!(verifier.verify(&manifest.info()).unwrap_err().contains("not signed"));
    assert!(verifier.verify(&signed_by(&other)).unwrap_err().contains("not trusted"));
    assert!(verifier.verify(&signed_by(&scenario)).is_ok());
}

fn serves(store: &StoreOpener) -> Serves {
    let build = b"one chunk is enough";
    let manifest = Arc::new(Manifest::of("b", build, 64).unwrap());
    let (store, chunk) = (store.open(Arc::clone(&manifest)).unwrap(), manifest.chunk(0).unwrap());
    let claims = store.held().is_full();
    store.keep(chunk, build.as_slice().into()).unwrap();
    match (store.answer(chunk), store.read(chunk).unwrap() == build.as_slice()) {
        (Answer::Chunk, true) => Serves::Honest,
        (Answer::Chunk, false) => Serves::Corrupt,
        (Answer::Nothing, _) if claims => Serves::Claims,
        (Answer::Nothing, _) => Serves::Nothing,
        (Answer::Busy, _) => Serves::Busy,
    }
}

fn seeder_of_test(place: usize) -> NodeIdentity {
    NodeIdentity::from_seed(1, HostId::new(place as u64))
}

async fn fleet(scenario: &Scenario, plans: &Arc<[RegionPlan]>, slice: Slice) -> Fleet {
    let address = |seeder: usize| {
        let peer = seeder_of_test(seeder).peer_id();
        format!("/memory/{}/p2p/{peer}", seeder + 1).parse().unwrap()
    };
    let surroundings = Surroundings {
        place: Place::default(),
        path: PathDelay::new(Duration::ZERO),
        paths: None,
        downlinks: plans.iter().map(|_| Downlinks::default()).collect(),
        pool: ChunkPool::default(),
        clock: Clock::start(),
        // Nothing is written: the fleet is not started.
        rows: RowsTo::Table(CloudConfig {
            s3_endpoint: None,
            dynamodb_endpoint: Some("http://127.0.0.1:1".to_owned()),
            endpoint: None,
            stage: String::new(),
            region: None,
            credentials: Some(cloud::Credentials {
                access_key_id: "test".to_owned(),
                secret_access_key: "test".to_owned(),
            }),
        }),
        seeders: plans
            .iter()
            .map(|plan| (0..plan.seeders.len()).map(address).collect())
            .collect(),
        believed: Some(Believed::of_run(scenario.seed)),
        certifier: Some(Certifier::of_run(scenario.seed)),
        recorded: None,
    };
    Fleet::new(scenario, Arc::clone(plans), slice, surroundings).await
}
