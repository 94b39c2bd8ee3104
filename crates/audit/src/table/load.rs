//! Converts rows to columns in one pass; keeps only the columns that some option names.

use std::collections::HashSet;

use super::arrays::{WEIGHTS, weighs};
use proofmark_data::expected_number;

use super::binary::{Binary, Values};
use super::field::Field;
use super::missing::{Markers, Missing};
use super::{Coded, Coder, Filter, Numbers, Options, Relation, Table, UNKNOWN};
use crate::AuditError;
use crate::groups::JOIN;
use crate::metric::Need;

/// Maximum number of values of an attribute; a column with more is not treated as an attribute.
const MAX_LEVELS: usize = 4096;

/// Role of a column, with its values so far.
enum Sink {
    Decision(Binary),
    Label(Binary),
    Score(Vec<f64>),
    Target(Vec<f64>),
    Weights(Vec<f64>),
    Feature(Vec<f64>),
    Attribute(Levels),
    Id(Coder),
    Variant(Coder),
}

/// Coded values, cut into bins if cuts are given.
enum Levels {
    Names(Coder),
    Bins { cuts: Vec<f64>, codes: Vec<u32> },
}

impl Levels {
    fn new(cuts: Option<&[f64]>) -> Self {
        match cuts {
            None => Self::Names(Coder::default()),
            Some(cuts) => Self::Bins {
                cuts: cuts.to_vec(),
                codes: Vec::new(),
            },
        }
    }

    /// Reads one more value. Returns whether it is missing.
    fn push(&mut self, field: Field<'_>, markers: &Markers) -> Result<bool, String> {
        let known = !markers.holds(field);
        match self {
            Self::Names(coder) => {
                coder.push(known.then(|| field.text()).as_deref());
                if coder.levels() > MAX_LEVELS {
                    return Err(format!(
                        "at most {MAX_LEVELS} different values; cut numbers into bins (`--bins`)"
                    ));
                }
            }
            Self::Bins { codes, .. } if !known => codes.push(UNKNOWN),
            Self::Bins { cuts, codes } => {
                let number = field.number().filter(|n| !n.is_nan());
                let number = number.ok_or("a number, as it is cut into bins")?;
                codes.push(cuts.partition_point(|c| *c <= number) as u32);
            }
        }
        Ok(!known)
    }

    fn finish(self, name: String) -> Coded {
        match self {
            Self::Names(coder) => coder.finish(name),
            Self::Bins { cuts, codes } => Coded::ordered(name, bin_names(&cuts), codes),
        }
    }
}

fn bin_names(cuts: &[f64]) -> Vec<String> {
    let mut names: Vec<String> = cuts
        .windows(2)
        .map(|w| format!("{} to < {}", w[0], w[1]))
        .collect();
    if let (Some(first), Some(last)) = (cuts.first(), cuts.last()) {
        names.insert(0, format!("< {first}"));
        names.push(format!("{last} or more"));
    }
    names
}

struct Slot {
    name: String,
    place: usize,
    sink: Sink,
    missing: Missing,
    /// Rows without a value, for columns that only some metrics need.
    gaps: Vec<u32>,
}

impl Slot {
    fn new(name: &str, place: usize, sink: Sink, role: &str) -> Self {
        Self {
            name: name.to_owned(),
            place,
            missing: Missing::none(name, role),
            gaps: Vec::new(),
            sink,
        }
    }
}

/// Reads rows and builds a table from them.
pub(crate) struct Loader<'o> {
    options: &'o Options,
    source: String,
    markers: Markers,
    /// `line` or `row`.
    unit: &'static str,
    slots: Vec<Slot>,
    /// Column index of the weights, if any, and those of the filters, each with the missing values of the rows left
    /// out.
    weights: Option<(usize, Missing)>,
    filters: Vec<(usize, &'o Filter)>,
    filtered_missing: Vec<(usize, Missing)>,
    /// Columns of the stratum, each with its values so far.
    strata: Vec<Slot>,
    /// Source line of each row; kept only if there are ids, to report duplicates.
    lines: Option<Vec<u64>>,
    /// Number of rows read, and of those kept.
    met: u32,
    rows: u32,
    /// Indices of the kept rows among those read; `None` while every row is kept.
    kept: Option<Vec<u32>>,
    /// Column index of the ids, and the ids of rows left out; only if the table just gives groups.
    id: Option<usize>,
    dropped: HashSet<String>,
    filtered: u64,
}

