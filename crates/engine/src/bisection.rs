//! The last bisection of a minimum-norm attack.

use proofmark_model::{DecisionModel, Query};
use proofmark_threat::{Batch, Column, Columns, Step, append, host, prefixed, select};

use crate::{Aim, EngineError, Oracle, Rows, Stepper};

/// A minimum-norm attack that ends with a bisection between the clean row and the best point of each restart.
///
/// An attack that goes beyond the boundary in order to succeed ends a little too far out. Once it has finished a row,
/// each of `bisections` further steps queries points on the ball half way between the smallest gauge known to succeed
/// and the largest known to fail (at first 0): the best point projected on it and, if the attack knows a direction
/// ([`Stepper::direction`]), the steepest point along it. Success or failure of both halves the bracket. A row that
/// found nothing takes none of these steps.
///
/// Projecting alone would keep the proportions of the best point. On a linear model the steepest point is the nearest
/// one that succeeds, whatever the bounds.
///
/// Rows need not finish together: in one step some still search while others bisect.
#[derive(Debug)]
pub struct Bisected<S> {
    search: S,
    bisections: u32,
}

/// State of [`Bisected`]: that of the attack, and the bracket of each row's bisection, in units of its budget.
#[derive(Debug, Clone)]
pub struct Bracketed<T> {
    search: T,
    /// Bisections done.
    done: Vec<u64>,
    /// Largest gauge that failed and smallest that succeeded; meaningless before the first bisection.
    low: Vec<f64>,
    high: Vec<f64>,
}

impl<T: Columns> Columns for Bracketed<T> {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let mut all = prefixed("search", &mut self.search);
        all.push(("done".into(), Column::Count(&mut self.done)));
        all.push(("low".into(), Column::Real(&mut self.low)));
        all.push(("high".into(), Column::Real(&mut self.high)));
        all
    }
}

impl<S> Bisected<S> {
    /// Lets `search` end with so many bisections per row and restart; with 0 it runs unchanged.
    pub const fn new(search: S, bisections: u32) -> Self {
        Self { search, bisections }
    }

    /// Returns the rows whose search is over.
    fn over<M>(&self, rows: &Rows, state: &Bracketed<S::State>) -> Vec<bool>
    where
        M: DecisionModel + ?Sized,
        S: Stepper<M>,
    {
        let steps = u64::from(self.search.steps());
        let finished = self.search.finished(rows, &state.search);
        let finished = |i: usize| finished.as_ref().is_some_and(|f| f[i]);
        (rows.steps().iter().enumerate())
            .map(|(i, k)| state.done[i] > 0 || *k >= steps || finished(i))
            .collect()
    }

    /// Makes one bisection of every row.
    fn bisect<M>(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut Bracketed<S::State>,
    ) -> Result<(), EngineError>
    where
        M: DecisionModel + ?Sized,
        S: Stepper<M>,
    {
        let n = rows.len();
        let (best, gauge) = rows.best();
        for (i, gauge) in host(gauge).into_iter().enumerate() {
            if state.done[i] == 0 {
                (state.low[i], state.high[i]) = (0.0, f64::from(gauge));
            }
        }
        let brackets = state.low.iter().zip(&state.high);
        let middle: Vec<f64> = brackets.map(|(l, h)| f64::midpoint(*l, *h)).collect();
        let radius: Vec<f32> = middle.iter().map(|m| *m as f32).collect();
        let region = rows.region();
        let radius = region.column(&radius);
        let mut points = vec![region.project_within(best, &radius)];
        if let Some(direction) = self.search.direction(&state.search) {
            let step = Step::new(radius.clone()).within(radius);
            points.push(region.advance(&region.x0(), &direction, &step));
        }
        let owner: Vec<usize> = points.iter().flat_map(|_| 0..n).collect();
        let query = Query {
            x: Batch::cat(&points.iter().collect::<Vec<_>>()),
            key: owner.iter().map(|i| rows.keys()[*i]).collect(),
            draw: vec![0; owner.len()],
            owner,
        };
        let succeeded = oracle.succeeds(rows, query)?;
        for (i, middle) in middle.into_iter().enumerate() {
            let end = if succeeded.iter().skip(i).step_by(n).any(|s| *s) {
                &mut state.high[i]
            } else {
                &mut state.low[i]
            };
            *end = middle;
            state.done[i] += 1;
        }
        Ok(())
    }
}

impl<M, S> Stepper<M> for Bisected<S>
where
    M: DecisionModel + ?Sized,
    S: Stepper<M>,
{
    type State = Bracketed<S::State>;

    fn id(&self) -> &'static str {
        self.search.id()
    }

    fn steps(&self) -> u32 {
        self.search.steps().saturating_add(self.bisections)
    }

    fn restarts(&self) -> u32 {
        self.search.restarts()
    }

    fn aim(&self) -> Aim {
        self.search.aim()
    }

    fn start(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
    ) -> Result<Self::State, EngineError> {
        Ok(Bracketed {
            search: self.search.start(oracle, rows)?,
            done: vec![0; rows.len()],
            low: vec![0.0; rows.len()],
            high: vec![0.0; rows.len()],
        })
    }

    fn step(
        &self,
        oracle: &mut Oracle<'_, M>,
        rows: &mut Rows,
        state: &mut Self::State,
    ) -> Result<(), EngineError> {
        let over = self.over(rows, state);
        if !over.contains(&true) {
            return self.search.step(oracle, rows, &mut state.search);
        }
        if !over.contains(&false) {
            return self.bisect(oracle, rows, state);
        }
        let at =
            |which: bool| -> Vec<usize> { (0..over.len()).filter(|i| over[*i] == which).collect() };
        let (searching, bisecting) = (at(false), at(true));
        // Rows and state stay side by side; their order carries no meaning.
        let (mut others, mut theirs) = (rows.clone(), state.clone());
        select(rows, &searching);
        select(state, &searching);
        select(&mut others, &bisecting);
        select(&mut theirs, &bisecting);
        self.search.step(oracle, rows, &mut state.search)?;
        self.bisect(oracle, &mut others, &mut theirs)?;
        append(rows, &mut others);
        append(state, &mut theirs);
        Ok(())
    }

    fn finished(&self, rows: &Rows, state: &Self::State) -> Option<Vec<bool>> {
        let over = self.over(rows, state);
        if !over.contains(&true) {
            return Some(over);
        }
        // There is nothing to bisect where no point or the clean row itself succeeds.
        let gauge = host(rows.best().1);
        let bracketed = |i: usize| gauge[i] > 0.0 && gauge[i] < f32::MAX;
        let ends = |i: usize| state.done[i] >= u64::from(self.bisections) || !bracketed(i);
        Some((0..over.len()).map(|i| over[i] && ends(i)).collect())
    }

    fn reached(&self, state: &Self::State) -> Option<burn::tensor::Tensor<1>> {
        self.search.reached(&state.search)
    }

    fn direction(&self, state: &Self::State) -> Option<Batch> {
        self.search.direction(&state.search)
    }

    fn last(&self, state: &Self::State) -> Option<Batch> {
        self.search.last(&state.search)
    }
}
