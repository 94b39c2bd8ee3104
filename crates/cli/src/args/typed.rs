use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};
use proofmark::domain::option::{Form, Given, OptionEntry, Options};

use crate::failure::Failure;

/// Options declared in `T::ALL`, with the texts typed for each.
#[derive(Debug)]
pub(crate) struct Typed<T: 'static> {
    given: Vec<(&'static OptionEntry<T>, Vec<String>)>,
}

impl<T: Options> Typed<T> {
    /// Applies the typed options to the default `T`.
    pub(crate) fn read(&self) -> Result<T, Failure> {
        let mut made = T::default();
        for (option, texts) in &self.given {
            let given = Given::Typed(texts.clone());
            (option.set)(&mut made, &given).map_err(|problem| {
                let typed = texts.join(" ");
                Failure(format!("--{} {typed}: {problem}", flag(option.name)))
            })?;
        }
        Ok(made)
    }

    fn option(entry: &'static OptionEntry<T>, default: &T) -> Arg {
        let arg = Arg::new(entry.name)
            .long(flag(entry.name))
            .help(entry.help)
            .help_heading(entry.heading)
            .allow_hyphen_values(entry.hyphens)
            .action(match entry.form {
                Form::Flag => ArgAction::SetTrue,
                Form::One => ArgAction::Set,
                Form::Many => ArgAction::Append,
            });
        let arg = match entry.form {
            Form::Flag => arg,
            Form::One | Form::Many => arg.value_name(entry.value),
        };
        match entry.default {
            Some(shown) => arg.default_value(shown(default)),
            None => arg,
        }
    }
}

/// Returns the flag of an option name: `_` becomes `-`.
fn flag(name: &str) -> String {
    name.replace('_', "-")
}

impl<T: Options> Args for Typed<T> {
    fn augment_args(command: Command) -> Command {
        let default = T::default();
        let all = T::ALL.iter().map(|e| Self::option(e, &default));
        command.args(all)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<T: Options> FromArgMatches for Typed<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let typed =
            |name| matches.value_source(name) == Some(clap::parser::ValueSource::CommandLine);
        let texts = |entry: &'static OptionEntry<T>| match entry.form {
            Form::Flag => Vec::new(),
            Form::One | Form::Many => {
                let values = matches.get_many::<String>(entry.name);
                values.into_iter().flatten().cloned().collect()
            }
        };
        let given = T::ALL.iter().filter(|e| typed(e.name));
        Ok(Self {
            given: given.map(|e| (e, texts(e))).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
