//! Counters of one member, plain data for reports.

/// What a peer has seen and done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerStats {
    /// Requests sent, tied and hedged ones included.
    pub requests_sent: u64,
    /// Requests of them that went to a second neighbour before anybody had begun.
    pub requests_tied: u64,
    /// Requests of them that went to a second neighbour because the first was slow with one of the last chunks.
    pub requests_hedged: u64,
    /// Requests that became overdue.
    pub requests_overdue: u64,
    /// Requests received that were turned down.
    pub requests_rejected: u64,
    /// Chunks whose hash was wrong.
    pub chunks_corrupt: u64,
    /// Neighbours banned for what they sent.
    pub neighbours_banned: u64,
    /// Messages that made no sense where they came.
    pub messages_ignored: u64,
    /// HAVE messages sent.
    pub haves_sent: u64,
    /// Chunks that came from another zone.
    pub chunks_imported: u64,
}

impl PeerStats {
    /// Adds what another peer has counted.
    pub fn add(&mut self, other: &Self) {
        self.requests_sent += other.requests_sent;
        self.requests_tied += other.requests_tied;
        self.requests_hedged += other.requests_hedged;
        self.requests_overdue += other.requests_overdue;
        self.requests_rejected += other.requests_rejected;
        self.chunks_corrupt += other.chunks_corrupt;
        self.neighbours_banned += other.neighbours_banned;
        self.messages_ignored += other.messages_ignored;
        self.haves_sent += other.haves_sent;
        self.chunks_imported += other.chunks_imported;
    }
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
    /// Offers that were not taken in time or were turned down.
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
