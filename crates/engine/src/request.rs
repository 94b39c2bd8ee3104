use proofmark_model::Query;
use proofmark_threat::Batch;

/// A query, and what the attack says of its points instead of what holds for their rows.
///
/// All targets of a sample in one batch, a trigger pasted on the samples of every class: whatever a loss looks at may
/// differ from point to point.
#[derive(Debug, Clone)]
pub struct Request {
    /// The points, and the row each belongs to.
    pub query: Query,
    /// The class each point is to be taken for, instead of its row's target.
    pub target: Option<Vec<usize>>,
    /// Each point's label, instead of its row's.
    pub label: Option<Vec<usize>>,
    /// The clean point each point began at, instead of its row's.
    pub x0: Option<Batch>,
    /// Whether the points may be kept as the best of their rows. They are judged by their row's region and criterion:
    /// points that are no changed copies of it (a trigger on other samples) are not to be kept.
    pub watch: bool,
}

impl Request {
    /// The query as it is: facts of the rows, watched.
    pub fn new(query: Query) -> Self {
        Self {
            query,
            target: None,
            label: None,
            x0: None,
            watch: true,
        }
    }

    /// The same with a target class per point, for the loss. Success stays what the job's criterion says of the row.
    #[must_use]
    pub fn towards(mut self, target: Vec<usize>) -> Self {
        self.target = Some(target);
        self
    }

    /// The same with a label per point, for the loss.
    #[must_use]
    pub fn labelled(mut self, label: Vec<usize>) -> Self {
        self.label = Some(label);
        self
    }

    /// The same with a clean point per point, for the loss.
    #[must_use]
    pub fn around(mut self, x0: Batch) -> Self {
        self.x0 = Some(x0);
        self
    }

    /// The same, and no point is kept whatever its answer.
    #[must_use]
    pub fn unwatched(mut self) -> Self {
        self.watch = false;
        self
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
