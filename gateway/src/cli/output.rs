//! What goes to standard output: text for people, JSON for programs.

use std::io::{self, Write};

use crate::exit::{ExitStatus, Failure};

/// Writes text to standard output; a reader that has gone away ends the output, not the command.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::new(
            ExitStatus::Failed,
            format!("cannot write the output: {error}"),
        )),
    }
}

/// Writes JSON, indented, with a line end.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(&format!("{value:#}\n"))
}

/// Writes a line to standard error; where even that is closed there is nobody to tell.
pub(crate) fn complain(text: &str) {
    writeln!(io::stderr().lock(), "{text}").ok();
}

/// Prints either the JSON or what people read.
pub(crate) fn answer(
    json: bool,
    value: &serde_json::Value,
    text: impl FnOnce() -> String,
) -> Result<(), Failure> {
    if json { print_json(value) } else { print(&text()) }
}
