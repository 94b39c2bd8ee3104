//! Small files that ask for too much memory or time.

use prost::Message;

use super::{attempt, refused_graph};
use crate::array::Array;
use crate::proto::{GraphProto, NodeProto};
use crate::sketch::{floats, graph, info, int, list, model, node, yes};

/// Asserts that one operator asked for 2^40 elements is refused, for a constant and for an input.
fn enormous(op: &NodeProto, constants: &[(&str, Array)]) {
    for given in [true, false] {
        let mut g = graph(vec![op.clone()], &[], &["y"]);
        for (name, array) in constants {
            g = g.constant(name, array);
        }
        if given {
            g = g.constant("x", &floats(&[1.0]));
        } else {
            g.input.push(info("x", 1, &[1]));
        }
        let problem = attempt(model(g).encode_to_vec()).expect_err("it was accepted");
        assert!(!problem.contains("panic"), "{problem}");
    }
}

const HUGE: i64 = 1 << 40;

#[test]
fn an_enormous_expand() {
    enormous(
        &node("Expand", &["x", "n"], &["y"]),
        &[("n", list(&[HUGE]))],
    );
    let many = [("n", list(&[1 << 20, 1 << 20]))];
    enormous(&node("Expand", &["x", "n"], &["y"]), &many);
}

#[test]
fn an_enormous_tile() {
    enormous(&node("Tile", &["x", "n"], &["y"]), &[("n", list(&[HUGE]))]);
    enormous(
        &node("Tile", &["x", "n"], &["y"]),
        &[("n", list(&[i64::MAX]))],
    );
}

#[test]
fn an_enormous_pad() {
    for mode in ["constant", "edge", "reflect", "wrap"] {
        for n in [HUGE, i64::MAX] {
            let pad = node("Pad", &["x", "n"], &["y"]).text("mode", mode);
            enormous(&pad, &[("n", list(&[n, n]))]);
        }
    }
    enormous(
        &node("CenterCropPad", &["x", "n"], &["y"]),
        &[("n", list(&[HUGE]))],
    );
}

#[test]
fn an_enormous_constant_of_shape() {
    enormous(
        &node("ConstantOfShape", &["n"], &["y"]),
        &[("n", list(&[1 << 20, 1 << 20]))],
    );
}

#[test]
fn an_enormous_range() {
    enormous(
        &node("Range", &["a", "n", "b"], &["y"]),
        &[("a", int(0)), ("n", int(HUGE)), ("b", int(1))],
    );
    enormous(
        &node("Range", &["a", "n", "b"], &["y"]),
        &[
            ("a", Array::new([], vec![0.0f32])),
            ("n", Array::new([], vec![1.0f32])),
            ("b", Array::new([], vec![f32::MIN_POSITIVE])),
        ],
    );
}

#[test]
fn an_enormous_one_hot() {
    enormous(
        &node("OneHot", &["i", "n", "v"], &["y"]),
        &[
            ("i", list(&[0])),
            ("n", int(HUGE)),
            ("v", floats(&[0.0, 1.0])),
        ],
    );
}

#[test]
fn enormous_blocks_and_splits() {
    let four = Array::new([1, 1, 1, 1], vec![1.0f32]);
    let blocks = |op: &str| node(op, &["k"], &["y"]).int("blocksize", 1 << 32);
    enormous(&blocks("DepthToSpace"), &[("k", four.clone())]);
    enormous(&blocks("SpaceToDepth"), &[("k", four)]);
    enormous(
        &node("Split", &["x", "n"], &["y"]),
        &[("n", list(&[i64::MAX]))],
    );
}

/// Asserts that a chain of 40 nodes, each doubling the size of the previous value, is refused.
fn doubling(op: impl Fn(&str, &str) -> NodeProto) {
    for given in [true, false] {
        let nodes = (0..40)
            .map(|i| {
                let from = if i == 0 { "x".into() } else { format!("v{i}") };
                op(&from, &format!("v{}", i + 1))
            })
            .collect();
        let mut g = graph(nodes, &[], &["v40"]).constant("two", &list(&[2]));
        if given {
            g = g.constant("x", &floats(&[1.0]));
        } else {
            g.input.push(info("x", 1, &[1]));
        }
        let problem = attempt(model(g).encode_to_vec()).expect_err("it was accepted");
        assert!(
            problem.contains("has more than") || problem.contains("too much memory"),
            "{problem}"
        );
    }
}

#[test]
fn a_chain_of_doubling_concats() {
    doubling(|from, to| node("Concat", &[from, from], &[to]).int("axis", 0));
}

#[test]
fn a_chain_of_doubling_tiles() {
    doubling(|from, to| node("Tile", &[from, "two"], &[to]));
}

/// Loops that never end, one of which doubles its state, are refused.
#[test]
fn loops_without_end() {
    let body = |nodes: Vec<NodeProto>, out: &str| graph(nodes, &["i", "c", "s"], &["c", out]);
    let endless = |body: GraphProto| {
        graph(
            vec![node("Loop", &["", "c", "x"], &["y"]).graph("body", body)],
            &[],
            &["y"],
        )
        .constant("c", &yes(true))
        .constant("x", &floats(&[1.0]))
    };
    refused_graph(endless(body(vec![], "s")), "too many rounds");
    let double = node("Concat", &["s", "s"], &["t"]).int("axis", 0);
    refused_graph(endless(body(vec![double], "t")), "has more than");
    // Nested loops.
    let mut inner = body(vec![], "s");
    for _ in 0..3 {
        inner = body(
            vec![node("Loop", &["", "c", "s"], &["t"]).graph("body", inner)],
            "t",
        );
    }
    refused_graph(endless(inner), "too many rounds");
}
