//! The control socket: how people and tools at the cabinet talk to a running gateway.
//!
//! It is a Unix socket with mode 0660; who may open the file may do everything. Nothing listens on a network port.

mod client;
mod protocol;
mod server;

pub use client::{ClientError, Watched, ask};
pub use protocol::{Problem, ProblemKind, Reply, Request};
pub use server::{Call, ControlError, ControlSocket};
