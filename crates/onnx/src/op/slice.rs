//! Slicing, splitting and concatenating: Slice, Split, Concat.

use super::OperatorEntry;
use super::layout::{Cut, cut, joined};
use crate::lower::{Lowering, lowering, lowering_of_all};
use crate::node::{NodeSpec, OpResult, Run, axes, axis, one, run};

/// Converts `start`, `end` and `step` to the cut of a dimension of `length`: negative numbers count from its end, and
/// bounds outside are clamped.
fn window(length: usize, start: i64, end: i64, step: i64) -> OpResult<Cut> {
    let n = length as i64;
    let counted = |i: i64| if i < 0 { i.saturating_add(n) } else { i };
    if step == 0 {
        return Err("a step of 0".into());
    }
    let (start, reach) = if step > 0 {
        let start = counted(start).clamp(0, n);
        (start, counted(end).clamp(0, n) - start)
    } else {
        // Backwards, a start before the first entry is clamped to the first entry.
        let start = counted(start).max(0).min(n - 1);
        (start, start - counted(end).clamp(-1, n))
    };
    if reach <= 0 {
        return Ok(Cut::part(0, 0));
    }
    let count = (reach as u64 - 1) / step.unsigned_abs() + 1;
    Ok(Cut {
        start: start as usize,
        count: count as usize,
        step: if count == 1 { 1 } else { step as isize },
    })
}

fn slice(node: &NodeSpec<'_>) -> OpResult<Run> {
    let old = match (node.ints("starts")?, node.ints("ends")?) {
        (Some(starts), Some(ends)) => Some((starts, ends, node.ints("axes")?)),
        _ => None,
    };
    run(move |x| {
        let (starts, ends, on, steps) = match &old {
            Some((starts, ends, on)) => (starts.clone(), ends.clone(), on.clone(), None),
            None => (x.ints(1)?, x.ints(2)?, x.ints_opt(3)?, x.ints_opt(4)?),
        };
        let value = x.take(0)?;
        let own = value.shape();
        let on = match on {
            Some(list) => axes(&list, own.len())?,
            None => (0..starts.len()).collect(),
        };
        let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
        let lengths = [ends.len(), on.len(), steps.len()];
        if lengths != [starts.len(); 3] || starts.len() > own.len() {
            return Err(format!(
                "{} starts, {} ends, {} axes and {} steps for a value with {} dimensions",
                starts.len(),
                lengths[0],
                lengths[1],
                lengths[2],
                own.len()
            ));
        }
        let mut cuts: Vec<Cut> = own.iter().map(|n| Cut::all(*n)).collect();
        for (i, at) in on.into_iter().enumerate() {
            cuts[at] = window(own[at], starts[i], ends[i], steps[i])?;
        }
        one(cut(value, &cuts, x.device)?)
    })
}

/// Returns the lengths of equal parts; the last is shorter if `n` is not a multiple and `uneven` parts are allowed.
pub(super) fn equal_parts(n: usize, parts: usize, uneven: bool) -> OpResult<Vec<usize>> {
    if parts == 0 || (!uneven && !n.is_multiple_of(parts)) {
        return Err(format!(
            "{n} entries cannot be split into {parts} equal parts"
        ));
    }
    let full = n.div_ceil(parts);
    let before = full.saturating_mul(parts - 1);
    let last = n
        .checked_sub(before)
        .ok_or_else(|| format!("{n} entries cannot be split into {parts} parts"))?;
    let mut lengths = vec![full; parts];
    lengths[parts - 1] = last;
    Ok(lengths)
}

/// Converts lengths given in the file. An error unless they add up to `n`.
pub(super) fn given_parts(n: usize, list: &[i64]) -> OpResult<Vec<usize>> {
    let refuse = || format!("parts {list:?} of {n} entries");
    let lengths: Vec<usize> = list
        .iter()
        .map(|d| usize::try_from(*d).map_err(|_| refuse()))
        .collect::<OpResult<_>>()?;
    let sum = lengths.iter().try_fold(0usize, |s, d| s.checked_add(*d));
    if sum == Some(n) {
        Ok(lengths)
    } else {
        Err(refuse())
    }
}

fn split(node: &NodeSpec<'_>) -> OpResult<Run> {
    let at = node.int("axis", 0)?;
    let fixed = node.ints("split")?;
    let requested = node.int_opt("num_outputs")?;
    let (outputs, uneven) = (node.outputs(), node.opset >= 18);
    if requested.is_some_and(|n| n != outputs as i64) {
        return Err(format!(
            "num_outputs is {}, and the node has {outputs} outputs",
            requested.unwrap_or(0)
        ));
    }
    run(move |x| {
        let list = match &fixed {
            Some(list) => Some(list.clone()),
            None => x.ints_opt(1)?,
        };
        let value = x.take(0)?;
        let own = value.shape();
        let at = axis(at, own.len())?;
        let lengths = match list {
            Some(list) if list.len() == outputs => given_parts(own[at], &list)?,
            Some(list) => {
                return Err(format!("{} parts for {outputs} outputs", list.len()));
            }
            None => equal_parts(own[at], outputs, uneven)?,
        };
        let mut cuts: Vec<Cut> = own.iter().map(|n| Cut::all(*n)).collect();
        let mut start = 0;
        lengths
            .into_iter()
            .map(|count| {
                cuts[at] = Cut::part(start, count);
                start += count;
                cut(value.clone(), &cuts, x.device)
            })
            .collect()
    })
}

