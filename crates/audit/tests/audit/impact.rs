//! Impact-ratio tables as New York City's Local Law 144 requires them.

use proofmark_audit::{By, Columns, ReportOptions, Settings, Table, render, report};

/// Selected people: 400 of 1000 men, 150 of 500 women, 10 of 20 others, and 5 of 5 of unknown sex.
fn table() -> Table {
    let groups = [
        (Some("male"), 400, 1000),
        (Some("female"), 150, 500),
        (Some("other, stated"), 10, 20),
        (None, 5, 5),
    ];
    let rows = || {
        groups
            .iter()
            .flat_map(|(sex, x, n)| (0..*n).map(move |i| (*sex, i < *x)))
    };
    Columns::new("t")
        .decision(rows().map(|r| r.1))
        .coded(proofmark_audit::Coded::new("sex", rows().map(|r| r.0)))
        .build()
        .expect("fits")
}

#[test]
fn categories_below_two_percent_are_left_out_with_their_counts() {
    let mut settings = Settings::default();
    settings.min_share = 0.02;
    let told = report(&table(), &settings, &ReportOptions::default()).expect("measured");
    let csv = render::impact_csv(&render::impact(&told));
    assert_eq!(
        csv,
        "attribute,category,n,counted,what_is_counted,rate,impact_ratio,note\n\
         sex,female,500,150,selected,0.3,0.7499999999999999,\n\
         sex,male,1000,400,selected,0.4,1,\n\
         sex,\"other, stated\",20,,selected,,,\"left out: 20 are 1.32 % of all, less than 2 %\"\n\
         sex,,5,,selected,,,unknown category\n"
    );
    let shown = render::impact_table(&render::impact(&told));
    assert!(
        shown.contains("female") && shown.contains("0.750"),
        "{shown}"
    );
    // Every figure leaves the category out and reports it.
    assert!(
        told.metrics
            .iter()
            .all(|m| m.left_out.iter().any(|l| l.group == "other, stated"))
    );
    assert!(
        render::table(&told, false)
            .contains("or less than 2 % of all: sex `other, stated` (20 persons)")
    );
}

#[test]
fn without_a_minimum_share_every_category_counts() {
    let told = report(&table(), &Settings::default(), &ReportOptions::default()).expect("measured");
    let all = render::impact(&told);
    assert_eq!(all[1].ratio, Some(0.8));
    assert_eq!(all[2].ratio, Some(1.0));
}

#[test]
fn scores_are_counted_above_the_median() {
    let table = Columns::new("t")
        .score((0..40).map(|i| f64::from(i % 20)))
        .attribute("sex", (0..40).map(|i| if i % 20 < 12 { "f" } else { "m" }))
        .build()
        .expect("fits");
    let told = report(&table, &Settings::default(), &ReportOptions::default()).expect("measured");
    let all = render::impact(&told);
    // Above the median of 9.5: scores 10 and 11 of the 12 lower ones, and all 8 higher ones.
    assert_eq!(
        (all[0].n, all[0].selected, all[0].counted),
        (Some(24), Some(4), "above the median")
    );
    assert_eq!((all[0].ratio, all[1].ratio), (Some(4.0 / 24.0), Some(1.0)));
}

#[test]
fn suppressed_rates_have_no_impact_ratio() {
    let mut asked = ReportOptions::default();
    asked.suppress = 30;
    let told = report(&table(), &Settings::default(), &asked).expect("measured");
    for one in render::impact(&told) {
        assert_eq!(one.ratio, None, "{one:?}");
    }
}

#[test]
fn a_point_rule_reports_no_confidence() {
    let point = |by| {
        let requirement = "impact_ratio>=0.8".parse().expect("well-formed");
        let mut asked = ReportOptions::default();
        asked.requirements = vec![proofmark_audit::Requirement { by, ..requirement }];
        let told = report(&table(), &Settings::default(), &asked).expect("measured");
        render::table(&told, false)
    };
    let text = point(By::Point);
    assert!(
        text.contains("verdict: fail (values alone, without regard to chance)"),
        "{text}"
    );
    assert!(point(By::Interval).contains("(at 95 %, all requirements together)"));
}
