//! Golden values of public libraries, to 1e-10: fairlearn (G1, G2), AIF360 (G3), aequitas (G4), and of intervals (G5).

use proofmark_audit::{Columns, Comparison, Figure, Groups, Settings, Table, measure, metric};

const G: f64 = 1e-10;

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.min_n = 1;
    settings
}

fn bits(values: &[u8]) -> Vec<bool> {
    values.iter().map(|v| *v == 1).collect()
}

fn near(got: Option<f64>, want: f64) {
    assert!(
        got.is_some_and(|g| (g - want).abs() <= G),
        "{got:?}, expected {want}"
    );
}

fn figures(table: &Table, id: &str, attribute: usize) -> Vec<Figure> {
    let groups = Groups::new(table, &[attribute], &settings()).expect("groups");
    let entry = metric::find(id).expect("a metric");
    entry.figures(&groups, &settings())
}

fn headline(table: &Table, id: &str, attribute: usize) -> Option<f64> {
    let all = figures(table, id, attribute);
    all.iter().find(|f| f.comparison.is_headline())?.value()
}

fn group(table: &Table, id: &str, attribute: usize, name: &str) -> Option<f64> {
    let all = figures(table, id, attribute);
    all.iter()
        .find(|f| f.groups.first().is_some_and(|g| g == name))?
        .value()
}

fn g1() -> Table {
    let y = [0, 1, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1];
    let p = [0, 0, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 0];
    let g = "bbabbcccaacabccbcc";
    let g2 = "868888666866668666";
    let letters = |s: &str| s.chars().map(String::from).collect::<Vec<_>>();
    let both: Vec<String> = letters(g)
        .iter()
        .zip(letters(g2))
        .map(|(a, b)| format!("{a}{b}"))
        .collect();
    let g = letters(g);
    Columns::new("g1")
        .label(bits(&y))
        .decision(bits(&p))
        .attribute("g", g.iter().map(String::as_str))
        .attribute("both", both.iter().map(String::as_str))
        .build()
        .expect("fits")
}

#[test]
fn g1_groups_differences_and_ratios() {
    let t = g1();
    for (id, overall, [a, b, c]) in [
        ("tpr", 0.5, [0.5, 0.6, 0.4]),
        ("fpr", 2.0 / 3.0, [1.0, 0.0, 2.0 / 3.0]),
        ("selection_rate", 10.0 / 18.0, [0.75, 0.5, 0.5]),
    ] {
        near(group(&t, id, 0, "overall"), overall);
        near(group(&t, id, 0, "a"), a);
        near(group(&t, id, 0, "b"), b);
        near(group(&t, id, 0, "c"), c);
    }
    for (id, difference, to_overall, ratio, ratio_to_overall) in [
        ("tpr", 0.2, 0.1, 2.0 / 3.0, 0.8),
        ("fpr", 1.0, 2.0 / 3.0, 0.0, 0.0),
        ("selection_rate", 0.25, 7.0 / 36.0, 2.0 / 3.0, 20.0 / 27.0),
    ] {
        near(headline(&t, &format!("{id}_difference"), 0), difference);
        near(
            headline(&t, &format!("{id}_difference_to_overall"), 0),
            to_overall,
        );
        near(headline(&t, &format!("{id}_ratio"), 0), ratio);
        near(
            headline(&t, &format!("{id}_ratio_to_overall"), 0),
            ratio_to_overall,
        );
    }
}

#[test]
fn g1_intersections() {
    let t = g1();
    for (name, n, recall, precision) in [
        ("a6", 2.0, 0.0, 0.0),
        ("a8", 2.0, 1.0, 0.5),
        ("b6", 3.0, 2.0 / 3.0, 1.0),
        ("b8", 3.0, 0.5, 1.0),
        ("c6", 6.0, 0.5, 2.0 / 3.0),
        ("c8", 2.0, 0.0, 0.0),
    ] {
        near(group(&t, "recall", 1, name), recall);
        near(group(&t, "precision", 1, name), precision);
        let groups = Groups::new(&t, &[1], &settings()).expect("groups");
        let of = groups
            .groups()
            .iter()
            .find(|g| g.name == name)
            .expect("a group");
        near(Some(of.cell.all().weight), n);
    }
}

