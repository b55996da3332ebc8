//! Send: records to the server without being asked (LwM2M Core 1.2, section 6.4.6).

use std::collections::BTreeMap;

use super::event::{SendId, SendRefused};
use super::limits;
use crate::coap::limits::BODY_MAX_BYTES;
use crate::coap::{Method, Request, RequestId};
use crate::format::{self, ContentFormat, Record};

/// The Sends under way, and how they are written.
#[derive(Debug)]
pub(super) struct Sends {
    under_way: BTreeMap<RequestId, SendId>,
    format: ContentFormat,
}

impl Default for Sends {
    fn default() -> Self {
        Self {
            under_way: BTreeMap::new(),
            format: ContentFormat::SenmlCbor,
        }
    }
}

impl Sends {
    /// Goes on with the format that the server was found to take.
    pub(super) fn resume(json: bool) -> Self {
        let format = if json {
            ContentFormat::SenmlJson
        } else {
            ContentFormat::SenmlCbor
        };
        Self {
            format,
            ..Self::default()
        }
    }

    pub(super) const fn format(&self) -> ContentFormat {
        self.format
    }

    /// Notes that the server does not take the format; says whether the next Send is written in another one.
    pub(super) fn handle_format_refused(&mut self) -> bool {
        let other = self.format != ContentFormat::SenmlJson;
        self.format = ContentFormat::SenmlJson;
        other
    }

    /// Makes the request of a Send.
    pub(super) fn request(&self, root: &[String], records: &[Record]) -> Result<Request, SendRefused> {
        if self.under_way.len() >= limits::SENDS {
            return Err(SendRefused::Busy);
        }
        if records.is_empty() || records.len() > limits::RECORDS {
            let reason = format!("{} records, 1 to {} are expected", records.len(), limits::RECORDS);
            return Err(SendRefused::Invalid(reason));
        }
        let payload = format::encode_records(self.format, records);
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
            content_format: Some(self.format.code()),
            payload,
        })
    }

    pub(super) fn handle_sent(&mut self, request: RequestId, id: SendId) {
        self.under_way.insert(request, id);
    }

    /// Returns the Send of a request that is over, where it was one.
    pub(super) fn finish(&mut self, request: RequestId) -> Option<SendId> {
        self.under_way.remove(&request)
    }

    /// Gives up all Sends and returns them, oldest first.
    pub(super) fn take_all(&mut self) -> Vec<(RequestId, SendId)> {
        std::mem::take(&mut self.under_way).into_iter().collect()
    }
}
