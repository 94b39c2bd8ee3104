//! Gradient attacks: configurations of [`Ascent`], and APGD and the minimum-norm attacks, which have their own steppers.

pub mod adam_pgd;
pub mod apgd_t;
mod ascent;
pub mod bim;
mod constant_search;
pub mod cw;
pub mod ddn;
pub mod ead;
pub mod fgsm;
mod flat;
pub mod fmn;
pub mod mi_fgsm;
pub mod pdpgd;
pub mod pgd;
mod proximal;
pub mod r_fgsm;
mod rivals;
mod rooms;

pub(crate) use ascent::where_rows;
pub use ascent::{Ascent, Length, Start};
