//! What became of a command, in words for people and in codes for servers.

use std::time::Duration;

use lwm2m_client::client::{Failure, FailureCode, Response};

use crate::field::Delivery;
use crate::limits;
use crate::output::CommandOutcome;

/// Returns what became of a command whose last downlink ended so.
pub(super) fn outcome(delivery: &Delivery) -> CommandOutcome {
    match delivery {
        Delivery::Sent => CommandOutcome::Sent,
        Delivery::Queued => CommandOutcome::Queued,
        Delivery::Confirmed(_) => CommandOutcome::Confirmed,
        Delivery::Refused(refusal) => {
            CommandOutcome::Refused(format!("{} (code {})", refusal.text, refusal.code))
        }
        Delivery::Unconfirmed(why) => CommandOutcome::Unconfirmed(why.clone()),
        Delivery::Unreachable { retry_after_secs } => CommandOutcome::Unreachable {
            retry_after_secs: *retry_after_secs,
        },
        Delivery::Denied => {
            CommandOutcome::NotAllowed("writes are denied on this link by the configuration".to_owned())
        }
        Delivery::Expired => CommandOutcome::Expired,
        Delivery::Superseded => CommandOutcome::Superseded,
    }
}

/// Returns the outcome of a command whose sender waited for `waited` in vain.
pub(super) fn timed_out(waited: Duration) -> CommandOutcome {
    CommandOutcome::Unconfirmed(format!("no result within {} ms", waited.as_millis()))
}

/// Returns the outcome of a write that no message has shown for so long.
pub(super) fn unseen(within: Duration) -> CommandOutcome {
    let within = within.as_millis();
    CommandOutcome::Unconfirmed(format!("no message showed the new value within {within} ms"))
}

/// Returns the answer to a server: `reached` says how far a command of several values got.
pub(crate) fn response(outcome: &CommandOutcome, reached: &str) -> Response {
    let failed = |code, retry_after_secs| {
        Response::Failed(Failure {
            code,
            retry_after_secs,
            diagnostic: format!("{reached}{outcome}"),
        })
    };
    match outcome {
        CommandOutcome::Confirmed | CommandOutcome::Sent | CommandOutcome::Queued => Response::Changed,
        CommandOutcome::NotAllowed(_) => failed(FailureCode::MethodNotAllowed, None),
        CommandOutcome::Unfit(_) => failed(FailureCode::BadRequest, None),
        // Not 5.03, though it was not sent: that asks for the same once more, if only after the 60 s that a missing
        // Max-Age means (RFC 7252, 5.10.5), and would undo the later write. Nor 5.04: no answer is outstanding.
        CommandOutcome::Refused(_) | CommandOutcome::Superseded => {
            failed(FailureCode::InternalServerError, None)
        }
        CommandOutcome::Unconfirmed(_) => failed(FailureCode::GatewayTimeout, None),
        CommandOutcome::Unreachable { retry_after_secs } => {
            failed(FailureCode::ServiceUnavailable, Some(*retry_after_secs))
        }
        CommandOutcome::Expired | CommandOutcome::Busy => {
            failed(FailureCode::ServiceUnavailable, Some(limits::BUSY_RETRY_SECS))
        }
    }
}
