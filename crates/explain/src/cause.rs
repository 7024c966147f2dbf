//! What a step of a host's path waited for.

use serde::Serialize;

/// What a host, or whoever it waited for, waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The seeder had yet to pull the build from the bucket.
    Bucket,
    /// The seeder was not there.
    SeederAway,
    /// The seeder sent other chunks first, or to others, and its uplink was full.
    SeederLink,
    /// The seeder sent others first although its uplink was not full: it has few slots, or its clients take slowly.
    SeederSlots,
    /// The host was started after the build was in the bucket.
    CameLate,
    /// The host had yet to hear of the build, or to get its manifest.
    Joining,
    /// None of its neighbours had the chunk, so a seeder had to send it once more.
    NoNeighbour,
    /// The request waited at a neighbour that was sending to others, and whose uplink was not full: it has few slots.
    Queue,
    /// Whoever was asked turned the request down.
    Refused,
    /// Whoever was asked sent nothing, or stopped in the middle.
    Silence,
    /// The host's own downlink was full.
    OwnLink,
    /// The uplink of the neighbour that sent, or that was to, was full.
    SenderLink,
    /// The link between zones or racks was slow.
    SharedLink,
    /// The host had as many requests out as `swarm.chunks_in_flight` lets it, and its link was not full.
    Window,
    /// News and requests on their way.
    Messages,
    /// The chunk was there and the build not in place yet: hashing, writing, renaming.
    Disk,
    /// The table of deployment logs had yet to take the row.
    Log,
    /// The machine that ran all hosts had no time for them.
    Machine,
    /// The host received chunks that are not recorded.
    Unrecorded,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Bucket,
        Self::SeederAway,
        Self::SeederLink,
        Self::SeederSlots,
        Self::CameLate,
        Self::Joining,
        Self::NoNeighbour,
        Self::Queue,
        Self::Refused,
        Self::Silence,
        Self::OwnLink,
        Self::SenderLink,
        Self::SharedLink,
        Self::Window,
        Self::Messages,
        Self::Disk,
        Self::Log,
        Self::Machine,
        Self::Unrecorded,
    ];

    /// Its name in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Bucket => "bucket",
            Self::SeederAway => "seeder-away",
            Self::SeederLink => "seeder-link",
            Self::SeederSlots => "seeder-slots",
            Self::CameLate => "came-late",
            Self::Joining => "joining",
            Self::NoNeighbour => "no-neighbour",
            Self::Queue => "queue",
            Self::Refused => "refused",
            Self::Silence => "silence",
            Self::OwnLink => "own-link",
            Self::SenderLink => "sender-link",
            Self::SharedLink => "shared-link",
            Self::Window => "window",
            Self::Messages => "messages",
            Self::Disk => "disk",
            Self::Log => "log",
            Self::Machine => "machine",
            Self::Unrecorded => "unrecorded",
        }
    }

    /// What it waited for, as it stands behind "waited for".
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Bucket => "the seeder to pull the build from the bucket",
            Self::SeederAway => "a seeder that was not there",
            Self::SeederLink => "the seeder's uplink, which was full",
            Self::SeederSlots => "its turn at the seeder, whose uplink was not full",
            Self::CameLate => "the host to be started",
            Self::Joining => "word of the build and its manifest",
            Self::NoNeighbour => "a chunk that no neighbour had",
            Self::Queue => "its turn at a neighbour, whose uplink was not full",
            Self::Refused => "somebody who does not turn requests down",
            Self::Silence => "a neighbour that did not send, or stopped",
            Self::OwnLink => "its own downlink, which was full",
            Self::SenderLink => "a neighbour's uplink, which was full",
            Self::SharedLink => "the link between zones or racks",
            Self::Window => "room among the requests that it may have out",
            Self::Messages => "news and requests on their way",
            Self::Disk => "hashing and the disk",
            Self::Log => "the table of deployment logs",
            Self::Machine => "a machine that had no time for all hosts",
            Self::Unrecorded => "other chunks, which are not recorded",
        }
    }

    /// Whether a host waits for it with each chunk, and not once.
    pub(crate) const fn is_of_a_chunk(self) -> bool {
        matches!(
            self,
            Self::Queue
                | Self::Refused
                | Self::Silence
                | Self::OwnLink
                | Self::SenderLink
                | Self::SharedLink
                | Self::Window
                | Self::Messages
        )
    }

    /// Whether a machine without time for all hosts looks like it.
    pub(crate) const fn is_of_a_machine(self) -> bool {
        !matches!(self, Self::Bucket | Self::SeederAway | Self::CameLate | Self::Log)
    }

    /// Whether it is a link that did what it can: what a lower bound counts with.
    pub(crate) const fn is_in_bound(self) -> bool {
        matches!(
            self,
            Self::Bucket | Self::CameLate | Self::SeederLink | Self::OwnLink | Self::SharedLink | Self::SenderLink
        )
    }
}
