use std::fmt::Write as _;
use std::sync::Arc;

use proofmark_data::vnnlib::{Constraint, Spec, open};
use proptest::prelude::*;

use crate::make::*;

fn read(text: &str) -> Spec {
    let folder = Folder::new();
    folder.put("p.vnnlib", text.as_bytes());
    open(&folder.path("p.vnnlib")).unwrap()
}

fn refused(text: &str) -> String {
    let folder = Folder::new();
    folder.put("p.vnnlib", text.as_bytes());
    let message = open(&folder.path("p.vnnlib")).unwrap_err().to_string();
    assert!(message.contains("p.vnnlib"), "{message}");
    message
}

/// Returns a property of two inputs in [0, 1] and two outputs, with `more` from line 6.
fn small(more: &str) -> String {
    format!(
        "(declare-const X_0 Real)\n(declare-const X_1 Real)\n(declare-const Y_0 Real) (declare-const Y_1 Real)\n\
         (assert (>= X_0 0)) (assert (<= X_0 1))\n(assert (and (>= X_1 0.) (<= X_1 1.0)))\n{more}"
    )
}

fn constraint(terms: &[(usize, f64)], at_most: f64) -> Constraint {
    Constraint {
        terms: terms.to_vec(),
        at_most,
        strict: false,
    }
}

#[test]
fn a_conjunction_is_one_case() {
    let spec = read(&small(
        "(assert (<= Y_0 Y_1))\n(assert (>= 2.5 Y_0)) ; the end",
    ));
    assert_eq!((spec.inputs, spec.outputs, spec.cases.len()), (2, 2, 1));
    assert_eq!((spec.name.as_str(), spec.sha256.len()), ("p.vnnlib", 64));
    let case = &spec.cases[0];
    assert_eq!(
        (&case.inputs.low, &case.inputs.high),
        (&vec![0.0; 2], &vec![1.0; 2])
    );
    let expected = [
        constraint(&[(0, 1.0), (1, -1.0)], 0.0),
        constraint(&[(0, 1.0)], 2.5),
    ];
    assert_eq!(case.constraints, expected);
    assert_eq!(case.margin(&[1.0, 2.0]), 1.0);
    assert!(
        case.satisfied(&[2.0, 2.0]) && !case.satisfied(&[2.0, 1.0]) && !case.satisfied(&[3.0, 4.0])
    );
    assert!(!case.satisfied(&[f32::NAN, 2.0]) && case.margin(&[f32::NAN, 2.0]).is_nan());
}

#[test]
fn every_spelling_of_a_linear_term_is_read() {
    for (text, terms, at_most) in [
        ("(<= (+ Y_0 Y_1) 3)", [1.0, 1.0], 3.0),
        ("(>= (- Y_0 Y_1) 3)", [-1.0, 1.0], -3.0),
        ("(<= (* 2 Y_0) (- Y_1))", [2.0, 1.0], 0.0),
        (
            "(<= (- (* Y_0 -2 2) (* 1 Y_1) 5) (/ Y_1 4))",
            [-4.0, -1.25],
            5.0,
        ),
        ("(<= 1 (+ Y_0 (+ 1e1 Y_1) -2E-1))", [-1.0, -1.0], 8.8),
        ("(>= (* 0.5 (- Y_0 (* 2 (+ Y_1 1)))) 0)", [-0.5, 1.0], -1.0),
    ] {
        let spec = read(&small(&format!("(assert {text})")));
        assert_eq!(
            spec.cases[0].constraints,
            [constraint(&[(0, terms[0]), (1, terms[1])], at_most)],
            "{text}"
        );
    }
    // Variables that cancel are dropped, and constraints that are always true are omitted.
    let spec = read(&small(
        "(assert (<= (- (+ Y_0 Y_1) Y_0) 1)) (assert (<= (- Y_0 Y_0) 1)) (assert (< 1 2))",
    ));
    assert_eq!(spec.cases[0].constraints, [constraint(&[(1, 1.0)], 1.0)]);
    let spec = read(&small("(assert (= Y_0 Y_1)) (assert (< Y_0 1))"));
    let [a, b, c] = &spec.cases[0].constraints[..] else {
        panic!()
    };
    assert_eq!((a.terms[0].1, b.terms[0].1, c.strict), (1.0, -1.0, true));
    assert!(!c.holds(&[1.0, 0.0]) && c.holds(&[0.5, 0.0]));
}

