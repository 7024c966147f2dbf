//! A time that a connection's task waits for.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use swarm::Time;
use tokio::time::Sleep;

use super::shared::Shared;

/// A time to wait for. What it registers with the runtime is made once and used again.
#[derive(Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    is_set: bool,
}

impl Timer {
    /// Sets it, unless the time has come already.
    pub(super) fn set(&mut self, shared: &Shared, at: Time) {
        if at <= shared.clock.now() {
            return;
        }
        let at = shared.clock.instant(at).into();
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(at))),
        }
        self.is_set = true;
    }

    /// Ready where it is not set, and not set where it is ready.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(sleep) = self.sleep.as_mut().filter(|_| self.is_set) {
            ready!(sleep.as_mut().poll(cx));
            self.is_set = false;
        }
        Poll::Ready(())
    }
}
