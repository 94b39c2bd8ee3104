//! Figures computed by hand, for metrics that no peer library has in this form.

use proofmark_audit::{Columns, Comparison, Estimate, Figure, Groups, Settings, Table, metric};

fn figures(table: &Table, id: &str, settings: &Settings) -> Vec<Figure> {
    let groups = Groups::new(table, &[0], settings).expect("groups");
    metric::find(id)
        .expect("a metric")
        .figures(&groups, settings)
}

fn one() -> Settings {
    let mut settings = Settings::default();
    settings.min_n = 1;
    settings
}

fn near(got: Option<f64>, want: f64) {
    assert!(
        got.is_some_and(|g| (g - want).abs() < 1e-12),
        "{got:?}, expected {want}"
    );
}

/// Builds `n` rows per group and stratum, the first `favourable` of them with a favourable decision.
fn strata(cells: &[(&'static str, &'static str, usize, usize)]) -> Table {
    let rows = cells.iter().flat_map(|(group, stratum, n, favourable)| {
        (0..*n).map(move |i| (*group, *stratum, i < *favourable))
    });
    let rows: Vec<_> = rows.collect();
    Columns::new("t")
        .decision(rows.iter().map(|r| r.2))
        .attribute("sex", rows.iter().map(|r| r.0))
        .stratum("department", rows.iter().map(|r| r.1))
        .build()
        .expect("fits")
}

/// Stratum a has six people, f 3/4 and m 1/2; stratum b has ten, f 1/2 and m 0/8.
/// `(6 (1/4) + 10 (1/2)) / 16 = 6.5 / 16`. Variance: `(36 (3/64 + 1/8) + 100 (1/8 + 0)) / 256`.
#[test]
fn conditional_parity_weighs_strata_by_their_size() {
    let table = strata(&[
        ("f", "a", 4, 3),
        ("m", "a", 2, 1),
        ("f", "b", 2, 1),
        ("m", "b", 8, 0),
    ]);
    let all = figures(&table, "conditional_demographic_parity_difference", &one());
    assert_eq!(
        (all.len(), &all[0].groups[..]),
        (2, &["f".to_owned(), "m".to_owned()][..])
    );
    near(all[0].value(), 6.5 / 16.0);
    near(all[1].value(), 6.5 / 16.0);
    assert_eq!(
        (all[0].n.as_slice(), all[1].comparison),
        (&[6, 10][..], Comparison::Between)
    );
    let Estimate::Mean(mean) = &all[0].basis.families[0].parts[0].estimate else {
        panic!("a mean");
    };
    near(
        mean.variance,
        (36.0 * (3.0 / 64.0 + 0.125) + 100.0 * 0.125) / 256.0,
    );
    // With a minimum of three, stratum a drops out for m and b for f, so no stratum is left.
    let mut three = one();
    three.min_n = 3;
    let all = figures(&table, "conditional_demographic_parity_difference", &three);
    assert!(all.iter().all(|f| f.value().is_none()));
}

/// Refusals: in a, 1 f and 1 m of 2; in b, 1 f and 8 m of 9. Acceptances: in a, 3 f and 1 m of 4; in b, 1 f of 1.
/// CDD(f) = (6 (1/2 - 3/4) + 10 (1/9 - 1)) / 16, and CDD(m) is its negative.
#[test]
fn conditional_disparity_is_the_share_of_refusals_less_the_share_of_acceptances() {
    let table = strata(&[
        ("f", "a", 4, 3),
        ("m", "a", 2, 1),
        ("f", "b", 2, 1),
        ("m", "b", 8, 0),
        ("f", "c", 2, 2),
    ]);
    let all = figures(&table, "conditional_demographic_disparity", &one());
    let f = (6.0 * -0.25 + 10.0 * (1.0 / 9.0 - 1.0)) / 16.0;
    near(all[0].value(), f);
    near(all[1].value(), -f);
    assert_eq!(
        (all[2].groups[0].as_str(), all[2].comparison),
        ("m", Comparison::Whole)
    );
}

/// Base rates: f 3/4, m 1/4, together 1/2, so the label correlates with f. Decisions f 1, m 1/2 give
/// `(1/4 - 1/4) / 2 = 0`; if m never gets a favourable decision, `(1/4 + 1/4) / 2`.
#[test]
fn bias_amplification_has_a_direction() {
    let table = |m: [bool; 4]| {
        Columns::new("t")
            .label([true, true, true, false, true, false, false, false])
            .decision([true; 4].into_iter().chain(m))
            .attribute("sex", ["f", "f", "f", "f", "m", "m", "m", "m"])
            .build()
            .expect("fits")
    };
    let value = |m| figures(&table(m), "bias_amplification", &one())[0].value();
    near(value([true, true, false, false]), 0.0);
    near(value([false; 4]), 0.25);
}

