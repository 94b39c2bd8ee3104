//! Describes a network, operation by operation, and checks its shapes.

use std::sync::Arc;

use crate::epilogue::Clamp;
use crate::kernel::max_pool::MOST_TAPS;
use crate::kernel::{Function, Stage};
use crate::operation::{Convolution, Operation, Scale};
use crate::shape::Map;
use crate::window::Window;
use crate::{KernelError, Network};

/// A value of a network that is being described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value(pub(crate) usize);

/// Describes a network of one input and one output.
///
/// ```
/// use proofmark_kernels::{Builder, Clamp, Convolution, Map};
///
/// let mut net = Builder::new(Map::new(2, 1, 1))?;
/// let x = net.input();
/// let hidden = net.dense(x, vec![1.0, -1.0, 0.5, 2.0], vec![0.0, 1.0])?;
/// let hidden = net.clamp(hidden, Clamp::Leaky { slope: 0.0 });
/// let scores = net.dense(hidden, vec![1.0, 1.0], vec![])?;
/// let net = net.finish(scores);
/// assert_eq!(net.forward(&[3.0, 1.0]), [2.0 + 4.5]); // relu(3 - 1) + relu(1.5 + 2 + 1)
/// # Ok::<(), proofmark_kernels::KernelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Builder {
    pub(crate) operations: Vec<Operation>,
    pub(crate) maps: Vec<Map>,
    /// The node that each operation came from; empty if it was not named.
    pub(crate) names: Vec<Arc<str>>,
    /// The node that operations come from now.
    node: Arc<str>,
}

impl Builder {
    /// A network whose rows have this shape. An error if it has no features.
    pub fn new(input: Map) -> Result<Self, KernelError> {
        if input.features() == 0 {
            return Err(KernelError::shape(
                "input",
                format!("{input:?} has no features"),
            ));
        }
        Ok(Self {
            operations: vec![Operation::Input],
            maps: vec![input],
            names: vec![Arc::default()],
            node: Arc::default(),
        })
    }

    /// The input.
    pub const fn input(&self) -> Value {
        Value(0)
    }

    /// The shape of a value.
    pub fn map(&self, value: Value) -> Map {
        self.maps[value.0]
    }

    /// Names the node that the operations added from here on come from, for messages.
    pub fn set_node(&mut self, name: &str) {
        self.node = name.into();
    }

    fn push(&mut self, operation: Operation, map: Map) -> Value {
        self.operations.push(operation);
        self.maps.push(map);
        self.names.push(Arc::clone(&self.node));
        Value(self.maps.len() - 1)
    }

    /// A convolution.
    pub fn convolution(
        &mut self,
        x: Value,
        convolution: Convolution,
    ) -> Result<Value, KernelError> {
        let map = convolution.over(self.map(x))?;
        Ok(self.push(Operation::Convolution(x.0, convolution), map))
    }

    /// A dense layer over all features, channel by channel: `weights` is `[out, features]`, `bias` has one number per
    /// output or none.
    pub fn dense(
        &mut self,
        x: Value,
        weights: Vec<f32>,
        bias: Vec<f32>,
    ) -> Result<Value, KernelError> {
        let map = self.map(x);
        if weights.is_empty() || !weights.len().is_multiple_of(map.features()) {
            let problem = format!("{} weights for {} features", weights.len(), map.features());
            return Err(KernelError::shape("dense", problem));
        }
        let out = weights.len() / map.features();
        let mut convolution = Convolution::new(weights, out, Window::from([map.height, map.width]));
        convolution.bias = bias;
        self.convolution(x, convolution)
    }

    /// Scale and shift per channel.
    pub fn scale(&mut self, x: Value, scale: Scale) -> Result<Value, KernelError> {
        let map = self.map(x);
        if scale.scale.len() != map.channels || scale.shift.len() != map.channels {
            let given = (scale.scale.len(), scale.shift.len());
            return Err(KernelError::shape(
                "scale",
                format!("{given:?} numbers for {} channels", map.channels),
            ));
        }
        Ok(self.push(Operation::Scale(x.0, scale), map))
    }

    /// The mean of each window; padding counts as 0.
    pub fn average(&mut self, x: Value, window: Window) -> Result<Value, KernelError> {
        let map = self.map(x);
        let [height, width] = window.over("average", map)?;
        Ok(self.push(
            Operation::Average(x.0, window),
            Map::new(map.channels, height, width),
        ))
    }

    /// The largest value of each window; padding never counts.
    pub fn largest(&mut self, x: Value, window: Window) -> Result<Value, KernelError> {
        let map = self.map(x);
        let [height, width] = window.over("largest", map)?;
        let taps = window.size[0] * window.size[1];
        if taps > MOST_TAPS {
            return Err(KernelError::unsupported(
                "largest",
                format!("windows of {taps} pixels"),
            ));
        }
        let phase = window.forward([height, width]);
        let (rows, columns): (Vec<isize>, Vec<isize>) =
            phase.taps.iter().map(|t| (t.dy, t.dx)).unzip();
        let sees = |at: usize, taps: &[isize], length: usize| {
            taps.iter()
                .any(|d| (0..length as isize).contains(&(at as isize + d)))
        };
        if (0..height).any(|y| !sees(y * window.stride[0], &rows, map.height))
            || (0..width).any(|x| !sees(x * window.stride[1], &columns, map.width))
        {
            return Err(KernelError::unsupported(
                "largest",
                format!("a window over padding alone in {window:?}"),
            ));
        }
        Ok(self.push(
            Operation::Largest(x.0, window),
            Map::new(map.channels, height, width),
        ))
    }

