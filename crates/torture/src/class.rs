//! The kinds of days.

macro_rules! classes {
    ($($(#[doc = $meaning:literal])+ $variant:ident = $word:literal,)+) => {
        /// What kind of day it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Class {
            $($(#[doc = $meaning])+ $variant,)+
        }

        impl Class {
            /// Every class, in the order in which they are reported.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its word on the command line.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}

classes! {
    /// Nothing goes wrong.
    Calm = "calm",
    /// Nothing goes wrong with a build or a fleet of the least sizes.
    Degenerate = "degenerate",
    /// Connections between hosts are reset: one, a share, all, once or several times.
    Resets = "resets",
    /// Hosts crash and come back with all, half or nothing of what they had, or do not come back.
    Crash = "crash",
    /// Bytes of chunks that were held go bad, at hosts and at seeders.
    Damage = "damage",
    /// Seeders are started anew, with an empty state.
    Tracker = "tracker",
    /// All seeders go for good after the first copy; on some days links break as well.
    Gone = "gone",
    /// Hosts come in crowds and late.
    Flash = "flash",
    /// A part of the fleet is cut off with resets, for a while.
    Partition = "partition",
    /// A part of the fleet is cut off silently, for a while.
    Blackhole = "blackhole",
    /// Nothing comes out of some hosts, or in to them, for a while.
    OneWay = "oneway",
    /// Processes stand still for 0.8 s to 10 min.
    Pause = "pause",
    /// Links are up to a thousand times as slow as others.
    Slow = "slow",
    /// Links become slow in mid-run.
    SlowDown = "slowdown",
    /// Members take requests and send nothing.
    Stall = "stall",
    /// Members send corrupt chunks.
    Corrupt = "corrupt",
    /// Members claim to hold what they lack.
    Liar = "liar",
    /// Members claim to hold everything and are always busy.
    BusyLiar = "busyliar",
    /// Members say that they serve and send nothing, or a byte a second.
    Trickle = "trickle",
    /// Members send a message without end.
    Flood = "flood",
    /// Members send chunks that nobody asked for.
    Unsolicited = "unsolicited",
    /// Hosts leave when they have the build.
    Leavers = "leavers",
    /// Hosts come one after another, each when the one before has the build and leaves.
    Canary = "canary",
    /// Hosts come in groups, each when the group before has the build and leaves.
    Rolling = "rolling",
    /// One host and the seeders.
    Alone = "alone",
    /// Several of these.
    Chaos = "chaos",
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.word())
    }
}

impl std::str::FromStr for Class {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|class| class.word() == word);
        found.copied().ok_or_else(|| {
            let words: Vec<_> = Self::ALL.iter().map(|class| class.word()).collect();
            format!("no class {word:?}; expected one of {}", words.join(", "))
        })
    }
}