/// Scores 1 2 2 3: the median is 2, and a score equal to it is not above it.
#[test]
fn a_score_on_the_median_is_not_above_it() {
    let table = |weights: [f64; 4]| {
        Columns::new("t")
            .score([1.0, 2.0, 2.0, 3.0])
            .weights(weights)
            .attribute("sex", ["f", "f", "m", "m"])
            .build()
            .expect("fits")
    };
    let plain = table([1.0; 4]);
    assert_eq!(plain.score_median(), Some(2.0));
    let all = figures(&plain, "scoring_rate", &one());
    assert_eq!((all[0].value(), all[1].value()), (Some(0.0), Some(0.5)));
    assert_eq!(table([5.0, 1.0, 1.0, 1.0]).score_median(), Some(1.0));
    assert_eq!(table([3.0, 1.0, 1.0, 1.0]).score_median(), Some(1.5));
    let ratio = figures(&plain, "scoring_impact_ratio", &one());
    assert_eq!(ratio.last().and_then(Figure::value), Some(0.0));
}

/// Weights 1, 1, 2 and scores 0, 4, 6: mean 4; `sum (w (s - 4))^2 = 16 + 0 + 16`, over `4^2`, times `3 / 2`.
#[test]
fn the_variance_of_a_weighted_mean() {
    let table = Columns::new("t")
        .score([0.0, 4.0, 6.0, 1.0, 1.0])
        .weights([1.0, 1.0, 2.0, 1.0, 1.0])
        .attribute("sex", ["f", "f", "f", "m", "m"])
        .build()
        .expect("fits");
    let all = figures(&table, "mean_score", &one());
    let Estimate::Mean(mean) = &all[0].basis.families[0].parts[0].estimate else {
        panic!("a mean");
    };
    near(Some(mean.value), 4.0);
    near(mean.variance, 3.0);
}

#[test]
fn an_infinite_loss_is_not_estimable_and_affects_no_other_group() {
    let table = Columns::new("t")
        .score([0.0, 0.5, 0.5, 0.5, 0.5, 0.5])
        .label([true, true, false, true, true, false])
        .attribute("sex", ["f", "f", "m", "m", "x", "x"])
        .build()
        .expect("fits");
    let all = figures(&table, "log_loss", &one());
    assert!(
        all[0]
            .value
            .as_ref()
            .is_err_and(|r| r.to_string().contains("infinite"))
    );
    near(all[1].value(), 2.0_f64.ln());
    let gap = &figures(&table, "log_loss_difference", &one())[0];
    assert_eq!(
        (gap.value(), gap.left_out[0].group.as_str()),
        (Some(0.0), "f")
    );
}

/// Scores outside `[0, 1]` are not probabilities: calibration and similar metrics are skipped by name.
#[test]
fn scores_outside_0_and_1_have_no_calibration() {
    let table = Columns::new("t")
        .score([7.0, 0.5])
        .label([true, false])
        .attribute("sex", ["f", "m"])
        .build()
        .expect("fits");
    let measured = proofmark_audit::measure(&table, &one()).expect("measures");
    assert!(
        ["ece", "brier_score", "log_loss"]
            .iter()
            .all(|m| measured.skipped.iter().any(|s| s.metric == *m))
    );
    assert!(measured.figures.iter().any(|f| f.metric == "mean_score"));
}

/// Rows of weight 0 count in no denominator.
#[test]
fn rows_of_weight_0_are_not_counted() {
    let table = Columns::new("t")
        .decision([true, false, true, false])
        .weights([1.0, 0.0, 1.0, 1.0])
        .attribute("sex", ["f", "f", "m", "m"])
        .build()
        .expect("fits");
    let all = figures(&table, "selection_rate", &one());
    assert_eq!(
        (all[0].value(), all[0].n[0], all[1].n[0]),
        (Some(1.0), 1, 2)
    );
}

/// The range of the values bounds what an interval of their mean allows for unseen values.
#[test]
fn means_have_the_range_of_their_values() {
    let rows = || {
        (0..40_u32).map(|i| {
            (
                f64::from(i % 10) / 10.0,
                i % 3 == 0,
                ["a", "b"][i as usize % 2],
            )
        })
    };
    let table = proofmark_audit::Columns::new("t")
        .score(rows().map(|r| r.0))
        .label(rows().map(|r| r.1))
        .target(rows().map(|r| r.0 + 1.0))
        .attribute("g", rows().map(|r| r.2))
        .build()
        .expect("fits");
    let mut settings = proofmark_audit::Settings::default();
    settings.min_n = 1;
    settings.score_range = Some([0.0, 0.96].into());
    settings.target_range = Some([0.5, 2.0].into());
    let groups = proofmark_audit::Groups::new(&table, &[0], &settings).expect("groups");
    for (id, low, high) in [
        ("mean_score", 0.0, 0.96),
        ("generalized_tpr", 0.0, 0.96),
        ("generalized_fpr", 0.0, 0.96),
        ("brier_score", 0.0, 1.0),
        ("calibration_gap", -1.0, 1.0),
        ("auc", 0.0, 1.0),
        ("mean_error", -2.0, 0.46),
        ("mae", 0.0, 2.0),
        ("mse", 0.0, 4.0),
    ] {
        let entry = proofmark_audit::metric::find(id).expect("a metric");
        let figures = entry.figures(&groups, &settings);
        let Estimate::Mean(mean) = &figures[0].basis.families[0].parts[0].estimate else {
            panic!("{id} is no mean");
        };
        let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(
            near(mean.range.low, low) && near(mean.range.high, high),
            "{id}: {:?}",
            mean.range
        );
        assert!(
            mean.samples.iter().all(|s| s.values.range() == mean.range),
            "{id}"
        );
    }
}
