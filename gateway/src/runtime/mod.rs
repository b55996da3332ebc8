//! The gateway at work: one task owns the core and carries out what it wants, in order.
//!
//! Everything else talks to that task over bounded channels: buses and sockets by `Input`s, people by calls of the
//! control socket, signals by orders.

mod answers;
mod buses;
mod clock;
mod commands;
mod endpoint_link;
mod engine;
mod events;
mod open_files;
mod server_link;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::{error, info};
use ucifi_adapters::modbus::io::FromBus;
use ucifi_core::EndpointId;

use crate::config::Loaded;
use crate::control::{Call, Reply, Request};
use crate::limits::CONTROL_CALLS;
use engine::{Engine, Order};

#[cfg(feature = "demo")]
pub(crate) use answers::plain_json;
pub use engine::StartError;

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
}

/// A gateway at work. Dropping it stops it and keeps its registrations.
#[derive(Debug)]
pub struct Running {
    orders: mpsc::Sender<Order>,
    calls: mpsc::Sender<Call>,
    task: JoinHandle<()>,
}

/// Starts a gateway on the present tokio runtime. `seed` makes its random numbers.
///
/// # Errors
/// When the core or a bus cannot be made of the configuration.
pub fn start(loaded: Loaded, seed: u64) -> Result<Running, StartError> {
    let first = Engine::start(loaded, seed)?;
    let (orders, ordered) = mpsc::channel(1);
    let (calls, called) = mpsc::channel(CONTROL_CALLS);
    let task = tokio::spawn(supervise(first, seed, ordered, called));
    Ok(Running { orders, calls, task })
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

    /// Asks what the control socket can be asked; none when the gateway has stopped.
    pub async fn ask(&self, request: Request) -> Option<Reply> {
        let (reply, answer) = oneshot::channel();
        self.calls.send(Call { request, reply }).await.ok()?;
        answer.await.ok()
    }

    /// Goes on with another configuration: endpoints that are not in it are de-registered.
    pub async fn reload(&self, loaded: Loaded) {
        // A gateway that has stopped has nothing to go on with.
        self.orders.send(Order::Reload(Box::new(loaded))).await.ok();
    }

    /// Stops, with the registrations kept or ended as configured.
    pub async fn stop(self) {
        self.orders.send(Order::Stop).await.ok();
        if let Err(error) = self.task.await {
            error!(%error, "the event loop ended badly");
        }
    }
}

/// Runs one engine after the other, a new one for each configuration.
async fn supervise(
    mut engine: Engine,
    seed: u64,
    mut orders: mpsc::Receiver<Order>,
    mut calls: mpsc::Receiver<Call>,
) {
    for generation in 1_u64.. {
        match engine.run(&mut orders, &mut calls).await {
            Order::Stop => {
                engine.finish().await;
                return;
            }
            Order::Reload(loaded) => {
                let before = engine.loaded();
                engine.leave_what_is_not_in(&loaded.configuration).await;
                drop(engine);
                engine = match Engine::start(*loaded, seed.wrapping_add(generation)) {
                    Ok(next) => {
                        info!("the new configuration is in force");
                        next
                    }
                    Err(error) => {
                        error!(%error, "the new configuration cannot be run, going on with the old one");
                        let Ok(old) = Engine::start(before, seed.wrapping_add(generation)) else {
                            return;
                        };
                        old
                    }
                };
            }
        }
    }
}
