//! Operators that move elements within a value: `DepthToSpace`, `SpaceToDepth`, Trilu, `ReverseSequence`.

use super::OperatorEntry;
use super::layout::{along, not_a_tensor, permuted, reshaped};
use crate::array::NOWHERE;
use crate::node::{NodeSpec, OpResult, Run, one, run};
use crate::tensor::{Mask, Tensor};
use crate::value::Value;

fn blocks(node: &NodeSpec<'_>) -> OpResult<usize> {
    let b = node
        .int_opt("blocksize")?
        .ok_or("attribute `blocksize` is missing")?;
    // A block has `b * b` elements.
    usize::try_from(b)
        .ok()
        .filter(|b| (1..=1 << 20).contains(b))
        .ok_or_else(|| format!("blocksize {b}; expected 1 or more"))
}

fn image(value: &Value) -> OpResult<[usize; 4]> {
    let shape = value.shape();
    shape
        .as_slice()
        .try_into()
        .map_err(|_| format!("shape {shape:?}; expected four dimensions"))
}

fn depth_to_space(node: &NodeSpec<'_>) -> OpResult<Run> {
    let b = blocks(node)?;
    let column_first = match node.text("mode", "DCR")?.as_str() {
        "DCR" => false,
        "CRD" => true,
        other => return Err(format!("mode `{other}`; expected DCR or CRD")),
    };
    run(move |x| {
        let value = x.take(0)?;
        let [n, c, h, w] = image(&value)?;
        if !c.is_multiple_of(b * b) {
            return Err(format!("{c} channels; expected a multiple of {}", b * b));
        }
        let d = c / (b * b);
        let (apart, order) = if column_first {
            ([n, d, b, b, h, w], [0, 1, 4, 2, 5, 3])
        } else {
            ([n, b, b, d, h, w], [0, 3, 4, 1, 5, 2])
        };
        let moved = permuted(reshaped(value, &apart)?, &order)?;
        one(reshaped(moved, &[n, d, h * b, w * b])?)
    })
}

fn space_to_depth(node: &NodeSpec<'_>) -> OpResult<Run> {
    let b = blocks(node)?;
    run(move |x| {
        let value = x.take(0)?;
        let [n, c, h, w] = image(&value)?;
        if !h.is_multiple_of(b) || !w.is_multiple_of(b) {
            return Err(format!("an image of {h} by {w}; expected multiples of {b}"));
        }
        let (h, w) = (h / b, w / b);
        let apart = reshaped(value, &[n, c, h, b, w, b])?;
        let moved = permuted(apart, &[0, 3, 5, 1, 2, 4])?;
        one(reshaped(moved, &[n, c * b * b, h, w])?)
    })
}

fn trilu(node: &NodeSpec<'_>) -> OpResult<Run> {
    let upper = node.flag("upper", true)?;
    run(move |x| {
        let k = match x.ints_opt(1)?.as_deref() {
            None => 0,
            Some([k]) => *k,
            Some(v) => return Err(format!("k has {} elements; expected one", v.len())),
        };
        let value = x.take(0)?;
        let shape = value.shape();
        let [.., rows, columns] = shape[..] else {
            return Err(format!("shape {shape:?}; expected a matrix"));
        };
        let kept = |i: usize, j: usize| {
            let right = j as i64 - i as i64;
            if upper { right >= k } else { right <= k }
        };
        match value {
            Value::Host(a) => {
                let map: Vec<usize> = (0..a.len())
                    .map(|at| {
                        let (i, j) = (at / columns % rows, at % columns);
                        if kept(i, j) { at } else { NOWHERE }
                    })
                    .collect();
                one(a.pick(&map, shape))
            }
            Value::Device(t) if shape.contains(&0) => one(t),
            Value::Device(t) => {
                let mask: Vec<bool> = (0..rows * columns)
                    .map(|at| kept(at / columns, at % columns))
                    .collect();
                let zero = Tensor::upload(vec![0.0], &[], t.dtype(), x.device)?;
                one(Mask::upload(mask, &[rows, columns], x.device).choose(t, zero)?)
            }
            other => Err(not_a_tensor(&other)),
        }
    })
}

