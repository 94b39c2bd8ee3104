//! Measures every figure that a table and its settings allow.

use std::collections::HashSet;

use crate::figure::{Comparison, Figure};
use crate::metric::{self, Last, MetricEntry, Need};
use crate::table::Coded;
use crate::{AuditError, Groups, Settings, Table};

/// A metric that was left out, and the columns it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its id.
    pub metric: &'static str,
    /// Columns that the table lacks.
    pub needs: Vec<Need>,
}

/// An intersection that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its attributes, joined by ` & `.
    pub attribute: String,
    /// Why it was left out.
    pub reason: String,
}

/// Figures that an audit measured, and what it left out.
#[derive(Debug, Clone)]
pub struct Measured<'a> {
    /// The groupings: each attribute, then the intersections of two, of three and so on.
    pub groupings: Vec<Groups<'a>>,
    /// Figures in the order of the groupings and, within each grouping, of the metrics; figures of the whole table
    /// last.
    pub figures: Vec<Figure>,
    /// Metrics left out because the table lacks a column.
    pub skipped: Vec<Skipped>,
    /// Intersections left out because their groups are too few, too small, or not distinguished by name.
    pub refused: Vec<Refused>,
}

/// Measures every metric named in the settings, or every metric that the table's columns allow, over every grouping.
pub fn measure<'a>(table: &'a Table, settings: &Settings) -> Result<Measured<'a>, AuditError> {
    check(table, settings)?;
    let (entries, skipped) = entries(table, settings)?;
    let (groupings, refused) = groupings(table, settings)?;
    let views = views(table, &entries);
    let mut figures = Vec::new();
    for groups in &groupings {
        let reduced: Vec<Groups<'_>> = views
            .iter()
            .map(|v| groups.of_rows(&v.table, &v.rows))
            .collect();
        let mut last = Last::default();
        for entry in &entries {
            let view = views.iter().position(|v| v.is_of(table, entry));
            let seen = view.map_or(groups, |at| &reduced[at]);
            let own = entry.figures_after(seen, settings, &mut last);
            let left_out = view.map_or(0, |at| views[at].left_out);
            let listed = own.into_iter().filter(|f| is_listed(f, groups, settings));
            figures.extend(listed.map(|f| with_left_out(f, left_out)));
        }
    }
    for entry in &entries {
        let view = views.iter().find(|v| v.is_of(table, entry));
        let own = entry.table_figures(view.map_or(table, |v| &v.table), settings);
        let left_out = view.map_or(0, |v| v.left_out);
        figures.extend(own.into_iter().map(|f| with_left_out(f, left_out)));
    }
    if !settings.metrics.is_empty() {
        for entry in entries {
            if figures.iter().all(|f| f.metric != entry.id) {
                let (value, expected) = if entry.id.ends_with("_to_reference") {
                    (
                        "not given",
                        "the group to compare with, for every attribute",
                    )
                } else {
                    ("no groups given", "at least one attribute")
                };
                return Err(AuditError::Option {
                    option: if entry.id.ends_with("_to_reference") {
                        "reference"
                    } else {
                        "groups"
                    },
                    value: format!("{value}, and `{}` asked for", entry.id),
                    expected: expected.to_owned(),
                });
            }
        }
    }
    Ok(Measured {
        groupings,
        figures,
        skipped,
        refused,
    })
}

/// The rows that have every value that some metrics need, if other rows lack one. Each metric uses all rows that it
/// can: rates of decisions also use rows without a label.
struct View {
    lacking: Vec<Need>,
    table: Table,
    rows: Vec<u32>,
    /// Number of rows left out for lacking a value.
    left_out: u64,
}

impl View {
    fn is_of(&self, whole: &Table, entry: &MetricEntry) -> bool {
        whole.gaps.among(entry.needs) == self.lacking
    }
}

