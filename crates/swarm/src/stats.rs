//! Counters of one member, plain data for reports.

/// One row for each counter: its documentation, its field, and its name in reports. Whoever adds up, writes or reads counters goes
/// through them by name, so that a new one is a row here and the line that counts.
macro_rules! counters {
    ($(#[doc = $what:literal])+ $name:ident: $($(#[doc = $doc:literal])+ $field:ident = $word:literal,)+) => {
        $(#[doc = $what])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: u64,)+
        }

        impl $name {
            /// The names of the counters in reports.
            pub const NAMES: &'static [&'static str] = &[$($word,)+];

            /// Adds what another has counted.
            pub fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)+
            }

            /// The counters in the order of their names.
            pub fn counts(&self) -> impl Iterator<Item = u64> + use<> {
                [$(self.$field,)+].into_iter()
            }

            /// The counter of this name.
            pub fn named(&mut self, name: &str) -> Option<&mut u64> {
                match name {
                    $($word => Some(&mut self.$field),)+
                    _ => None,
                }
            }
        }
    };
}

counters! {
    /// What a peer has seen and done.
    PeerStats:
    /// Requests sent, tied and hedged ones included.
    requests_sent = "requests",
    /// Requests of them that went to a second neighbour before anybody had begun.
    requests_tied = "requests_tied",
    /// Requests of them that went to one neighbour more because all that were asked were late, or slow with one of the last chunks.
    requests_hedged = "requests_hedged",
    /// Requests that became overdue.
    requests_overdue = "requests_overdue",
    /// Requests received that were turned down.
    requests_rejected = "requests_rejected",
    /// Chunks whose hash was wrong.
    chunks_corrupt = "chunks_corrupt",
    /// Neighbours banned for what they sent.
    neighbours_banned = "neighbours_banned",
    /// Messages that made no sense where they came.
    messages_ignored = "messages_ignored",
    /// HAVE messages sent.
    haves_sent = "have_messages",
    /// Chunks that came from another zone.
    chunks_imported = "chunks_imported",
    /// Members that a neighbour named while no seeder could be reached, and that were dialled.
    members_named = "members_named",
}

/// Payload bytes that came to a peer. Each is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// Of chunks that were stored and came from a seeder.
    pub from_seeders: u64,
    /// Of chunks that were stored and came from another host.
    pub from_peers: u64,
    /// Thrown away: of corrupt chunks, and of those that nobody waited for, that did not come whole or could not be stored.
    pub wasted: u64,
}

/// What a seeder has seen and done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeederStats {
    /// Chunks served, the first pass included.
    pub chunks_served: u64,
    /// Chunks of the first pass that are out.
    pub chunks_injected: u64,
    /// Offers that were not answered in time; what is declined counts as out.
    pub offers_lost: u64,
    /// Members that have said that they are complete.
    pub members_complete: u64,
    /// Members expelled after complaints of several others.
    pub members_expelled: u64,
    /// Times that a member was sent no first copies for a while, since it was said not to pass them on.
    pub members_silent: u64,
    /// Complaints of members about chunks that the seeder itself sent.
    pub complaints_of_self: u64,
    /// Messages that made no sense where they came.
    pub messages_ignored: u64,
}
