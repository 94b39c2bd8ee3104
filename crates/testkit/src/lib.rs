//! Models with known answers, for tests.
//!
//! * [`linear`]: linear classifiers, whose exact distance to the boundary is known in every norm
//!   ([`linear_distance`]), so an attack can be held against the truth: just above it must break every row, just
//!   below it none.
//! * [`masked`]: deliberately broken wrappers (gradient killers, quantisers, softmax outputs…) that a trustworthy
//!   evaluation must see through.
//! * [`trigger`]: trigger inversion, rows of classes on the engine's shapes.
//! * [`shared()`]: real models and data, where they are.

pub mod linear;
mod linear_distance;
pub mod masked;
mod shared;
pub mod trigger;

pub use linear_distance::{JointCoupling, JointPart, joint_distance, linear_distance, linear_gain};
pub use shared::shared;
