//! Bad input gives a message that names the file, the place, the value found and what was expected.

use proofmark_audit::{Columns, Options, Settings, Table, measure};

fn options() -> Options {
    let mut options = Options::default();
    options.decision = Some("hired".to_owned());
    options.groups = vec!["sex".to_owned()];
    options
}

fn read(text: &[u8], options: &Options) -> Result<Table, String> {
    Table::csv_from(text, "t.csv", options).map_err(|e| e.to_string())
}

fn error(text: &str, options: &Options) -> String {
    read(text.as_bytes(), options).expect_err(text)
}

#[test]
fn unknown_columns_and_contradictory_options_are_refused() {
    let text = "sex,hired,Age\nf,1,3\nm,0,4\n";
    let with = |change: fn(&mut Options)| {
        let mut options = options();
        change(&mut options);
        error(text, &options)
    };
    assert_eq!(
        with(|o| o.groups = vec!["sexx".to_owned()]),
        "t.csv: has no column `sexx` (did you mean `sex`?)"
    );
    assert_eq!(
        with(|o| o.groups = vec!["ethnicity".to_owned()]),
        "t.csv: has no column `ethnicity`; it has `sex`, `hired`, `Age`"
    );
    assert_eq!(
        with(|o| o.filters = vec!["agee>3".parse().expect("well-formed")]),
        "t.csv: has no column `agee` (did you mean `Age`?)"
    );
    assert!(with(|o| o.decision = None).starts_with("decision: no column given"));
    assert!(with(|o| o.threshold = Some(1.0)).starts_with("threshold: given together with"));
    assert!(
        with(|o| o.variant = Some("Age".to_owned())).starts_with("variant: given without `id`")
    );
    assert!(
        with(|o| o.bins = vec![("sex".to_owned(), vec![2.0, 1.0])])
            .starts_with("bins: `sex`: [2.0, 1.0]")
    );
    assert!(
        with(|o| o.bins = vec![("age".to_owned(), vec![2.0])])
            .starts_with("bins: `age`; expected one of")
    );
}

#[test]
fn repeated_headers_are_numbered_or_refused() {
    let text = "sex,hired,hired,x,x\nf,1,0,1,1\nm,0,1,1,1\n";
    assert_eq!(
        error(text, &options()),
        "t.csv: the header names `hired` 2 times; say which one with `hired#1` to `hired#2`"
    );
    for (name, first) in [("hired#1", true), ("hired#2", false)] {
        let mut options = options();
        options.decision = Some(name.to_owned());
        let table = read(text.as_bytes(), &options).expect("told apart");
        assert_eq!(table.decision().map(|d| d[0]), Some(first));
    }
    let mut third = options();
    third.decision = Some("hired#3".to_owned());
    assert!(error(text, &third).contains("has no column `hired#3`"));
}

#[test]
fn broken_lines_are_named() {
    assert_eq!(
        error("sex,hired\nf,1\nm\n", &options()),
        "t.csv: line 3: has 1 cells; expected 2, as the header"
    );
    assert_eq!(
        error("sex,hired\n\"f\nx\",1\nm,0,0\n", &options()),
        "t.csv: line 4: has 3 cells; expected 2, as the header"
    );
    let latin = read(b"sex,hired\nf,1\n\xe9,0\n", &options()).expect_err("not UTF-8");
    assert_eq!(
        latin,
        "t.csv: line 3: is not UTF-8 in cell 1; expected UTF-8 text (files of Excel are often Windows-1252: save as CSV UTF-8)"
    );
    let unused = read(b"sex,hired,note\nf,1,a\nm,0,\xff\n", &options()).expect_err("not UTF-8");
    assert_eq!(
        unused,
        "t.csv: line 3: is not UTF-8 in cell 3; expected UTF-8 text (files of Excel are often Windows-1252: save as CSV UTF-8)"
    );
    assert!(error("", &options()).contains("holds nothing"));
    assert!(error("sex,hired\n", &options()).contains("holds no rows"));
    assert!(error("1,2\n3,4\n", &options()).contains("header: holds only numbers"));
    let mut headerless = options();
    headerless.columns = ["sex", "age", "hired"].map(str::to_owned).to_vec();
    assert_eq!(
        error("f,1\n", &headerless),
        "t.csv: line 1: has 2 cells; expected 3, as columns were named"
    );
    let missing = Table::csv(std::path::Path::new("no such file.csv"), &options());
    assert!(
        missing
            .expect_err("absent")
            .to_string()
            .starts_with("no such file.csv: cannot be read")
    );
}

