//! Files as found in practice: without a header, with dotted labels, deciles, unknown values, weights and bins, and
//! npz.

use ndarray::{arr1, arr2};
use proofmark_audit::{Figure, Groups, Options, Settings, Table, measure};
use proofmark_data::npz::{AnyArray, write};

fn all(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn headline<'f>(figures: &'f [Figure], id: &str, attribute: &str) -> &'f Figure {
    let found = figures
        .iter()
        .find(|f| f.metric == id && f.attribute == attribute && f.comparison.is_headline());
    found.expect("measured")
}

fn group(figures: &[Figure], id: &str, name: &str) -> f64 {
    let found = figures
        .iter()
        .find(|f| f.metric == id && f.groups == [name]);
    found.expect("measured").value().expect("estimable")
}

const ADULT: [&str; 15] = [
    "age",
    "workclass",
    "fnlwgt",
    "education",
    "education-num",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "capital-gain",
    "capital-loss",
    "hours-per-week",
    "country",
    "income",
];

#[test]
fn bins_filters_unknown_values_and_one_against_the_rest() {
    let text = "age,race,hired\n20,a,1\n25,b,0\n44,?,1\n45,c,0\n70,a,1\n,b,1\n30,a,0\n";
    let mut options = Options::default();
    options.decision = Some("hired".to_owned());
    options.groups = all(&["age", "race"]);
    options.bins = vec![("age".to_owned(), vec![25.0, 45.0])];
    options.against_rest = vec![("race".to_owned(), "a".to_owned())];
    options.filters = vec!["age!=30".parse().expect("well-formed")];
    let table = Table::csv_from(text.as_bytes(), "t", &options).expect("reads");
    assert_eq!((table.rows(), table.filtered()), (6, 1));
    let [age, race] = table.attributes() else {
        panic!("two attributes");
    };
    assert_eq!(age.levels(), ["< 25", "25 to < 45", "45 or more"]);
    let values: Vec<Option<&str>> = (0..6).map(|r| age.value(r)).collect();
    let [low, mid, high] = ["< 25", "25 to < 45", "45 or more"].map(Some);
    assert_eq!(values, [low, mid, mid, high, high, None]);
    let values: Vec<Option<&str>> = (0..6).map(|r| race.value(r)).collect();
    let (a, rest) = (Some("a"), Some("not a"));
    assert_eq!(values, [a, rest, None, rest, a, rest]);
    let mut settings = Settings::default();
    settings.min_n = 1;
    settings.intersections = 2;
    let measured = measure(&table, &settings).expect("measures");
    let names: Vec<&str> = measured.groupings.iter().map(Groups::attribute).collect();
    assert_eq!(names, ["age", "race", "age & race"]);
    let gap = headline(&measured.figures, "selection_rate_difference", "age & race");
    assert_eq!((gap.persons_left_out, gap.persons), (2, 6));
}

#[test]
fn several_values_of_a_column_are_any_of_them() {
    let text = "age,race,hired\n20,a,1\n25,b,0\n44,c,1\n45,b,0\n";
    let mut options = Options::default();
    options.decision = Some("hired".to_owned());
    options.groups = all(&["race"]);
    options.filters = ["race=a", "race=b", "age<45"]
        .map(|f| f.parse().expect("well-formed"))
        .to_vec();
    let table = Table::csv_from(text.as_bytes(), "t", &options).expect("reads");
    assert_eq!((table.rows(), table.filtered()), (2, 2));
}

#[test]
fn an_npz_is_read_as_a_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("t.npz");
    let arrays = [
        ("y", AnyArray::from(arr1(&[1_i64, 0, 1, 0]).into_dyn())),
        (
            "yhat",
            AnyArray::from(arr1(&[true, true, false, false]).into_dyn()),
        ),
        (
            "sex",
            AnyArray::from(arr1(&["f", "m", "f", "m"].map(str::to_owned)).into_dyn()),
        ),
        (
            "age",
            AnyArray::from(arr1(&[f64::NAN, 20.0, 30.0, 40.0]).into_dyn()),
        ),
        (
            "x",
            AnyArray::from(arr2(&[[0.0_f32, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]]).into_dyn()),
        ),
        ("odd", AnyArray::from(arr1(&[1_u8, 2, 3]).into_dyn())),
    ];
    let views: Vec<(&str, _)> = arrays.iter().map(|(n, a)| (*n, a.view())).collect();
    write(&path, &views).expect("writes");
    let mut options = Options::default();
    options.decision = Some("yhat".to_owned());
    options.label = Some("y".to_owned());
    options.groups = all(&["sex", "age"]);
    options.features = all(&["x"]);
    let table = Table::npz(&path, &options).expect("reads");
    assert_eq!(table.label(), Some(&[true, false, true, false][..]));
    assert_eq!(table.decision(), Some(&[true, true, false, false][..]));
    assert_eq!(
        (
            table.attributes()[1].value(0),
            table.attributes()[1].value(1)
        ),
        (None, Some("20"))
    );
    assert_eq!(
        (table.features().len(), table.features()[1].values[3]),
        (2, 7.0)
    );
    let mut odd = options;
    odd.weights = Some("odd".to_owned());
    let message = Table::npz(&path, &odd).expect_err("ragged").to_string();
    assert!(
        message.ends_with("`yhat` has 4 rows and `odd` has 3; expected as many of each"),
        "{message}"
    );
}

