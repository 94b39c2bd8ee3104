//! Coefficient of determination of a regression, by group.
//!
//! # Idea
//! How much of the spread within a group the predictions explain: 1 is all of it, 0 is no more than the group's mean
//! would.
//!
//! # Maths
//! `1 - sum w (truth - prediction)^2 / sum w (truth - mean)^2`, where the mean is that of the group. The variance is
//! that of the mean of `((truth - prediction)^2 - (1 - R²) (truth - mean)^2) / spread`, the influence function (the
//! delta method).
//!
//! # Reference
//! Kvålseth, "Cautionary Note about R²", The American Statistician 1985; van der Vaart, "Asymptotic Statistics", 1998,
//! chapter 20, for influence functions.
//!
//! # Divergences
//! A group whose true values are all the same is not estimable; scikit-learn returns 0, or 1 if all predictions are
//! exact.
//!
//! # Cost
//! Four passes over the rows per group.
//!
//! # When it fails
//! It is relative to the group's own spread: a homogeneous group has a low value at the same absolute error. The
//! interval needs errors without far outliers and about fifty people; if every prediction is exact, the data do not
//! show how inexact predictions can be, and the lower limit is infinite.
//!
//! # Example
//! ```
//! use proofmark_audit::{Columns, Groups, Settings, metric};
//! let table = Columns::new("t")
//!     .score([1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0])
//!     .target([1.0, 2.0, 3.0, 4.0, 2.0, 1.0, 3.0, 4.0])
//!     .attribute("sex", ["f", "f", "f", "f", "m", "m", "m", "m"])
//!     .build()?;
//! let mut settings = Settings::default();
//! settings.min_n = 1;
//! let groups = Groups::new(&table, &[0], &settings)?;
//! let figures = metric::find("r2")?.figures(&groups, &settings);
//! assert_eq!((figures[0].value(), figures[1].value()), (Some(1.0), Some(0.6)));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use proofmark_domain::Interval;

use super::entry::differences;
use super::{MetricEntry, Need, Of, Rows, Statistic};
use crate::figure::{LINE, POSITIVE, mean_of};
use crate::{Mean, Reason};

/// Coefficient of determination.
pub(crate) static STATISTIC: Statistic = Statistic {
    id: "r2",
    of: Of::Mean(|rows, _| determination(rows)),
};

/// Coefficients of determination in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &differences!(
    STATISTIC, "r2",
    needs: &[Need::Score, Need::Target],
    definition: "share of the spread of true values that predictions explain",
    source: "Kvålseth 1985",
    plain: &["r_squared"],
);

fn determination(rows: Rows<'_>) -> Result<Mean, Reason> {
    let mean = mean_of(rows, LINE, |t, r| Some(t.target()?[r]))?;
    let spread = mean_of(rows, POSITIVE, |t, r| {
        Some((t.target()?[r] - mean.value).powi(2))
    })?;
    if spread.value == 0.0 {
        return Err(Reason::Undefined(
            "all true values of the group are the same",
        ));
    }
    let error = mean_of(rows, POSITIVE, |t, r| {
        Some((t.target()?[r] - t.score()?[r]).powi(2))
    })?;
    let unexplained = error.value / spread.value;
    // Each person's error minus the error expected from the spread: the influence function up to a factor.
    let influence = mean_of(rows, LINE, |t, r| {
        let truth = t.target()?[r];
        let expected = unexplained * (truth - mean.value).powi(2);
        Some((truth - t.score()?[r]).powi(2) - expected)
    })?;
    Ok(Mean {
        value: 1.0 - unexplained,
        variance: influence.variance.map(|v| v / spread.value.powi(2)),
        denominator: mean.denominator,
        range: Interval {
            low: f64::NEG_INFINITY,
            high: 1.0,
        },
        samples: Vec::new(),
    })
}
