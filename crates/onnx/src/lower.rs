//! From a graph of operators to a network of [`proofmark_kernels`], where every operator on the way to the scores has a
//! lowering (see [`OperatorEntry::lowered`](crate::op::OperatorEntry)).
//!
//! A lowering describes its operator for one sample, in the shapes that a run with a single one has shown. Nothing in it
//! knows of a batch, so what the network gives for a sample cannot depend on others. The model compares the network with
//! the operators themselves on several samples before it uses it.

mod sample;

use std::collections::BTreeMap;
use std::sync::Arc;

use proofmark_kernels::{Builder, KernelError, Map, Scale, Value as Net};

pub(crate) use sample::Sample;

use crate::array::Array;
use crate::graph::{Graph, Plan, Slot};
use crate::node::OpResult;

/// An operator's part in a network. It is asked once for each of the node's outputs.
pub(crate) type Lowering = Box<dyn Fn(&mut Lower<'_>) -> OpResult<Sample> + Send + Sync>;

/// Wraps the lowering of an operator's first output; its other outputs (a mask, indices, statistics) have none.
pub(crate) fn lowering(
    f: impl Fn(&mut Lower<'_>) -> OpResult<Sample> + Send + Sync + 'static,
) -> OpResult<Lowering> {
    lowering_of_all(move |x| match x.which {
        0 => f(x),
        which => Err(format!("no kernel computes output {which}")),
    })
}

/// Wraps the lowering of all outputs of an operator ([`Lower::which`]).
#[allow(clippy::unnecessary_wraps)] // every builder ends with it
pub(crate) fn lowering_of_all(
    f: impl Fn(&mut Lower<'_>) -> OpResult<Sample> + Send + Sync + 'static,
) -> OpResult<Lowering> {
    Ok(Box::new(f))
}

/// An input of a node.
#[derive(Debug, Clone)]
enum Input {
    Sample(Sample),
    Constant(Array),
    Missing,
    /// Why it is not part of the network.
    Not(String),
}

/// Context of an operator's lowering: its inputs and the network built so far.
pub(crate) struct Lower<'a> {
    net: &'a mut Builder,
    inputs: Vec<Input>,
    /// Which of the node's outputs is asked for.
    which: usize,
    /// Its shape for one sample.
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

    /// Input `i`, which is the same for all samples, as whole numbers; `None` if it is left out.
    pub(crate) fn ints(&self, i: usize) -> OpResult<Option<Vec<i64>>> {
        match self.inputs.get(i) {
            Some(Input::Missing) | None => Ok(None),
            _ => self.constant(i)?.to_ints().map(Some),
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

    /// Which of the node's outputs is asked for.
    pub(crate) fn which(&self) -> usize {
        self.which
    }

    /// Shape of that output for one sample.
    pub(crate) fn output(&self) -> &[usize] {
        &self.output
    }

    /// The sample `[1, channels, lengths ..]` as a map: channels, then height and width where it has them.
    pub(crate) fn spatial(&mut self, s: &Sample) -> OpResult<Net> {
        let map = match *s.shape() {
            [1, c] => Map::new(c, 1, 1),
            [1, c, w] => Map::new(c, 1, w),
            [1, c, h, w] => Map::new(c, h, w),
            _ => return Err(format!("windows over a sample of shape {:?}", s.shape())),
        };
        s.arranged(self.net, map, None)
    }

    /// The sample with the lengths `axes` as channels and all others as pixels, and the order of its elements in that.
    fn by_channels(&mut self, s: &Sample, axes: &[usize]) -> OpResult<(Net, Arc<[u32]>)> {
        let (map, order) = s.with_channels(axes);
        let order: Arc<[u32]> = order.into();
        // Operations that mix channels do not depend on how pixels are arranged in lines.
        let own = self.net.map(s.value());
        let same = |i: usize| s.place(i) == order[i] as usize;
        if own.channels == map.channels
            && own.features() == map.features()
            && (0..order.len()).all(same)
        {
            return Ok((s.value(), order));
        }
        Ok((s.arranged(self.net, map, Some(&order))?, order))
    }

    /// Applies `f` to the sample with `axes` as channels; the shape stays the same.
    pub(crate) fn mixed(
        &mut self,
        axes: &[usize],
        f: impl FnOnce(&mut Builder, Net) -> Result<Net, KernelError>,
    ) -> OpResult<Sample> {
        let s = self.sample(0)?;
        let (x, order) = self.by_channels(&s, axes)?;
        let y = f(self.net, x).map_err(refused)?;
        Ok(Sample::new(y, s.shape().to_vec(), Some(order)))
    }

    /// The mean over some axes.
    pub(crate) fn mean(&mut self, axes: &[usize]) -> OpResult<Sample> {
        let s = self.sample(0)?;
        let kept: Vec<usize> = (0..s.shape().len()).filter(|a| !axes.contains(a)).collect();
        let (x, _) = self.by_channels(&s, &kept)?;
        let map = self.net.map(x);
        let all = [map.height, map.width].into();
        let y = self.net.average(x, all).map_err(refused)?;
        Ok(self.in_order(y))
    }

    /// A value whose features are the elements of the node's output, in order.
    pub(crate) fn in_order(&self, value: Net) -> Sample {
        Sample::new(value, self.output.clone(), None)
    }

    /// Applies `f`, which works on every element separately.
    pub(crate) fn elementwise(
        &mut self,
        f: impl FnOnce(&mut Builder, Net) -> Net,
    ) -> OpResult<Sample> {
        let s = self.sample(0)?;
        Ok(s.with_value(f(self.net, s.value())))
    }

    /// Applies `f` to the sample as a map.
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
        let s = s.whole(self.net)?;
        let map = self.net.map(s.value());
        let pixels = map.height * map.width;
        let (scale, shift) = (s.by_feature(scale), s.by_feature(shift));
        let by_channel =
            |all: &[f32]| -> Vec<f32> { all.iter().step_by(pixels).copied().collect() };
        let is_by_channel = |all: &[f32]| all.chunks(pixels).all(|c| c.iter().all(|v| *v == c[0]));
        let value = if is_by_channel(&scale) && is_by_channel(&shift) {
            let numbers = Scale::new(by_channel(&scale), by_channel(&shift));
            self.net.scale(s.value(), numbers)
        } else {
            self.net.affine(s.value(), &scale, &shift)
        };
        Ok(s.with_value(value.map_err(refused)?))
    }

    /// Two samples of one shape, put together by `f` element by element.
    pub(crate) fn paired(
        &mut self,
        a: &Sample,
        b: &Sample,
        f: impl FnOnce(&mut Builder, Net, Net) -> Result<Net, KernelError>,
    ) -> OpResult<Sample> {
        let (a, b) = (self.spread(a, b)?, self.spread(b, a)?);
        if a.shape() != b.shape() {
            return Err(format!("shapes {:?} and {:?} differ", a.shape(), b.shape()));
        }
        let (a, b) = (a.whole(self.net)?, b.whole(self.net)?);
        // Of two ways to lay out the same elements the one with a single line is what matrices take.
        let lines = |s: &Sample, net: &Builder| net.map(s.value()).height;
        let is_first = lines(&a, self.net) <= lines(&b, self.net);
        let (kept, other) = if is_first { (&a, &b) } else { (&b, &a) };
        let other = other.arranged(self.net, self.net.map(kept.value()), kept.order())?;
        let (left, right) = if is_first {
            (kept.value(), other)
        } else {
            (other, kept.value())
        };
        Ok(kept.with_value(f(self.net, left, right).map_err(refused)?))
    }

    /// A sample `[1, channels, 1, 1]` with the height and width of another; any other sample as it is.
    fn spread(&mut self, s: &Sample, like: &Sample) -> OpResult<Sample> {
        match (s.shape(), like.shape()) {
            (&[1, c, 1, 1], &[1, d, h, w]) if c == d && (h, w) != (1, 1) => {
                let x = self.spatial(s)?;
                let y = self.net.spread(x, h, w).map_err(refused)?;
                Ok(Sample::new(y, vec![1, c, h, w], None))
            }
            _ => Ok(s.clone()),
        }
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
        let Some(last) = s.shape().last().filter(|n| **n == width && out > 0) else {
            return Err(format!(
                "a matrix of {width} rows times shape {:?}",
                s.shape()
            ));
        };
        if s.elements() == *last {
            // Weights go to where the elements are.
            let s = s.whole(self.net)?;
            let mut weights = vec![0.0; width * out];
            for i in 0..width {
                for o in 0..out {
                    weights[o * width + s.place(i)] = weight(i, o);
                }
            }
            let y = self.net.dense(s.value(), weights, bias).map_err(refused)?;
            return Ok(self.in_order(y));
        }
        // Rows are pixels, and the matrix a convolution of one pixel.
        let (x, _) = self.by_channels(s, &[s.shape().len() - 1])?;
        let weights = (0..out).flat_map(|o| (0..width).map(move |i| (i, o)));
        let mut convolution = proofmark_kernels::Convolution::new(
            weights.map(|(i, o)| weight(i, o)).collect(),
            out,
            [1, 1].into(),
        );
        convolution.bias = bias;
        let value = self.net.convolution(x, convolution).map_err(refused)?;
        let rows = s.elements() / width;
        let order = (0..rows * out).map(|i| (i % out * rows + i / out) as u32);
        Ok(Sample::new(
            value,
            self.output.clone(),
            Some(order.collect()),
        ))
    }

    /// The products of two samples' matrices, in their last two axes.
    pub(crate) fn product(&mut self, a: &Sample, b: &Sample) -> OpResult<Sample> {
        let refuse = || format!("shapes {:?} times {:?}", a.shape(), b.shape());
        let ([lines @ .., m, k], [others @ .., l, n]) = (a.shape(), b.shape()) else {
            return Err(refuse());
        };
        if k != l || lines != others {
            return Err(refuse());
        }
        let (m, k, n, lines) = (*m, *k, *n, lines.iter().product::<usize>());
        // A matrix of so many rows and columns per line: rows are pixels, columns channels.
        let order = |rows: usize, columns: usize| -> Arc<[u32]> {
            let at = |i: usize| (i % columns * lines * rows + i / columns) as u32;
            (0..lines * rows * columns).map(at).collect()
        };
        let left = a.arranged(self.net, Map::new(k, lines, m), Some(&order(m, k)))?;
        let right = b.arranged(self.net, Map::new(n, lines, k), Some(&order(k, n)))?;
        let value = self.net.product(left, right).map_err(refused)?;
        Ok(Sample::new(value, self.output.clone(), Some(order(m, n))))
    }

    /// Several samples beside each other along an axis.
    pub(crate) fn joined(&mut self, parts: &[Sample], axis: usize) -> OpResult<Sample> {
        let lines: usize = self.output[..axis].iter().product();
        if lines != 1 {
            return Err(format!(
                "values put together along axis {axis} of shape {:?}",
                self.output
            ));
        }
        let is_image = axis == 1 && (2..=4).contains(&self.output.len());
        let parts = parts.iter().map(|p| {
            if is_image {
                return self.spatial(p);
            }
            p.arranged(self.net, Map::new(p.elements(), 1, 1), None)
        });
        let parts = parts.collect::<OpResult<Vec<_>>>()?;
        let y = self.net.join(&parts).map_err(refused)?;
        Ok(self.in_order(y))
    }
}

/// Observations from a run with one sample.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The shape of every floating-point value.
    pub(crate) shapes: BTreeMap<Slot, Vec<usize>>,
    /// Values on the host that are the same for every sample: they come from sizes.
    pub(crate) steady: BTreeMap<Slot, Array>,
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
    /// The operations that compute a slot from the graph's only input and the value that holds it, or why there are none.
    /// `seen` is what a run with one sample has shown.
    pub(crate) fn lowered(&self, plan: &Plan, seen: &Seen, slot: Slot) -> OpResult<(Builder, Net)> {
        let [input] = *self.inputs.as_slice() else {
            return Err("it has several inputs".into());
        };
        let unknown = |slot: Slot| format!("value `{}` is not followed", self.name(slot));
        let shape_of = |slot: Slot| seen.shapes.get(&slot).cloned().ok_or_else(|| unknown(slot));
        let shape = shape_of(input)?;
        let map = match *shape.as_slice() {
            [1, c, h, w] => Map::new(c, h, w),
            _ => Map::new(shape.iter().product(), 1, 1),
        };
        let mut net = Builder::new(map).map_err(refused)?;
        let start = Sample::new(net.input(), shape, None);
        let mut found: BTreeMap<Slot, OpResult<Sample>> = BTreeMap::from([(input, Ok(start))]);
        for (at, _) in &plan.steps {
            let node = &self.nodes[*at];
            let read = |slot: &Option<Slot>| match slot {
                None => Input::Missing,
                Some(slot) => match (&self.known[*slot], found.get(slot)) {
                    (Some(known), _) => match known.clone().host() {
                        Ok(a) => Input::Constant(a),
                        Err(why) => Input::Not(why),
                    },
                    _ if seen.steady.contains_key(slot) => {
                        Input::Constant(seen.steady[slot].clone())
                    }
                    (None, Some(Ok(s))) => Input::Sample(s.clone()),
                    (None, Some(Err(why))) => Input::Not(why.clone()),
                    (None, None) => Input::Not(unknown(*slot)),
                },
            };
            let inputs: Vec<Input> = node.inputs.iter().map(read).collect();
            let problem = |why: &str| format!("node `{}` ({}): {why}", node.name, node.op);
            net.set_node(&format!("node `{}` ({})", node.name, node.op));
            for (which, output) in node.outputs.iter().enumerate() {
                let Some(output) = *output else { continue };
                let result = shape_of(output).and_then(|shape| {
                    let lowering = node.lowering.as_ref();
                    let lowering = lowering.ok_or_else(|| problem("no kernel computes it"))?;
                    let mut lower = Lower {
                        net: &mut net,
                        inputs: inputs.clone(),
                        which,
                        output: shape.clone(),
                    };
                    let sample = lowering(&mut lower).map_err(|why| {
                        // An input that is no part of the network has its own reason, at an earlier node.
                        let earlier = inputs.iter().find_map(|i| match i {
                            Input::Not(why) => Some(why.clone()),
                            _ => None,
                        });
                        earlier.unwrap_or_else(|| problem(&why))
                    })?;
                    if sample.shape() == shape {
                        Ok(sample)
                    } else {
                        Err(problem(&format!(
                            "shape {shape:?} became {:?}",
                            sample.shape()
                        )))
                    }
                });
                found.insert(output, result);
            }
        }
        let end = found.remove(&slot).unwrap_or_else(|| Err(unknown(slot)))?;
        let end = end.whole(&mut net)?;
        let map = net.map(end.value());
        let value = end.arranged(&mut net, map, None)?;
        Ok((net, value))
    }
}