fn concat(node: &NodeSpec<'_>) -> OpResult<Run> {
    let at = node
        .int_opt("axis")?
        .ok_or("attribute `axis` is missing; expected a dimension")?;
    run(move |x| {
        let at = axis(at, x.peek(0)?.shape().len())?;
        let parts = (0..x.len())
            .map(|i| x.take(i))
            .collect::<OpResult<Vec<_>>>()?;
        one(joined(parts, at, x.device)?)
    })
}

fn lowered_concat(node: &NodeSpec<'_>) -> OpResult<Lowering> {
    let at = node.int("axis", 0)?;
    lowering(move |x| {
        let parts = (0..x.len())
            .map(|i| x.sample(i))
            .collect::<OpResult<Vec<_>>>()?;
        let at = axis(at, x.output().len())?;
        x.joined(&parts, at)
    })
}

fn lowered_slice(node: &NodeSpec<'_>) -> OpResult<Lowering> {
    let old = match (node.ints("starts")?, node.ints("ends")?) {
        (Some(starts), Some(ends)) => Some((starts, ends, node.ints("axes")?)),
        _ => None,
    };
    lowering(move |x| {
        let mut s = x.sample(0)?;
        let given = |i: usize| x.ints(i)?.ok_or_else(|| format!("input {i} is missing"));
        let (starts, ends, on, steps) = match &old {
            Some((starts, ends, on)) => (starts.clone(), ends.clone(), on.clone(), None),
            None => (given(1)?, given(2)?, x.ints(3)?, x.ints(4)?),
        };
        let on = match on {
            Some(list) => axes(&list, s.shape().len())?,
            None => (0..starts.len()).collect(),
        };
        let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
        for (i, at) in on.into_iter().enumerate() {
            let (Some(start), Some(end), Some(step)) = (starts.get(i), ends.get(i), steps.get(i))
            else {
                return Err("lists of different lengths".into());
            };
            let cut = window(s.shape()[at], *start, *end, *step)?;
            let entry = |k: usize| (cut.start as isize + k as isize * cut.step) as usize;
            s = s.along(at, &(0..cut.count).map(entry).collect::<Vec<_>>());
        }
        Ok(s)
    })
}

