//! Null tables: the statistics of clean models, one row per model.
//!
//! A table is a CSV file with the columns `net, sha256, role, probes, shape, classes, samples` and one per probe, then
//! `agreement`. `role` is
//! `null` for the models whose statistics are the null and `measure` for clean models that measure its false alarms.
//! `probes` is [`VERSION`]: statistics of other versions are not comparable and are refused. An empty field is a probe
//! that could not run.

use super::{AGREEMENT, ALL, Examined};

/// Returns the names of all statistics, in the order of a row.
pub fn columns() -> Vec<&'static str> {
    let probes = ALL.iter().map(|e| e.meta.id);
    probes.chain([AGREEMENT]).collect()
}

/// Version of all statistics; it changes whenever one of them does.
pub const VERSION: u32 = 1;

/// Tables that come with this crate. A stratum is an input shape with a number of classes.
pub const SHIPPED: &[&str] = &[];

const FACTS: [&str; 7] = [
    "net", "sha256", "role", "probes", "shape", "classes", "samples",
];

/// What a clean model's row is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It is part of the null.
    Null,
    /// It measures false alarms.
    Measure,
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Measure => "measure",
        }
    }
}

/// Statistics of one clean model.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Name of the model, for people.
    pub net: String,
    /// Digest of the model.
    pub sha256: String,
    /// What it is for.
    pub role: Role,
    /// Shape of a sample.
    pub shape: Vec<usize>,
    /// Number of classes.
    pub classes: usize,
    /// Clean samples that probes could use.
    pub samples: usize,
    /// Statistic of each probe, in the order of [`columns`]; `None` where it could not run or did not.
    pub statistics: Vec<Option<f64>>,
}

impl Row {
    /// Makes the row of an examined model.
    pub fn of(net: impl Into<String>, role: Role, examined: &Examined) -> Self {
        let statistic = |id: &str| {
            let member = examined.members.iter().find(|m| m.id == id)?;
            member.statistic()
        };
        Self {
            net: net.into(),
            sha256: examined.sha256.clone(),
            role,
            shape: examined.shape.clone(),
            classes: examined.classes,
            samples: examined.samples,
            statistics: columns().into_iter().map(statistic).collect(),
        }
    }

    /// Returns the row as a line of a table, with its end.
    ///
    /// # Errors
    ///
    /// If the name cannot be written.
    pub fn line(&self) -> Result<String, String> {
        let shape: Vec<String> = self.shape.iter().map(ToString::to_string).collect();
        let mut fields = vec![
            self.net.clone(),
            self.sha256.clone(),
            self.role.as_str().to_owned(),
            VERSION.to_string(),
            shape.join("x"),
            self.classes.to_string(),
            self.samples.to_string(),
        ];
        let text = |s: &Option<f64>| s.map_or_else(String::new, |s| format!("{s:.6}"));
        fields.extend(self.statistics.iter().map(text));
        written(&fields)
    }
}

/// Returns the first line of a table, with its end.
pub fn header() -> String {
    let mut names: Vec<String> = FACTS.iter().map(ToString::to_string).collect();
    names.extend(columns().into_iter().map(ToOwned::to_owned));
    names.join(",") + "\n"
}

fn written(fields: &[String]) -> Result<String, String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields).map_err(|e| e.to_string())?;
    let bytes = writer.into_inner().map_err(|e| e.to_string())?;
    String::from_utf8(bytes).map_err(|e| e.to_string())
}

/// Reads the rows of a table. `name` is for messages. Columns of probes that no longer exist are ignored, those of new
/// ones are empty.
///
/// # Errors
///
/// Names the table, the line, and what was expected.
pub fn read(name: &str, text: &str) -> Result<Vec<Row>, String> {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(false)
        .from_reader(text.as_bytes());
    let head = reader
        .headers()
        .map_err(|e| format!("{name}: {e}"))?
        .clone();
    let at = |column: &str| head.iter().position(|h| h == column);
    let mut facts = [0; FACTS.len()];
    for (place, fact) in facts.iter_mut().zip(FACTS) {
        *place = at(fact).ok_or_else(|| {
            format!("{name}: no column `{fact}`; expected a table that `proofmark probe --reference` wrote")
        })?;
    }
    let probes: Vec<Option<usize>> = columns().into_iter().map(at).collect();
    let mut rows = Vec::new();
    for (i, record) in reader.records().enumerate() {
        let record = record.map_err(|e| format!("{name}: {e}"))?;
        let line = i + 2;
        let field = |k: usize| record.get(facts[k]).unwrap_or_default();
        let wrong = |k: usize, expected: &str| {
            format!(
                "{name}, line {line}: {} `{}`; expected {expected}",
                FACTS[k],
                field(k)
            )
        };
        if field(3) != VERSION.to_string() {
            return Err(wrong(
                3,
                &format!("{VERSION}, the version of the probes here; make the table again"),
            ));
        }
        let role = match field(2) {
            "null" => Role::Null,
            "measure" => Role::Measure,
            _ => return Err(wrong(2, "null or measure")),
        };
        let shape: Vec<usize> = field(4)
            .split('x')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(|_| wrong(4, "lengths such as 1x28x28"))?;
        let number = |k: usize| field(k).parse().map_err(|_| wrong(k, "a whole number"));
        let (classes, samples) = (number(5)?, number(6)?);
        let statistic = |(id, column): (&str, &Option<usize>)| {
            let text = column.and_then(|c| record.get(c)).unwrap_or_default();
            if text.is_empty() {
                return Ok(None);
            }
            match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(Some(value)),
                _ => Err(format!(
                    "{name}, line {line}: {id} `{text}`; expected a finite number, or nothing"
                )),
            }
        };
        let statistics = columns()
            .into_iter()
            .zip(&probes)
            .map(statistic)
            .collect::<Result<_, _>>()?;
        rows.push(Row {
            net: field(0).to_owned(),
            sha256: field(1).to_owned(),
            role,
            shape,
            classes,
            samples,
            statistics,
        });
    }
    Ok(rows)
}

/// Returns the rows of the shipped tables.
///
/// # Errors
///
/// If one of them cannot be read, which a test rules out.
pub fn shipped() -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for text in SHIPPED {
        rows.extend(read("shipped table", text)?);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(net: &str) -> Row {
        let mut statistics = vec![None; columns().len()];
        statistics[0] = Some(-0.25);
        Row {
            net: net.into(),
            sha256: "ab".into(),
            role: Role::Measure,
            shape: vec![1, 28, 28],
            classes: 10,
            samples: 100,
            statistics,
        }
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let rows = [row("plain"), row("a, \"b\"")];
        let mut text = header();
        for r in &rows {
            text += &r.line().unwrap();
        }
        assert_eq!(read("t.csv", &text).unwrap(), rows);
        assert!(shipped().is_ok());
    }

    #[test]
    fn faults_name_the_line_and_what_was_expected() {
        let line = row("x").line().unwrap();
        let with = |from: &str, to: &str| {
            read("t.csv", &(header() + &line.replace(from, to))).unwrap_err()
        };
        assert!(
            with("measure", "other").contains("line 2: role `other`; expected null or measure")
        );
        assert!(with("1x28x28", "wide").contains("shape `wide`"));
        assert!(with("-0.25", "nan").contains("expected a finite number"));
        assert!(with(",1,1x28", ",99,1x28").contains("make the table again"));
        assert!(
            read("t.csv", "a,b\n")
                .unwrap_err()
                .contains("no column `net`")
        );
        // A line cut off while it was written.
        assert!(read("t.csv", &(header() + "x,y\n")).is_err());
    }
}
