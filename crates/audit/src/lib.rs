//! Bias audits of decision tables: group metrics, and with each figure what an interval on it needs.
//!
//! An audit reads a table: decisions, scores, labels, weights, and the attributes that make groups. Whoever ran the
//! model made the table; any model in any language will do.
//!
//! * [`Columns`] makes a [`Table`] from arrays.
//! * [`Groups`] divides it by an attribute or by several together.
//! * [`judge`] holds figures against requirements, each by its interval, all of them together.
//! * [`metric`] has every metric; each gives [`Figure`]s: a value or the reason why there is none, and what it is
//!   made of.
//!
//! No tensors, no clock, no printing, no random numbers but keyed ones.

mod cell;
mod error;
mod evidence;
mod figure;
mod groups;
mod judge;
pub mod metric;
mod settings;
mod table;

pub use cell::{Cell, Share, Tally};
pub use error::AuditError;
pub use figure::{
    Basis, Combine, Comparison, Estimate, Family, Figure, Form, LeftOut, Mean, Part, Reason,
};
pub use groups::{Group, Groups, JOIN};
pub use judge::{By, Judgement, Relation, Requirement, Ruling, judge};
pub use settings::Settings;
pub use table::{Coded, Columns, Numbers, Outcome, Table, UNKNOWN};
