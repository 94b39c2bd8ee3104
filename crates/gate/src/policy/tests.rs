mod bias;
mod page;

use proofmark_domain::{Coupling, Norm, OutputKind};
use proptest::prelude::*;

use super::*;
use crate::{AttackTask, FindingCode, Measure, Metric};

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

#[test]
fn every_field_arrives() {
    let p = parse(FULL).unwrap();
    assert_eq!(
        (p.seed.0, p.limits.seconds, p.limits.forwards),
        (7, Some(600.0), Some(1_000_000))
    );
    let mine = &p.models[0];
    assert_eq!(
        (mine.sha256.as_deref(), mine.output),
        (Some("ab".repeat(32).as_str()), OutputKind::Probabilities)
    );
    assert_eq!(
        (
            mine.preprocess.scale,
            mine.preprocess.mean.len(),
            mine.preprocess.std.as_slice()
        ),
        (Some(255.0), 3, &[0.5][..])
    );
    assert_eq!(
        (p.data[0].range.clone(), p.data[0].seed, p.data[1].limit),
        (Some(0..500), Some(3), Some(200))
    );
    assert_eq!(p.data[1].options.array_bounds.len(), 2);

    let tasks: Vec<&AttackTask> = p.checks.iter().map(attacked).collect();
    assert_eq!(
        p.checks.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(),
        ["linf", "joint", "clean"]
    );
    assert_eq!(
        (tasks[0].model.name(), tasks[0].limit),
        ("digits-robust", Some(500))
    );
    let (norm, eps) = tasks[0].threat.as_ref().unwrap().leading();
    assert_eq!((norm, eps.to_string().as_str()), (Norm::Linf, "8/255"));
    let pgd = &tasks[0].attacks[1];
    assert_eq!(
        (
            pgd.id.as_str(),
            pgd.parameters["steps"].as_integer(),
            pgd.parameters.len()
        ),
        ("pgd", Some(40), 3)
    );
    let joint = tasks[1].threat.as_ref().unwrap();
    assert_eq!(joint.coupling, Coupling::Shared { q: 1.0 });
    assert_eq!(joint.leading().1.get().to_bits(), 0.03_f64.to_bits());
    assert!(tasks[2].threat.is_none() && tasks[2].attacks.is_empty());

    let (linf, clean) = (&p.checks[0], &p.checks[2]);
    assert_eq!(
        (linf.level, linf.on_fail, linf.on_inconclusive),
        (0.99, Effect::Warn, Effect::Warn)
    );
    assert_eq!(
        (clean.level, clean.on_fail, clean.on_inconclusive),
        (0.95, Effect::Deny, Effect::Deny)
    );
    assert_eq!(
        attacked(clean).require.comparisons[1].metric,
        Metric::MinRecall { robust: false }
    );
    assert!(
        p.waivers[0]
            .exemption
            .covers("clean", FindingCode::RequirementMissed, &[])
    );
    assert!(
        !p.waivers[0]
            .exemption
            .covers("linf", FindingCode::RequirementMissed, &[])
    );
    assert_eq!(p.accepts[0].exemption.target(), "randomised-outputs");
    assert_eq!(p.sha256().len(), 64);
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

#[test]
fn unknown_names_suggest_the_nearest() {
    broken(
        "level = 0.99",
        "levle = 0.99",
        "levle",
        "unknown field `levle` (did you mean `level`?)",
    );
    broken(
        "scale = 255",
        "scael = 255",
        "preprocess",
        "unknown field `scael` (did you mean `scale`?)",
    );
    broken(
        "[limits]",
        "[limit]",
        "[limit]",
        "unknown field `limit` (did you mean `limits`?)",
    );
    broken(
        "kind = \"robustness\"",
        "kind = \"robustnes\"",
        "kind = \"robustnes\"",
        "unknown value `robustnes` (did you mean `robustness`?)",
    );
    broken(
        "[\"fgsm\",",
        "[\"fgms\",",
        "attacks",
        "unknown attack `fgms` (did you mean `fgsm`?)",
    );
    broken(
        "id = \"pgd\"",
        "id = \"pdg\"",
        "attacks",
        "unknown attack `pdg` (did you mean `pgd`?)",
    );
    broken(
        "norm = \"linf\"",
        "norm = \"lnif\"",
        "threat",
        "unknown norm `lnif` (did you mean `linf`?)",
    );
    broken(
        "model = \"digits-robust\"",
        "model = \"digits-robsut\"",
        "model = \"digits-robsut\"",
        "did you mean `digits-robust`?",
    );
    broken(
        "data = \"digits\"",
        "data = \"digit\"",
        "data = \"digit\"",
        "did you mean `digits`?",
    );
    broken(
        "on_fail = \"warn\"",
        "on_fail = \"wran\"",
        "on_fail",
        "did you mean `warn`?",
    );
    broken(
        "policy/1",
        "polcy/1",
        "schema",
        "did you mean `proofmark/policy/1`?",
    );
    broken(
        "requirement-missed",
        "requirment-missed",
        "finding",
        "did you mean `requirement-missed`?",
    );
    broken(
        "clean/req",
        "claen/req",
        "finding",
        "no check is called `claen` (did you mean `clean`?)",
    );
    broken(
        "robust_accuracy >= 45 %",
        "robst_accuracy >= 45 %",
        "require",
        "did you mean `robust_accuracy`?",
    );
    broken(
        "output = \"probabilities\"",
        "output = \"probs\"",
        "output",
        "expected one of logits, probabilities, logit",
    );
}

#[test]
fn wrong_types_and_values_point_at_their_line() {
    broken(
        "seed = 7",
        "seed = \"7\"",
        "seed",
        "expected a whole number, found string",
    );
    broken("seed = 7", "seed = -7", "seed", "at least 0");
    broken("limit = 500", "limit = 0", "limit = 0", "at least 1");
    broken(
        "limit = 500",
        "limit = 99999999999999999999",
        "limit = 9",
        "too large",
    );
    broken("level = 0.99", "level = 1.0", "level", "between 0 and 1");
    broken("level = 0.99", "level = 0", "level", "between 0 and 1");
    broken("level = 0.99", "level = nan", "level", "finite");
    broken("\"8/255\"", "-0.1", "threat", "is negative");
    broken("\"8/255\"", "nan", "threat", "is not a number");
    broken("\"8/255\"", "\"8/0\"", "threat", "divides by zero");
    broken("\"8/255\"", "0", "threat", "epsilon 0 freezes everything");
    broken("\"8/255\"", "inf", "threat", "is infinite");
    broken(
        "threat = { norm",
        "threat = { coupling = \"shared\", norm",
        "threat",
        "list them under `modalities`",
    );
    broken("q = 1", "q = 0.5", "q", "at least 1");
    broken(
        "coupling = \"shared\"",
        "coupling = \"independent\"",
        "q",
        "only means something",
    );
    broken(
        "eps = 0.03",
        "eps = 0",
        "modalities",
        "no modality may change",
    );
    broken(
        "\"audio\"",
        "\"image\"",
        "modalities",
        "has a budget already",
    );
    broken(
        "attacks = [\"fgsm\"",
        "attacks = [5",
        "attacks",
        "expected the id of an attack",
    );
    broken(
        "attacks = [\"pgd\"]",
        "attacks = []",
        "attacks = []",
        "must not be empty",
    );
}

#[test]
fn ids_and_data_point_at_their_line() {
    broken("id = \"linf\"", "id = \"../linf\"", "id", "letters, digits");
    broken(
        "id = \"joint\"",
        "id = \"LINF\"",
        "id = \"LINF\"",
        "there is a check called `LINF` already",
    );
    broken(
        "name = \"clips\"",
        "name = \"photos\" # again",
        "name = \"photos\" # again",
        "there is a data called `photos` already",
    );
    broken(
        "name = \"mine\"",
        "name = \"digits-robust\"",
        "name = \"digits-robust\"",
        "the name of a shipped model",
    );
    broken(
        "sha256 = \"AB",
        "sha256 = \"zz",
        "sha256",
        "64 hexadecimal digits",
    );
    broken("std = 0.5", "std = 0", "preprocess", "above 0");
    broken(
        "std = 0.5",
        "std = [1, 1]",
        "preprocess",
        "mean has 3 values and std 2",
    );
    broken(
        "bounds = [0, 1]",
        "bounds = [1, 0]",
        "bounds",
        "the first below the second",
    );
    broken(
        "bounds = [0, 1]",
        "bounds = [0]",
        "bounds",
        "expected two finite numbers",
    );
    broken(
        "range = \"0..500\"",
        "range = \"500..0\"",
        "range",
        "is no range",
    );
    broken(
        "range = \"0..500\"",
        "range = \"0..500\"\nlimit = 5",
        "range",
        "exclude each other",
    );
}

#[test]
fn exemptions_and_requirements_point_at_their_line() {
    broken(
        "expires = 2027-01-31",
        "expires = 2027-01-31T00:00:00Z",
        "expires",
        "expected a day",
    );
    broken(
        "\"2027-01-31\"",
        "\"31.1.2027\"",
        "expires = \"31",
        "is not a day",
    );
    broken(
        "reason = \"known, being fixed\"",
        "reason = \" \"",
        "reason",
        "must not be empty",
    );
    broken(
        "owner = \"vision team\"\n",
        "",
        "[[waiver]]",
        "missing field `owner`",
    );
    broken("seconds = 600", "seconds = 0", "seconds", "above 0");
    broken(
        "robust_accuracy >= 45 %",
        "robust_accuracy > 45 %",
        "require",
        "only `>=` is understood",
    );
    broken(
        "robust_accuracy(pgd)",
        "robust_accuracy(bim)",
        "require",
        "not among the attacks of this check",
    );
    broken(
        "accuracy >= 0.9 and",
        "robust_accuracy >= 0.9 and",
        "require = \"robust_accuracy >= 0.9 and",
        "runs none",
    );
    broken(
        "require = \"robust_accuracy >= 45 %, robust_accuracy(pgd) >= 0.5\"\n",
        "",
        "[[check]]",
        "missing field `require`",
    );
}

#[test]
fn unsupported_kinds_and_fields_are_refused() {
    for kind in ["backdoor", "baseline", "limits"] {
        broken(
            "kind = \"clean\"",
            &format!("kind = \"{kind}\""),
            &format!("kind = \"{kind}\""),
            "this version cannot run",
        );
    }
    broken(
        "sampling = \"fixed\"",
        "sampling = \"sequential\"",
        "sampling",
        "does not support sequential",
    );
    broken(
        "kind = \"clean\"",
        "kind = \"clean\"\nthreat = { norm = \"l2\", eps = 1 }",
        "threat = { norm = \"l2\"",
        "kind \"robustness\" has",
    );
    broken(
        "kind = \"clean\"",
        "kind = \"clean\"\nprobes = []",
        "probes",
        "has no probes",
    );
    broken(
        "finding = \"clean/requirement-missed\"",
        "finding = \"zero-gradients\"",
        "finding",
        "use [[accept]]",
    );
    broken(
        "finding = \"clean/requirement-missed\"",
        "finding = \"check-not-run\"",
        "finding",
        "cannot be waived",
    );
    broken(
        "code = \"randomised-outputs\"",
        "code = \"requirement-missed\"",
        "code",
        "is no trust code",
    );
}

#[test]
fn errors_carry_field_column_and_the_line() {
    let text = FULL.replacen("robust_accuracy(pgd)", "robust_accuracy(pdg)", 1);
    let error = parse(&text).unwrap_err();
    assert_eq!(
        (error.field.as_str(), error.column),
        ("check \"linf\".require", 53)
    );
    let line = line_of(&text, "require");
    let shown = error.to_string();
    assert!(
        shown.starts_with(&format!(
            "line {line}, column 53: check \"linf\".require: `pdg` is not among"
        )),
        "{shown}"
    );
    assert_eq!(&text[error.span.clone()], "pdg");
}

#[test]
fn files_that_are_not_a_policy_are_refused() {
    for (text, message) in [
        ("", "missing field `schema`"),
        ("schema = 1", "expected a string"),
        ("schema = \"proofmark/policy/1\"", "without a [[check]]"),
        (
            "schema = \"proofmark/policy/1\"\ncheck = []",
            "without a [[check]]",
        ),
        (
            "schema = \"proofmark/policy/1\"\ncheck = 5",
            "expected an array",
        ),
        (
            "schema = \"proofmark/policy/1\"\n[check]\nid = \"x\"",
            "write [[check]], not [check]",
        ),
        (
            "schema = \"proofmark/policy/1\"\n[[check]]",
            "missing field `id`",
        ),
        ("schema = \"proofmark/policy/1\"\nseed = ", "not valid TOML"),
        ("a = 1\na = 2", "not valid TOML"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
    let error = Policy::parse(b"schema = 1\nx = \xff", &KNOWN).unwrap_err();
    assert_eq!(
        (error.line, error.column, error.message.as_str()),
        (2, 5, "the file is not UTF-8 text")
    );
}

#[test]
fn an_attack_that_cannot_be_built_is_pointed_at() {
    let p = parse(FULL).unwrap();
    let pgd = &attacked(&p.checks[0]).attacks[1];
    let line = line_of(FULL, "attacks");
    let source = FULL.lines().nth(line - 1).unwrap();
    let at = |parameter| p.attack_error(pgd, parameter, "no");
    assert_eq!(
        (at(Some("restarts")).line, at(Some("restarts")).column),
        (line, source.find("2, loss").unwrap() + 1)
    );
    assert_eq!(
        at(Some("restarts")).field,
        "check \"linf\".attacks[2].restarts"
    );
    assert_eq!(at(Some("absent")), at(None));
    assert_eq!(at(None).column, source.find("{ id").unwrap() + 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Policy::parse(&bytes, &KNOWN).map_err(|e| e.to_string());
    }

    #[test]
    fn a_corrupted_policy_never_panics(at in 0..FULL.len(), length in 0_usize..20, with in "[ -~é\n\"\\[\\]{}=]{0,6}") {
        let end = (at + length).min(FULL.len());
        let text = format!("{}{with}{}", &FULL[..at], &FULL[end..]);
        let _ = Policy::parse(text.as_bytes(), &KNOWN).map_err(|e| e.to_string());
    }

    #[test]
    fn any_requirement_never_panics(require in "[a-z_0-9 ()>=.,%é-]{0,40}") {
        let text = FULL.replacen("robust_accuracy >= 45 %", &require, 1);
        let _ = Policy::parse(text.as_bytes(), &KNOWN).map_err(|e| e.to_string());
    }
}
