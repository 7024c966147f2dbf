//! When a node's core is to be woken. Invariant: it rings at the earliest time that it was set for since it last rang.
//! Whoever makes the core want something earlier sets it on the spot, without waking the task that waits for it.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use swarm::Time;
use tokio::time::Sleep;

use super::Clock;

/// One task waits for it.
#[derive(Default)]
pub(super) struct Alarm {
    /// What is registered with the runtime; made when it is first needed.
    sleep: Option<Pin<Box<Sleep>>>,
    at: Option<Time>,
    waiting: Option<Waker>,
}

impl Alarm {
    /// The task that waits for it is awake, and sets it before it waits again: until then others need not.
    pub(super) fn begin(&mut self) {
        self.at = Some(Time::ZERO);
    }

    /// Sets it for the task of `cx`, whatever it was set for before. Ready where the time has come.
    pub(super) fn set(&mut self, at: Option<Time>, clock: Clock, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.waiting {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.waiting = Some(cx.waker().clone()),
        }
        self.at = at;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::ZERO)));
        match at {
            Some(at) => ring_at(sleep.as_mut(), at, clock, cx),
            None => Poll::Pending,
        }
    }

    /// Sets it unless it rings earlier already.
    pub(super) fn set_at_latest(&mut self, at: Time, clock: Clock) {
        if self.at.is_some_and(|earlier| earlier <= at) {
            return;
        }
        // A task that has not come to it yet will ask when to be woken.
        if let Some((sleep, task)) = self.sleep.as_mut().zip(self.waiting.as_ref()) {
            self.at = Some(at);
            if ring_at(sleep.as_mut(), at, clock, &mut Context::from_waker(task)).is_ready() {
                task.wake_by_ref();
            }
        }
    }
}

fn ring_at(mut sleep: Pin<&mut Sleep>, at: Time, clock: Clock, cx: &mut Context<'_>) -> Poll<()> {
    sleep.as_mut().reset(clock.instant(at).into());
    sleep.poll(cx)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Rings(AtomicUsize);

    impl Wake for Rings {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    const HOUR: Time = Time::from_nanos(3_600_000_000_000);

    /// An alarm that a task waits for, and how often that was woken.
    fn waited_for(clock: Clock, at: Option<Time>) -> (Alarm, Arc<Rings>) {
        let (mut alarm, rings) = (Alarm::default(), Arc::<Rings>::default());
        let waker = Waker::from(Arc::clone(&rings));
        assert!(alarm.set(at, clock, &mut Context::from_waker(&waker)).is_pending());
        (alarm, rings)
    }

    #[tokio::test]
    async fn who_wants_it_earlier_need_not_wake_the_task_unless_the_time_has_come() {
        let clock = Clock::start();
        for at in [None, Some(HOUR + Duration::from_secs(1))] {
            let (mut alarm, rings) = waited_for(clock, at);
            alarm.set_at_latest(HOUR, clock);
            assert_eq!(rings.0.load(Ordering::Relaxed), 0);
            assert_eq!(alarm.at, Some(HOUR));
            alarm.set_at_latest(clock.now(), clock);
            // The runtime's timers are of a millisecond.
            while rings.0.load(Ordering::Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!(rings.0.load(Ordering::Relaxed), 1);
        }
    }

    #[tokio::test]
    async fn a_later_time_does_not_put_it_off() {
        let clock = Clock::start();
        let (mut alarm, _rings) = waited_for(clock, Some(HOUR));
        alarm.set_at_latest(HOUR + Duration::from_secs(1), clock);
        assert_eq!(alarm.at, Some(HOUR));
    }

    #[tokio::test]
    async fn a_task_that_is_awake_is_not_woken_and_one_that_has_not_come_yet_loses_nothing() {
        let clock = Clock::start();
        let (mut alarm, rings) = waited_for(clock, Some(HOUR));
        alarm.begin();
        alarm.set_at_latest(clock.now(), clock);
        assert_eq!(rings.0.load(Ordering::Relaxed), 0);
        let mut early = Alarm::default();
        early.set_at_latest(HOUR, clock);
        assert_eq!(early.at, None);
    }
}
