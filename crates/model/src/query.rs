use proofmark_threat::Batch;

/// A query to a model: points, and for each the row of the attack it belongs to.
///
/// There may be more points than rows (random draws, targets, candidate steps) or fewer.
#[derive(Debug, Clone)]
pub struct Query {
    /// The points, `[q, features]` per modality, in data units.
    pub x: Batch,
    /// For each point, the row it belongs to.
    pub owner: Vec<usize>,
    /// For each point, the key of its sample's random streams.
    pub key: Vec<u64>,
    /// For each point, its draw of a random model (expectation over transformations).
    pub draw: Vec<u32>,
}

impl Query {
    /// Makes a query with one point per row, first draw.
    pub fn one_per_row(x: Batch, key: &[u64]) -> Self {
        let n = x.rows();
        Self {
            x,
            owner: (0..n).collect(),
            key: key.to_vec(),
            draw: vec![0; n],
        }
    }

    /// Returns the number of points.
    pub fn len(&self) -> usize {
        self.owner.len()
    }

    /// Whether the query has no points.
    pub fn is_empty(&self) -> bool {
        self.owner.is_empty()
    }

    /// Whether point `i` belongs to row `i` for every row of `rows`.
    pub fn is_one_per_row(&self, rows: usize) -> bool {
        self.len() == rows && self.owner.iter().enumerate().all(|(i, o)| i == *o)
    }

    /// Returns the same query with other points.
    #[must_use]
    pub fn with_x(&self, x: Batch) -> Self {
        Self {
            x,
            owner: self.owner.clone(),
            key: self.key.clone(),
            draw: self.draw.clone(),
        }
    }
}
