use proptest::prelude::*;

use super::*;
use crate::trust::TrustedKeys;
use crate::{Claim, NotAdmitted, Terms};

const NOW: u64 = 1_800_000_000_000;
const HOUR: u64 = 3_600_000;
const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

fn at(millis: u64) -> Moment {
    Moment::from_millis(millis).unwrap()
}

fn key(number: u8) -> SecretKey {
    SecretKey::from_bytes(&[number; 32])
}

fn terms() -> MemberTerms {
    MemberTerms {
        peer: PEER.to_owned(),
        host: "web-1-0123abcd".to_owned(),
        zone: Some("eu-west-1a".to_owned()),
        groups: vec!["web".to_owned(), "canary".to_owned()],
        addresses: vec!["10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap()],
        not_before: at(NOW),
        not_after: at(NOW + 24 * HOUR),
    }
}

fn certificate() -> Certificate {
    key(1).certify(Member::new(terms()).unwrap())
}

fn longest() -> Certificate {
    let name = |length| "x".repeat(length);
    let latest = 253_402_300_799_999;
    key(7).certify(
        Member::new(MemberTerms {
            peer: name(PEER_MAX),
            host: name(HOST_MAX),
            zone: Some(name(ZONE_MAX)),
            groups: vec![name(GROUP_MAX); GROUPS_MAX],
            addresses: vec!["1111:2222:3333:4444:5555:6666:7777:8888".parse().unwrap(); ADDRESSES_MAX],
            not_before: at(latest - 1),
            not_after: at(latest),
        })
        .unwrap(),
    )
}

#[test]
fn every_part_of_a_member_moves_its_bytes() {
    let changed = |change: fn(&mut MemberTerms)| {
        let mut terms = terms();
        change(&mut terms);
        Member::new(terms).unwrap().message()
    };
    let all = [
        changed(|_| {}),
        changed(|terms| terms.peer.push('x')),
        changed(|terms| terms.host.push('x')),
        changed(|terms| terms.zone = None),
        changed(|terms| terms.zone = Some("eu-west-1b".to_owned())),
        changed(|terms| terms.groups.clear()),
        changed(|terms| terms.groups = vec!["webcanary".to_owned()]),
        changed(|terms| terms.groups.reverse()),
        changed(|terms| terms.addresses.clear()),
        changed(|terms| terms.addresses.reverse()),
        changed(|terms| terms.not_before = at(NOW + 1)),
        changed(|terms| terms.not_after = at(NOW + 1)),
    ];
    let different: BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len());
}

/// A key that signs builds too signs no member by that.
#[test]
fn what_was_signed_as_a_build_is_no_certificate() {
    let claim = Claim {
        build_id: "b",
        size: 1,
        chunk_size: 1,
        root: swarm::Hash::of(b"r"),
        terms: Terms {
            sequence: 1,
            signed: at(NOW),
            expires: None,
        },
    };
    assert!(
        !claim.message().starts_with(DOMAIN) && !certificate().member().message().starts_with(b"fleetcast 1 signed")
    );
}

#[test]
fn who_is_certified_by_a_known_key_in_its_time_is_a_member_and_nobody_else() {
    let (keys, one) = (TrustedKeys::of([key(1).public()]), certificate());
    assert_eq!(keys.admit(&one, PEER, at(NOW)), Ok(()));
    let refused = |keys: &TrustedKeys, one: &Certificate, peer, now| keys.admit(one, peer, at(now)).unwrap_err();
    let other = TrustedKeys::of([key(2).public()]);
    assert!(matches!(
        refused(&other, &one, PEER, NOW),
        NotAdmitted::Untrusted { .. }
    ));
    assert!(matches!(
        refused(&keys, &one, "12D3KooWother", NOW),
        NotAdmitted::OtherPeer { .. }
    ));
    let ended = refused(&keys, &one, PEER, NOW + 25 * HOUR);
    assert!(ended.to_string().contains("1 h ago"), "{ended}");
    let early = refused(&keys, &one, PEER, NOW - HOUR);
    assert!(early.to_string().contains("1 h from now"), "{early}");
    // Clocks are a little apart.
    assert_eq!(keys.admit(&one, PEER, at(NOW - 9 * 60_000)), Ok(()));
    // While a key takes the place of another both are taken.
    let both = TrustedKeys::of([key(2).public(), key(1).public()]);
    assert_eq!(both.admit(&one, PEER, at(NOW)), Ok(()));
}

