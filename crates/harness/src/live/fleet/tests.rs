//! What hosts of a run are given.

use super::*;
use bytes::Bytes;
use cloud::CloudConfig;
use peer::{Answer, NodeConfig, NodeIdentity, NodeReport, Observer, Role, StoreOpener};
use scenario::{Links, LoadOptions, Serves};
use swarm::{HostId, Manifest};

use super::configs::node_config;
use crate::live::protocol::FromWorker;

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
            fleet.status().pending,
            (0..fleet.members.count())
                .filter(|slot| fleet.members.plan(*slot).is_required())
                .count()
        );
        for slot in 0..fleet.members.count() {
            let region = fleet.members.region(slot);
            let plan = fleet.members.plan(slot);
            let config = config_of(&fleet, slot);
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
            let row = fleet
                .members
                .fixed()
                .row(slot, Duration::ZERO, &NodeReport::default(), None);
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

#[tokio::test]
async fn hosts_believe_what_the_run_has_signed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.toml");
    let text = "[regions.region-a]\nhosts = 1\n[build]\nid = \"a.zip\"\nsize = \"1 KiB\"\n";
    std::fs::write(&path, text).unwrap();
    let scenario = Scenario::load(&path, &LoadOptions::default()).unwrap();
    let plans: Arc<[RegionPlan]> = scenario.plans().into();
    let fleet = fleet(&scenario, &plans, Slice { index: 0, count: 1 }).await;
    let config = config_of(&fleet, 0);
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

struct Unobserved;

impl Observer for Unobserved {}

fn config_of(fleet: &Fleet, slot: usize) -> NodeConfig {
    node_config(fleet.members.fixed(), slot, Arc::new(Unobserved))
}

/// What the owner of such a store does with requests.
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
    // Nothing is written: the fleet is not started.
    let table = RowsTo::Table(CloudConfig {
        s3_endpoint: None,
        dynamodb_endpoint: Some("http://127.0.0.1:1".to_owned()),
        endpoint: None,
        stage: String::new(),
        region: None,
        credentials: Some(cloud::Credentials {
            access_key_id: "test".to_owned(),
            secret_access_key: "test".to_owned(),
            session_token: None,
        }),
    });
    fleet_with_rows(scenario, plans, slice, table).await
}

async fn fleet_with_rows(scenario: &Scenario, plans: &Arc<[RegionPlan]>, slice: Slice, rows: RowsTo) -> Fleet {
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
        rows,
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

/// A fleet of three hosts that are never started, and where its rows come out.
async fn three_hosts() -> (Fleet, mpsc::Receiver<FromWorker>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.toml");
    std::fs::write(&path, "[regions.region-a]\nhosts = 3\n[build]\nsize = \"1 MiB\"\n").unwrap();
    let scenario = Scenario::load(&path, &LoadOptions::default()).unwrap();
    let plans: Arc<[RegionPlan]> = scenario.plans().into();
    let (sender, rows) = mpsc::channel(16);
    let all = Slice { index: 0, count: 1 };
    (fleet_with_rows(&scenario, &plans, all, RowsTo::Run(sender)).await, rows)
}

/// Host ids and errors of the rows that came out.
fn written(rows: &mut mpsc::Receiver<FromWorker>) -> Vec<(String, Option<String>)> {
    let mut written = Vec::new();
    while let Ok(said) = rows.try_recv() {
        let FromWorker::Rows(batch) = said else {
            panic!("a fleet writes rows and says nothing else");
        };
        written.extend(batch.into_iter().map(|row| (row.host_id, row.error)));
    }
    written
}

fn complete_after(millis: u64) -> What {
    What::Complete(Time::ZERO + Duration::from_millis(millis))
}

#[tokio::test]
async fn a_host_that_is_done_before_the_beginning_is_heard_of_gets_one_row_and_no_more() {
    let (mut fleet, mut rows) = three_hosts().await;
    fleet.members.tell(0, complete_after(3));
    fleet.news().await;
    assert_eq!(written(&mut rows), [], "nobody knows yet what its latency counts from");
    fleet.begin(vec![Time::ZERO]);
    fleet.members.tell(0, What::LostChunks);
    fleet.members.tell(0, complete_after(9));
    fleet.members.tell(2, What::Failed("its disk is gone".to_owned()));
    let result = fleet.finish().await;
    let mut written = written(&mut rows);
    written.sort();
    let [(done, None), (late, Some(why)), (broken, Some(cause))] = written.as_slice() else {
        panic!("one row for each host: {written:?}");
    };
    assert!(
        done.ends_with('0') && late.ends_with('1') && broken.ends_with('2'),
        "{written:?}"
    );
    assert!(
        why.starts_with("not complete") && cause == "its disk is gone",
        "{written:?}"
    );
    let took = result.outcomes[0].verified_after;
    assert_eq!(took, Some(Duration::from_millis(9)), "it has all of it since then");
}

#[tokio::test]
async fn a_fleet_shows_who_is_done_and_who_is_still_waited_for() {
    let (fleet, _rows) = three_hosts().await;
    let seen = |fleet: &Fleet| {
        let FleetStatus {
            done, failed, pending, ..
        } = fleet.status();
        (done[0], failed, pending)
    };
    let slots = |news: Vec<HostTold>| news.iter().map(|told| told.outcome.host).collect::<Vec<_>>();
    assert_eq!(seen(&fleet), (0, 0, 3), "before anything has happened");
    fleet.members.tell(1, complete_after(5));
    fleet.members.tell(1, complete_after(6));
    assert_eq!(slots(fleet.news().await), [1]);
    assert_eq!(slots(fleet.news().await), [0_u32; 0], "what was told is not told again");
    fleet.members.tell(1, What::LostChunks);
    fleet.members.tell(0, What::Failed("its disk is gone".to_owned()));
    fleet.members.tell(2, complete_after(7));
    assert_eq!(slots(fleet.news().await), [1, 2]);
    // The one that asks is answered before the others are shown.
    fleet.news().await;
    assert_eq!(seen(&fleet), (1, 1, 1));
}