#[test]
fn invalid_values_are_refused() {
    assert_eq!(
        error("sex,hired\nf,1\nm,2\n", &options()),
        "t.csv: `hired`, line 3: `2`; expected 1 or 0 (or -1), true or false, yes or no; else say which value is favourable (`--favourable`)"
    );
    let missing = read(b"sex,hired\nf,\n", &options()).expect("a missing decision is no error");
    assert_eq!(missing.missing()[0].rows, Some(1));
    let mut stated = options();
    stated.favourable = vec!["yes".to_owned()];
    stated.unfavourable = vec!["no".to_owned()];
    assert_eq!(
        error("sex,hired\nf,yes\nm,maybe\n", &stated),
        "t.csv: `hired`, line 3: `maybe`; expected one of the stated values: `yes`, `no`"
    );
    let mut never = options();
    never.favourable = vec![">50K".to_owned()];
    assert_eq!(
        error("sex,hired\nf,>50K.\nm,>50K.\n", &never),
        "t.csv: `hired` never holds `>50K`, the value stated as favourable (did you mean `>50K.`?); it holds `>50K.`"
    );
    for score in ["inf", "high", "-"] {
        let mut scored = options();
        scored.score = Some("s".to_owned());
        let message = error(&format!("sex,hired,s\nf,1,0.5\nm,0,{score}\n"), &scored);
        assert!(message.starts_with("t.csv: `s`, line 3: "), "{message}");
        assert!(message.ends_with("; expected a finite number"), "{message}");
    }
    let mut weighted = options();
    weighted.weights = Some("w".to_owned());
    assert_eq!(
        error("sex,hired,w\nf,1,1\nm,0,-1\n", &weighted),
        "t.csv: `w`, line 3: `-1`; expected a weight of 0, or of 1e-30 to 1e30"
    );
    assert_eq!(
        error("sex,hired,w\nf,1,0\nm,0,0\n", &weighted),
        "t.csv: all 2 weights in `w` are 0; expected at least one above 0"
    );
    let mut binned = options();
    binned.bins = vec![("sex".to_owned(), vec![1.0])];
    assert_eq!(
        error("sex,hired\nf,1\n", &binned),
        "t.csv: `sex`, line 2: `f`; expected a number, as it is cut into bins"
    );
}

#[test]
fn filters_that_leave_no_rows_and_repeated_ids_are_refused() {
    let mut nobody = options();
    nobody.filters = vec!["sex=x".parse().expect("well-formed")];
    assert_eq!(
        error("sex,hired\nf,1\nm,0\n", &nobody),
        "t.csv: none of its 2 rows passes the filters; expected at least one"
    );
    let mut ids = options();
    ids.id = Some("id".to_owned());
    assert_eq!(
        error("sex,hired,id\nf,1,7\nm,0,8\nm,0,7\n", &ids),
        "t.csv: `id`, line 4: `7` again, first at line 2; expected each id once; name the column of variants if the table is paired (`--paired`)"
    );
    let mut paired = ids;
    paired.variant = Some("sex".to_owned());
    paired.groups = Vec::new();
    assert!(read(b"sex,hired,id\nf,1,7\nm,0,7\n", &paired).is_ok());
    assert!(error("sex,hired,id\nf,1,7\nf,0,7\n", &paired).contains("each id once per variant"));
}

