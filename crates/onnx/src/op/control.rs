//! Operators with subgraphs: If, Loop, Scan.

use burn::tensor::Device;

use super::OperatorEntry;
use super::layout::{Cut, cut, joined, reshaped};
use crate::array::Array;
use crate::dtype::DType;
use crate::graph::{Graph, Plan};
use crate::node::{Args, NodeSpec, OpResult, Run, axis, run};
use crate::proto::ValueInfoProto;
use crate::room;
use crate::value::Value;

/// A subgraph of a node, ready to run.
struct Body {
    graph: Graph,
    plan: Plan,
    outputs: Vec<ValueInfoProto>,
}

impl Body {
    /// Reads the subgraph in attribute `name`. An error unless it has this number of inputs of its own and of outputs.
    fn new(node: &NodeSpec<'_>, name: &str, inputs: usize, outputs: usize) -> OpResult<Self> {
        let graph = node.branch(name)?;
        let given = graph.inputs.len() - node.captured().len().min(graph.inputs.len());
        if given != inputs || graph.outputs.len() != outputs {
            return Err(format!(
                "`{name}` has {given} inputs and {} outputs; expected {inputs} and {outputs}",
                graph.outputs.len()
            ));
        }
        let plan = graph.plan(&graph.outputs);
        let outputs = node
            .attribute(name)
            .and_then(|a| a.g.as_ref())
            .map(|g| g.output.clone())
            .unwrap_or_default();
        Ok(Self {
            graph,
            plan,
            outputs,
        })
    }

    fn call(&self, mut own: Vec<Value>, around: &[Value], device: &Device) -> OpResult<Vec<Value>> {
        own.extend_from_slice(around);
        self.graph
            .run(&self.plan, own, device, 1, &mut |_, _| {})
            .map_err(|e| e.to_string())
    }
}

/// Takes the values that the subgraphs read from the enclosing graphs.
fn surroundings(x: &mut Args<'_>, declared: usize) -> OpResult<Vec<Value>> {
    (declared..x.len()).map(|i| x.take(i)).collect()
}

/// Reads a single boolean, copied from the device if it is there.
fn truth(value: Value) -> OpResult<bool> {
    let array = value.host()?;
    match array.to_f64()?.as_slice() {
        [x] => Ok(*x != 0.0),
        v => Err(format!("a condition of {} elements; expected one", v.len())),
    }
}

fn if_(node: &NodeSpec<'_>) -> OpResult<Run> {
    let outputs = node.outputs();
    let branch = |yes: bool| {
        let name = if yes { "then_branch" } else { "else_branch" };
        Body::new(node, name, 0, outputs)
    };
    let declared = node.declared();
    if let Some(known) = node.constant(0) {
        // The other branch is not built: it never runs, so it may hold unsupported operators.
        let taken = branch(truth(known.clone().into())?)?;
        return run(move |x| taken.call(Vec::new(), &surroundings(x, declared)?, x.device));
    }
    let (yes, no) = (branch(true)?, branch(false)?);
    run(move |x| {
        let taken = if truth(x.take(0)?)? { &yes } else { &no };
        taken.call(Vec::new(), &surroundings(x, declared)?, x.device)
    })
}

/// Stacks one value per round along a new dimension.
fn stacked(
    mut rounds: Vec<Value>,
    at: i64,
    reversed: bool,
    declared: &ValueInfoProto,
    device: &Device,
) -> OpResult<Value> {
    let Some(first) = rounds.first() else {
        return nothing_stacked(declared, at);
    };
    let at = axis(at, first.shape().len() + 1)?;
    if reversed {
        rounds.reverse();
    }
    let rows = rounds
        .into_iter()
        .map(|v| {
            let mut shape = v.shape();
            if at > shape.len() {
                return Err(format!(
                    "a value of shape {shape:?} in a loop; expected more dimensions"
                ));
            }
            shape.insert(at, 1);
            reshaped(v, &shape)
        })
        .collect::<OpResult<Vec<_>>>()?;
    joined(rows, at, device)
}

