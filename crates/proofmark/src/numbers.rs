//! Budgets for whole-number inputs.

use proofmark_domain::{Epsilon, Norm, TrustCode, TrustFlag};
use proofmark_model::{Numbers, Signature};
use proofmark_threat::{Budget, Radius, Threat};

use crate::RunError;

/// Refuses budgets on inputs whose numbers stand for something else (masks, indices), and budgets that do not fit whole
/// numbers.
pub(crate) fn check(
    threat: &Threat,
    signature: &Signature,
    samples: usize,
) -> Result<(), RunError> {
    for (budget, numbers) in threat.budgets().iter().zip(&signature.numbers) {
        let name = &budget.modality;
        let sizes: Vec<f64> = match &budget.radius {
            Radius::Uniform(e) => vec![e.get()],
            Radius::PerSample(_) => (0..samples).map(|i| budget.radius.of(i)).collect(),
        };
        let problem = match numbers {
            Numbers::Real => continue,
            Numbers::Fixed { .. } => sizes.iter().any(|e| *e != 0.0).then(|| {
                format!(
                    "input `{name}` takes whole numbers that nodes other than Cast or DequantizeLinear read (a mask, table indices), so no attack may change them; freeze it: --freeze {name}, in a policy leave it out of the threat's inputs"
                )
            }),
            Numbers::Whole { .. } => {
                let whole = budget.norm == Norm::Linf;
                let bad = |e: &&f64| **e != 0.0 && (**e < 1.0 || (whole && e.fract() != 0.0));
                sizes.iter().find(bad).map(|e| {
                    let expected = if whole { "a whole number, such as 8" } else { "at least 1" };
                    format!(
                        "epsilon {e} for input `{name}`, which takes whole numbers; expected {expected} (it is in the input's own units), or 0 to freeze it"
                    )
                })
            }
        };
        if let Some(problem) = problem {
            return Err(RunError::Parameter(problem));
        }
    }
    Ok(())
}

/// Returns the trust flag that holds before anything is measured, besides those that the model states: an attacked
/// input that is rounded to whole numbers has no derivative of its own.
pub(crate) fn stated(signature: &Signature, threats: &[Threat]) -> Option<TrustFlag> {
    let code = TrustCode::ApproximateGradients;
    let inputs = signature.modalities.iter().zip(&signature.numbers);
    let changed = |name: &str| {
        let budgets = threats.iter().flat_map(Threat::budgets);
        let mut own = budgets.filter(|b| b.modality == name);
        own.any(|b| !matches!(&b.radius, Radius::Uniform(e) if e.get() == 0.0))
    };
    let rounded: Vec<&str> = inputs
        .filter(|(m, n)| matches!(n, Numbers::Whole { .. }) && changed(&m.name))
        .map(|(m, _)| m.name.as_str())
        .collect();
    let known = signature.stated.iter().any(|f| f.code == code);
    (!rounded.is_empty() && !known).then(|| TrustFlag {
        code,
        message: format!(
            "gradients pass straight through where values are rounded: input {}",
            rounded.join(", ")
        ),
        cured: false,
    })
}

/// Returns a threat limited only by the bounds, for every input that may change.
pub(crate) fn unbounded(signature: &Signature, samples: usize) -> Result<Threat, RunError> {
    let free = Threat::unbounded(&signature.modalities);
    let budgets = free.budgets().iter().zip(&signature.numbers);
    let budgets = budgets
        .map(|(budget, numbers)| Budget {
            radius: match numbers {
                Numbers::Fixed { .. } => Radius::Uniform(Epsilon::default()),
                Numbers::Real | Numbers::Whole { .. } => budget.radius.clone(),
            },
            ..budget.clone()
        })
        .collect();
    Ok(Threat::new(
        &signature.modalities,
        budgets,
        free.coupling(),
        samples,
    )?)
}
