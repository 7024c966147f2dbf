//! Signatures of builds, as they are metadata of objects: what can be read is written as it was read, and nothing but what was signed is
//! believed.

use std::sync::LazyLock;

use signing::{Moment, SecretKey, Signature, Terms, TrustedKeys};
use swarm::Manifest;

struct Genuine {
    manifest: Manifest,
    signature: Signature,
    keys: TrustedKeys,
    now: Moment,
}

static GENUINE: LazyLock<Genuine> = LazyLock::new(|| {
    let key = SecretKey::from_bytes(&[9; 32]);
    let manifest = Manifest::of("build-1.zip", &[5; 100_000], 64 << 10).expect("a build");
    let moment = |text: &str| text.parse().expect("a moment");
    let terms = Terms {
        sequence: 12,
        signed: moment("2026-01-01T00:00:00.000Z"),
        expires: Some(moment("2026-02-01T00:00:00.000Z")),
    };
    Genuine {
        signature: key.sign(&manifest, terms),
        manifest,
        keys: TrustedKeys::of([key.public()]),
        now: moment("2026-01-15T00:00:00.000Z"),
    }
});

pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Genuine {
        manifest,
        signature,
        keys,
        now,
    } = &*GENUINE;
    if let Ok(read) = text.parse::<Signature>() {
        let written = read.to_string();
        assert_eq!(written.parse().as_ref(), Ok(&read), "{written}");
    }
    if let Ok(believed) = keys.verify(manifest.build_id(), manifest.root(), Some(&text), *now) {
        assert_eq!(believed, *signature, "somebody else is believed by {text}");
        assert!(believed.fits(manifest));
    }
}

/// The signature that is believed, for the corpus.
pub(crate) fn genuine() -> String {
    GENUINE.signature.to_string()
}
