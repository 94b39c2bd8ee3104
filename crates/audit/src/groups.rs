//! Groupings of a table by one attribute, or by several together.

use crate::metric::Need;
use crate::table::{Coded, UNKNOWN};
use crate::{AuditError, Cell, Settings, Table, Tally};

/// One group of a grouping.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Its value, or its values joined by ` & `.
    pub name: String,
    /// Its rows, counted by decision and label.
    pub cell: Cell,
}

/// A table divided into groups.
#[derive(Debug, Clone)]
pub struct Groups<'a> {
    table: &'a Table,
    attribute: String,
    all: Vec<Group>,
    overall: Cell,
    unknown: Tally,
    reference: Option<usize>,
    /// Each group's share of all rows whose group is known.
    shares: Vec<f64>,
    of: Vec<u32>,
    /// Rows ordered by group, rows of unknown group last; `starts` holds where each group begins.
    order: Vec<u32>,
    starts: Vec<usize>,
}

/// Separator between the names of attributes, and between their values, in an intersection.
pub const JOIN: &str = " & ";

/// Name of all groups together.
const OVERALL: &str = "overall";

impl<'a> Groups<'a> {
    /// Groups a table by the attributes at these indices. A combination of values that does not occur is not a group.
    ///
    /// # Panics
    /// If an index is not one of the table's attributes.
    pub fn new(
        table: &'a Table,
        attributes: &[usize],
        settings: &Settings,
    ) -> Result<Self, AuditError> {
        let coded: Vec<&Coded> = attributes.iter().map(|a| &table.attributes()[*a]).collect();
        let (names, of) = product(table.rows(), &coded);
        let attribute = join(coded.iter().map(|c| c.name()));
        let mut groups = Self::assemble(table, attribute, names, of);
        groups.reference = groups.find_reference(&coded, settings)?;
        groups.refuse_too_few(settings)?;
        groups.refuse_same_names()?;
        Ok(groups)
    }

