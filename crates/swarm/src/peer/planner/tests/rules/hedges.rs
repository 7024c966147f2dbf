//! Whom a plan asks for what comes late or slowly, and whom not.

use super::*;

/// Everybody who was asked by now is late.
fn mark(scene: &mut Scene) {
    assert!(!scene.ledger.mark_late(at(NOW - 100)).is_empty());
}

#[test]
fn what_somebody_is_late_with_is_asked_of_a_seeder_where_nobody_else_has_it_and_it_has_room() {
    let full = full();
    let late = [(1, 1, 0, Some(0))];
    let overdue: Vec<u32> = (100..116).collect();
    check([
        (
            "of another neighbour and not of the seeder too",
            Scene::new(&[1], &[(SEEDER, &full), (1, &[1]), (2, &[1])])
                .asked(&late)
                .with(mark),
            vec![(2, 1, Why::Hedge)],
        ),
        (
            "of the seeder, before what it alone has",
            Scene::new(&[1, 2], &[(SEEDER, &full), (1, &[1])])
                .asked(&late)
                .with(mark),
            vec![(SEEDER, 1, Why::Hedge), (SEEDER, 2, Why::Rescue)],
        ),
        (
            "not where it is asked for as much as one neighbour",
            Scene::new(&[1, 7, 8], &[(SEEDER, &full), (1, &[1])])
                .asked(&late)
                .with(mark)
                .asked(&[(SEEDER, 7, NOW, Some(NOW)), (SEEDER, 8, NOW, Some(NOW))]),
            vec![],
        ),
        (
            "not where it is overdue with as much as may wait there",
            Scene::new(&[&[1], &overdue[..]].concat(), &[(SEEDER, &full), (1, &[1])])
                .asked(
                    &overdue
                        .iter()
                        .map(|index| (SEEDER, *index, 0, None))
                        .collect::<Vec<_>>(),
                )
                .with(|scene| drop(scene.ledger.expire(at(200_000))))
                .asked(&late)
                .with(mark),
            vec![],
        ),
        (
            "not where it is the seeder that is late",
            Scene::new(&[1], &[(SEEDER, &full), (1, &[])])
                .asked(&[(SEEDER, 1, 0, Some(0))])
                .with(mark),
            vec![],
        ),
    ]);
}

#[test]
fn what_is_late_is_asked_of_who_is_idle_and_has_not_lost_its_turn() {
    let late = [(1, 1, 0, Some(0))];
    check([
        (
            "not of who has requests of others waiting",
            Scene::new(&[1], &[(1, &[1]), (2, &[1]), (3, &[1])])
                .asked(&late)
                .with(mark)
                .with(|scene| scene.neighbours.set_busy(host(2), true)),
            vec![(3, 1, Why::Hedge)],
        ),
        (
            "not of a seeder that offered it and has lost its turn",
            Scene::new(&[1], &[(SEEDER, &[1]), (1, &[1])])
                .asked(&late)
                .with(mark)
                .with(|scene| scene.parked = vec![SEEDER]),
            vec![],
        ),
        (
            "nor where it is only slow",
            Scene::new(&[1], &[(SEEDER, &[1]), (1, &[1])])
                .asked(&[(1, 1, 0, Some(NOW - 2 * TRANSFER))])
                .with(|scene| scene.parked = vec![SEEDER]),
            vec![],
        ),
        (
            "nor of who was asked for it a moment ago, where it is slow",
            Scene::new(&[1], &[(1, &[1]), (2, &[1])])
                .asked(&[(1, 1, 0, Some(NOW - 2 * TRANSFER)), (2, 1, NOW, None)])
                .with(|scene| scene.ledger.give_up(host(2), chunk(1))),
            vec![],
        ),
    ]);
}

#[test]
fn one_chunk_that_a_starving_zone_may_import_is_one_also_where_two_are_late() {
    let both = [1, 2].as_slice();
    let mut scene = Scene::new(both, &[(1, both), (2, &[]), (3, &[]), (4, &[]), (8, both), (9, both)])
        .remote(&[8, 9])
        .asked(&[(1, 1, 0, Some(0)), (1, 2, 1, Some(1))])
        .with(mark)
        .with(|scene| scene.open = 1);
    assert_eq!(scene.plan(), [(8, 1, Why::Hedge)]);
}

#[test]
fn a_late_chunk_is_unserved_where_nobody_else_has_it() {
    let unserved = |scene: Scene| {
        let mut unserved = scene.with(mark).made().unserved.to_vec();
        unserved.dedup();
        unserved
    };
    let late = [(1, 1, 0, Some(0))];
    let alone = Scene::new(&[1], &[(1, &[1]), (2, &[])]).asked(&late);
    assert_eq!(unserved(alone), [chunk(1)]);
    let other = Scene::new(&[1], &[(1, &[1]), (2, &[1])]).asked(&late);
    assert_eq!(unserved(other), []);
    let busy = [(2, 8, NOW, Some(NOW)), (2, 9, NOW, Some(NOW))];
    let without_room = Scene::new(&[1, 8, 9], &[(1, &[1]), (2, &[1, 8, 9])])
        .asked(&late)
        .asked(&busy);
    assert_eq!(unserved(without_room), [], "it has it, and no room");
}

/// Four are silent, and nobody more is asked but a seeder.
#[test]
fn when_nothing_else_is_missing_a_seeder_is_asked_for_what_is_late_however_many_were() {
    let full = full();
    let one = [1].as_slice();
    let new = |wanted: &[u32]| Scene::new(wanted, &[(SEEDER, &full), (1, one), (2, one), (3, one), (4, one)]);
    let silent = |scene: Scene| {
        scene
            .asked(&[(1, 1, 0, None), (2, 1, 0, None)])
            .with(mark)
            .asked(&[(3, 1, 0, None), (4, 1, 0, None)])
            .with(mark)
    };
    let scene = |wanted: &[u32]| silent(new(wanted));
    // What the seeder is overdue with nobody else has.
    let with_overdue = new(&[1, 20])
        .asked(&[(SEEDER, 20, 0, None)])
        .with(|scene| drop(scene.ledger.expire(at(200_000))));
    check([
        ("it is", scene(one), vec![(SEEDER, 1, Why::Hedge)]),
        ("not while something is wanted", silent(with_overdue), vec![]),
        (
            "not where it was asked and is late as well",
            scene(one).asked(&[(SEEDER, 1, 0, None)]).with(mark),
            vec![],
        ),
        (
            "not where it was asked a moment ago",
            scene(one)
                .asked(&[(SEEDER, 1, NOW, None)])
                .with(|scene| scene.ledger.give_up(host(SEEDER), chunk(1))),
            vec![],
        ),
        (
            "not where as much is asked of it as of one neighbour",
            scene(&[1, 7, 8]).asked(&[(SEEDER, 7, NOW, Some(NOW)), (SEEDER, 8, NOW, Some(NOW))]),
            vec![],
        ),
    ]);
}
