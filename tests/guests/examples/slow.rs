//! Burns about 20 ms of processor time (the setting `rounds`), then works.

use carillon_guests::echo;
use carillon_plugin::prelude::*;

#[plugin(
    name = "slow",
    summary = "Burns about 20 ms of processor time (the setting `rounds`), then works.",
    subscriptions = ["*"],
    settings = [setting(
        key = "rounds",
        summary = "How many multiplications to make.",
        default = "13500000"
    )]
)]
fn handle(event: Event) -> Result<Vec<Action>, Failure> {
    let rounds: u64 = settings::parse("rounds")?;
    let mut number = event.position.offset;
    for _ in 0..rounds {
        // Each round needs the one before it, and two of them do not make a simpler one.
        number = (number ^ (number >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    }
    log::debug!("burnt down to {number}");
    Ok(echo(&event))
}
