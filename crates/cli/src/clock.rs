//! The only clock in proofmark.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime};

use proofmark::policy::Date;

#[expect(
    clippy::disallowed_methods,
    reason = "the command line is where the clock is"
)]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Seconds since the program first asked.
pub(crate) fn seconds() -> f64 {
    START.elapsed().as_secs_f64()
}

/// Today, in UTC.
pub(crate) fn today() -> Date {
    #[expect(
        clippy::disallowed_methods,
        reason = "the command line is where the clock is"
    )]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Date::from_unix_days(now.map_or(0, |d| (d.as_secs() / 86_400) as i64))
}
