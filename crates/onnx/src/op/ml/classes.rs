//! Class labels of a classical classifier: integers or texts.

use crate::array::{Array, Data};
use crate::node::{NodeSpec, OpResult};

/// Labels of the classes, in the order of the scores.
#[derive(Debug, Clone)]
pub(super) enum Classes {
    Ints(Vec<i64>),
    Texts(Vec<String>),
}

impl Classes {
    /// Reads the labels from two attributes, of which one is given.
    pub(super) fn read(node: &NodeSpec<'_>, ints: &str, texts: &str) -> OpResult<Self> {
        let (i, t) = (node.ints(ints)?, node.texts(texts)?);
        match (i.filter(|v| !v.is_empty()), t.filter(|v| !v.is_empty())) {
            (Some(v), None) => Ok(Self::Ints(v)),
            (None, Some(v)) => Ok(Self::Texts(v)),
            (Some(_), Some(_)) => Err(format!("both `{ints}` and `{texts}` are given")),
            (None, None) => Err(format!(
                "`{ints}` or `{texts}` is missing: the class labels"
            )),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Ints(v) => v.len(),
            Self::Texts(v) => v.len(),
        }
    }

    /// Returns the labels of these classes, `[n]`.
    pub(super) fn of(&self, classes: &[usize]) -> OpResult<Array> {
        fn picked<T: Clone>(from: &[T], at: &[usize]) -> OpResult<Vec<T>> {
            let one = |c: &usize| from.get(*c).cloned();
            let all: Option<Vec<T>> = at.iter().map(one).collect();
            all.ok_or_else(|| format!("a score without a label: there are {}", from.len()))
        }
        let data: Data = match self {
            Self::Ints(v) => picked(v, classes)?.into(),
            Self::Texts(v) => picked(v, classes)?.into(),
        };
        Array::try_new([classes.len()], data)
    }
}

/// Returns the first of the largest scores.
pub(super) fn largest(scores: &[f64]) -> usize {
    (1..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best })
}

/// Returns number of samples and features of an input `[n, features]`, or of a single sample `[features]`.
pub(super) fn matrix(shape: &[usize]) -> OpResult<[usize; 2]> {
    match *shape {
        [f] => Ok([1, f]),
        [n, f] => Ok([n, f]),
        _ => Err(format!(
            "input of shape {shape:?}; expected [samples, features]"
        )),
    }
}
