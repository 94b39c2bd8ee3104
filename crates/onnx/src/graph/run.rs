//! Runs a graph.

use burn::tensor::Device;
use proofmark_model::{ModelError, guarded};

use super::{Failure, Fix, Graph, Node, Plan, Slot};
use crate::array::Array;
use crate::node::{Args, OpResult};
use crate::room;
use crate::value::Value;

/// Maximum elements alive at once while a file is tried out (2 GiB of `f32`).
const ALIVE_WHILE_LOADING: usize = 1 << 29;

impl Graph {
    /// Runs a plan. `batch`: number of samples, for nodes written for one sample. `seen` is called with every value as
    /// it is computed.
    pub(crate) fn run(
        &self,
        plan: &Plan,
        inputs: Vec<Value>,
        device: &Device,
        batch: usize,
        seen: &mut dyn FnMut(Slot, &Value),
    ) -> Result<Vec<Value>, Failure> {
        let given = self.inputs.iter().copied().zip(inputs).collect();
        self.run_from(plan, given, device, batch, seen)
    }

    /// Runs a plan from the values of any slots.
    pub(crate) fn run_from(
        &self,
        plan: &Plan,
        given: Vec<(Slot, Value)>,
        device: &Device,
        batch: usize,
        seen: &mut dyn FnMut(Slot, &Value),
    ) -> Result<Vec<Value>, Failure> {
        let mut table: Vec<Option<Value>> = vec![None; self.known.len()];
        for (slot, value) in given {
            seen(slot, &value);
            table[slot] = Some(value);
        }
        for (at, last) in &plan.steps {
            let node = &self.nodes[*at];
            let values = node
                .inputs
                .iter()
                .zip(last)
                .map(|(slot, last)| {
                    let slot = (*slot)?;
                    match &self.known[slot] {
                        Some(value) => Some(value.clone()),
                        None if *last => table[slot].take(),
                        None => table[slot].clone(),
                    }
                })
                .collect();
            let mut args = Args { values, device };
            let outputs = node
                .fix(&mut args, batch)
                .and_then(|()| node.call(&mut args))
                .map_err(|problem| node.failure(problem))?;
            drop(args);
            for (slot, value) in node.outputs.iter().zip(outputs) {
                if let Some(slot) = slot {
                    seen(*slot, &value);
                    table[*slot] = Some(value);
                }
            }
            if room::loading() {
                let alive: usize = table.iter().flatten().map(Value::elements).sum();
                if alive > ALIVE_WHILE_LOADING {
                    return Err(node.failure("too much memory is needed for one sample".into()));
                }
            }
        }
        plan.wanted
            .iter()
            .map(|slot| {
                self.known[*slot]
                    .clone()
                    .or_else(|| table[*slot].clone())
                    .ok_or_else(|| Failure {
                        node: self.name(*slot).to_owned(),
                        op: "output".into(),
                        opset: 0,
                        problem: "no node gave it a value".into(),
                    })
            })
            .collect()
    }
}

impl Node {
    /// Computes the outputs. A panic in the device's code becomes an error that names the node.
    pub(super) fn call(&self, args: &mut Args<'_>) -> OpResult<Vec<Value>> {
        guarded(&self.name, || Ok((self.run)(args))).unwrap_or_else(|e| {
            Err(match e {
                ModelError::Panicked { message, .. } => format!("it panicked: {message}"),
                other => other.to_string(),
            })
        })
    }

    fn fix(&self, args: &mut Args<'_>, batch: usize) -> OpResult<()> {
        for fix in &self.fixes {
            match *fix {
                Fix::OperatorEntry { input, index, each } => {
                    let mut list = args.ints(input)?;
                    let entry = list
                        .get_mut(index)
                        .ok_or("its list of sizes is too short")?;
                    *entry = (batch * each) as i64;
                    args.values[input] = Some(Array::list(list).into());
                }
                Fix::Repeat { input, axis } => {
                    let tensor = args.tensor(input)?;
                    let mut shape = tensor.shape();
                    *shape
                        .get_mut(axis)
                        .ok_or("an input has too few dimensions")? = batch;
                    args.values[input] = Some(tensor.expand(&shape)?.into());
                }
            }
        }
        Ok(())
    }
}
