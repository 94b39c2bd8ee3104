use std::collections::BTreeMap;
use std::fmt;

use proofmark_domain::{Interval, Report, RunMeta, SampleRecord};

use crate::certified;
use crate::proportion::{Proportion, lower, upper};
use crate::standing::{self, Standing};

/// The metric of a requirement.
///
/// The plain metrics are measured without attack, the `robust_` ones in the worst case over all attacks and baselines
/// of the check. The prediction of a broken sample is the one on the adversarial that was kept. Precision under attack
/// is measured on those predictions, so an attacker who targets precision could lower it further.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Metric {
    /// `accuracy`: share of samples that are correct without attack.
    Accuracy,
    /// `robust_accuracy`: share of samples that are correct in the worst case.
    RobustAccuracy,
    /// `robust_accuracy(ID)`: share of samples that are correct under every run of one attack.
    RobustAccuracyOf(String),
    /// `certified_accuracy`: share of samples that a certificate of the check proves correct for every change within the
    /// largest budget.
    CertifiedAccuracy,
    /// `precision(CLASS)` or `robust_precision(CLASS)`: share of the samples predicted as the class that belong to it.
    Precision {
        /// The class.
        class: usize,
        /// Whether it is measured in the worst case.
        robust: bool,
    },
    /// `recall(CLASS)` or `robust_recall(CLASS)`: share of the samples of the class that are predicted as it.
    Recall {
        /// The class.
        class: usize,
        /// Whether it is measured in the worst case.
        robust: bool,
    },
    /// `f1(CLASS)` or `robust_f1(CLASS)`: the harmonic mean of precision and recall.
    F1 {
        /// The class.
        class: usize,
        /// Whether it is measured in the worst case.
        robust: bool,
    },
    /// `macro_f1` or `robust_macro_f1`: the mean of F1 over the classes that occur as label or prediction.
    MacroF1 {
        /// Whether it is measured in the worst case.
        robust: bool,
    },
    /// `min_recall` or `min_robust_recall`: the lowest recall of any class.
    MinRecall {
        /// Whether it is measured in the worst case.
        robust: bool,
    },
}

