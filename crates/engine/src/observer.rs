use proofmark_domain::QueryCount;

/// What an observer may learn; nothing it does can change a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A round (restart) begins with so many rows.
    Round {
        /// Which restart, from 0.
        restart: u32,
        /// Rows to attack in it.
        rows: usize,
    },
    /// A step was made.
    Step {
        /// Rows that made it.
        active: usize,
        /// Rows done in this round.
        done: usize,
    },
    /// The model was asked: what the ledger of queries grows by, clean samples and judging included.
    Queried {
        /// Sample-forwards.
        forward: u64,
        /// Sample-backwards.
        backward: u64,
    },
    /// A round is over and judged.
    Judged {
        /// Rows broken so far.
        broken: usize,
    },
}

impl Event {
    /// What was asked, as an event.
    pub(crate) fn queried(spent: QueryCount) -> Self {
        Self::Queried {
            forward: spent.forward,
            backward: spent.backward,
        }
    }
}

/// Somebody who watches a run: a progress bar, a log.
pub trait Observer: Send + Sync {
    /// Called between steps.
    fn event(&self, event: Event);
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: Event) {}
}
