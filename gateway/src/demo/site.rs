//! The gateway of the demo with its folder and its control socket, as the daemon has them.

use serde_json::Value as Json;
use tokio::task::JoinHandle;

use super::tally::Tally;
use crate::config::Loaded;
use crate::control::{ControlSocket, Reply, Request};
use crate::exit::{ExitStatus, Failure};
use crate::runtime::{self, Running};

/// The gateway at work.
pub(super) struct Site {
    running: Running,
    control: JoinHandle<()>,
}

impl Site {
    /// Starts the gateway.
    pub(super) fn start(loaded: Loaded, seed: u64) -> Result<Self, Failure> {
        let path = loaded.configuration.gateway.control_socket.clone();
        let socket =
            ControlSocket::bind(&path).map_err(|error| Failure::cannot("listen for commands", &error))?;
        let running =
            runtime::start(loaded, seed).map_err(|error| Failure::cannot("start the gateway", &error))?;
        let control = tokio::spawn(socket.serve(running.calls()));
        Ok(Self { running, control })
    }

    /// Asks what has become of the readings.
    pub(super) async fn tally(&self) -> Result<Tally, Failure> {
        self.status().await.map(|status| Tally::of(&status))
    }

    async fn status(&self) -> Result<Json, Failure> {
        let stopped = || Failure::new(ExitStatus::Failed, "the gateway has stopped");
        match self.running.ask(Request::Status {}).await.ok_or_else(stopped)? {
            Reply::Ok(status) => Ok(status),
            Reply::Error(problem) => Err(problem.into()),
        }
    }

    /// Stops the gateway.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        let stopped = self.running.stop().await;
        self.control.abort();
        // The socket's file goes with the task.
        self.control.await.ok();
        stopped.map_err(|error| Failure::cannot("run the gateway", &error))
    }
}
