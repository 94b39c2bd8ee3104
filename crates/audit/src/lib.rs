//! Bias audits of decision tables: group metrics, each figure with the inputs of its interval.
//!
//! An audit reads a table of decisions, scores, labels, weights, and the attributes that form groups. Whoever ran the
//! model made the table; any model in any language will do.
//!
//! * [`Table::csv`] and [`Table::npz`] read a table, and [`Options`] states the roles of its columns; [`Columns`]
//!   builds a table from arrays.
//! * [`measure`] computes every figure that the table's columns allow, as configured by [`Settings`].
//! * [`Groups`] divides a table by one attribute or by several together.
//! * [`judge()`] judges figures against requirements by their intervals, as one family.
//! * [`metric`] has every metric; each returns [`Figure`]s: a value or the reason why there is none, and the components
//!   from which its interval is computed.
//! * [`report()`] measures, judges and builds a report; [`render`] shows it as a table, JSON or a chart.
//! * [`robustness`] joins an attack report with the groups of its samples.
//! * [`scan()`] searches for subgroups that were not named as groups.
//! * [`synthetic`] generates populations with known gaps.
//!
//! The crate uses no tensors and no clock, prints nothing, and uses only keyed random numbers.

mod cell;
mod error;
mod evidence;
mod evidence_shape;
mod figure;
mod groups;
mod inequality;
mod judge;
mod measure;
pub mod metric;
mod piece;
mod practice;
mod ranges;
mod remade;
pub mod render;
pub mod report;
mod requirement;
pub mod robustness;
mod scan;
mod settings;
mod setup;
pub mod synthetic;
mod table;

pub use cell::{Cell, Share, Tally};
pub use error::AuditError;
pub use figure::{
    Basis, Combine, Comparison, Estimate, Family, Figure, Folded, Form, LeftOut, Mean, Part, Reason,
};
pub use groups::{Group, Groups, JOIN};
pub use judge::{Bound, By, Judgement, Requirement, Ruling, judge};
pub use measure::{Measured, Refused, Skipped, measure};
pub use practice::PairTests;
pub use report::{AuditReport, ReportOptions, report, report_attacked};
pub use scan::{Scan, ScanSettings, Subgroup, Target, scan};
pub use settings::Settings;
pub use setup::Setup;
pub use table::{
    Coded, Columns, Filter, MISSING, Missing, Numbers, Options, Origin, Outcome, Relation, Table,
    UNKNOWN,
};
