//! The only clock in proofmark.

use std::sync::LazyLock;
use std::time::Instant;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proofmark::policy::Date;

#[expect(
    clippy::disallowed_methods,
    reason = "the command line is where the clock is"
)]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Returns the seconds since the first call.
pub(crate) fn seconds() -> f64 {
    START.elapsed().as_secs_f64()
}

/// Returns today's date in UTC.
pub(crate) fn today() -> Date {
    #[expect(
        clippy::disallowed_methods,
        reason = "the command line is where the clock is"
    )]
    let now = Timestamp::now();
    now.to_zoned_datetime(TimeZone::UTC).date().into()
}
