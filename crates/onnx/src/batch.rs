//! Making a graph that was exported for one sample serve many at once.
//!
//! A value is *carried* if it differs from sample to sample; then the samples lie one after another along one of its
//! axes, each with `inner` elements there. Every operator has a rule that says where they lie in its outputs, given
//! where they lie in its inputs and the shapes seen when one sample was run. A node with sizes baked in (a Reshape
//! to `[1, -1]`, a class token to be concatenated) gets a [`Fix`]. An operator without a rule, or one that mixes
//! samples, ends the analysis: the runner then takes the samples one by one.
//!
//! What the rules prove is confirmed when the model is loaded: three samples together equal three alone.

use std::collections::BTreeMap;

use crate::graph::{Fix, Graph, Node, Plan, Slot};
use crate::node::{axes, axis};

/// Where the samples lie in a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Carried {
    /// Along which axis.
    pub(crate) axis: usize,
    /// Elements of one sample along that axis.
    pub(crate) inner: usize,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Batching {
    /// Changes of nodes, by their place in the graph.
    pub(crate) fixes: BTreeMap<usize, Vec<Fix>>,
    /// Where the samples lie, per slot; absent where a value is the same for every sample.
    pub(crate) carried: BTreeMap<Slot, Carried>,
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
            .rule()
            .map_err(|e| format!("node `{}` ({}): {e}", node.name, node.op))?;
        if !fixes.is_empty() {
            found.fixes.insert(*at, fixes);
        }
        // A rule that names fewer places than outputs gives them all the last one.
        for (i, slot) in node.outputs.iter().enumerate() {
            if let (Some(slot), Some(c)) = (slot, outputs.get(i).or(outputs.last())) {
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

    /// A list given as an input, if it is known.
    fn list(&self, input: usize) -> Option<Vec<i64>> {
        let slot = (*self.node.inputs.get(input)?)?;
        match self.graph.known[slot].as_ref()? {
            crate::value::Value::Host(a) => a.to_ints().ok(),
            _ => None,
        }
    }

    /// Axes given as an attribute or as an input.
    fn axes(&self, input: usize) -> Result<Option<Vec<usize>>, String> {
        let given = self.node.inputs.get(input).is_some_and(Option::is_some);
        let list = match self.node.ints("axes") {
            Some(list) => Some(list.to_vec()),
            None if given => Some(self.list(input).ok_or("its axes are not constant")?),
            None => None,
        };
        list.map(|l| axes(&l, self.rank())).transpose()
    }

    /// Where the samples are in input 0, if no other input carries them.
    fn only_first(&self) -> Result<Carried, String> {
        if (1..self.node.inputs.len()).any(|i| self.carried(i).is_some()) {
            return Err("an input other than the first depends on the sample".into());
        }
        self.carried(0)
            .ok_or_else(|| "only a parameter depends on the sample".to_owned())
    }

    fn rule(&self) -> Rule {
        match self.node.op.as_str() {
            "Conv"
            | "ConvTranspose"
            | "MaxPool"
            | "AveragePool"
            | "LpPool"
            | "GlobalAveragePool"
            | "GlobalMaxPool"
            | "GlobalLpPool"
            | "BatchNormalization"
            | "InstanceNormalization"
            | "GroupNormalization"
            | "LRN"
            | "DepthToSpace"
            | "SpaceToDepth"
            | "ConvInteger"
            | "QLinearConv"
            | "Upsample" => self.leading(),
            "Resize" => self.resize(),
            "Softmax" | "LogSoftmax" | "Hardmax" | "LayerNormalization" | "RMSNormalization"
            | "LpNormalization" | "CumSum" | "TopK" => self.along_another_axis(),
            "MatMul" | "MatMulInteger" => self.matmul(),
            "Gemm" => self.gemm(),
            "Transpose" => self.transpose(),
            "Reshape" => self.reshape(),
            "Flatten" | "Squeeze" | "Unsqueeze" => self.regroup(),
            "Concat" => self.concat(),
            "Slice" => self.slice(),
            "Split" => self.split(),
            "Gather" => self.gather(),
            "Pad" => self.pad(),
            "Expand" => self.expand(),
            "Tile" => self.tile(),
            "LSTM" | "GRU" | "RNN" => self.recurrent(),
            // What it says of the sizes holds for all samples alike.
            "Shape" | "Size" => Ok((Vec::new(), Vec::new())),
            "QuantizeLinear" | "DequantizeLinear" => to(self.only_first()?),
            op if op.starts_with("Reduce") || op == "ArgMax" || op == "ArgMin" => self.reduce(),
            op if POINTWISE.contains(&op) => self.pointwise(),
            _ => Err("no rule says how it treats samples side by side".into()),
        }
    }

    /// Samples along axis 0 in, samples along axis 0 out.
    fn leading(&self) -> Rule {
        match self.only_first()? {
            c if c.axis == 0 => to(c),
            c => Err(format!("samples lie along axis {}; expected 0", c.axis)),
        }
    }

    fn resize(&self) -> Rule {
        let (outputs, mut fixes) = self.leading()?;
        if let Some(list) = self.shape(3)
            && list == [self.rank()]
            && self.node.ints("axes").is_none()
        {
            fixes.push(Fix::Entry {
                input: 3,
                index: 0,
                inner: outputs[0].inner,
            });
        }
        Ok((outputs, fixes))
    }

    fn along_another_axis(&self) -> Rule {
        let c = self.only_first()?;
        let op = self.node.op.as_str();
        let softmax = matches!(op, "Softmax" | "LogSoftmax" | "Hardmax");
        let old = softmax && self.node.opset < 13;
        let default = if old { 1 } else { -1 };
        let given = if op == "CumSum" {
            *self
                .list(1)
                .as_deref()
                .and_then(<[i64]>::first)
                .ok_or("its axis is not constant")?
        } else {
            self.node.int("axis", default)
        };
        let at = axis(given, self.rank())?;
        // These take all axes from theirs on together.
        let onwards = old || matches!(op, "LayerNormalization" | "RMSNormalization");
        if c.axis == at || (onwards && c.axis > at) {
            return Err(format!(
                "it mixes along axis {}, where the samples lie",
                c.axis
            ));
        }
        to(c)
    }

    fn pointwise(&self) -> Rule {
        let rank = self.out_shape()?.len();
        let mut place: Option<Carried> = None;
        for i in 0..self.node.inputs.len() {
            if let (Some(c), Some(shape)) = (self.carried(i), self.shape(i)) {
                let c = Carried {
                    axis: c.axis + rank - shape.len(),
                    inner: c.inner,
                };
                if place.is_some_and(|p| p != c) {
                    return Err("its inputs hold the samples along different axes".into());
                }
                place = Some(c);
            }
        }
        let place = place.ok_or("no input depends on the sample")?;
        for i in 0..self.node.inputs.len() {
            if let (None, Some(shape)) = (self.carried(i), self.shape(i))
                && self.length_at(shape, rank, place.axis) > 1
            {
                return Err("a constant differs along the axis of the samples".into());
            }
        }
        to(place)
    }

    /// Length of a shape along an axis of the shape it broadcasts to.
    fn length_at(&self, shape: &[usize], rank: usize, axis: usize) -> usize {
        (axis + shape.len())
            .checked_sub(rank)
            .map_or(1, |a| shape[a])
    }

    fn matmul(&self) -> Rule {
        let (Some(a), Some(b)) = (self.shape(0), self.shape(1)) else {
            return Err("its shapes were not seen".into());
        };
        if a.len() < 2 || b.len() < 2 {
            return Err("one of its inputs is a vector".into());
        }
        let rank = a.len().max(b.len());
        let widened = |c: Carried, own: usize| Carried {
            axis: c.axis + rank - own,
            inner: c.inner,
        };
        let (ca, cb) = (
            self.carried(0).map(|c| widened(c, a.len())),
            self.carried(1).map(|c| widened(c, b.len())),
        );
        match (ca, cb) {
            (Some(x), Some(y)) if x == y && x.axis + 2 < rank => to(x),
            (Some(_), Some(_)) => {
                Err("both matrices depend on the sample in different ways".into())
            }
            (Some(x), None) if x.axis + 1 == rank => {
                Err("it sums over the axis of the samples".into())
            }
            (None, Some(y)) if y.axis + 2 == rank => {
                Err("it sums over the axis of the samples".into())
            }
            (Some(x), None) if x.axis + 2 == rank || self.length_at(b, rank, x.axis) == 1 => to(x),
            (None, Some(y)) if y.axis + 1 == rank || self.length_at(a, rank, y.axis) == 1 => to(y),
            _ => Err("a constant matrix differs along the axis of the samples".into()),
        }
    }

    fn gemm(&self) -> Rule {
        let c = self.only_first()?;
        let rows = usize::from(self.node.int("transA", 0) != 0);
        if c.axis != rows {
            return Err("it sums over the axis of the samples".into());
        }
        if self.shape(2).is_some_and(|s| self.length_at(s, 2, 0) > 1) {
            return Err("its bias differs along the axis of the samples".into());
        }
        to(Carried { axis: 0, ..c })
    }

    fn transpose(&self) -> Rule {
        let c = self.only_first()?;
        let rank = self.rank();
        let order = match self.node.ints("perm") {
            Some(perm) => axes(perm, rank)?,
            None => (0..rank).rev().collect(),
        };
        let axis = order
            .iter()
            .position(|a| *a == c.axis)
            .ok_or("its order of axes is incomplete")?;
        to(Carried { axis, ..c })
    }

    /// Where the samples are after elements are regrouped without being moved: an axis with as many elements
    /// before it, where each sample has all that lies up to the next such place.
    fn regrouped(&self, c: Carried) -> Result<Vec<Carried>, String> {
        let (from, to) = (
            self.shape(0).ok_or("its shape was not seen")?,
            self.out_shape()?,
        );
        let before: usize = from[..c.axis].iter().product();
        let mut places = Vec::new();
        let mut product = 1usize;
        for (axis, length) in to.iter().enumerate() {
            if product == before {
                places.push(Carried {
                    axis,
                    inner: *length,
                });
            }
            product *= length;
        }
        // An axis for the samples alone is better than one they share, the earlier better than the later.
        places.sort_by_key(|p| (p.inner != 1, p.axis));
        Ok(places)
    }

    fn reshape(&self) -> Rule {
        let c = self.only_first()?;
        let place = *self
            .regrouped(c)?
            .first()
            .ok_or("it cuts across the samples")?;
        Ok((
            vec![place],
            vec![Fix::Entry {
                input: 1,
                index: place.axis,
                inner: place.inner,
            }],
        ))
    }

    /// Flatten, Squeeze and Unsqueeze find the new shape by themselves; the samples have to be where they put them.
    fn regroup(&self) -> Rule {
        let c = self.only_first()?;
        let rank = self.rank();
        let axis = match self.node.op.as_str() {
            "Flatten" => {
                let given = self.node.int("axis", 1);
                let cut = if given < 0 {
                    given + rank as i64
                } else {
                    given
                };
                usize::from(c.axis as i64 >= cut)
            }
            "Squeeze" => {
                let gone = self.axes(1)?.ok_or("it drops whatever has length 1")?;
                if gone.contains(&c.axis) {
                    return Err("it drops the axis of the samples".into());
                }
                c.axis - gone.iter().filter(|a| **a < c.axis).count()
            }
            _ => {
                let out = self.out_shape()?.len();
                let list = match self.node.ints("axes") {
                    Some(list) => list.to_vec(),
                    None => self.list(1).ok_or("its axes are not constant")?,
                };
                let new = axes(&list, out)?;
                (0..out)
                    .filter(|a| !new.contains(a))
                    .nth(c.axis)
                    .ok_or("its axes do not fit")?
            }
        };
        let place = self.regrouped(c)?.into_iter().find(|p| p.axis == axis);
        to(place.ok_or("it cuts across the samples")?)
    }

    fn concat(&self) -> Rule {
        let rank = self.out_shape()?.len();
        let along = axis(self.node.int("axis", 1), rank)?;
        let places: Vec<Carried> = (0..self.node.inputs.len())
            .filter_map(|i| self.carried(i))
            .collect();
        let place = places[0];
        if places.iter().any(|p| *p != place) {
            return Err("its inputs hold the samples along different axes".into());
        }
        if place.axis == along {
            return Err("it joins along the axis of the samples".into());
        }
        let mut fixes = Vec::new();
        for i in 0..self.node.inputs.len() {
            if self.carried(i).is_none() {
                if place.inner != 1 {
                    return Err("a constant would have to be repeated in blocks".into());
                }
                fixes.push(Fix::Repeat {
                    input: i,
                    axis: place.axis,
                });
            }
        }
        Ok((vec![place], fixes))
    }

    fn slice(&self) -> Rule {
        let c = self.only_first()?;
        let rank = self.rank();
        let starts = match self.node.ints("starts") {
            Some(list) => list.len(),
            None => self.shape(1).map_or(0, |s| s.iter().product()),
        };
        let touched = match self.node.ints("axes") {
            Some(list) => axes(list, rank)?,
            None if self.node.inputs.get(3).is_some_and(Option::is_some) => {
                axes(&self.list(3).ok_or("its axes are not constant")?, rank)?
            }
            None => (0..starts).collect(),
        };
        if let Some(i) = touched.iter().position(|a| *a == c.axis) {
            let at = |input: usize, name: &str| {
                self.node
                    .ints(name)
                    .map(<[i64]>::to_vec)
                    .or_else(|| self.list(input))
                    .and_then(|l| l.get(i).copied())
            };
            let step = at(4, "steps").unwrap_or(1);
            let whole = at(1, "starts") == Some(0)
                && at(2, "ends").is_some_and(|e| e >= i64::from(i32::MAX))
                && step == 1;
            if !whole {
                return Err("it cuts along the axis of the samples".into());
            }
        }
        to(c)
    }

    fn split(&self) -> Rule {
        let c = self.only_first()?;
        if axis(self.node.int("axis", 0), self.rank())? == c.axis {
            return Err("it splits along the axis of the samples".into());
        }
        to(c)
    }

    fn gather(&self) -> Rule {
        let at = axis(self.node.int("axis", 0), self.rank())?;
        let picked = self.shape(1).map_or(0, <[usize]>::len);
        match (self.carried(0), self.carried(1)) {
            (Some(c), None) if c.axis < at => to(c),
            (Some(c), None) if c.axis > at => to(Carried {
                axis: c.axis + picked - 1,
                ..c
            }),
            (None, Some(c)) => to(Carried {
                axis: at + c.axis,
                ..c
            }),
            _ => Err("it picks along the axis of the samples".into()),
        }
    }

    fn pad(&self) -> Rule {
        let c = self.only_first()?;
        let rank = self.rank();
        let pads = match self.node.ints("pads") {
            Some(list) => list.to_vec(),
            None => self.list(1).ok_or("its pads are not constant")?,
        };
        let touched = if self.node.inputs.get(3).is_some_and(Option::is_some) {
            axes(&self.list(3).ok_or("its axes are not constant")?, rank)?
        } else {
            (0..rank).collect()
        };
        let n = touched.len();
        for (i, a) in touched.iter().enumerate() {
            let zero = pads.get(i) == Some(&0) && pads.get(i + n) == Some(&0);
            if *a == c.axis && !zero {
                return Err("it pads along the axis of the samples".into());
            }
        }
        to(c)
    }

    fn expand(&self) -> Rule {
        let c = self.only_first()?;
        let (rank, length) = (self.out_shape()?.len(), self.shape(1).map_or(0, |s| s[0]));
        let place = Carried {
            axis: c.axis + rank - self.rank(),
            inner: c.inner,
        };
        if self.out_shape()?[place.axis] != c.inner {
            return Err("it repeats along the axis of the samples".into());
        }
        let fixes = (place.axis + length)
            .checked_sub(rank)
            .map(|index| Fix::Entry {
                input: 1,
                index,
                inner: c.inner,
            });
        Ok((vec![place], fixes.into_iter().collect()))
    }

    fn tile(&self) -> Rule {
        let c = self.only_first()?;
        let times = self.list(1).ok_or("its repeats are not constant")?;
        match times.get(c.axis) {
            Some(1) => to(c),
            _ => Err("it repeats along the axis of the samples".into()),
        }
    }

    fn reduce(&self) -> Rule {
        let c = self.only_first()?;
        let arg = self.node.op.starts_with("Arg");
        let gone = if arg {
            vec![axis(self.node.int("axis", 0), self.rank())?]
        } else {
            match self.axes(1)? {
                Some(list) if !list.is_empty() => list,
                _ if self.node.int("noop_with_empty_axes", 0) != 0 => return to(c),
                _ => return Err("it takes all elements together".into()),
            }
        };
        if gone.contains(&c.axis) {
            return Err("it takes the samples together".into());
        }
        let before = gone.iter().filter(|a| **a < c.axis).count();
        let dropped = if self.node.int("keepdims", 1) == 0 {
            before
        } else {
            0
        };
        to(Carried {
            axis: c.axis - dropped,
            ..c
        })
    }

    fn recurrent(&self) -> Rule {
        let first = self.node.int("layout", 0) != 0;
        let (x, y, h) = if first { (0, 0, 0) } else { (1, 2, 1) };
        let expected = |axis| Carried { axis, inner: 1 };
        if self.carried(0) != Some(expected(x)) {
            return Err(format!("samples do not lie along axis {x} of its input"));
        }
        let mut fixes = Vec::new();
        for i in 1..self.node.inputs.len() {
            let given = self.node.inputs[i].is_some();
            match (i, self.carried(i)) {
                (5 | 6, None) if given => fixes.push(Fix::Repeat { input: i, axis: h }),
                (5 | 6, Some(c)) if c == expected(h) => {}
                (4, _) if given => return Err("its sequence lengths are baked in".into()),
                (_, Some(_)) => return Err("a parameter depends on the sample".into()),
                _ => {}
            }
        }
        Ok((vec![expected(y), expected(h)], fixes))
    }
}

/// Operators that treat every element alike, broadcasting their inputs.
const POINTWISE: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "And",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BitwiseAnd",
    "BitwiseNot",
    "BitwiseOr",
    "BitwiseXor",
    "Cast",
    "CastLike",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Cosh",
    "Div",
    "Dropout",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "Greater",
    "GreaterOrEqual",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "IsInf",
    "IsNaN",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "Max",
    "Mean",
    "Min",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "PRelu",
    "Pow",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Sub",
    "Sum",
    "Swish",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Where",
    "Xor",
];
