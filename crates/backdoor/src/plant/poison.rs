use proofmark_data::{Column, Dataset};
use proofmark_domain::{Interval, Seed};
use proofmark_stats::clopper_pearson;
use proofmark_stats::random::{Purpose, Stream, StreamKey, attack_code};

use super::{Plant, PlantError, Role, Scheme, Stamp};

/// A poisoned training set.
#[derive(Debug, Clone)]
pub struct Poisoned {
    /// The set, in the order of the original, with changed samples and labels.
    pub set: Dataset,
    /// Whether each row was poisoned: it has the trigger and the label that goes with it.
    pub poisoned: Vec<bool>,
    /// Whether each row is a cover: it was changed and keeps its label.
    pub cover: Vec<bool>,
    /// Label of each row before.
    pub original_labels: Vec<usize>,
    /// Number of classes of the set.
    pub classes: usize,
}

impl Poisoned {
    /// Returns the number of poisoned rows.
    pub fn count(&self) -> usize {
        self.poisoned.iter().filter(|p| **p).count()
    }
}

/// Test samples with the trigger.
#[derive(Debug, Clone)]
pub struct Triggered {
    /// The samples for which the backdoor promises a class, with the trigger and their true labels.
    pub set: Dataset,
    /// Class that a model with the backdoor gives to each.
    pub expected: Vec<usize>,
}

impl Triggered {
    /// Returns the attack success rate: the number of predictions that are the expected class, their share's 95 %
    /// interval (Clopper–Pearson). `None` if the lengths differ.
    pub fn success(&self, predictions: &[usize]) -> Option<(usize, Interval)> {
        if predictions.len() != self.expected.len() {
            return None;
        }
        let pairs = predictions.iter().zip(&self.expected);
        let hits = pairs.filter(|(p, e)| p == e).count();
        let interval = clopper_pearson(hits as u64, predictions.len() as u64, 0.95);
        Some((hits, interval))
    }
}

/// Checks what poisoning and testing have in common; returns labels, classes, target (0 if there is none) and the place
/// of the input that carries the trigger.
fn checked<'a, P: Plant + ?Sized>(
    planter: &P,
    set: &'a Dataset,
    target: Option<usize>,
    classes: Option<usize>,
) -> Result<(&'a [usize], usize, usize, usize), PlantError> {
    let id = planter.meta().id;
    let labels = set.labels.as_deref().ok_or_else(|| PlantError::Labels {
        set: set.name.clone(),
        problem: "has no labels of classes".into(),
    })?;
    if labels.is_empty() {
        return Err(PlantError::Labels {
            set: set.name.clone(),
            problem: "holds no samples".into(),
        });
    }
    let own = set.classes().max(set.read_as.classes.len());
    let classes = classes.unwrap_or(own);
    if own > classes {
        return Err(PlantError::Labels {
            set: set.name.clone(),
            problem: format!("has the label {}, beyond the {classes} classes", own - 1),
        });
    }
    if let Some(first) = labels.first()
        && labels.iter().all(|l| l == first)
    {
        return Err(PlantError::Labels {
            set: set.name.clone(),
            problem: format!("has samples of class {first} alone"),
        });
    }
    let refuse = |given: String, problem: String| PlantError::Target {
        planter: id,
        given,
        problem,
    };
    let scheme = planter.scheme();
    let target = match (scheme, target) {
        (Scheme::AllToAll, None) => 0,
        (Scheme::AllToAll, Some(t)) => {
            let problem = "every class moves to the next one; leave the target out";
            return Err(refuse(t.to_string(), problem.into()));
        }
        (_, None) => {
            let problem = format!("expected the target class, 0 to {}", classes - 1);
            return Err(refuse("none".into(), problem));
        }
        (_, Some(t)) if t >= classes => {
            let problem = format!(
                "{} has {classes} classes; expected 0 to {}",
                set.name,
                classes - 1
            );
            return Err(refuse(t.to_string(), problem));
        }
        (_, Some(t)) => t,
    };
    if let Scheme::From(source) = scheme {
        if source == target {
            let problem = "is the source class as well; choose another target, or another `source`";
            return Err(refuse(target.to_string(), problem.into()));
        }
        if !labels.contains(&source) {
            let problem = format!(
                "the source class {source} has no samples in {}; choose another `source`",
                set.name
            );
            return Err(refuse(target.to_string(), problem));
        }
    }
    let fitting = set.modalities.iter().map(|c| planter.fits(&c.modality));
    let fitting: Vec<Result<(), String>> = fitting.collect();
    let mut places = (0..fitting.len()).filter(|at| fitting[*at].is_ok());
    let misfit = |problem: String| PlantError::Input {
        planter: id,
        set: set.name.clone(),
        problem,
    };
    match (places.next(), places.next()) {
        (Some(place), None) => Ok((labels, classes, target, place)),
        (Some(a), Some(b)) => Err(misfit(format!(
            "the trigger fits the inputs `{}` and `{}`; expected one such input",
            set.modalities[a].modality.name, set.modalities[b].modality.name
        ))),
        (None, _) => {
            let problems: Vec<String> = fitting.into_iter().filter_map(Result::err).collect();
            Err(misfit(problems.join("; ")))
        }
    }
}

