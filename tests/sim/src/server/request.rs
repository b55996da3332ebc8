//! What a server asks of a client, and what it gets back.

use std::fmt;

use lwm2m_client::Path;
use lwm2m_client::client::WriteMode;
use lwm2m_client::format::Entry;

use super::event::ReceivedValue;

/// Names a request until it is answered; never used twice by one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// The content formats by their CoAP numbers, as a request names them.
pub mod content_format {
    /// text/plain
    pub const TEXT: u16 = 0;
    /// application/link-format
    pub const LINK: u16 = 40;
    /// application/octet-stream
    pub const OPAQUE: u16 = 42;
    /// application/senml+json
    pub const SENML_JSON: u16 = 110;
    /// application/senml+cbor
    pub const SENML_CBOR: u16 = 112;
    /// application/vnd.oma.lwm2m+tlv
    pub const TLV: u16 = 11542;
}

/// A request to a client.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerRequest {
    /// GET
    Read {
        /// What to read.
        path: Path,
        /// The format asked for; none leaves the choice to the client.
        accept: Option<u16>,
    },
    /// PUT or POST with values.
    Write {
        /// PUT or POST.
        mode: WriteMode,
        /// Where to write.
        path: Path,
        /// The values.
        entries: Vec<Entry>,
        /// The format to write them in.
        format: u16,
    },
    /// POST to a resource.
    Execute {
        /// The resource.
        path: Path,
        /// The arguments, for example `0='1'`; may be empty.
        arguments: String,
    },
    /// POST to an object.
    Create {
        /// The object, as a path.
        path: Path,
        /// The first values.
        entries: Vec<Entry>,
        /// The format to write them in.
        format: u16,
    },
    /// DELETE
    Delete {
        /// The instance.
        path: Path,
    },
    /// GET with Accept 40.
    Discover {
        /// What to list.
        path: Path,
    },
    /// PUT with attributes and no body.
    WriteAttributes {
        /// What they are attached to.
        path: Path,
        /// For example `pmin=1` or, to unset it, `pmin`.
        attributes: Vec<String>,
    },
    /// GET with Observe 0.
    Observe {
        /// What to observe.
        path: Path,
        /// The format asked for; none leaves the choice to the client.
        accept: Option<u16>,
    },
    /// GET with Observe 1 and the token of the observation.
    CancelObservation {
        /// What was observed.
        path: Path,
    },
    /// Anything else, for requests that are wrong.
    Raw(RawRequest),
}

/// A request as its options, sensible or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawRequest {
    /// The request code: 1 GET, 2 POST, 3 PUT, 4 DELETE, 5 FETCH, 6 PATCH, 7 iPATCH.
    pub method: u8,
    /// The Uri-Path segments.
    pub path: Vec<String>,
    /// The Uri-Query options.
    pub query: Vec<String>,
    /// The Accept option.
    pub accept: Option<u16>,
    /// The Content-Format option.
    pub content_format: Option<u16>,
    /// Options by number, for those that have no field here.
    pub options: Vec<(u16, Vec<u8>)>,
    /// The body.
    pub payload: Vec<u8>,
}

/// A CoAP response code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code {
    /// 2 for success, 4 and 5 for failures.
    pub class: u8,
    /// The two digits after the dot.
    pub detail: u8,
}

impl Code {
    /// 2.01
    pub const CREATED: Self = Self::new(2, 1);
    /// 2.02
    pub const DELETED: Self = Self::new(2, 2);
    /// 2.04
    pub const CHANGED: Self = Self::new(2, 4);
    /// 2.05
    pub const CONTENT: Self = Self::new(2, 5);
    /// 2.31
    pub const CONTINUE: Self = Self::new(2, 31);
    /// 4.00
    pub const BAD_REQUEST: Self = Self::new(4, 0);
    /// 4.02
    pub const BAD_OPTION: Self = Self::new(4, 2);
    /// 4.03
    pub const FORBIDDEN: Self = Self::new(4, 3);
    /// 4.04
    pub const NOT_FOUND: Self = Self::new(4, 4);
    /// 4.05
    pub const METHOD_NOT_ALLOWED: Self = Self::new(4, 5);
    /// 4.08
    pub const REQUEST_ENTITY_INCOMPLETE: Self = Self::new(4, 8);
    /// 4.12
    pub const PRECONDITION_FAILED: Self = Self::new(4, 12);
    /// 4.13
    pub const REQUEST_ENTITY_TOO_LARGE: Self = Self::new(4, 13);
    /// 4.15
    pub const UNSUPPORTED_CONTENT_FORMAT: Self = Self::new(4, 15);
    /// 5.03 Service Unavailable
    pub const SERVICE_UNAVAILABLE: Self = Self::new(5, 3);

    /// Returns code `class.detail`.
    pub const fn new(class: u8, detail: u8) -> Self {
        Self { class, detail }
    }

    /// Says whether the request was done.
    pub const fn is_success(self) -> bool {
        self.class == 2
    }

    pub(super) const fn from_byte(byte: u8) -> Self {
        Self::new(byte >> 5, byte & 0x1f)
    }

    pub(super) const fn byte(self) -> u8 {
        self.class << 5 | self.detail
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class, self.detail)
    }
}

/// A client's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Its code.
    pub code: Code,
    /// The format of its body.
    pub content_format: Option<u16>,
    /// Its body, put together again where it came in blocks.
    pub payload: Vec<u8>,
    /// The location of what was made.
    pub location: Vec<String>,
    /// How long a 5.03 asks the server to wait.
    pub max_age_secs: Option<u32>,
    /// What the body says, where the request asked for values.
    pub values: Vec<ReceivedValue>,
    /// Why the body could not be decoded.
    pub undecodable: Option<String>,
}

impl Answer {
    /// Returns the body as text: links of a Discover, the diagnostic of a refusal.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

/// Why a request got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestFailure {
    /// Every retransmission went unanswered.
    #[error("the client did not answer")]
    TimedOut,
    /// The client answered with a Reset.
    #[error("the client does not know what was asked of it")]
    Reset,
    /// The answer came in blocks that do not fit together.
    #[error("the answer came in blocks that do not fit together")]
    Blocks,
    /// Too many requests are open.
    #[error("too many requests are open: wait for answers first")]
    Busy,
    /// The client left, or registered anew, before it answered.
    #[error("the client left before it answered")]
    Left,
    /// No client of that name is registered.
    #[error("no client named {0:?} is registered")]
    NotRegistered(String),
    /// The values cannot be written in the format named.
    #[error("the request cannot be encoded: {0}")]
    Unencodable(String),
    /// Nothing is observed there.
    #[error("{0} is not observed")]
    NotObserved(Path),
    /// The server was stopped.
    #[error("the server was stopped before the answer came")]
    Stopped,
}
