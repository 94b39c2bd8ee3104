use std::collections::BTreeMap;
use std::sync::Arc;

use proofmark_domain::RunStatus;
use proofmark_model::Access;
use serde::{Deserialize, Serialize};

use crate::{Attack, EngineError, Job, Outcome, Outcomes, Starts};

/// Result of one member of a suite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// One outcome per row of the suite's job. Rows that an earlier member broke were not attacked again:
    /// [`RunStatus::BrokenBefore`].
    pub rows: Vec<Outcome>,
    /// Sample-forwards that the model computed for this member.
    pub computed: u64,
    /// Error message if the member failed before its end; the rows it still had to attack are stopped.
    pub failed: Option<String>,
}

/// Runs attacks one after the other, each on the rows that the earlier ones did not break.
///
/// A row's queries are those of all members that attacked it. It is broken if any member broke it; otherwise it is
/// robust only if every member ran to its end on it. Each member leaves its own record ([`Outcomes::parts`]). If a
/// member fails, its rows are stopped and the other members still run. A later member may start from the nearest point
/// that earlier ones found outside the budget ([`Job::starts`]). A limit of forwards ([`Job::forwards`]) applies to
/// each member separately.
pub fn run_all(
    members: &[&dyn Attack],
    access: Access<'_>,
    job: &Job<'_>,
) -> Result<Outcomes, EngineError> {
    let fresh = |status| move |row: &usize| Outcome::new(*row, status);
    let mut merged = Outcomes {
        rows: job.rows.iter().map(fresh(RunStatus::Robust)).collect(),
        ..Outcomes::default()
    };
    let mut earlier = job.resume.map_or(&[][..], |c| &c.parts).iter().cloned();
    let mut resume = job.resume;
    for member in members {
        let part = if let Some(part) = earlier.next() {
            if !part.rows.iter().map(|o| &o.row).eq(job.rows) {
                let problem =
                    "the rows of an earlier attack of the suite differ from those of the job";
                return Err(EngineError::Checkpoint(problem.into()));
            }
            part
        } else {
            let left: Vec<usize> = merged
                .rows
                .iter()
                .filter(|o| o.status != RunStatus::Broken)
                .map(|o| o.row)
                .collect();
            let starts = starts(job, &merged);
            let on_left = Job {
                rows: &left,
                starts: starts.as_ref(),
                // The checkpoint belongs to the first member that had not finished.
                resume: resume.take(),
                ..*job
            };
            let (outcomes, failed) = match member.run(access, &on_left) {
                Ok(outcomes) => (outcomes, None),
                Err(e @ EngineError::Checkpoint(_)) => return Err(e),
                Err(e) => (Outcomes::stopped(&on_left), Some(e.to_string())),
            };
            let mut attacked: BTreeMap<usize, Outcome> =
                outcomes.rows.into_iter().map(|o| (o.row, o)).collect();
            let before = fresh(RunStatus::BrokenBefore);
            let rows = job
                .rows
                .iter()
                .map(|row| attacked.remove(row).unwrap_or_else(|| before(row)))
                .collect();
            if let Some(mut checkpoint) = outcomes.checkpoint {
                checkpoint.parts = std::mem::take(&mut merged.parts);
                merged.parts.clone_from(&checkpoint.parts);
                merged.checkpoint = Some(checkpoint);
            }
            Part {
                rows,
                computed: outcomes.computed,
                failed,
            }
        };
        merged.take(part);
        if merged.checkpoint.is_some() {
            break;
        }
    }
    // Rows that a stopped suite did not break are not finished.
    let untried = members.len() - merged.parts.len();
    for _ in 0..untried {
        let rows = job.rows.iter().map(fresh(RunStatus::Stopped));
        let rows = rows.zip(&merged.rows).map(|(mut o, all)| {
            if all.status == RunStatus::Broken {
                o.status = RunStatus::BrokenBefore;
            }
            o
        });
        let part = Part {
            rows: rows.collect(),
            computed: 0,
            failed: None,
        };
        merged.take(part);
    }
    Ok(merged)
}

/// Returns the points from which members may start: the known ones, and the nearest point that earlier members found
/// outside the budget.
fn starts(job: &Job<'_>, merged: &Outcomes) -> Option<Arc<Starts>> {
    let found = merged.rows.iter().filter(|o| o.status != RunStatus::Broken);
    let found: Starts = found
        .filter_map(|o| Some((o.row, Arc::from(o.point.as_ref()?.x.clone()))))
        .collect();
    if found.is_empty() {
        return job.starts.cloned();
    }
    let mut all = job.starts.map_or_else(Starts::new, |s| (**s).clone());
    all.extend(found);
    Some(Arc::new(all))
}

impl Outcomes {
    /// Merges the result of another member.
    fn take(&mut self, part: Part) {
        for (all, one) in self.rows.iter_mut().zip(&part.rows) {
            all.queries += one.queries;
            for what in &one.observed {
                all.observe(*what);
            }
            all.status = worse(all.status, one.status);
            all.without_point = worse(all.without_point, one.without_point);
            let nearer = |p: &crate::Point| all.point.as_ref().is_none_or(|q| p.gauge < q.gauge);
            if let Some(point) = one.point.clone().filter(nearer) {
                all.point = Some(point);
            }
        }
        self.computed += part.computed;
        self.parts.push(part);
    }
}

/// Returns the status of a row after two members: proof wins, then any status that leaves the result open.
fn worse(a: RunStatus, b: RunStatus) -> RunStatus {
    let rank = |s: RunStatus| match s {
        RunStatus::Broken => 3,
        RunStatus::Invalid => 2,
        RunStatus::Stopped => 1,
        _ => 0,
    };
    if rank(b) > rank(a) { b } else { a }
}
