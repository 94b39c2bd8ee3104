//! Options that can be typed and written in a policy, each defined once: what it is called, what it says, how a value
//! is read and what it sets.
//!
//! The crate that an option is for lists it ([`Options::ALL`]); the command line makes a flag of every entry (`min_n` is typed
//! `--min-n`), a policy a field.

mod given;

use std::fmt::Debug;

pub use given::{ByName, Given};

/// How often an option is given, and whether it takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// No value: it is there or not; in a policy true or false.
    Flag,
    /// One value, once.
    One,
    /// A value, as often as wanted; in a policy a list or a table.
    Many,
}

/// One option of a `T`.
pub struct OptionEntry<T: 'static> {
    /// Its name: `min_n`.
    pub name: &'static str,
    /// What it says, in one sentence without its end, and its default where `default` has none.
    pub help: &'static str,
    /// What stands for its value on the command line: `COL=V`; empty for a flag.
    pub value: &'static str,
    /// The heading it stands under on the command line.
    pub heading: &'static str,
    /// How often it is given.
    pub form: Form,
    /// Whether a value that is typed may begin with a `-`.
    pub hyphens: bool,
    /// What holds where nothing is said, as it would be typed.
    pub default: Option<fn(&T) -> String>,
    /// Sets it, or says what is wrong with the value.
    pub set: Set<T>,
}

/// How an option is set, or what is wrong with the value.
pub type Set<T> = fn(&mut T, &Given) -> Result<(), String>;

impl<T> OptionEntry<T> {
    /// An option that takes no value beginning with a `-`, and shows no default.
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

    /// Lets a value that is typed begin with a `-`.
    #[must_use]
    pub const fn with_hyphens(self) -> Self {
        Self {
            hyphens: true,
            ..self
        }
    }

    /// Shows what holds where nothing is given.
    #[must_use]
    pub const fn with_default(self, default: fn(&T) -> String) -> Self {
        Self {
            default: Some(default),
            ..self
        }
    }
}

// By hand, as a derive would ask the same of `T`.
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

/// What is made of options.
pub trait Options: Default + Sized + 'static {
    /// Every option, in the order they are listed to users.
    const ALL: &'static [OptionEntry<Self>];
}
