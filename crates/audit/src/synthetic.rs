//! Populations with planted gaps: tables whose true rates are known.
//!
//! Each person is drawn from a random stream of their own, so the first `n` people of a larger population are the
//! population of size `n`.

use std::fmt::Write as _;

use proofmark_domain::Seed;
use proofmark_stats::random::{Purpose, Stream, StreamKey};

use crate::{Columns, Table};

/// One group of a population: its size, base rate and decision rates.
#[derive(Debug, Clone, PartialEq)]
pub struct Stratum {
    /// Name of the group.
    pub name: &'static str,
    /// Share of the population, 0 to 1; the shares are normalised by their sum.
    pub part: f64,
    /// Share of positive labels, 0 to 1.
    pub base_rate: f64,
    /// Share of favourable decisions among its positives, 0 to 1.
    pub tpr: f64,
    /// Share of favourable decisions among its negatives, 0 to 1.
    pub fpr: f64,
}

impl Stratum {
    /// Returns the true share of favourable decisions.
    pub fn selection_rate(&self) -> f64 {
        self.base_rate * self.tpr + (1.0 - self.base_rate) * self.fpr
    }

    /// Returns the true share of positives among favourable decisions.
    pub fn ppv(&self) -> f64 {
        self.base_rate * self.tpr / self.selection_rate()
    }
}

/// Returns a stratum with base rate 0.4.
fn stratum(name: &'static str, part: f64, tpr: f64, fpr: f64) -> Stratum {
    Stratum {
        name,
        part,
        base_rate: 0.4,
        tpr,
        fpr,
    }
}

/// A population. Besides their `group`, people have a `region`, `north` or `south`, which nothing depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Population {
    /// Groups of the population.
    pub groups: Vec<Stratum>,
    /// Seed of every draw.
    pub seed: Seed,
}

/// One person.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Person {
    /// Group of the person.
    pub group: &'static str,
    /// Region of the person.
    pub region: &'static str,
    /// Whether the label is positive.
    pub label: bool,
    /// Whether the decision is favourable.
    pub decision: bool,
    /// Score, at least 0.5 if and only if the decision is favourable.
    pub score: f64,
}

impl Population {
    /// Returns three groups of 60, 30 and 10 %, base rate 0.4. Planted: a true-positive rate 0.1 lower for `b` and a
    /// false-positive rate 0.1 higher for `c`, which give a gap of selection rates of 0.1 between `b` (0.40) and `c`
    /// (0.50).
    ///
    /// ```
    /// use proofmark_audit::synthetic::Population;
    /// let rates: Vec<f64> = Population::planted(7).groups.iter().map(|g| g.selection_rate()).collect();
    /// assert!((rates[1] - 0.40).abs() < 1e-12 && (rates[2] - 0.50).abs() < 1e-12);
    /// ```
    pub fn planted(seed: u64) -> Self {
        Self {
            groups: vec![
                stratum("a", 0.6, 0.8, 0.2),
                stratum("b", 0.3, 0.7, 0.2),
                stratum("c", 0.1, 0.8, 0.3),
            ],
            seed: Seed(seed),
        }
    }

    /// Returns the population of `datasets/population`, whose file holds the first 6,000 people. Three groups of 60, 39
    /// and 1 %, base rate 0.4. Planted: a true-positive rate 0.2 lower for `b`, and a false-positive rate 0.15 higher
    /// for `c`, which is too small to show it.
    ///
    /// ```
    /// use proofmark_audit::synthetic::Population;
    /// let people = Population::shipped();
    /// assert!((people.gap(|g| g.tpr) - 0.20).abs() < 1e-12);
    /// assert!((people.gap(|g| g.fpr) - 0.15).abs() < 1e-12);
    /// assert!((people.gap(|g| g.selection_rate()) - 0.17).abs() < 1e-12);
    /// ```
    pub fn shipped() -> Self {
        Self {
            groups: vec![
                stratum("a", 0.60, 0.8, 0.20),
                stratum("b", 0.39, 0.6, 0.20),
                stratum("c", 0.01, 0.8, 0.35),
            ],
            seed: Seed(1),
        }
    }

    /// Returns the clean twin of [`Population::planted`]: the same groups without any gap.
    pub fn equal(seed: u64) -> Self {
        let mut population = Self::planted(seed);
        for group in &mut population.groups {
            (group.tpr, group.fpr) = (0.8, 0.2);
        }
        population
    }

    /// Returns the true difference between the largest and the smallest value of `of` over the groups.
    ///
    /// ```
    /// use proofmark_audit::synthetic::{Population, Stratum};
    /// assert!((Population::planted(0).gap(|g| g.tpr) - 0.1).abs() < 1e-12);
    /// assert_eq!(Population::equal(0).gap(Stratum::selection_rate), 0.0);
    /// ```
    pub fn gap(&self, of: impl Fn(&Stratum) -> f64) -> f64 {
        let values = self.groups.iter().map(of);
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
            (l.min(v), h.max(v))
        });
        if high < low { 0.0 } else { high - low }
    }

    /// Returns the person of this number. `None` if there are no groups.
    pub fn person(&self, number: u64) -> Option<Person> {
        let mut stream = Stream::new(&StreamKey::new(self.seed, number, Purpose::Data));
        let total: f64 = self.groups.iter().map(|g| g.part).sum();
        let mut at = stream.uniform_f64() * total;
        let mut group = self.groups.first()?;
        for next in &self.groups {
            group = next;
            if at < next.part {
                break;
            }
            at -= next.part;
        }
        let region = if stream.uniform_f64() < 0.5 {
            "north"
        } else {
            "south"
        };
        let label = stream.uniform_f64() < group.base_rate;
        let rate = if label { group.tpr } else { group.fpr };
        let decision = stream.uniform_f64() < rate;
        Some(Person {
            group: group.name,
            region,
            label,
            decision,
            score: stream.uniform_f64() / 2.0 + if decision { 0.5 } else { 0.0 },
        })
    }

    /// Returns the first `n` people as a table with the attributes `group` and `region`.
    pub fn table(&self, n: u64) -> Result<Table, crate::AuditError> {
        let people: Vec<Person> = (0..n).filter_map(|i| self.person(i)).collect();
        Columns::new("a synthetic population")
            .decision(people.iter().map(|p| p.decision))
            .label(people.iter().map(|p| p.label))
            .score(people.iter().map(|p| p.score))
            .attribute("group", people.iter().map(|p| p.group))
            .attribute("region", people.iter().map(|p| p.region))
            .build()
    }

    /// Returns the first `n` people as CSV text: `id,group,region,label,decision,score`. Scores are truncated after
    /// four digits, not rounded, so they stay on their side of 0.5.
    ///
    /// ```
    /// use proofmark_audit::synthetic::Population;
    /// let text = Population::shipped().csv(2);
    /// assert_eq!(text.lines().next(), Some("id,group,region,label,decision,score"));
    /// assert_eq!(text.lines().count(), 3);
    /// ```
    pub fn csv(&self, n: u64) -> String {
        let mut text = "id,group,region,label,decision,score\n".to_owned();
        for (id, p) in (0..n).filter_map(|id| Some((id, self.person(id)?))) {
            let (label, decision) = (u8::from(p.label), u8::from(p.decision));
            let score = (p.score * 1e4).floor() / 1e4;
            let _ = writeln!(
                text,
                "{id},{},{},{label},{decision},{score:.4}",
                p.group, p.region
            );
        }
        text
    }
}
