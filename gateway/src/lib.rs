//! The gateway as a program: configuration, the event loop, sockets and ports, the control socket, the command line.
//!
//! What it does with values and commands is in `ucifi-core`; how frames look is in `ucifi-adapters`; what they mean is
//! in `ucifi-profiles`. Here is only what connects them to the world.

pub mod cli;
pub mod config;
pub mod control;
#[cfg(feature = "demo")]
pub mod demo;
pub mod exit;
mod hex;
#[cfg(feature = "demo")]
mod interrupt;
pub mod limits;
pub mod logging;
pub mod meaning;
mod profiles;
pub mod runtime;
mod service;
mod shell;
#[cfg(feature = "demo")]
mod simulate;
pub mod store;
