//! Recurrent layers: RNN, GRU and LSTM.
//!
//! One matrix product computes the input's contribution to all steps; each step then adds the state's contribution.

use burn::tensor::Device;

use super::gate_function::Activation;
use super::microsoft::dynamic_product;
use super::{Gradient, OperatorEntry};
use crate::array::Array;
use crate::dtype::DType;
use crate::node::{Args, NodeSpec, OpResult, Run, run};
use crate::tensor::Tensor;
use crate::value::Value;

/// Type of the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Rnn,
    Gru {
        /// Whether the reset gate is applied after the state is multiplied by its weights, not before.
        linear_before_reset: bool,
    },
    Lstm {
        /// Whether the forget gate is one minus the input gate.
        input_forget: bool,
    },
}

impl Cell {
    fn gates(self) -> usize {
        match self {
            Self::Rnn => 1,
            Self::Gru { .. } => 3,
            Self::Lstm { .. } => 4,
        }
    }
}

struct Layer {
    cell: Cell,
    /// Whether each direction runs backwards, and its activation functions.
    directions: Vec<(bool, Vec<Activation>)>,
    hidden: Option<usize>,
    clip: Option<f64>,
    /// Whether the batch dimension comes before the steps.
    batch_first: bool,
    wants_steps: bool,
    /// Whether weights are integers with scales; the layer then quantises their factors by range.
    quantised: bool,
}

/// The inputs of a layer.
struct Given {
    /// `[steps * batch, features]`.
    input: Tensor,
    w: Tensor,
    r: Tensor,
    /// Scales of both per direction and gate, if they are integers.
    scales: Option<[Tensor; 2]>,
    bias: Option<Tensor>,
    masks: Option<Tensor>,
    first_hidden: Tensor,
    first_cell: Option<Tensor>,
    peepholes: Option<Tensor>,
    /// Steps, batch, features, hidden.
    sizes: [usize; 4],
    dtype: DType,
}

/// Parameters of one direction.
struct Direction<'a> {
    device: &'a Device,
    functions: &'a [Activation],
    /// The input's contribution to each step, `[steps, batch, gates * hidden]`.
    input: Tensor,
    /// `[hidden, gates * hidden]`.
    weights: Tensor,
    /// Scales of the weights, if they are integers.
    scales: Option<Tensor>,
    /// The state's bias of the last gate, if it cannot be added beforehand.
    late_bias: Option<Tensor>,
    /// Peepholes of the input, output and forget gates, each `[1, hidden]`.
    peepholes: Option<[Tensor; 3]>,
}

/// The state after a step.
#[derive(Clone)]
struct State {
    hidden: Tensor,
    cell: Option<Tensor>,
}

impl Layer {
    fn read(node: &NodeSpec<'_>, cell: Cell, defaults: &[Activation]) -> OpResult<Self> {
        let backwards: &[bool] = match node.text("direction", "forward")?.as_str() {
            "forward" => &[false],
            "reverse" => &[true],
            "bidirectional" => &[false, true],
            other => {
                return Err(format!(
                    "attribute `direction` is `{other}`; expected forward, reverse or bidirectional"
                ));
            }
        };
        let functions = Activation::read(node, backwards.len(), defaults)?;
        let layout = node.int("layout", 0)?;
        if !(0..=1).contains(&layout) {
            return Err(format!("attribute `layout` is {layout}; expected 0 or 1"));
        }
        let hidden = node
            .int_opt("hidden_size")?
            .map(|h| usize::try_from(h).map_err(|_| format!("attribute `hidden_size` is {h}")))
            .transpose()?;
        Ok(Self {
            cell,
            directions: backwards.iter().copied().zip(functions).collect(),
            hidden,
            clip: node.float_opt("clip")?.filter(|c| *c > 0.0),
            batch_first: layout == 1,
            wants_steps: node.wants(0),
            quantised: false,
        })
    }

    fn clipped(&self, x: Tensor) -> Tensor {
        match self.clip {
            Some(c) => x.clamp_min(-c).clamp_max(c),
            None => x,
        }
    }

