//! Carries out what a scenario says goes wrong with hosts of this process and passes: they are slow, stand still, or go down and come
//! back.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use peer::{ChunkStore, NodeError, StoreOpener};
use scenario::{Disturbance, KeptStore, Links, Trouble};
use tokio::sync::mpsc;

use super::fleet::{FleetShared, Surroundings, start_host};

/// What a host holds, for as long as it is down.
pub(super) type KeptChunks = Arc<Mutex<Option<Arc<dyn ChunkStore>>>>;

/// A host to which something happens.
pub(super) struct Disturbed {
    pub(super) shared: Arc<FleetShared>,
    pub(super) slot: usize,
    pub(super) surroundings: Surroundings,
    pub(super) finished: mpsc::Sender<usize>,
}

impl Disturbed {
    /// Has it happen after `wait`, and be over when it is.
    pub(super) async fn carry_out(self, disturbance: Disturbance, wait: Duration) {
        let began = tokio::time::Instant::now();
        tokio::time::sleep(wait).await;
        self.shared.faults.lock().begun += 1;
        let (host, what) = (self.shared.host_name(self.slot), disturbance.what);
        tracing::info!(host, ?what, "a fault begins");
        self.begins(what);
        let Some(lasts) = disturbance.lasts else {
            return;
        };
        tokio::time::sleep_until(began + wait + lasts).await;
        if let Err(error) = self.ends(what).await {
            self.shared.fail(self.slot, &error);
        }
        self.shared.faults.lock().ended += 1;
        tracing::info!(host, ?what, "a fault is over");
    }

    fn begins(&self, what: Trouble) {
        match what {
            Trouble::Slow(links) => self.set_links(Some(&links)),
            Trouble::Pause => {
                if let Some(standstill) = self.shared.standstill(self.slot) {
                    standstill.begin();
                }
            }
            Trouble::Down(store) => {
                self.shared.stop_host(self.slot);
                if store != KeptStore::All {
                    self.shared.is_not_done(self.slot);
                }
            }
        }
    }

    async fn ends(&self, what: Trouble) -> Result<(), NodeError> {
        match what {
            Trouble::Slow(_) => self.set_links(self.shared.plan(self.slot).links.as_ref()),
            Trouble::Pause => {
                if let Some(standstill) = self.shared.standstill(self.slot) {
                    standstill.end();
                }
            }
            Trouble::Down(_) => return self.start_again().await,
        }
        Ok(())
    }

    fn set_links(&self, links: Option<&Links>) {
        if let (Some(node), Some(links)) = (self.shared.node(self.slot), links) {
            node.set_links(links.uplink(), links.downlink());
        }
    }

    /// Its place may still be taken by what it was: a task that is stopped ends a moment later.
    async fn start_again(&self) -> Result<(), NodeError> {
        let mut tries = 0;
        loop {
            let started = start_host(&self.shared, self.slot, &self.surroundings, &self.finished).await;
            match started {
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
