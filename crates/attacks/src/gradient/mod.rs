//! Attacks that follow gradients: recipes over [`Ascent`].

pub mod adam_pgd;
mod ascent;
pub mod bim;
pub mod fgsm;
pub mod mi_fgsm;
pub mod pgd;
pub mod r_fgsm;

pub use ascent::{Ascent, Length, Start};
