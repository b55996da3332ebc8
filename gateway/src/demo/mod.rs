//! `demo`: the real gateway between a simulated cabinet and a simulated LwM2M server.
//!
//! An electricity meter and a relay board hang on a pseudo-terminal at 9600 baud, a plug and a lamp on an MQTT broker,
//! three luminaires and a water meter on the radio, with a LoRaWAN stack that is not ours. The server listens on loopback
//! and goes away for some seconds in the middle. What is shown is what the server sees, and at the end what became of every
//! reading. Nothing here is used by the daemon.

mod cabinet;
mod outage;
mod real;
mod screen;
mod script;
mod simulated;
mod site;
mod tally;
mod view;

use std::time::Duration;

use tokio::runtime::Runtime;

use crate::cli::DemoOptions;
use crate::exit::Failure;
use cabinet::Cabinet;

/// The demo is the same each time.
const SEED: u64 = 630;

/// How often a screen is drawn anew.
const REDRAW: Duration = Duration::from_millis(500);

/// How long the closing table waits for readings that are on their way: one retransmission of CoAP more than the
/// outage takes.
const SETTLES: Duration = Duration::from_secs(30);

/// Runs the demo; it succeeds if the server got every reading, and on each link something was really switched.
///
/// # Errors
/// When something could not be started, or what the demo is to show did not happen.
pub fn demo(options: &DemoOptions, log: &str) -> Result<(), Failure> {
    crate::logging::start(log)?;
    let runtime = Runtime::new().map_err(|error| Failure::cannot("start", &error))?;
    let outcome = runtime.block_on(play(options));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn play(options: &DemoOptions) -> Result<(), Failure> {
    let folder =
        tempfile::tempdir().map_err(|error| Failure::cannot("make a folder for the state", &error))?;
    let folder = folder.path();
    let cabinet = Cabinet::open(SEED).await;
    let cabinet = cabinet.map_err(|error| Failure::cannot("make a pseudo-terminal and a broker", &error))?;
    match &options.server {
        None => simulated::play(options, &cabinet, folder).await,
        Some(uri) => real::play(options, uri, &cabinet, folder).await,
    }
}
