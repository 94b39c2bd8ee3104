//! Checks of the inputs that may change, for attacks that do not take any number of them in any norms.

use proofmark_domain::{Coupling, Grid, Modality, Norm};
use proofmark_engine::{EngineError, Job, Meta, check_norms};
use proofmark_threat::Budget;

/// Returns the budgets of the inputs that may change.
pub(crate) fn moving<'a>(job: &Job<'a>) -> impl Iterator<Item = &'a Budget> {
    job.threat.budgets().iter().filter(|b| b.moves())
}

/// Returns the norms of the inputs that may change, each once.
pub(crate) fn norms(job: &Job<'_>) -> Vec<Norm> {
    let mut norms: Vec<Norm> = moving(job).map(|b| b.norm).collect();
    norms.sort_unstable();
    norms.dedup();
    norms
}

/// Names norms for an error: `l1 and linf`.
pub(crate) fn named(norms: &[Norm]) -> String {
    let mut names: Vec<&str> = norms.iter().map(|n| n.as_str()).collect();
    names.sort_unstable();
    names.join(" and ")
}

/// Fails if several inputs may change, or one in a norm that the attack does not support.
pub(crate) fn one(meta: &Meta, job: &Job<'_>) -> Result<(), EngineError> {
    check_norms(meta, job)?;
    let names: Vec<&str> = moving(job).map(|b| b.modality.as_str()).collect();
    if names.len() <= 1 {
        return Ok(());
    }
    Err(EngineError::Parameter {
        name: "inputs that may change",
        given: names.join(" and "),
        expected: format!("one for `{}`; freeze the others with epsilon 0", meta.id),
    })
}

/// Fails if no input that may change is an image of more than one pixel a side.
pub(crate) fn image(meta: &Meta, job: &Job<'_>) -> Result<(), EngineError> {
    let names: Vec<&str> = moving(job).map(|b| b.modality.as_str()).collect();
    let is_image = |m: &Modality| {
        let wide = |g: Grid| g.height > 1 && g.width > 1;
        names.contains(&m.name.as_str()) && Grid::of(m).is_some_and(wide)
    };
    if names.is_empty() || job.samples.modalities.iter().any(is_image) {
        return Ok(());
    }
    Err(EngineError::Parameter {
        name: "inputs that may change",
        given: names.join(" and "),
        expected: format!(
            "an image for `{}`, which changes images alone; `mi-fgsm` takes any input",
            meta.id
        ),
    })
}

/// Fails if there is no sample to mix into one of the samples.
pub(crate) fn others(meta: &Meta, job: &Job<'_>) -> Result<(), EngineError> {
    let (keys, labels) = (&job.samples.keys, &job.samples.labels);
    let alone = |row: &&usize| match job.others {
        Some(others) => others.besides(keys[**row], labels[**row]).is_empty(),
        None => labels.iter().all(|l| *l == labels[**row]),
    };
    let Some(row) = job.rows.iter().find(alone) else {
        return Ok(());
    };
    Err(EngineError::Parameter {
        name: "samples",
        given: format!(
            "none of another class than sample {row}, class {}",
            labels[*row]
        ),
        expected: format!(
            "at least two classes for `{}`, which mixes samples",
            meta.id
        ),
    })
}

/// Fails if several inputs that may change share a budget, or one is in a norm that the attack does not support.
pub(crate) fn independent(meta: &Meta, job: &Job<'_>) -> Result<(), EngineError> {
    check_norms(meta, job)?;
    let several = moving(job).count() > 1;
    match job.threat.coupling() {
        Coupling::Shared { q } if several => Err(EngineError::Parameter {
            name: "coupling",
            given: format!("a budget that several inputs share with exponent {q}"),
            expected: format!("independent budgets for `{}`; fmn shares them", meta.id),
        }),
        Coupling::Shared { .. } | Coupling::Independent => Ok(()),
    }
}
