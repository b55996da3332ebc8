//! The command line: what can be asked for, and who does it.

mod arguments;
mod buffer;
mod check;
mod completions;
mod control;
mod device;
mod doctor;
mod init;
pub(crate) mod number;
mod objects;
pub(crate) mod output;
mod profile;
mod run;
mod serial_ports;
pub(crate) mod table;
mod trace;

pub use arguments::Arguments;
#[cfg(feature = "demo")]
pub use arguments::{DemoOptions, PeerOptions, SimulateOptions, SimulatedPeer};
#[cfg(feature = "demo")]
pub(crate) use profile::profile_of;

use std::process::ExitCode;

use clap::Parser;

use crate::exit::{ExitStatus, Failure};
use arguments::Command;

/// Does what the command line says and returns the exit status.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let status = if error.use_stderr() {
                ExitStatus::Usage
            } else {
                ExitStatus::Success
            };
            error.print().ok();
            return status.into();
        }
    };
    match dispatch(arguments) {
        Ok(()) => ExitStatus::Success.into(),
        Err(failure) => {
            if !failure.message.is_empty() {
                output::complain(&format!("error: {}", failure.message));
            }
            failure.status.into()
        }
    }
}

fn dispatch(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { config, log, command } = arguments;
    match command {
        Command::Run => run::run(&config, log.as_deref().unwrap_or("info")),
        Command::Check(options) => check::check(&config, options.json),
        Command::Status(options) => control::status(&config, &options),
        Command::Devices(options) => control::devices(&config, &options),
        Command::Trace(options) => trace::trace(&config, &options),
        Command::Read(options) => control::read(&config, &options),
        Command::Write(options) => control::write(&config, &options),
        Command::Exec(options) => control::exec(&config, &options),
        Command::Deregister(options) => control::deregister(&config, &options),
        Command::Buffer(options) => buffer::buffer(&config, options),
        Command::Init(options) => init::init(&config, &options),
        Command::Doctor(options) => doctor::doctor(&config, &options),
        Command::Device(command) => device::device(&config, *command),
        Command::Completions { shell } => completions::completions(shell),
        Command::Profile(command) => profile::profile(&config, command),
        Command::Objects(command) => objects::objects(&config, command),
        #[cfg(feature = "demo")]
        Command::Demo(options) => crate::demo::demo(&options, log.as_deref().unwrap_or("error")),
        #[cfg(feature = "demo")]
        Command::Simulate(options) => {
            crate::simulate::simulate(&config, &options, log.as_deref().unwrap_or("error"))
        }
    }
}