#[test]
fn bounds_are_tightened_flipped_and_fixed() {
    let spec = read(&small(
        "(assert (<= (* -2 X_0) -0.5)) (assert (>= 0.75 (+ X_0 0.125))) (assert (= X_1 0.5)) (assert (<= Y_0 0))",
    ));
    let inputs = &spec.cases[0].inputs;
    assert_eq!(
        (&inputs.low, &inputs.high),
        (&vec![0.25, 0.5], &vec![0.625, 0.5])
    );
    assert!(inputs.contains(&[0.25, 0.5]) && !inputs.contains(&[0.25, 0.6]));
    assert!(!inputs.contains(&[f64::NAN, 0.5]) && !inputs.contains(&[0.25]));
    let spec = read(&small("(assert (< X_0 1)) (assert (> X_0 0))"));
    let inputs = &spec.cases[0].inputs;
    assert!(inputs.high[0] < 1.0 && inputs.low[0] > 0.0 && inputs.high[0] as f32 == 1.0);
}

#[test]
fn alternatives_of_outputs_share_their_box() {
    let spec = read(&small(
        "(assert (or (and (>= Y_0 Y_1)) (<= Y_0 -1) (and (<= Y_1 0) (<= Y_0 0))))",
    ));
    let counts: Vec<usize> = spec.cases.iter().map(|c| c.constraints.len()).collect();
    assert_eq!(counts, [1, 1, 2]);
    assert!(
        spec.cases
            .iter()
            .all(|c| Arc::ptr_eq(&c.inputs, &spec.cases[0].inputs))
    );
}

#[test]
fn alternatives_of_boxes_and_of_both_multiply() {
    // Like prop_6 of ACAS Xu; then in one assertion, like other properties.
    let spec = read(&small(
        "(assert (or (and (>= X_0 0.5) (<= X_1 0.5)) (and (<= X_0 0.25))))\n(assert (or (<= Y_0 0) (<= Y_1 0)))",
    ));
    let boxes: Vec<(f64, f64)> = spec
        .cases
        .iter()
        .map(|c| (c.inputs.low[0], c.inputs.high[0]))
        .collect();
    assert_eq!(boxes, [(0.5, 1.0), (0.5, 1.0), (0.0, 0.25), (0.0, 0.25)]);
    let outputs: Vec<usize> = spec
        .cases
        .iter()
        .map(|c| c.constraints[0].terms[0].0)
        .collect();
    assert_eq!(outputs, [0, 1, 0, 1]);

    let spec = read(
        "(declare-fun X_0 () Real)(declare-fun Y_0 () Real)\n(assert (or\n (and (>= X_0 1)(<= X_0 2)(>= Y_0 5))\n (and (>= X_0 3)(<= X_0 4) (or (<= Y_0 0) (>= Y_0 9)))))",
    );
    let lows: Vec<f64> = spec.cases.iter().map(|c| c.inputs.low[0]).collect();
    assert_eq!(lows, [1.0, 3.0, 3.0]);
    // A contradiction within an alternative rules out only that alternative.
    let spec = read(&small("(assert (or (>= X_0 2) (<= X_0 0.5)))"));
    assert_eq!((spec.cases.len(), spec.cases[0].inputs.high[0]), (1, 0.5));
}

#[test]
fn packed_files_and_odd_bytes_are_read() {
    let text = small("(assert (<= Y_0 Y_1))");
    let folder = Folder::new();
    folder.put("p.vnnlib.gz", &gzipped(text.as_bytes()));
    assert_eq!(
        open(&folder.path("p.vnnlib.gz")).unwrap().cases,
        read(&text).cases
    );
    folder.put("cut.vnnlib.gz", &gzipped(text.as_bytes())[..30]);
    assert_says(
        &open(&folder.path("cut.vnnlib.gz")).unwrap_err().to_string(),
        &["gzip"],
    );
    let mut odd = b"\xef\xbb\xbf; caf\xe9 \xff\r\n(set-logic QF_LRA)(set-info :source |a\n(b|)(set-info :x \"(;\")".to_vec();
    odd.extend(text.replace('\n', "\r\n").bytes());
    odd.extend(b"(check-sat) (exit)");
    folder.put("odd.vnnlib", &odd);
    assert_eq!(
        open(&folder.path("odd.vnnlib")).unwrap().cases,
        read(&text).cases
    );
}

