//! Gradient attacks: configurations of [`Ascent`], APGD, and a minimum-norm attack, the last two with their own
//! steppers.

pub mod adam_pgd;
pub mod apgd_t;
mod ascent;
pub mod bim;
mod counts;
pub mod fgsm;
pub mod fmn;
pub mod mi_fgsm;
pub mod pgd;
pub mod r_fgsm;

use ascent::where_rows;
pub use ascent::{Ascent, Length, Start};