#[test]
fn invalid_groups_references_and_metrics_are_refused() {
    let table = |sex: &[&'static str]| {
        Columns::new("t")
            .decision((0..sex.len()).map(|i| i % 2 == 0))
            .attribute("sex", sex.iter().copied())
            .build()
            .expect("fits")
    };
    let message = |sex: &[&'static str], settings: &Settings| {
        measure(&table(sex), settings)
            .expect_err("refused")
            .to_string()
    };
    let mut settings = Settings::default();
    settings.min_n = 2;
    assert_eq!(
        message(&["f", "f"], &settings),
        "t: `sex` holds only `f`; expected at least two groups"
    );
    assert!(
        message(&["f", "f", "m"], &settings)
            .starts_with("t: `sex`: of 2 groups 1 has at least 2 members")
    );
    let all = message(&["f", "m"], &settings);
    assert!(
        all.starts_with("t: `sex`: of 2 groups 0 have at least 2 members (the largest has 1)"),
        "{all}"
    );
    let reference = |attribute: &str, value: &str| {
        let mut settings = settings.clone();
        settings.reference = vec![(attribute.to_owned(), value.to_owned())];
        settings
    };
    let four = ["f", "f", "m", "m"];
    assert!(
        message(&four, &reference("sx", "f")).starts_with("reference: `sx` (did you mean `sex`?)")
    );
    assert!(
        message(&four, &reference("sex", "x")).starts_with("t: `sex` never takes the value `x`")
    );
    let metrics = |id: &str| {
        let mut settings = settings.clone();
        settings.metrics = vec![id.to_owned()];
        settings
    };
    assert_eq!(
        message(&four, &metrics("tpr_diference")),
        "unknown metric `tpr_diference` (did you mean `tpr_difference`?)"
    );
    assert_eq!(
        message(&four, &metrics("tpr_difference")),
        "`tpr_difference` needs labels (`label`), which the table does not have"
    );
    assert!(message(&four, &metrics("disparate_impact")).starts_with("reference: not given"));
}

/// A group with one member is left out and counted; it is no error while two other groups remain.
#[test]
fn a_group_of_one_is_left_out_by_name() {
    let sex = ["f", "f", "m", "m", "x"];
    let table = Columns::new("t")
        .decision([true, false, true, true, true])
        .attribute("sex", sex)
        .build()
        .expect("fits");
    let mut settings = Settings::default();
    settings.min_n = 2;
    let measured = measure(&table, &settings).expect("two groups stand");
    let figure = |id: &str| {
        let mut all = measured.figures.iter().filter(|f| f.metric == id);
        all.next().expect("measured").clone()
    };
    let gap = figure("selection_rate_difference");
    assert_eq!(
        (gap.value(), gap.left_out[0].group.as_str()),
        (Some(0.5), "x")
    );
    assert_eq!((gap.persons_left_out, gap.persons), (1, 5));
    assert_eq!(
        gap.left_out[0].reason.to_string(),
        "1 in the denominator, fewer than 2"
    );
    assert!(
        measured
            .skipped
            .iter()
            .any(|s| s.metric == "tpr_difference")
    );
}

/// Weights whose sums of squares would overflow or underflow are refused.
#[test]
fn weights_out_of_range_are_refused() {
    let mut weighted = options();
    weighted.weights = Some("w".to_owned());
    for weight in ["1e308", "1e-308", "1e31", "9e-31", "inf"] {
        let message = error(&format!("sex,hired,w\nf,1,1\nm,0,{weight}\n"), &weighted);
        assert!(
            message.ends_with("; expected a weight of 0, or of 1e-30 to 1e30"),
            "{message}"
        );
    }
    assert!(read(b"sex,hired,w\nf,1,1e30\nm,0,1e-30\nm,0,0\n", &weighted).is_ok());
    let arrays = Columns::new("t")
        .decision([true, false])
        .weights([1.0, 1e300]);
    let message = arrays.build().expect_err("refused").to_string();
    assert!(
        message.starts_with("t: `weights`, row 1: 1000"),
        "{message}"
    );
}

#[test]
fn ambiguous_group_names_are_refused() {
    let refused = |columns: Columns, intersections: usize| {
        let mut settings = Settings::default();
        settings.min_n = 1;
        settings.intersections = intersections;
        let table = columns
            .decision([true, false, true, false])
            .build()
            .expect("fits");
        measure(&table, &settings).map(|m| m.refused)
    };
    let both = || {
        Columns::new("t")
            .attribute("a", ["x", "x", "y", "y"])
            .attribute("b", ["u", "v", "u", "v"])
            .attribute("a & b", ["m", "n", "n", "m"])
    };
    assert!(refused(both(), 1).is_ok());
    let message = refused(both(), 2).expect_err("refused").to_string();
    assert_eq!(
        message,
        "groups: `a & b` is an intersection and one of the groups; expected attributes that can be told apart by their names"
    );
    let overall = Columns::new("t").attribute("g", ["overall", "b", "b", "overall"]);
    let message = refused(overall, 1).expect_err("refused").to_string();
    assert_eq!(
        message,
        "t: `g` has a group called `overall`, as all groups together are called; expected another name"
    );
    let joined = Columns::new("t")
        .attribute("g", ["x", "x & y", "x", "x & y"])
        .attribute("h", ["y & z", "z", "y & z", "z"]);
    let left_out = refused(joined, 2).expect("each by itself");
    assert_eq!(left_out.len(), 1);
    assert!(
        left_out[0]
            .reason
            .starts_with("`g & h` has two groups called `x & y & z`"),
        "{left_out:?}"
    );
}

