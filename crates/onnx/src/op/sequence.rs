//! Sequences of values, and optional values.

use super::layout::{Cut, cut, joined, reshaped};
use super::slice::given_parts;
use super::{Gradient, OperatorEntry};
use crate::array::Array;
use crate::node::{Args, NodeSpec, OpResult, Run, axis, one, run};
use crate::value::Value;

/// Maximum number of values in a sequence that a value is split into.
const LONGEST: usize = 1 << 20;

fn sequence(x: &mut Args<'_>, i: usize) -> OpResult<Vec<Value>> {
    match x.take(i)? {
        Value::Sequence(v) => Ok(v),
        _ => Err(format!("input {i} is not a sequence")),
    }
}

fn tensor(value: Value) -> OpResult<Value> {
    match value {
        Value::Host(_) | Value::Device(_) => Ok(value),
        _ => Err("a sequence where a tensor is expected".into()),
    }
}

/// Reads a position in a sequence of `length`; `None` if the input is absent.
fn position(x: &mut Args<'_>, i: usize, length: usize) -> OpResult<Option<usize>> {
    match x.ints_opt(i)?.as_deref() {
        None => Ok(None),
        Some([p]) => axis(*p, length)
            .map(Some)
            .map_err(|_| format!("place {p} in a sequence of {length}")),
        Some(v) => Err(format!("a place of {} elements; expected one", v.len())),
    }
}

fn empty(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|_| one(Value::Sequence(Vec::new())))
}

fn construct(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let values = (0..x.len())
            .map(|i| tensor(x.take(i)?))
            .collect::<OpResult<Vec<_>>>()?;
        one(Value::Sequence(values))
    })
}

fn insert(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let mut values = sequence(x, 0)?;
        let value = tensor(x.take(1)?)?;
        // There is one more position than there are values: after the last.
        let places = values.len() + 1;
        let at = match x.ints_opt(2)?.as_deref() {
            None => values.len(),
            Some([p]) if *p < 0 => axis(*p, values.len())?,
            Some([p]) => axis(*p, places)?,
            Some(v) => return Err(format!("a place of {} elements; expected one", v.len())),
        };
        values.insert(at, value);
        one(Value::Sequence(values))
    })
}

fn erase(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let mut values = sequence(x, 0)?;
        let last = values.len().checked_sub(1);
        let at = position(x, 1, values.len())?
            .or(last)
            .ok_or("an empty sequence")?;
        values.remove(at);
        one(Value::Sequence(values))
    })
}

fn at(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let mut values = sequence(x, 0)?;
        let at = position(x, 1, values.len())?.ok_or("input 1 is missing")?;
        one(values.swap_remove(at))
    })
}

fn length(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let n = sequence(x, 0)?.len();
        one(Array::try_new(Vec::new(), vec![n as i64])?)
    })
}

fn concat(node: &NodeSpec<'_>) -> OpResult<Run> {
    let at = node.int_opt("axis")?.ok_or("attribute `axis` is missing")?;
    let new = node.flag("new_axis", false)?;
    run(move |x| {
        let mut values = sequence(x, 0)?;
        let rank = values.first().ok_or("an empty sequence")?.shape().len();
        let at = axis(at, rank + usize::from(new))?;
        if new {
            values = values
                .into_iter()
                .map(|v| {
                    let mut shape = v.shape();
                    if shape.len() != rank {
                        return Err(format!("shape {shape:?}; expected {rank} dimensions"));
                    }
                    shape.insert(at, 1);
                    reshaped(v, &shape)
                })
                .collect::<OpResult<_>>()?;
        }
        one(joined(values, at, x.device)?)
    })
}