fn views(table: &Table, entries: &[&'static MetricEntry]) -> Vec<View> {
    let mut all: Vec<View> = Vec::new();
    for entry in entries {
        if all.iter().any(|v| v.is_of(table, entry)) {
            continue;
        }
        let lacking = table.gaps.among(entry.needs);
        if let Some((reduced, rows)) = table.complete(&lacking) {
            let persons = |t: &Table| (0..t.rows()).filter(|r| t.weight(*r) > 0.0).count() as u64;
            all.push(View {
                lacking,
                left_out: persons(table) - persons(&reduced),
                table: reduced,
                rows,
            });
        }
    }
    all
}

fn with_left_out(figure: Figure, persons: u64) -> Figure {
    Figure {
        persons: figure.persons + persons,
        persons_left_out: figure.persons_left_out + persons,
        ..figure
    }
}

/// Whether a figure is listed. With more than `detail_groups` groups, comparisons of single groups with another would
/// be too many to read; headlines cover all groups regardless.
fn is_listed(figure: &Figure, groups: &Groups<'_>, settings: &Settings) -> bool {
    let own = matches!(figure.comparison, Comparison::Group | Comparison::Overall);
    own || figure.comparison.is_headline() || groups.groups().len() <= settings.detail_groups
}

fn check(table: &Table, settings: &Settings) -> Result<(), AuditError> {
    let wrong = |option, value: String, expected: &str| {
        Err(AuditError::Option {
            option,
            value,
            expected: expected.to_owned(),
        })
    };
    if settings.bins == 0 || settings.neighbours == 0 || settings.intersections == 0 {
        let value = "0 of `bins`, `neighbours` or `intersections`".to_owned();
        return wrong("settings", value, "at least 1");
    }
    if settings.bins > Settings::MAX_BINS {
        let expected = format!("1 to {}", Settings::MAX_BINS);
        return wrong("score_bins", settings.bins.to_string(), &expected);
    }
    if !settings.alpha.is_finite() {
        return wrong("alpha", settings.alpha.to_string(), "a finite number");
    }
    if !(0.0..1.0).contains(&settings.min_share) {
        let expected = "a share from 0 to below 1, such as 0.02";
        return wrong("min_share", settings.min_share.to_string(), expected);
    }
    if !(settings.concentration.is_finite() && settings.concentration >= 0.0) {
        return wrong(
            "concentration",
            settings.concentration.to_string(),
            "a finite number of at least 0",
        );
    }
    settings.check_ranges(table)?;
    if table.variant().is_some() && !table.attributes().is_empty() {
        let value = "given for a paired table, whose rows are not independent".to_owned();
        return wrong(
            "groups",
            value,
            "no groups, or a filter that keeps one variant and no `variant`",
        );
    }
    if table.variant().is_none() && table.attributes().is_empty() {
        return wrong("groups", "none given".to_owned(), "at least one attribute");
    }
    for (attribute, _) in &settings.reference {
        if table.attributes().iter().all(|a| a.name() != attribute) {
            let names = table.attributes().iter().map(Coded::name);
            let value = format!("`{attribute}`{}", AuditError::hint(attribute, names));
            return wrong("reference", value, "one of the groups");
        }
    }
    Ok(())
}

type Entries = (Vec<&'static MetricEntry>, Vec<Skipped>);

fn entries(table: &Table, settings: &Settings) -> Result<Entries, AuditError> {
    let (mut entries, mut skipped) = (Vec::new(), Vec::new());
    if settings.metrics.is_empty() {
        for entry in metric::all() {
            let needs = entry.missing(table);
            if needs.is_empty() {
                entries.push(entry);
            } else {
                skipped.push(Skipped {
                    metric: entry.id,
                    needs,
                });
            }
        }
        return Ok((entries, skipped));
    }
    for id in &settings.metrics {
        let entry = metric::find(id)?;
        entry.require(table)?;
        if entries.iter().all(|e: &&MetricEntry| e.id != entry.id) {
            entries.push(entry);
        }
    }
    Ok((entries, skipped))
}

type Groupings<'a> = (Vec<Groups<'a>>, Vec<Refused>);

fn groupings<'a>(table: &'a Table, settings: &Settings) -> Result<Groupings<'a>, AuditError> {
    let (mut all, mut refused) = (Vec::new(), Vec::new());
    let most = settings.intersections.min(table.attributes().len());
    let mut names: HashSet<String> = HashSet::new();
    for size in 1..=most {
        for set in subsets(table.attributes().len(), size) {
            let of = set.iter().map(|a| table.attributes()[*a].name());
            let attribute = of.collect::<Vec<_>>().join(crate::JOIN);
            if !names.insert(attribute.clone()) {
                return Err(AuditError::Option {
                    option: "groups",
                    value: format!("`{attribute}` is an intersection and one of the groups"),
                    expected: "attributes that can be told apart by their names".to_owned(),
                });
            }
            match Groups::new(table, &set, settings) {
                Ok(groups) => all.push(groups),
                Err(error) if size == 1 => return Err(error),
                Err(error) => refused.push(Refused {
                    attribute,
                    reason: without_file(table, &error),
                }),
            }
        }
    }
    Ok((all, refused))
}

/// Returns the error message without the file, which the report already names.
fn without_file(table: &Table, error: &AuditError) -> String {
    let (text, file) = (error.to_string(), format!("{}: ", table.source()));
    text.strip_prefix(&file).unwrap_or(&text).to_owned()
}

/// Returns all sets of `size` of the numbers below `n`, in order.
pub(crate) fn subsets(n: usize, size: usize) -> Vec<Vec<usize>> {
    if size == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for mut set in subsets(n, size - 1) {
        let from = set.last().map_or(0, |l| l + 1);
        for next in from..n {
            set.push(next);
            all.push(set.clone());
            set.pop();
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::subsets;

    #[test]
    fn subsets_come_once_and_in_order() {
        assert_eq!(subsets(3, 1), [[0], [1], [2]]);
        assert_eq!(subsets(3, 2), [[0, 1], [0, 2], [1, 2]]);
        assert_eq!(subsets(3, 3), [[0, 1, 2]]);
        assert_eq!(subsets(2, 3), Vec::<Vec<usize>>::new());
    }
}
