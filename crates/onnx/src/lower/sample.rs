//! A value of one sample while a graph is lowered: where each of its elements is among a network's features.

use std::sync::Arc;

use proofmark_kernels::{Builder, Map, Value as Net};

use super::{floats, refused};
use crate::array::Array;
use crate::node::OpResult;

/// A value of one sample.
///
/// Axes exchanged, shapes changed and parts taken cost nothing: they only change which feature an element is.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    value: Net,
    /// Its shape in the graph when it is run with one sample.
    shape: Vec<usize>,
    /// For each of its elements in row-major order, the feature of `value` that holds it; `None` if they are all
    /// features in order.
    order: Option<Arc<[u32]>>,
}

impl Sample {
    pub(super) fn new(value: Net, shape: Vec<usize>, order: Option<Arc<[u32]>>) -> Self {
        Self {
            value,
            shape,
            order,
        }
    }

    pub(super) fn with_value(&self, value: Net) -> Self {
        Self {
            value,
            ..self.clone()
        }
    }

    pub(super) const fn value(&self) -> Net {
        self.value
    }

    pub(super) const fn order(&self) -> Option<&Arc<[u32]>> {
        self.order.as_ref()
    }

    /// Its shape when the graph is run with one sample.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(super) fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The feature that holds element `i`.
    pub(super) fn place(&self, i: usize) -> usize {
        self.order.as_ref().map_or(i, |o| o[i] as usize)
    }

    /// The same elements in the same order, in another shape.
    pub(crate) fn reshaped(mut self, shape: &[usize]) -> Self {
        self.shape = shape.to_vec();
        self
    }

    /// Some of its elements in a shape: element `i` is element `from(i)` of this one. No element is taken twice.
    pub(crate) fn picked(&self, shape: Vec<usize>, from: impl Fn(usize) -> usize) -> Self {
        let n: usize = shape.iter().product();
        let order: Arc<[u32]> = (0..n).map(|i| self.place(from(i)) as u32).collect();
        Self {
            value: self.value,
            shape,
            order: Some(order),
        }
    }

    /// Its axes in another order.
    pub(crate) fn transposed(&self, axes: &[usize]) -> Self {
        let shape: Vec<usize> = axes.iter().map(|a| self.shape[*a]).collect();
        let strides: Vec<usize> = axes
            .iter()
            .map(|a| self.shape[a + 1..].iter().product())
            .collect();
        let lengths = shape.clone();
        self.picked(shape, |i| {
            let (mut rest, mut from) = (i, 0);
            for (length, stride) in lengths.iter().zip(&strides).rev() {
                from += rest % length * stride;
                rest /= length;
            }
            from
        })
    }

    /// Along an axis, the entries `at`, in a shape of the same rank.
    pub(crate) fn along(&self, axis: usize, at: &[usize]) -> Self {
        let mut shape = self.shape.clone();
        let length = shape[axis];
        shape[axis] = at.len();
        let after: usize = shape[axis + 1..].iter().product();
        self.picked(shape, |i| {
            let (before, rest) = (i / (at.len() * after), i % (at.len() * after));
            (before * length + at[rest / after]) * after + rest % after
        })
    }

    /// A map with some axes as channels and the others as pixels, and the feature of each element in it.
    pub(super) fn with_channels(&self, axes: &[usize]) -> (Map, Vec<u32>) {
        let channels: usize = axes.iter().map(|a| self.shape[*a]).product();
        let pixels = self.elements() / channels.max(1);
        let order = (0..self.elements()).map(|i| {
            let (mut rest, mut channel, mut pixel) = (i, 0, 0);
            let (mut channel_step, mut pixel_step) = (1, 1);
            for (axis, length) in self.shape.iter().enumerate().rev() {
                let at = rest % length;
                rest /= length;
                if axes.contains(&axis) {
                    channel += at * channel_step;
                    channel_step *= length;
                } else {
                    pixel += at * pixel_step;
                    pixel_step *= length;
                }
            }
            (channel * pixels + pixel) as u32
        });
        (Map::new(channels, 1, pixels), order.collect())
    }

    /// Its elements in a map, element `i` as feature `order[i]`; without an order, in order.
    pub(super) fn arranged(
        &self,
        net: &mut Builder,
        map: Map,
        order: Option<&Arc<[u32]>>,
    ) -> OpResult<Net> {
        let n = self.elements();
        let own = net.map(self.value);
        let place = |i: usize| order.map_or(i, |o| o[i] as usize);
        if own == map && (0..n).all(|i| place(i) == self.place(i)) {
            return Ok(self.value);
        }
        let mut from = vec![0; n];
        for i in 0..n {
            from[place(i)] = self.place(i) as u32;
        }
        net.rearrange(self.value, map, &from).map_err(refused)
    }

    /// The same with no other features than its own.
    pub(super) fn whole(&self, net: &mut Builder) -> OpResult<Self> {
        let n = self.elements();
        if net.map(self.value).features() == n {
            return Ok(self.clone());
        }
        let value = self.arranged(net, Map::new(n, 1, 1), None)?;
        Ok(Self::new(value, self.shape.clone(), None))
    }

    /// Numbers per element as numbers per feature; every feature is an element.
    pub(super) fn by_feature(&self, numbers: &[f32]) -> Vec<f32> {
        let mut all = vec![0.0; numbers.len()];
        for (i, number) in numbers.iter().enumerate() {
            all[self.place(i)] = *number;
        }
        all
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
        let new = self.shape.len().checked_sub(own.len()).ok_or_else(refuse)?;
        if own
            .iter()
            .zip(&self.shape[new..])
            .any(|(c, d)| c != d && *c != 1)
        {
            return Err(refuse());
        }
        let at = |i: usize| {
            let (mut rest, mut from, mut stride) = (i, 0, 1);
            for (axis, length) in self.shape.iter().enumerate().rev() {
                let at = rest % length;
                rest /= length;
                if let Some(c) = axis.checked_sub(new).map(|a| own[a]) {
                    from += if c == 1 { 0 } else { at * stride };
                    stride *= c;
                }
            }
            values[from]
        };
        Ok((0..self.elements()).map(at).collect())
    }
}
