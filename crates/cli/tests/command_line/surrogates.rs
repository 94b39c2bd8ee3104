//! Gradients of other models on the command line and in policies.

use serde_json::Value;

use crate::harness::{Folder, run};

fn report(arguments: &[&str]) -> Value {
    let folder = Folder::new();
    let out = folder.path("report.json").display().to_string();
    let ran = run(&[arguments, &["--out", &out, "--quiet"]].concat());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    serde_json::from_str(&std::fs::read_to_string(out).expect("written")).expect("JSON")
}

const ATTACK: [&str; 11] = [
    "attack",
    "digits-standard",
    "--data",
    "digits",
    "--limit",
    "40",
    "--norm",
    "linf",
    "--eps",
    "0.1",
    "--attack",
];

#[test]
fn a_report_names_the_surrogates_with_their_digests() {
    let digest = |model: &str| {
        let ran = run(&["inspect", model, "--format", "json"]);
        let model: Value = serde_json::from_str(&ran.out).expect("JSON");
        model["sha256"].clone()
    };
    let one = report(
        &[
            &ATTACK[..],
            &[
                "pgd,square",
                "--set",
                "square.queries=50",
                "--surrogate",
                "digits-robust",
            ],
        ]
        .concat(),
    );
    let model = &one["model"];
    assert_eq!(model["sha256"], digest("digits-standard"));
    assert_eq!(
        model["surrogate"]["models"][0]["sha256"],
        digest("digits-robust")
    );
    assert_eq!(model["surrogate"]["transfer"], false);
    let pgd = &one["attacks"][0];
    assert_eq!(pgd["backward"], 0);
    assert!(pgd["surrogate_backward"].as_u64() > Some(40));
    assert!(one["attacks"][1].get("surrogate_forward").is_none());

    let two = "digits-robust,digits-standard";
    let all = report(
        &[
            &ATTACK[..],
            &[
                "ti-fgsm",
                "--surrogate",
                two,
                "--surrogate-average",
                "losses",
                "--transfer",
            ],
        ]
        .concat(),
    );
    let surrogate = &all["model"]["surrogate"];
    assert_eq!(
        surrogate["name"],
        "mean losses of digits-robust, digits-standard"
    );
    assert_eq!(surrogate["transfer"], true);
    // One query of the model per sample that was attacked.
    let asked = all["samples"].as_array().expect("samples").iter();
    let asked = asked.map(|s| s["runs"][0]["forward"].as_u64().expect("a count"));
    assert!(asked.clone().all(|n| n <= 1) && asked.sum::<u64>() > 30);
    let ran = run(&[&ATTACK[..], &["fgsm", "--surrogate", "digits-robust"]].concat());
    assert!(
        ran.err
            .contains("\nsurrogate: digits-robust (gradients alone), "),
        "{}",
        ran.err
    );
}

#[test]
fn surrogates_that_do_not_fit_are_refused() {
    for (arguments, word) in [
        (
            &[
                "--surrogate",
                "digits-robust",
                "--surrogate-average",
                "losses",
            ][..],
            "the only surrogate",
        ),
        (&["--surrogate", "digits-robots"][..], "digits-robots"),
        (&["--transfer"], "--surrogate"),
        (
            &[
                "--surrogate",
                "digits-robust",
                "--surrogate-average",
                "votes",
            ],
            "logits, probabilities or losses",
        ),
    ] {
        let ran = run(&[&ATTACK[..], &["pgd"], arguments].concat());
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains(word), "{}", ran.err);
    }
}

const POLICY: &str = r#"schema = "proofmark/policy/1"

[[model]]
name = "twin"
path = "digits-standard"

[[check]]
id = "robust"
kind = "robustness"
model = "digits-robust"
data = "digits"
limit = 40
threat = { norm = "linf", eps = 0.02 }
attacks = ["pgd"]
surrogate = "twin"
require = "robust_accuracy >= 0.5"
"#;

#[test]
fn a_policy_judges_figures_of_a_surrogate() {
    let folder = Folder::new();
    let policy = folder.put("policy.toml", POLICY.as_bytes());
    let out = folder.path("out").display().to_string();
    let ran = run(&["gate", &policy, "--out-dir", &out]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(
        ran.err
            .contains("robust/approximate-gradients: gradients are those of surrogate `twin`"),
        "{}",
        ran.err
    );
    // The evidence is judged again without a model, and is none of another surrogate.
    let again = run(&["gate", &policy, "--from-evidence", &out]);
    assert_eq!(again.code, 3, "{}", again.err);
    for (from, to, word) in [
        ("surrogate = \"twin\"\n", "", "surrogate"),
        (
            "surrogate = \"twin\"",
            "surrogate = { models = \"twin\", transfer = true }",
            "surrogate",
        ),
        (
            "path = \"digits-standard\"",
            "path = \"digits-robust\"",
            "surrogate",
        ),
    ] {
        let other = folder.put("other.toml", POLICY.replacen(from, to, 1).as_bytes());
        let ran = run(&["gate", &other, "--from-evidence", &out]);
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains(word), "{}", ran.err);
    }
    let confirmed = POLICY.replace(
        "[\"pgd\"]",
        "[\"pgd\", { id = \"square\", queries = 1000 }]",
    );
    let confirmed = folder.put("confirmed.toml", confirmed.as_bytes());
    let ran = run(&["gate", &confirmed]);
    assert_eq!(ran.code, 0, "{}", ran.err);
}
