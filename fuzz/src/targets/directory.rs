//! What hosts and directories say to each other: whatever it is, it is a list of builds or nothing, and what is listed has a swarm.

use cloud::check_key;
use signing::Certificate;

pub(crate) fn run(data: &[u8]) {
    if let Some(builds) = peer::read_answer(data) {
        for build in builds {
            let _ = check_key(&build.key);
            // Equal builds are in one swarm, and only these.
            assert_eq!(build.swarm(), build.clone().swarm());
            for address in &build.seeders {
                assert_eq!(address.to_string().parse().ok().as_ref(), Some(address), "{address}");
            }
        }
    }
    if let Some(proof) = peer::read_question(data) {
        let _ = proof.parse::<Certificate>();
    }
}
