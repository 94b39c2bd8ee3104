//! Statistics and random numbers: pure functions of numbers, no tensors, no clock, no global state.
//!
//! * [`random`]: every random number proofmark uses, counter-based and keyed by sample.
//! * [`clopper_pearson`], [`wilson`], [`mid_p`]: intervals for a counted rate.
//! * [`Histogram`]: values in a range, and Gaffke's limits of their mean ([`Arm::bounded`]).
//! * [`newcombe`]: the usual interval for the difference of two rates, used as a benchmark; [`mover_difference`] and
//!   [`mover_ratio`] for any two estimates with limits.
//! * [`Contrasts`]: simultaneous comparison of many groups, and the two furthest apart.
//! * [`Region`]: the range of any function of several estimates.
//! * [`permutation_p`], [`fisher_exact`], [`standard_deviations`]: tests; [`benjamini_hochberg`]: many of them.
//! * [`Conformal`]: p-values of scores among those of a calibration sample.
//! * [`crossing`]: the critical value at which an interval touches a number, from which p-values follow.
//! * [`level_at_look`], [`doubling_looks`]: intervals that hold at several looks at once.
//! * [`certified_radius`], [`even_odds_p`], [`binomial_most`]: randomized smoothing.
//! * [`samples_to_settle`], [`further_to_settle`]: how much more data an undecided threshold needs.

mod arm;
mod beta;
mod conformal;
mod crossing;
mod fisher;
mod gaffke;
mod gaffke_weighted;
mod histogram;
mod index;
mod interval;
mod joint;
mod mid_p;
mod mover;
mod multiplicity;
mod newcombe;
mod normal;
mod permutation;
pub mod random;
mod region;
mod sequential;
mod settle;
mod simultaneous;
mod smoothing;
mod spread;
mod studentised_range;
mod two_sd;

pub use arm::{Arm, Noise, Sample, effective_sample_size, effective_size_of_rate};
pub use conformal::Conformal;
pub use crossing::crossing;
pub use fisher::fisher_exact;
pub use histogram::Histogram;
pub use index::{IndexNull, Tail, mad, mad_indices, median};
pub use interval::{clopper_pearson, clopper_pearson_lower, clopper_pearson_upper, wilson};
pub use joint::{Joint, min_p, reference_p};
pub use mid_p::mid_p;
pub use mover::{mover_difference, mover_ratio};
pub use multiplicity::benjamini_hochberg;
pub use newcombe::newcombe;
pub use normal::{normal_critical, normal_tail};
pub use permutation::{hand_out, largest_difference, permutation_p, permutation_p_of_counts};
pub use region::{Gradient, Region, joint_critical, joint_tail};
pub use sequential::{doubling_looks, level_at_look};
pub use settle::{further_to_settle, samples_to_settle};
pub use simultaneous::{Contrasts, Pair, Scale, sidak_level, sidak_p};
pub use smoothing::{binomial_most, certified_radius, even_odds_p, radius_of};
pub use studentised_range::{range_critical, range_tail};
pub use two_sd::standard_deviations;
