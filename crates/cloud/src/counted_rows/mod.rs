//! Writes rows of `host-deployment-logs` for many hosts and counts them, so that nobody has to read all rows to know how many
//! there are.
//!
//! A writer has an item of its own for each build, version and region, and writes its whole tally there: an item is nobody else's, so
//! writers wait for none of each other, and one that is written twice says the same. What is there of a build is the sum of these items.
//!
//! Invariant: where all items of a build are settled and none has uncertain rows, their sum is that of the rows whose `counted_by` is set.
//! An item stops being settled before the first row is put, and is settled again when every row that was put is in it: that of a writer which
//! dies in between stays as it is, and whoever reads it knows that rows may be missing from it. Rows of a release that does not
//! count, and of hosts that write themselves, have no `counted_by`.

mod ledger;
mod reading;
mod tally;

pub use reading::{RegionCounts, RowCounts, SampledRow};
pub(crate) use tally::Mark;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use self::ledger::Ledger;
use self::tally::{Counted, Of, Published};
use crate::deployment_log::DeploymentLog;
use crate::deployment_log_table::{DeploymentLogTable, FirstRow, Put, PutError};
use crate::error::CloudError;

/// Writes rows and counts them. Cheap to clone: clones are one writer.
///
/// Whoever has one calls [`CountedRows::publish`] every second or so, and once when it writes no more.
///
/// ```no_run
/// # async fn example(cloud: &cloud::Cloud, row: cloud::DeploymentLog) -> Result<(), cloud::CloudError> {
/// let rows = cloud::CountedRows::new(cloud.deployment_logs());
/// rows.write(&row).await?; // a second time it changes nothing, and counts nothing
/// rows.publish().await?;
/// let counts = cloud.deployment_logs().counts(&row.build_id).await?;
/// assert!(counts.is_certain());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CountedRows {
    table: DeploymentLogTable,
    ledger: Arc<Mutex<Ledger>>,
    /// One item is written at a time, so that no older tally lands over a newer one.
    publishing: Arc<tokio::sync::Mutex<()>>,
}

impl CountedRows {
    /// A writer to `table`.
    pub fn new(table: DeploymentLogTable) -> Self {
        Self {
            table,
            ledger: Arc::new(Mutex::new(Ledger::new(SystemTime::now()))),
            publishing: Arc::default(),
        }
    }

    /// Writes a row as [`DeploymentLogTable::write_first`] does, and counts it. Where the future is dropped, it is not known whether the
    /// row is there; writing it again finds out.
    ///
    /// # Errors
    /// Those of `write_first`.
    pub async fn write(&self, row: &DeploymentLog) -> Result<FirstRow, CloudError> {
        let flight = self.begin(row).await?;
        match self.table.put_first(row, Some(&flight.row.mark)).await {
            Ok(Put::Written(replaced)) => {
                flight.end(|ledger, row| ledger.written(row, replaced.as_ref()));
                Ok(FirstRow::Written)
            }
            Ok(Put::Kept(kept)) => {
                flight.end(|ledger, row| ledger.kept(row, kept.as_ref()));
                Ok(FirstRow::Kept)
            }
            Err(PutError { error, is_refused }) => {
                if is_refused {
                    flight.end(|_, _| ());
                }
                Err(error)
            }
        }
    }

    /// Writes the tallies that have changed.
    ///
    /// # Errors
    /// Of the first item that cannot be written. Nothing is lost: the next call writes it.
    pub async fn publish(&self) -> Result<(), CloudError> {
        let _alone = self.publishing.lock().await;
        let due = self.ledger().due();
        let mut outcome = Ok(());
        for (id, published) in due {
            if let Err(error) = self.put(&id, &published).await {
                self.ledger().not_published(&published.of);
                outcome = outcome.and(Err(error));
            }
        }
        self.ledger().forget_settled();
        outcome
    }

    /// Writes all tallies, and that they are settled. For who writes no more.
    ///
    /// # Errors
    /// As `publish`.
    pub async fn settle(&self) -> Result<(), CloudError> {
        let mut outcome = Ok(());
        for _ in 0..SETTLED_AFTER {
            outcome = self.publish().await;
        }
        outcome
    }

    /// Takes note that the row is on its way, after its tally has been marked as not settled.
    async fn begin(&self, row: &DeploymentLog) -> Result<Flight<'_>, CloudError> {
        let of = Of::row(row);
        let begun = self.ledger().begin_if_open(&of);
        let mark = match begun {
            Some(mark) => mark,
            None => {
                let _alone = self.publishing.lock().await;
                // Somebody may have opened it meanwhile.
                let begun = self.ledger().begin_if_open(&of);
                match begun {
                    Some(mark) => mark,
                    None => {
                        let (id, published) = self.ledger().opening(&of);
                        if let Err(error) = self.put(&id, &published).await {
                            self.ledger().not_published(&of);
                            return Err(error);
                        }
                        self.ledger().open(&of)
                    }
                }
            }
        };
        Ok(Flight {
            rows: self,
            host_id: row.host_id.clone(),
            row: Counted::row(row, mark),
            has_ended: false,
        })
    }

    async fn put(&self, id: &str, published: &Published) -> Result<(), CloudError> {
        let item = published.to_item(id, SystemTime::now());
        self.table.put_counts(&published.of.build_id, item).await
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // It is whole between any two lines that change it.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls of `publish` until all is settled: for what has changed, for that nothing is on its way, for that nothing came since.
const SETTLED_AFTER: usize = 3;

/// A row that is on its way. One that is given up is uncertain.
struct Flight<'a> {
    rows: &'a CountedRows,
    host_id: String,
    row: Counted,
    has_ended: bool,
}

impl Flight<'_> {
    fn end(mut self, note: impl FnOnce(&mut Ledger, (&str, &Counted))) {
        let mut ledger = self.rows.ledger();
        note(&mut ledger, (&self.host_id, &self.row));
        ledger.end(&self.row.of);
        drop(ledger);
        self.has_ended = true;
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            let mut ledger = self.rows.ledger();
            ledger.uncertain((&self.host_id, &self.row));
            ledger.end(&self.row.of);
        }
    }
}
