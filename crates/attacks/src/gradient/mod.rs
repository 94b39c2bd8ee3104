//! Gradient attacks: configurations of [`Ascent`], and APGD and the minimum-norm attacks, which have their own steppers.
//! Gradient attacks: configurations of [`Ascent`], APGD, and minimum-norm attacks, the last two with their own steppers.

pub mod adam_pgd;
pub mod apgd;
pub mod apgd_t;
mod ascent;
mod auto_pgd;
pub mod bim;
mod constant_search;
pub mod cw;
pub mod ddn;
pub mod ead;
mod boundary;
pub mod deepfool;
pub mod fab;
pub mod fab_t;
mod counts;
mod fallback;
pub mod fgsm;
mod flat;
pub mod fmn;
mod halving;
pub mod mi_fgsm;
pub mod pdpgd;
pub mod pgd;
mod proximal;
pub mod r_fgsm;
mod rivals;
mod rooms;
mod sparsity;
mod start;

pub(crate) use ascent::where_rows;
pub use ascent::{Ascent, Length, Start};

/// Returns the classes other than `label`, the highest score first; ties go to the lower class.
fn likeliest(scores: &[f32], label: usize) -> Vec<usize> {
    let mut others: Vec<usize> = (0..scores.len()).filter(|c| *c != label).collect();
    others.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    others
}
pub use auto_pgd::AutoPgd;
