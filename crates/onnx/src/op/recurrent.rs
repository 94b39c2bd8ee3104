//! Recurrent layers: RNN, GRU and LSTM.
//!
//! What the input contributes is one product of matrices for all steps; each step then adds what the state
//! contributes.

use burn::tensor::Device;

use super::Entry;
use super::gate_function::Activation;
use crate::array::Array;
use crate::dtype::DType;
use crate::node::{Args, NodeSpec, OpResult, Run, run};
use crate::tensor::Tensor;
use crate::value::Value;

/// Which layer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Rnn,
    Gru {
        /// Whether the state is multiplied by its weights before the reset gate or after it.
        linear_before_reset: bool,
    },
    Lstm {
        /// Whether what is forgotten is what is not let in.
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
    /// Per direction, whether it runs backwards, and its functions.
    directions: Vec<(bool, Vec<Activation>)>,
    hidden: Option<usize>,
    clip: Option<f64>,
    /// Whether the batch comes before the steps.
    batch_first: bool,
    wants_steps: bool,
}

/// What one direction computes with.
struct Direction<'a> {
    functions: &'a [Activation],
    /// What the input contributes to each step, `[steps, batch, gates * hidden]`.
    input: Tensor,
    /// `[hidden, gates * hidden]`.
    weights: Tensor,
    /// The state's bias of the last gate, where it cannot be added beforehand.
    late_bias: Option<Tensor>,
    /// Input, output and forget, each `[1, hidden]`.
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
        })
    }

    fn clipped(&self, x: Tensor) -> Tensor {
        match self.clip {
            Some(c) => x.clamp_min(-c).clamp_max(c),
            None => x,
        }
    }

    fn apply(&self, x: &mut Args<'_>) -> OpResult<Vec<Value>> {
        let device = x.device;
        let (input, w, r) = (x.tensor(0)?, x.tensor(1)?, x.tensor(2)?);
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
        let lengths = x.ints_opt(4)?;
        let masks = masks(lengths, steps, batch, device)?;
        let mut start = |i: usize| -> OpResult<Tensor> {
            let given = x.tensor_opt(i)?;
            let state = match given {
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
        let flat = input.reshape(&[steps * batch, features])?;
        let (mut all, mut hiddens, mut cells) = (Vec::new(), Vec::new(), Vec::new());
        for (d, (backwards, functions)) in self.directions.iter().enumerate() {
            let of = |t: &Tensor, shape: &[usize]| t.clone().narrow(0, d, 1).reshape(shape);
            let width = gates * hidden;
            let mut input = flat
                .clone()
                .matmul(of(&w, &[width, features])?.transposed())?;
            let mut late_bias = None;
            if let Some(b) = &bias {
                let b = of(b, &[1, 2 * width])?;
                let (mut ours, states) = (b.clone().narrow(1, 0, width), b.narrow(1, width, width));
                if self.cell
                    == (Cell::Gru {
                        linear_before_reset: true,
                    })
                {
                    let early = states.clone().narrow(1, 0, 2 * hidden);
                    let none = Tensor::full(&[1, hidden], 0.0, device)?;
                    ours = ours.add(Tensor::cat(vec![early, none], 1)?)?;
                    late_bias = Some(states.narrow(1, 2 * hidden, hidden));
                } else {
                    ours = ours.add(states)?;
                }
                input = input.add(ours)?;
            }
            let peepholes = match &peepholes {
                Some(p) => {
                    let p = of(p, &[1, 3 * hidden])?;
                    Some([0, 1, 2].map(|i| p.clone().narrow(1, i * hidden, hidden)))
                }
                None => None,
            };
            let direction = Direction {
                functions,
                input: input.reshape(&[steps, batch, width])?,
                weights: of(&r, &[width, hidden])?.transposed(),
                late_bias,
                peepholes,
            };
            let start = State {
                hidden: of(&first_hidden, &[batch, hidden])?,
                cell: first_cell
                    .as_ref()
                    .map(|c| of(c, &[batch, hidden]))
                    .transpose()?,
            };
            let (seen, last) = self.unrolled(&direction, *backwards, start, masks.as_ref())?;
            if self.wants_steps {
                all.push(Tensor::cat(seen, 0)?.reshape(&[steps, 1, batch, hidden])?);
            }
            hiddens.push(last.hidden.reshape(&[1, batch, hidden])?);
            if let Some(c) = last.cell {
                cells.push(c.reshape(&[1, batch, hidden])?);
            }
        }
        let all = if self.wants_steps {
            let y = Tensor::cat(all, 1)?;
            let y = if self.batch_first {
                y.permute(&[2, 0, 1, 3])
            } else {
                y
            };
            y.typed(dtype).into()
        } else {
            Value::Nothing
        };
        let last = |parts: Vec<Tensor>| -> OpResult<Value> {
            let y = Tensor::cat(parts, 0)?;
            let y = if self.batch_first {
                y.permute(&[1, 0, 2])
            } else {
                y
            };
            Ok(y.typed(dtype).into())
        };
        let mut outputs = vec![all, last(hiddens)?];
        if !cells.is_empty() {
            outputs.push(last(cells)?);
        }
        Ok(outputs)
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

    /// The state after each step, in the order of the input, and the last one.
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
                // Past its end a sequence keeps its state and shows zeros.
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

    fn step(&self, d: &Direction<'_>, input: Tensor, state: State) -> OpResult<State> {
        let h = state.hidden;
        let size = h.shape()[1];
        let f = d.functions;
        match self.cell {
            Cell::Rnn => {
                let sum = input.add(h.matmul(d.weights.clone())?)?;
                Ok(State {
                    hidden: f[0].of(self.clipped(sum))?,
                    cell: None,
                })
            }
            Cell::Gru {
                linear_before_reset,
            } => {
                let early = input.clone().narrow(1, 0, 2 * size);
                let late = input.narrow(1, 2 * size, size);
                let (from_state, gates) = if linear_before_reset {
                    let all = h.clone().matmul(d.weights.clone())?;
                    let mut late = all.clone().narrow(1, 2 * size, size);
                    if let Some(b) = &d.late_bias {
                        late = late.add(b.clone())?;
                    }
                    (Some(late), early.add(all.narrow(1, 0, 2 * size))?)
                } else {
                    let weights = d.weights.clone().narrow(1, 0, 2 * size);
                    (None, early.add(h.clone().matmul(weights)?)?)
                };
                let gates = f[0].of(self.clipped(gates))?;
                let update = gates.clone().narrow(1, 0, size);
                let reset = gates.narrow(1, size, size);
                let from_state = match from_state {
                    Some(s) => s.mul(reset)?,
                    None => {
                        let weights = d.weights.clone().narrow(1, 2 * size, size);
                        reset.mul(h.clone())?.matmul(weights)?
                    }
                };
                let new = f[1].of(self.clipped(late.add(from_state)?))?;
                // (1 - z) new + z h
                let hidden = new.clone().add(h.sub(new)?.mul(update)?)?;
                Ok(State { hidden, cell: None })
            }
            Cell::Lstm { input_forget } => {
                let c = state.cell.ok_or("a state without a cell")?;
                let sums = input.add(h.matmul(d.weights.clone())?)?;
                let part = |t: &Tensor, i: usize| t.clone().narrow(1, i * size, size);
                // Input, output, forget, cell.
                let (let_in, forget, out) = match &d.peepholes {
                    None => {
                        let gates = f[0].of(self.clipped(sums.clone().narrow(1, 0, 3 * size)))?;
                        (part(&gates, 0), part(&gates, 2), Some(part(&gates, 1)))
                    }
                    Some([pi, _, pf]) => {
                        let gate = |i: usize, p: &Tensor| -> OpResult<Tensor> {
                            let seen = p.clone().mul(c.clone())?;
                            f[0].of(self.clipped(part(&sums, i).add(seen)?))
                        };
                        (gate(0, pi)?, gate(2, pf)?, None)
                    }
                };
                let forget = if input_forget {
                    let_in.clone().neg().add_scalar(1.0)
                } else {
                    forget
                };
                let new = f[1].of(self.clipped(part(&sums, 3)))?;
                let c = forget.mul(c)?.add(let_in.mul(new)?)?;
                let out = match (out, &d.peepholes) {
                    (None, Some([_, po, _])) => {
                        let seen = po.clone().mul(c.clone())?;
                        f[0].of(self.clipped(part(&sums, 1).add(seen)?))?
                    }
                    (Some(out), _) => out,
                    (None, None) => return Err("no output gate".into()),
                };
                let hidden = out.mul(f[2].of(c.clone())?)?;
                Ok(State {
                    hidden,
                    cell: Some(c),
                })
            }
        }
    }
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

/// 1 while a sequence lasts, 0 after it, `[steps, batch, 1]`; nothing when all last to the end.
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

/// The operators of this file.
pub(super) const ENTRIES: &[Entry] = &[
    Entry::new("RNN", rnn),
    Entry::new("GRU", gru),
    Entry::new("LSTM", lstm),
];

#[cfg(test)]
mod tests;
