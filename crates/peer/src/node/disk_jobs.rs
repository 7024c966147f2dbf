//! What a member does that may wait for its disk, on a thread that may: the threads that move bytes go on meanwhile.
//!
//! Invariant: jobs that are given here are done one after another, in the order in which they came, and each is done or the process has
//! ended. There is a thread for them only while there are jobs.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;

type Job = Box<dyn FnOnce() + Send>;

/// The jobs of one member.
#[derive(Clone, Default)]
pub(super) struct DiskJobs(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    has_thread: bool,
}

impl DiskJobs {
    /// Has a thread do this after what was given before. Within a runtime.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut waiting = self.0.lock();
        waiting.jobs.push_back(Box::new(job));
        if !std::mem::replace(&mut waiting.has_thread, true) {
            drop(waiting);
            let jobs = self.clone();
            tokio::task::spawn_blocking(move || {
                while let Some(job) = jobs.next() {
                    // A panic is our mistake, which was told, and no reason to leave the others undone.
                    let _ = catch_unwind(AssertUnwindSafe(job));
                }
            });
        }
    }

    /// Whether so many wait that whoever brings another one should do it itself: a disk that is slower than the network is not to have
    /// the build in memory.
    pub(super) fn is_behind(&self) -> bool {
        self.0.lock().jobs.len() >= WAITING_MAX
    }

    /// The next job; where there is none the thread is not needed any more.
    fn next(&self) -> Option<Job> {
        let mut waiting = self.0.lock();
        let job = waiting.jobs.pop_front();
        waiting.has_thread = job.is_some();
        job
    }
}

/// Jobs that wait at most, each with a chunk.
const WAITING_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[tokio::test]
    async fn jobs_are_done_in_order_and_one_that_panics_stops_nobody() {
        let (jobs, (done, told)) = (DiskJobs::default(), channel());
        for round in 0..3 {
            for number in 0..100 {
                let done = done.clone();
                jobs.run(move || done.send(number).unwrap());
            }
            if round == 1 {
                jobs.run(|| panic!("one of a test"));
            }
            let seen: Vec<i32> = told.iter().take(100).collect();
            assert_eq!(seen, (0..100).collect::<Vec<_>>());
        }
    }
}
