//! From a graph of operators to a network of [`proofmark_kernels`], where every operator on the way to the scores has a
//! lowering (see [`OperatorEntry::lowered`](crate::op::OperatorEntry)).
//!
//! A lowering describes its operator for one sample: nothing in it knows of a batch, so what the network gives for a
//! sample cannot depend on others. What a node does to a sample is read off a run with a single one; the model compares
//! the network with the operators themselves on several samples before it uses it.

use std::collections::BTreeMap;
use std::sync::Arc;

use proofmark_kernels::{Builder, KernelError, Map, Network, Scale, Value as Net};

use crate::array::Array;
use crate::graph::{Graph, Plan, Slot};
use crate::node::OpResult;

/// An operator's part in a network.
pub(crate) type Lowering = Box<dyn Fn(&mut Lower<'_>) -> OpResult<Sample> + Send + Sync>;

/// Wraps an operator's lowering.
#[allow(clippy::unnecessary_wraps)] // every builder ends with it
pub(crate) fn lowering(
    f: impl Fn(&mut Lower<'_>) -> OpResult<Sample> + Send + Sync + 'static,
) -> OpResult<Lowering> {
    Ok(Box::new(f))
}

/// A value of one sample.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    value: Net,
    /// Its shape in the graph, without the axis of the samples.
    shape: Vec<usize>,
    /// For each of its elements in row-major order, the feature of `value` that holds it; `None` if they are in order.
    order: Option<Arc<[u32]>>,
}

impl Sample {
    /// Its shape, without the axis of the samples.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The sample with its axes in another order.
    pub(crate) fn transposed(&self, axes: &[usize]) -> Self {
        let shape: Vec<usize> = axes.iter().map(|a| self.shape[*a]).collect();
        let n: usize = shape.iter().product();
        let strides: Vec<usize> = axes
            .iter()
            .map(|a| self.shape[a + 1..].iter().product())
            .collect();
        let order = (0..n).map(|i| {
            let (mut rest, mut from) = (i, 0);
            for (length, stride) in shape.iter().zip(&strides).rev() {
                from += rest % length * stride;
                rest /= length;
            }
            self.order.as_ref().map_or(from as u32, |o| o[from])
        });
        let order: Arc<[u32]> = order.collect();
        let is_plain = (0..).zip(order.iter()).all(|(i, o): (u32, _)| i == *o);
        Self {
            value: self.value,
            shape,
            order: (!is_plain).then_some(order),
        }
    }

    /// A constant expanded to the sample's shape, in row-major order.
    pub(crate) fn broadcast(&self, constant: &Array) -> OpResult<Vec<f32>> {
        let values = floats(constant)?;
        let own = constant.shape();
        let refuse = || {
            format!(
                "a constant of shape {own:?} beside samples of shape {:?}",
                self.shape
            )
        };
        // The axis of the samples stands before the others.
        let mut all = vec![1];
        all.extend(&self.shape);
        let new = all.len().checked_sub(own.len()).ok_or_else(refuse)?;
        if own.iter().zip(&all[new..]).any(|(c, d)| c != d && *c != 1) {
            return Err(refuse());
        }
        let n: usize = self.shape.iter().product();
        Ok((0..n)
            .map(|i| {
                let (mut rest, mut from, mut stride) = (i, 0, 1);
                for (axis, length) in all.iter().enumerate().rev() {
                    let at = rest % length;
                    rest /= length;
                    if let Some(c) = axis.checked_sub(new).map(|a| own[a]) {
                        from += if c == 1 { 0 } else { at * stride };
                        stride *= c;
                    }
                }
                values[from]
            })
            .collect())
    }

    /// The same elements in the same order, in another shape.
    pub(crate) fn reshaped(mut self, shape: &[usize]) -> Self {
        self.shape = shape.to_vec();
        self
    }
}

/// What a node reads.
#[derive(Debug, Clone)]
enum Input {
    Sample(Sample),
    Constant(Array),
    Missing,
    /// Why it is not part of the network.
    Not(String),
}

/// What an operator's lowering sees: its inputs, and the network so far.
pub(crate) struct Lower<'a> {
    net: &'a mut Builder,
    inputs: Vec<Input>,
    /// Shape of the node's first output for one sample, without the axis of the samples.
    output: Vec<usize>,
}

