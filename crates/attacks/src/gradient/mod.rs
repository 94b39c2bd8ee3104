//! Gradient attacks: configurations of [`Ascent`], and APGD and the minimum-norm attacks, which have their own steppers.

pub mod adam_pgd;
pub mod admix;
pub mod apgd;
pub mod apgd_mt;
pub mod apgd_t;
mod ascent;
mod auto_path;
mod auto_pgd;
pub mod bim;
mod boundary;
mod constant_search;
mod counts;
pub mod cw;
pub mod ddn;
pub mod deepfool;
pub mod di_fgsm;
pub mod ead;
pub mod fab;
pub mod fab_t;
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
pub mod ti_fgsm;
mod transfer;

pub(crate) use ascent::where_rows;
pub use ascent::{Ascent, Length, Start};
pub use auto_pgd::AutoPgd;

/// Returns the classes other than `label`, the highest score first; ties go to the lower class.
fn likeliest(scores: &[f32], label: usize) -> Vec<usize> {
    let mut others: Vec<usize> = (0..scores.len()).filter(|c| *c != label).collect();
    others.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    others
}

/// Returns the class with the `rank`-highest score (from 0) other than `label`, the lowest if there are fewer.
fn nth_other(scores: &[f32], label: usize, rank: usize) -> usize {
    let others = likeliest(scores, label);
    others[rank.min(others.len() - 1)]
}
