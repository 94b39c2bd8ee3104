//! Gradient attacks: configurations of [`Ascent`], APGD, and a minimum-norm attack, the last two with their own
//! steppers.

pub mod adam_pgd;
pub mod apgd;
pub mod apgd_t;
mod ascent;
mod auto_pgd;
pub mod bim;
mod fallback;
pub mod fgsm;
pub mod fmn;
mod halving;
pub mod mi_fgsm;
pub mod pgd;
pub mod r_fgsm;
mod sparsity;
mod start;

use ascent::where_rows;
pub use ascent::{Ascent, Length, Start};
pub use auto_pgd::AutoPgd;