/// Returns the stack of no rounds: empty, with the type and shape that the file declares, free dimensions being 0.
fn nothing_stacked(declared: &ValueInfoProto, at: i64) -> OpResult<Value> {
    let tensor = declared
        .r#type
        .as_ref()
        .and_then(|t| t.tensor_type.as_ref());
    let dtype = tensor.map_or(Ok(DType::F32), |t| DType::from_onnx(t.elem_type))?;
    let mut shape: Vec<usize> = tensor
        .and_then(|t| t.shape.as_ref())
        .map(|s| {
            s.dim
                .iter()
                .map(|d| usize::try_from(d.dim_value.unwrap_or(0)).unwrap_or(0))
                .collect()
        })
        .unwrap_or_default();
    let at = axis(at, shape.len() + 1)?;
    shape.insert(at, 0);
    Ok(Array::try_new(shape, Vec::<f32>::new())?
        .cast(dtype)?
        .into())
}

fn loop_(node: &NodeSpec<'_>) -> OpResult<Run> {
    let declared = node.declared();
    let carried = declared
        .checked_sub(2)
        .ok_or("inputs are missing; expected a trip count and a condition, which may be empty")?;
    let scanned = node
        .outputs()
        .checked_sub(carried)
        .ok_or("fewer outputs than carried values")?;
    let body = Body::new(node, "body", 2 + carried, 1 + carried + scanned)?;
    run(move |x| {
        let trips = match x.ints_opt(0)?.as_deref() {
            None => None,
            Some([n]) => Some(u64::try_from(*n).unwrap_or(0)),
            Some(v) => {
                return Err(format!(
                    "a trip count of {} elements; expected one",
                    v.len()
                ));
            }
        };
        let mut go = if x.has(1) { truth(x.take(1)?)? } else { true };
        let mut state = (2..declared)
            .map(|i| x.take(i))
            .collect::<OpResult<Vec<_>>>()?;
        let around = surroundings(x, declared)?;
        let mut scans = vec![Vec::new(); scanned];
        let (mut i, mut kept) = (0u64, 0usize);
        while go && trips.is_none_or(|n| i < n) {
            room::round(i, body.graph.known.len())?;
            let number = Array::try_new(Vec::new(), vec![i as i64])?;
            let mut own = vec![
                number.into(),
                Array::try_new(Vec::new(), vec![true])?.into(),
            ];
            own.append(&mut state);
            let mut outputs = body.call(own, &around, x.device)?;
            let rounds = outputs.split_off(1 + carried);
            state = outputs.split_off(1);
            for (all, value) in scans.iter_mut().zip(rounds) {
                kept = kept.saturating_add(value.elements());
                all.push(value);
            }
            room::elements(&[kept])?;
            go = truth(outputs.pop().ok_or("the loop's body gave no condition")?)?;
            i += 1;
        }
        for (rounds, declared) in scans.into_iter().zip(&body.outputs[1 + carried..]) {
            state.push(stacked(rounds, 0, false, declared, x.device)?);
        }
        Ok(state)
    })
}

/// Reads one number for each of `n` inputs or outputs of a scan; zeros if the attribute is absent.
fn numbers(node: &NodeSpec<'_>, name: &str, n: usize) -> OpResult<Vec<i64>> {
    match node.ints(name)? {
        None => Ok(vec![0; n]),
        Some(list) if list.len() == n => Ok(list),
        Some(list) => Err(format!(
            "attribute `{name}` holds {} numbers; expected {n}",
            list.len()
        )),
    }
}

