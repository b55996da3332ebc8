//! What a server asks of the objects behind the client, and the answers to it.

use crate::format::Entry;
use crate::{InstanceId, ObjectId, Path};

/// Names one operation until it is answered; never used twice by one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub u64);

/// A request that changes or does something. It is already checked: the target exists, the operation is allowed
/// by the definition, types and ranges fit.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// Set values (PUT on an instance or resource, POST on an instance).
    Write {
        /// Whether what is not named keeps its value.
        mode: WriteMode,
        /// Where the request pointed.
        target: Path,
        /// The values.
        entries: Vec<Entry>,
    },
    /// Run a resource.
    Execute {
        /// The resource.
        path: Path,
        /// The arguments as sent, for example `0='U'`; often empty.
        arguments: String,
    },
    /// Make an instance.
    Create {
        /// Of this object.
        object: ObjectId,
        /// With this number, or with one that the answer tells.
        instance: Option<InstanceId>,
        /// Its first values; where `instance` is none, their paths carry instance 65535.
        entries: Vec<Entry>,
    },
    /// Remove an instance.
    Delete {
        /// The instance.
        path: Path,
    },
}

/// How a Write treats what it does not name (LwM2M Core 1.2, section 6.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// PUT: the instance or resource becomes what was sent.
    Replace,
    /// POST: what was not sent stays.
    Update,
}

/// The answer to an [`Operation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// 2.04: a Write or Execute was done, or is durably queued.
    Changed,
    /// 2.01: the instance was made.
    Created(InstanceId),
    /// 2.02: the instance is gone.
    Deleted,
    /// It was not done.
    Failed(Failure),
}

/// Why an operation was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The response code.
    pub code: FailureCode,
    /// Seconds after which the server may try again (Max-Age of a 5.03).
    pub retry_after_secs: Option<u32>,
    /// A plain sentence for whoever reads the server's log; sent as diagnostic payload.
    pub diagnostic: String,
}

/// The error codes of LwM2M (Transport 1.2, tables 6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureCode {
    /// 4.00
    BadRequest,
    /// 4.01
    Unauthorized,
    /// 4.02
    BadOption,
    /// 4.04
    NotFound,
    /// 4.05
    MethodNotAllowed,
    /// 4.06
    NotAcceptable,
    /// 4.08
    RequestEntityIncomplete,
    /// 4.13
    RequestEntityTooLarge,
    /// 4.15
    UnsupportedContentFormat,
    /// 5.00
    InternalServerError,
    /// 5.01
    NotImplemented,
    /// 5.03
    ServiceUnavailable,
    /// 5.04
    GatewayTimeout,
}
