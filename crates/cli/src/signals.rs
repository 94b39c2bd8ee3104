//! Ctrl-C and SIGTERM: the first asks the run to end, the second ends the program.

use std::io;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::TERM_SIGNALS;
use signal_hook::flag;

/// The exit code of a run that was interrupted.
pub(crate) const INTERRUPTED: u8 = 130;

static ASKED: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| Arc::new(AtomicBool::new(false)));

/// Starts to listen for signals. Outputs are renamed into place in one step, so stopping at any moment leaves none
/// half-written.
pub(crate) fn listen() -> io::Result<()> {
    for signal in TERM_SIGNALS {
        // Registered first, so that it only acts on the second signal.
        flag::register_conditional_shutdown(*signal, INTERRUPTED.into(), Arc::clone(&ASKED))?;
        flag::register(*signal, Arc::clone(&ASKED))?;
    }
    Ok(())
}

/// Whether a signal asked the run to end.
pub(crate) fn interrupted() -> bool {
    ASKED.load(Ordering::Relaxed)
}