fn split(node: &NodeSpec<'_>) -> OpResult<Run> {
    let at = node.int("axis", 0)?;
    let keep = node.flag("keepdims", true)?;
    run(move |x| {
        let requested = x.array_opt(1)?;
        let value = tensor(x.take(0)?)?;
        let shape = value.shape();
        let at = axis(at, shape.len())?;
        let n = shape[at];
        let (parts, drop) = match &requested {
            None => (Parts::Of(1), !keep),
            Some(a) if a.shape().is_empty() => match a.to_ints()?[..] {
                [size] if size > 0 => (Parts::Of(size as usize), false),
                _ => return Err("parts of length 0; expected 1 or more".into()),
            },
            Some(a) => (Parts::Given(given_parts(n, &a.to_ints()?)?), false),
        };
        let lengths = parts.lengths(n)?;
        let mut cuts: Vec<Cut> = shape.iter().map(|n| Cut::all(*n)).collect();
        let mut rest = shape.clone();
        rest.remove(at);
        let mut start = 0;
        let values = lengths
            .into_iter()
            .map(|count| {
                cuts[at] = Cut::part(start, count);
                start += count;
                let part = cut(value.clone(), &cuts, x.device)?;
                if drop {
                    reshaped(part, &rest)
                } else {
                    Ok(part)
                }
            })
            .collect::<OpResult<Vec<_>>>()?;
        one(Value::Sequence(values))
    })
}

enum Parts {
    /// Parts of that length; the last may be shorter.
    Of(usize),
    Given(Vec<usize>),
}

impl Parts {
    fn lengths(self, n: usize) -> OpResult<Vec<usize>> {
        let count = match &self {
            Self::Of(size) => n.div_ceil(*size),
            Self::Given(list) => list.len(),
        };
        if count > LONGEST {
            return Err(format!(
                "a sequence of {count} values; expected at most {LONGEST}"
            ));
        }
        Ok(match self {
            Self::Of(size) => (0..count).map(|i| size.min(n - i * size)).collect(),
            Self::Given(list) => list,
        })
    }
}

fn optional(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| one(if x.has(0) { x.take(0)? } else { Value::Nothing }))
}

fn element(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| match x.take(0)? {
        Value::Nothing => Err("an empty optional".into()),
        value => one(value),
    })
}