impl<'o> Loader<'o> {
    pub(crate) fn new(
        source: &str,
        unit: &'static str,
        names: &[String],
        options: &'o Options,
    ) -> Result<Self, AuditError> {
        options.check()?;
        let find = |name: &str| find(source, names, name);
        let mut slots = Vec::new();
        let mut add = |name: &str, sink: Sink, role: &str| -> Result<(), AuditError> {
            slots.push(Slot::new(name, find(name)?, sink, role));
            Ok(())
        };
        let decided = Values {
            favourable: options.favourable.clone(),
            unfavourable: options.unfavourable.clone(),
            others: options.others_unfavourable && !options.favourable.is_empty(),
            shared: false,
        };
        if let Some(name) = &options.decision {
            add(
                name,
                Sink::Decision(Binary::new(decided.clone())),
                "decision",
            )?;
        }
        if let Some(name) = &options.label {
            let labelled = if options.positive.is_empty() {
                decided
            } else {
                Values {
                    favourable: options.positive.clone(),
                    others: options.others_unfavourable,
                    shared: true,
                    ..decided
                }
            };
            add(name, Sink::Label(Binary::new(labelled)), "label")?;
        }
        let ids = names.iter().filter(|n| *n == "id").count();
        let by_name = (options.groups_only && ids == 1).then(|| "id".to_owned());
        let id = options.id.clone().or(by_name);
        let numbers = [
            (&options.score, Sink::Score(Vec::new()), "score"),
            (&options.target, Sink::Target(Vec::new()), "target"),
            (&options.weights, Sink::Weights(Vec::new()), "weights"),
            (&id, Sink::Id(Coder::default()), "id"),
            (&options.variant, Sink::Variant(Coder::default()), "variant"),
        ];
        for (name, sink, role) in numbers {
            if let Some(name) = name {
                add(name, sink, role)?;
            }
        }
        for name in &options.groups {
            let levels = Levels::new(options.cuts(name));
            add(name, Sink::Attribute(levels), "group")?;
        }
        for name in &options.features {
            add(name, Sink::Feature(Vec::new()), "feature")?;
        }
        let mut strata = Vec::new();
        for name in &options.stratum {
            let levels = Sink::Attribute(Levels::new(options.cuts(name)));
            strata.push(Slot::new(name, find(name)?, levels, "stratum"));
        }
        refuse_same_column(&slots.iter().chain(&strata).collect::<Vec<_>>())?;
        let weights = slots.iter().find(|s| s.missing.role == "weights");
        let weights = weights.map(|s| (s.place, s.missing.clone()));
        let mut filters = Vec::new();
        let mut filtered_missing: Vec<(usize, Missing)> = Vec::new();
        for filter in &options.filters {
            let place = find(&filter.column)?;
            filters.push((place, filter));
            if filtered_missing.iter().all(|m| m.0 != place) {
                filtered_missing.push((place, Missing::none(&filter.column, "filter")));
            }
        }
        Ok(Self {
            options,
            source: source.to_owned(),
            markers: Markers::new(&options.missing),
            unit,
            slots,
            weights,
            filters,
            filtered_missing,
            strata,
            lines: id.as_ref().map(|_| Vec::new()),
            met: 0,
            rows: 0,
            kept: None,
            id: match &id {
                Some(id) if options.groups_only => Some(find(id)?),
                _ => None,
            },
            dropped: HashSet::new(),
            filtered: 0,
        })
    }

    /// Returns the indices of the columns that are needed.
    pub(crate) fn places(&self) -> Vec<usize> {
        let slots = self.slots.iter().chain(&self.strata).map(|s| s.place);
        slots.chain(self.filters.iter().map(|f| f.0)).collect()
    }

