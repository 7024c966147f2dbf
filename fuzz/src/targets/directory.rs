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
    // A row is in the name that was proven, and what is in it any reader of the table can read.
    if let Some(row) = peer::read_row(data, "web-1") {
        assert_eq!(row.host_id, "web-1");
        assert!(check_key(&row.build_id).is_ok());
        assert!(row.started_at <= row.completed_at && row.completed_at <= std::time::SystemTime::now());
        assert!(u64::try_from(row.duration.as_millis()).is_ok());
        assert!(!row.error.unwrap_or_default().chars().any(char::is_control));
    }
    if let Some(proof) = peer::read_question(data) {
        let _ = proof.parse::<Certificate>();
    }
}
