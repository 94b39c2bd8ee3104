use proofmark_audit::render::text::{grid, plain};
use proofmark_domain::{Interval, Report};

/// Formats the results by true class as a table; empty if the outputs of the model are not classes.
///
/// Classes without samples are left out.
pub fn by_class(report: &Report) -> String {
    let names = &report.data.read_as.classes;
    let name = |label: usize| {
        let found = names.iter().find(|(_, index)| **index == label);
        found.map_or_else(
            || label.to_string(),
            |(name, _)| format!("{label} {}", plain(name)),
        )
    };
    let share = |part: usize, n: usize| match n {
        0 => "-".to_owned(),
        n => format!("{:.1} %", 100.0 * part as f64 / n as f64),
    };
    let interval = |ci: Option<Interval>| {
        ci.map_or_else(
            || "-".to_owned(),
            |ci| format!("[{:.3}, {:.3}]", ci.low, ci.high),
        )
    };
    let rows: Vec<Vec<String>> = (report.per_class.iter())
        .filter(|c| c.n > 0)
        .map(|c| {
            vec![
                name(c.label),
                c.n.to_string(),
                share(c.clean_correct, c.n),
                interval(c.clean_ci95),
                share(c.robust_correct, c.robust_n),
                interval(c.robust_ci95),
            ]
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let header = [
        "class",
        "n",
        "clean",
        "95 % interval",
        "worst case",
        "95 % interval",
    ];
    grid(&header, rows)
}

#[cfg(test)]
mod tests {
    use proofmark_domain::RunStatus::{Broken, Robust};

    use super::*;
    use crate::trust::fixture::{attack, report, sample, wrong};

    #[test]
    fn a_line_per_class() {
        let mut rows: Vec<_> = (0..4)
            .map(|i| sample(i, &[if i == 3 { Broken } else { Robust }]))
            .collect();
        for (row, label) in rows.iter_mut().zip([0, 0, 1, 1]) {
            (row.label, row.clean_pred) = (label, Some(label));
        }
        rows[1] = wrong(rows[1].clone());
        let mut of = report(vec![attack("pgd", 0.1)], rows);
        of.data.read_as.classes.insert("cat".into(), 1);
        let expected = "\
class  n  clean    95 % interval   worst case  95 % interval
0      2  50.0 %   [0.013, 0.987]  50.0 %      [0.013, 0.987]
1 cat  2  100.0 %  [0.158, 1.000]  50.0 %      [0.013, 0.987]
";
        assert_eq!(by_class(&of), expected);
        of.per_class.clear();
        assert_eq!(by_class(&of), "");
    }
}