/// Returns runs of `run` rows of one value, then of the other, 71 rows in all.
fn runs(values: [&'static str; 2], run: usize) -> Vec<&'static str> {
    (0..71).map(|i| values[(i / run) % 2]).collect()
}

fn g2(weighted: bool) -> Table {
    let digits = |s: &str| s.bytes().map(|b| b - b'0').collect::<Vec<u8>>();
    let y = digits("10111011000111011001110000111111010100101001110001111001110110111111111");
    let p = digits("01110001111001110110110000111111010100101011011011011111000011111111111");
    let w = digits("12312123111233121112322121313141213233414131112331211123112321223232341");
    assert_eq!((y.len(), p.len(), w.len()), (71, 71, 71));
    let columns = Columns::new("g2")
        .label(bits(&y))
        .decision(bits(&p))
        .score(p.iter().map(|v| f64::from(*v)))
        .attribute("g_1", runs(["aa", "ba"], 2))
        .attribute("g_2", runs(["f", "g"], 3))
        .attribute("g_3", runs(["kk", "m"], 4))
        .attribute("g_4", runs(["pp", "q"], 5));
    let columns = if weighted {
        columns.weights(w.iter().map(|v| f64::from(*v)))
    } else {
        columns
    };
    columns.build().expect("fits")
}

#[test]
fn g2_overall_and_four_attributes() {
    let t = g2(false);
    let groups = Groups::new(&t, &[0], &settings()).expect("groups");
    let all = groups.overall();
    assert_eq!((all.tp.n, all.fp.n, all.tn.n, all.fn_.n), (33, 13, 13, 12));
    near(group(&t, "selection_rate", 0, "overall"), 46.0 / 71.0);
    near(group(&t, "tpr", 0, "overall"), 33.0 / 45.0);
    near(group(&t, "fpr", 0, "overall"), 0.5);
    near(
        headline(&t, "demographic_parity_difference", 0),
        0.074_603_174_603_174_6,
    );
    near(
        headline(&t, "selection_rate_difference_to_overall", 0),
        0.037_826_961_770_623_7,
    );
    near(
        headline(&t, "selection_rate_ratio_to_overall", 0),
        0.943_236_714_975_845_4,
    );
    let want = [
        [
            0.074_603_174_6,
            0.891_203_703_7,
            0.100_790_513_8,
            0.871_212_121_2,
        ],
        [0.038_095_238_1, 0.942_857_142_9, 0.230_769_230_8, 0.625],
        [
            0.074_603_174_6,
            0.891_203_703_7,
            0.189_723_320_2,
            0.729_166_666_7,
        ],
        [
            0.038_095_238_1,
            0.942_857_142_9,
            0.076_923_076_9,
            0.857_142_857_1,
        ],
    ];
    four(&t, want);
}

#[test]
fn g2_weighted() {
    let t = g2(true);
    near(group(&t, "selection_rate", 0, "overall"), 93.0 / 139.0);
    near(group(&t, "tpr", 0, "overall"), 73.0 / 94.0);
    near(group(&t, "fpr", 0, "overall"), 20.0 / 45.0);
    let want = [
        [
            0.023_839_137_6,
            0.964_971_063_1,
            0.019_762_845_8,
            0.956_521_739_1,
        ],
        [0.082_177_385_5, 0.883_457_526_1, 0.26, 0.535_714_285_7],
        [
            0.071_933_471_9,
            0.897_633_136_1,
            0.208_333_333_3,
            0.615_384_615_4,
        ],
        [
            0.014_498_757_2,
            0.978_567_054_5,
            0.108_695_652_2,
            0.782_608_695_7,
        ],
    ];
    four(&t, want);
}

fn four(t: &Table, want: [[f64; 4]; 4]) {
    let ids = [
        "demographic_parity_difference",
        "demographic_parity_ratio",
        "equalized_odds_difference",
        "equalized_odds_ratio",
    ];
    for (attribute, want) in want.iter().enumerate() {
        for (id, want) in ids.iter().zip(want) {
            near(headline(t, id, attribute), *want);
        }
    }
}

fn ten(predictions: [u8; 10]) -> Table {
    Columns::new("g3")
        .label(bits(&[1, 0, 0, 1, 0, 0, 1, 0, 1, 1]))
        .decision(bits(&predictions))
        .attribute("feat", ["0", "0", "1", "1", "1", "1", "2", "2", "2", "2"])
        .build()
        .expect("fits")
}

fn whole(table: &Table, id: &str) -> Option<f64> {
    metric::find(id)
        .expect("a metric")
        .table_figures(table, &settings())[0]
        .value()
}

#[test]
fn g3_inequality_indices() {
    let t = ten([1, 0, 0, 0, 1, 1, 1, 0, 1, 0]);
    near(whole(&t, "generalized_entropy_index"), 0.2);
    near(whole(&t, "theil_index"), 4.0 * 2.0_f64.ln() / 10.0);
    near(headline(&t, "between_group_generalized_entropy", 0), 0.025);
    let t = ten([0, 1, 1, 0, 0, 0, 0, 1, 1, 1]);
    near(whole(&t, "generalized_entropy_index"), 0.3);
    let t = Columns::new("g3")
        .label(bits(&[1, 0, 0, 1, 0, 0]))
        .decision(bits(&[0, 0, 0, 0, 1, 1]))
        .attribute("feat", ["0", "0", "1", "1", "1", "1"])
        .build()
        .expect("fits");
    near(headline(&t, "between_group_generalized_entropy", 0), 0.0625);
}

/// Classes 0 and 1 are favourable: labels 1 0 0 1 0 2 1 0 2 1, predictions 1 0 0 0 2 2 1 0 2 1.
#[test]
fn g3_confusion_and_false_negative_rate() {
    let favourable = |classes: [u8; 10]| classes.map(|c| c < 2);
    let groups = ["0", "0", "1", "1", "1", "1", "2", "2", "2", "2"];
    let t = Columns::new("g3")
        .label(favourable([1, 0, 0, 1, 0, 2, 1, 0, 2, 1]))
        .decision(favourable([1, 0, 0, 0, 2, 2, 1, 0, 2, 1]))
        .attribute(
            "privileged",
            groups.map(|g| if g == "2" { "no" } else { "yes" }),
        )
        .build()
        .expect("fits");
    let mut settings = settings();
    settings.reference = vec![("privileged".to_owned(), "yes".to_owned())];
    let groups = Groups::new(&t, &[0], &settings).expect("groups");
    let all = groups.overall();
    assert_eq!((all.tp.n, all.fn_.n, all.tn.n, all.fp.n), (7, 1, 2, 0));
    let figures = metric::find("fnr_difference_to_reference")
        .expect("a metric")
        .figures(&groups, &settings);
    assert_eq!(figures[0].comparison, Comparison::GroupToReference);
    near(figures[0].value(), -0.2);
    near(figures[1].value(), 0.2);
}

/// The sums are the mean scores times the number of rows they average.
#[test]
fn g3_generalised_confusion() {
    let favourable = |classes: [u8; 10]| classes.map(|c| c < 2);
    let t = Columns::new("g3")
        .label(favourable([1, 0, 0, 1, 0, 0, 2, 0, 0, 2]))
        .score([0.8, 0.6, 0.7, 0.8, 0.36, 0.82, 0.79, 0.42, 0.81, 0.3])
        .attribute("feat", ["0", "0", "1", "1", "1", "1", "1", "0", "0", "1"])
        .build()
        .expect("fits");
    let sum = |id: &str| {
        let all = figures(&t, id, 0);
        let overall = all
            .iter()
            .find(|f| f.comparison == Comparison::Overall)
            .expect("overall");
        Some(overall.value().expect("estimable") * overall.n[0] as f64)
    };
    near(sum("generalized_tpr"), 5.31);
    near(sum("generalized_fpr"), 1.09);
}

/// Ten rows: High has two true and one false positive, one false and one true negative; Low has one, two, one and one.
#[test]
fn g4_aequitas() {
    let cells = [
        ("High", true, true, 2),
        ("High", true, false, 1),
        ("High", false, true, 1),
        ("High", false, false, 1),
        ("Low", true, true, 1),
        ("Low", true, false, 2),
        ("Low", false, true, 1),
        ("Low", false, false, 1),
    ];
    let rows: Vec<(&str, bool, bool)> = cells
        .iter()
        .flat_map(|(g, d, l, n)| std::iter::repeat_n((*g, *d, *l), *n))
        .collect();
    let t = Columns::new("g4")
        .decision(rows.iter().map(|r| r.1))
        .label(rows.iter().map(|r| r.2))
        .attribute("income", rows.iter().map(|r| r.0))
        .build()
        .expect("fits");
    let third = 1.0 / 3.0;
    for (id, high, low, disparity) in [
        ("fpr", 0.5, 2.0 * third, 4.0 * third),
        ("fnr", third, 0.5, 1.5),
        ("for", 0.5, 0.5, 1.0),
        ("fdr", third, 2.0 * third, 2.0),
        ("selection_rate", 0.6, 0.6, 1.0),
    ] {
        near(group(&t, id, 0, "High"), high);
        near(group(&t, id, 0, "Low"), low);
        let mut settings = settings();
        settings.reference = vec![("income".to_owned(), "High".to_owned())];
        let groups = Groups::new(&t, &[0], &settings).expect("groups");
        let ratio = metric::find(&format!("{id}_ratio_to_reference")).expect("a metric");
        near(ratio.figures(&groups, &settings)[0].value(), disparity);
    }
}

#[test]
fn g5_intervals() {
    let clopper = proofmark_stats::clopper_pearson(95, 100, 0.95);
    let wilson = proofmark_stats::wilson(95, 100, 0.95);
    for (got, want) in [
        (clopper.low, 0.887_165),
        (clopper.high, 0.983_568),
        (wilson.low, 0.888_250),
        (wilson.high, 0.978_456),
    ] {
        assert!((got - want).abs() < 5e-7, "{got}, expected {want}");
    }
}

/// Figures that other libraries set to 0, 1 or 10 have no value here and give the reason.
#[test]
fn what_cannot_be_estimated_is_no_number() {
    let t = Columns::new("t")
        .label([true, false, false, false])
        .decision([true, false, true, false])
        .attribute("g", ["a", "a", "b", "b"])
        .build()
        .expect("fits");
    assert_eq!(group(&t, "tpr", 0, "a"), Some(1.0));
    assert_eq!(group(&t, "tpr", 0, "b"), None);
    for id in [
        "tpr_difference",
        "tpr_ratio",
        "equalized_odds_difference",
        "fnr_difference_to_overall",
    ] {
        let all = figures(&t, id, 0);
        let headline = all
            .iter()
            .find(|f| f.comparison.is_headline())
            .expect("a headline");
        if id != "fnr_difference_to_overall" {
            assert_eq!(headline.value(), None, "{id}");
        }
        assert_eq!(headline.left_out.len(), 1, "{id}");
        assert_eq!(
            (headline.persons_left_out, headline.share_left_out()),
            (2, 0.5),
            "{id}"
        );
    }
    // 0 / 0 is not a ratio.
    let t = Columns::new("t")
        .decision([false; 4])
        .attribute("g", ["a", "a", "b", "b"])
        .build()
        .expect("fits");
    for id in ["selection_rate_ratio", "impact_ratio"] {
        assert_eq!(headline(&t, id, 0), None, "{id}");
    }
    assert_eq!(headline(&t, "selection_rate_difference", 0), Some(0.0));
    let measured = measure(&t, &settings()).expect("measures");
    assert!(
        measured
            .figures
            .iter()
            .all(|f| f.value().is_none_or(f64::is_finite))
    );
}
