//! Theil index: the generalised entropy of benefits at alpha 1.
//!
//! # Idea
//! The inequality index that economists use most, applied to the benefits of decisions.
//!
//! # Maths
//! Mean of `(b/μ) ln(b/μ)` with `b = Ŷ - Y + 1`; a benefit of 0 contributes 0. Between groups: of group means.
//!
//! # Reference
//! Speicher et al., "A Unified Approach to Quantifying Algorithmic Unfairness", KDD 2018; Theil, "Economics and
//! Information Theory", 1967.
//!
//! # Divergences
//! Weights count; AIF360 ignores them.
//!
//! # Cost
//! One pass over the rows.
//!
//! # When it fails
//! Same as the generalised entropy index.
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
//! let figures = metric::find("between_group_theil")?.figures(&groups, &settings);
//! assert!(figures[0].value().is_some_and(|v| (v - 0.010239075859473604).abs() < 1e-9));
//! # Ok::<(), proofmark_audit::AuditError>(())
//! ```

use super::generalized_entropy::{NEEDS, parted, whole};
use super::{Ideal, MetricEntry, Run};

/// The Theil index in the list of metrics.
pub(crate) static ENTRIES: &[MetricEntry] = &[
    MetricEntry {
        id: "theil_index",
        aliases: &[],
        needs: NEEDS,
        definition: "generalised entropy index of benefits (decision - label + 1) at alpha 1",
        sign: "0 where all benefits are equal, else positive",
        source: "Speicher et al. 2018, arXiv:1807.00787",
        ideal: Ideal::Zero,
        run: Run::Table(|entry, table, _| vec![whole(entry, table, 1.0)]),
    },
    MetricEntry {
        id: "between_group_theil",
        aliases: &["between_group_theil_index"],
        needs: NEEDS,
        definition: "the Theil index with every benefit replaced by the mean of its group",
        sign: "0 where all groups have the same mean benefit, else positive",
        source: "Speicher et al. 2018, arXiv:1807.00787",
        ideal: Ideal::Zero,
        run: Run::Groups(|entry, groups, settings| vec![parted(entry, groups, settings, 1.0)]),
    },
];
