//! The contrasts of every statistic.

use std::sync::Arc;

use super::{Contrast, MetricEntry, Of, Rows, Statistic};
use crate::figure::{Basis, Comparison, Estimate, Family, Figure, Form, LeftOut, Part, Reason};
use crate::{Groups, Settings};

/// Caches the statistic computed last: the seven entries of a statistic are adjacent in the list of metrics.
#[derive(Default)]
pub(crate) struct Last(Option<(&'static str, Parts)>);

impl Last {
    fn parts(&mut self, statistic: &Statistic, groups: &Groups<'_>, settings: &Settings) -> Parts {
        match &self.0 {
            Some((id, parts)) if *id == statistic.id => parts.clone(),
            _ => {
                let parts = statistic.parts(groups, settings);
                self.0 = Some((statistic.id, parts.clone()));
                parts
            }
        }
    }
}

/// A statistic of every group: the estimates, and the groups left out.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) known: Vec<Part>,
    pub(crate) left_out: Arc<[LeftOut]>,
    pub(crate) overall: Result<Part, Reason>,
}

impl Statistic {
    fn estimate(
        &self,
        at: Option<usize>,
        groups: &Groups<'_>,
        settings: &Settings,
    ) -> Result<Estimate, Reason> {
        let cell = at.map_or(groups.overall(), |g| &groups.groups()[g].cell);
        let rows = Rows {
            table: groups.table(),
            rows: at.map_or(groups.known(), |g| groups.rows(g)),
        };
        let estimate = match self.of {
            Of::Cell(share) => Estimate::Share(share(cell)),
            Of::Share(share) => Estimate::Share(share(rows)),
            Of::Folded(folded) => Estimate::Folded(folded(rows, settings)?),
            Of::Mean(mean) => Estimate::Mean(mean(rows, settings)?),
            Of::Root(mean) => Estimate::Root(mean(rows, settings)?),
        };
        match refused(groups, at, estimate.denominator().n, settings) {
            Some(reason) => Err(reason),
            None => Ok(estimate),
        }
    }

    /// Returns the statistic of every group and of all groups together.
    pub(crate) fn parts(&self, groups: &Groups<'_>, settings: &Settings) -> Parts {
        let (mut known, mut left_out) = (Vec::new(), Vec::new());
        for (at, group) in groups.groups().iter().enumerate() {
            match self.estimate(Some(at), groups, settings) {
                Ok(estimate) => known.push(Part {
                    group: Some(at),
                    name: group.name.clone(),
                    estimate,
                }),
                Err(reason) => left_out.push(LeftOut {
                    group: group.name.clone(),
                    persons: group.cell.all().n,
                    reason,
                }),
            }
        }
        let overall = self.estimate(None, groups, settings).map(|estimate| Part {
            group: None,
            name: "overall".to_owned(),
            estimate,
        });
        Parts {
            known,
            left_out: left_out.into(),
            overall,
        }
    }
}

/// Returns why a group with `n` rows in the denominator is left out, if it is. `at` is `None` for all groups together.
fn refused(groups: &Groups<'_>, at: Option<usize>, n: u64, settings: &Settings) -> Option<Reason> {
    let min_share = settings.min_share;
    match at.map(|at| (groups.share(at), groups.groups()[at].cell.all().n)) {
        Some((share, n)) if share < min_share => Some(Reason::SmallShare {
            n,
            share,
            min_share,
        }),
        _ if n == 0 || n < settings.min_n => Some(Reason::TooFew {
            n,
            min_n: settings.min_n.max(1),
        }),
        _ => None,
    }
}

/// Returns the same as an entry of a figure's `left_out`.
pub(crate) fn too_few(
    groups: &Groups<'_>,
    at: usize,
    n: u64,
    settings: &Settings,
) -> Option<LeftOut> {
    let group = &groups.groups()[at];
    refused(groups, Some(at), n, settings).map(|reason| LeftOut {
        group: group.name.clone(),
        persons: group.cell.all().n,
        reason,
    })
}

/// Returns a figure of a grouping that has no groups, value or basis yet.
pub(crate) fn blank(
    entry: &'static MetricEntry,
    groups: &Groups<'_>,
    left_out: impl Into<Arc<[LeftOut]>>,
) -> Figure {
    let left_out = left_out.into();
    let unknown = groups.unknown().n;
    let persons_left_out = unknown + left_out.iter().map(|l| l.persons).sum::<u64>();
    Figure {
        metric: entry.id,
        attribute: groups.attribute().to_owned(),
        comparison: Comparison::Whole,
        groups: Vec::new(),
        value: Err(Reason::NothingToCompareWith),
        n: Vec::new(),
        basis: Basis::nothing(),
        left_out,
        persons_left_out,
        persons: groups.overall().all().n + unknown,
    }
}

pub(crate) fn figures(
    entry: &'static MetricEntry,
    statistic: &Statistic,
    contrast: Contrast,
    groups: &Groups<'_>,
    settings: &Settings,
    last: &mut Last,
) -> Vec<Figure> {
    let parts = last.parts(statistic, groups, settings);
    let figure = blank(entry, groups, parts.left_out.clone());
    let listed = groups.groups().len() <= settings.detail_groups;
    match contrast {
        Contrast::Plain => plain(statistic, parts, groups, &figure),
        Contrast::Difference => vec![between(statistic.id, Form::Difference, parts, figure)],
        Contrast::Ratio => vec![between(statistic.id, Form::Ratio, parts, figure)],
        Contrast::DifferenceToOverall | Contrast::RatioToOverall => {
            let against = parts.overall.clone();
            let ratio = contrast == Contrast::RatioToOverall;
            let to = [Comparison::GroupToOverall, Comparison::MostToOverall];
            compared(
                statistic.id,
                ratio,
                &parts.known,
                against,
                to,
                listed,
                &figure,
            )
        }
        Contrast::DifferenceToReference | Contrast::RatioToReference => {
            let Some(reference) = groups.reference() else {
                return Vec::new();
            };
            let ratio = contrast == Contrast::RatioToReference;
            let mut parts = parts.known;
            let at = parts.iter().position(|p| p.group == Some(reference));
            let against = at.map_or(Err(Reason::NothingToCompareWith), |at| Ok(parts.remove(at)));
            let to = [Comparison::GroupToReference, Comparison::MostToReference];
            compared(statistic.id, ratio, &parts, against, to, listed, &figure)
        }
    }
}

/// Returns a figure for each group, in order and including those left out, and one for all groups together.
fn plain(statistic: &Statistic, parts: Parts, groups: &Groups<'_>, blank: &Figure) -> Vec<Figure> {
    let one = |part: Part, comparison| Figure {
        comparison,
        groups: vec![part.name.clone()],
        value: Ok(part.value()),
        n: vec![part.estimate.denominator().n],
        basis: Basis::of(Form::Plain, Family::among(statistic.id, vec![part])),
        ..blank.clone()
    };
    let none = |name: &str, reason: Reason, comparison| Figure {
        comparison,
        groups: vec![name.to_owned()],
        n: vec![match reason {
            Reason::TooFew { n, .. } | Reason::SmallShare { n, .. } => n,
            _ => 0,
        }],
        value: Err(reason),
        ..blank.clone()
    };
    let mut with = parts.known.into_iter().peekable();
    let mut without = parts.left_out.iter();
    let mut all = Vec::new();
    for at in 0..groups.groups().len() {
        if let Some(part) = with.next_if(|p| p.group == Some(at)) {
            all.push(one(part, Comparison::Group));
        } else if let Some(left) = without.next() {
            all.push(none(&left.group, left.reason.clone(), Comparison::Group));
        }
    }
    all.push(match parts.overall {
        Ok(part) => one(part, Comparison::Overall),
        Err(reason) => none("overall", reason, Comparison::Overall),
    });
    all
}

/// Returns the parts with the largest and the smallest value; ties go to the first group. `None` if there are no parts.
pub(crate) fn extremes(parts: &[Part]) -> Option<(&Part, &Part)> {
    let (first, rest) = parts.split_first()?;
    let mut ends = (first, first);
    for part in rest {
        if part.value() > ends.0.value() {
            ends.0 = part;
        }
        if part.value() < ends.1.value() {
            ends.1 = part;
        }
    }
    Some(ends)
}

/// Returns the largest minus the smallest, or the smallest over the largest.
pub(crate) fn between(rate: &'static str, form: Form, parts: Parts, blank: Figure) -> Figure {
    let parts = parts.known;
    let mut figure = Figure {
        comparison: Comparison::Between,
        ..blank
    };
    if parts.len() < 2 {
        figure.value = Err(Reason::NoTwoGroups { left: parts.len() });
        return figure;
    }
    if let Some((high, low)) = extremes(&parts) {
        let (value, ends) = match form {
            Form::Ratio => (quotient(low.value(), high.value()), [low, high]),
            _ => (Ok(high.value() - low.value()), [high, low]),
        };
        figure.value = value;
        figure.groups = ends.map(|p| p.name.clone()).to_vec();
        figure.n = ends.map(|p| p.estimate.denominator().n).to_vec();
    }
    let family = Family::among(rate, parts);
    figure.basis = Basis::of(form, family);
    figure
}

/// Returns the ratio of two figures that are at least 0. Fails if `b` is 0.
pub(crate) fn quotient(a: f64, b: f64) -> Result<f64, Reason> {
    if b == 0.0 {
        Err(Reason::DividesByZero)
    } else {
        Ok(a / b)
    }
}

/// Returns every part compared with `against`, if they are to be listed, then the farthest of them.
fn compared(
    rate: &'static str,
    ratio: bool,
    parts: &[Part],
    against: Result<Part, Reason>,
    [each, most]: [Comparison; 2],
    listed: bool,
    blank: &Figure,
) -> Vec<Figure> {
    let Ok(against) = against else {
        return vec![Figure {
            comparison: most,
            ..blank.clone()
        }];
    };
    let figure = |comparison, form, parts: Vec<Part>, of: &Part, value| Figure {
        comparison,
        groups: vec![of.name.clone(), against.name.clone()],
        value,
        n: [of, &against].map(|p| p.estimate.denominator().n).to_vec(),
        basis: Basis::of(
            form,
            Family {
                rate,
                parts,
                against: Some(against.clone()),
            },
        ),
        ..blank.clone()
    };
    let (form, far) = if ratio {
        (Form::Ratio, Form::Closeness)
    } else {
        (Form::Difference, Form::Distance)
    };
    let value = |part: &Part| {
        if ratio {
            quotient(part.value(), against.value())
        } else {
            Ok(part.value() - against.value())
        }
    };
    // Distance from fair: 0 is perfectly fair.
    let distance = |v: f64| if ratio { 1.0 - closeness(v) } else { v.abs() };
    let each_part = parts.iter().filter(|_| listed);
    let mut all: Vec<Figure> = each_part
        .map(|p| figure(each, form, vec![p.clone()], p, value(p)))
        .collect();
    let mut farthest: Option<(f64, &Part)> = None;
    for part in parts {
        if let Ok(v) = value(part)
            && farthest.is_none_or(|f| distance(v) > distance(f.0))
        {
            farthest = Some((v, part));
        }
    }
    all.push(match (farthest, parts.first()) {
        (Some((v, part)), _) => {
            let v = if ratio { closeness(v) } else { v.abs() };
            figure(most, far, parts.to_vec(), part, Ok(v))
        }
        (None, Some(part)) => figure(most, far, parts.to_vec(), part, value(part)),
        (None, None) => Figure {
            comparison: most,
            value: Err(Reason::NoTwoGroups { left: 0 }),
            ..blank.clone()
        },
    });
    all
}

/// Returns a ratio or its inverse, whichever is at most 1.
pub(crate) fn closeness(ratio: f64) -> f64 {
    if ratio > 1.0 { 1.0 / ratio } else { ratio }
}