    /// Takes and checks the inputs.
    fn given(&self, x: &mut Args<'_>) -> OpResult<Given> {
        let device = x.device;
        let (input, mut w, mut r) = (x.tensor(0)?, x.tensor(1)?, x.tensor(2)?);
        let mut scales = None;
        if self.quantised {
            let (of_w, of_r);
            (w, of_w) = whole(w, x, 8)?;
            (r, of_r) = whole(r, x, 10)?;
            scales = Some([of_w, of_r]);
        }
        let dtype = input.dtype();
        let input = self.steps_first(input)?;
        let [steps, batch, features] = *input.shape() else {
            return Err(format!("an input of shape {:?}", input.shape()));
        };
        let (count, gates) = (self.directions.len(), self.cell.gates());
        let hidden = *r.shape().last().unwrap_or(&0);
        expect(&w, &[count, gates * hidden, features], "the weights")?;
        expect(
            &r,
            &[count, gates * hidden, hidden],
            "the recurrent weights",
        )?;
        if self.hidden.is_some_and(|h| h != hidden) {
            return Err(format!(
                "attribute `hidden_size` does not fit weights for {hidden}"
            ));
        }
        if steps == 0 || batch == 0 || hidden == 0 || features == 0 {
            return Err(format!(
                "an input of shape {:?} to a state of {hidden}",
                input.shape()
            ));
        }
        let bias = x.tensor_opt(3)?;
        if let Some(b) = &bias {
            expect(b, &[count, 2 * gates * hidden], "the bias")?;
        }
        let masks = masks(x.ints_opt(4)?, steps, batch, device)?;
        let mut start = |i: usize| -> OpResult<Tensor> {
            let state = match x.tensor_opt(i)? {
                Some(t) if self.batch_first && t.rank() == 3 => t.permute(&[1, 0, 2]),
                Some(t) => t,
                None => return Tensor::full(&[count, batch, hidden], 0.0, device),
            };
            expect(&state, &[count, batch, hidden], "the initial state")?;
            Ok(state)
        };
        let first_hidden = start(5)?;
        let (first_cell, peepholes) = if matches!(self.cell, Cell::Lstm { .. }) {
            (Some(start(6)?), x.tensor_opt(7)?)
        } else {
            (None, None)
        };
        if let Some(p) = &peepholes {
            expect(p, &[count, 3 * hidden], "the peepholes")?;
        }
        Ok(Given {
            input: input.reshape(&[steps * batch, features])?,
            w,
            r,
            scales,
            bias,
            masks,
            first_hidden,
            first_cell,
            peepholes,
            sizes: [steps, batch, features, hidden],
            dtype,
        })
    }

