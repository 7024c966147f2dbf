//! What comes into a zone and who is invited, each rule at the edge where it begins to hold.

use super::*;

const A: HostId = HostId::new(1);
const B: HostId = HostId::new(2);

fn chunk(index: u32) -> ChunkIndex {
    ChunkIndex::new(index)
}

#[test]
fn an_invitation_that_is_taken_up_ends_all_later_ones_to_the_same_chunk() {
    let invited = [(A, 1), (B, 1), (A, 2), (B, 2)].map(|(host, index)| (host, chunk(index)));
    let mut imports = Imports {
        open: 4,
        invited: invited.into_iter().collect(),
        ..Imports::default()
    };
    imports.imported(A, chunk(2));
    assert_eq!(imports.invited.as_slice(), [(A, chunk(1)), (B, chunk(1))]);
    imports.imported(B, chunk(1));
    assert_eq!(
        imports.invited.as_slice(),
        [(A, chunk(1))],
        "those that came before it stay"
    );
    assert_eq!((imports.open, imports.uninvited.len()), (4, 0), "it was invited");
}

#[test]
fn a_zone_that_starves_goes_on_while_what_it_fetches_so_comes_and_stops_as_its_own_hosts_deliver() {
    let mut imports = Imports {
        open: 2,
        ..Imports::default()
    };
    imports.imported(A, chunk(1));
    imports.imported(A, chunk(2));
    imports.imported(A, chunk(3));
    assert_eq!((imports.open, imports.uninvited.len()), (0, 3));
    for (index, origin, open) in [
        (1, Origin::OtherZone, 1),
        (9, Origin::OtherZone, 1),
        (2, Origin::OtherZone, 2),
        (2, Origin::OtherZone, 2),
        (3, Origin::OwnZone, 1),
        (4, Origin::Seeder, 1),
        (5, Origin::OwnZone, 0),
        (6, Origin::OwnZone, 0),
    ] {
        imports.acquired(chunk(index), origin);
        assert_eq!(imports.open, open, "after {index} from {origin:?}");
    }
    assert_eq!(imports.first_copies, [chunk(4)]);
    imports.open = IMPORTS_AT_ONCE;
    imports.uninvited.push(chunk(7));
    imports.acquired(chunk(7), Origin::OtherZone);
    assert_eq!(imports.open, IMPORTS_AT_ONCE, "so many at a time at most");
}

#[test]
fn of_what_is_fetched_without_invitation_no_more_is_kept_in_mind_than_of_invitations() {
    let mut imports = Imports::default();
    (0..2000).for_each(|index| imports.imported(A, chunk(index)));
    assert_eq!(imports.uninvited.len(), INVITATIONS_MAX);
}

#[test]
fn what_is_lost_is_taken_from_the_zones_that_were_told_of_it_and_from_no_others() {
    let zones = ["a", "b", "c"].map(ZoneId::named);
    let mut imports = Imports::default();
    (10..15).for_each(|index| imports.acquired(chunk(index), Origin::Seeder));
    imports.invited_to = zones.into_iter().zip([0, 2, 5]).collect();
    imports.lost(chunk(99));
    imports.lost(chunk(12));
    let told = |imports: &Imports| imports.invited_to.iter().map(|(_, told)| *told).collect::<Vec<_>>();
    assert_eq!((told(&imports), imports.first_copies.len()), (vec![0, 2, 4], 4));
    imports.lost(chunk(11));
    assert_eq!(told(&imports), [0, 1, 3]);
}

#[test]
fn the_invitations_of_who_goes_go_with_it() {
    let mut imports = Imports {
        early: vec![(A, 1), (B, 1)],
        invited: [(B, chunk(2)), (A, chunk(2))].into_iter().collect(),
        ..Imports::default()
    };
    imports.host_gone(A);
    assert_eq!(
        (imports.early.as_slice(), imports.invited.as_slice()),
        (&[(B, 1)][..], &[(B, chunk(2))][..])
    );
}
