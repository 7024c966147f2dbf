//! Certificates that were found proven in this process. A proof depends on nothing but what was shown, so it is looked at once for all hosts
//! of a process, however many of them meet the same member; whose key, peer, time or name counts is asked each time.
//!
//! Invariant: what is in it was admitted by somebody here. A stranger cannot fill it.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use signing::Certificate;

static PROVEN: LazyLock<Mutex<HashMap<blake3::Hash, Arc<Certificate>>>> = LazyLock::new(Mutex::default);

/// What was shown in these bytes before and found proven.
pub(crate) fn known(shown: &[u8]) -> Option<Arc<Certificate>> {
    PROVEN.lock().get(&blake3::hash(shown)).cloned()
}

/// These bytes are a certificate that is proven, and was admitted.
pub(crate) fn note(shown: &[u8], certificate: &Arc<Certificate>) {
    let mut proven = PROVEN.lock();
    if proven.len() >= PROVEN_MAX {
        proven.clear();
    }
    proven.insert(blake3::hash(shown), Arc::clone(certificate));
}

/// Certificates at most, of a few hundred bytes each; then it begins anew.
const PROVEN_MAX: usize = 1 << 14;
