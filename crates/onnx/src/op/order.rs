//! Finding elements by their order or value: the largest or smallest few, the non-zero ones, the distinct ones.

use std::cmp::Ordering;

use super::OperatorEntry;
use super::numbers::{Numbers, offsets, strides};
use crate::array::{Array, Data};
use crate::dtype::DType;
use crate::node::{NodeSpec, OpResult, Run, axis, one, run};
use crate::room;
use crate::value::Value;

/// Compares two values; NaN is larger than every number, as devices sort it.
fn by_value(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b)
        .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn host_top(a: &Array, at: usize, k: usize, largest: bool) -> OpResult<Vec<Value>> {
    let own = a.shape();
    let steps = strides(own);
    let mut outer = own.to_vec();
    outer[at] = 1;
    let numbers = Numbers::of(a)?;
    let compare = |p: usize, q: usize| match &numbers {
        Numbers::Ints(v) => v[p].cmp(&v[q]),
        Numbers::Floats(v) => by_value(v[p], v[q]),
    };
    let mut shape = own.to_vec();
    shape[at] = k;
    let out_steps = strides(&shape);
    let count = room::elements(&shape)?;
    if count == 0 {
        return Ok(vec![
            a.pick(&[], shape.clone()).into(),
            Array::try_new(shape, Vec::<i64>::new())?.into(),
        ]);
    }
    let (mut from, mut indices) = (vec![0; count], vec![0i64; count]);
    for (start, out) in offsets(&outer, &steps)
        .into_iter()
        .zip(offsets(&outer, &out_steps))
    {
        let mut order: Vec<usize> = (0..own[at]).collect();
        // The sort is stable: of equal elements the first comes first.
        order.sort_by(|p, q| {
            let ascending = compare(start + p * steps[at], start + q * steps[at]);
            if largest {
                ascending.reverse()
            } else {
                ascending
            }
        });
        for (i, found) in order.iter().take(k).enumerate() {
            from[out + i * out_steps[at]] = start + found * steps[at];
            indices[out + i * out_steps[at]] = *found as i64;
        }
    }
    Ok(vec![
        a.pick(&from, shape.clone()).into(),
        Array::try_new(shape, indices)?.into(),
    ])
}

/// Builds `TopK`. `k` is an attribute before version 10, an input since.
fn top_k(node: &NodeSpec<'_>) -> OpResult<Run> {
    let named = node.int("axis", -1)?;
    let largest = node.flag("largest", true)?;
    let fixed = node.int_opt("k")?;
    if node.opset < 10 && fixed.is_none() {
        return Err("attribute `k` is missing".into());
    }
    run(move |x| {
        let own = x.peek(0)?.shape();
        let at = axis(named, own.len())?;
        let k = match x.ints_opt(1)? {
            Some(list) if list.len() == 1 => list[0],
            Some(list) => return Err(format!("{} values of k; expected one", list.len())),
            None => fixed.ok_or("input 1 is missing")?,
        };
        let k = usize::try_from(k)
            .ok()
            .filter(|k| *k <= own[at])
            .ok_or_else(|| format!("the top {k} of {} elements", own[at]))?;
        let empty = k == 0 || own.contains(&0);
        if x.all_host() || empty {
            // An empty result has no gradient, so the host returns it.
            return host_top(&x.array(0)?, at, k, largest);
        }
        let t = x.tensor(0)?;
        let order = t.clone().order(at, largest)?.head(at, k);
        let values = t.gather(at, order.clone());
        Ok(vec![values.into(), order.numbers(DType::I64).into()])
    })
}

/// Builds `NonZero`: one column of coordinates for each non-zero element.
fn non_zero(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let a = x.array(0)?;
        let flags = a.cast(DType::Bool)?;
        let Data::Bool(flags) = flags.data() else {
            return Err("numbers are expected".into());
        };
        let found: Vec<usize> = (0..flags.len()).filter(|i| flags[*i]).collect();
        let places = strides(a.shape())
            .into_iter()
            .zip(a.shape())
            .flat_map(|(stride, dim)| found.iter().map(move |i| (i / stride % dim) as i64))
            .collect::<Vec<i64>>();
        one(Array::try_new([a.shape().len(), found.len()], places)?)
    })
}

/// Comparison key of an element of any type.
#[derive(PartialEq)]
enum Key {
    Int(i128),
    Float(f64),
    Text(String),
}

