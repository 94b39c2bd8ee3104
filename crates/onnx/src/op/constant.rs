//! Generated values: constants, ranges, unit matrices, one-hot encodings.

use super::numbers::{Numbers, offsets, strides};
use super::{Gradient, OperatorEntry};
use crate::array::Array;
use crate::dtype::DType;
use crate::node::{NodeSpec, OpResult, Run, axis, one, run};
use crate::room;
use crate::tensor::Tensor;
use crate::value::Value;

/// Builds `Constant` from whichever value attribute is present.
fn constant(node: &NodeSpec<'_>) -> OpResult<Run> {
    let value = if let Some(a) = node.tensor("value")? {
        a
    } else if let Some(i) = node.int_opt("value_int")? {
        Array::new([], vec![i])
    } else if let Some(list) = node.ints("value_ints")? {
        Array::list(list)
    } else if let Some(f) = node.float_opt("value_float")? {
        Array::new([], vec![f as f32])
    } else if let Some(list) = node.floats("value_floats")? {
        let list: Vec<f32> = list.into_iter().map(|f| f as f32).collect();
        Array::new([list.len()], list)
    } else if node.attribute("value_string").is_some() {
        Array::new([], vec![node.text("value_string", "")?])
    } else if let Some(list) = node.texts("value_strings")? {
        Array::new([list.len()], list)
    } else if node.attribute("sparse_value").is_some() {
        return Err("attribute `sparse_value`: sparse constants are not supported".into());
    } else {
        return Err("no value is given".into());
    };
    run(move |_| one(value.clone()))
}

fn sizes(list: &[i64]) -> OpResult<Vec<usize>> {
    list.iter()
        .map(|d| usize::try_from(*d).map_err(|_| format!("a dimension of length {d}")))
        .collect()
}

fn constant_of_shape(node: &NodeSpec<'_>) -> OpResult<Run> {
    let value = node
        .tensor("value")?
        .unwrap_or_else(|| Array::new([1], vec![0.0f32]));
    if value.len() != 1 {
        return Err(format!(
            "attribute `value` has {} elements; expected one",
            value.len()
        ));
    }
    run(move |x| {
        let shape = sizes(&x.ints(0)?)?;
        let n = room::elements(&shape)?;
        one(value.pick(&vec![0; n], shape))
    })
}

fn single(a: &Array) -> OpResult<Numbers> {
    if a.len() == 1 {
        Numbers::of(a)
    } else {
        Err(format!("{} elements; expected one", a.len()))
    }
}

fn range(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let (start, limit, step) = (x.array(0)?, x.array(1)?, x.array(2)?);
        let dtype = start.dtype();
        let all = match (single(&start)?, single(&limit)?, single(&step)?) {
            (Numbers::Ints(a), Numbers::Ints(b), Numbers::Ints(d)) => {
                let (a, b, d) = (a[0], b[0], d[0]);
                if d == 0 {
                    return Err("a range of step 0".into());
                }
                // Number of steps before the limit, rounded up.
                let n = ((b - a + d - d.signum()) / d).max(0);
                let n = usize::try_from(n).unwrap_or(usize::MAX);
                let n = room::elements(&[n])? as i128;
                Numbers::Ints((0..n).map(|i| a + i * d).collect())
            }
            (a, b, d) => {
                let (a, b, d) = (a.floats()[0], b.floats()[0], d.floats()[0]);
                let n = ((b - a) / d).ceil();
                if d == 0.0 || n.is_nan() {
                    return Err(format!("a range from {a} to {b} of step {d}"));
                }
                let n = room::elements(&[n.max(0.0) as usize])?;
                Numbers::Floats((0..n).map(|i| a + i as f64 * d).collect())
            }
        };
        let n = match &all {
            Numbers::Ints(v) => v.len(),
            Numbers::Floats(v) => v.len(),
        };
        one(all.stored(&[n], dtype)?)
    })
}

/// Builds `EyeLike`: ones on the diagonal `k`, zeros elsewhere.
fn eye_like(node: &NodeSpec<'_>) -> OpResult<Run> {
    let k = node.int("k", 0)?;
    let dtype = match node.int_opt("dtype")? {
        Some(_) => Some(node.dtype("dtype", DType::F32)?),
        None => None,
    };
    run(move |x| {
        let like = x.peek(0)?;
        let dtype = dtype.unwrap_or(like.dtype());
        let shape = like.shape();
        let [rows, columns] = shape[..] else {
            return Err(format!("{} dimensions; expected 2", shape.len()));
        };
        let mut all = vec![0i128; room::elements(&shape)?];
        for row in 0..rows.min(all.len()) {
            let column = (row as i64).checked_add(k).map(usize::try_from);
            if let Some(Ok(column)) = column
                && column < columns
            {
                all[row * columns + column] = 1;
            }
        }
        one(Numbers::Ints(all).stored(&shape, dtype)?)
    })
}

