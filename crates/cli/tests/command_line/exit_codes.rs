use crate::harness::{Folder, attack, run};

#[test]
fn the_example_policies_cover_every_exit_code() {
    let gate = |name: &str| run(&["gate", &format!("examples/gate/{name}.toml")]);
    assert_eq!(gate("robust").code, 0);
    let sequential = gate("sequential");
    assert_eq!(sequential.code, 0, "{}", sequential.err);
    assert!(sequential.err.contains("(look "), "{}", sequential.err);
    let standard = gate("standard");
    assert_eq!(standard.code, 1);
    assert!(
        standard.err.contains("requirement-missed"),
        "{}",
        standard.err
    );
    let few = gate("few");
    assert_eq!(few.code, 3);
    assert!(
        few.err.contains("further samples would settle it"),
        "{}",
        few.err
    );
    let broken = gate("broken");
    assert_eq!(broken.code, 2);
    assert!(broken.err.contains("broken.toml: line 9"), "{}", broken.err);
}

#[test]
fn fail_under_is_judged_on_the_interval() {
    let at = |threshold: &str| attack("digits", &["--limit", "100", "--fail-under", threshold]);
    assert_eq!(at("0.3").code, 0);
    assert_eq!(at("0.999").code, 1);
    let near = at("0.88");
    assert_eq!(near.code, 3, "{}", near.err);
    assert_eq!(at("1.5").code, 2);
}

#[test]
fn help_has_examples_and_typos_name_the_nearest_word() {
    for command in [
        "list", "inspect", "infer", "attack", "falsify", "audit", "gate", "merge",
    ] {
        let help = run(&[command, "--help"]);
        assert_eq!(help.code, 0);
        assert!(help.out.contains("Example"), "{command}");
    }
    let nearest = [
        (vec!["attak"], "attack"),
        (
            vec![
                "attack",
                "digits-robust",
                "--data",
                "digits",
                "--nrom",
                "linf",
            ],
            "--norm",
        ),
        (vec!["list", "atacks"], "attacks"),
    ];
    for (arguments, expected) in nearest {
        let ran = run(&arguments);
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains(expected), "{}", ran.err);
    }
}

#[test]
fn machine_output_goes_to_standard_output_and_nothing_else_does() {
    let measured = attack("digits", &["--limit", "20"]);
    assert_eq!((measured.code, measured.out.as_str()), (0, ""));
    assert!(measured.err.contains("worst case"));
    assert_eq!(attack("digits", &["--limit", "20", "--quiet"]).err, "");

    let json = run(&[
        "gate",
        "examples/gate/few.toml",
        "--quiet",
        "--format",
        "json",
    ]);
    let value: serde_json::Value = serde_json::from_str(&json.out).expect("JSON alone");
    assert_eq!(value["verdict"], "inconclusive");
    assert_eq!(json.err, "");

    let model = run(&["inspect", "digits-robust", "--format", "json"]);
    let value: serde_json::Value = serde_json::from_str(&model.out).expect("JSON alone");
    assert_eq!(value["classes"], 10);
}

#[test]
fn a_policy_enforces_its_digests_and_limits() {
    let folder = Folder::new();
    let policy = |extra: &str, model: &str, limits: &str| {
        format!(
            "schema = \"proofmark/policy/1\"\n{limits}\n{extra}\n[[check]]\nid = \"c\"\nkind = \"robustness\"\n\
             model = \"{model}\"\ndata = \"digits\"\nlimit = 40\nthreat = {{ norm = \"linf\", eps = \"0.1\" }}\n\
             attacks = [{{ id = \"pgd\", steps = 200 }}]\nrequire = \"robust_accuracy >= 0.2\"\n"
        )
    };
    let wrong = "[[model]]\nname = \"mine\"\npath = \"digits-robust\"\nsha256 = \"".to_owned()
        + &"0".repeat(64)
        + "\"";
    let file = folder.put("digest.toml", policy(&wrong, "mine", "").as_bytes());
    let refused = run(&["gate", &file]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("sha256"), "{}", refused.err);

    let file = folder.put(
        "spent.toml",
        policy("", "digits-robust", "[limits]\nforwards = 50").as_bytes(),
    );
    assert_eq!(
        run(&["gate", &file]).code,
        3,
        "what was not measured cannot pass"
    );
    let file = folder.put("time.toml", policy("", "digits-robust", "").as_bytes());
    let stopped = run(&["gate", &file, "--time-budget", "0.000001"]);
    assert_eq!(
        stopped.code, 3,
        "stopped before the clean samples: {}",
        stopped.err
    );
    assert_eq!(run(&["gate", &file]).code, 0);
}
