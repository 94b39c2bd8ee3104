//! Options that exist both as command-line flags and as policy fields. Each is defined once: its name, help text,
//! parser and setter.
//!
//! Each crate lists its own options ([`Options::ALL`]). The command line turns every entry into a flag (`min_n` becomes
//! `--min-n`), a policy into a field.

mod given;

use std::fmt::Debug;

pub use given::{ByName, Given};

/// Whether an option takes a value, and whether it may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// No value: present or absent; true or false in a policy.
    Flag,
    /// One value, once.
    One,
    /// One value per occurrence, any number of times; an array or a table in a policy.
    Many,
}

/// One option of a `T`.
pub struct OptionEntry<T: 'static> {
    /// Name: `min_n`.
    pub name: &'static str,
    /// Help text: one sentence without a full stop. It states the default if `default` is `None`.
    pub help: &'static str,
    /// Placeholder for the value on the command line: `COL=V`; empty for a flag.
    pub value: &'static str,
    /// Heading that groups it in the command line's help.
    pub heading: &'static str,
    /// Whether it takes a value, and whether it may be repeated.
    pub form: Form,
    /// Whether its value on the command line may begin with a `-`.
    pub hyphens: bool,
    /// Returns the default as a user would type it.
    pub default: Option<fn(&T) -> String>,
    /// Sets the option, or returns an error if the value is invalid.
    pub set: Set<T>,
}

/// Setter of an option; returns an error if the value is invalid.
pub type Set<T> = fn(&mut T, &Given) -> Result<(), String>;

impl<T> OptionEntry<T> {
    /// Creates an option whose value may not begin with a `-` and whose help shows no default.
    pub const fn new(
        form: Form,
        heading: &'static str,
        name: &'static str,
        value: &'static str,
        help: &'static str,
        set: Set<T>,
    ) -> Self {
        Self {
            name,
            help,
            value,
            heading,
            form,
            hyphens: false,
            default: None,
            set,
        }
    }

    /// Allows the value on the command line to begin with a `-`.
    #[must_use]
    pub const fn with_hyphens(self) -> Self {
        Self {
            hyphens: true,
            ..self
        }
    }

    /// Shows this default in the help.
    #[must_use]
    pub const fn with_default(self, default: fn(&T) -> String) -> Self {
        Self {
            default: Some(default),
            ..self
        }
    }
}

// Implemented by hand, because a derive would require the same traits of `T`.
impl<T> Clone for OptionEntry<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for OptionEntry<T> {}

impl<T> Debug for OptionEntry<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OptionEntry")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A set of options that can be read from the command line or a policy.
pub trait Options: Default + Sized + 'static {
    /// Every option, in the order of the help.
    const ALL: &'static [OptionEntry<Self>];
}