fn has_element(_: &NodeSpec<'_>) -> OpResult<Run> {
    run(|x| {
        let has = x.has(0) && !matches!(x.take(0)?, Value::Nothing);
        one(Array::try_new(Vec::new(), vec![has])?)
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("SequenceEmpty", empty),
    OperatorEntry::new("SequenceConstruct", construct),
    OperatorEntry::new("SequenceInsert", insert),
    OperatorEntry::new("SequenceErase", erase),
    OperatorEntry::new("SequenceAt", at),
    OperatorEntry::new("SequenceLength", length).gradient(Gradient::None),
    OperatorEntry::new("ConcatFromSequence", concat),
    OperatorEntry::new("SplitToSequence", split),
    OperatorEntry::new("Optional", optional),
    OperatorEntry::new("OptionalGetElement", element),
    OperatorEntry::new("OptionalHasElement", has_element).gradient(Gradient::None),
];

#[cfg(test)]
mod tests {
    use crate::Array;
    use crate::proto::NodeProto;
    use crate::sketch::{floats, graph, int, list, node, run_graph};

    /// Runs nodes from `x` (and some integers) to `y`, with `x` on the device and on the host.
    fn both(nodes: &[NodeProto], x: &Array) -> Result<Array, String> {
        let build = |inputs: &[&str]| {
            graph(nodes.to_vec(), inputs, &["y"])
                .constant("zero", &int(0))
                .constant("back", &int(-1))
                .constant("two", &int(2))
                .constant("parts", &list(&[1, 0, 2]))
                .constant("far", &int(i64::MAX))
        };
        let device = run_graph(build(&["x"]), std::slice::from_ref(x));
        let host = run_graph(build(&[]).constant("x", x), &[]);
        assert_eq!(device.is_ok(), host.is_ok(), "{device:?}, {host:?}");
        if let (Ok(d), Ok(h)) = (&device, &host) {
            assert_eq!(d, h);
        }
        device.map(|mut y| y.remove(0))
    }

    fn x() -> Array {
        floats(&[1.0, 2.0, 3.0])
    }

    #[test]
    fn values_go_in_and_come_out() {
        let sequence = |place: &str| {
            [
                node("SequenceConstruct", &["x", "x"], &["s"]),
                node("Add", &["x", "x"], &["d"]),
                node("SequenceInsert", &["s", "d", place], &["t"]),
                node("SequenceAt", &["t", "back"], &["y"]),
            ]
        };
        let doubled = floats(&[2.0, 4.0, 6.0]);
        assert_eq!(both(&sequence(""), &x()).unwrap(), doubled);
        assert_eq!(both(&sequence("two"), &x()).unwrap(), doubled);
        assert_eq!(both(&sequence("back"), &x()).unwrap(), x());
        assert!(both(&sequence("far"), &x()).is_err());
        let erased = [
            node("SequenceEmpty", &[], &["e"]),
            node("SequenceInsert", &["e", "x"], &["s"]),
            node("SequenceErase", &["s"], &["t"]),
            node("SequenceLength", &["t"], &["y"]),
        ];
        assert_eq!(both(&erased, &x()).unwrap(), int(0));
    }

    #[test]
    fn split_and_put_together_again() {
        for (parts, pieces) in [("", 3), ("two", 2), ("parts", 3)] {
            let split = node("SplitToSequence", &["x", parts], &["s"]);
            let count = [split.clone(), node("SequenceLength", &["s"], &["y"])];
            assert_eq!(both(&count, &x()).unwrap(), int(pieces));
            let joined = [
                split,
                node("ConcatFromSequence", &["s"], &["y"]).int("axis", 0),
            ];
            assert_eq!(both(&joined, &x()).unwrap(), x());
        }
        let stacked = [
            node("SplitToSequence", &["x"], &["s"]).int("keepdims", 0),
            node("ConcatFromSequence", &["s"], &["y"])
                .int("axis", -1)
                .int("new_axis", 1),
        ];
        assert_eq!(both(&stacked, &x()).unwrap(), x());
    }

    #[test]
    fn optionals() {
        let has = |first: NodeProto| [first, node("OptionalHasElement", &["o"], &["y"])];
        let yes = both(&has(node("Optional", &["x"], &["o"])), &x()).unwrap();
        assert_eq!(yes.to_ints().unwrap(), [1]);
        let no = both(&has(node("Optional", &[], &["o"])), &x()).unwrap();
        assert_eq!(no.to_ints().unwrap(), [0]);
        let get = |first: NodeProto| [first, node("OptionalGetElement", &["o"], &["y"])];
        assert_eq!(
            both(&get(node("Optional", &["x"], &["o"])), &x()).unwrap(),
            x()
        );
        assert!(both(&get(node("Optional", &[], &["o"])), &x()).is_err());
    }

    #[test]
    fn invalid_nodes_are_errors_without_panics() {
        let wrong = [
            vec![node("SequenceLength", &["x"], &["y"])],
            vec![
                node("SequenceEmpty", &[], &["s"]),
                node("SequenceErase", &["s"], &["y"]),
            ],
            vec![
                node("SequenceEmpty", &[], &["s"]),
                node("ConcatFromSequence", &["s"], &["y"]).int("axis", 0),
            ],
            vec![
                node("SequenceConstruct", &["x"], &["s"]),
                node("SequenceConstruct", &["s"], &["y"]),
            ],
            vec![
                node("SequenceConstruct", &["x"], &["s"]),
                node("SequenceAt", &["s", "two"], &["y"]),
            ],
            vec![
                node("SequenceConstruct", &["x"], &["s"]),
                node("Reshape", &["s", "parts"], &["y"]),
            ],
            vec![
                node("SequenceConstruct", &["x"], &["s"]),
                node("ConcatFromSequence", &["s"], &["y"]).int("axis", 1),
            ],
            vec![node("SplitToSequence", &["x", "zero"], &["y"])],
            vec![node("SplitToSequence", &["x"], &["y"]).int("axis", 1)],
            vec![node("SequenceConstruct", &["x"], &["y"])],
        ];
        for (i, nodes) in wrong.iter().enumerate() {
            let problem = both(nodes, &x()).unwrap_err();
            assert!(!problem.contains("panic"), "case {i}: {problem}");
        }
    }
}
