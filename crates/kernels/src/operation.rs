//! The operations that a network is built of, with their constants.

use std::sync::Arc;

use crate::KernelError;
use crate::epilogue::Clamp;
use crate::kernel::Stage;
use crate::lanes::LANES;
use crate::shape::Map;
use crate::window::Window;

/// A convolution; a dense layer is one whose window is the whole map.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Convolution {
    /// `[out, in / groups, height, width]`, line by line.
    pub weights: Vec<f32>,
    /// One per output channel, or none.
    pub bias: Vec<f32>,
    /// Output channels.
    pub out: usize,
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Kernel size, stride, padding, dilation.
    pub window: Window,
}

impl Convolution {
    /// A convolution with one group and no bias.
    pub fn new(weights: Vec<f32>, out: usize, window: Window) -> Self {
        Self {
            weights,
            bias: Vec::new(),
            out,
            groups: 1,
            window,
        }
    }

    /// The output's shape, if everything fits.
    pub(crate) fn over(&self, map: Map) -> Result<Map, KernelError> {
        let fault = |problem: String| Err(KernelError::shape("convolution", problem));
        let (c, groups) = (map.channels, self.groups);
        if groups == 0
            || !c.is_multiple_of(groups)
            || self.out == 0
            || !self.out.is_multiple_of(groups)
        {
            return fault(format!("{c} channels to {} in {groups} groups", self.out));
        }
        let count = self.out * (c / groups) * self.window.size[0] * self.window.size[1];
        if self.weights.len() != count {
            return fault(format!("{} weights; expected {count}", self.weights.len()));
        }
        if !self.bias.is_empty() && self.bias.len() != self.out {
            return fault(format!(
                "{} biases for {} channels",
                self.bias.len(),
                self.out
            ));
        }
        let [height, width] = self.window.over("convolution", map)?;
        Ok(Map::new(self.out, height, width))
    }

    /// Groups that are computed apart: as many of its own as it takes to fill whole blocks go together, with weights of 0
    /// between them.
    pub(crate) fn groups_apart(&self, map: Map) -> usize {
        let fills = |channels: usize, apart: usize| (channels / apart).is_multiple_of(LANES);
        let apart = (1..=self.groups)
            .rev()
            .filter(|n| self.groups.is_multiple_of(*n));
        let mut apart = apart.filter(|n| fills(map.channels, *n) && fills(self.out, *n));
        apart.next().unwrap_or(1)
    }

    /// Whether each output channel reads the input channel of its own number alone.
    pub(crate) fn is_depthwise(&self, map: Map) -> bool {
        self.groups > 1 && self.groups == map.channels && self.out == map.channels
    }

    /// The weight of an output channel for an input channel (of all) at a place in the window.
    pub(crate) fn weight(&self, map: Map, o: usize, c: usize, tap: usize) -> f32 {
        let each = map.channels / self.groups;
        if o / (self.out / self.groups) != c / each {
            return 0.0;
        }
        let taps = self.window.size[0] * self.window.size[1];
        self.weights[(o * each + c % each) * taps + tap]
    }

    /// The same of `scale x + shift`, per input channel. Right without padding, which would be shifted too.
    pub(crate) fn after(&mut self, map: Map, scale: &[f32], shift: &[f32]) {
        let (each, taps) = (
            map.channels / self.groups,
            self.window.size[0] * self.window.size[1],
        );
        self.bias.resize(self.out, 0.0);
        for o in 0..self.out {
            let group = o / (self.out / self.groups);
            for k in 0..each {
                let c = group * each + k;
                for w in &mut self.weights[(o * each + k) * taps..][..taps] {
                    self.bias[o] += *w * shift[c];
                    *w *= scale[c];
                }
            }
        }
    }

    /// `scale` times the outputs, plus `shift`, per output channel.
    pub(crate) fn scaled(&mut self, scale: &[f32], shift: &[f32]) {
        let each = self.weights.len() / self.out;
        for (weights, scale) in self.weights.chunks_exact_mut(each.max(1)).zip(scale) {
            for w in weights {
                *w *= scale;
            }
        }
        self.bias.resize(self.out, 0.0);
        for ((bias, scale), shift) in self.bias.iter_mut().zip(scale).zip(shift) {
            *bias = *bias * scale + shift;
        }
    }
}

/// A number times each channel, plus another.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Scale {
    /// One factor per channel.
    pub scale: Vec<f32>,
    /// One summand per channel.
    pub shift: Vec<f32>,
}

impl Scale {
    /// `scale x + shift`, one of each per channel.
    pub fn new(scale: Vec<f32>, shift: Vec<f32>) -> Self {
        Self { scale, shift }
    }
}

/// An operation on values of the network, by their numbers.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Input,
    Convolution(usize, Convolution),
    Scale(usize, Scale),
    /// The mean over windows; padding counts as 0.
    Average(usize, Window),
    Largest(usize, Window),
    Add(usize, usize),
    Clamp(usize, Clamp),
    /// One function after another, of each value.
    Pointwise(usize, Arc<[Stage]>),
    Join(Vec<usize>),
    /// Feature `i` is feature `order[i]` of the value.
    Rearrange(usize, Arc<[u32]>),
    /// Factor and summand per feature.
    Affine(usize, Arc<[f32]>, Arc<[f32]>),
    Multiply(usize, usize),
    Product(usize, usize),
    /// One pixel for all of a map.
    Spread(usize),
    /// With its epsilon.
    Normalise(usize, f32),
    /// Of a number times the value; whether the logarithm, and that number.
    Softmax(usize, bool, f32),
}

impl Operation {
    /// The values it reads.
    pub(crate) fn inputs(&self) -> Vec<usize> {
        match self {
            Self::Input => Vec::new(),
            Self::Convolution(x, _)
            | Self::Scale(x, _)
            | Self::Average(x, _)
            | Self::Largest(x, _)
            | Self::Clamp(x, _)
            | Self::Pointwise(x, _)
            | Self::Rearrange(x, _)
            | Self::Affine(x, ..)
            | Self::Spread(x)
            | Self::Normalise(x, _)
            | Self::Softmax(x, ..) => vec![*x],
            Self::Add(a, b) | Self::Multiply(a, b) | Self::Product(a, b) => vec![*a, *b],
            Self::Join(parts) => parts.clone(),
        }
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Convolution(..) => "convolution",
            Self::Scale(..) => "scale",
            Self::Average(..) => "average",
            Self::Largest(..) => "largest",
            Self::Add(..) => "add",
            Self::Clamp(..) => "clamp",
            Self::Pointwise(..) => "function",
            Self::Join(_) => "join",
            Self::Rearrange(..) => "rearrange",
            Self::Affine(..) => "affine",
            Self::Multiply(..) => "multiply",
            Self::Product(..) => "product",
            Self::Spread(_) => "spread",
            Self::Normalise(..) => "normalise",
            Self::Softmax(_, false, _) => "softmax",
            Self::Softmax(_, true, _) => "log softmax",
        }
    }
}