fn lowered_split(node: &NodeSpec<'_>) -> OpResult<Lowering> {
    let at = node.int("axis", 0)?;
    let fixed = node.ints("split")?;
    let (outputs, uneven) = (node.outputs(), node.opset >= 18);
    lowering_of_all(move |x| {
        let s = x.sample(0)?;
        let at = axis(at, s.shape().len())?;
        let lengths = match fixed
            .clone()
            .map_or_else(|| x.ints(1), |list| Ok(Some(list)))?
        {
            Some(list) => given_parts(s.shape()[at], &list)?,
            None => equal_parts(s.shape()[at], outputs, uneven)?,
        };
        let start: usize = lengths.iter().take(x.which()).sum();
        let length = *lengths.get(x.which()).ok_or("too few parts")?;
        Ok(s.along(at, &(start..start + length).collect::<Vec<_>>()))
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("Slice", slice).lowered(lowered_slice),
    OperatorEntry::new("Split", split).lowered(lowered_split),
    OperatorEntry::new("Concat", concat).lowered(lowered_concat),
];

#[cfg(test)]
mod tests {
    use crate::Array;
    use crate::check::{Case, list};

    fn sliced(case: Case, start: i64, end: i64, step: i64) -> Array {
        case.host(list(&[start]))
            .host(list(&[end]))
            .host(list(&[-1]))
            .host(list(&[step]))
            .run()
            .unwrap()
            .remove(0)
    }

    /// Compares with a plain loop over the indices.
    #[test]
    fn every_small_slice() {
        let ends = [i64::MIN, -7, -6, -3, -1, 0, 1, 2, 4, 5, 6, i64::MAX];
        for n in [0i64, 1, 5] {
            for start in ends {
                for end in ends {
                    for step in [1, 2, 7, i64::MAX, -1, -2, -7, i64::MIN] {
                        let wide = i128::from(n);
                        let counted = |i: i64| i128::from(i) + if i < 0 { wide } else { 0 };
                        let (mut at, end_at) = if step > 0 {
                            (counted(start).clamp(0, wide), counted(end).clamp(0, wide))
                        } else {
                            let first = counted(start).max(0).min(wide - 1);
                            (first, counted(end).clamp(-1, wide))
                        };
                        let mut want = Vec::new();
                        while (step > 0 && at < end_at) || (step < 0 && at > end_at) {
                            want.push(at as f64);
                            at += i128::from(step);
                        }
                        let values: Vec<f64> = (0..n).map(|i| i as f64).collect();
                        let host =
                            Case::new("Slice").host(Array::new([values.len()], values.clone()));
                        let device = Case::new("Slice").tracked(&[values.len()], values);
                        for case in [host, device] {
                            let got = sliced(case, start, end, step).to_f64().unwrap();
                            assert_eq!(got, want, "{n}: {start}:{end}:{step}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn gradients() {
        for (start, end, step) in [(1, 4, 1), (0, 5, 2), (-1, i64::MIN, -1), (4, 0, -3)] {
            Case::new("Slice")
                .scattered(&[2, 5], -1.0, 1.0)
                .host(list(&[start]))
                .host(list(&[end]))
                .host(list(&[1]))
                .host(list(&[step]))
                .assert_gradient();
        }
        Case::new("Slice")
            .opset(9)
            .ints("starts", &[0, 1])
            .ints("ends", &[1, 9])
            .scattered(&[2, 5], -1.0, 1.0)
            .assert_gradient();
        Case::new("Split")
            .int("axis", -1)
            .outputs(3)
            .scattered(&[2, 5], -1.0, 1.0)
            .host(list(&[1, 0, 4]))
            .assert_gradient();
        Case::new("Split")
            .outputs(2)
            .int("num_outputs", 2)
            .scattered(&[3, 2], -1.0, 1.0)
            .assert_gradient();
        Case::new("Concat")
            .int("axis", -1)
            .scattered(&[2, 1, 2], -1.0, 1.0)
            .host(Array::new([2, 1, 1], vec![1.0f32, 2.0]))
            .scattered(&[2, 1, 3], -1.0, 1.0)
            .assert_gradient();
    }

    #[test]
    fn values() {
        let got = Case::new("Concat")
            .int("axis", 1)
            .host(Array::new([2, 1], vec![1i64 << 60, 2]))
            .host(Array::new([2, 2], vec![3i64, 4, 5, 6]))
            .run()
            .unwrap();
        let want = vec![1i64 << 60, 3, 4, 2, 5, 6];
        assert_eq!(got, [Array::new([2, 3], want)]);
        let empty = Case::new("Concat")
            .int("axis", 0)
            .tracked(&[0, 2], vec![])
            .tracked(&[0, 2], vec![])
            .run()
            .unwrap();
        assert_eq!(empty[0].shape(), [0, 2]);
        let old = Case::new("Split")
            .opset(7)
            .outputs(2)
            .ints("split", &[1, 2])
            .host(Array::new([3], vec![7u8, 8, 9]))
            .run()
            .unwrap();
        assert_eq!(
            old,
            [Array::new([1], vec![7u8]), Array::new([2], vec![8u8, 9])]
        );
    }

    #[test]
    fn invalid_nodes_are_errors_without_panics() {
        let x = || Array::new([2, 3], vec![0.0f32; 6]);
        let text = || Array::new([2, 3], vec![String::new(); 6]);
        let wrong = [
            Case::new("Slice").host(x()),
            Case::new("Slice")
                .host(x())
                .host(list(&[0]))
                .host(list(&[0, 1])),
            Case::new("Slice")
                .host(x())
                .host(list(&[0]))
                .host(list(&[1]))
                .host(list(&[0]))
                .host(list(&[0])),
            Case::new("Slice")
                .host(x())
                .host(list(&[0, 0]))
                .host(list(&[1, 1]))
                .host(list(&[0, -2])),
            Case::new("Slice")
                .host(x())
                .host(list(&[0, 0, 0]))
                .host(list(&[1, 1, 1])),
            Case::new("Split")
                .outputs(2)
                .int("axis", 1)
                .opset(13)
                .host(x()),
            Case::new("Split").outputs(2).int("axis", 7).host(x()),
            Case::new("Split")
                .outputs(2)
                .int("num_outputs", 3)
                .host(x()),
            Case::new("Split").outputs(2).host(x()).host(list(&[1])),
            Case::new("Split").outputs(2).host(x()).host(list(&[3, -1])),
            Case::new("Split")
                .outputs(2)
                .host(x())
                .host(list(&[i64::MAX, i64::MAX])),
            Case::new("Split").outputs(5).int("axis", 1).host(x()),
            Case::new("Concat").host(x()),
            Case::new("Concat").int("axis", 2).host(x()),
            Case::new("Concat").int("axis", 0),
            Case::new("Concat").int("axis", 0).host(x()).host(text()),
            Case::new("Concat")
                .int("axis", 0)
                .host(x())
                .host(list(&[1])),
        ];
        for (i, case) in wrong.iter().enumerate() {
            let problem = case.run().unwrap_err();
            assert!(!problem.contains("panic"), "case {i}: {problem}");
        }
    }
}
