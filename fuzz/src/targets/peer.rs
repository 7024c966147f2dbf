//! A host, whose seeder and neighbours say whatever they like.

use swarm::{Action, ChunkIndex, ChunkPolicy, Contact, Event, HostId, Peer, PeerConfig, Time};

use super::driven::{Core, Driven, FIRST, OWN};
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

impl Core for Peer {
    fn handle_event(&mut self, now: Time, event: Event) {
        Self::handle_event(self, now, event);
    }

    fn poll_action(&mut self) -> Option<Action> {
        Self::poll_action(self)
    }

    fn next_wakeup(&self) -> Option<Time> {
        Self::next_wakeup(self)
    }

    fn check(&self) -> Result<(), String> {
        Self::check(self)
    }

    fn expects(&self, from: HostId, chunk: ChunkIndex) -> bool {
        Self::expects(self, from, chunk)
    }
}