fn reverse_sequence(node: &NodeSpec<'_>) -> OpResult<Run> {
    let time_first = match (node.int("time_axis", 0)?, node.int("batch_axis", 1)?) {
        (0, 1) => true,
        (1, 0) => false,
        (t, b) => {
            return Err(format!(
                "time axis {t} and batch axis {b}; expected 0 and 1, or 1 and 0"
            ));
        }
    };
    run(move |x| {
        let lengths = x.ints(1)?;
        let value = x.take(0)?;
        let shape = value.shape();
        let [first, second, ..] = shape[..] else {
            return Err(format!("shape {shape:?}; expected two dimensions or more"));
        };
        let (times, samples) = if time_first {
            (first, second)
        } else {
            (second, first)
        };
        let lengths: Vec<usize> = lengths
            .iter()
            .map(|n| {
                usize::try_from(*n)
                    .ok()
                    .filter(|n| *n <= times)
                    .ok_or_else(|| format!("a length of {n} in a sequence of {times}"))
            })
            .collect::<OpResult<_>>()?;
        if lengths.len() != samples {
            return Err(format!("{} lengths for {samples} samples", lengths.len()));
        }
        if shape.contains(&0) {
            return one(value);
        }
        let from: Vec<usize> = (0..first * second)
            .map(|at| {
                let (a, b) = (at / second, at % second);
                let (time, sample) = if time_first { (a, b) } else { (b, a) };
                let n = lengths[sample];
                let time = if time < n { n - 1 - time } else { time };
                if time_first {
                    time * second + sample
                } else {
                    sample * second + time
                }
            })
            .collect();
        let mut rows = vec![first * second];
        rows.extend_from_slice(&shape[2..]);
        let moved = along(reshaped(value, &rows)?, 0, &from, x.device)?;
        one(reshaped(moved, &shape)?)
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("DepthToSpace", depth_to_space),
    OperatorEntry::new("SpaceToDepth", space_to_depth),
    OperatorEntry::new("Trilu", trilu),
    OperatorEntry::new("ReverseSequence", reverse_sequence),
];

#[cfg(test)]
mod tests {
    use crate::Array;
    use crate::check::{Case, list};

    #[test]
    fn gradients() {
        for mode in ["DCR", "CRD"] {
            Case::new("DepthToSpace")
                .int("blocksize", 2)
                .text("mode", mode)
                .scattered(&[1, 8, 1, 2], -1.0, 1.0)
                .assert_gradient();
        }
        Case::new("SpaceToDepth")
            .int("blocksize", 2)
            .scattered(&[1, 2, 2, 4], -1.0, 1.0)
            .assert_gradient();
        for (upper, k) in [(0, 0), (1, 1), (0, -1), (1, 9)] {
            Case::new("Trilu")
                .int("upper", upper)
                .scattered(&[2, 3, 3], -1.0, 1.0)
                .host(Array::new([], vec![k]))
                .assert_gradient();
        }
        for (time, batch, lengths) in [(0, 1, [1, 4, 2]), (1, 0, [3, 0, 2])] {
            let shape = if time == 0 { [4, 3, 2] } else { [3, 4, 2] };
            Case::new("ReverseSequence")
                .int("time_axis", time)
                .int("batch_axis", batch)
                .scattered(&shape, -1.0, 1.0)
                .host(list(&lengths))
                .assert_gradient();
        }
    }

    #[test]
    fn values() {
        let numbers: Vec<i64> = (0..8).collect();
        let space = Case::new("DepthToSpace")
            .int("blocksize", 2)
            .host(Array::new([1, 8, 1, 1], numbers.clone()))
            .run()
            .unwrap();
        assert_eq!(
            space,
            [Array::new([1, 2, 2, 2], vec![0i64, 2, 4, 6, 1, 3, 5, 7])]
        );
        let columns = Case::new("DepthToSpace")
            .int("blocksize", 2)
            .text("mode", "CRD")
            .host(Array::new([1, 8, 1, 1], numbers.clone()))
            .run()
            .unwrap();
        assert_eq!(columns, [Array::new([1, 2, 2, 2], numbers)]);
        let three = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        for x in [
            Case::new("ReverseSequence").tracked(&[3, 2], three.clone()),
            Case::new("ReverseSequence").host(Array::new([3, 2], three)),
        ] {
            let got = x.host(list(&[3, 2])).run().unwrap();
            assert_eq!(got[0].to_f64().unwrap(), [5.0, 4.0, 3.0, 2.0, 1.0, 6.0]);
        }
        // A dropped element becomes 0 even if it is NaN.
        let nan = Case::new("Trilu")
            .tracked(&[2, 2], vec![1.0, 2.0, f64::NAN, 3.0])
            .run()
            .unwrap();
        assert_eq!(nan[0].to_f64().unwrap(), [1.0, 2.0, 0.0, 3.0]);
    }

    #[test]
    fn invalid_nodes_are_errors_without_panics() {
        let x = || Array::new([1, 2, 3, 3], vec![0.0f32; 18]);
        let m = || Array::new([2, 3], vec![0.0f32; 6]);
        let depth = |b: i64| Case::new("DepthToSpace").int("blocksize", b);
        let wrong = [
            depth(2).host(x()),
            depth(0).host(x()),
            depth(i64::MAX).host(x()),
            depth(1).host(m()),
            Case::new("DepthToSpace").host(x()),
            depth(1).text("mode", "XYZ").host(x()),
            Case::new("SpaceToDepth").int("blocksize", 2).host(x()),
            Case::new("Trilu").host(list(&[1])),
            Case::new("Trilu").host(m()).host(list(&[1, 2])),
            Case::new("ReverseSequence")
                .int("time_axis", 2)
                .host(m())
                .host(list(&[1])),
            Case::new("ReverseSequence").host(m()).host(list(&[1])),
            Case::new("ReverseSequence")
                .host(m())
                .host(list(&[1, 2, 3])),
            Case::new("ReverseSequence")
                .host(m())
                .host(list(&[1, 2, -1])),
        ];
        for (i, case) in wrong.iter().enumerate() {
            let problem = case.run().unwrap_err();
            assert!(!problem.contains("panic"), "case {i}: {problem}");
        }
    }
}
