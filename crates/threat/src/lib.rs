//! Threat models: what an attacker may change, and by how much.
//!
//! A threat model is the unit ball of a gauge: a point `x` is allowed around `x0` exactly when `gauge(x, x0) <= 1` and
//! every feature stays inside its bounds. [`Threat`] describes it on the host, [`Region`] is the same set for the rows
//! of one [`Batch`] on a device, and [`row`] does the exact arithmetic for a single sample.

mod batch;
mod columns;
pub mod map;
mod region;
pub mod row;
mod threat;

pub use batch::{Batch, BatchError, host, index, mask};
pub use columns::{Column, Columns, LoadError, Saved, append, load, prefixed, save, select};
pub use region::{Draw, OnPlane, Plane, Region, Step};
pub use threat::{Budget, Radius, Threat, ThreatError};
