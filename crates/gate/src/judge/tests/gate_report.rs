//! The gate report: as a table, as JSON, and the positions of its findings.

use super::*;
use crate::render::{self, Document};

#[test]
fn the_gate_report_as_table_and_json() {
    let waiver = "[[waiver]]\nfinding = \"requirement-missed\"\nreason = \"r\"\nowner = \"vision team\"\nexpires = 2027-01-01";
    let gate = run(
        &policy("robust_accuracy >= 0.7, accuracy >= 0.9", "", waiver),
        masked(measured(580, 1000)),
    );
    let table = render::table(Document::Gate(&gate), false);
    let expected = "\
verdict             check  requirement             observed  interval        n
fail                linf   robust_accuracy >= 0.7  0.580     [0.549, 0.611]  1000
inconclusive        linf   accuracy >= 0.9         1.000     [0.996, 1.000]  1000

findings
  fail (waived by vision team) linf/requirement-missed: robust_accuracy is 0.580 [0.549, 0.611] at 95 % over 1000 samples; the whole interval is below 0.7
    next: improve the model, or state a threshold it can hold
    at: policy.toml:9:11
  inconclusive linf/randomised-outputs: the same input gave another answer the second time on 1000 of 1000 samples (100.0 %)
    next: evaluate the model in inference mode, or wrap it in EOT so that attack and judge average over its randomness
    at: policy.toml:3:6

verdict: inconclusive
";
    let squeezed = |t: &str| {
        t.lines()
            .map(|l| {
                l.split("  ")
                    .filter(|p| !p.is_empty())
                    .collect::<Vec<_>>()
                    .join("  ")
            })
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(squeezed(&table), squeezed(expected), "{table}");
    assert!(!table.contains('\u{1b}'));

    let json = render::json(Document::Gate(&gate));
    let back: GateReport = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (
            back.verdict,
            back.findings.len(),
            back.checks[0].id.as_str()
        ),
        (gate.verdict, 2, "linf")
    );
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    for key in [
        "id",
        "kind",
        "verdict",
        "observed",
        "ci",
        "threshold",
        "evidence",
    ] {
        assert!(!value["checks"][0][key].is_null(), "{key}");
    }
    assert_eq!(value["checks"][0]["evidence"], "linf.json");
    assert_eq!(
        (&value["schema"], &value["verdict"]),
        (&"proofmark/gate/1".into(), &"inconclusive".into())
    );
}

#[test]
fn a_finding_says_where_it_stands() {
    let mut policy = policy(
        "robust_accuracy >= 0.9",
        "",
        "[[waiver]]\nfinding = \"requirement-missed\"\nreason = \"r\"\nowner = \"o\"\nexpires = 2026-01-01",
    );
    policy.file = "gate/policy.toml".to_owned();
    let gate = run(&policy, masked(measured(10, 200)));
    let place = |code: &str| {
        let location = found(&gate, code).location.clone().expect("a place");
        assert_eq!(location.file, "gate/policy.toml");
        (location.line, location.column)
    };
    assert_eq!(place("requirement-missed"), (9, 11));
    assert_eq!(place("randomised-outputs"), (3, 6));
    assert_eq!(place("expired-waiver"), (12, 11));
    let cost = gate.checks[0].cost.expect("a cost");
    assert_eq!(
        (cost.seconds, cost.forward, cost.computed),
        (1.5, 2_000, 640)
    );
}