#[test]
fn settings_out_of_range_are_refused() {
    let table = Columns::new("t")
        .decision((0..4).map(|i| i < 2))
        .attribute("g", ["a", "b", "a", "b"])
        .build()
        .expect("fits");
    let mut settings = Settings::default();
    settings.bins = 1_000_000_000;
    settings.min_n = 1;
    let message = measure(&table, &settings).expect_err("refused").to_string();
    assert_eq!(message, "score_bins: 1000000000; expected 1 to 1000");
    for threshold in [f64::INFINITY, f64::NAN] {
        let mut options = options();
        options.decision = None;
        options.score = Some("hired".to_owned());
        options.threshold = Some(threshold);
        assert!(error("sex,hired\nf,1\n", &options).contains("expected a finite number"));
    }
    let mut nameless = options();
    nameless.groups = vec!["sex".to_owned(), String::new()];
    assert_eq!(
        error("sex,hired\nf,1\n", &nameless),
        "groups: an empty name; expected the name of a column"
    );
}

/// Headlines cover all groups however many there are; single comparisons are listed only for attributes with few
/// groups.
#[test]
fn attributes_of_many_groups_list_headlines_only() {
    let figures = |groups: usize| {
        let names: Vec<String> = (0..groups).map(|g| format!("g{g:03}")).collect();
        let table = Columns::new("t")
            .decision((0..groups * 20).map(|row| (row / groups).is_multiple_of(3)))
            .attribute(
                "g",
                (0..groups * 20).map(|row| names[row % groups].as_str()),
            )
            .build()
            .expect("fits");
        let measured = measure(&table, &Settings::default()).expect("measured");
        let of = |headline: bool| {
            let all = measured.figures.iter();
            all.filter(|f| f.metric == "selection_rate_difference_to_overall")
                .filter(|f| f.comparison.is_headline() == headline)
                .count()
        };
        let rates = measured
            .figures
            .iter()
            .filter(|f| f.metric == "selection_rate");
        (of(true), of(false), rates.count())
    };
    assert_eq!(figures(50), (1, 50, 51));
    assert_eq!(figures(51), (1, 0, 52));
}

/// A CSV as saved by a German Excel: byte order mark, `;`, decimal commas, CR LF line ends, and percentages.
#[test]
fn spreadsheet_number_formats_are_reported_by_line_and_column() {
    let with = |change: fn(&mut Options)| {
        let mut options = options();
        options.delimiter = proofmark_data::Delimiter::OTHERS[0];
        options.favourable = vec!["ja".to_owned()];
        change(&mut options);
        let text = "\u{feff}sex;hired;points;share\r\nf;ja;1,5;20%\r\nm;nein;2,25;12.5 %\r\n";
        error(text, &options)
    };
    assert_eq!(
        with(|o| o.score = Some("points".to_owned())),
        "t.csv: `points`, line 2: `1,5`; expected a finite number with a decimal point, `1.5`"
    );
    assert_eq!(
        with(|o| o.weights = Some("points".to_owned())),
        "t.csv: `points`, line 2: `1,5`; expected a weight of 0, or of 1e-30 to 1e30 with a decimal point, `1.5`"
    );
    assert_eq!(
        with(|o| o.score = Some("share".to_owned())),
        "t.csv: `share`, line 2: `20%`; expected a finite number without `%`, `0.2`"
    );
    assert_eq!(
        with(|o| o.favourable.clear()),
        "t.csv: `hired`, line 2: `ja`; expected 1 or 0 (or -1), true or false, yes or no; else say which value is favourable (`--favourable`)"
    );
}
