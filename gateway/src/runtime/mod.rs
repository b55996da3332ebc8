//! The gateway at work: one task owns the core and carries out what it wants, in order.
//!
//! Everything else talks to that task over bounded channels: buses and sockets by `Input`s, people by calls of the
//! control socket, signals by orders.

mod answers;
mod brokers;
mod buses;
mod clock;
mod commands;
mod endpoint_link;
mod engine;
mod events;
mod field;
mod open_files;
mod ports;
mod progress;
mod radio;
mod server_link;
mod trace;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};
use tracing::{error, info};
use ucifi_adapters::lorawan::io::FromNetwork;
use ucifi_adapters::modbus::io::FromBus;
use ucifi_adapters::mqtt::io::FromBroker;
use ucifi_core::EndpointId;

use crate::config::Loaded;
use crate::control::{Call, Reply, Request};
use crate::limits::{CONTROL_CALLS, SETTLE};
use crate::store::{Store, log_options};
use engine::{Engine, Order};
use progress::Check;

#[cfg(feature = "demo")]
pub(crate) use answers::plain_json;
pub(crate) use clock::is_set as is_clock_set;
pub use engine::StartError;
pub use progress::{Progress, ProgressWatch};

/// What comes in from the world.
#[derive(Debug)]
pub(crate) enum Input {
    /// A datagram from a server.
    Datagram { endpoint: EndpointId, datagram: Vec<u8> },
    /// The addresses of a server.
    Resolved {
        server: Arc<str>,
        addresses: Vec<SocketAddr>,
    },
    /// Something from a bus.
    Bus { bus: Arc<str>, event: FromBus },
    /// Something from a broker.
    Broker { broker: Arc<str>, event: FromBroker },
    /// Something from the radio network.
    Radio(FromNetwork),
}

/// Why a gateway stopped without being told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its event loop ended.
    #[error("the event loop ended badly: {0}")]
    EventLoop(#[from] JoinError),
    /// Nobody runs a bus, a broker or the radio network any more.
    #[error("a bus, a broker or the radio network is not run any more: {}", .0.as_ref().map_or("its task returned".to_owned(), JoinError::to_string))]
    Field(Option<JoinError>),
    /// Nobody listens to a server any more.
    #[error("a server is not listened to any more: {0}")]
    Server(JoinError),
    /// Nothing is kept any more.
    #[error("what writes to disk has ended or does not answer")]
    Store,
    /// Neither the new configuration nor the old one could be run.
    #[error("cannot go on with the old configuration: {0}")]
    Start(#[from] StartError),
}

/// A gateway at work. Dropping it stops it and keeps its registrations.
#[derive(Debug)]
pub struct Running {
    orders: mpsc::Sender<Order>,
    calls: mpsc::Sender<Call>,
    checks: mpsc::Sender<Check>,
    task: JoinHandle<Result<(), RunError>>,
}

/// What people, signals and the service manager want of an engine.
struct Wanted {
    orders: mpsc::Receiver<Order>,
    calls: mpsc::Receiver<Call>,
    checks: mpsc::Receiver<Check>,
}

/// Starts a gateway on the present tokio runtime. `seed` makes its random numbers.
///
/// # Errors
/// When the core or a bus cannot be made of the configuration, or its folder cannot be used.
pub fn start(loaded: Loaded, seed: u64) -> Result<Running, StartError> {
    let configuration = &loaded.configuration;
    let (store, kept) = Store::open(&configuration.gateway.state_dir, log_options(configuration))?;
    let first = Engine::start(loaded, kept, store.health(), seed)?;
    let (orders, ordered) = mpsc::channel(1);
    let (calls, called) = mpsc::channel(CONTROL_CALLS);
    let (checks, checked) = mpsc::channel(1);
    let wanted = Wanted {
        orders: ordered,
        calls: called,
        checks: checked,
    };
    let task = tokio::spawn(supervise(first, store, seed, wanted));
    Ok(Running {
        orders,
        calls,
        checks,
        task,
    })
}

/// Makes everything that [`start`] makes but ports and sockets: what only the gateway as a whole can find wrong.
///
/// # Errors
/// What [`start`] would fail with.
pub fn rehearse(loaded: &Loaded) -> Result<(), StartError> {
    engine::rehearse(loaded)
}

impl Running {
    /// Returns where the control socket puts what it is asked.
    pub fn calls(&self) -> mpsc::Sender<Call> {
        self.calls.clone()
    }

    /// Returns where it can be asked whether every part gets on with its work.
    pub fn progress(&self) -> ProgressWatch {
        ProgressWatch::new(self.checks.clone())
    }

    /// Asks what the control socket can be asked; none when the gateway has stopped.
    pub async fn ask(&self, request: Request) -> Option<Reply> {
        let (call, answer) = Call::new(request);
        self.calls.send(call).await.ok()?;
        answer.await.ok()
    }

    /// Goes on with another configuration: endpoints that are not in it are de-registered. Says whether it is in force.
    pub async fn reload(&self, loaded: Loaded) -> bool {
        let (done, is_done) = oneshot::channel();
        let order = Order::Reload(Box::new(loaded), done);
        self.orders.send(order).await.is_ok() && is_done.await.unwrap_or(false)
    }

    /// Waits until the gateway stops by itself, which it only does badly; not to be called again after that.
    pub async fn ended(&mut self) -> Result<(), RunError> {
        (&mut self.task).await?
    }

    /// Stops, with the registrations kept or ended as configured.
    ///
    /// # Errors
    /// When it had stopped by itself before.
    pub async fn stop(self) -> Result<(), RunError> {
        // One that has stopped takes no orders, and tells below why.
        self.orders.send(Order::Stop).await.ok();
        self.task.await?
    }
}

/// Runs one engine after the other, a new one for each configuration, with what is kept.
async fn supervise(
    mut engine: Engine,
    mut store: Store,
    seed: u64,
    mut wanted: Wanted,
) -> Result<(), RunError> {
    let mut generation = seed;
    loop {
        let before = engine.loaded();
        let (loaded, done) = match engine.run(&mut wanted, &mut store).await? {
            Order::Stop => {
                engine.stop(&mut store).await;
                return store.close().await.then_some(()).ok_or(RunError::Store);
            }
            Order::Reload(loaded, done) => {
                if !engine.disk_answers(&mut store, SETTLE).await {
                    // No engine would run until the disk answers.
                    error!("the disk does not answer, going on with the old configuration");
                    done.send(false).ok();
                    continue;
                }
                (*loaded, Some(done))
            }
            Order::Restart => (before.clone(), None),
        };
        generation = generation.wrapping_add(1);
        engine.make_room_for(&loaded.configuration, &mut store).await;
        let next = start_next(loaded, &mut store, generation).await?;
        let is_new = next.is_ok();
        engine = match next {
            Ok(next) => {
                if done.is_some() {
                    info!("the new configuration is in force");
                }
                next
            }
            Err(error) => {
                error!(%error, "the new configuration cannot be run, going on with the old one");
                start_next(before, &mut store, generation).await??
            }
        };
        if let Some(done) = done {
            // Who asked may have gone away.
            done.send(is_new).ok();
        }
    }
}

async fn start_next(
    loaded: Loaded,
    store: &mut Store,
    seed: u64,
) -> Result<Result<Engine, StartError>, RunError> {
    let options = log_options(&loaded.configuration);
    let kept = store.restart(options).await.ok_or(RunError::Store)?;
    Ok(Engine::start(loaded, kept, store.health(), seed))
}

#[cfg(test)]
mod tests;
