//! Decision trees, flat: where a sample ends in each of them.

use crate::node::OpResult;

/// Question that a node asks about one feature.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Question {
    AtMost(f32),
    Below(f32),
    AtLeast(f32),
    Above(f32),
    Equal(f32),
    Differs(f32),
    Among(Vec<f32>),
}

impl Question {
    fn holds(&self, x: f32) -> bool {
        match self {
            Self::AtMost(v) => x <= *v,
            Self::Below(v) => x < *v,
            Self::AtLeast(v) => x >= *v,
            Self::Above(v) => x > *v,
            Self::Equal(v) => x == *v,
            Self::Differs(v) => x != *v,
            Self::Among(all) => all.contains(&x),
        }
    }
}

/// Where a branch leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Branch(usize),
    Leaf(usize),
}

/// A node that asks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Branch {
    pub(super) feature: usize,
    pub(super) question: Question,
    /// Whether a missing value (NaN) counts as a yes.
    pub(super) missing_is_yes: bool,
    pub(super) yes: Next,
    pub(super) no: Next,
}

/// Trees whose leaves add to targets.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Forest {
    pub(super) branches: Vec<Branch>,
    /// Per leaf: targets and what it adds to them.
    pub(super) leaves: Vec<Vec<(usize, f32)>>,
    pub(super) roots: Vec<Next>,
}

impl Forest {
    /// Returns the number of features that a sample needs.
    pub(super) fn features(&self) -> usize {
        let of = |b: &Branch| b.feature + 1;
        self.branches.iter().map(of).max().unwrap_or(0)
    }

    /// Checks that every branch is reached once, so that no sample goes round in circles.
    pub(super) fn check(&self) -> OpResult<()> {
        let mut seen = vec![false; self.branches.len()];
        let mut open: Vec<Next> = self.roots.clone();
        while let Some(next) = open.pop() {
            match next {
                Next::Leaf(at) if at < self.leaves.len() => {}
                Next::Leaf(at) => return Err(format!("leaf {at} of {}", self.leaves.len())),
                Next::Branch(at) => {
                    let branch = self.branches.get(at);
                    let branch =
                        branch.ok_or_else(|| format!("node {at} of {}", self.branches.len()))?;
                    if std::mem::replace(&mut seen[at], true) {
                        return Err(format!("node {at} is reached by two branches"));
                    }
                    open.extend([branch.yes, branch.no]);
                }
            }
        }
        Ok(())
    }

    /// Returns what each tree's leaf adds for the sample `x`, which has all features.
    pub(super) fn reached<'a>(
        &'a self,
        x: &'a [f32],
    ) -> impl Iterator<Item = &'a [(usize, f32)]> + 'a {
        self.roots.iter().map(move |root| {
            let mut at = *root;
            loop {
                match at {
                    Next::Leaf(leaf) => return self.leaves[leaf].as_slice(),
                    Next::Branch(b) => {
                        let branch = &self.branches[b];
                        let value = x[branch.feature];
                        let missing = branch.missing_is_yes && value.is_nan();
                        at = if missing || branch.question.holds(value) {
                            branch.yes
                        } else {
                            branch.no
                        };
                    }
                }
            }
        })
    }
}
