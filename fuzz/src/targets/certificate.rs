//! Certificates of members: what can be read is written as it was read, and nothing but the one that was signed is let in.

use std::sync::LazyLock;

use signing::{Certificate, Member, MemberTerms, Moment, PublicKey, SecretKey, TrustedKeys};

/// A member, and who says so.
struct Genuine {
    certificate: Certificate,
    keys: TrustedKeys,
    now: Moment,
}

static GENUINE: LazyLock<Genuine> = LazyLock::new(|| {
    let key = SecretKey::from_bytes(&[7; 32]);
    let moment = |text: &str| text.parse().expect("a moment");
    let member = Member::new(MemberTerms {
        peer: PEER.to_owned(),
        host: "web-1".to_owned(),
        zone: Some("eu-west-1a".to_owned()),
        groups: vec!["web".to_owned()],
        addresses: vec!["10.0.0.1".parse().expect("an address")],
        not_before: moment("2026-01-01T00:00:00.000Z"),
        not_after: moment("2026-01-02T00:00:00.000Z"),
    });
    Genuine {
        certificate: key.certify(member.expect("a member")),
        keys: TrustedKeys::of([key.public()]),
        now: moment("2026-01-01T12:00:00.000Z"),
    }
});

pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = text.parse::<PublicKey>();
    let Ok(certificate) = text.parse::<Certificate>() else {
        return;
    };
    let written = certificate.to_string();
    assert_eq!(written.parse().as_ref(), Ok(&certificate), "{written}");
    let Genuine {
        certificate: genuine,
        keys,
        now,
    } = &*GENUINE;
    if keys.admit(&certificate, PEER, *now).is_ok() {
        assert_eq!(certificate, *genuine, "somebody else is let in by {written}");
    }
}

/// The certificate that is let in, for the corpus.
pub(crate) fn genuine() -> String {
    GENUINE.certificate.to_string()
}

const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
