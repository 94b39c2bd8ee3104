//! Gradient attacks: configurations of [`Ascent`], APGD, and minimum-norm attacks, the last two with their own steppers.

pub mod adam_pgd;
pub mod apgd_t;
mod ascent;
pub mod bim;
mod boundary;
pub mod deepfool;
pub mod fab;
pub mod fab_t;
pub mod fgsm;
pub mod fmn;
pub mod mi_fgsm;
pub mod pgd;
pub mod r_fgsm;

use ascent::where_rows;
pub use ascent::{Ascent, Length, Start};

/// Returns the classes other than `label`, the highest score first; ties go to the lower class.
fn likeliest(scores: &[f32], label: usize) -> Vec<usize> {
    let mut others: Vec<usize> = (0..scores.len()).filter(|c| *c != label).collect();
    others.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    others
}
