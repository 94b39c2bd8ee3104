use proofmark_domain::QueryCount;

/// What an observer may learn; nothing it does can change a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A try (restart) begins in its turn for the first row of the run.
    Round {
        /// Which try, from 0.
        restart: u32,
        /// Rows that are not over.
        rows: usize,
    },
    /// Every row at work made a step.
    Step {
        /// Rows at work, early tries included.
        active: usize,
        /// Rows that are over, or wait for the judge.
        done: usize,
    },
    /// Queries were added to the ledger; clean samples and judging count, early tries only once their turn has come.
    Queried {
        /// Sample-forwards.
        forward: u64,
        /// Sample-backwards.
        backward: u64,
    },
    /// The judge measured the points of the rows that waited for it.
    Judged {
        /// Rows broken so far.
        broken: usize,
    },
}

impl Event {
    /// Queries, as an event.
    pub(crate) fn queried(spent: QueryCount) -> Self {
        Self::Queried {
            forward: spent.forward,
            backward: spent.backward,
        }
    }
}

/// Follows a run: a progress bar, a log.
pub trait Observer: Send + Sync {
    /// Called between steps.
    fn event(&self, event: Event);
}

/// Ignores every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: Event) {}
}
