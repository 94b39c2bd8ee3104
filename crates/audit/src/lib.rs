//! Bias audits of decision tables: group metrics, and with each figure what an interval on it needs.
//!
//! An audit reads a table: decisions, scores, labels, weights, and the attributes that make groups. Whoever ran the
//! model made the table; any model in any language will do.
//!
//! * [`Table::csv`] and [`Table::npz`] read a table, [`Options`] says what its columns are for; [`Columns`] makes one
//!   from arrays.
//! * [`measure`] gives every figure that the table's columns allow; [`Settings`] says how.
//! * [`Groups`] divides a table by an attribute or by several together.
//! * [`judge()`] holds figures against requirements, each by its interval, all of them together.
//! * [`metric`] has every metric; each gives [`Figure`]s: a value or the reason why there is none, and what it is
//!   made of.
//! * [`report()`] measures, judges and writes it all down; [`render`] shows it as a table, JSON or a chart.
//! * [`robustness`] joins an attack report with the groups of its samples.
//! * [`scan()`] looks for subgroups that were not named as groups.
//! * [`synthetic`] makes populations whose gaps are known.
//!
//! No tensors, no clock, no printing, no random numbers but keyed ones.

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