    /// Returns the same groups over the given rows, which `table` holds. A group may be left without rows.
    pub(crate) fn of_rows<'b>(&self, table: &'b Table, rows: &[u32]) -> Groups<'b> {
        let names = self.all.iter().map(|g| g.name.clone()).collect();
        let of = rows.iter().map(|r| self.of[*r as usize]).collect();
        Groups {
            reference: self.reference,
            shares: self.shares.clone(),
            ..Groups::assemble(table, self.attribute.clone(), names, of)
        }
    }

    /// Returns the counts over the rows that lack none of `needs`, for each group and for all groups together.
    pub(crate) fn cells_with(&self, needs: &[Need]) -> (Vec<Cell>, Cell) {
        if self.table.gaps.among(needs).is_empty() {
            return (self.all.iter().map(|g| g.cell).collect(), self.overall);
        }
        let (decision, label) = (self.table.decision(), self.table.label());
        let mut cells = vec![Cell::default(); self.all.len()];
        for (row, group) in self.of.iter().enumerate() {
            let lacks = needs.iter().any(|need| self.table.gaps.lacks(*need, row));
            if *group != UNKNOWN && !lacks {
                cells[*group as usize].count(
                    decision.is_some_and(|d| d[row]),
                    label.is_some_and(|l| l[row]),
                    self.table.weight(row),
                );
            }
        }
        let overall = cells.iter().fold(Cell::default(), |a, c| a + *c);
        (cells, overall)
    }

    /// Returns the same grouping under another attribute name.
    pub(crate) fn renamed(self, attribute: String) -> Self {
        Self { attribute, ..self }
    }

    fn assemble(table: &'a Table, attribute: String, names: Vec<String>, of: Vec<u32>) -> Self {
        let (decision, label) = (table.decision(), table.label());
        let mut cells = vec![Cell::default(); names.len()];
        let mut counts = vec![0_usize; names.len() + 2];
        let mut unknown = Tally::default();
        for (row, group) in of.iter().enumerate() {
            let weight = table.weight(row);
            if *group == UNKNOWN {
                unknown.count(weight);
                continue;
            }
            counts[*group as usize + 1] += 1;
            cells[*group as usize].count(
                decision.is_some_and(|d| d[row]),
                label.is_some_and(|l| l[row]),
                weight,
            );
        }
        let mut starts = counts;
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let mut next = starts.clone();
        let mut order = vec![0; of.len()];
        let last = names.len();
        for (row, group) in of.iter().enumerate() {
            let group = if *group == UNKNOWN {
                last
            } else {
                *group as usize
            };
            order[next[group]] = row as u32;
            next[group] += 1;
        }
        let overall = cells.iter().fold(Cell::default(), |a, c| a + *c);
        let share = |c: &Cell| c.all().n as f64 / overall.all().n as f64;
        let shares = cells.iter().map(share).collect();
        let groups = names.into_iter().zip(cells);
        Self {
            table,
            attribute,
            all: groups.map(|(name, cell)| Group { name, cell }).collect(),
            overall,
            unknown,
            reference: None,
            shares,
            of,
            order,
            starts,
        }
    }

    fn find_reference(
        &self,
        coded: &[&Coded],
        settings: &Settings,
    ) -> Result<Option<usize>, AuditError> {
        let mut values = Vec::new();
        for column in coded {
            let stated = settings.reference.iter().find(|r| r.0 == column.name());
            let Some((_, value)) = stated else {
                return Ok(None);
            };
            let Some(level) = column.level(value) else {
                return Err(AuditError::Level {
                    file: self.table.source().to_owned(),
                    attribute: column.name().to_owned(),
                    value: value.clone(),
                    hint: AuditError::hint(value, column.levels().iter().map(String::as_str)),
                });
            };
            values.push(level);
        }
        let name = join(values.into_iter());
        Ok(self.all.iter().position(|g| g.name == name))
    }

    fn refuse_too_few(&self, settings: &Settings) -> Result<(), AuditError> {
        if self.all.len() < 2 {
            let problem = match self.all.first() {
                None => "is unknown in every row".to_owned(),
                Some(only) => format!("holds only `{}`", only.name),
            };
            return Err(AuditError::OneGroup {
                file: self.table.source().to_owned(),
                attribute: self.attribute.clone(),
                problem,
            });
        }
        let sizes = || self.all.iter().map(|g| g.cell.all().n);
        let enough = |(n, share): (u64, &f64)| n >= settings.min_n && *share >= settings.min_share;
        let left = sizes().zip(&self.shares).filter(|g| enough(*g)).count();
        if left < 2 {
            return Err(AuditError::NoGroupLeft {
                file: self.table.source().to_owned(),
                attribute: self.attribute.clone(),
                groups: self.all.len(),
                left,
                least: match settings.min_share {
                    0.0 => format!("{} members", settings.min_n),
                    share => format!(
                        "{} members and {} of all (`--min-share`)",
                        settings.min_n,
                        percent(share)
                    ),
                },
                largest: sizes().max().unwrap_or(0),
            });
        }
        Ok(())
    }

    /// Refuses two groups of the same name, or a group named like all groups together: figures refer to groups by name.
    fn refuse_same_names(&self) -> Result<(), AuditError> {
        let mut names: Vec<&str> = self.all.iter().map(|g| g.name.as_str()).collect();
        names.sort_unstable();
        let twice = names.array_windows().find(|[a, b]| a == b);
        let problem = match twice {
            Some([twice, _]) => format!("has two groups called `{twice}`"),
            None if names.contains(&OVERALL) => {
                format!("has a group called `{OVERALL}`, as all groups together are called")
            }
            None => return Ok(()),
        };
        Err(AuditError::Name {
            file: self.table.source().to_owned(),
            attribute: self.attribute.clone(),
            problem,
        })
    }

    /// Returns the table.
    pub fn table(&self) -> &'a Table {
        self.table
    }

    /// Returns the attribute, or the attributes joined by ` & `.
    pub fn attribute(&self) -> &str {
        &self.attribute
    }

    /// Returns a group's share of all rows whose group is known.
    pub fn share(&self, group: usize) -> f64 {
        self.shares[group]
    }

    /// Returns all groups, in order.
    pub fn groups(&self) -> &[Group] {
        &self.all
    }

    /// Returns the counts of all groups together, without rows of unknown group.
    pub fn overall(&self) -> &Cell {
        &self.overall
    }

    /// Returns the tally of rows whose group is unknown.
    pub fn unknown(&self) -> Tally {
        self.unknown
    }

    /// Returns the index of the reference group, if one is named.
    pub fn reference(&self) -> Option<usize> {
        self.reference
    }

    /// Returns the group of each row, or [`UNKNOWN`].
    pub fn of(&self) -> &[u32] {
        &self.of
    }

    /// Returns the rows of a group, in table order.
    pub fn rows(&self, group: usize) -> &[u32] {
        &self.order[self.starts[group]..self.starts[group + 1]]
    }

    /// Returns the rows of all groups, group by group.
    pub fn known(&self) -> &[u32] {
        &self.order[..self.starts[self.all.len()]]
    }
}

