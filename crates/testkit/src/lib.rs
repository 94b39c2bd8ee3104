//! Models with known answers, for tests.
//!
//! * [`linear`]: linear classifiers, whose exact distance to the boundary is known in every norm ([`linear_distance`]).
//!   Tests check attacks against it: just above the distance an attack must break every row, just below it none.
//! * [`masked`]: deliberately broken wrappers (gradient killers, quantisers, softmax outputs…) that a trustworthy
//!   evaluation must detect.
//! * [`nets`]: small nets of several architectures; [`mod@train`] trains them, and the shipped models, from a seed.
//! * [`trained`]: small nets of several kinds that hide nothing, and one that does.
//! * [`shared()`]: real models and data, if present.

pub mod linear;
mod linear_distance;
pub mod masked;
pub mod nets;
mod shared;
pub mod train;
pub mod trained;

pub use linear_distance::{JointCoupling, JointPart, joint_distance, linear_distance, linear_gain};
pub use shared::shared;
