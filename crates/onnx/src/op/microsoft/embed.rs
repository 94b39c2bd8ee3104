//! Embeddings of words, positions and segments, added up and normalised.

use burn::tensor::Device;

use super::super::OperatorEntry;
use super::super::gather::wrapped;
use super::super::norm::standardised;
use crate::array::Array;
use crate::node::{NodeSpec, OpResult, Run, run};
use crate::tensor::{Indices, Tensor};
use crate::value::Value;

/// Selects rows of a table by their numbers: `[numbers.., width]`.
fn rows(table: Tensor, numbers: Value, device: &Device) -> OpResult<Tensor> {
    let [length, width] = *table.shape() else {
        return Err(format!("a table of shape {:?}", table.shape()));
    };
    let mut shape = numbers.shape();
    let n: usize = shape.iter().product();
    let indices = match numbers {
        Value::Host(a) => {
            let inside = |i: &i64| usize::try_from(*i).ok().filter(|i| *i < length);
            let list = a.to_ints()?;
            let list: Vec<usize> = list
                .iter()
                .map(|i| inside(i).ok_or_else(|| format!("row {i} of a table of {length}")))
                .collect::<OpResult<_>>()?;
            Indices::upload(&list, &[n], device)
        }
        other => wrapped(other.device(device)?, length)?
            .reshape(&[n])?
            .indices(),
    };
    shape.push(width);
    table.select(0, indices).reshape(&shape)
}

/// Counts the ones in each row of a mask.
fn counts(mask: &Array, batch: usize) -> OpResult<Array> {
    let width = mask.len() / batch.max(1);
    let ones = |row: &[i64]| row.iter().filter(|i| **i == 1).count() as i32;
    let list = mask.to_ints()?;
    Array::try_new(
        [batch],
        list.chunks(width.max(1)).map(ones).collect::<Vec<_>>(),
    )
}

fn embed(node: &NodeSpec<'_>) -> OpResult<Run> {
    let epsilon = node.float("epsilon", 1e-12)?;
    run(move |x| {
        let device = x.device;
        let ids = x.take(0)?;
        let [batch, length] = *ids.shape() else {
            return Err(format!("input ids of shape {:?}", ids.shape()));
        };
        if batch == 0 || length == 0 {
            return Err(format!("input ids of shape {:?}", ids.shape()));
        }
        let mut sum = rows(x.tensor(2)?, ids, device)?;
        let places = if x.has(8) {
            x.take(8)?
        } else {
            let all: Vec<i64> = (0..length as i64).collect();
            Array::try_new([1, length], all)?.into()
        };
        sum = sum.add(rows(x.tensor(3)?, places, device)?)?;
        if x.has(1) && x.has(4) {
            let segments = x.take(1)?;
            sum = sum.add(rows(x.tensor(4)?, segments, device)?)?;
        }
        let (y, ..) = standardised(sum.clone(), epsilon)?;
        let y = y.mul(x.tensor(5)?)?.add(x.tensor(6)?)?;
        let counts = match x.array_opt(7)? {
            Some(mask) => counts(&mask, batch)?,
            None => Array::try_new([batch], vec![0i32; batch])?,
        };
        Ok(vec![y.into(), counts.into(), sum.into()])
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] =
    &[OperatorEntry::new("EmbedLayerNormalization", embed)];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::Case;

    fn case(ids: Vec<i32>) -> Case {
        Case::microsoft("EmbedLayerNormalization")
            .float("epsilon", 1e-3)
            .host(Array::new([2, 2], ids))
            .host(Array::new([2, 2], vec![0i32, 1, 1, 1]))
            .scattered(&[4, 3], -1.0, 1.0)
            .scattered(&[2, 3], -1.0, 1.0)
            .scattered(&[2, 3], -1.0, 1.0)
            .scattered(&[3], 0.5, 1.5)
            .scattered(&[3], -1.0, 1.0)
    }

    #[test]
    fn gradients_of_the_tables() {
        case(vec![0, 3, 1, 3]).assert_gradient();
    }

    #[test]
    fn masks_are_counted() {
        let masked = case(vec![0, 3, 1, 3])
            .host(Array::new([2, 2], vec![1i32, 1, 1, 0]))
            .outputs(2);
        assert_eq!(masked.run().unwrap()[1], Array::new([2], vec![2i32, 1]));
        let problem = case(vec![0, 4, 1, 3]).run().unwrap_err();
        assert!(problem.contains("row 4 of a table of 4"), "{problem}");
    }
}
