//! What is said over the control socket: one JSON object a line, a request and then its reply.
//!
//! Numbers and units in replies are those of the registry; what a person reads is made of them by the command line.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::exit::{ExitStatus, Failure};

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// How the gateway, its servers and its buses are.
    Status {},
    /// Which devices there are, and how they are.
    Devices {},
    /// Which devices were heard that are not configured.
    Unknown {},
    /// What becomes of the frames and commands of a device: after the reply a line comes for each step, until the client
    /// leaves.
    Trace {
        /// The id of the device.
        device: String,
    },
    /// The values of a device, all of them or those at or below a path or of a point.
    Read {
        /// The id of the device.
        device: String,
        /// A path or the name of a point.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<String>,
    },
    /// Set a resource.
    Write {
        /// The id of the device.
        device: String,
        /// A path or the name of a point.
        target: String,
        /// The value as text, read as the type of the resource.
        value: String,
    },
    /// Run a resource.
    Exec {
        /// The id of the device.
        device: String,
        /// A path.
        target: String,
        /// The arguments as LwM2M writes them, often empty.
        #[serde(default)]
        arguments: String,
    },
    /// End the registration of one device, or of all.
    Deregister {
        /// The id of the device; none is all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device: Option<String>,
    },
    /// Forget the readings in the buffer that were measured before a time.
    #[serde(rename = "drop-older")]
    DropOlder {
        /// The time, in milliseconds since 1970.
        before_unix_ms: i64,
        /// The server that they are owed to; none is all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        server: Option<String>,
    },
}

/// What the gateway replies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// It was done; what there is to say about it.
    Ok(Json),
    /// It was not done.
    Error(Problem),
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The kind, for programs.
    pub kind: ProblemKind,
    /// The reason, for people.
    pub message: String,
}

impl Problem {
    /// Returns a problem of a kind.
    pub fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

/// The kinds of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The request cannot be read.
    BadRequest,
    /// No such device, point or resource.
    NotFound,
    /// The device, the site or the object definition says no.
    Refused,
    /// The device does not answer.
    Unreachable,
    /// It went out, and nothing tells whether it was done.
    Unconfirmed,
    /// The gateway has too much to do.
    Busy,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let status = match problem.kind {
            ProblemKind::BadRequest => ExitStatus::Usage,
            ProblemKind::NotFound => ExitStatus::NotFound,
            ProblemKind::Refused => ExitStatus::Refused,
            ProblemKind::Unreachable | ProblemKind::Unconfirmed => ExitStatus::Unreachable,
            ProblemKind::Busy => ExitStatus::Failed,
        };
        Self::new(status, problem.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<Request> {
        serde_json::from_str(line).ok()
    }

    #[test]
    fn a_request_is_one_flat_object() {
        let status = read(r#"{"command":"status"}"#);
        assert_eq!(status, Some(Request::Status {}));
        let all = read(r#"{"command":"read","device":"meter-1"}"#);
        assert_eq!(
            all,
            Some(Request::Read {
                device: "meter-1".to_owned(),
                target: None
            })
        );
    }

    #[test]
    fn a_command_of_two_words_is_written_with_a_hyphen() {
        let request = Request::DropOlder {
            before_unix_ms: -1,
            server: Some("city".to_owned()),
        };
        let line = r#"{"command":"drop-older","before_unix_ms":-1,"server":"city"}"#;
        assert_eq!(serde_json::to_string(&request).unwrap(), line);
        assert_eq!(read(line), Some(request));
    }

    #[test]
    fn an_unknown_command_and_an_unknown_field_are_refused() {
        assert_eq!(read(r#"{"command":"reboot"}"#), None);
        assert_eq!(read(r#"{"command":"status","verbose":true}"#), None);
        assert_eq!(read(r#"{"command":"read","device":"m","path":"/3"}"#), None);
    }

    #[test]
    fn a_reply_is_ok_or_error() {
        let reply = Reply::Error(Problem::new(ProblemKind::NotFound, "no device \"x\""));
        let line = serde_json::to_string(&reply).unwrap();
        assert_eq!(
            line,
            r#"{"error":{"kind":"not-found","message":"no device \"x\""}}"#
        );
    }
}