/// Builds `OneHot`: `values` holds the off value and the on value; a negative index counts from the end.
fn one_hot(node: &NodeSpec<'_>) -> OpResult<Run> {
    let named = node.int("axis", -1)?;
    run(move |x| {
        let own = x.peek(0)?.shape();
        let at = axis(named, own.len() + 1)?;
        let depth = x.array(1)?;
        let depth = match single(&depth)? {
            Numbers::Ints(v) => v[0] as f64,
            Numbers::Floats(v) => v[0],
        };
        if !(depth >= 1.0 && depth <= f64::from(i32::MAX)) {
            return Err(format!("a depth of {depth}"));
        }
        let depth = depth as usize;
        let mut shape = own.clone();
        shape.insert(at, depth);
        room::elements(&shape)?;
        let values = x.peek(2)?.shape();
        if values != [2] {
            return Err(format!("values of shape {values:?}; expected [2]"));
        }
        if x.all_host() {
            let (indices, values) = (x.array(0)?.to_f64()?, x.array(2)?);
            let mut from = vec![0; shape.iter().product()];
            let steps = strides(&shape);
            let mut outer = shape.clone();
            outer[at] = 1;
            for (index, start) in indices.into_iter().zip(offsets(&outer, &steps)) {
                let index = index as i64;
                let index = if index < 0 {
                    index + depth as i64
                } else {
                    index
                };
                if (0..depth as i64).contains(&index) {
                    from[start + index as usize * steps[at]] = 1;
                }
            }
            return one(values.pick(&from, shape));
        }
        let mut wide = own;
        wide.insert(at, 1);
        let indices = x.tensor(0)?.detach().reshape(&wide)?;
        let below = indices.clone().lower_scalar(0.0);
        let indices = below.choose(indices.clone().add_scalar(depth as f64), indices)?;
        let mut line = vec![1; shape.len()];
        line[at] = depth;
        let places = (0..depth).map(|i| i as f32).collect();
        let places = Tensor::upload(places, &line, DType::F32, x.device)?;
        let hot = places.equal(indices)?;
        let values: Value = x.take(2)?;
        let values = values.device(x.device)?;
        let alone = vec![1; shape.len()];
        let off = values.clone().narrow(0, 0, 1).reshape(&alone)?;
        let on = values.narrow(0, 1, 1).reshape(&alone)?;
        one(hot.choose(on, off)?)
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("Constant", constant).gradient(Gradient::None),
    OperatorEntry::new("ConstantOfShape", constant_of_shape).on_host(),
    OperatorEntry::new("Range", range).on_host(),
    OperatorEntry::new("EyeLike", eye_like).gradient(Gradient::None),
    OperatorEntry::new("OneHot", one_hot).gradient(Gradient::Zero),
];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::{Case, computed, list, number};
    use crate::proto::TensorProto;

    #[test]
    fn constants() {
        let c = Case::new("Constant").int("value_int", 3);
        assert_eq!(computed(&c), Array::new([], vec![3i64]));
        let c = Case::new("Constant").ints("value_ints", &[3, 4]);
        assert_eq!(computed(&c), list(&[3, 4]));
        let c = Case::new("Constant").float("value_float", 0.5);
        assert_eq!(computed(&c), number(0.5));
        let c = Case::new("Constant").text("value_string", "a");
        assert_eq!(computed(&c), Array::new([], vec!["a".to_owned()]));
        let value = TensorProto {
            dims: vec![1],
            data_type: 7,
            int64_data: vec![5],
            ..Default::default()
        };
        let c = Case::new("Constant").tensor("value", value.clone());
        assert_eq!(computed(&c), list(&[5]));
        let c = Case::new("ConstantOfShape")
            .tensor("value", value)
            .host(list(&[2, 1]));
        assert_eq!(computed(&c), Array::new([2, 1], vec![5i64, 5]));
        let c = Case::new("ConstantOfShape").host(list(&[]));
        assert_eq!(computed(&c), number(0.0));
    }

    #[test]
    fn ranges() {
        let ints = |a: i64, b: i64, d: i64| {
            let one = |v: i64| Array::new([], vec![v]);
            computed(&Case::new("Range").host(one(a)).host(one(b)).host(one(d)))
        };
        assert_eq!(ints(1, 6, 2), list(&[1, 3, 5]));
        assert_eq!(ints(1, 5, 2), list(&[1, 3]));
        assert_eq!(ints(5, 0, -2), list(&[5, 3, 1]));
        assert_eq!(ints(5, 1, -2), list(&[5, 3]));
        assert_eq!(ints(0, -3, 1), list(&[]));
        let c = Case::new("Range")
            .host(number(0.0))
            .host(number(1.0))
            .host(number(0.25));
        let expected = vec![0.0f32, 0.25, 0.5, 0.75];
        assert_eq!(computed(&c), Array::new([4], expected));
    }

    #[test]
    fn unit_matrices() {
        for (k, ones) in [(0, [0, 4]), (1, [1, 5]), (-1, [3, 3])] {
            let mut expected = vec![0i32; 6];
            for i in ones {
                expected[i] = 1;
            }
            let c = Case::new("EyeLike")
                .int("k", k)
                .int("dtype", 6)
                .scattered(&[2, 3], 0.0, 1.0);
            assert_eq!(computed(&c), Array::new([2, 3], expected));
        }
        let c = Case::new("EyeLike")
            .int("k", i64::MAX)
            .host(Array::new([1, 1], vec![7u8]));
        assert_eq!(computed(&c), Array::new([1, 1], vec![0u8]));
    }

    #[test]
    fn one_hot_agrees_everywhere() {
        let values = || Array::new([2], vec![-1.0f32, 5.0]);
        let indices = [0, 2, -1, 7, -3, 1];
        for axis in [-1, 0, 1] {
            let case = || Case::new("OneHot").int("axis", axis);
            let rest = |c: Case| c.host(list(&[3])).host(values());
            let here = rest(case().host(Array::new([2, 3], indices.to_vec())));
            let there = indices.iter().map(|i| f64::from(*i)).collect();
            let there = rest(case().tracked(&[2, 3], there));
            assert_eq!(computed(&here), computed(&there));
        }
        let c = Case::new("OneHot")
            .host(list(&[1, -1]))
            .host(list(&[3]))
            .host(list(&[0, 1]));
        let expected = vec![0i64, 1, 0, 0, 0, 1];
        assert_eq!(computed(&c), Array::new([2, 3], expected));
        // The values may depend on the model's input.
        Case::new("OneHot")
            .host(list(&[1, -1]))
            .host(list(&[3]))
            .scattered(&[2], -1.0, 1.0)
            .assert_gradient();
    }

    #[test]
    fn invalid_nodes_are_errors() {
        let huge = i64::MAX / 2;
        let one = |v: i64| Array::new([], vec![v]);
        for (c, part) in [
            (Case::new("Constant"), "no value"),
            (
                Case::new("Constant").text("value_int", "3"),
                "not an integer",
            ),
            (
                Case::new("ConstantOfShape").host(list(&[huge, 8])),
                "more than",
            ),
            (Case::new("ConstantOfShape").host(list(&[-1])), "length -1"),
            (
                Case::new("ConstantOfShape")
                    .tensor(
                        "value",
                        TensorProto {
                            dims: vec![0],
                            data_type: 1,
                            ..Default::default()
                        },
                    )
                    .host(list(&[1])),
                "0 elements",
            ),
            (
                Case::new("Range").host(one(0)).host(one(5)).host(one(0)),
                "step 0",
            ),
            (
                Case::new("Range")
                    .host(one(i64::MIN))
                    .host(one(i64::MAX))
                    .host(one(1)),
                "more than",
            ),
            (
                Case::new("Range")
                    .host(number(0.0))
                    .host(number(1.0))
                    .host(number(0.0)),
                "of step 0",
            ),
            (
                Case::new("Range")
                    .host(list(&[1, 2]))
                    .host(one(3))
                    .host(one(1)),
                "expected one",
            ),
            (Case::new("EyeLike").scattered(&[2], 0.0, 1.0), "expected 2"),
            (
                Case::new("OneHot")
                    .host(list(&[1]))
                    .host(list(&[0]))
                    .host(list(&[0, 1])),
                "a depth of 0",
            ),
            (
                Case::new("OneHot")
                    .host(list(&[1]))
                    .host(list(&[3]))
                    .host(list(&[0])),
                "expected [2]",
            ),
        ] {
            let problem = c.run().unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