/// Formats a share in percent, without trailing digits from rounding: `2 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{} %", (share * 1e8).round() / 1e6)
}

fn join<'s>(names: impl Iterator<Item = &'s str>) -> String {
    names.collect::<Vec<_>>().join(JOIN)
}

/// Returns the names of the combinations that occur, ordered by their levels, and the index of each row's combination.
fn product(rows: usize, coded: &[&Coded]) -> (Vec<String>, Vec<u32>) {
    let mut keys: Vec<u64> = Vec::with_capacity(rows);
    for row in 0..rows {
        let key = coded.iter().try_fold(0_u64, |key, c| {
            let code = c.codes()[row];
            if code == UNKNOWN {
                return None;
            }
            // Attributes have at most a few thousand levels: see `MAX_LEVELS`.
            key.checked_mul(c.levels().len() as u64)?
                .checked_add(u64::from(code))
        });
        keys.push(key.unwrap_or(u64::MAX));
    }
    let mut present = keys.clone();
    present.sort_unstable();
    present.dedup();
    if present.last() == Some(&u64::MAX) {
        present.pop();
    }
    let name = |mut key: u64| {
        let mut parts = Vec::new();
        for c in coded.iter().rev() {
            let levels = c.levels().len() as u64;
            parts.push(c.levels()[(key % levels) as usize].as_str());
            key /= levels;
        }
        join(parts.into_iter().rev())
    };
    let of = keys
        .iter()
        .map(|k| present.binary_search(k).map_or(UNKNOWN, |at| at as u32))
        .collect();
    (present.iter().map(|k| name(*k)).collect(), of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Columns;

    fn settings() -> Settings {
        Settings {
            min_n: 1,
            ..Settings::default()
        }
    }

    #[test]
    fn intersections_hold_only_combinations_that_occur() {
        let table = Columns::new("t")
            .decision([true, false, true, true])
            .attribute("a", ["x", "x", "y", "y"])
            .coded(Coded::new("b", [Some("1"), Some("2"), Some("1"), None]))
            .build()
            .expect("fits");
        let groups = Groups::new(&table, &[0, 1], &settings()).expect("three groups");
        let names: Vec<&str> = groups.groups().iter().map(|g| g.name.as_str()).collect();
        assert_eq!(names, ["x & 1", "x & 2", "y & 1"]);
        assert_eq!(groups.attribute(), "a & b");
        assert_eq!((groups.unknown().n, groups.overall().all().n), (1, 3));
        assert_eq!(groups.of(), [0, 1, 2, UNKNOWN]);
        assert_eq!((groups.rows(1), groups.known()), (&[1][..], &[0, 1, 2][..]));
    }

    #[test]
    fn an_unknown_reference_suggests_the_nearest_value() {
        let table = Columns::new("t")
            .decision([true, false])
            .attribute("sex", ["Male", "Female"])
            .build()
            .expect("fits");
        let with = |value: &str| {
            let settings = Settings {
                reference: vec![("sex".to_owned(), value.to_owned())],
                ..settings()
            };
            Groups::new(&table, &[0], &settings).map(|g| g.reference())
        };
        assert_eq!(with("Male").expect("a value"), Some(1));
        let message = with("male").expect_err("not a value").to_string();
        assert_eq!(
            message,
            "t: `sex` never takes the value `male` (did you mean `Male`?)"
        );
    }

    #[test]
    fn one_group_and_no_group_left_are_errors() {
        let table = Columns::new("t")
            .decision([true, false, true])
            .attribute("one", ["a", "a", "a"])
            .attribute("few", ["a", "a", "b"])
            .build()
            .expect("fits");
        let message = |at: usize, min_n: u64| {
            let settings = Settings {
                min_n,
                ..settings()
            };
            Groups::new(&table, &[at], &settings)
                .expect_err("too few")
                .to_string()
        };
        assert_eq!(
            message(0, 1),
            "t: `one` holds only `a`; expected at least two groups"
        );
        assert!(message(1, 2).starts_with("t: `few`: of 2 groups 1 has at least 2 members"));
    }
}