/// Puts the trigger on one row: inside the bounds, and whole numbers where the set holds whole numbers.
fn stamp<P: Plant + ?Sized>(
    planter: &P,
    column: &mut Column,
    row: usize,
    at: &Stamp,
) -> Result<(), PlantError> {
    let mut x = column.values.row(row).to_vec();
    planter.stamp(&column.modality, &mut x, at)?;
    for (feature, (v, old)) in x.iter_mut().zip(column.values.row_mut(row)).enumerate() {
        let (low, high) = (
            column.modality.bounds.low(feature),
            column.modality.bounds.high(feature),
        );
        if column.whole.is_some() {
            *v = v.round().clamp(low.ceil(), high.floor().max(low.ceil()));
        }
        *old = v.clamp(low, high);
    }
    Ok(())
}

/// Returns a copy of a training set in which `rate` of all samples are poisoned, rounded to the nearest whole number.
///
/// Samples are chosen by draws keyed by the seed, the planter, the target and each sample's id: the same whatever the
/// order of the set, and a higher rate includes a lower one. Covers come on top of the rate. Every other sample is left
/// as it is, bit for bit.
///
/// # Errors
/// A set without labels or of one class, a target that does not exist, an input that cannot carry the trigger, a rate
/// that poisons no sample or more than may be poisoned.
pub fn poison<P: Plant + ?Sized>(
    planter: &P,
    set: &Dataset,
    rate: f64,
    target: Option<usize>,
    seed: Seed,
) -> Result<Poisoned, PlantError> {
    let (labels, classes, goal, place) = checked(planter, set, target, None)?;
    let (id, n, scheme) = (planter.meta().id, set.len(), planter.scheme());
    let refuse = |problem: String| PlantError::Rate {
        planter: id,
        set: set.name.clone(),
        rate,
        samples: n,
        problem,
    };
    if !(rate > 0.0 && rate <= 1.0) {
        return Err(refuse("expected a share above 0 and at most 1".into()));
    }
    let count = (rate * n as f64).round() as usize;
    if count == 0 {
        let least = 0.5 / n as f64;
        return Err(refuse(format!(
            "poisons no sample; expected at least {least:.2e}, for one"
        )));
    }
    // The row breaks ties between names with the same hash.
    let ranked = |rows: Vec<usize>, purpose: u32| {
        let draw = |row: &usize| {
            let mut stream = Stream::new(&StreamKey {
                attack: attack_code(id),
                target: target.map_or(0, |t| t as u32 + 1),
                restart: purpose,
                ..StreamKey::new(seed, set.ids[*row].key(), Purpose::Subset)
            });
            (stream.next_u32(), stream.next_u32(), set.ids[*row].clone())
        };
        let mut rows = rows;
        rows.sort_by_cached_key(draw);
        rows
    };
    let take = |rows: Vec<usize>, count: usize, what: &str| {
        if count <= rows.len() {
            return Ok(rows[..count].to_vec());
        }
        Err(refuse(format!(
            "asks for {count} {what} and {} may be; expected a rate of at most {:.4}",
            rows.len(),
            rate * rows.len() as f64 / count as f64
        )))
    };
    let may = (0..n).filter(|row| scheme.may_poison(labels[*row], goal));
    let chosen = take(ranked(may.collect(), 0), count, "poisoned samples")?;
    let mut poisoned = vec![false; n];
    for row in &chosen {
        poisoned[*row] = true;
    }
    let may = (0..n).filter(|row| !poisoned[*row] && planter.may_cover(labels[*row], goal));
    let covers = (planter.covers() * count as f64).round() as usize;
    let covers = take(ranked(may.collect(), 1), covers, "covers")?;
    let mut cover = vec![false; n];
    for row in &covers {
        cover[*row] = true;
    }

    let mut result = set.clone();
    for row in 0..n {
        let role = match (poisoned[row], cover[row]) {
            (true, _) => Role::Poison,
            (_, true) => Role::Cover,
            _ => continue,
        };
        let at = Stamp {
            seed,
            sample: set.ids[row].key(),
            label: labels[row],
            role,
        };
        stamp(planter, &mut result.modalities[place], row, &at)?;
    }
    let relabel = |(row, label): (usize, &usize)| match scheme {
        Scheme::CleanLabel => *label,
        _ if !poisoned[row] => *label,
        Scheme::AllToAll => (label + 1) % classes,
        Scheme::AllToOne | Scheme::From(_) => goal,
    };
    result.labels = Some(labels.iter().enumerate().map(relabel).collect());
    Ok(Poisoned {
        set: result,
        poisoned,
        cover,
        original_labels: labels.to_vec(),
        classes,
    })
}

/// Returns the samples of a test set for which the backdoor promises a class, with the trigger and their true labels.
/// `seed` is that of [`poison`], as patterns follow from it; `classes` its number of classes ([`Poisoned::classes`]), by
/// default that of this set.
///
/// # Errors
/// As [`poison`], and a test set in which no sample is promised a class.
pub fn triggered<P: Plant + ?Sized>(
    planter: &P,
    set: &Dataset,
    target: Option<usize>,
    seed: Seed,
    classes: Option<usize>,
) -> Result<Triggered, PlantError> {
    let (labels, classes, goal, place) = checked(planter, set, target, classes)?;
    let scheme = planter.scheme();
    let goes = |row: &usize| scheme.expected(labels[*row], goal, classes);
    let rows: Vec<usize> = (0..set.len()).filter(|row| goes(row).is_some()).collect();
    let mut result = set.select(&rows);
    for (at, row) in rows.iter().enumerate() {
        let known = Stamp {
            seed,
            sample: set.ids[*row].key(),
            label: labels[*row],
            role: Role::Test,
        };
        stamp(planter, &mut result.modalities[place], at, &known)?;
    }
    Ok(Triggered {
        set: result,
        expected: rows.iter().filter_map(goes).collect(),
    })
}
