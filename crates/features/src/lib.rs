//! Nothing but dependencies: one feature set for everything under burn (see `Cargo.toml`).