/// Published rates: 44.9 against 23.5 % labelled higher risk who did not re-offend, and 28.0 against 47.7 % labelled
/// lower risk who did.
#[test]
fn the_published_compas_rates_are_measured() {
    let Some(path) = crate::common::tabular("compas-scores-two-years.csv") else {
        return;
    };
    let mut options = Options::default();
    options.score = Some("decile_score#1".to_owned());
    options.threshold = Some(5.0);
    options.label = Some("two_year_recid".to_owned());
    options.groups = all(&["race"]);
    let table = Table::csv(&path, &options).expect("reads");
    assert_eq!(table.rows(), 7214);
    let measured = measure(&table, &Settings::default()).expect("measures");
    let rate = |id: &str, race: &str| (group(&measured.figures, id, race) * 1000.0).round() / 10.0;
    let (black, white) = ("African-American", "Caucasian");
    assert_eq!([rate("fpr", black), rate("fpr", white)], [44.8, 23.5]);
    assert_eq!([rate("fnr", black), rate("fnr", white)], [28.0, 47.7]);
    assert_eq!([rate("ppv", black), rate("ppv", white)], [63.0, 59.1]);
    // Eleven Native Americans and thirty-one Asians: too few with one label or the other for some rates.
    let gap = headline(&measured.figures, "fpr_difference", "race");
    assert!(
        gap.left_out.iter().any(|l| l.group == "Native American"),
        "{gap:?}"
    );
}

/// AIF360's published figures on Adult's test labels.
#[test]
fn adult_is_read_without_a_header_and_its_differential_fairness_is_as_published() {
    let Some(path) = crate::common::tabular("adult-test.csv") else {
        return;
    };
    let mut options = Options::default();
    options.columns = all(&ADULT);
    options.label = Some("income".to_owned());
    options.groups = all(&["race", "sex", "country"]);
    options.favourable = all(&[">50K."]);
    // An unknown country counts as not the United States.
    options.missing = Vec::new();
    options.against_rest = [("race", "White"), ("country", "United-States")]
        .map(|(a, v)| (a.to_owned(), v.to_owned()))
        .to_vec();
    let mut settings = Settings::default();
    settings.min_n = 1;
    settings.intersections = 3;
    for want in [1.536_790_146_536_23, 2.063_813_731_996_515] {
        let table = Table::csv(&path, &options).expect("reads");
        assert_eq!(table.rows(), 16281);
        let measured = measure(&table, &settings).expect("measures");
        let id = "label_differential_fairness";
        let got = headline(&measured.figures, id, "race & sex & country").value();
        assert!(
            got.is_some_and(|g| (g - want).abs() < 1e-10),
            "{got:?}, expected {want}"
        );
        options.against_rest.remove(0);
    }
    options.favourable = all(&[">50K"]);
    let message = Table::csv(&path, &options).expect_err("dotted").to_string();
    assert!(
        message.contains("`>50K` (not met yet; did you mean `>50K.`?) or `<=50K.`"),
        "{message}"
    );
}

#[test]
fn german_credit_has_classes_1_and_2() {
    let Some(path) = crate::common::tabular("german.csv") else {
        return;
    };
    let names: Vec<String> = (1..=20)
        .map(|i| format!("a{i}"))
        .chain(["class".to_owned()])
        .collect();
    let mut options = Options::default();
    options.columns = names;
    options.label = Some("class".to_owned());
    options.groups = all(&["a13"]);
    options.bins = vec![("a13".to_owned(), vec![25.0])];
    options.favourable = all(&["1"]);
    let table = Table::csv(&path, &options).expect("reads");
    let positive = table
        .label()
        .expect("labels")
        .iter()
        .filter(|l| **l)
        .count();
    assert_eq!((table.rows(), positive), (1000, 700));
    let measured = measure(&table, &Settings::default()).expect("measures");
    assert!(
        headline(&measured.figures, "base_rate_difference", "a13")
            .value()
            .is_some_and(|v| v > 0.1)
    );
}