impl Lower<'_> {
    /// Input `i`, which depends on the sample.
    pub(crate) fn sample(&self, i: usize) -> OpResult<Sample> {
        match self.inputs.get(i) {
            Some(Input::Sample(s)) => Ok(s.clone()),
            Some(Input::Not(why)) => Err(why.clone()),
            Some(Input::Constant(_)) => Err(format!("input {i} is a constant")),
            Some(Input::Missing) | None => Err(format!("input {i} is missing")),
        }
    }

    /// Input `i`, which is the same for all samples.
    pub(crate) fn constant(&self, i: usize) -> OpResult<&Array> {
        match self.inputs.get(i) {
            Some(Input::Constant(a)) => Ok(a),
            Some(Input::Missing) | None => Err(format!("input {i} is missing")),
            Some(_) => Err(format!("input {i} is not a constant")),
        }
    }

    /// Input `i`, which is the same for all samples, as numbers; `None` if it is left out.
    pub(crate) fn numbers(&self, i: usize) -> OpResult<Option<Vec<f32>>> {
        match self.inputs.get(i) {
            Some(Input::Missing) | None => Ok(None),
            _ => floats(self.constant(i)?).map(Some),
        }
    }

    /// Whether input `i` is the same for all samples.
    pub(crate) fn is_constant(&self, i: usize) -> bool {
        matches!(self.inputs.get(i), Some(Input::Constant(_)))
    }

    /// Number of inputs.
    pub(crate) fn len(&self) -> usize {
        self.inputs.len()
    }

    /// Shape of the output, without the axis of the samples.
    pub(crate) fn output(&self) -> &[usize] {
        &self.output
    }

    /// The sample as a map: channels, then height and width where it has them.
    pub(crate) fn spatial(&mut self, s: &Sample) -> OpResult<Net> {
        let map = match *s.shape.as_slice() {
            [c] => Map::new(c, 1, 1),
            [c, w] => Map::new(c, 1, w),
            [c, h, w] => Map::new(c, h, w),
            _ => return Err(format!("windows over a sample of shape {:?}", s.shape)),
        };
        self.arranged(s, map, None)
    }

    /// The sample's elements in a map, element `i` as feature `order[i]`.
    fn arranged(&mut self, s: &Sample, map: Map, order: Option<&Arc<[u32]>>) -> OpResult<Net> {
        let own = self.net.map(s.value);
        let same = match (order, &s.order) {
            (None, None) => true,
            (Some(a), Some(b)) => a == b,
            _ => false,
        };
        if own == map && same {
            return Ok(s.value);
        }
        let n = own.features() as u32;
        let place = |order: Option<&Arc<[u32]>>, i: u32| order.map_or(i, |o| o[i as usize]);
        let mut from = vec![0; n as usize];
        for i in 0..n {
            from[place(order, i) as usize] = place(s.order.as_ref(), i);
        }
        self.net.rearrange(s.value, map, &from).map_err(refused)
    }

    /// A value whose features are the elements of the node's output, in order.
    pub(crate) fn in_order(&self, value: Net) -> Sample {
        Sample {
            value,
            shape: self.output.clone(),
            order: None,
        }
    }

    /// What `f` adds to the network, for every element by itself.
    pub(crate) fn elementwise(
        &mut self,
        f: impl FnOnce(&mut Builder, Net) -> Net,
    ) -> OpResult<Sample> {
        let s = self.sample(0)?;
        Ok(Sample {
            value: f(self.net, s.value),
            ..s
        })
    }

    /// What `f` adds to the network for the sample as a map.
    pub(crate) fn windowed(
        &mut self,
        f: impl FnOnce(&mut Builder, Net) -> Result<Net, KernelError>,
    ) -> OpResult<Sample> {
        let s = self.sample(0)?;
        let x = self.spatial(&s)?;
        let y = f(self.net, x).map_err(refused)?;
        Ok(self.in_order(y))
    }

    /// `scale x + shift` per element of the sample, in row-major order.
    pub(crate) fn scaled(&mut self, s: &Sample, scale: &[f32], shift: &[f32]) -> OpResult<Sample> {
        let map = self.net.map(s.value);
        let pixels = map.height * map.width;
        let by_feature = |given: &[f32]| -> Vec<f32> {
            let mut all = vec![0.0; given.len()];
            for (i, v) in given.iter().enumerate() {
                all[s.order.as_ref().map_or(i, |o| o[i] as usize)] = *v;
            }
            all
        };
        let (scale, shift) = (by_feature(scale), by_feature(shift));
        let by_channel =
            |all: &[f32]| -> Vec<f32> { all.iter().step_by(pixels.max(1)).copied().collect() };
        let is_by_channel = |all: &[f32]| {
            all.chunks(pixels.max(1))
                .all(|c| c.iter().all(|v| *v == c[0]))
        };
        if is_by_channel(&scale) && is_by_channel(&shift) {
            let numbers = Scale::new(by_channel(&scale), by_channel(&shift));
            let value = self.net.scale(s.value, numbers).map_err(refused)?;
            return Ok(Sample { value, ..s.clone() });
        }
        // One number per feature: every feature is a channel of its own.
        let flat = Map::new(map.features(), 1, 1);
        let all: Vec<u32> = (0..map.features() as u32).collect();
        let value = self.net.rearrange(s.value, flat, &all).map_err(refused)?;
        let value = self
            .net
            .scale(value, Scale::new(scale, shift))
            .map_err(refused)?;
        Ok(Sample { value, ..s.clone() })
    }

    /// The sum of two samples of one shape.
    pub(crate) fn sum(&mut self, a: &Sample, b: &Sample) -> OpResult<Sample> {
        if a.shape != b.shape {
            return Err(format!("shapes {:?} and {:?} differ", a.shape, b.shape));
        }
        let map = self.net.map(a.value);
        let other = self.arranged(b, map, a.order.as_ref())?;
        let value = self.net.add(a.value, other).map_err(refused)?;
        Ok(Sample { value, ..a.clone() })
    }

    /// The product of the last axis with a matrix: `weight(i, o)` for `width` inputs and `bias.len()` outputs.
    pub(crate) fn dense(
        &mut self,
        s: &Sample,
        width: usize,
        weight: impl Fn(usize, usize) -> f32,
        bias: Vec<f32>,
    ) -> OpResult<Sample> {
        let out = bias.len();
        let (Some((last, rows)), true) = (s.shape.split_last(), out > 0) else {
            return Err(format!("a matrix times a sample of shape {:?}", s.shape));
        };
        if *last != width {
            return Err(format!(
                "a matrix of {width} rows times shape {:?}",
                s.shape
            ));
        }
        let rows: usize = rows.iter().product();
        if rows == 1 {
            // Weights go to where the elements are.
            let mut weights = vec![0.0; width * out];
            for i in 0..width {
                let at = s.order.as_ref().map_or(i, |o| o[i] as usize);
                for o in 0..out {
                    weights[o * width + at] = weight(i, o);
                }
            }
            let y = self.net.dense(s.value, weights, bias).map_err(refused)?;
            return Ok(self.in_order(y));
        }
        // Rows are pixels, and the matrix a convolution of one pixel.
        let by_row = |width: usize| -> Arc<[u32]> {
            (0..rows * width)
                .map(|i| (i % width * rows + i / width) as u32)
                .collect()
        };
        let x = self.arranged(s, Map::new(width, 1, rows), Some(&by_row(width)))?;
        let weights = (0..out).flat_map(|o| (0..width).map(move |i| (i, o)));
        let mut convolution = proofmark_kernels::Convolution::new(
            weights.map(|(i, o)| weight(i, o)).collect(),
            out,
            [1, 1].into(),
        );
        convolution.bias = bias;
        let value = self.net.convolution(x, convolution).map_err(refused)?;
        Ok(Sample {
            value,
            shape: self.output.clone(),
            order: Some(by_row(out)),
        })
    }

    /// Several samples beside each other along their first axis.
    pub(crate) fn joined(&mut self, parts: &[Sample]) -> OpResult<Sample> {
        let maps = parts
            .iter()
            .map(|p| self.spatial(p))
            .collect::<OpResult<Vec<_>>>()?;
        let y = self.net.join(&maps).map_err(refused)?;
        Ok(self.in_order(y))
    }
}

