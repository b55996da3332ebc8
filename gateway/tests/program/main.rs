//! The program as people use it: arguments in; text, JSON and an exit status out.

#[cfg(test)]
mod air;
#[cfg(test)]
mod broker;
#[cfg(test)]
mod buffer;
#[cfg(test)]
mod check;
#[cfg(test)]
mod daemon;
#[cfg(all(test, feature = "demo"))]
mod demo;
#[cfg(feature = "demo")]
#[cfg(test)]
mod first_cabinet;
#[cfg(test)]
mod lorawan;
#[cfg(test)]
mod mqtt;
#[cfg(test)]
mod objects;
#[cfg(test)]
mod profile;
#[cfg(test)]
mod radio_kills;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod service;
#[cfg(test)]
mod setup;
#[cfg(feature = "demo")]
#[cfg(test)]
mod simulate;
#[cfg(test)]
mod site;

use std::path::Path;
use std::process::{Command, Output};

/// Returns the program, without the configuration of the machine that the tests run on.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ucifi-gateway"));
    command
        .args(arguments)
        .env_remove("UCIFI_CONFIG")
        .env_remove("UCIFI_LOG")
        .env_remove("UCIFI_SOCKET")
        .env_remove("NOTIFY_SOCKET")
        .env_remove("CREDENTIALS_DIRECTORY");
    command
}

fn run(arguments: &[&str]) -> Output {
    program(arguments).output().expect("the program was built")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal ended it")
}

fn path_of(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}

#[test]
fn every_exit_status_stands_in_the_help() {
    let help = run(&["--help"]);
    assert_eq!(code(&help), 0);
    for status in 0..=7 {
        assert!(
            stdout(&help).contains(&format!("\n  {status}  ")),
            "{}",
            stdout(&help)
        );
    }
}

#[test]
fn a_command_line_that_makes_no_sense_is_a_usage_error() {
    assert_eq!(code(&run(&["reboot"])), 2);
    assert_eq!(code(&run(&[])), 2);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::process::Stdio;
    let mut child = program(&["objects", "list"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
}

#[test]
fn without_a_gateway_the_socket_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    let output = run(&["status", "--socket", path_of(&socket)]);
    assert_eq!(code(&output), 4);
    assert!(stderr(&output).contains("none.sock"), "{}", stderr(&output));
}
