//! Maps the classes of a file to the indices of a model's outputs.
//!
//! Whole numbers are indices, whatever their type; rows of 0 with a single 1 are one-hot. Anything else (names, numbers
//! that do not count from 0) needs [`Classes`]: only the user knows the order in which the model was trained.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use proofmark_domain::{ClassOrder, ReadFacts, hint};

use crate::DataError;
use crate::array::{Array, Element};

/// The classes, and the output of the model for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Classes {
    /// Index of the output, by name.
    Stated(BTreeMap<String, usize>),
    /// Names that occur, in the order of their text; numbers of an array in the order of their value.
    Sorted,
    /// Names that occur, all whole numbers, in the order of their value.
    Numeric,
}

/// `sorted`, `numeric`, `cat,dog` (indices 0 and 1) or `dog=5,cat=3`.
///
/// ```
/// use proofmark_data::Classes;
/// let Classes::Stated(map) = "-1,1".parse()? else { panic!() };
/// assert_eq!((map["-1"], map["1"]), (0, 1));
/// # Ok::<(), String>(())
/// ```
impl FromStr for Classes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sorted" => Ok(Self::Sorted),
            "numeric" => Ok(Self::Numeric),
            list => Self::listed(list.split(',')),
        }
    }
}

impl Classes {
    /// Returns classes from names in the order of the model's outputs, or from `NAME=INDEX` for each.
    pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let names: Vec<&str> = names.into_iter().map(str::trim).collect();
        let indexed = |name: &&str| {
            let (name, index) = name.rsplit_once('=')?;
            Some((name.trim().to_owned(), index.trim().parse().ok()?))
        };
        let pairs: Option<Vec<(String, usize)>> = names.iter().map(indexed).collect();
        let pairs = pairs.unwrap_or_else(|| {
            let names = names.iter().map(|n| (*n).to_owned());
            names.zip(0..).collect()
        });
        let mut map = BTreeMap::new();
        let mut used = BTreeSet::new();
        for (name, index) in pairs {
            if name.is_empty() {
                return Err(
                    "classes: an empty name; expected sorted, numeric, NAME,NAME,… or NAME=INDEX,…"
                        .to_owned(),
                );
            }
            if !used.insert(index) {
                return Err(format!("classes: index {index} is given to two names"));
            }
            if map.insert(name.clone(), index).is_some() {
                return Err(format!("classes: `{name}` is named twice"));
            }
        }
        Ok(Self::Stated(map))
    }
}

/// One label as stored in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Label {
    Number(i64),
    Name(String),
}

impl Label {
    /// Reads a cell of text: a number if it is a whole number, else a name.
    pub(crate) fn of_text(text: &str) -> Self {
        let text = text.trim();
        let whole = || whole(text.parse().ok()?);
        match text.parse().ok().or_else(whole) {
            Some(number) => Self::Number(number),
            None => Self::Name(text.to_owned()),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Number(n) => n.to_string(),
            Self::Name(name) => name.clone(),
        }
    }
}

/// Returns a whole number that an `f64` holds exactly; `None` for any other value.
fn whole(value: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (value.fract() == 0.0 && value.abs() <= EXACT).then_some(value as i64)
}

/// Returns the labels of an array, and adds notes to `reading`.
pub(crate) fn of_array(
    array: &Array<'_>,
    classes: Option<&Classes>,
    reading: &mut ReadFacts,
) -> Result<Vec<usize>, DataError> {
    let note = |reading: &mut ReadFacts, what: &str| {
        let text = format!("labels `{}` {what}", array.name);
        reading.notes.push(text);
    };
    let column = match array.shape[..] {
        [_] => true,
        [_, 1] => {
            note(reading, "have shape [n, 1], read as [n]");
            true
        }
        [n, c] if n > 0 && c > 1 => false,
        _ => {
            return Err(array.wrong_shape("[n], [n, 1] or one-hot [n, classes]"));
        }
    };
    if !column {
        let labels = one_hot(array)?;
        note(reading, "are one-hot, read as the place of the 1");
        return resolve(
            array.file,
            &labels,
            &|row| place(array, row),
            classes,
            reading,
        );
    }
    let labels: Vec<Label> = match array.dtype.element {
        Element::Bytes | Element::Text => {
            array.texts()?.iter().map(|t| Label::of_text(t)).collect()
        }
        Element::Float => {
            let values = array.doubles().unwrap_or_default();
            let whole = values.iter().enumerate().map(|(row, v)| {
                let number = whole(*v).map(Label::Number);
                number.ok_or_else(|| {
                    array.wrong_value(format!("row {row}"), v, "a class: a whole number; for numbers that a regression predicts, a criterion such as `--criterion regression=BOUND` says so")
                })
            });
            let labels = whole.collect::<Result<_, _>>()?;
            note(reading, "are floating-point numbers, all whole");
            labels
        }
        Element::Bool => {
            note(reading, "are booleans, read as 0 and 1");
            let values = array.doubles().unwrap_or_default();
            values.iter().map(|v| Label::Number(*v as i64)).collect()
        }
        _ => {
            let values = array.integers().ok_or_else(|| {
                array.wrong_dtype("integers, whole floats, booleans or class names")
            })?;
            let narrow = values.into_iter().enumerate().map(|(row, v)| {
                i64::try_from(v).map(Label::Number).map_err(|_| {
                    array.wrong_value(format!("row {row}"), v, "a class, 0 or greater")
                })
            });
            narrow.collect::<Result<_, _>>()?
        }
    };
    resolve(
        array.file,
        &labels,
        &|row| place(array, row),
        classes,
        reading,
    )
}

