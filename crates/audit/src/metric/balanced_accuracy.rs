//! Balanced accuracy: the mean of the true-positive and the true-negative rate.
//!
//! # Idea
//! Accuracy as if both classes were equally frequent: differing base rates have no effect.
//!
//! # Maths
//! `(TPR + TNR) / 2`; its variance is a quarter of the sum of the two variances.
//!
//! # Reference
//! Brodersen et al., "The Balanced Accuracy and Its Posterior Distribution", ICPR 2010.
//!
//! # Divergences
//! A group without positives or negatives is not estimable; scikit-learn and fairlearn average over the classes that
//! are present. `min_n` applies to the smaller class.
//!
//! # Cost
//! One pass over the rows.
//!
//! # When it fails
//! Gaps of the two rates in opposite directions cancel; equalized odds detects them.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Groups, Settings, metric};
//! let table = Columns::new("t")
//!     .decision([true, true, false, false, true, false, false, false])
//!     .label([true, false, true, false, true, true, false, false])
//!     .attribute("sex", ["f", "f", "f", "f", "m", "m", "m", "m"])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.min_n = 1;
//! let groups = Groups::new(&table, &[0], &settings)?;
//! let figures = metric::find("balanced_accuracy")?.figures(&groups, &settings);
//! assert_eq!((figures[0].value(), figures[1].value()), (Some(0.5), Some(0.75)));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::entry::entries;
use super::{MetricEntry, Need, Of, Rows, Statistic};
use crate::figure::{UNIT, sample};
use crate::{Cell, Mean, Reason, Share};

/// Mean of true-positive and true-negative rate.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "balanced_accuracy",
    of: Of::Mean(|rows, _| balanced(rows)),
};

/// Balanced accuracies in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &entries!(
    STATISTIC, "balanced_accuracy",
    needs: &[Need::Decision, Need::Label],
    definition: "mean of true-positive and true-negative rate",
    source: "Brodersen et al. 2010",
);

fn balanced(rows: Rows<'_>) -> Result<Mean, Reason> {
    let mut cell = Cell::default();
    if let (Some(decision), Some(label)) = (rows.table.decision(), rows.table.label()) {
        for (row, weight) in rows.weighted() {
            cell.count(decision[row], label[row], weight);
        }
    }
    let share = |numerator, denominator| Share {
        numerator,
        denominator,
    };
    let (tpr, tnr) = (
        share(cell.tp, cell.positives()),
        share(cell.tn, cell.negatives()),
    );
    let (Some(p), Some(q)) = (tpr.value(), tnr.value()) else {
        return Err(Reason::TooFew { n: 0, min_n: 1 });
    };
    let variance = |share: Share, p: f64| p * (1.0 - p) / share.denominator.effective();
    let fewer = if tpr.denominator.n <= tnr.denominator.n {
        tpr
    } else {
        tnr
    };
    Ok(Mean {
        value: f64::midpoint(p, q),
        variance: Some((variance(tpr, p) + variance(tnr, q)) / 4.0),
        denominator: fewer.denominator,
        range: UNIT,
        samples: [tpr, tnr]
            .into_iter()
            .filter_map(|s| sample(0.5, s))
            .collect(),
    })
}