    /// Returns the parameters of direction `d`, and its initial state.
    fn direction<'a>(
        &'a self,
        given: &Given,
        d: usize,
        device: &'a Device,
    ) -> OpResult<(Direction<'a>, State)> {
        let [steps, batch, features, hidden] = given.sizes;
        let of = |t: &Tensor, shape: &[usize]| t.clone().narrow(0, d, 1).reshape(shape);
        let width = self.cell.gates() * hidden;
        let w = of(&given.w, &[width, features])?.transposed();
        let scale = |i: usize| -> OpResult<Option<Tensor>> {
            let Some(scales) = &given.scales else {
                return Ok(None);
            };
            let per_gate = scales[i].shape()[1];
            of(&scales[i], &[per_gate]).map(Some)
        };
        let (w_scale, r_scale) = (scale(0)?, scale(1)?);
        let mut input = weighted(given.input.clone(), w, w_scale, device)?;
        let mut late_bias = None;
        if let Some(b) = &given.bias {
            let b = of(b, &[1, 2 * width])?;
            let (inputs, states) = (b.clone().narrow(1, 0, width), b.narrow(1, width, width));
            let early = if matches!(
                self.cell,
                Cell::Gru {
                    linear_before_reset: true
                }
            ) {
                // The reset gate multiplies the last part's bias, so each step adds it before the gate.
                late_bias = Some(states.clone().narrow(1, 2 * hidden, hidden));
                let none = Tensor::full(&[1, hidden], 0.0, device)?;
                Tensor::cat(vec![states.narrow(1, 0, 2 * hidden), none], 1)?
            } else {
                states
            };
            input = input.add(inputs.add(early)?)?;
        }
        let peepholes = match &given.peepholes {
            Some(p) => {
                let p = of(p, &[1, 3 * hidden])?;
                Some([0, 1, 2].map(|i| p.clone().narrow(1, i * hidden, hidden)))
            }
            None => None,
        };
        let first = |t: &Tensor| of(t, &[batch, hidden]);
        let state = State {
            hidden: first(&given.first_hidden)?,
            cell: given.first_cell.as_ref().map(first).transpose()?,
        };
        let direction = Direction {
            device,
            functions: &self.directions[d].1,
            input: input.reshape(&[steps, batch, width])?,
            weights: of(&given.r, &[width, hidden])?.transposed(),
            scales: r_scale,
            late_bias,
            peepholes,
        };
        Ok((direction, state))
    }

    fn apply(&self, x: &mut Args<'_>) -> OpResult<Vec<Value>> {
        let given = self.given(x)?;
        let [steps, batch, _, hidden] = given.sizes;
        let (mut all, mut hiddens, mut cells) = (Vec::new(), Vec::new(), Vec::new());
        for (d, (backwards, _)) in self.directions.iter().enumerate() {
            let (direction, start) = self.direction(&given, d, x.device)?;
            let masks = given.masks.as_ref();
            let (seen, last) = self.unrolled(&direction, *backwards, start, masks)?;
            if self.wants_steps {
                all.push(Tensor::cat(seen, 0)?.reshape(&[steps, 1, batch, hidden])?);
            }
            hiddens.push(last.hidden.reshape(&[1, batch, hidden])?);
            if let Some(c) = last.cell {
                cells.push(c.reshape(&[1, batch, hidden])?);
            }
        }
        let joined = |parts: Vec<Tensor>, axis: usize, batch_first: &[usize]| -> OpResult<Value> {
            if parts.is_empty() {
                return Ok(Value::Nothing);
            }
            let y = Tensor::cat(parts, axis)?.typed(given.dtype);
            let y = if self.batch_first {
                y.permute(batch_first)
            } else {
                y
            };
            Ok(y.into())
        };
        Ok(vec![
            joined(all, 1, &[2, 0, 1, 3])?,
            joined(hiddens, 0, &[1, 0, 2])?,
            joined(cells, 0, &[1, 0, 2])?,
        ])
    }

    fn steps_first(&self, x: Tensor) -> OpResult<Tensor> {
        if x.rank() != 3 {
            return Err(format!(
                "an input of shape {:?}; expected steps, batch and features",
                x.shape()
            ));
        }
        Ok(if self.batch_first {
            x.permute(&[1, 0, 2])
        } else {
            x
        })
    }

    /// Runs all steps. Returns the state after each step, in the order of the input, and the last one.
    fn unrolled(
        &self,
        direction: &Direction<'_>,
        backwards: bool,
        mut state: State,
        masks: Option<&Tensor>,
    ) -> OpResult<(Vec<Tensor>, State)> {
        let shape = direction.input.shape();
        let (steps, batch) = (shape[0], shape[1]);
        let mut seen = Vec::with_capacity(if self.wants_steps { steps } else { 0 });
        for k in 0..steps {
            let at = if backwards { steps - 1 - k } else { k };
            let input = direction
                .input
                .clone()
                .narrow(0, at, 1)
                .reshape(&[batch, shape[2]])?;
            let mut next = self.step(direction, input, state.clone())?;
            let mut shown = next.hidden.clone();
            if let Some(masks) = masks {
                // Past its end a sequence keeps its state and outputs zeros.
                let mask = masks.clone().narrow(0, at, 1).reshape(&[batch, 1])?;
                let lasts = mask.clone().truth();
                let kept = |new: Tensor, old: Tensor| lasts.clone().choose(new, old);
                next.hidden = kept(next.hidden, state.hidden)?;
                next.cell = match (next.cell, state.cell) {
                    (Some(new), Some(old)) => Some(kept(new, old)?),
                    _ => None,
                };
                shown = shown.mul(mask)?;
            }
            if self.wants_steps {
                seen.push(shown);
            }
            state = next;
        }
        if backwards {
            seen.reverse();
        }
        Ok((seen, state))
    }
}

/// Multiplies by the weights; if they are integers with a scale, quantises `t` first.
fn weighted(
    t: Tensor,
    weights: Tensor,
    scale: Option<Tensor>,
    device: &Device,
) -> OpResult<Tensor> {
    match scale {
        Some(scale) => dynamic_product(t, weights, scale.into(), None, device),
        None => t.matmul(weights),
    }
}