/// Numbers as `f32`.
pub(crate) fn floats(array: &Array) -> OpResult<Vec<f32>> {
    if !array.dtype().is_float() {
        return Err(format!(
            "{} where floating point is computed",
            array.dtype()
        ));
    }
    Ok(array.to_f64()?.into_iter().map(|v| v as f32).collect())
}

#[allow(clippy::needless_pass_by_value)] // what `map_err` hands over
fn refused(e: KernelError) -> String {
    e.to_string()
}

impl Graph {
    /// The network that computes a slot from the graph's only input, or why there is none. `shapes` are those seen with
    /// one sample.
    pub(crate) fn lowered(
        &self,
        plan: &Plan,
        shapes: &[Option<Vec<usize>>],
        slot: Slot,
    ) -> OpResult<Network> {
        let [input] = *self.inputs.as_slice() else {
            return Err("it has several inputs".into());
        };
        let one = |slot: Slot| match shapes[slot].as_deref() {
            Some([1, rest @ ..]) => Ok(rest.to_vec()),
            other => Err(format!(
                "value `{}` has shape {other:?} for one sample",
                self.name(slot)
            )),
        };
        let shape = one(input)?;
        let features: usize = shape.iter().product();
        let map = match *shape.as_slice() {
            [c, h, w] => Map::new(c, h, w),
            _ => Map::new(features, 1, 1),
        };
        let mut net = Builder::new(map).map_err(refused)?;
        let start = Sample {
            value: net.input(),
            shape,
            order: None,
        };
        let mut found: BTreeMap<Slot, OpResult<Sample>> = BTreeMap::new();
        found.insert(input, Ok(start));
        for (at, _) in &plan.steps {
            let node = &self.nodes[*at];
            let Some(output) = node.outputs.first().copied().flatten() else {
                continue;
            };
            let read = |slot: &Option<Slot>| match slot {
                None => Input::Missing,
                Some(slot) => match (&self.known[*slot], found.get(slot)) {
                    (Some(known), _) => match known.clone().host() {
                        Ok(a) => Input::Constant(a),
                        Err(why) => Input::Not(why),
                    },
                    (None, Some(Ok(s))) => Input::Sample(s.clone()),
                    (None, Some(Err(why))) => Input::Not(why.clone()),
                    _ => Input::Not(format!("value `{}` is not followed", self.name(*slot))),
                },
            };
            let inputs = node.inputs.iter().map(read).collect();
            let said = |why: String| format!("node `{}` ({}): {why}", node.name, node.op);
            let result = one(output).and_then(|shape| {
                let lowering = node.lowering.as_ref().ok_or("no kernel computes it");
                let mut lower = Lower {
                    net: &mut net,
                    inputs,
                    output: shape.clone(),
                };
                // What an input lacks is said as it stands: the node that lacks it comes first.
                let not = lower.inputs.iter().find_map(|i| match i {
                    Input::Not(why) => Some(why.clone()),
                    _ => None,
                });
                let sample = lowering
                    .map_err(|e| said(e.to_owned()))
                    .and_then(|l| l(&mut lower).map_err(|e| not.unwrap_or_else(|| said(e))))?;
                if sample.shape == shape {
                    Ok(sample)
                } else {
                    Err(said(format!(
                        "shape {shape:?} was lowered to {:?}",
                        sample.shape
                    )))
                }
            });
            found.insert(output, result);
        }
        let end = match found.remove(&slot) {
            Some(end) => end?,
            None => return Err(format!("value `{}` is not followed", self.name(slot))),
        };
        let mut lower = Lower {
            net: &mut net,
            inputs: Vec::new(),
            output: Vec::new(),
        };
        let own = lower.net.map(end.value);
        let value = lower.arranged(&end, own, None)?;
        Ok(net.finish(value))
    }
}
