//! Operators along one axis: the index of the largest or smallest element, and running sums.

use super::numbers::{Numbers, offsets, strides};
use super::{Gradient, OperatorEntry};
use crate::array::Array;
use crate::node::{NodeSpec, OpResult, Run, axis, one, run};
use crate::tensor::Tensor;

/// Builds `ArgMax` or `ArgMin`: returns the first of several equal elements, or the last with `select_last_index`.
fn arg(node: &NodeSpec<'_>, largest: bool) -> OpResult<Run> {
    let named = node.int("axis", 0)?;
    let keep = node.flag("keepdims", true)?;
    let last = node.flag("select_last_index", false)?;
    run(move |x| {
        let own = x.peek(0)?.shape();
        let at = axis(named, own.len())?;
        let n = own[at];
        if n == 0 {
            return Err(format!("axis {named} has no elements to choose from"));
        }
        let mut shape = own.clone();
        if keep {
            shape[at] = 1;
        } else {
            shape.remove(at);
        }
        if x.all_host() {
            let a = x.array(0)?;
            let steps = strides(&own);
            let mut outer = own.clone();
            outer[at] = 1;
            let kept = offsets(&outer, &steps);
            let v = Numbers::of(&a)?;
            let better = |p: usize, q: usize| match &v {
                Numbers::Ints(v) => (v[p].cmp(&v[q])).is_gt() == largest && v[p] != v[q],
                Numbers::Floats(v) => {
                    if v[q].is_nan() {
                        false
                    } else {
                        v[p].is_nan() || if largest { v[p] > v[q] } else { v[p] < v[q] }
                    }
                }
            };
            let found: Vec<i64> = kept
                .iter()
                .map(|from| {
                    (1..n).fold(0, |best, i| {
                        let (p, q) = (from + i * steps[at], from + best * steps[at]);
                        let wins = if last { !better(q, p) } else { better(p, q) };
                        if wins { i } else { best }
                    }) as i64
                })
                .collect();
            return one(Array::try_new(shape, found)?);
        }
        let mut t = x.tensor(0)?.detach();
        if shape.contains(&0) {
            return one(Array::try_new(shape, Vec::<i64>::new())?);
        }
        if last {
            t = t.flip(&[at]);
        }
        let found = if largest { t.argmax(at) } else { t.argmin(at) };
        let found = if last {
            found.neg().add_scalar((n - 1) as f64)
        } else {
            found
        };
        one(found.reshape(&shape)?)
    })
}

/// Builds `CumSum`: running sums, without the element itself if `exclusive`, from the end if `reverse`.
fn cumulative(node: &NodeSpec<'_>) -> OpResult<Run> {
    let exclusive = node.flag("exclusive", false)?;
    let reverse = node.flag("reverse", false)?;
    run(move |x| {
        let own = x.peek(0)?.shape();
        let named = match x.ints(1)?.as_slice() {
            [a] => *a,
            list => return Err(format!("{} axes; expected one", list.len())),
        };
        let at = axis(named, own.len())?;
        let n = own[at];
        if own.contains(&0) {
            return one(x.take(0)?);
        }
        if x.all_host() {
            let a = x.array(0)?;
            let steps = strides(&own);
            let mut outer = own.clone();
            outer[at] = 1;
            let starts = offsets(&outer, &steps);
            let from =
                |start: usize, i: usize| start + if reverse { n - 1 - i } else { i } * steps[at];
            macro_rules! summed {
                ($v:expr, $zero:expr) => {{
                    let mut v = $v;
                    for start in &starts {
                        let mut total = $zero;
                        for i in 0..n {
                            let here = &mut v[from(*start, i)];
                            let with = total + *here;
                            *here = if exclusive { total } else { with };
                            total = with;
                        }
                    }
                    v
                }};
            }
            let all = match Numbers::of(&a)? {
                Numbers::Ints(v) => Numbers::Ints(summed!(v, 0i128)),
                Numbers::Floats(v) => Numbers::Floats(summed!(v, 0.0f64)),
            };
            return one(all.stored(&own, a.dtype())?);
        }
        let mut t = x.tensor(0)?;
        if reverse {
            t = t.flip(&[at]);
        }
        // Shift the input: subtracting the element from the inclusive sum would lose digits.
        if exclusive {
            let mut first = own.clone();
            first[at] = 1;
            let zero = Tensor::full(&first, 0.0, x.device)?.typed(t.dtype());
            t = Tensor::cat(vec![zero, t], at)?.narrow(at, 0, n);
        }
        t = t.cumsum(at);
        if reverse {
            t = t.flip(&[at]);
        }
        one(t)
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("ArgMax", |n| arg(n, true)).gradient(Gradient::Zero),
    OperatorEntry::new("ArgMin", |n| arg(n, false)).gradient(Gradient::Zero),
    OperatorEntry::new("CumSum", cumulative),
];

#[cfg(test)]
mod tests {
    use crate::array::Array;
    use crate::check::{Case, computed, list};

    #[test]
    fn gradients() {
        for (exclusive, reverse) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            for axis in [0, -1] {
                Case::new("CumSum")
                    .int("exclusive", exclusive)
                    .int("reverse", reverse)
                    .scattered(&[3, 4], -1.0, 1.0)
                    .host(list(&[axis]))
                    .assert_gradient();
            }
        }
        for last in [0, 1] {
            Case::new("ArgMax")
                .int("select_last_index", last)
                .scattered(&[3, 4], -1.0, 1.0)
                .assert_gradient();
        }
    }

    #[test]
    fn ties_go_to_the_first_or_the_last_index() {
        let values = vec![2.0, 5.0, 5.0, 1.0, 5.0, 1.0];
        for (op, last, expected) in [
            ("ArgMax", 0, 1),
            ("ArgMax", 1, 4),
            ("ArgMin", 0, 3),
            ("ArgMin", 1, 5),
        ] {
            let case = || Case::new(op).int("select_last_index", last);
            let there = case().tracked(&[6], values.clone());
            let here = case().host(Array::new([6], values.clone()));
            let ints = case().host(list(&[2, 5, 5, 1, 5, 1]));
            for c in [there, here, ints] {
                assert_eq!(computed(&c), list(&[expected]), "{op} {last}");
            }
        }
    }

    #[test]
    fn running_sums() {
        for (exclusive, reverse, expected) in [
            (0, 0, [1, 3, 6]),
            (1, 0, [0, 1, 3]),
            (0, 1, [6, 5, 3]),
            (1, 1, [5, 3, 0]),
        ] {
            let case = || {
                Case::new("CumSum")
                    .int("exclusive", exclusive)
                    .int("reverse", reverse)
            };
            let here = case().host(list(&[1, 2, 3])).host(list(&[-1]));
            assert_eq!(computed(&here), list(&expected));
            let there = case()
                .tracked(&[3], vec![1.0, 2.0, 3.0])
                .host(Array::new([], vec![0i32]));
            let expected = expected.map(|v| v as f32).to_vec();
            assert_eq!(computed(&there), Array::new([3], expected));
        }
    }

    #[test]
    fn invalid_nodes_are_errors() {
        for (c, part) in [
            (
                Case::new("ArgMax").tracked(&[2, 0], vec![]).int("axis", 1),
                "no elements",
            ),
            (Case::new("ArgMax").tracked(&[], vec![1.0]), "axis 0"),
            (
                Case::new("CumSum")
                    .scattered(&[2], 0.0, 1.0)
                    .host(list(&[0, 0])),
                "2 axes; expected one",
            ),
        ] {
            let problem = c.run().unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