/// Subtracts the zero points from quantised weights `[directions, inputs, gates]` and transposes them to the order of
/// other layers. Returns them with their scales `[directions, 1 or gates]`; scales and zero points are inputs `at` and
/// `at + 1`.
fn whole(weights: Tensor, x: &mut Args<'_>, at: usize) -> OpResult<(Tensor, Tensor)> {
    let [count, _, gates] = *weights.shape() else {
        return Err(format!("weights of shape {:?}", weights.shape()));
    };
    let mut parameter = |i: usize| -> OpResult<Tensor> {
        let t = x.tensor(i)?;
        let n: usize = t.shape().iter().product();
        if n != count && n != count * gates {
            return Err(format!(
                "input {i} has shape {:?} for weights of shape {:?}",
                t.shape(),
                weights.shape()
            ));
        }
        t.reshape(&[count, 1, n / count.max(1)])
    };
    let (scale, zero) = (parameter(at)?, parameter(at + 1)?);
    let per_gate = scale.shape()[2];
    let weights = weights.sub(zero)?.typed(DType::F32);
    Ok((
        weights.permute(&[0, 2, 1]),
        scale.reshape(&[count, per_gate])?,
    ))
}

fn expect(t: &Tensor, shape: &[usize], what: &str) -> OpResult<()> {
    if t.shape() == shape {
        Ok(())
    } else {
        Err(format!(
            "{what} have shape {:?}; expected {shape:?}",
            t.shape()
        ))
    }
}

/// Returns 1 while a sequence lasts and 0 after it, `[steps, batch, 1]`; `None` if all last to the end.
fn masks(
    lengths: Option<Vec<i64>>,
    steps: usize,
    batch: usize,
    device: &Device,
) -> OpResult<Option<Tensor>> {
    let Some(lengths) = lengths else {
        return Ok(None);
    };
    if lengths.len() != batch {
        return Err(format!("{} lengths for {batch} sequences", lengths.len()));
    }
    if let Some(l) = lengths.iter().find(|l| **l < 0 || **l > steps as i64) {
        return Err(format!("a sequence of {l} steps of {steps}"));
    }
    if lengths.iter().all(|l| *l == steps as i64) {
        return Ok(None);
    }
    let values: Vec<f32> = (0..steps as i64)
        .flat_map(|t| lengths.iter().map(move |l| f32::from(u8::from(t < *l))))
        .collect();
    let mask = Array::try_new([steps, batch, 1], values)?;
    Tensor::upload(mask.to_f32()?, mask.shape(), DType::F32, device).map(Some)
}

fn layer(node: &NodeSpec<'_>, cell: Cell, defaults: &[Activation]) -> OpResult<Run> {
    let layer = Layer::read(node, cell, defaults)?;
    run(move |x| layer.apply(x))
}

fn rnn(node: &NodeSpec<'_>) -> OpResult<Run> {
    layer(node, Cell::Rnn, &[Activation::Tanh])
}

fn gru(node: &NodeSpec<'_>) -> OpResult<Run> {
    let linear_before_reset = node.flag("linear_before_reset", false)?;
    layer(
        node,
        Cell::Gru {
            linear_before_reset,
        },
        &[Activation::Sigmoid, Activation::Tanh],
    )
}

fn lstm(node: &NodeSpec<'_>) -> OpResult<Run> {
    let input_forget = node.flag("input_forget", false)?;
    layer(
        node,
        Cell::Lstm { input_forget },
        &[Activation::Sigmoid, Activation::Tanh, Activation::Tanh],
    )
}

/// Builds `DynamicQuantizeLSTM`: weights are integers; the input, and the state before each step, are quantised by the
/// range of their values.
fn dynamic_quantize_lstm(node: &NodeSpec<'_>) -> OpResult<Run> {
    let input_forget = node.flag("input_forget", false)?;
    let defaults = [Activation::Sigmoid, Activation::Tanh, Activation::Tanh];
    let mut layer = Layer::read(node, Cell::Lstm { input_forget }, &defaults)?;
    layer.quantised = true;
    run(move |x| layer.apply(x))
}

/// The operator of this file in onnxruntime's own domain.
pub(super) const MICROSOFT: &[OperatorEntry] =
    &[
        OperatorEntry::new("DynamicQuantizeLSTM", dynamic_quantize_lstm)
            .gradient(Gradient::StraightThrough),
    ];

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("RNN", rnn),
    OperatorEntry::new("GRU", gru),
    OperatorEntry::new("LSTM", lstm),
];

mod step;
#[cfg(test)]
mod tests;
