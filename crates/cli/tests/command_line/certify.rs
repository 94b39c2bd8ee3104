//! `attack --certify`: the table, the report, refusals; `certify` in policies.

use crate::harness::{Folder, run};

fn attack(more: &[&str]) -> crate::harness::Ran {
    let mut arguments = vec![
        "attack",
        "digits-robust",
        "--data",
        "digits",
        "--limit",
        "30",
    ];
    arguments.extend(more);
    run(&arguments)
}

#[test]
fn one_report_holds_what_is_attacked_and_what_is_certified() {
    let folder = Folder::new();
    let out = folder.path("report.json").display().to_string();
    let ran = attack(&[
        "--attack",
        "pgd",
        "--certify",
        "interval,crown",
        "--norm",
        "linf",
        "--eps",
        "0.01,0.05",
        "--out",
        &out,
    ]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    for word in [
        "crown@linf:0.05",
        "the model",
        "true robust accuracy lies between certified and attacked",
    ] {
        assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
    }
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&out).expect("a report")).expect("JSON");
    let certified = report["certified"].as_array().expect("certificates");
    assert_eq!(certified.len(), 4);
    for c in certified {
        let eps = c["threat"]["eps"].as_f64().expect("a number");
        let curve = report["curve"].as_array().expect("a curve");
        let attacked = curve
            .iter()
            .find(|p| p["eps"].as_f64() == Some(eps))
            .expect("a point");
        assert!(
            c["certified"].as_u64() <= attacked["correct"].as_u64(),
            "{c}"
        );
        assert_eq!(
            (c["n"].as_u64(), c["certifies"].as_str()),
            (Some(30), Some("model"))
        );
        assert_eq!(c["alpha"].as_f64(), Some(0.0));
    }
    let sample = &report["samples"][0]["certificates"][0];
    assert_eq!(sample["certificate"], "interval@linf:0.01");
    assert!(
        sample["margin"].is_number() && sample["status"].is_string(),
        "{sample}"
    );
    assert_eq!(
        report["config"]["plan"]["certificates"][1]["method"],
        "crown"
    );
}

#[test]
fn smoothing_says_what_it_certifies() {
    let ran = run(&[
        "attack",
        "digits-robust",
        "--data",
        "digits",
        "--limit",
        "8",
        "--attack",
        "fgsm",
        "--certify",
        "smoothing",
        "--norm",
        "l2",
        "--eps",
        "0.1,0.3",
        "--set",
        "smoothing.sigma=0.15",
        "--set",
        "smoothing.n=300",
        "--set",
        "smoothing.attack_draws=4",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    for word in [
        "smoothing@l2:0.1",
        "the smoothed model",
        "not the model itself",
        "of attacks on the smoothed model",
        "wrong with probability 0.001 at most",
    ] {
        assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
    }
    assert!(
        !ran.err.contains("lies between certified and attacked"),
        "{}",
        ran.err
    );
}

#[test]
fn certificates_alone_need_no_attack() {
    let ran = attack(&["--certify", "interval", "--norm", "linf", "--eps", "0.01"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.err.contains("interval@linf:0.01") && !ran.err.contains("worst case"),
        "{}",
        ran.err
    );
    // Without certificates the default suite runs.
    let ran = run(&[
        "attack",
        "digits-robust",
        "--data",
        "digits",
        "--limit",
        "5",
        "--norm",
        "linf",
        "--eps",
        "0.1",
    ]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("proofmark-1"), "{}", ran.err);
}

#[test]
fn certificates_that_cannot_be_given_are_refused() {
    let cases: [(&[&str], &str); 6] = [
        (
            &["--certify", "ibp", "--norm", "linf"],
            "no certificate `ibp`; expected one of interval, crown, smoothing",
        ),
        (
            &["--certify", "interval", "--norm", "l2"],
            "run it with --norm linf",
        ),
        (
            &["--certify", "smoothing", "--norm", "l2"],
            "missing field `sigma`",
        ),
        (
            &["--certify", "interval,interval", "--norm", "linf"],
            "--certify interval: given twice",
        ),
        (
            &[
                "--certify",
                "interval",
                "--norm",
                "linf",
                "--attack",
                "pgd",
                "--targeted",
                "3",
            ],
            "this run has a target",
        ),
        (
            &[
                "--attack",
                "pgd",
                "--norm",
                "l2",
                "--set",
                "smoothing.sigma=1",
            ],
            "certificate `smoothing` is not among pgd",
        ),
    ];
    for (arguments, word) in cases {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--eps", "0.1"]);
        let ran = attack(&arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
    }
}

#[test]
fn a_node_without_bounds_is_named() {
    use proofmark::onnx::writer::{FLOAT, OnnxWriter};
    let folder = Folder::new();
    let bytes = OnnxWriter::new(17)
        .input_of("x", FLOAT, "N,1,8,8")
        .output_of("y", FLOAT, "")
        .node("Sin", &["x"], &["wave"], &[])
        .node("Flatten", &["wave"], &["y"], &[])
        .bytes();
    let model = folder.put("wave.onnx", &bytes);
    let ran = run(&[
        "attack",
        &model,
        "--data",
        "digits",
        "--limit",
        "3",
        "--certify",
        "interval",
        "--norm",
        "linf",
        "--eps",
        "0.1",
    ]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    for word in ["has no bounds", "Sin"] {
        assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
    }
}

#[test]
fn a_policy_gates_certified_accuracy() {
    let folder = Folder::new();
    let policy = |certify: &str, require: &str| {
        format!(
            "schema = \"proofmark/policy/1\"\n[[check]]\nid = \"proven\"\nkind = \"robustness\"\nmodel = \"digits-robust\"\ndata = \"digits\"\nlimit = 60\nthreat = {{ norm = \"linf\", eps = \"0.005\" }}\nattacks = [\"fgsm\"]\n{certify}\nrequire = \"{require}\"\n"
        )
    };
    let gate = |text: String| {
        let file = folder.put("policy.toml", text.as_bytes());
        run(&["gate", &file])
    };
    let crown = "certify = [\"interval\", \"crown\"]";
    let ran = gate(policy(
        crown,
        "certified_accuracy >= 0.5, robust_accuracy >= 0.5",
    ));
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let ran = gate(policy(crown, "certified_accuracy >= 0.9999"));
    assert_ne!(ran.code, 0, "{}{}", ran.out, ran.err);
    for (certify, word) in [
        ("", "`certified_accuracy` needs certificates"),
        ("certify = [\"smoothing\"]", "certifies another classifier"),
        ("certify = [\"ibp\"]", "expected one of interval, crown"),
        ("certify = [\"crown\", \"crown\"]", "given twice"),
    ] {
        let ran = gate(policy(certify, "certified_accuracy >= 0.5"));
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains(word), "no `{word}` in: {}", ran.err);
    }
}
