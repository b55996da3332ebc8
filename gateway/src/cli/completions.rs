//! `completions`: what lets a shell complete the commands.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::arguments::{Arguments, CompletionShell};
use super::output::print;
use crate::exit::Failure;

pub(super) fn completions(shell: CompletionShell) -> Result<(), Failure> {
    let shell = match shell {
        CompletionShell::Bash => Shell::Bash,
        CompletionShell::Zsh => Shell::Zsh,
        CompletionShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut Arguments::command(), "ucifi-gateway", &mut script);
    print(&String::from_utf8_lossy(&script))
}