impl Metric {
    /// Every metric: its name in requirements, its argument if it takes one, and a description.
    pub const DESCRIBED: [(&'static str, &'static str, &'static str); 13] = [
        (
            "robust_accuracy",
            "[(ATTACK)]",
            "share right without attack and under every attack, or under one",
        ),
        ("accuracy", "", "share right without attack"),
        (
            "certified_accuracy",
            "",
            "share proven right for every change within the budget",
        ),
        (
            "precision",
            "(CLASS)",
            "of the samples predicted as the class, the share that is of it",
        ),
        (
            "recall",
            "(CLASS)",
            "of the samples of the class, the share predicted as it",
        ),
        ("f1", "(CLASS)", "harmonic mean of precision and recall"),
        ("macro_f1", "", "mean of f1 over the classes that occur"),
        ("min_recall", "", "recall of the class with the lowest"),
        ("robust_precision", "(CLASS)", "precision in the worst case"),
        ("robust_recall", "(CLASS)", "recall in the worst case"),
        ("robust_f1", "(CLASS)", "f1 in the worst case"),
        ("robust_macro_f1", "", "macro_f1 in the worst case"),
        ("min_robust_recall", "", "min_recall in the worst case"),
    ];

    /// Names that a requirement may use.
    pub const NAMES: [&'static str; 13] = {
        let mut names = [""; 13];
        let mut i = 0;
        while i < names.len() {
            names[i] = Self::DESCRIBED[i].0;
            i += 1;
        }
        names
    };

    /// Whether the metric needs attacks.
    pub fn under_attack(&self) -> bool {
        match self {
            Self::Accuracy | Self::CertifiedAccuracy => false,
            Self::RobustAccuracy | Self::RobustAccuracyOf(_) => true,
            Self::Precision { robust, .. }
            | Self::Recall { robust, .. }
            | Self::F1 { robust, .. }
            | Self::MacroF1 { robust }
            | Self::MinRecall { robust } => *robust,
        }
    }

    /// Whether it rests on classes, and not only on which samples hold.
    pub fn is_of_classes(&self) -> bool {
        !matches!(
            self,
            Self::Accuracy | Self::RobustAccuracy | Self::RobustAccuracyOf(_)
        )
    }

    /// Returns the class of a per-class metric.
    pub fn class(&self) -> Option<usize> {
        match self {
            Self::Precision { class, .. } | Self::Recall { class, .. } | Self::F1 { class, .. } => {
                Some(*class)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let robust = |r: &bool| if *r { "robust_" } else { "" };
        match self {
            Self::Accuracy => f.write_str("accuracy"),
            Self::RobustAccuracy => f.write_str("robust_accuracy"),
            Self::RobustAccuracyOf(id) => write!(f, "robust_accuracy({id})"),
            Self::CertifiedAccuracy => f.write_str("certified_accuracy"),
            Self::Precision { class, robust: r } => write!(f, "{}precision({class})", robust(r)),
            Self::Recall { class, robust: r } => write!(f, "{}recall({class})", robust(r)),
            Self::F1 { class, robust: r } => write!(f, "{}f1({class})", robust(r)),
            Self::MacroF1 { robust: r } => write!(f, "{}macro_f1", robust(r)),
            Self::MinRecall { robust: r } => write!(f, "min_{}recall", robust(r)),
        }
    }
}

/// Measured value of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    /// Point estimate; `None` where it is 0 out of 0.
    pub observed: Option<f64>,
    /// Interval at the requested level.
    pub ci: Interval,
    /// Number of samples behind it.
    pub n: u64,
}

/// The counts of one class.
#[derive(Debug, Clone, Copy, Default)]
struct ClassCounts {
    /// Samples of the class.
    n: u64,
    /// Of those, judged correct.
    hits: u64,
    /// Of those, not judged.
    unjudged: u64,
    /// Judged samples of any class that are predicted as this one.
    predicted: u64,
}

/// All counts that a metric may need, with or without attack.
#[derive(Debug, Clone)]
pub(crate) struct Counts {
    all: Proportion,
    classes: BTreeMap<usize, ClassCounts>,
}

impl Counts {
    /// Counts the samples that a metric uses.
    pub(crate) fn of(metric: &Metric, report: &Report) -> Self {
        if *metric == Metric::CertifiedAccuracy {
            return Self::certified(report);
        }
        let runs: Vec<RunMeta> = report
            .attacks
            .iter()
            .map(proofmark_domain::AttackSummary::meta)
            .collect();
        let standing = |s: &SampleRecord| match metric {
            Metric::RobustAccuracyOf(id) => standing::over(s, &runs, |r| r.id == *id),
            m if m.under_attack() => standing::worst(s, &runs),
            _ => standing::over(s, &[], |_| true),
        };
        let mut counts = Self {
            all: Proportion::default(),
            classes: BTreeMap::new(),
        };
        let counted = |s: &&SampleRecord| !(metric.under_attack() && s.is_of_target());
        for sample in report.samples.iter().filter(counted) {
            let standing = standing(sample);
            let (hit, open) = (standing == Standing::Robust, standing == Standing::Unjudged);
            counts.all.n += 1;
            counts.all.hits += u64::from(hit);
            counts.all.unjudged += u64::from(open);
            let class = counts.classes.entry(sample.label).or_default();
            class.n += 1;
            class.hits += u64::from(hit);
            class.unjudged += u64::from(open);
            let prediction = if standing == Standing::Broken {
                sample.adv_pred
            } else {
                sample.clean_pred
            };
            if let (false, Some(p)) = (open, prediction) {
                counts.classes.entry(p).or_default().predicted += 1;
            }
        }
        counts
    }

    /// Counts the samples that are certified; none if nothing certified the model itself.
    fn certified(report: &Report) -> Self {
        let certificates = certified::of_model(report);
        let mut all = Proportion::default();
        if !certificates.is_empty() {
            for sample in &report.samples {
                let (hit, open) = certified::counted(sample, &certificates);
                all.n += 1;
                all.hits += u64::from(hit);
                all.unjudged += u64::from(open);
            }
        }
        Self {
            all,
            classes: BTreeMap::new(),
        }
    }

    /// Returns the counts of a set `factor` times as large at the same rates.
    fn scaled(&self, factor: f64) -> Self {
        let times = |x: u64| (x as f64 * factor).round() as u64;
        let share = |p: Proportion| Proportion {
            hits: times(p.hits),
            unjudged: times(p.unjudged),
            n: times(p.n),
        };
        let class = |c: &ClassCounts| ClassCounts {
            n: times(c.n),
            hits: times(c.hits),
            unjudged: times(c.unjudged),
            predicted: times(c.predicted),
        };
        Self {
            all: share(self.all),
            classes: self.classes.iter().map(|(l, c)| (*l, class(c))).collect(),
        }
    }

    /// Returns the number of samples.
    pub(crate) const fn n(&self) -> u64 {
        self.all.n
    }

    /// Returns the number of samples that were not judged.
    pub(crate) const fn unjudged(&self) -> u64 {
        self.all.unjudged
    }

    /// Returns the metric with its interval at a level.
    ///
    /// Proportions get Clopper–Pearson intervals: precision over the samples predicted as the class, recall over those
    /// of the class. F1 increases with precision and with recall, so the F1 of both lower (upper) ends bounds it, each
    /// at half the error (Bonferroni). The mean of F1 and the minimum of recall over k classes use bounds that hold for
    /// all classes at once, each at 1/k of the error: wider than necessary, never too narrow.
    pub(crate) fn estimate(&self, metric: &Metric, level: f64) -> Estimate {
        match metric {
            Metric::Accuracy
            | Metric::RobustAccuracy
            | Metric::RobustAccuracyOf(_)
            | Metric::CertifiedAccuracy => plain(self.all, level),
            Metric::Precision { class, .. } => self.precision(*class, level),
            Metric::Recall { class, .. } => plain(self.recall(*class), level),
            Metric::F1 { class, .. } => self.f1(*class, level),
            Metric::MacroF1 { .. } => self.macro_f1(level),
            Metric::MinRecall { .. } => self.min_recall(level),
        }
    }

    /// Returns the proportion behind the metric; `None` if the metric is not a proportion, or has no samples or
    /// unjudged ones.
    pub(crate) fn proportion(&self, metric: &Metric) -> Option<Proportion> {
        let share = match metric {
            Metric::Accuracy
            | Metric::RobustAccuracy
            | Metric::RobustAccuracyOf(_)
            | Metric::CertifiedAccuracy => self.all,
            Metric::Recall { class, .. } => self.recall(*class),
            Metric::Precision { class, .. } => {
                let c = self.class(*class);
                Proportion {
                    hits: c.hits,
                    unjudged: self.all.unjudged,
                    n: c.predicted,
                }
            }
            Metric::F1 { .. } | Metric::MacroF1 { .. } | Metric::MinRecall { .. } => return None,
        };
        (share.unjudged == 0 && share.n > 0).then_some(share)
    }

    /// Returns about how many further samples, at the rates seen so far, would move the interval off the threshold.
    ///
    /// Searches on scaled counts, for metrics that are not plain proportions; `None` if ten million samples would not
    /// suffice.
    pub(crate) fn further(&self, metric: &Metric, threshold: f64, level: f64) -> Option<u64> {
        const MOST: f64 = 1e7;
        let n = self.all.n as f64;
        let settled = |factor: f64| {
            let ci = self.scaled(factor).estimate(metric, level).ci;
            ci.low >= threshold || ci.high < threshold
        };
        let (mut low, mut high) = (1.0, 2.0);
        while !settled(high) {
            low = high;
            high *= 2.0;
            if n == 0.0 || n * high > MOST {
                return None;
            }
        }
        while (high - low) * n > 1.0 {
            let middle = f64::midpoint(low, high);
            if settled(middle) {
                high = middle;
            } else {
                low = middle;
            }
        }
        Some(((high - 1.0) * n).ceil() as u64)
    }

    fn class(&self, label: usize) -> ClassCounts {
        self.classes.get(&label).copied().unwrap_or_default()
    }

    fn recall(&self, label: usize) -> Proportion {
        let c = self.class(label);
        Proportion {
            hits: c.hits,
            unjudged: c.unjudged,
            n: c.n,
        }
    }

    fn precision(&self, label: usize, level: f64) -> Estimate {
        let c = self.class(label);
        // An unjudged sample may be predicted as the class: wrongly if it belongs to another class, correctly if to
        // this one.
        let foreign = self.all.unjudged - c.unjudged;
        Estimate {
            observed: (c.predicted > 0).then(|| c.hits as f64 / c.predicted as f64),
            ci: Interval {
                low: lower(c.hits, c.predicted + foreign, level),
                high: upper(c.hits + c.unjudged, c.predicted + c.unjudged, level),
            },
            n: c.predicted,
        }
    }

    fn f1(&self, label: usize, level: f64) -> Estimate {
        let half = share_error(level, 2);
        let c = self.class(label);
        let (precision, recall) = (
            self.precision(label, half).ci,
            self.recall(label).interval(half),
        );
        Estimate {
            observed: (c.predicted + c.n > 0)
                .then(|| 2.0 * c.hits as f64 / (c.predicted + c.n) as f64),
            ci: Interval {
                low: harmonic(precision.low, recall.low),
                high: harmonic(precision.high, recall.high),
            },
            n: c.n,
        }
    }

    fn macro_f1(&self, level: f64) -> Estimate {
        let k = self.classes.len();
        if k == 0 {
            return Estimate {
                observed: None,
                ci: Interval {
                    low: 0.0,
                    high: 1.0,
                },
                n: 0,
            };
        }
        let each: Vec<Estimate> = self
            .classes
            .keys()
            .map(|l| self.f1(*l, share_error(level, k)))
            .collect();
        let mean = |of: &dyn Fn(&Estimate) -> f64| each.iter().map(of).sum::<f64>() / k as f64;
        Estimate {
            observed: Some(mean(&|e| e.observed.unwrap_or(0.0))),
            ci: Interval {
                low: mean(&|e| e.ci.low),
                high: mean(&|e| e.ci.high),
            },
            n: self.all.n,
        }
    }

    fn min_recall(&self, level: f64) -> Estimate {
        let shares: Vec<Proportion> = self
            .classes
            .keys()
            .map(|l| self.recall(*l))
            .filter(|p| p.n > 0)
            .collect();
        let each = shares
            .iter()
            .map(|p| p.interval(share_error(level, shares.len())));
        let (low, high) = each.fold((1.0_f64, 1.0_f64), |(l, h), ci| {
            (l.min(ci.low), h.min(ci.high))
        });
        Estimate {
            observed: shares.iter().map(|p| p.point()).min_by(f64::total_cmp),
            ci: Interval {
                low: if shares.is_empty() { 0.0 } else { low },
                high,
            },
            n: self.all.n,
        }
    }
}

fn plain(share: Proportion, level: f64) -> Estimate {
    Estimate {
        observed: (share.n > 0).then(|| share.point()),
        ci: share.interval(level),
        n: share.n,
    }
}

/// Returns the level of each of `parts` intervals that together hold at `level` (Bonferroni).
fn share_error(level: f64, parts: usize) -> f64 {
    1.0 - (1.0 - level) / parts as f64
}

fn harmonic(a: f64, b: f64) -> f64 {
    if a + b > 0.0 {
        2.0 * a * b / (a + b)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use proofmark_domain::RunStatus::{Broken, Invalid, Robust};

    use super::*;
    use crate::trust::fixture::{attack, report, sample, wrong};

    /// 100 samples, 10 of each class; class `c` breaks into `c + 1`: the first 40 samples (4 of each class) are broken.
    fn attacked() -> Report {
        let rows = (0..100)
            .map(|i| sample(i, &[if i < 40 { Broken } else { Robust }]))
            .collect();
        report(vec![attack("pgd", 0.1)], rows)
    }

    fn estimate(metric: &Metric, report: &Report) -> Estimate {
        Counts::of(metric, report).estimate(metric, 0.95)
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn figures_by_hand() {
        let r = attacked();
        for (metric, expected) in [
            (Metric::Accuracy, 1.0),
            (Metric::RobustAccuracy, 0.6),
            (Metric::RobustAccuracyOf("pgd".into()), 0.6),
            (
                Metric::Recall {
                    class: 3,
                    robust: true,
                },
                0.6,
            ),
            (
                Metric::Precision {
                    class: 3,
                    robust: true,
                },
                0.6,
            ),
            (
                Metric::F1 {
                    class: 3,
                    robust: true,
                },
                0.6,
            ),
            (Metric::MacroF1 { robust: true }, 0.6),
            (Metric::MinRecall { robust: true }, 0.6),
            (Metric::MacroF1 { robust: false }, 1.0),
        ] {
            let e = estimate(&metric, &r);
            assert!(close(e.observed.unwrap(), expected), "{metric}: {e:?}");
            assert!(
                e.ci.low <= expected && expected <= e.ci.high,
                "{metric}: {e:?}"
            );
        }
    }

    #[test]
    fn the_interval_of_f1_holds_those_of_the_harmonic_mean() {
        let r = attacked();
        let f1 = estimate(
            &Metric::F1 {
                class: 0,
                robust: true,
            },
            &r,
        )
        .ci;
        let recall = estimate(
            &Metric::Recall {
                class: 0,
                robust: true,
            },
            &r,
        )
        .ci;
        assert!(
            f1.low < recall.low && f1.high > recall.high,
            "{f1:?} {recall:?}"
        );
        let all = estimate(&Metric::MinRecall { robust: true }, &r).ci;
        assert!(all.low < recall.low && all.high > recall.high);
    }

    #[test]
    fn a_class_without_samples_has_no_figure_and_the_whole_interval() {
        let r = attacked();
        for metric in [
            Metric::Recall {
                class: 77,
                robust: false,
            },
            Metric::Precision {
                class: 77,
                robust: false,
            },
            Metric::F1 {
                class: 77,
                robust: false,
            },
        ] {
            let e = estimate(&metric, &r);
            assert_eq!(
                (e.observed, e.ci),
                (
                    None,
                    Interval {
                        low: 0.0,
                        high: 1.0
                    }
                ),
                "{metric}"
            );
        }
    }

    #[test]
    fn an_unjudged_sample_lowers_precision_and_may_raise_it() {
        let rows = (0..20)
            .map(|i| sample(i, &[if i == 1 { Invalid } else { Robust }]))
            .collect();
        let r = report(vec![attack("pgd", 0.1)], rows);
        let of = |class| {
            estimate(
                &Metric::Precision {
                    class,
                    robust: true,
                },
                &r,
            )
        };
        assert_eq!(of(1).n, 1);
        assert_eq!(
            of(0).ci.low.to_bits(),
            lower(2, 3, 0.95).to_bits(),
            "it may be predicted as class 0, wrongly"
        );
        assert_eq!(of(1).ci.low.to_bits(), lower(1, 1, 0.95).to_bits());
        assert!(
            Counts::of(&Metric::RobustAccuracy, &r)
                .proportion(&Metric::RobustAccuracy)
                .is_none()
        );
    }

    #[test]
    fn wrong_clean_predictions_count_against_the_class_they_name() {
        let rows = (0..20)
            .map(|i| {
                if i == 0 {
                    wrong(sample(i, &[]))
                } else {
                    sample(i, &[])
                }
            })
            .collect();
        let r = report(vec![], rows);
        let p = estimate(
            &Metric::Precision {
                class: 1,
                robust: false,
            },
            &r,
        );
        assert!(close(p.observed.unwrap(), 2.0 / 3.0) && p.n == 3);
        assert!(close(
            estimate(&Metric::MinRecall { robust: false }, &r)
                .observed
                .unwrap(),
            0.5
        ));
    }

    #[test]
    fn further_samples_do_settle_it() {
        let counts = Counts::of(&Metric::RobustAccuracy, &attacked());
        let metric = Metric::MacroF1 { robust: true };
        let more = counts.further(&metric, 0.5, 0.95).unwrap();
        let settled = |n: u64| {
            counts
                .scaled((100 + n) as f64 / 100.0)
                .estimate(&metric, 0.95)
                .ci
                .low
                >= 0.5
        };
        assert!(settled(more) && !settled(more * 9 / 10), "{more}");
        assert_eq!(
            counts.further(&metric, 0.6, 0.95),
            None,
            "the figure lies on the threshold"
        );
    }

    #[test]
    fn every_metric_displays_as_a_known_name() {
        for metric in [
            Metric::Accuracy,
            Metric::F1 {
                class: 1,
                robust: true,
            },
            Metric::MinRecall { robust: true },
        ] {
            let text = metric.to_string();
            assert!(Metric::NAMES.contains(&text.split('(').next().unwrap()));
        }
    }
}
