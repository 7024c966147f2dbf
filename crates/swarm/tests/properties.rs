//! Fleets of random shape under random faults. Safety while the faults last: chunks and requests agree at every host, after every
//! event, as peers themselves assert where builds are small; nobody holds more than there is, and who is complete stays so. Then the faults end, and everybody who is there must converge.

mod rig;

use std::time::Duration;

use proptest::prelude::*;
use rig::{Fault, Mesh, Shape};
use swarm::{ByteRate, ChunkPolicy, HostId};

#[derive(Clone, Debug)]
enum Step {
    Run(u64),
    Leave(usize),
    Join,
    Misbehave(usize, bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u64..400).prop_map(Step::Run),
        2 => any::<usize>().prop_map(Step::Leave),
        2 => Just(Step::Join),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(host, stall)| Step::Misbehave(host, stall)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_healthy_hosts_that_stay_converge(
        seed in any::<u64>(),
        hosts in 2u64..40,
        chunks in 1u32..40,
        loss_percent in 0u32..8,
        uplink in 50_000u64..5_000_000,
        spread in 1u64..4,
        policy in prop::sample::select(ChunkPolicy::ALL),
        steps in prop::collection::vec(step(), 0..25),
    ) {
        let rate = |bytes| ByteRate::from_bytes_per_second(bytes).unwrap();
        let mut mesh = Mesh::seeded(Shape {
            hosts,
            chunks,
            chunk_size: 16 << 10,
            uplink: rate(uplink),
            downlink: rate(uplink * spread),
            latency: Duration::from_millis(2),
            loss_percent,
            seed,
            policy,
            ..Shape::default()
        });
        let mut next = 1000;
        let mut complete = 0;
        for step in steps {
            match step {
                Step::Run(millis) => mesh.run_for(Duration::from_millis(millis)),
                Step::Leave(index) if mesh.peers.len() > 1 => {
                    let host = *mesh.peers.keys().nth(index % mesh.peers.len()).unwrap();
                    mesh.faults.remove(&host);
                    mesh.leave(host);
                }
                Step::Leave(_) => {}
                Step::Join => {
                    mesh.join(HostId::new(next));
                    next += 1;
                }
                // A healthy majority is left: with none, there is nobody to converge.
                Step::Misbehave(index, stall) if mesh.faults.len() * 4 < mesh.peers.len() => {
                    let host = *mesh.peers.keys().nth(index % mesh.peers.len()).unwrap();
                    mesh.faults.insert(host, if stall { Fault::Stall } else { Fault::Corrupt });
                }
                Step::Misbehave(..) => {}
            }
            for peer in mesh.peers.values() {
                prop_assert_eq!(peer.check(), Ok(()));
                if let Some((held, total)) = peer.progress() {
                    prop_assert!(held <= total && total == chunks);
                    prop_assert_eq!(peer.is_complete(), held == total);
                }
            }
            prop_assert!(mesh.completed_at.len() >= complete, "a host was complete and is not any more");
            complete = mesh.completed_at.len();
        }
        mesh.run_until_complete(Duration::from_secs(3600));
    }
}
