//! `run`: the daemon.

use std::path::{Path, PathBuf};

use rand::TryRngCore;
use rand::rngs::OsRng;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use super::check::invalid;
use crate::config::{Loaded, Sources, read};
use crate::control::ControlSocket;
use crate::exit::{ExitStatus, Failure};
use crate::runtime::{self, RunError, Running, StartError};
use crate::service;

pub(super) fn run(config: &Path, log: &str) -> Result<(), Failure> {
    crate::logging::start(log)?;
    let sources = Sources::load(config).map_err(invalid)?;
    let loaded = read(&sources).map_err(invalid)?;
    say_warnings(&loaded);
    let failed = |error: std::io::Error| Failure::new(ExitStatus::Failed, format!("cannot start: {error}"));
    Runtime::new()
        .map_err(failed)?
        .block_on(daemon(config.to_owned(), sources, loaded))
}

async fn daemon(config: PathBuf, sources: Sources, loaded: Loaded) -> Result<(), Failure> {
    let failed = |error: String| Failure::new(ExitStatus::Failed, error);
    let mut signals = Signals::catch().map_err(|error| failed(format!("cannot catch signals: {error}")))?;
    let path = loaded.configuration.gateway.control_socket.clone();
    let state_dir = loaded.configuration.gateway.state_dir.clone();
    let socket = ControlSocket::bind(&path).map_err(|error| failed(error.to_string()))?;
    info!(
        name = &*loaded.configuration.gateway.name,
        devices = loaded.configuration.devices.len(),
        servers = loaded.configuration.servers.len(),
        socket = %path.display(),
        version = env!("CARGO_PKG_VERSION"),
        "gateway starts"
    );
    let seed = OsRng
        .try_next_u64()
        .map_err(|error| failed(format!("the system has no random numbers: {error}")))?;
    let running = runtime::start(loaded, seed).map_err(|error| {
        let status = match &error {
            StartError::Core(_) | StartError::Bus(_) | StartError::Broker(_) | StartError::Radio(_) => {
                ExitStatus::Invalid
            }
            StartError::Store(_) => ExitStatus::Failed,
        };
        Failure::new(status, error.to_string())
    })?;
    let control = tokio::spawn(socket.serve(running.calls()));
    let watch = tokio::spawn(service::tell(running.progress()));
    let place = Place {
        config,
        socket: path,
        state_dir,
    };
    let ended = attend(running, &mut signals, sources, &place).await;
    control.abort();
    watch.abort();
    // The socket's file goes with the task.
    control.await.ok();
    ended.map_err(|error| failed(error.to_string()))
}

/// Where the daemon reads its configuration, where it listens, and where it keeps what outlives it.
struct Place {
    config: PathBuf,
    socket: PathBuf,
    state_dir: PathBuf,
}

/// Does what signals want until the gateway stops.
async fn attend(
    mut running: Running,
    signals: &mut Signals,
    mut sources: Sources,
    place: &Place,
) -> Result<(), RunError> {
    loop {
        let wanted = tokio::select! {
            wanted = signals.next() => wanted,
            ended = running.ended() => return ended,
        };
        match wanted {
            Wanted::Stop => {
                info!("gateway stops");
                service::say_stopping();
                return running.stop().await;
            }
            Wanted::Reload => {
                service::say_reloading();
                sources = reload(place, sources, &running).await;
                service::say_ready();
            }
        }
    }
}

/// Reads the configuration again; returns the sources that are in force.
async fn reload(place: &Place, present: Sources, running: &Running) -> Sources {
    let read_again = Sources::load(&place.config).and_then(|sources| Ok((read(&sources)?, sources)));
    let (loaded, sources) = match read_again {
        Ok((_, sources)) if sources == present => {
            info!("the configuration has not changed");
            return present;
        }
        Ok(changed) => changed,
        Err(found) => {
            found.iter().for_each(|diagnostic| error!("{diagnostic}"));
            error!("the new configuration is invalid, going on with the old one");
            return present;
        }
    };
    if let Err(error) = runtime::rehearse(&loaded) {
        error!(%error, "the new configuration cannot be run, going on with the old one");
        return present;
    }
    info!("the configuration has changed");
    say_warnings(&loaded);
    say_later(&loaded, place);
    if running.reload(loaded).await {
        sources
    } else {
        present
    }
}

/// Says which options take effect at the next start only.
fn say_later(loaded: &Loaded, place: &Place) {
    let gateway = &loaded.configuration.gateway;
    if gateway.control_socket != place.socket {
        let (wanted, present) = (gateway.control_socket.display(), place.socket.display());
        warn!(%wanted, %present, "control_socket takes effect at the next start");
    }
    if gateway.state_dir != place.state_dir {
        let (wanted, present) = (gateway.state_dir.display(), place.state_dir.display());
        warn!(%wanted, %present, "state_dir takes effect at the next start");
    }
}

fn say_warnings(loaded: &Loaded) {
    loaded.warnings.iter().for_each(|warning| warn!("{warning}"));
    for warning in crate::meaning::meaning(&loaded.configuration).warnings {
        warn!("{warning}");
    }
}

/// What a signal wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Stop,
    Reload,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Wanted {
        tokio::select! {
            _ = self.terminate.recv() => Wanted::Stop,
            _ = self.interrupt.recv() => Wanted::Stop,
            _ = self.hang_up.recv() => Wanted::Reload,
        }
    }
}
