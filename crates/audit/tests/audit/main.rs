//! Tests of audits, from tables to verdicts; one program, so that the tests link once and not once per file.

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