    /// The sum of two values of one shape.
    pub fn add(&mut self, a: Value, b: Value) -> Result<Value, KernelError> {
        let (x, y) = (self.map(a), self.map(b));
        if x != y {
            return Err(KernelError::shape("add", format!("{x:?} and {y:?}")));
        }
        Ok(self.push(Operation::Add(a.0, b.0), x))
    }

    /// An activation that is linear in pieces.
    pub fn clamp(&mut self, x: Value, clamp: Clamp) -> Value {
        self.push(Operation::Clamp(x.0, clamp), self.map(x))
    }

    /// Any other activation.
    pub fn smooth(&mut self, x: Value, function: Function) -> Value {
        let stages = [Stage::Apply(function)].into();
        self.push(Operation::Pointwise(x.0, stages), self.map(x))
    }

    /// Values of one height and width beside each other, channel by channel.
    pub fn join(&mut self, parts: &[Value]) -> Result<Value, KernelError> {
        let maps: Vec<Map> = parts.iter().map(|v| self.map(*v)).collect();
        let Some(first) = maps.first() else {
            return Err(KernelError::shape("join", "no values"));
        };
        if maps
            .iter()
            .any(|m| (m.height, m.width) != (first.height, first.width))
        {
            return Err(KernelError::shape("join", format!("{maps:?}")));
        }
        let channels = maps.iter().map(|m| m.channels).sum();
        let map = Map::new(channels, first.height, first.width);
        Ok(self.push(Operation::Join(parts.iter().map(|v| v.0).collect()), map))
    }

    /// One factor and one summand per feature, channel by channel.
    pub fn affine(&mut self, x: Value, scale: &[f32], shift: &[f32]) -> Result<Value, KernelError> {
        let map = self.map(x);
        if scale.len() != map.features() || shift.len() != map.features() {
            let given = (scale.len(), shift.len());
            return Err(KernelError::shape(
                "affine",
                format!("{given:?} numbers for {} features", map.features()),
            ));
        }
        Ok(self.push(Operation::Affine(x.0, scale.into(), shift.into()), map))
    }

    /// A map of this height and width that has the only pixel of `x` everywhere.
    pub fn spread(&mut self, x: Value, height: usize, width: usize) -> Result<Value, KernelError> {
        let map = self.map(x);
        if (map.height, map.width) != (1, 1) || height == 0 || width == 0 {
            return Err(KernelError::shape(
                "spread",
                format!("{map:?} to {height} x {width}"),
            ));
        }
        Ok(self.push(
            Operation::Spread(x.0),
            Map::new(map.channels, height, width),
        ))
    }

    /// The product of two values of one shape, feature by feature.
    pub fn multiply(&mut self, a: Value, b: Value) -> Result<Value, KernelError> {
        let (x, y) = (self.map(a), self.map(b));
        if x != y {
            return Err(KernelError::shape("multiply", format!("{x:?} and {y:?}")));
        }
        Ok(self.push(Operation::Multiply(a.0, b.0), x))
    }

    /// Products of matrices, one per line: `[k, lines, m]` and `[n, lines, k]` to `[n, lines, m]`. Pixels of a line are
    /// the rows of its matrix, channels the columns.
    pub fn product(&mut self, a: Value, b: Value) -> Result<Value, KernelError> {
        let (x, y) = (self.map(a), self.map(b));
        if x.height != y.height || x.channels != y.width {
            return Err(KernelError::shape("product", format!("{x:?} times {y:?}")));
        }
        Ok(self.push(
            Operation::Product(a.0, b.0),
            Map::new(y.channels, x.height, x.width),
        ))
    }

    /// Layer normalisation over the channels of each pixel, without scale and shift.
    pub fn normalise(&mut self, x: Value, epsilon: f32) -> Value {
        self.push(Operation::Normalise(x.0, epsilon), self.map(x))
    }

    /// Softmax over the channels of each pixel, or its logarithm.
    pub fn softmax(&mut self, x: Value, is_log: bool) -> Value {
        self.push(Operation::Softmax(x.0, is_log, 1.0), self.map(x))
    }

    /// A map of another shape with features of `x` in another order: its feature `i` is feature `order[i]` of `x`, both
    /// counted channel by channel. No feature is named twice; those that are not named are left out.
    pub fn rearrange(&mut self, x: Value, map: Map, order: &[u32]) -> Result<Value, KernelError> {
        let features = self.map(x).features();
        let mut named = vec![false; features];
        let is_new = |i: &u32| {
            named
                .get_mut(*i as usize)
                .is_some_and(|n| !std::mem::replace(n, true))
        };
        if map.features() != order.len() || order.is_empty() || !order.iter().all(is_new) {
            let problem = format!(
                "an order of {} features from {features} to {map:?}",
                order.len()
            );
            return Err(KernelError::shape("rearrange", problem));
        }
        Ok(self.push(Operation::Rearrange(x.0, order.into()), map))
    }

    /// The network that computes `output`, with the widest instruction set there is.
    pub fn finish(self, output: Value) -> Network {
        self.finish_for(output, crate::Isa::detect())
    }

    /// The same with an instruction set of [`crate::Isa::all`].
    pub fn finish_for(self, output: Value, isa: crate::Isa) -> Network {
        assert!(
            crate::Isa::all().contains(&isa),
            "this processor lacks {}",
            isa.name()
        );
        Network::compile(&self, output.0, isa)
    }
}
