use super::*;

/// A bias check that uses every field of its kind.
const AUDIT: &str = r#"schema = "proofmark/policy/1"

[[data]]
name = "loans"
path = "loans.csv"

[[check]]
id = "fair"
kind = "bias"
data = "loans"
groups = ["sex", "age"]
columns = ["sex", "age", "approved", "risk", "repaid", "weight", "job", "row", "twin"]
decision = "approved"
score = "risk"
label = "repaid"
target = "risk"
weights = "weight"
stratum = "job"
features = ["risk"]
paired = ["row", "twin"]
reference = { sex = "m" }
bins = { age = [25, 45.5] }
where = ["job!=none", "age>=18"]
favourable = "yes"
unfavourable = ["no", "never"]
against_rest = { age = "25 to 45.5" }
delimiter = ";"
alpha = 1
range = { score = [0, 100], target = [-1, 1.5] }
score_bins = 20
positive = ["1", "2"]
intersections = 2
min_n = 20
neighbours = 7
metrics = ["demographic_parity_difference", "auc_difference"]
require = "impact_ratio(sex & age) >= 0.8 and tpr_difference <= 0.1, fpr_difference <= 0.2"
judge = "point"
samples = "ids"
suppress = 5
level = 0.9
"#;

#[test]
fn every_field_of_an_audit_arrives() {
    let p = parse(AUDIT).unwrap();
    let Measure::Audit(task) = p.checks[0].measure() else {
        panic!("not an audit")
    };
    assert_eq!((p.checks[0].level, p.checks[0].kind.id), (0.9, "bias"));
    let requirements: Vec<String> = task.require.iter().map(ToString::to_string).collect();
    assert_eq!(
        requirements,
        [
            "impact_ratio(sex & age)>=0.8",
            "tpr_difference<=0.1",
            "fpr_difference<=0.2"
        ]
    );
    assert_eq!(p.checks[0].requirement(), requirements.join(", "));
    assert!(
        task.require
            .iter()
            .all(|r| r.by == proofmark_audit::By::Point)
    );
    let o = &task.setup.columns;
    let text = |t: &Option<String>| t.clone().unwrap_or_default();
    let one_each = [
        &o.decision,
        &o.score,
        &o.label,
        &o.target,
        &o.weights,
        &o.id,
        &o.variant,
    ];
    assert_eq!(
        one_each.map(text),
        [
            "approved", "risk", "repaid", "risk", "weight", "row", "twin"
        ]
    );
    assert_eq!(
        (o.groups.len(), o.columns.len(), o.filters.len()),
        (2, 9, 2)
    );
    assert_eq!(o.bins, [("age".to_owned(), vec![25.0, 45.5])]);
    assert_eq!(
        (&o.favourable[..], &o.positive[..]),
        (
            &["yes".to_owned()][..],
            &["1".to_owned(), "2".to_owned()][..]
        )
    );
    assert_eq!((o.unfavourable.len(), o.delimiter.byte()), (2, b';'));
    assert_eq!(
        o.against_rest,
        [("age".to_owned(), "25 to 45.5".to_owned())]
    );
    assert_eq!(task.setup.samples, proofmark_audit::report::Detail::Ids);
    let m = &task.setup.settings;
    assert_eq!((m.alpha, m.bins), (1.0, 20));
    assert_eq!(m.score_range, Some([0.0, 100.0].into()));
    assert_eq!(m.target_range, Some([-1.0, 1.5].into()));
    assert_eq!(
        (m.intersections, m.min_n, m.neighbours, task.setup.suppress),
        (2, 20, 7, 5)
    );
    assert_eq!(m.reference, [("sex".to_owned(), "m".to_owned())]);
    assert_eq!(
        m.metrics,
        [
            "impact_ratio",
            "tpr_difference",
            "fpr_difference",
            "selection_rate_difference",
            "auc_difference"
        ]
    );
}

#[test]
fn audit_faults_point_at_their_line() {
    for (from, to, line, message) in [
        (
            "impact_ratio(",
            "impact_rato(",
            "require",
            "did you mean `impact_ratio`",
        ),
        ("0.8 and tpr", "0.8 or tpr", "require", "METRIC<=NUMBER"),
        (">= 0.8", ">= nan", "require", "a finite tolerance"),
        (
            "tpr_difference <= 0.1",
            "tpr_difference >= 0.1",
            "require",
            "the larger it is",
        ),
        (
            "\"demographic_parity_difference\"",
            "\"dpd\"",
            "metrics",
            "unknown metric `dpd`",
        ),
        ("[25, 45.5]", "25", "bins", "expected an array"),
        (
            "score_bins = 20",
            "score_bins = 1001",
            "score_bins",
            "at most 1000, found 1001",
        ),
        (
            "target = [-1, 1.5]",
            "target = [1.5]",
            "range",
            "target: expected two numbers, found 1",
        ),
        (
            "target = [-1, 1.5]",
            "age = [1, 2]",
            "range",
            "score or target",
        ),
        ("age>=18", "age", "where", "COLUMN=VALUE"),
        (
            "judge = \"point\"",
            "judge = \"pint\"",
            "judge",
            "did you mean `point`",
        ),
        ("suppress = 5", "suppress = -5", "suppress", "at least 0"),
        (
            "delimiter = \";\"",
            "delimiter = \";;\"",
            "delimiter",
            "one character",
        ),
        (
            "samples = \"ids\"",
            "samples = \"some\"",
            "samples",
            "unknown value `some`",
        ),
        (
            "suppress = 5",
            "supress = 5",
            "supress",
            "did you mean `suppress`",
        ),
        (
            "suppress = 5",
            "attacks = []",
            "attacks",
            "a check of kind \"bias\" has no attacks",
        ),
    ] {
        let text = AUDIT.replacen(from, to, 1);
        assert_ne!(text, AUDIT, "{from}");
        let error = parse(&text).expect_err(message);
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(error.line, line_of(&text, line), "{error}");
    }
    let error = parse(&AUDIT.replace("groups = [\"sex\", \"age\"]\n", "")).map(|_| ());
    // A paired table needs no `groups`: it has its variants.
    assert!(error.is_ok());
    let text = AUDIT
        .replace("groups = [\"sex\", \"age\"]\n", "")
        .replace("paired = [\"row\", \"twin\"]\n", "");
    assert!(parse(&text).is_err_and(|e| e.to_string().contains("missing field `groups`")));
}
