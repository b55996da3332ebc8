//! Send: records to the server without being asked (LwM2M Core 1.2, section 6.4.6).

use std::collections::BTreeMap;

use super::event::{SendId, SendRefused};
use super::limits;
use crate::coap::limits::BODY_MAX_BYTES;
use crate::coap::{Method, Request, RequestId};
use crate::format::{self, ContentFormat, Record};

/// The Sends under way.
#[derive(Debug, Default)]
pub(super) struct Sends(BTreeMap<RequestId, SendId>);

impl Sends {
    /// Makes the request of a Send.
    pub(super) fn request(&self, root: &[String], records: &[Record]) -> Result<Request, SendRefused> {
        if self.0.len() >= limits::SENDS {
            return Err(SendRefused::Busy);
        }
        if records.is_empty() || records.len() > limits::RECORDS {
            let reason = format!("{} records, 1 to {} are expected", records.len(), limits::RECORDS);
            return Err(SendRefused::Invalid(reason));
        }
        let payload = format::encode_records(ContentFormat::SenmlCbor, records);
        let payload = payload.map_err(|e| SendRefused::Invalid(e.to_string()))?;
        if payload.len() > BODY_MAX_BYTES {
            let reason = format!("{} bytes, at most {BODY_MAX_BYTES} are expected", payload.len());
            return Err(SendRefused::Invalid(reason));
        }
        let mut path = root.to_vec();
        path.push("dp".to_owned());
        Ok(Request {
            method: Method::Post,
            path,
            query: Vec::new(),
            accept: None,
            content_format: Some(ContentFormat::SenmlCbor.code()),
            payload,
        })
    }

    pub(super) fn handle_sent(&mut self, request: RequestId, id: SendId) {
        self.0.insert(request, id);
    }

    /// Returns the Send of a request that is over, where it was one.
    pub(super) fn finish(&mut self, request: RequestId) -> Option<SendId> {
        self.0.remove(&request)
    }

    /// Gives up all Sends and returns them, oldest first.
    pub(super) fn take_all(&mut self) -> Vec<(RequestId, SendId)> {
        std::mem::take(&mut self.0).into_iter().collect()
    }
}