fn place(array: &Array<'_>, row: usize) -> String {
    format!("`{}`, row {row}", array.name)
}

/// Returns the index of the 1 in each row; an error if a row is not 0 with a single 1.
fn one_hot(array: &Array<'_>) -> Result<Vec<Label>, DataError> {
    const EXPECTED: &str = "one 1 and otherwise 0, as one-hot labels are, or one class per sample in shape [n]; for several labels at once, `--criterion multi-label` says so, for numbers `--criterion regression=BOUND`";
    let values = array
        .doubles()
        .ok_or_else(|| array.wrong_shape("[n] for class names"))?;
    let rows = values.chunks_exact(array.shape[1]);
    rows.enumerate()
        .map(|(row, cells)| {
            let ones = cells.iter().filter(|v| **v == 1.0).count();
            let odd = cells.iter().find(|v| **v != 0.0 && **v != 1.0);
            match (odd, ones, cells.iter().position(|v| *v == 1.0)) {
                (None, 1, Some(class)) => Ok(Label::Number(class as i64)),
                (Some(odd), ..) => Err(array.wrong_value(format!("row {row}"), odd, EXPECTED)),
                _ => Err(array.wrong_value(format!("row {row}"), format!("{ones} ones"), EXPECTED)),
            }
        })
        .collect()
}

/// Returns labels as indices, by the stated names or in the stated order.
pub(crate) fn resolve(
    file: &str,
    labels: &[Label],
    place: &dyn Fn(usize) -> String,
    classes: Option<&Classes>,
    reading: &mut ReadFacts,
) -> Result<Vec<usize>, DataError> {
    let occurring: BTreeSet<&Label> = labels.iter().collect();
    let shown = || {
        let first: Vec<String> = occurring.iter().take(8).map(|l| l.text()).collect();
        let more = if occurring.len() > 8 { ", …" } else { "" };
        first.join(",") + more
    };
    let wrong = |row: usize, expected: String| DataError::Value {
        file: file.to_owned(),
        at: place(row),
        value: match &labels[row] {
            Label::Name(name) if name.is_empty() => "an empty cell".to_owned(),
            label => format!("`{}`", label.text()),
        },
        expected,
    };
    let Some(classes) = classes else {
        let index = |(row, label): (usize, &Label)| {
            match label {
            Label::Number(n) => usize::try_from(*n).map_err(|_| {
                wrong(row, format!(
                    "a class, 0 or greater; where the classes are {}, `--classes={}` says that the first is the model's class 0",
                    shown(), shown()
                ))
            }),
            Label::Name(_) => Err(wrong(row, format!(
                "a class: a whole number; for names, `--classes NAME,NAME,…` lists them in the order of the model's outputs (`--classes sorted` where that is the order of their text); there are {}",
                shown()
            ))),
        }
        };
        let indices: Vec<usize> = labels
            .iter()
            .enumerate()
            .map(index)
            .collect::<Result<_, _>>()?;
        reading.notes.extend(from_one(&occurring));
        return Ok(indices);
    };
    let numbers = occurring.iter().all(|l| matches!(l, Label::Number(_)));
    if *classes == Classes::Numeric && !numbers {
        let row = labels.iter().position(|l| matches!(l, Label::Name(_)));
        return Err(wrong(
            row.unwrap_or(0),
            "a whole number, as `--classes numeric` says".to_owned(),
        ));
    }
    let (map, order) = match classes {
        Classes::Stated(map) => (map.clone(), ClassOrder::Stated),
        // A set of labels sorts numbers by value, before all names; here all are sorted as text.
        Classes::Sorted if !numbers => {
            let names: BTreeSet<String> = occurring.iter().map(|l| l.text()).collect();
            (names.into_iter().zip(0..).collect(), ClassOrder::Sorted)
        }
        Classes::Sorted | Classes::Numeric => {
            let names = occurring.iter().map(|l| l.text());
            (names.zip(0..).collect(), ClassOrder::Numeric)
        }
    };
    let by_label: BTreeMap<&Label, Option<usize>> = occurring
        .iter()
        .map(|label| (*label, map.get(&label.text()).copied()))
        .collect();
    let indices = labels.iter().enumerate().map(|(row, label)| {
        by_label[label].ok_or_else(|| {
            let text = label.text();
            let hint = hint(&text, map.keys().map(String::as_str));
            let known: Vec<&str> = map.keys().take(8).map(String::as_str).collect();
            let more = if map.len() > 8 { ", …" } else { "" };
            wrong(
                row,
                format!(
                    "one of the classes stated, {}{more}{hint}",
                    known.join(", ")
                ),
            )
        })
    });
    let indices = indices.collect::<Result<_, _>>()?;
    (reading.classes, reading.class_order) = (map, Some(order));
    Ok(indices)
}

/// Returns a note if labels seem to count from 1.
fn from_one(occurring: &BTreeSet<&Label>) -> Option<String> {
    let count = occurring.len() as i64;
    let ends = (occurring.first()?, occurring.last()?);
    let one_to_count = **ends.0 == Label::Number(1) && **ends.1 == Label::Number(count);
    (one_to_count && count > 1).then(|| {
        format!(
            "labels are 1 to {count} and none is 0: a model's classes count from 0; if these count from 1, say so with `--classes numeric`"
        )
    })
}
