//! Progress on standard error: bars on a terminal, otherwise a line every 30 seconds.

use std::io::IsTerminal as _;
use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};
use proofmark::Progress;
use proofmark::engine::{Event, Observer};

use crate::clock;
use crate::output;

/// Seconds between progress lines if standard error is not a terminal.
const EVERY: f64 = 30.0;

/// Shows the progress of a run.
pub(crate) struct TerminalProgress {
    /// Name of the items counted.
    unit: &'static str,
    quiet: bool,
    terminal: bool,
    state: Mutex<State>,
}

struct State {
    bar: ProgressBar,
    run: String,
    total: usize,
    last_line: f64,
}

impl TerminalProgress {
    /// Returns a display that counts samples; silent if `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        Self::counting(quiet, "samples")
    }

    /// Returns a display that counts items other than samples.
    pub(crate) fn counting(quiet: bool, unit: &'static str) -> Self {
        let state = State {
            bar: ProgressBar::hidden(),
            run: String::new(),
            total: 0,
            last_line: clock::seconds(),
        };
        Self {
            unit,
            quiet,
            terminal: std::io::stderr().is_terminal(),
            state: Mutex::new(state),
        }
    }

    /// Changes the number of items of the run.
    pub(crate) fn total(&self, items: usize) {
        let mut state = self.lock();
        if state.total != items {
            state.total = items;
            state.bar.set_length(items as u64);
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.lock().bar.finish_and_clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Progress for TerminalProgress {
    fn begin(&self, run: &str, samples: usize) {
        let mut state = self.lock();
        state.bar.finish_and_clear();
        run.clone_into(&mut state.run);
        state.total = samples;
        state.bar = if self.quiet || !self.terminal {
            ProgressBar::hidden()
        } else {
            let style = ProgressStyle::with_template(&format!(
                "{{prefix:24}} {{bar:30}} {{pos}}/{{len}} {} {{elapsed}} {{msg}}",
                self.unit
            ))
            .unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(samples as u64)
                .with_style(style)
                .with_prefix(run.to_owned())
        };
    }
}

impl Observer for TerminalProgress {
    fn event(&self, event: Event) {
        let mut state = self.lock();
        match event {
            Event::Round { restart, .. } if restart > 0 => {
                state.bar.set_message(format!("restart {}", restart + 1));
            }
            Event::Step { active, done } => {
                state.bar.set_position(done as u64);
                let now = clock::seconds();
                if !self.quiet && !self.terminal && now - state.last_line >= EVERY {
                    state.last_line = now;
                    output::tell(&format!(
                        "{}: {done} done and {active} at work, of {} {}",
                        state.run, state.total, self.unit
                    ));
                }
            }
            Event::Judged { broken } => state.bar.set_message(format!("{broken} broken")),
            _ => {}
        }
    }
}
