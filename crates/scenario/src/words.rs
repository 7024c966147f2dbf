//! The words of each choice of a scenario file, with what they stand for and what they mean: one table for each choice.
//! The reader takes a word's value from it, the schema and the messages take the words and their meanings.

use std::fmt::Debug;

use crate::faults::Kind;
use crate::{FaultKind, Fidelity, KeptStore, NetworkFaultKind, Policy, SeederFaultKind, Transport, Way};

/// A word, the value that it stands for, and its meaning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<T> {
    pub(crate) word: &'static str,
    pub(crate) value: T,
    pub(crate) meaning: &'static str,
}

/// The words of a choice, whatever they stand for.
pub(crate) trait Words: Debug + Sync {
    /// Each word with its meaning.
    fn told(&self) -> Vec<(&'static str, &'static str)>;
}

impl<T: Debug + Sync, const N: usize> Words for [Word<T>; N] {
    fn told(&self) -> Vec<(&'static str, &'static str)> {
        self.iter().map(|word| (word.word, word.meaning)).collect()
    }
}

/// What `text` stands for.
pub(crate) fn value_of<T: Copy>(words: &[Word<T>], text: &str) -> Option<T> {
    words.iter().find(|word| word.word == text).map(|word| word.value)
}

/// The word for `value`.
pub(crate) fn word_of<T: PartialEq>(words: &[Word<T>], value: &T) -> Option<&'static str> {
    words.iter().find(|word| word.value == *value).map(|word| word.word)
}

/// The words in quotes, one after another.
pub(crate) fn list<T>(words: &[Word<T>]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("\"{}\"", word.word)).collect();
    quoted.join(", ")
}

const fn word<T>(word: &'static str, value: T, meaning: &'static str) -> Word<T> {
    Word { word, value, meaning }
}

// One word a line: they are read as tables.
#[rustfmt::skip]
pub(crate) const TRANSPORTS: [Word<Transport>; 4] = [
    word("in-process", Transport::InProcess, "Between the hosts of one process, without encryption."),
    word("memory", Transport::Memory, "The memory transport of libp2p, without encryption."),
    word("tcp", Transport::Tcp, "TCP on loopback, encrypted by TLS 1.3."),
    word("quic", Transport::Quic, "QUIC on loopback, encrypted by TLS."),
];

/// The core's table of policies.
pub(crate) const POLICIES: [Word<Policy>; Policy::ALL.len()] = {
    let mut words = [word("", Policy::LatestUseful, ""); Policy::ALL.len()];
    let mut index = 0;
    while index < words.len() {
        let policy = Policy::ALL[index];
        words[index] = word(policy.word(), policy, policy.meaning());
        index += 1;
    }
    words
};

#[rustfmt::skip]
pub(crate) const LOCALITIES: [Word<bool>; 2] = [
    word("zones", true, "Hosts fetch from hosts of their own zone as far as possible."),
    word("none", false, "Hosts do not know their zones."),
];

#[rustfmt::skip]
pub(crate) const FIDELITIES: [Word<Fidelity>; 2] = [
    word("faithful", Fidelity::Faithful, "The state machines of the protocol, and all they say to each other."),
    word("kernel", Fidelity::Kernel, "The bare policy with perfect knowledge, without messages."),
];

#[rustfmt::skip]
pub(crate) const FAULT_KINDS: [Word<Kind>; 15] = [
    word("leave", Kind::Hosts(FaultKind::Leave), "Its hosts go without a word at that time."),
    word("join-late", Kind::Hosts(FaultKind::JoinLate), "Its hosts start only at that time; many at once are a flash crowd."),
    word("pause", Kind::Hosts(FaultKind::Pause), "Its hosts stand still for a while, as a machine does that is suspended."),
    word("crash", Kind::Hosts(FaultKind::Crash), "Its hosts go without a word, and are started again after a while."),
    word("slow-down", Kind::Hosts(FaultKind::SlowDown), "Links of its hosts are slower from that time on, for a while."),
    word("corrupt", Kind::Hosts(FaultKind::Corrupt), "Its hosts serve corrupt chunks."),
    word("stall", Kind::Hosts(FaultKind::Stall), "Its hosts take requests and never serve."),
    word("trickle", Kind::Hosts(FaultKind::Trickle), "Its hosts take requests and send two bytes a second."),
    word("claim", Kind::Hosts(FaultKind::Claim), "Its hosts say that they hold everything, hold nothing, and never answer."),
    word("busy", Kind::Hosts(FaultKind::Busy), "Its hosts say that they hold everything, and turn down every request because they are busy."),
    word("reset", Kind::Network(NetworkFaultKind::Reset), "Connections of its hosts end at that time, at both ends, and can be made anew."),
    word("partition", Kind::Network(NetworkFaultKind::Partition), "Connections of its hosts with the others end, and none can be made for a while."),
    word("silent-cut", Kind::Network(NetworkFaultKind::SilentCut), "Nothing passes between its hosts and the others for a while, and nobody is told."),
    word("seeder-restart", Kind::Seeders(SeederFaultKind::Restart), "Seeders go at that time and come back with the build."),
    word("seeder-lost", Kind::Seeders(SeederFaultKind::Lost), "Seeders go at that time for good."),
];

#[rustfmt::skip]
pub(crate) const KEPT_STORES: [Word<KeptStore>; 3] = [
    word("kept", KeptStore::All, "All that it had."),
    word("damaged", KeptStore::Half, "Every second chunk of what it had."),
    word("lost", KeptStore::Nothing, "Nothing."),
];

/// Whether seeders are among those whom hosts are cut from.
#[rustfmt::skip]
pub(crate) const CUT_FROM: [Word<bool>; 2] = [
    word("hosts", false, "Other hosts; seeders are reached as before."),
    word("everybody", true, "Other hosts and seeders."),
];

#[rustfmt::skip]
pub(crate) const WAYS: [Word<Way>; 3] = [
    word("both", Way::Both, "Neither in nor out."),
    word("out", Way::Out, "Nothing comes out of its hosts."),
    word("in", Way::In, "Nothing comes in to its hosts."),
];

/// A policy as its word, since the core's enum knows no format.
pub(crate) mod policy {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::{POLICIES, Policy, list, value_of};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    pub(crate) fn serialize<S: Serializer>(policy: &Policy, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(policy.word())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Policy, D::Error> {
        let word = String::deserialize(deserializer)?;
        let unknown = || D::Error::custom(format!("expected one of {}", list(&POLICIES)));
        value_of(&POLICIES, &word).ok_or_else(unknown)
    }
}
