//! An empty crate whose dependencies give every crate under burn the same feature set (see `Cargo.toml`).
