use proofmark_threat::{Columns, append, select};

use crate::Rows;

/// Rows together with the attack's state for them.
#[derive(Debug, Clone)]
pub(super) struct Lanes<S> {
    pub(super) rows: Rows,
    pub(super) state: S,
}

impl<S: Columns + Clone> Lanes<S> {
    /// Keeps the rows at `at`, in that order; `None` if `at` is empty.
    pub(super) fn keep(mut self, at: &[usize]) -> Option<Self> {
        if at.is_empty() {
            return None;
        }
        let all = at.len() == self.rows.len() && at.iter().enumerate().all(|(i, a)| i == *a);
        if !all {
            select(&mut self.rows, at);
            select(&mut self.state, at);
        }
        Some(self)
    }

    /// Splits into the rows at `at`, which is sorted, and the others, each in their order.
    pub(super) fn split(self, at: &[usize]) -> [Option<Self>; 2] {
        let others: Vec<usize> = (0..self.rows.len())
            .filter(|i| at.binary_search(i).is_err())
            .collect();
        if others.is_empty() {
            return [self.keep(at), None];
        }
        if at.is_empty() {
            return [None, Some(self)];
        }
        [self.clone().keep(at), self.keep(&others)]
    }

    /// Appends `others`.
    pub(super) fn and(this: Option<Self>, others: Option<Self>) -> Option<Self> {
        match (this, others) {
            (Some(mut this), Some(mut others)) => {
                append(&mut this.rows, &mut others.rows);
                append(&mut this.state, &mut others.state);
                Some(this)
            }
            (this, others) => this.or(others),
        }
    }
}