#[test]
fn no_field_of_a_certificate_can_be_changed() {
    let (keys, text) = (TrustedKeys::of([key(1).public()]), certificate().to_string());
    for (from, to) in [
        ("host=web-1", "host=web-2"),
        ("zone=eu-west-1a", "zone=eu-west-1b"),
        ("groups=web,canary", "groups=web,canary,root"),
        ("10.0.0.7", "10.0.0.8"),
        (&*format!("until={}", NOW + 24 * HOUR), "until=253402300799999"),
        (&*format!("from={NOW}"), "from=0"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        let refused = keys.admit(&changed.parse().unwrap(), PEER, at(NOW));
        assert!(matches!(refused, Err(NotAdmitted::Forged { .. })), "{to}: {refused:?}");
    }
}

#[test]
fn the_longest_certificate_and_the_shortest_are_read_as_they_were_written() {
    let shortest = key(1).certify(
        Member::new(MemberTerms {
            zone: None,
            groups: Vec::new(),
            addresses: Vec::new(),
            ..terms()
        })
        .unwrap(),
    );
    for one in [longest(), certificate(), shortest] {
        let text = one.to_string();
        assert_eq!(text.parse(), Ok(one));
        assert!(text.len() <= CERTIFICATE_TEXT_MAX * 3 / 4, "{}", text.len());
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_of_its_field() {
    let text = certificate().to_string();
    let said = |text: &str| text.parse::<Certificate>().unwrap_err().to_string();
    assert!(said("").contains("does not begin with"));
    assert!(said(&text[..90]).contains("is missing"));
    assert!(said(&text.replace("10.0.0.7", "010.0.0.7")).contains("field addresses"));
    assert!(said(&text.replace("fd00::7", "fd00:0::7")).contains("field addresses"));
    assert!(said(&text.replace("host=", "host=ä")).contains("its host is"));
    assert!(said(&text.replace("from=", "from=0")).contains("field from"));
    assert!(said(&format!("{text};more=1")).contains("goes on"));
    assert!(said(&format!("{text}{}", "x".repeat(2000))).contains("2048 at most"));
    assert!(said(&text.replace("groups=web", "groups=,web")).contains("its groups"));
    let backwards = text.replace(&format!("until={}", NOW + 24 * HOUR), "until=5");
    assert!(said(&backwards).contains("its until is"), "{}", said(&backwards));
}

#[test]
fn a_file_has_a_certificate_and_another_those_who_are_none_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let written = |text: &str| std::fs::write(&path, text).unwrap();
    written(&format!("# of web-1\n\n{}\n", certificate()));
    assert_eq!(Certificate::read(&path).unwrap(), certificate());
    written("# nobody\n");
    assert!(
        Certificate::read(&path)
            .unwrap_err()
            .to_string()
            .contains("no certificate")
    );
    written("# x\nnonsense\n");
    assert!(
        Certificate::read(&path)
            .unwrap_err()
            .to_string()
            .contains(":2: it does not")
    );
    let denied = |text: &str| {
        written(text);
        DenyList::read(&path).unwrap().has(certificate().member())
    };
    assert!(denied(&format!("{PEER} # stolen\n")) && denied("# who\nweb-1-0123abcd\n"));
    assert!(!denied("") && !denied("web-1\n"));
    written("two words are fine\nbut;not;this\n");
    assert!(
        DenyList::read(&path)
            .unwrap_err()
            .to_string()
            .contains(":2: expected a peer id")
    );
    assert!(DenyList::read(&folder.path().join("none")).is_err());
}

proptest! {
    #[test]
    fn any_text_is_a_certificate_or_an_error(text in "\\PC{0,600}", position in 0usize..500, with in any::<char>()) {
        let _ = text.parse::<Certificate>();
        let changed: String = certificate().to_string().chars().enumerate().map(|(i, c)| if i == position { with } else { c }).collect();
        if let Ok(other) = changed.parse::<Certificate>() {
            // Of one certificate there is one text.
            prop_assert_eq!(other.to_string(), changed.trim());
        }
    }
}
