//! Tests of the policy file; the helpers here parse `FULL` and its broken variants.

mod bias;
mod errors;
mod fields;
mod page;
mod values;

use super::*;
use crate::{AttackTask, Measure};

const KNOWN: Known<'_> = Known {
    attacks: &["fgsm", "r-fgsm", "bim", "pgd", "mi-fgsm", "adam-pgd"],
    models: &["digits-standard", "digits-robust"],
    data: &["digits", "digits:train"],
};

/// A policy that uses every field there is; line 1 is the schema.
const FULL: &str = r#"schema = "proofmark/policy/1"
seed = 7

[[model]]
name = "mine"
path = "models/mine.onnx"
sha256 = "ABababababababababababababababababababababababababababababababab"
preprocess = { scale = 255, mean = [0.1, 0.2, 0.3], std = 0.5 }
output = "probabilities"

[[data]]
name = "photos"
path = "photos.npz"
meta = "photos.csv"
bounds = [0, 1]
range = "0..500"
seed = 3

[[data]]
name = "clips"
path = "clips.npz"
bounds = { audio = [-1, 1], image = [0.0, 1.0] }
limit = 200

[[check]]
id = "linf"
kind = "robustness"
model = "digits-robust"
data = "digits"
threat = { norm = "linf", eps = "8/255" }
attacks = ["fgsm", { id = "pgd", steps = 40, restarts = 2, loss = "dlr" }]
require = "robust_accuracy >= 45 %, robust_accuracy(pgd) >= 0.5"
level = 0.99
on_fail = "warn"
on_inconclusive = "warn"
sampling = "fixed"
limit = 500

[[check]]
id = "joint"
kind = "robustness"
model = "mine"
data = "clips"
attacks = ["pgd"]
require = "robust_accuracy >= 0.1"
[check.threat]
coupling = "shared"
q = 1
modalities = [{ name = "image", norm = "linf", eps = 0.03 }, { name = "audio", norm = "l2", eps = 0 }]

[[check]]
id = "clean"
kind = "clean"
model = "mine"
data = "photos"
require = "accuracy >= 0.9 and min_recall >= 0.5"

[[waiver]]
finding = "clean/requirement-missed"
reason = "known, being fixed"
owner = "vision team"
expires = 2027-01-31

[[accept]]
code = "randomised-outputs"
reason = "dropout is part of the product"
expires = "2027-01-31"

[limits]
seconds = 600
forwards = 1_000_000
"#;

fn parse(text: &str) -> Result<Policy, PolicyError> {
    Policy::parse(text.as_bytes(), &KNOWN)
}

fn attacked(check: &Check) -> &AttackTask {
    match check.measure() {
        Measure::Attack(task) => task,
        Measure::Audit(_) => panic!("not a model's"),
    }
}

/// Returns the line, from 1, of the first line of `text` that starts with `start`.
fn line_of(text: &str, start: &str) -> usize {
    text.lines().position(|l| l.starts_with(start)).unwrap() + 1
}

/// Replaces the first `from` by `to`, and expects an error on the line that starts with `line`, with the message.
fn broken(from: &str, to: &str, line: &str, message: &str) {
    assert!(FULL.contains(from), "{from}");
    let text = FULL.replacen(from, to, 1);
    let error = parse(&text).expect_err(message);
    assert_eq!(error.line, line_of(&text, line), "{error}");
    assert!(error.to_string().contains(message), "{error}");
    assert_eq!(
        error.source_line,
        text.lines().nth(error.line - 1).unwrap(),
        "{error}"
    );
}
