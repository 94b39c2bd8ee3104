use proofmark_model::Query;
use proofmark_threat::Batch;

use crate::judge::FIRST_DRAW;

/// A query, with optional per-point overrides of the facts of its rows.
///
/// The facts that a loss reads may differ from point to point: all targets of a sample in one batch, or a trigger
/// pasted on samples of every class.
#[derive(Debug, Clone)]
pub struct Request {
    /// The points, and the row each belongs to.
    pub query: Query,
    /// Target class of each point, instead of its row's target.
    pub target: Option<Vec<usize>>,
    /// Label of each point, instead of its row's.
    pub label: Option<Vec<usize>>,
    /// Clean point of each point, instead of its row's.
    pub x0: Option<Batch>,
    /// Whether a point may be kept as the best of its row. It is judged by its row's region and criterion, so a point
    /// that is not a changed copy of its row (a trigger on other samples) must not be kept.
    pub watch: bool,
    /// How many consecutive points are draws of one point of a random model, at least 1. The point succeeds if the
    /// run's [`Rule`](crate::Rule) holds over them.
    pub draws: u32,
}

impl Request {
    /// Creates a watched request without overrides.
    pub fn new(query: Query) -> Self {
        Self {
            query,
            target: None,
            label: None,
            x0: None,
            watch: true,
            draws: 1,
        }
    }

    /// Sets a target class per point, for the loss. Success still follows the job's criterion for the row.
    #[must_use]
    pub fn towards(mut self, target: Vec<usize>) -> Self {
        self.target = Some(target);
        self
    }

    /// Sets a label per point, for the loss.
    #[must_use]
    pub fn labelled(mut self, label: Vec<usize>) -> Self {
        self.label = Some(label);
        self
    }

    /// Sets a clean point per point, for the loss.
    #[must_use]
    pub fn around(mut self, x0: Batch) -> Self {
        self.x0 = Some(x0);
        self
    }

    /// Disables watching: no point is kept, whatever its answer.
    #[must_use]
    pub fn unwatched(mut self) -> Self {
        self.watch = false;
        self
    }

    /// Repeats each point for `draws` draws of a random model. `first` gives the number of each point's first draw;
    /// numbers of draws that belong to the judge start again from 0.
    #[must_use]
    pub(crate) fn repeated(self, draws: u32, first: &[u64]) -> Self {
        let at: Vec<usize> = (0..self.query.len())
            .flat_map(|i| std::iter::repeat_n(i, draws as usize))
            .collect();
        let number = |(k, i): (usize, &usize)| {
            let draw = first[*i] + k as u64 % u64::from(draws);
            (draw % u64::from(FIRST_DRAW)) as u32
        };
        let pick = |v: Option<Vec<usize>>| v.map(|v| at.iter().map(|i| v[*i]).collect());
        let index = proofmark_threat::index(&at, &self.query.x.device());
        Self {
            query: Query {
                x: self.query.x.select(&index),
                owner: at.iter().map(|i| self.query.owner[*i]).collect(),
                key: at.iter().map(|i| self.query.key[*i]).collect(),
                draw: at.iter().enumerate().map(number).collect(),
            },
            target: pick(self.target),
            label: pick(self.label),
            x0: self.x0.map(|x0| x0.select(&index)),
            watch: self.watch,
            draws: self.draws * draws,
        }
    }
}

impl From<Query> for Request {
    fn from(query: Query) -> Self {
        Self::new(query)
    }
}

impl From<&Query> for Request {
    fn from(query: &Query) -> Self {
        Self::new(query.clone())
    }
}