impl Key {
    fn all(a: &Array) -> OpResult<Vec<Self>> {
        if let Data::Text(v) = a.data() {
            return Ok(v.iter().cloned().map(Key::Text).collect());
        }
        Ok(match Numbers::of(a)? {
            Numbers::Ints(v) => v.into_iter().map(Key::Int).collect(),
            Numbers::Floats(v) => v.into_iter().map(Key::Float).collect(),
        })
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => by_value(*a, *b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            // All keys of one array are of one kind.
            _ => Ordering::Equal,
        }
    }
}

/// Builds `Unique`: returns the distinct elements (or slices along an axis), the index of the first occurrence of each,
/// the index of each element among the distinct ones, and the number of occurrences.
fn unique(node: &NodeSpec<'_>) -> OpResult<Run> {
    let named = node.int_opt("axis")?;
    let sorted = node.flag("sorted", true)?;
    run(move |x| {
        let mut a = x.array(0)?;
        let at = if let Some(named) = named {
            axis(named, a.shape().len())?
        } else {
            a = a.reshape(&[a.len()])?;
            0
        };
        let keys = Key::all(&a)?;
        let (own, steps) = (a.shape().to_vec(), strides(a.shape()));
        let mut rest = own.clone();
        rest[at] = rest[at].min(1);
        let rest = offsets(&rest, &steps);
        let compare = |p: usize, q: usize| {
            rest.iter()
                .map(|i| keys[i + p * steps[at]].compare(&keys[i + q * steps[at]]))
                .find(|o| o.is_ne())
                .unwrap_or(Ordering::Equal)
        };
        room::elements(&[own[at]])?;
        let mut order: Vec<usize> = (0..own[at]).collect();
        order.sort_by(|p, q| compare(*p, *q));
        // Runs of equal elements; the sort is stable, so each run begins with its first occurrence.
        let mut runs: Vec<Vec<usize>> = Vec::new();
        for i in order {
            match runs.last_mut() {
                Some(run) if compare(run[0], i).is_eq() => run.push(i),
                _ => runs.push(vec![i]),
            }
        }
        if !sorted {
            runs.sort_by_key(|run| run[0]);
        }
        let mut inverse = vec![0i64; own[at]];
        for (which, run) in runs.iter().enumerate() {
            for i in run {
                inverse[*i] = which as i64;
            }
        }
        let mut shape = own.clone();
        shape[at] = runs.len();
        let mut from = vec![0; room::elements(&shape)?];
        let out_steps = strides(&shape);
        let mut out = shape.clone();
        out[at] = out[at].min(1);
        for (source, target) in rest.iter().zip(offsets(&out, &out_steps)) {
            for (which, run) in runs.iter().enumerate() {
                from[target + which * out_steps[at]] = source + run[0] * steps[at];
            }
        }
        let first = runs.iter().map(|run| run[0] as i64).collect();
        let counts = runs.iter().map(|run| run.len() as i64).collect();
        Ok(vec![
            a.pick(&from, shape).into(),
            Array::list(first).into(),
            Array::list(inverse).into(),
            Array::list(counts).into(),
        ])
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("TopK", top_k),
    OperatorEntry::new("NonZero", non_zero).on_host(),
    OperatorEntry::new("Unique", unique).on_host(),
];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::{Case, list};

    #[test]
    fn gradients() {
        for axis in [0, 1, -1] {
            for largest in [0, 1] {
                Case::new("TopK")
                    .outputs(2)
                    .int("axis", axis)
                    .int("largest", largest)
                    .scattered(&[3, 4, 3], -1.0, 1.0)
                    .host(list(&[2]))
                    .assert_gradient();
            }
        }
        Case::new("TopK")
            .opset(9)
            .int("k", 3)
            .scattered(&[5], -1.0, 1.0)
            .assert_gradient();
    }

    #[test]
    fn of_equal_elements_the_first_comes_first() {
        let values: Vec<f64> = (0..300).map(|i| f64::from(i * 7 % 5)).collect();
        for largest in [0, 1] {
            for (shape, axis) in [(vec![300], 0), (vec![3, 100], 1), (vec![100, 3], 0)] {
                let case = |c: Case| {
                    c.outputs(2)
                        .int("largest", largest)
                        .int("axis", axis)
                        .host(list(&[60]))
                };
                let there = case(Case::new("TopK").tracked(&shape, values.clone()));
                let here = case(Case::new("TopK").host(Array::new(
                    shape.clone(),
                    values.iter().map(|v| *v as f32).collect::<Vec<_>>(),
                )));
                let ints = case(Case::new("TopK").host(Array::new(
                    shape,
                    values.iter().map(|v| *v as i64).collect::<Vec<_>>(),
                )));
                let there = there.run().unwrap();
                assert_eq!(there, here.run().unwrap());
                assert_eq!(there[1], ints.run().unwrap()[1]);
            }
        }
    }

    #[test]
    fn top_k_of_an_empty_value_is_empty() {
        for k in [0, 1] {
            let c = Case::new("TopK")
                .outputs(2)
                .int("axis", 1)
                .tracked(&[0, 2], vec![])
                .host(list(&[k]));
            let out = c.run().unwrap();
            assert_eq!(out[0].shape(), [0, k as usize]);
            assert_eq!(out[1], Array::new([0, k as usize], Vec::<i64>::new()));
        }
    }

    #[test]
    fn coordinates_of_non_zero_elements() {
        let c = Case::new("NonZero").tracked(&[2, 2], vec![1.0, 0.0, -2.0, 3.0]);
        assert_eq!(
            c.run().unwrap(),
            [Array::new([2, 3], vec![0i64, 1, 1, 0, 0, 1])]
        );
        let c = Case::new("NonZero").host(Array::new([0, 3], Vec::<i64>::new()));
        assert_eq!(c.run().unwrap(), [Array::new([2, 0], Vec::<i64>::new())]);
    }

    #[test]
    fn distinct_elements() {
        let case = || Case::new("Unique").outputs(4);
        let given = list(&[2, 1, 1, 3, 4, 3]);
        let c = case().int("sorted", 0).host(given.clone());
        assert_eq!(
            c.run().unwrap(),
            [
                list(&[2, 1, 3, 4]),
                list(&[0, 1, 3, 4]),
                list(&[0, 1, 1, 2, 3, 2]),
                list(&[1, 2, 2, 1])
            ]
        );
        let c = case().host(given);
        assert_eq!(
            c.run().unwrap(),
            [
                list(&[1, 2, 3, 4]),
                list(&[1, 0, 3, 4]),
                list(&[1, 0, 0, 2, 3, 2]),
                list(&[2, 1, 2, 1])
            ]
        );
        let rows = vec![1.0, 0.0, 1.0, 0.0, 2.0, 3.0];
        let c = case().int("axis", 0).tracked(&[3, 2], rows);
        assert_eq!(
            c.run().unwrap(),
            [
                Array::new([2, 2], vec![1.0f32, 0.0, 2.0, 3.0]),
                list(&[0, 2]),
                list(&[0, 0, 1]),
                list(&[2, 1])
            ]
        );
        let text = ["b", "a", "b"].map(str::to_owned).to_vec();
        let c = Case::new("Unique").host(Array::new([3], text));
        let expected = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(c.run().unwrap(), [Array::new([2], expected)]);
    }

    #[test]
    fn empty_values_may_claim_any_length() {
        let empty = || Array::new([1 << 30, 0, 1 << 17], Vec::<i64>::new());
        let c = Case::new("TopK")
            .outputs(2)
            .int("axis", 1)
            .host(empty())
            .host(list(&[0]));
        assert_eq!(c.run().unwrap()[1], empty());
        let c = Case::new("Unique").int("axis", 1).host(empty());
        assert_eq!(c.run().unwrap()[0], empty());
        let c = Case::new("NonZero").host(empty());
        assert_eq!(c.run().unwrap()[0].shape(), [3, 0]);
    }

    #[test]
    fn invalid_nodes_are_errors() {
        let top = |k: &[i64]| {
            Case::new("TopK")
                .outputs(2)
                .scattered(&[3], 0.0, 1.0)
                .host(list(k))
        };
        for (c, part) in [
            (top(&[4]), "the top 4 of 3"),
            (top(&[-1]), "the top -1 of 3"),
            (top(&[1, 2]), "expected one"),
            (top(&[1]).int("axis", 1), "axis 1"),
            (
                Case::new("TopK").opset(9).scattered(&[3], 0.0, 1.0),
                "`k` is missing",
            ),
            (
                Case::new("Unique").int("axis", 2).scattered(&[3], 0.0, 1.0),
                "axis 2",
            ),
        ] {
            let problem = c.run().unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
