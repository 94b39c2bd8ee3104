//! Builds the report from figures and judgements.

use std::collections::{BTreeMap, HashMap};

use proofmark_domain::{Interval, Verdict};

use super::audit::ReportOptions;
use super::counts::Kind;
use super::made_of::PartsWriter;
use super::suppress::{Hidden, OVERALL};
use super::{
    AUDIT_SCHEMA, AttackFacts, AttributeFacts, AuditReport, GroupFacts, LeftOutGroup, Metric,
    PairFacts, Rate, RefusedGroups, RequirementResult, SUPPRESSED, SettingFacts, SkippedMetric,
    Status, TableFacts, attack, no_interval,
};
use crate::metric::Need;
use crate::{
    By, Cell, Comparison, Estimate, Figure, Groups, Judgement, Measured, Missing, PairTests, Part,
    Settings, Table,
};

fn shown_if<T: Clone>(shown: bool, all: &[T]) -> Vec<T> {
    if shown { all.to_vec() } else { Vec::new() }
}

/// Rounds the interval of a rate outward to seven digits: no limit is more precise, and a report has thousands of them.
fn to_seven_digits(i: Interval) -> Interval {
    Interval {
        low: -outward(-i.low),
        high: outward(i.high),
    }
}

fn outward(v: f64) -> f64 {
    if v == 0.0 || !v.is_finite() {
        return v;
    }
    let digits = 6 - v.abs().log10().floor() as i32;
    let power = 10_f64.powi(digits.abs());
    if !power.is_finite() {
        return v;
    }
    let whole = if digits < 0 { v / power } else { v * power };
    // A value that already has seven digits stays unchanged.
    let near = whole.round();
    let whole = if (whole - near).abs() < 1e-6 {
        near
    } else {
        whole.ceil()
    };
    if digits < 0 {
        whole * power
    } else {
        whole / power
    }
}

/// Inputs that the report is written from.
pub(super) struct Writer<'a> {
    /// Indices of each group's rates, by attribute and group name; includes those of all together.
    pub(super) rates: HashMap<(&'a str, &'a str), Vec<usize>>,
    /// Maximum number of groups for which everything is reported.
    pub(super) detail: usize,
    pub(super) attack: Option<AttackFacts>,
    pub(super) pairs: Option<PairFacts>,
    /// Number of figures judged together, including those of other audits.
    pub(super) family: usize,
    pub(super) measured: &'a Measured<'a>,
    pub(super) judged: &'a [Judgement],
    /// Interval of each figure on its own.
    pub(super) shown: &'a [Option<Interval>],
    pub(super) hidden: &'a Hidden,
    pub(super) options: &'a ReportOptions,
    pub(super) seed: u64,
}

/// Counts of a group: over all rows, over rows with a decision, over rows with a label, and over rows with both.
struct GroupCounts {
    everybody: Cell,
    decided: Cell,
    labelled: Cell,
    both: Cell,
}

/// Whether a figure is a rate of one group (or of all together) rather than a comparison.
pub(super) fn is_rate(figure: &Figure) -> bool {
    matches!(figure.comparison, Comparison::Group | Comparison::Overall)
}