fn scan(node: &NodeSpec<'_>) -> OpResult<Run> {
    if node.opset < 9 {
        return Err("a Scan with a batch dimension (operator set 8) is not supported".into());
    }
    let declared = node.declared();
    let scanned = node.int("num_scan_inputs", 0)?;
    let scanned = usize::try_from(scanned)
        .ok()
        .filter(|n| (1..=declared).contains(n))
        .ok_or_else(|| format!("{scanned} scanned inputs of {declared}"))?;
    let carried = declared - scanned;
    let stacks = node
        .outputs()
        .checked_sub(carried)
        .ok_or("fewer outputs than carried values")?;
    let body = Body::new(node, "body", declared, node.outputs())?;
    let (input_axes, backwards) = (
        numbers(node, "scan_input_axes", scanned)?,
        numbers(node, "scan_input_directions", scanned)?,
    );
    let (output_axes, reversed) = (
        numbers(node, "scan_output_axes", stacks)?,
        numbers(node, "scan_output_directions", stacks)?,
    );
    run(move |x| {
        let mut state = (0..carried)
            .map(|i| x.take(i))
            .collect::<OpResult<Vec<_>>>()?;
        let mut length = None;
        let mut inputs = Vec::with_capacity(scanned);
        for (k, at) in input_axes.iter().enumerate() {
            let value = x.take(carried + k)?;
            let shape = value.shape();
            let at = axis(*at, shape.len())?;
            if *length.get_or_insert(shape[at]) != shape[at] {
                return Err("scanned inputs of different lengths".into());
            }
            inputs.push((value, at, shape));
        }
        let around = surroundings(x, declared)?;
        let length = length.unwrap_or(0);
        let mut stacked_rounds = vec![Vec::new(); stacks];
        let mut kept = 0usize;
        for i in 0..length {
            room::round(i as u64, body.graph.known.len())?;
            let mut own = std::mem::take(&mut state);
            for ((value, at, shape), backwards) in inputs.iter().zip(&backwards) {
                let mut cuts: Vec<Cut> = shape.iter().map(|n| Cut::all(*n)).collect();
                let entry = if *backwards == 0 { i } else { length - 1 - i };
                cuts[*at] = Cut::part(entry, 1);
                let mut rest = shape.clone();
                rest.remove(*at);
                own.push(reshaped(cut(value.clone(), &cuts, x.device)?, &rest)?);
            }
            state = body.call(own, &around, x.device)?;
            for (all, value) in stacked_rounds.iter_mut().zip(state.split_off(carried)) {
                kept = kept.saturating_add(value.elements());
                all.push(value);
            }
            room::elements(&[kept])?;
        }
        for (k, rounds) in stacked_rounds.into_iter().enumerate() {
            let declared = &body.outputs[carried + k];
            let reversed = reversed[k] != 0;
            state.push(stacked(
                rounds,
                output_axes[k],
                reversed,
                declared,
                x.device,
            )?);
        }
        Ok(state)
    })
}

/// The operators of this file.
pub(super) const ENTRIES: &[OperatorEntry] = &[
    OperatorEntry::new("If", if_).asking(),
    OperatorEntry::new("Loop", loop_).asking(),
    OperatorEntry::new("Scan", scan),
];

#[cfg(test)]
mod tests {
    use crate::Array;
    use crate::check::Case;
    use crate::proto::{GraphProto, NodeProto};
    use crate::sketch::{floats, graph, info, int, list, node, run_graph, yes};

    fn choice(yes: GraphProto, no: GraphProto) -> NodeProto {
        node("If", &["c"], &["y"])
            .graph("then_branch", yes)
            .graph("else_branch", no)
    }

    fn add(a: &str, b: &str) -> GraphProto {
        graph(vec![node("Add", &[a, b], &["r"])], &[], &["r"])
    }

    #[test]
    fn gradients() {
        for taken in [true, false] {
            Case::new("If")
                .graph("then_branch", add("in1", "in1"))
                .graph("else_branch", add("in1", "in2"))
                .host(yes(taken))
                .scattered(&[3], -1.0, 1.0)
                .scattered(&[3], -1.0, 1.0)
                .assert_gradient();
        }
        // state += x; out = relu(state), three times.
        let body = graph(
            vec![
                node("Add", &["state", "x"], &["next"]),
                node("Relu", &["next"], &["out"]),
            ],
            &["i", "c", "state", "x"],
            &["c", "next", "x", "out"],
        );
        Case::new("Loop")
            .graph("body", body)
            .outputs(3)
            .host(int(3))
            .absent()
            .scattered(&[2], -1.0, 1.0)
            .scattered(&[2], 0.5, 1.0)
            .assert_gradient();
        for (from, to) in [(0, 0), (1, 1)] {
            let body = graph(
                vec![
                    node("Add", &["state", "x"], &["next"]),
                    node("Relu", &["next"], &["out"]),
                ],
                &["state", "x"],
                &["next", "out"],
            );
            Case::new("Scan")
                .graph("body", body)
                .int("num_scan_inputs", 1)
                .ints("scan_input_axes", &[1])
                .ints("scan_input_directions", &[from])
                .ints("scan_output_axes", &[-1])
                .ints("scan_output_directions", &[to])
                .outputs(2)
                .scattered(&[2], -1.0, 1.0)
                .scattered(&[2, 4], -1.0, 1.0)
                .assert_gradient();
        }
    }

