use proofmark_domain::QueryCount;

/// Progress event of a run. An observer cannot change a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A restart begins in its turn for the first time in the run.
    Round {
        /// Number of the restart, from 0.
        restart: u32,
        /// Rows that are not finished.
        rows: usize,
    },
    /// Every active row made a step.
    Step {
        /// Active rows, including early restarts.
        active: usize,
        /// Rows that are finished or wait for the judge.
        done: usize,
    },
    /// Queries were counted, including clean samples and judging; those of early restarts only once their turn has
    /// come.
    Queried {
        /// Sample-forwards, those of a surrogate included.
        forward: u64,
        /// Sample-backwards, those of a surrogate included.
        backward: u64,
    },
    /// The judge measured the points that waited for it.
    Judged {
        /// Rows broken so far.
        broken: usize,
    },
}

impl Event {
    /// Creates the event for these queries.
    pub(crate) fn queried(spent: QueryCount) -> Self {
        Self::Queried {
            forward: spent.forward + spent.surrogate_forward,
            backward: spent.backward + spent.surrogate_backward,
        }
    }
}

/// Follows a run, for example as a progress bar or a log.
pub trait Observer: Send + Sync {
    /// Called between steps.
    fn event(&self, event: Event);
}

/// Observer that ignores every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: Event) {}
}
