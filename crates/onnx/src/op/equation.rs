//! The equation of `Einsum`: a sum of products over named indices.

use std::collections::{BTreeMap, BTreeSet};

use crate::node::OpResult;

/// Label of a dimension: a letter, or a dimension of the ellipsis, counted from the last (as broadcasting does).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Label {
    Dots(usize),
    Letter(char),
}

/// Letters of one operand; `None` is the ellipsis.
type Term = Vec<Option<char>>;

/// Indices of the operands and of the output.
pub(crate) struct Equation {
    inputs: Vec<Term>,
    output: Option<Term>,
}

fn term(text: &str) -> OpResult<Term> {
    let mut term = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("...") {
            if term.contains(&None) {
                return Err(format!("`{text}` has dots twice"));
            }
            term.push(None);
            rest = after;
        } else if c.is_ascii_alphabetic() {
            term.push(Some(c));
            rest = &rest[1..];
        } else {
            return Err(format!("`{c}` in the equation; expected letters"));
        }
    }
    Ok(term)
}

impl Equation {
    /// Reads an equation such as `ij,jk->ik`.
    pub(crate) fn parse(text: &str) -> OpResult<Self> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (inputs, output) = match text.split_once("->") {
            Some((inputs, output)) => (inputs, Some(term(output)?)),
            None => (text.as_str(), None),
        };
        Ok(Self {
            inputs: inputs.split(',').map(term).collect::<OpResult<_>>()?,
            output,
        })
    }

    /// Returns the labels of every operand and of the output, for operands of these shapes.
    pub(crate) fn labels(&self, shapes: &[Vec<usize>]) -> OpResult<(Vec<Vec<Label>>, Vec<Label>)> {
        if shapes.len() != self.inputs.len() {
            return Err(format!(
                "{} inputs; the equation has {}",
                shapes.len(),
                self.inputs.len()
            ));
        }
        let mut most = 0;
        let mut inputs = Vec::new();
        for (term, shape) in self.inputs.iter().zip(shapes) {
            let letters = term.iter().flatten().count();
            let dots = shape.len().checked_sub(letters);
            let Some(dots) = dots.filter(|d| *d == 0 || term.contains(&None)) else {
                return Err(format!(
                    "an input of shape {shape:?} where the equation names {letters} dimensions"
                ));
            };
            most = most.max(dots);
            inputs.push(spread(term, dots));
        }
        let output = if let Some(term) = &self.output {
            spread(term, most)
        } else {
            // All dimensions of the ellipsis, then every letter that occurs once, in alphabetical order.
            let mut counts: BTreeMap<Label, usize> = BTreeMap::new();
            for label in inputs.iter().flatten() {
                *counts.entry(*label).or_default() += 1;
            }
            let once = counts
                .iter()
                .filter(|(l, n)| matches!(l, Label::Letter(_)) && **n == 1)
                .map(|(l, _)| *l);
            (0..most).rev().map(Label::Dots).chain(once).collect()
        };
        let known: BTreeSet<Label> = inputs.iter().flatten().copied().collect();
        let mut seen = BTreeSet::new();
        for label in &output {
            // An ellipsis in the output alone has no dimensions.
            if !known.contains(label) || !seen.insert(*label) {
                return Err("the output names an index twice, or one that no input has".into());
            }
        }
        Ok((inputs, output))
    }
}

fn spread(term: &Term, dots: usize) -> Vec<Label> {
    term.iter()
        .flat_map(|l| match l {
            Some(c) => vec![Label::Letter(*c)],
            None => (0..dots).rev().map(Label::Dots).collect(),
        })
        .collect()
}

/// Returns the length of each index; length 1 broadcasts.
pub(crate) fn sizes(
    labels: &[Vec<Label>],
    shapes: &[Vec<usize>],
) -> OpResult<BTreeMap<Label, usize>> {
    let mut sizes = BTreeMap::new();
    for (label, d) in labels.iter().flatten().zip(shapes.iter().flatten()) {
        let size = sizes.entry(*label).or_insert(*d);
        if *size == 1 {
            *size = *d;
        } else if *d != *size && *d != 1 {
            return Err(format!("an index has length {size} and {d}"));
        }
    }
    Ok(sizes)
}
