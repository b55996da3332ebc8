//! `demo`: the real gateway between a simulated cabinet and a simulated LwM2M server.
//!
//! An electricity meter and a relay board hang on a pseudo-terminal at 9600 baud; the server listens on loopback. What is
//! shown is what the server sees. Nothing here is used by the daemon.

mod cabinet;
mod screen;
mod script;
mod view;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use ucifi_sim::server::io as server_io;
use ucifi_sim::server::{LwM2mServer, Transmission};

use crate::cli::DemoOptions;
use crate::exit::{ExitStatus, Failure};
use crate::runtime;
use cabinet::Cabinet;
use screen::Screen;
use script::Script;
use view::View;

/// The demo is the same each time.
const SEED: u64 = 630;

/// How often a screen is drawn anew.
const REDRAW: Duration = Duration::from_millis(500);

/// Runs the demo; it succeeds if the server got meter values and a relay was really switched.
///
/// # Errors
/// When something could not be started, or what the demo is to show did not happen.
pub fn demo(options: &DemoOptions, log: &str) -> Result<(), Failure> {
    crate::logging::start(log)?;
    let runtime = Runtime::new().map_err(|error| failed("start", &error))?;
    let outcome = runtime.block_on(play(options));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn play(options: &DemoOptions) -> Result<(), Failure> {
    let cabinet = Cabinet::open(SEED).map_err(|error| failed("make a pseudo-terminal", &error))?;
    let objects = std::sync::Arc::new(lwm2m_client::object::ObjectTable::builtin());
    let server = LwM2mServer::new(objects.clone(), Transmission::default(), SEED);
    let mut server = server_io::start((Ipv4Addr::LOCALHOST, 0).into(), server)
        .await
        .map_err(|error| failed("listen on loopback", &error))?;
    let state_dir = tempfile::tempdir().map_err(|error| failed("make a temporary folder", &error))?;
    let loaded = cabinet.configuration(server.address, state_dir.path())?;
    let running = runtime::start(loaded, SEED).map_err(|error| failed("start the gateway", &error))?;

    let start = Instant::now();
    let end = start + Duration::from_secs(options.seconds);
    let mut view = View::new(objects, start);
    let mut screen = Screen::new(options.json, cabinet.path(), server.address);
    let mut script = Script::new(server.handle.clone(), cabinet.line());
    screen.begin()?;
    while Instant::now() < end {
        let wake = (Instant::now() + REDRAW).min(end);
        tokio::select! {
            event = server.events.recv() => {
                let Some(event) = event else { break };
                screen.tell(&view.handle_event(event))?;
            }
            () = tokio::time::sleep_until(wake.into()) => {
                let news = script.step(&mut view).await;
                screen.tell(&news)?;
                screen.draw(&view)?;
            }
        }
    }
    running
        .stop()
        .await
        .map_err(|error| failed("run the gateway", &error))?;
    let outcome = view.outcome();
    screen.finish(&view, &outcome)?;
    outcome.map_err(|reason| Failure::new(ExitStatus::Failed, reason))
}

fn failed(what: &str, error: &dyn std::error::Error) -> Failure {
    Failure::new(ExitStatus::Failed, format!("cannot {what}: {error}"))
}