#[test]
fn faults_are_named_by_line_and_by_what_was_expected() {
    for (more, words) in [
        (
            "(assert (<= Y_0 Y_1)",
            vec!["line 6", "`(` without its `)`"],
        ),
        (
            "(assert (<= Y_0 Y_1)))",
            vec!["line 6", "`)` without its `(`"],
        ),
        ("\nassert", vec!["line 7", "`assert`", "outside"]),
        (
            "(assert (<= Y_0 Y_2))",
            vec!["line 6", "`Y_2` is not declared", "2 Y_"],
        ),
        (
            "(assert (<= Z_0 1))",
            vec!["line 6", "`Z_0`", "expected X_i, Y_j or a number"],
        ),
        ("(assert (<= Y_0 nan))", vec!["`nan`", "a number"]),
        ("(assert (<= Y_0 1e999))", vec!["`1e999`", "finite"]),
        (
            "(assert (<= (* 1e200 1e200 Y_0) 1))",
            vec!["`(* …)`", "finite"],
        ),
        ("(assert (<= X_0 1e39))", vec!["line 6", "32-bit"]),
        (
            "(assert (<= (* Y_0 Y_1) 1))",
            vec!["line 6", "product of variables"],
        ),
        ("(assert (<= (/ 1 Y_1) 1))", vec!["division"]),
        ("(assert (<= (/ Y_1 0) 1))", vec!["division"]),
        (
            "(assert (<= (max Y_1 0) 1))",
            vec!["`(max …)`", "expected a number"],
        ),
        ("(assert (<= (+) 1))", vec!["`(+ …)`"]),
        ("(assert (<= () 1))", vec!["a list without a name"]),
        ("(assert (<= X_0 X_1))", vec!["line 6", "ties an input"]),
        ("(assert (<= X_0 Y_1))", vec!["line 6", "ties an input"]),
        (
            "(assert (not (<= Y_0 1)))",
            vec!["line 6", "`(not …)`", "expected (and …), (or …)"],
        ),
        ("(assert (<= Y_0))", vec!["compares 1 terms", "expected 2"]),
        ("(assert (<= Y_0 Y_1 1))", vec!["compares 3 terms"]),
        ("(assert (or))", vec!["`(or)` of nothing"]),
        ("(assert)", vec!["expected one formula"]),
        ("(assert Y_0)", vec!["`Y_0`", "expected (and …)"]),
        ("(check-sane)", vec!["`(check-sane …)`", "declare-const"]),
        ("(declare-const X_0 Real)", vec!["`X_0` is declared twice"]),
        ("(declare-const X_2 Int)", vec!["`X_2`", "`Int`", "Real"]),
        ("(declare-const Q Real)", vec!["`Q`", "X_i or Y_j"]),
        ("(declare-const X_-1 Real)", vec!["`X_-1`"]),
        (
            "(declare-const X_99999999 Real)",
            vec!["X_99999999", "below"],
        ),
        ("(declare-fun X_2 (Real) Real)", vec!["no parameters"]),
        ("(declare-const X_2)", vec!["a name and a type"]),
        ("(declare-const X_3 Real)", vec!["X_3", "no X_2"]),
        ("(declare-const X_2 Real)", vec!["X_2 has no lower bound"]),
        (
            "(assert (>= X_0 2))",
            vec![
                "line 6",
                "X_0 is at least 2 (line 6) and at most 1 (line 4)",
            ],
        ),
        (
            "(assert (or (>= X_0 2) (<= X_0 -1)))",
            vec!["line 6", "X_0 is at least 0"],
        ),
        ("(assert (< 2 1))", vec!["nothing can satisfy it"]),
        ("(vnnlib-version <2.0>)", vec!["VNN-LIB 2"]),
        ("(set-info \"a)", vec!["`\"` without its pair"]),
    ] {
        assert_says(&refused(&small(more)), &words);
    }
    assert_says(&refused(""), &["line 1", "no input"]);
    assert_says(&refused("(declare-const X_0 Real)"), &["no output"]);
    assert_says(&refused("(declare-const Y_0 Real)"), &["no input"]);
    assert_says(&refused("(assert (<= X_0 1))"), &["no X_… is declared"]);
    let missing = open(&Folder::new().path("no.vnnlib"))
        .unwrap_err()
        .to_string();
    assert_says(&missing, &["no.vnnlib", "cannot be read"]);
}

