//! A seeder, whose members say whatever they like.

use std::sync::Arc;

use swarm::{Bitfield, Part, Seeder, SeederConfig, Time};

use super::driven::{Driven, OWN, build, core};
use crate::input::Input;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let how = input.byte();
    let mut config = SeederConfig::new(OWN);
    config.degree = [12, 1, 3][usize::from(how) % 3];
    config.clients = [32, 1, 2][usize::from(how >> 2) % 3];
    config.upload_slots = (how & 0x10 != 0).then_some(1);
    config.copies_max = if how & 0x20 == 0 { 2 } else { 1 };
    if how & 0x40 != 0 {
        config.part = Part::new(1, 2).expect("the second of two");
    }
    let mut seeder = Seeder::new(config, input.byte().into(), Time::ZERO);
    let manifest = Arc::new(build(0));
    let store = Bitfield::full(manifest.chunk_count());
    seeder.seed(Time::ZERO, manifest);
    Driven::new(seeder, Some(store)).play(&mut input);
}

core!(Seeder, |_, _, _| false);