    /// Running sums of rows or columns, from either end, stacked in either order.
    #[test]
    fn scans_run_both_ways() {
        let body = graph(
            vec![node("Add", &["s", "x"], &["t"])],
            &["s", "x"],
            &["t", "t"],
        );
        for (axis, direction, order, last, all) in [
            (0, 0, 0, [4.0, 6.0], [1.0, 2.0, 4.0, 6.0]),
            (0, 1, 0, [4.0, 6.0], [3.0, 4.0, 4.0, 6.0]),
            (0, 0, 1, [4.0, 6.0], [4.0, 6.0, 1.0, 2.0]),
            (-1, 0, 0, [3.0, 7.0], [1.0, 3.0, 3.0, 7.0]),
            (-1, 1, 1, [3.0, 7.0], [3.0, 7.0, 2.0, 4.0]),
        ] {
            let got = Case::new("Scan")
                .graph("body", body.clone())
                .int("num_scan_inputs", 1)
                .ints("scan_input_axes", &[axis])
                .ints("scan_input_directions", &[direction])
                .ints("scan_output_directions", &[order])
                .outputs(2)
                .host(Array::new([2], vec![0.0f32; 2]))
                .tracked(&[2, 2], vec![1.0, 2.0, 3.0, 4.0])
                .run()
                .unwrap();
            let numbers: Vec<_> = got.iter().map(|a| a.to_f64().unwrap()).collect();
            assert_eq!(numbers, [last.to_vec(), all.to_vec()]);
        }
    }

    #[test]
    fn branches_read_different_values_from_outside() {
        // One branch defines a name that only the other one reads from outside.
        let yes_branch = graph(vec![node("Relu", &["a"], &["b"])], &[], &["b"]);
        let no_branch = graph(
            vec![
                node("Add", &["b", "b"], &["t"]),
                // Nested: reads from two graphs further out.
                choice(add("t", "a"), add("t", "b")),
            ],
            &[],
            &["y"],
        );
        let g = graph(
            vec![
                choice(yes_branch, no_branch),
                node("Add", &["y", "a"], &["z"]),
            ],
            &["c", "a", "b"],
            &["z"],
        );
        let (a, b) = (floats(&[-1.0, 2.0]), floats(&[10.0, 20.0]));
        for (c, want) in [(true, [-1.0, 4.0]), (false, [29.0, 62.0])] {
            let got = run_graph(g.clone(), &[yes(c), a.clone(), b.clone()]).unwrap();
            assert_eq!(got, [floats(&want)]);
            // The same with a condition on the device.
            let c = floats(&[f32::from(u8::from(c))]);
            let got = run_graph(g.clone(), &[c, a.clone(), b.clone()]).unwrap();
            assert_eq!(got, [floats(&want)]);
        }
    }

    #[test]
    fn a_branch_never_taken_need_not_be_supported() {
        let odd = graph(vec![node("NoSuchThing", &["a"], &["r"])], &[], &["r"]);
        let g = graph(vec![choice(add("a", "a"), odd.clone())], &["a"], &["y"]);
        let got = run_graph(g.clone().constant("c", &yes(true)), &[floats(&[1.0])]).unwrap();
        assert_eq!(got, [floats(&[2.0])]);
        for g in [
            g.clone().constant("c", &yes(false)),
            graph(vec![choice(add("a", "a"), odd)], &["a", "c"], &["y"]),
        ] {
            let problem = run_graph(g, &[floats(&[1.0]), yes(true)]).unwrap_err();
            assert!(problem.contains("NoSuchThing"), "{problem}");
        }
    }

    fn looped(trips: Option<i64>, first: bool, body: GraphProto) -> Result<Vec<Array>, String> {
        let mut g = graph(
            vec![node("Loop", &["m", "c", "x"], &["last", "all"]).graph("body", body)],
            &["x"],
            &["last", "all"],
        )
        .constant("c", &yes(first));
        match trips {
            Some(n) => g = g.constant("m", &int(n)),
            None => g.node[0].input[0] = String::new(),
        }
        run_graph(g, &[floats(&[1.0])])
    }

