//! Makes a graph that was exported for one sample run many samples at once.
//!
//! A value is *carried* if it differs from sample to sample; the samples then lie along one of its axes. Every operator
//! has a rule that gives the sample axis of its outputs from the sample axes of its inputs and the shapes seen when one
//! sample was run. A node with sizes baked in (a Reshape to `[1, -1]`, a class token to be concatenated) gets a
//! [`Fix`]. An operator without a rule, or one that mixes samples, ends the analysis: the runner then takes the samples
//! one by one.
//!
//! A Reshape may allow several sample axes that are each correct for the Reshape but wrong for later nodes; [`Choices`]
//! tries a few of them. The result is confirmed when the model is loaded: three samples run together must give the same
//! scores as three run alone.

use std::collections::BTreeMap;

use crate::graph::{Fix, Graph, Node, Plan, Slot};
use crate::node::axes;

mod moved;
mod rule;

pub(crate) use rule::pointwise;

/// Position of the samples in a value: along `axis`, which has `outer * samples * inner` elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Carried {
    /// Axis of the samples.
    pub(crate) axis: usize,
    /// Number of times the list of samples repeats along the axis.
    pub(crate) outer: usize,
    /// Consecutive elements of one sample along the axis.
    pub(crate) inner: usize,
}

impl Carried {
    /// Position on an axis that holds only the samples.
    pub(crate) fn own(axis: usize) -> Self {
        Self {
            axis,
            outer: 1,
            inner: 1,
        }
    }

    /// Number of elements of one sample along the axis.
    fn each(self) -> usize {
        self.outer * self.inner
    }

    /// Returns the same position on another axis.
    fn at(self, axis: usize) -> Self {
        Self { axis, ..self }
    }
}

/// Result of the analysis.
#[derive(Debug)]
pub(crate) struct Batching {
    /// Fixes of nodes, by index of the node in the graph.
    pub(crate) fixes: BTreeMap<usize, Vec<Fix>>,
    /// Position of the samples, per slot; absent where a value is the same for every sample.
    pub(crate) carried: BTreeMap<Slot, Carried>,
}

/// Maximum number of combinations of choices tried.
const ATTEMPTS: usize = 32;

/// Choices made wherever samples may lie along several axes; [`Self::advance`] moves to the next combination.
#[derive(Debug, Default)]
pub(crate) struct Choices {
    /// Chosen option and number of options, in the order in which the choices came up.
    taken: Vec<(usize, usize)>,
    /// Number of choices that came up in this attempt.
    requested: usize,
    attempts: usize,
}

impl Choices {
    /// Returns the option to take out of `options` (at least one).
    fn pick(&mut self, options: usize) -> usize {
        if self.requested == self.taken.len() {
            self.taken.push((0, options));
        }
        self.requested += 1;
        // An attempt repeats the choices of the one before up to the first that differs.
        self.taken[self.requested - 1].0.min(options - 1)
    }

    /// Moves to the next attempt by changing the last choice that has an untried option; `false` if there is none or
    /// the number of attempts is exhausted.
    pub(crate) fn advance(&mut self) -> bool {
        self.attempts += 1;
        self.taken.truncate(self.requested);
        self.requested = 0;
        while let Some((at, options)) = self.taken.pop() {
            if at + 1 < options {
                self.taken.push((at + 1, options));
                return self.attempts < ATTEMPTS;
            }
        }
        false
    }
}

struct Seen<'a> {
    graph: &'a Graph,
    node: &'a Node,
    shapes: &'a [Option<Vec<usize>>],
    carried: &'a BTreeMap<Slot, Carried>,
}

type Rule = Result<(Vec<Carried>, Vec<Fix>), String>;

/// Follows the samples from `inputs` through the nodes of a plan. `shapes` are those seen with one sample.
pub(crate) fn analyse(
    graph: &Graph,
    plan: &Plan,
    shapes: &[Option<Vec<usize>>],
    inputs: &[(Slot, Carried)],
    choices: &mut Choices,
) -> Result<Batching, String> {
    let mut found = Batching {
        fixes: BTreeMap::new(),
        carried: inputs.iter().copied().collect(),
    };
    for (at, _) in &plan.steps {
        let node = &graph.nodes[*at];
        let seen = Seen {
            graph,
            node,
            shapes,
            carried: &found.carried,
        };
        if (0..node.inputs.len()).all(|i| seen.carried(i).is_none()) {
            continue;
        }
        let (outputs, fixes) = seen
            .rule(choices)
            .map_err(|e| format!("node `{}` ({}): {e}", node.name, node.op))?;
        if !fixes.is_empty() {
            found.fixes.insert(*at, fixes);
        }
        // If a rule gives fewer positions than outputs, the remaining outputs take the last one.
        for (i, slot) in node.outputs.iter().enumerate() {
            if let (Some(slot), Some(c)) = (slot, outputs.get(i).or(outputs.last())) {
                // The length seen with one sample must equal the length the rule implies.
                let length = shapes[*slot].as_ref().map(|s| s.get(c.axis).copied());
                if length.is_some_and(|l| l != Some(c.each())) {
                    return Err(format!(
                        "node `{}` ({}): the samples do not lie where they should",
                        node.name, node.op
                    ));
                }
                found.carried.insert(*slot, *c);
            }
        }
    }
    Ok(found)
}

#[allow(clippy::unnecessary_wraps)] // every rule ends with it
fn to(carried: Carried) -> Rule {
    Ok((vec![carried], Vec::new()))
}

/// Returns the length of a shape along an axis of the shape it broadcasts to.
fn length_at(shape: &[usize], rank: usize, axis: usize) -> usize {
    (axis + shape.len())
        .checked_sub(rank)
        .map_or(1, |a| shape[a])
}

impl Seen<'_> {
    fn carried(&self, input: usize) -> Option<Carried> {
        let slot = (*self.node.inputs.get(input)?)?;
        self.carried.get(&slot).copied()
    }

    fn shape(&self, input: usize) -> Option<&[usize]> {
        let slot = (*self.node.inputs.get(input)?)?;
        self.shapes[slot].as_deref()
    }

    fn out_shape(&self) -> Result<&[usize], String> {
        self.node
            .outputs
            .first()
            .copied()
            .flatten()
            .and_then(|s| self.shapes[s].as_deref())
            .ok_or_else(|| "its shape was not seen".to_owned())
    }

    fn rank(&self) -> usize {
        self.shape(0).map_or(0, <[usize]>::len)
    }

    /// Returns input `input` as a list of integers, if it is a known constant.
    fn list(&self, input: usize) -> Option<Vec<i64>> {
        let slot = (*self.node.inputs.get(input)?)?;
        match self.graph.known[slot].as_ref()? {
            crate::value::Value::Host(a) => a.to_ints().ok(),
            _ => None,
        }
    }

    /// Returns the axes given as an attribute or as an input.
    fn axes(&self, input: usize) -> Result<Option<Vec<usize>>, String> {
        let given = self.node.inputs.get(input).is_some_and(Option::is_some);
        let list = match self.node.ints("axes") {
            Some(list) => Some(list.to_vec()),
            None if given => Some(self.list(input).ok_or("its axes are not constant")?),
            None => None,
        };
        list.map(|l| axes(&l, self.rank())).transpose()
    }

    /// Returns the position of the samples in input 0; an error if another input carries samples.
    fn only_first(&self) -> Result<Carried, String> {
        if (1..self.node.inputs.len()).any(|i| self.carried(i).is_some()) {
            return Err("an input other than the first depends on the sample".into());
        }
        self.carried(0)
            .ok_or_else(|| "only a parameter depends on the sample".to_owned())
    }
}
