//! Audits, from tables to verdicts: one program, since fifteen would be linked one by one.

mod again;
mod by_hand;
mod common;
mod coverage;
mod errors;
mod golden;
mod impact;
mod many_groups;
mod missing;
mod names_of_peers;
mod odds_of_few;
mod peers;
mod planted;
mod rare;
mod real_tables;
mod robustness;
mod shape;
mod shipped_population;
mod suppress;
mod tables;
mod weighted_means;
mod weights;