    fn keeps<'a>(&self, cell: &impl Fn(usize) -> Field<'a>) -> bool {
        let any_of = |place: usize| {
            let mut of_column = self
                .filters
                .iter()
                .filter(|f| f.0 == place && f.1.relation == Relation::Is);
            of_column.any(|f| f.1.passes(cell(place), &self.markers))
        };
        self.filters
            .iter()
            .all(|(place, filter)| match filter.relation {
                Relation::Is => any_of(*place),
                _ => filter.passes(cell(*place), &self.markers),
            })
    }

    /// Reads one more row.
    pub(crate) fn push<'a>(
        &mut self,
        line: u64,
        cell: impl Fn(usize) -> Field<'a>,
    ) -> Result<(), AuditError> {
        let row = self.met;
        self.met = self.met.saturating_add(1);
        let keeps = self.keeps(&cell);
        if !keeps {
            for (place, missing) in &mut self.filtered_missing {
                if self.markers.holds(cell(*place)) {
                    missing.count(cell(*place));
                }
            }
        }
        let weightless = match &mut self.weights {
            Some((place, missing)) if keeps && self.markers.holds(cell(*place)) => {
                missing.count(cell(*place));
                true
            }
            _ => false,
        };
        if !keeps || weightless {
            self.filtered += 1;
            self.kept.get_or_insert_with(|| (0..row).collect());
            if let Some(id) = self.id {
                self.dropped.insert(cell(id).text().into_owned());
            }
            return Ok(());
        }
        if let Some(kept) = &mut self.kept {
            kept.push(row);
        }
        for slot in self.slots.iter_mut().chain(&mut self.strata) {
            let field = cell(slot.place);
            let pushed = slot.sink.push(field, &self.markers);
            let is_missing = pushed.map_err(|expected| {
                let at = format!("{} {line}", self.unit);
                AuditError::value(&self.source, &slot.name, &at, field.shown(), expected)
            })?;
            if is_missing {
                slot.missing.count(field);
                slot.gaps.push(self.rows);
            }
        }
        self.rows += 1;
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
        Ok(())
    }

    /// Builds the table.
    pub(crate) fn finish(self) -> Result<Table, AuditError> {
        let mut table = Table {
            source: self.source,
            filtered: self.filtered,
            kept: self.kept,
            dropped: self.dropped,
            ..Table::default()
        };
        let rows = self.rows as usize;
        let own = self.slots.iter().chain(&self.strata).map(|s| &s.missing);
        let left_out = self
            .weights
            .iter()
            .chain(&self.filtered_missing)
            .map(|m| &m.1);
        let all = own.chain(left_out).filter(|m| m.rows != Some(0));
        table.missing = all.cloned().collect();
        for slot in &self.slots {
            if let Some(need) = slot.sink.need() {
                table.gaps.add(need, &slot.gaps, rows);
            }
        }
        if self.options.threshold.is_some() {
            table.gaps.decisions_are_scores();
        }
        for Slot { name, sink, .. } in self.slots {
            match sink {
                Sink::Decision(binary) => {
                    table.decision = Some(values(&table.source, name, binary)?);
                }
                Sink::Label(binary) => table.label = Some(values(&table.source, name, binary)?),
                Sink::Score(values) => table.score = Some(values),
                Sink::Target(values) => table.target = Some(values),
                Sink::Weights(values) => table.weights = Some(values),
                Sink::Feature(values) => table.features.push(Numbers { name, values }),
                Sink::Attribute(levels) => table.attributes.push(levels.finish(name)),
                Sink::Id(coder) => table.id = Some(coder.finish(name)),
                Sink::Variant(coder) => table.variant = Some(coder.finish(name)),
            }
        }
        let strata = self.strata.into_iter().filter_map(|s| match s.sink {
            Sink::Attribute(levels) => Some(levels.finish(s.name)),
            _ => None,
        });
        table.stratum = together(strata.collect());
        if let (Some(threshold), Some(score)) = (self.options.threshold, &table.score) {
            table.decision = Some(score.iter().map(|s| *s >= threshold).collect());
        }
        for (column, level) in &self.options.against_rest {
            for attribute in &mut table.attributes {
                if attribute.name() == column {
                    let reduced = attribute.clone().against_rest(level);
                    *attribute = reduced.ok_or_else(|| AuditError::Level {
                        file: table.source.clone(),
                        attribute: column.clone(),
                        value: level.clone(),
                        hint: AuditError::hint(
                            level,
                            attribute.levels().iter().map(String::as_str),
                        ),
                    })?;
                }
            }
        }
        let (lines, unit) = (self.lines.unwrap_or_default(), self.unit);
        let at = |row| match lines.get(row) {
            Some(line) => format!("{unit} {line}"),
            None => format!("row {row}"),
        };
        table.checked(self.options.weights.as_deref().unwrap_or("weights"), at)
    }
}

impl Sink {
    /// Returns the need that a metric has if it requires this column.
    fn need(&self) -> Option<Need> {
        match self {
            Self::Decision(_) => Some(Need::Decision),
            Self::Label(_) => Some(Need::Label),
            Self::Score(_) => Some(Need::Score),
            Self::Target(_) => Some(Need::Target),
            Self::Feature(_) => Some(Need::Features),
            Self::Weights(_) | Self::Attribute(_) | Self::Id(_) | Self::Variant(_) => None,
        }
    }

