//! Carries out what a scenario says goes wrong with hosts of this process and passes: they are slow, stand still, or go down and come
//! back.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use peer::{ChunkStore, NodeError, StoreOpener};
use scenario::{Disturbance, KeptStore, Links, Trouble};

use super::fleet::{Members, What};

/// What a host holds, for as long as it is down.
pub(super) type KeptChunks = Arc<Mutex<Option<Arc<dyn ChunkStore>>>>;

/// A host to which something happens.
pub(super) struct Disturbed {
    pub(super) members: Members,
    pub(super) slot: usize,
}

impl Disturbed {
    /// Has it happen after `wait`, and be over when it is.
    pub(super) async fn carry_out(self, disturbance: Disturbance, wait: Duration) {
        let began = tokio::time::Instant::now();
        tokio::time::sleep(wait).await;
        self.tell(What::FaultBegan);
        let (host, what) = (self.members.host_name(self.slot), disturbance.what);
        tracing::info!(host, ?what, "a fault begins");
        self.begins(what);
        let Some(lasts) = disturbance.lasts else {
            return;
        };
        tokio::time::sleep_until(began + wait + lasts).await;
        if let Err(error) = self.ends(what).await {
            self.tell(What::Failed(crate::exit::chain(&error)));
        }
        self.tell(What::FaultEnded);
        tracing::info!(host, ?what, "a fault is over");
    }

    fn begins(&self, what: Trouble) {
        match what {
            Trouble::Slow(links) => self.set_links(Some(links)),
            Trouble::Pause => {
                if let Some(standstill) = self.members.standstill(self.slot) {
                    standstill.begin();
                }
            }
            Trouble::Down(store) => {
                self.tell(What::Stopped);
                if store != KeptStore::All {
                    self.tell(What::LostChunks);
                }
            }
        }
    }

    async fn ends(&self, what: Trouble) -> Result<(), NodeError> {
        match what {
            Trouble::Slow(_) => self.set_links(self.members.plan(self.slot).links),
            Trouble::Pause => {
                if let Some(standstill) = self.members.standstill(self.slot) {
                    standstill.end();
                }
            }
            Trouble::Down(_) => return self.start_again().await,
        }
        Ok(())
    }

    fn set_links(&self, links: Option<Links>) {
        if let Some(links) = links {
            self.tell(What::Linked(links));
        }
    }

    fn tell(&self, what: What) {
        self.members.tell(self.slot, what);
    }

    /// Its place may still be taken by what it was: a task that is stopped ends a moment later.
    async fn start_again(&self) -> Result<(), NodeError> {
        let mut tries = 0;
        loop {
            match self.members.start(self.slot).await {
                Err(error) if tries < STARTS_MAX => {
                    tracing::debug!(%error, "a host has not started again yet");
                    tries += 1;
                    tokio::time::sleep(STARTS_AGAIN_AFTER).await;
                }
                started => return started,
            }
        }
    }
}

/// `opener` for a host that goes down: started again, it still has what `store` says of what it had.
pub(super) fn kept_over_a_crash(opener: StoreOpener, kept: KeptChunks, store: KeptStore) -> StoreOpener {
    opener.decorated(move |fresh| {
        let before = kept.lock().replace(Arc::clone(&fresh));
        if let Some(before) = before {
            for chunk in before.held().iter().filter(|chunk| store.keeps(*chunk)) {
                // One that cannot be read or kept is lost, as it would be on a disk.
                if let Ok(bytes) = before.read(chunk) {
                    let _ = fresh.keep(chunk, bytes);
                }
            }
        }
        fresh
    })
}

/// How often a start is tried again, and with what pause: a second.
const STARTS_MAX: u32 = 50;
const STARTS_AGAIN_AFTER: Duration = Duration::from_millis(20);
