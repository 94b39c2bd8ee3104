//! One step of each layer.

use super::{Cell, Direction, Layer, State, weighted};
use crate::node::OpResult;
use crate::tensor::Tensor;

impl Layer {
    /// Returns the state after a step; `input` is the input's contribution to it.
    pub(super) fn step(&self, d: &Direction<'_>, input: Tensor, state: State) -> OpResult<State> {
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
                let from_state = if let Some(s) = from_state {
                    s.mul(reset)?
                } else {
                    let weights = d.weights.clone().narrow(1, 2 * size, size);
                    reset.mul(h.clone())?.matmul(weights)?
                };
                let new = f[1].of(self.clipped(late.add(from_state)?))?;
                // (1 - z) new + z h
                let hidden = new.clone().add(h.sub(new)?.mul(update)?)?;
                Ok(State { hidden, cell: None })
            }
            Cell::Lstm { input_forget } => {
                let c = state.cell.ok_or("a state without a cell")?;
                let from_state = weighted(h, d.weights.clone(), d.scales.clone(), d.device)?;
                let sums = input.add(from_state)?;
                let part = |t: &Tensor, i: usize| t.clone().narrow(1, i * size, size);
                // The order of the gates is input, output, forget, cell.
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