#[test]
fn input_that_would_exhaust_stack_or_memory_is_refused() {
    let deep = format!("{}{}", "(and ".repeat(100_000), ")".repeat(100_000));
    assert_says(
        &refused(&small(&format!("(assert {deep})"))),
        &["nested more than 64"],
    );
    let terms = format!("{}Y_0{}", "(- ".repeat(100_000), ")".repeat(100_000));
    assert_says(
        &refused(&small(&format!("(assert (<= {terms} 0))"))),
        &["nested more than 64"],
    );
    // 2^20 cases, and more cases than a number can count.
    for pairs in [20, 200] {
        let or = "(assert (or (<= Y_0 0) (<= Y_1 0)))".repeat(pairs);
        assert_says(&refused(&small(&or)), &["cases", "at most 65536"]);
    }
    // Nothing satisfies the last factor, but the others are multiplied out before it.
    let or = "(assert (or (<= Y_0 0) (<= Y_1 0)))".repeat(40) + "(assert (or (< 2 1) (< 3 1)))";
    assert_says(&refused(&small(&or)), &["at most 65536"]);
}

/// Random formula as text, with its own evaluation.
#[derive(Debug, Clone)]
enum Tree {
    Atom {
        left: String,
        right: String,
        below: bool,
    },
    Node {
        all: bool,
        children: Vec<Tree>,
    },
}

const NAMES: [&str; 4] = ["X_0", "X_1", "Y_0", "Y_1"];

impl Tree {
    fn text(&self) -> String {
        match self {
            Self::Atom { left, right, below } => {
                format!("({} {left} {right})", if *below { "<=" } else { ">=" })
            }
            Self::Node { all, children } => {
                let mut text = format!("({}", if *all { "and" } else { "or" });
                for c in children {
                    let _ = write!(text, " {}", c.text());
                }
                text + ")"
            }
        }
    }

    fn holds(&self, point: [f64; 4]) -> bool {
        match self {
            Self::Atom { left, right, below } => {
                let value = |name: &String| match NAMES.iter().position(|n| n == name) {
                    Some(i) => point[i],
                    None => name.parse().unwrap(),
                };
                let (l, r) = (value(left), value(right));
                if *below { l <= r } else { l >= r }
            }
            Self::Node {
                all: true,
                children,
            } => children.iter().all(|c| c.holds(point)),
            Self::Node { children, .. } => children.iter().any(|c| c.holds(point)),
        }
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let number = (0..5_u8).prop_map(|n| (f64::from(n) / 4.0).to_string());
    let input = prop_oneof![Just("X_0".to_owned()), Just("X_1".to_owned())];
    let output = prop_oneof![Just("Y_0".to_owned()), Just("Y_1".to_owned())];
    let pair = prop_oneof![
        (input.clone(), number.clone()),
        (number.clone(), input),
        (output.clone(), output.clone()),
        (output, number),
    ];
    let atom =
        (pair, any::<bool>()).prop_map(|((left, right), below)| Tree::Atom { left, right, below });
    atom.prop_recursive(3, 24, 3, |inner| {
        (any::<bool>(), prop::collection::vec(inner, 1..4))
            .prop_map(|(all, children)| Tree::Node { all, children })
    })
}

proptest! {
    /// The cases agree with the formula at every point.
    #[test]
    fn cases_mean_what_the_formula_means(tree in tree(), x in prop::array::uniform4(0..9_u8)) {
        let folder = Folder::new();
        folder.put("p.vnnlib", small(&format!("(assert {})", tree.text())).as_bytes());
        let point = x.map(|v| f64::from(v) / 8.0);
        let holds = tree.holds(point);
        match open(&folder.path("p.vnnlib")) {
            Ok(spec) => {
                let outputs = [point[2] as f32, point[3] as f32];
                let met = spec.cases.iter().any(|c| {
                    c.inputs.contains(&point[..2]) && c.satisfied(&outputs)
                });
                prop_assert_eq!(met, holds);
            }
            // The property was refused as contradictory, so no point may satisfy it.
            Err(e) => prop_assert!(!holds, "{}: {}", tree.text(), e),
        }
    }

    /// Any bytes give an answer or an error.
    #[test]
    fn damaged_files_never_panic(cut in 0..400_usize, at in 0..400_usize, byte: u8, junk in prop::collection::vec(any::<u8>(), 0..60)) {
        let text = small("(assert (or (and (<= Y_0 (+ 1 (* 2 Y_1))) (>= X_0 0.5)) (>= Y_1 3)))");
        let mut bytes = text.into_bytes();
        bytes.truncate(cut);
        if let Some(b) = bytes.get_mut(at) {
            *b = byte;
        }
        let folder = Folder::new();
        folder.put("a.vnnlib", &bytes);
        let _ = open(&folder.path("a.vnnlib"));
        folder.put("b.vnnlib", &junk);
        prop_assert!(open(&folder.path("b.vnnlib")).is_err());
    }
}
