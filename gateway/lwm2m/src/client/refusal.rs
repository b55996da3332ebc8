//! Why the client itself refuses a request, with the code that the server gets (LwM2M Transport 1.2, tables 6.7).

use super::operation::{Failure, FailureCode};
use crate::coap::{Code, Response};
use crate::format::FormatError;

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    /// The diagnostic payload.
    pub(super) reason: String,
}

impl Refusal {
    pub(super) fn new(code: Code, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }

    pub(super) fn bad_request(reason: impl Into<String>) -> Self {
        Self::new(Code::BAD_REQUEST, reason)
    }

    pub(super) fn not_found(reason: impl Into<String>) -> Self {
        Self::new(Code::NOT_FOUND, reason)
    }

    pub(super) fn not_allowed(reason: impl Into<String>) -> Self {
        Self::new(Code::METHOD_NOT_ALLOWED, reason)
    }

    /// Says why a body of the server was not understood.
    pub(super) fn of_body(error: &FormatError) -> Self {
        let code = match error {
            FormatError::Unsupported { .. } => Code::UNSUPPORTED_CONTENT_FORMAT,
            FormatError::UnknownResource(_) => Code::NOT_FOUND,
            FormatError::TooManyEntries(_) => Code::REQUEST_ENTITY_TOO_LARGE,
            FormatError::Malformed { .. }
            | FormatError::WrongType { .. }
            | FormatError::WrongMultiplicity(_)
            | FormatError::OutsideBase { .. }
            | FormatError::Duplicate(_)
            | FormatError::NotEncodable { .. } => Code::BAD_REQUEST,
        };
        Self::new(code, error.to_string())
    }

    pub(super) fn to_response(&self) -> Response {
        diagnostic(self.code, &self.reason)
    }
}

/// Returns the response that tells a failed operation.
pub(super) fn failure_response(failure: &Failure) -> Response {
    Response {
        max_age_secs: failure.retry_after_secs,
        ..diagnostic(code(failure.code), &failure.diagnostic)
    }
}

fn diagnostic(code: Code, sentence: &str) -> Response {
    Response {
        payload: sentence.as_bytes().to_vec(),
        ..Response::new(code)
    }
}

const fn code(code: FailureCode) -> Code {
    match code {
        FailureCode::BadRequest => Code::BAD_REQUEST,
        FailureCode::Unauthorized => Code::UNAUTHORIZED,
        FailureCode::BadOption => Code::BAD_OPTION,
        FailureCode::NotFound => Code::NOT_FOUND,
        FailureCode::MethodNotAllowed => Code::METHOD_NOT_ALLOWED,
        FailureCode::NotAcceptable => Code::NOT_ACCEPTABLE,
        FailureCode::RequestEntityIncomplete => Code::REQUEST_ENTITY_INCOMPLETE,
        FailureCode::RequestEntityTooLarge => Code::REQUEST_ENTITY_TOO_LARGE,
        FailureCode::UnsupportedContentFormat => Code::UNSUPPORTED_CONTENT_FORMAT,
        FailureCode::InternalServerError => Code::INTERNAL_SERVER_ERROR,
        FailureCode::NotImplemented => Code::NOT_IMPLEMENTED,
        FailureCode::ServiceUnavailable => Code::SERVICE_UNAVAILABLE,
        FailureCode::GatewayTimeout => Code::GATEWAY_TIMEOUT,
    }
}
