//! Neural networks on the CPU for attacks: the forward pass, and the gradient with respect to the input alone.
//!
//! A network is described with a [`Builder`] and compiled to a [`Network`]: weights are packed for both passes, batch
//! norms folded, biases, additions and activations fused, memory planned once and reused. Attacks never ask for the
//! gradients of weights, so of the forward pass nothing is kept but a bit per activation and the winners of poolings.
//!
//! The output of a row depends on that row alone. With the feature `flex`, `apply` runs a network as one
//! differentiable operation on burn's flex backend, and the builder takes burn's layers (`conv2d`, `linear`,
//! `batch_norm`); a `Block` takes the place of layers inside a Burn module.

// SIMD intrinsics, and raw pointers into memory that kernels share. No other crate may do this.
#![allow(unsafe_code)]
#![warn(clippy::undocumented_unsafe_blocks)]
// A kernel has its instruction set only where it is inlined into the function that enables it.
#![allow(clippy::inline_always)]
// Loops over registers: an iterator in their place keeps the compiler from unrolling them.
#![allow(clippy::needless_range_loop)]

#[cfg(feature = "flex")]
mod block;
mod bound;
mod builder;
mod epilogue;
mod error;
#[cfg(feature = "flex")]
mod flex;
mod fuse;
mod kernel;
mod lanes;
#[cfg(feature = "flex")]
mod layers;
mod layout;
mod memory;
mod network;
mod operation;
mod passes;
mod shape;
mod window;

#[cfg(feature = "flex")]
pub use block::Block;
pub use bound::{BoundError, Method, Program};
pub use builder::{Builder, Value};
pub use epilogue::Clamp;
pub use error::KernelError;
#[cfg(feature = "flex")]
pub use flex::{apply, is_flex};
pub use kernel::{Function, Step};
pub use lanes::Isa;
pub use network::{Network, Saved};
pub use operation::{Convolution, Scale};
pub use shape::Map;
pub use window::Window;
