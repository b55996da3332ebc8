//! Requests as messages: which method, which options, which body.

use lwm2m_client::Path;
use lwm2m_client::client::WriteMode;

use super::coap::{Kind, Message, option};
use super::receive;
use super::request::{RawRequest, RequestFailure, ServerRequest, content_format};

const GET: u8 = 1;
const POST: u8 = 2;
const PUT: u8 = 3;
const DELETE: u8 = 4;

/// Makes the message of a request, and its body.
pub(super) fn message_of(request: ServerRequest) -> Result<(Message, Vec<u8>), RequestFailure> {
    let encode = |format, path, entries: &[_]| {
        receive::encode(format, path, entries).map_err(RequestFailure::Unencodable)
    };
    let raw = match request {
        ServerRequest::Read { path, accept } => RawRequest {
            accept,
            ..raw(GET, path)
        },
        ServerRequest::Observe { path, accept } => RawRequest {
            accept,
            options: vec![(option::OBSERVE, Vec::new())],
            ..raw(GET, path)
        },
        ServerRequest::CancelObservation { path } => RawRequest {
            options: vec![(option::OBSERVE, vec![1])],
            ..raw(GET, path)
        },
        ServerRequest::Discover { path } => RawRequest {
            accept: Some(content_format::LINK),
            ..raw(GET, path)
        },
        ServerRequest::Write {
            mode,
            path,
            entries,
            format,
        } => {
            let payload = encode(format, path, &entries)?;
            let method = match mode {
                WriteMode::Replace => PUT,
                WriteMode::Update => POST,
            };
            RawRequest {
                content_format: Some(format),
                payload,
                ..raw(method, path)
            }
        }
        ServerRequest::Create {
            path,
            entries,
            format,
        } => {
            let payload = encode(format, path, &entries)?;
            RawRequest {
                content_format: Some(format),
                payload,
                ..raw(POST, path)
            }
        }
        ServerRequest::Execute { path, arguments } => execute(path, arguments),
        ServerRequest::Delete { path } => raw(DELETE, path),
        ServerRequest::WriteAttributes { path, attributes } => RawRequest {
            query: attributes,
            ..raw(PUT, path)
        },
        ServerRequest::Raw(request) => request,
    };
    Ok(message_of_raw(raw))
}

fn raw(method: u8, path: Path) -> RawRequest {
    let path = path.segments().iter().map(u16::to_string).collect();
    RawRequest {
        method,
        path,
        ..RawRequest::default()
    }
}

fn execute(path: Path, arguments: String) -> RawRequest {
    let content_format = (!arguments.is_empty()).then_some(content_format::TEXT);
    RawRequest {
        content_format,
        payload: arguments.into_bytes(),
        ..raw(POST, path)
    }
}

fn message_of_raw(raw: RawRequest) -> (Message, Vec<u8>) {
    let mut message = Message::new(Kind::Confirmable, raw.method, 0);
    message.push_texts(option::URI_PATH, &raw.path);
    message.push_texts(option::URI_QUERY, &raw.query);
    for (number, format) in [
        (option::ACCEPT, raw.accept),
        (option::CONTENT_FORMAT, raw.content_format),
    ] {
        if let Some(format) = format {
            message.push_uint(number, u32::from(format));
        }
    }
    message.options.extend(raw.options);
    (message, raw.payload)
}