    /// Reads one more value. Returns whether it is missing; a missing number is stored as a placeholder 0 that no
    /// metric reads.
    fn push(&mut self, field: Field<'_>, markers: &Markers) -> Result<bool, String> {
        match self {
            Self::Decision(binary) | Self::Label(binary) => return binary.push(field, markers),
            Self::Score(values) | Self::Target(values) | Self::Feature(values) => {
                if markers.holds(field) {
                    values.push(0.0);
                    return Ok(true);
                }
                let number = field.number().filter(|n| n.is_finite());
                let expected = || expected_number(&field.text(), "a finite number");
                values.push(number.ok_or_else(expected)?);
            }
            Self::Weights(values) => {
                let number = field.number().filter(|n| weighs(*n));
                values.push(number.ok_or_else(|| expected_number(&field.text(), WEIGHTS))?);
            }
            Self::Attribute(levels) => return levels.push(field, markers),
            Self::Id(coder) | Self::Variant(coder) => {
                if markers.holds(field) {
                    return Err("a value in every row".to_owned());
                }
                coder.push(Some(&field.text()));
            }
        }
        Ok(false)
    }
}

/// Refuses one column in two roles that would make the comparison meaningless: decisions compared with themselves are
/// always right, and groups defined by the decision always differ in it.
fn refuse_same_column(slots: &[&Slot]) -> Result<(), AuditError> {
    const OUTCOMES: [&str; 4] = ["decision", "label", "score", "target"];
    for outcome in slots {
        let role = outcome.missing.role.as_str();
        let Some(option) = OUTCOMES.into_iter().find(|o| *o == role) else {
            continue;
        };
        let apart = |other: &&&Slot| {
            let other = other.missing.role.as_str();
            other != role
                && (OUTCOMES.contains(&other)
                    || other == "group"
                    || other == "stratum" && role == "decision")
        };
        let same = slots
            .iter()
            .filter(apart)
            .find(|s| s.place == outcome.place);
        if let Some(same) = same {
            return Err(AuditError::Option {
                option,
                value: format!(
                    "`{}` is the column of `{}` too",
                    outcome.name, same.missing.role
                ),
                expected: "another column: comparing a column with itself measures nothing"
                    .to_owned(),
            });
        }
    }
    Ok(())
}

fn values(file: &str, column: String, binary: Binary) -> Result<Vec<bool>, AuditError> {
    match binary.never() {
        None => Ok(binary.values),
        Some((stated, hint, seen)) => Err(AuditError::NeverFavourable {
            file: file.to_owned(),
            column,
            stated,
            seen: format!("{hint}; it holds {seen}"),
        }),
    }
}

/// Joins several columns into one; the value is unknown if any part is.
fn together(mut columns: Vec<Coded>) -> Option<Coded> {
    if columns.len() < 2 {
        return columns.pop();
    }
    let name = columns
        .iter()
        .map(Coded::name)
        .collect::<Vec<_>>()
        .join(JOIN);
    let value = |row| {
        let parts: Option<Vec<&str>> = columns.iter().map(|c| c.value(row)).collect();
        parts.map(|p| p.join(JOIN))
    };
    let mut coder = Coder::default();
    for row in 0..columns[0].len() {
        coder.push(value(row).as_deref());
    }
    Some(coder.finish(name))
}

/// Returns the index of a column by its name, or by `NAME#K` for the K-th column of that name.
fn find(source: &str, names: &[String], name: &str) -> Result<usize, AuditError> {
    let places = |name: &str| -> Vec<usize> {
        let all = names.iter().enumerate();
        all.filter(|(_, n)| *n == name).map(|(at, _)| at).collect()
    };
    let found = places(name);
    match found.as_slice() {
        [one] => return Ok(*one),
        [] => {}
        _ => {
            return Err(AuditError::Twice {
                file: source.to_owned(),
                name: name.to_owned(),
                times: found.len(),
            });
        }
    }
    if let Some((stem, number)) = name.rsplit_once('#')
        && let Ok(number) = number.parse::<usize>()
        && let Some(at) = number.checked_sub(1)
        && let Some(place) = places(stem).get(at)
    {
        return Ok(*place);
    }
    Err(AuditError::Column {
        file: source.to_owned(),
        name: name.to_owned(),
        hint: AuditError::hint(name, names.iter().map(String::as_str)),
    })
}
