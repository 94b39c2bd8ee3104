//! Whether scores that were taken beside a label are what the label is chosen by.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Tensor as Burn;
use proofmark_threat::host;

use super::OnnxModel;
use super::settle::first_largest;
use crate::array::{Array, Data};
use crate::error::OnnxError;
use crate::value::Value;

/// Number of samples inside the bounds that are compared.
const COMPARED: usize = 64;

/// A class label, as a file writes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Whole(i64),
    Text(String),
}

impl Label {
    fn all(array: &Array) -> Result<Vec<Self>, String> {
        match array.data() {
            Data::Text(v) => Ok(v.iter().cloned().map(Self::Text).collect()),
            _ => Ok(array.to_ints()?.into_iter().map(Self::Whole).collect()),
        }
    }
}

impl OnnxModel {
    /// Refuses scores that were chosen because they stand beside a label (`OnnxFile::scores_beside_label`) if the label is
    /// not that of the largest, as with the distances of a clustering: samples whose largest score is the same must have
    /// the same label, most of them, other samples another one, and whole numbers in the order of the scores.
    pub(super) fn compare_with_label(&self, rows: usize) -> Result<(), OnnxError> {
        let outputs = self.file.outputs();
        let label = &outputs[0].name;
        let Some(slot) = self.graph.names.get(label) else {
            return Ok(());
        };
        let plan = self.graph.plan(&[*slot, self.scores.slot]);
        let probe = self.probe(COMPARED.next_multiple_of(rows));
        let n = probe.first().map_or(0, |b| b.dims()[0]);
        // How often each label comes with each class.
        let mut seen: BTreeMap<usize, BTreeMap<Label, usize>> = BTreeMap::new();
        for start in (0..n).step_by(rows) {
            let part: Vec<Burn<2>> = (probe.iter())
                .map(|b| b.clone().slice(start..start + rows))
                .collect();
            let values = self.quietly(|m| m.run_traced(&plan, &part, &mut |_, _| {}))?;
            let [labels, scores]: [Value; 2] = values.try_into().expect("a value per slot");
            let labels = labels.host().and_then(|a| Label::all(&a));
            let labels = labels.map_err(|e| self.file.problem(format!("output `{label}`: {e}")))?;
            let scores = self.rows(scores, self.scores.slot, rows)?;
            let scores = self.scores.finish(scores);
            let classes = scores.dims()[1];
            for (row, label) in host(&scores).chunks(classes).zip(labels) {
                if let Some(class) = first_largest(row) {
                    *seen.entry(class).or_default().entry(label).or_default() += 1;
                }
            }
        }
        if is_chosen_by(&seen) {
            return Ok(());
        }
        let scores = self.graph.name(self.scores.slot);
        Err(self.file.problem(format!(
            "output `{label}` is not the class with the largest of `{scores}` (distances, for example, are the smaller the better): name the output that holds one score per class with --output"
        )))
    }
}

/// Whether labels, counted by the class of the largest score, are chosen by it.
fn is_chosen_by(seen: &BTreeMap<usize, BTreeMap<Label, usize>>) -> bool {
    let (mut usual, mut agree, mut all) = (Vec::new(), 0, 0);
    for labels in seen.values() {
        all += labels.values().sum::<usize>();
        // Of equally common ones the first, so that the answer is always the same.
        let most = labels.iter().rev().max_by_key(|(_, count)| **count);
        if let Some((label, count)) = most {
            usual.push(label);
            agree += count;
        }
    }
    let apart = usual.iter().collect::<BTreeSet<_>>().len() == usual.len();
    let whole = usual.iter().all(|l| matches!(l, Label::Whole(_)));
    let ordered = !whole || usual.is_sorted();
    apart && ordered && 2 * agree >= all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(pairs: &[(usize, Label)]) -> bool {
        let mut seen: BTreeMap<usize, BTreeMap<Label, usize>> = BTreeMap::new();
        for (class, label) in pairs {
            *seen
                .entry(*class)
                .or_default()
                .entry(label.clone())
                .or_default() += 1;
        }
        is_chosen_by(&seen)
    }

    #[test]
    fn labels_of_the_largest_score_are_told_from_others() {
        let whole = |pairs: &[(usize, i64)]| {
            let pairs: Vec<_> = pairs.iter().map(|(c, l)| (*c, Label::Whole(*l))).collect();
            chosen(&pairs)
        };
        assert!(whole(&[(0, 3), (0, 3), (1, 7), (2, 9)]));
        // A vote may disagree with a probability now and then.
        assert!(whole(&[(0, 0), (0, 0), (0, 1), (1, 1), (1, 1)]));
        assert!(!whole(&[(0, 1), (1, 0)]), "the smallest of two");
        assert!(!whole(&[(2, 0), (2, 1), (1, 0), (1, 2), (0, 1), (0, 2)]));
        assert!(!whole(&[(0, 4), (1, 4)]), "one label for two classes");
        let text = |t: &str| Label::Text(t.to_owned());
        assert!(chosen(&[(0, text("yes")), (1, text("no"))]));
    }
}