    fn doubling(go: &str) -> GraphProto {
        let mut body = graph(
            vec![node("Add", &["s", "s"], &["t"])],
            &["i", "c", "s"],
            &[go, "t", "t"],
        );
        body.output[2] = info("t", 1, &[1]);
        body.constant("no", &yes(false))
    }

    #[test]
    fn loops_end() {
        let row = |v: &[f32]| Array::new([v.len(), 1], v.to_vec());
        let three = looped(Some(3), true, doubling("c")).unwrap();
        assert_eq!(three, [floats(&[8.0]), row(&[2.0, 4.0, 8.0])]);
        let once = looped(None, true, doubling("no")).unwrap();
        assert_eq!(once, [floats(&[2.0]), row(&[2.0])]);
        for (trips, first) in [(Some(0), true), (Some(-5), true), (Some(9), false)] {
            let never = looped(trips, first, doubling("c")).unwrap();
            assert_eq!(never, [floats(&[1.0]), row(&[])]);
        }
    }

    /// An integer counter on the host stays exact.
    #[test]
    fn integers_are_carried_on_the_host() {
        let body = graph(
            vec![node("Concat", &["s", "one"], &["t"]).int("axis", 0)],
            &["i", "c", "s"],
            &["c", "t", "i"],
        )
        .constant("one", &list(&[1 << 60]));
        let g = graph(
            vec![node("Loop", &["m", "", "s"], &["t", "is"]).graph("body", body)],
            &["m", "s"],
            &["t", "is"],
        );
        let got = run_graph(g, &[int(2), list(&[7])]).unwrap();
        assert_eq!(got, [list(&[7, 1 << 60, 1 << 60]), list(&[0, 1])]);
    }

    #[test]
    fn an_endless_loop_ends_while_loading() {
        let body = graph(vec![], &["i", "c", "s"], &["c", "s"]);
        let g = graph(
            vec![node("Loop", &["", "c", "x"], &["y"]).graph("body", body)],
            &[],
            &["y"],
        )
        .constant("c", &yes(true))
        .constant("x", &list(&[1]));
        let device = burn::tensor::Device::flex();
        let bytes = prost::Message::encode_to_vec(&crate::sketch::model(g));
        let file = crate::OnnxFile::decode("endless", bytes, None).unwrap();
        // Building succeeds, since the loop may sit in a branch that is never taken; running it returns the error.
        let built = file.build(&device).unwrap();
        let plan = built.plan(&built.outputs);
        let problem = crate::room::while_loading(|| {
            built
                .run(&plan, Vec::new(), &device, 1, &mut |_, _| {})
                .unwrap_err()
                .problem
        });
        assert!(problem.contains("rounds of loops"), "{problem}");
    }

    #[test]
    fn invalid_nodes_are_errors_without_panics() {
        let x = || floats(&[1.0, 2.0]);
        let g = || graph(vec![], &["a", "b"], &["a", "b"]);
        let wrong = [
            Case::new("If").host(yes(true)),
            Case::new("If").int("then_branch", 1).host(yes(true)),
            Case::new("If").graph("then_branch", g()).host(yes(true)),
            Case::new("If")
                .graph("then_branch", add("in0", "in0"))
                .host(x()),
            Case::new("Loop").graph("body", g()),
            Case::new("Loop")
                .graph("body", g())
                .absent()
                .absent()
                .host(x()),
            Case::new("Loop")
                .graph("body", g())
                .host(x())
                .absent()
                .host(x()),
            Case::new("Scan").graph("body", g()).host(x()),
            Case::new("Scan")
                .graph("body", g())
                .int("num_scan_inputs", 2)
                .host(x()),
            Case::new("Scan")
                .graph("body", g())
                .int("num_scan_inputs", 2)
                .outputs(2)
                .host(x())
                .host(floats(&[1.0])),
            Case::new("Scan")
                .graph("body", g())
                .int("num_scan_inputs", i64::MIN)
                .outputs(2)
                .host(x())
                .host(x()),
            Case::new("Scan").opset(8).graph("body", g()).host(x()),
        ];
        for (i, case) in wrong.iter().enumerate() {
            let problem = case.run().unwrap_err();
            assert!(!problem.contains("panic"), "case {i}: {problem}");
        }
    }
}
