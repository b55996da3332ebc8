//! `ucifi-gateway`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ucifi_gateway::cli::main()
}
