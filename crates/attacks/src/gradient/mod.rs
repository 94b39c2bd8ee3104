//! Attacks that follow gradients: recipes over [`Ascent`], and minimum-norm attacks with steps of their own.

pub mod adam_pgd;
mod ascent;
pub mod bim;
pub mod fgsm;
pub mod fmn;
pub mod mi_fgsm;
pub mod pgd;
pub mod r_fgsm;

pub use ascent::{Ascent, Length, Start};
