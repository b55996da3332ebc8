//! `doctor`: whether the machine and its surroundings are up to the configuration, line by line, each with what to do.
//!
//! It only looks: nothing is changed, registered or commanded. Where the gateway runs, it is asked what it knows.

mod broker;
mod machine;
mod server;

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::arguments::ClientOptions;
use super::check::invalid;
use super::output::{answer, print_json};
use crate::config::{DEFAULT_PATH, Loaded, Sources, read};
use crate::control::{Reply, Request, ask};
use crate::exit::{ExitStatus, Failure};
use crate::runtime::rehearse;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    Warn,
    Fail,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    verdict: Verdict,
    /// What was looked at.
    what: String,
    /// How it is.
    how: String,
    /// What to do; none where all is well.
    next: Option<String>,
}

impl Finding {
    pub(super) fn ok(what: impl Into<String>, how: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Ok,
            what: what.into(),
            how: how.into(),
            next: None,
        }
    }

    pub(super) fn warn(what: impl Into<String>, how: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Warn,
            next: Some(next.into()),
            ..Self::ok(what, how)
        }
    }

    pub(super) fn fail(what: impl Into<String>, how: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Fail,
            next: Some(next.into()),
            ..Self::ok(what, how)
        }
    }
}

pub(super) fn doctor(config: &Path, options: &ClientOptions) -> Result<(), Failure> {
    let loaded = match Sources::load(config).and_then(|sources| read(&sources)) {
        Ok(loaded) => loaded,
        Err(found) if options.json => {
            print_json(&json!({ "findings": super::check::diagnostics_json(&found) }))?;
            return Err(Failure::said(ExitStatus::Invalid));
        }
        Err(found) => return Err(invalid(found)),
    };
    let findings = examine(config, &loaded, options);
    let told: Vec<Json> = findings.iter().map(finding_json).collect();
    answer(options.json, &json!({ "findings": told }), || text(&findings))?;
    if findings.iter().any(|finding| finding.verdict == Verdict::Fail) {
        return Err(Failure::said(ExitStatus::Failed));
    }
    Ok(())
}

fn examine(config: &Path, loaded: &Loaded, options: &ClientOptions) -> Vec<Finding> {
    let configuration = &loaded.configuration;
    let mut findings = vec![match rehearse(loaded) {
        Ok(()) => Finding::ok("configuration", format!("{} is valid", config.display())),
        Err(error) => Finding::fail("configuration", error.to_string(), "ucifi-gateway check"),
    }];
    let socket = options
        .socket
        .as_ref()
        .unwrap_or(&configuration.gateway.control_socket);
    let status = match ask(socket, &Request::Status {}) {
        Ok(Reply::Ok(status)) => Some(status),
        Ok(Reply::Error(_)) | Err(_) => None,
    };
    findings.push(gateway(config, status.as_ref(), socket));
    findings.extend(
        configuration
            .buses
            .iter()
            .map(|bus| machine::bus(bus, status.as_ref())),
    );
    findings.extend(machine::clock());
    findings.extend(machine::disk(configuration, status.as_ref()));
    for of_server in &configuration.servers {
        findings.extend(server::examine(of_server, status.as_ref()));
    }
    let name = &configuration.gateway.name;
    findings.extend(
        configuration
            .brokers
            .iter()
            .map(|broker| broker::examine(broker, name)),
    );
    findings.extend(
        configuration
            .lorawan
            .iter()
            .map(|lorawan| machine::radio(lorawan, status.as_ref())),
    );
    findings
}

fn gateway(config: &Path, status: Option<&Json>, socket: &Path) -> Finding {
    let next = if config == Path::new(DEFAULT_PATH) {
        "systemctl start ucifi-gateway; if it runs, use sudo or join the group ucifi-gateway"
    } else {
        "ucifi-gateway run starts it, with the same configuration"
    };
    match status {
        Some(status) => Finding::ok(
            "gateway",
            format!("version {} runs", status["version"].as_str().unwrap_or_default()),
        ),
        None => Finding::warn("gateway", format!("none answers at {}", socket.display()), next),
    }
}

fn finding_json(finding: &Finding) -> Json {
    json!({
        "verdict": finding.verdict.name(),
        "what": finding.what,
        "how": finding.how,
        "next": finding.next,
    })
}

fn text(findings: &[Finding]) -> String {
    let width = findings
        .iter()
        .map(|finding| finding.what.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for Finding {
        verdict,
        what,
        how,
        next,
    } in findings
    {
        text.push_str(&format!("{:<4}  {what:<width$}  {how}\n", verdict.name()));
        if let Some(next) = next {
            text.push_str(&format!("{:6}{:width$}  next: {next}\n", "", ""));
        }
    }
    let count = |verdict| {
        findings
            .iter()
            .filter(|finding| finding.verdict == verdict)
            .count()
    };
    let (warnings, failures) = (count(Verdict::Warn), count(Verdict::Fail));
    text.push_str(&match (warnings, failures) {
        (0, 0) => "\nall is well\n".to_owned(),
        (warnings, failures) => format!("\n{failures} to mend, {warnings} to look at\n"),
    });
    text
}

/// Connects to the first address of a name that takes the connection.
fn dial(target: impl ToSocketAddrs, patience: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in target.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_well_says_what_to_do_next() {
        let findings = [
            Finding::ok("clock", "set"),
            Finding::fail("bus rs485-1", "/dev/ttyUSB0 is not there", "plug it in"),
        ];
        assert_eq!(
            text(&findings),
            "ok    clock        set\n\
             fail  bus rs485-1  /dev/ttyUSB0 is not there\n                   next: plug it in\n\n\
             1 to mend, 0 to look at\n"
        );
    }
}
