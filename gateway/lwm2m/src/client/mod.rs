//! The LwM2M client towards one server.

mod objects;
mod operation;

pub use objects::{Content, Objects};
pub use operation::{Failure, FailureCode, Operation, OperationId, Response, WriteMode};