impl Writer<'_> {
    pub(super) fn write(&self, table: &Table, settings: &Settings) -> AuditReport {
        let gates = self.gates();
        let verdicts = gates.iter().map(|g| g.verdict);
        let mut parts = PartsWriter::default();
        let metrics = self.metrics(&mut parts);
        AuditReport {
            schema: AUDIT_SCHEMA.to_owned(),
            version: self.options.version.clone(),
            table: TableFacts {
                name: table.source().to_owned(),
                rows: table.rows() as u64,
                filtered: table.filtered(),
                missing: self.missing(table),
                notes: table.notes().to_vec(),
                weighted: table.weights().is_some(),
                origin: table.origin().cloned(),
            },
            settings: SettingFacts {
                level: self.options.level,
                family: self.family as u64,
                suppress: self.options.suppress,
                measured: settings.clone(),
            },
            verdict: (!gates.is_empty()).then(|| Verdict::of_all(verdicts)),
            gates,
            metrics,
            parts: parts.into_parts(),
            groups: self
                .measured
                .groupings
                .iter()
                .flat_map(|g| self.groups(g, table))
                .collect(),
            attributes: self.attributes(),
            skipped: self
                .measured
                .skipped
                .iter()
                .map(|s| SkippedMetric {
                    metric: s.metric.to_owned(),
                    needs: s.needs.iter().map(|n| n.describe().to_owned()).collect(),
                })
                .collect(),
            refused: self
                .measured
                .refused
                .iter()
                .map(|r| RefusedGroups {
                    attribute: r.attribute.clone(),
                    reason: if self.options.suppress > 1 {
                        "too few members".to_owned()
                    } else {
                        r.reason.clone()
                    },
                })
                .collect(),
            request: None,
            attack: self.attack.clone(),
            pairs: self.pairs.clone(),
            scan: Vec::new(),
            samples: Vec::new(),
            samples_file: None,
        }
    }

    fn missing(&self, table: &Table) -> Vec<Missing> {
        let parts = self.options.suppress <= 1;
        let one = |m: &Missing| Missing {
            rows: m.rows.filter(|_| parts),
            markers: if parts {
                m.markers.clone()
            } else {
                BTreeMap::new()
            },
            ..m.clone()
        };
        table.missing().iter().map(one).collect()
    }

    fn gates(&self) -> Vec<RequirementResult> {
        let mut gates = Vec::new();
        for (figure, judgement) in self.measured.figures.iter().zip(self.judged) {
            let hidden = self.hidden.figure(figure);
            for ruling in &judgement.rulings {
                let requirement = &self.options.requirements[ruling.requirement];
                let no_interval = (requirement.by == By::Interval && ruling.interval.is_none())
                    .then(|| no_interval(figure.metric));
                let attack = self.attack.as_ref();
                let (verdict, distrust) = attack::ruled(attack, figure, ruling.verdict);
                gates.push(RequirementResult {
                    requirement: requirement.to_string(),
                    metric: figure.metric.to_owned(),
                    attribute: figure.attribute.clone(),
                    judge: requirement.by.as_str().to_owned(),
                    value: figure.value().filter(|_| !hidden),
                    interval: ruling.interval.filter(|_| !hidden),
                    family: ruling.interval.is_some(),
                    verdict,
                    needed: ruling.needed.filter(|_| !hidden),
                    reason: match &figure.value {
                        _ if hidden => Some(SUPPRESSED.to_owned()),
                        Err(reason) => Some(self.hidden.reason(reason)),
                        Ok(_) => distrust.or(no_interval),
                    },
                });
            }
        }
        gates
    }

    fn metrics(&self, parts: &mut PartsWriter) -> Vec<Metric> {
        let figures = self.measured.figures.iter().enumerate();
        figures
            .filter(|(_, f)| !is_rate(f))
            // A list of the pairs that can be estimated would reveal something about each group.
            .filter(|(_, f)| f.comparison.is_headline() || !self.hidden.figure(f))
            .map(|(at, figure)| self.metric(figure, &self.judged[at], self.shown[at], parts))
            .collect()
    }

    /// Whether an attribute has more groups than are reported in full.
    fn is_large(&self, attribute: &str) -> bool {
        let own = self
            .measured
            .groupings
            .iter()
            .find(|g| g.attribute() == attribute);
        own.is_some_and(|g| g.groups().len() > self.detail)
    }

    fn metric(
        &self,
        figure: &Figure,
        judged: &Judgement,
        shown: Option<Interval>,
        parts: &mut PartsWriter,
    ) -> Metric {
        let hidden = self.hidden.figure(figure);
        let status = if !judged.is_exploratory() {
            let rulings = judged.rulings.iter();
            Verdict::of_all(
                rulings.map(|r| attack::ruled(self.attack.as_ref(), figure, r.verdict).0),
            )
            .into()
        } else if hidden {
            Status::Suppressed
        } else if figure.value.is_err() {
            Status::NotEstimable
        } else {
            Status::Exploratory
        };
        let secret = hidden || self.hidden.anything(&figure.attribute);
        let left_out = figure.left_out.iter().filter(|_| !secret).take(self.detail);
        Metric {
            metric: figure.metric.to_owned(),
            attribute: figure.attribute.clone(),
            headline: figure.comparison.is_headline(),
            // Naming the groups that are furthest apart would reveal something about each.
            groups: shown_if(!hidden, &figure.groups),
            value: figure.value().filter(|_| !hidden),
            ci95: shown.filter(|_| !hidden),
            p_value: judged.p_value.filter(|_| !hidden),
            p_adjusted: judged.p_adjusted.filter(|_| !hidden),
            status,
            reason: match &figure.value {
                _ if hidden => Some(SUPPRESSED.to_owned()),
                Ok(_) => None,
                Err(reason) => Some(self.hidden.reason(reason)),
            },
            n: shown_if(!hidden, &figure.n),
            left_out: left_out
                .map(|l| LeftOutGroup {
                    group: l.group.clone(),
                    persons: Some(l.persons),
                    reason: self.hidden.reason(&l.reason),
                })
                .collect(),
            groups_left_out: (!secret).then_some(figure.left_out.len() as u64),
            persons_left_out: (!secret).then_some(figure.persons_left_out),
            share_left_out: (!secret).then(|| figure.share_left_out()),
            persons: (!secret).then_some(figure.persons),
            tests: PairTests::of(figure, self.seed).filter(|_| self.options.suppress <= 1),
            basis: (figure.comparison.is_headline()
                && self.options.suppress <= 1
                && figure.value.is_ok()
                && (!judged.is_exploratory() || !self.is_large(&figure.attribute)))
            .then(|| parts.tell(figure)),
        }
    }

    fn groups(&self, grouping: &Groups<'_>, table: &Table) -> Vec<GroupFacts> {
        // If some rows lack a decision or a label, each count covers only the rows that have the columns it needs.
        let with = |needs: &[Need]| {
            let (mut cells, overall) = grouping.cells_with(needs);
            cells.push(overall);
            cells
        };
        let counted = [
            &[][..],
            &[Need::Decision],
            &[Need::Label],
            &[Need::Decision, Need::Label],
        ]
        .map(with);
        let names = grouping.groups().iter().map(|g| g.name.as_str());
        let last = grouping.groups().len();
        let all = names.chain([OVERALL]).enumerate();
        all.map(|(at, name)| {
            let [everybody, decided, labelled, both] = [0, 1, 2, 3].map(|c: usize| counted[c][at]);
            let counts = GroupCounts {
                everybody,
                decided,
                labelled,
                both,
            };
            self.group(grouping, name, &counts, at == last, table)
        })
        .collect()
    }

    fn group(
        &self,
        grouping: &Groups<'_>,
        name: &str,
        counts: &GroupCounts,
        overall: bool,
        table: &Table,
    ) -> GroupFacts {
        let attribute = grouping.attribute();
        let comparison = if overall {
            Comparison::Overall
        } else {
            Comparison::Group
        };
        let shown = |kind| {
            if overall {
                !self.hidden.total(attribute, kind)
            } else {
                !self.hidden.counts(attribute, name, kind)
            }
        };
        let decided = table.decision().is_some();
        let labelled = table.label().is_some();
        let matrix = decided && labelled && shown(Kind::Joint);
        let counted = |shown: bool, n: u64| shown.then_some(n);
        let places = self.rates.get(&(attribute, name)).into_iter().flatten();
        let rates = places.map(|at| (&self.measured.figures[*at], self.shown[*at]));
        GroupFacts {
            attribute: attribute.to_owned(),
            group: name.to_owned(),
            overall,
            n: counted(shown(Kind::Size), counts.everybody.all().n),
            weight: (table.weights().is_some() && shown(Kind::Size))
                .then(|| counts.everybody.all().weight),
            favourable: counted(
                decided && shown(self.hidden.kind_of_decisions(attribute)),
                counts.decided.favourable().n,
            ),
            positives: counted(
                labelled && shown(Kind::Label),
                counts.labelled.positives().n,
            ),
            tp: counted(matrix, counts.both.tp.n),
            fp: counted(matrix, counts.both.fp.n),
            fn_: counted(matrix, counts.both.fn_.n),
            tn: counted(matrix, counts.both.tn.n),
            rates: rates
                .filter(|(f, _)| f.comparison == comparison)
                .map(|(f, shown)| self.rate(f, shown))
                .collect(),
        }
    }

    fn rate(&self, figure: &Figure, shown: Option<Interval>) -> Rate {
        let hidden = self.hidden.figure(figure);
        let parts = figure.basis.families.iter().flat_map(|f| &f.parts);
        let share = |p: &Part| matches!(p.estimate, Estimate::Share(_));
        Rate {
            metric: figure.metric.to_owned(),
            value: figure.value().filter(|_| !hidden),
            ci95: shown.filter(|_| !hidden).map(to_seven_digits),
            n: figure.n.first().copied().filter(|_| !hidden),
            reason: match &figure.value {
                _ if hidden => Some(SUPPRESSED.to_owned()),
                Ok(_) => None,
                Err(reason) => Some(self.hidden.reason(reason)),
            },
            share: !hidden && parts.into_iter().any(share),
        }
    }

    fn attributes(&self) -> Vec<AttributeFacts> {
        let groupings = self.measured.groupings.iter();
        groupings
            .map(|g| AttributeFacts {
                attribute: g.attribute().to_owned(),
                groups: g.groups().len() as u64,
                unknown: (!self.hidden.total(g.attribute(), Kind::Size)).then_some(g.unknown().n),
                reference: g.reference().map(|at| g.groups()[at].name.clone()),
                suppressed: g
                    .groups()
                    .iter()
                    .filter(|one| self.hidden.group(g.attribute(), &one.name))
                    .map(|one| one.name.clone())
                    .collect(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_rounded_outward_and_seven_digits_stay() {
        let short = |low: f64, high: f64| {
            let i = to_seven_digits(Interval { low, high });
            (i.low, i.high)
        };
        assert_eq!(
            short(0.123_456_789, 0.987_654_321),
            (0.123_456_7, 0.987_654_4)
        );
        assert_eq!(short(0.3, 1.0), (0.3, 1.0));
        assert_eq!(short(0.0, 1.234_567_89e-9), (0.0, 1.234_568e-9));
        assert_eq!(
            short(-2.000_000_06, 123_456_789.0),
            (-2.000_001, 123_456_800.0)
        );
        assert_eq!(
            short(f64::NEG_INFINITY, 1e-320),
            (f64::NEG_INFINITY, 1e-320)
        );
    }
}
