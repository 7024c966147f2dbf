//! A host, whose seeder and neighbours say whatever they like.

use swarm::{ChunkPolicy, Contact, HostId, Peer, PeerConfig, Time};

use super::driven::{Driven, FIRST, OWN, core};
use crate::input::Input;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let how = input.byte();
    let seeder = |host| Contact {
        host,
        address: "seeder".into(),
    };
    let seeders = if how & 1 == 0 {
        vec![FIRST]
    } else {
        vec![FIRST, HostId::new(2)]
    };
    let mut config = PeerConfig::with_seeders(OWN, "me".into(), seeders.into_iter().map(seeder));
    config.degree = [12, 1, 3][usize::from(how >> 1) % 3];
    config.policy = ChunkPolicy::ALL[usize::from(how >> 3) % ChunkPolicy::ALL.len()];
    config.upload_slots = (how & 0x40 != 0).then_some(1);
    let peer = Peer::new(config, input.byte().into(), Time::ZERO);
    Driven::new(peer, None).play(&mut input);
}

core!(Peer, Peer::expects);
