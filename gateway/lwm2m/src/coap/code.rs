//! Methods and response codes.

use std::fmt;

/// The code of a message: `c.dd`, three bits of class and five of detail (RFC 7252, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u8);

impl Code {
    /// 0.00, an empty message.
    pub const EMPTY: Self = Self(0x00);
    /// 2.01
    pub const CREATED: Self = Self(0x41);
    /// 2.02
    pub const DELETED: Self = Self(0x42);
    /// 2.03
    pub const VALID: Self = Self(0x43);
    /// 2.04
    pub const CHANGED: Self = Self(0x44);
    /// 2.05
    pub const CONTENT: Self = Self(0x45);
    /// 2.31, more blocks are wanted (RFC 7959, section 2.9.1).
    pub const CONTINUE: Self = Self(0x5F);
    /// 4.00
    pub const BAD_REQUEST: Self = Self(0x80);
    /// 4.01
    pub const UNAUTHORIZED: Self = Self(0x81);
    /// 4.02
    pub const BAD_OPTION: Self = Self(0x82);
    /// 4.03
    pub const FORBIDDEN: Self = Self(0x83);
    /// 4.04
    pub const NOT_FOUND: Self = Self(0x84);
    /// 4.05
    pub const METHOD_NOT_ALLOWED: Self = Self(0x85);
    /// 4.06
    pub const NOT_ACCEPTABLE: Self = Self(0x86);
    /// 4.08
    pub const REQUEST_ENTITY_INCOMPLETE: Self = Self(0x88);
    /// 4.09
    pub const CONFLICT: Self = Self(0x89);
    /// 4.12
    pub const PRECONDITION_FAILED: Self = Self(0x8C);
    /// 4.13
    pub const REQUEST_ENTITY_TOO_LARGE: Self = Self(0x8D);
    /// 4.15
    pub const UNSUPPORTED_CONTENT_FORMAT: Self = Self(0x8F);
    /// 4.29
    pub const TOO_MANY_REQUESTS: Self = Self(0x9D);
    /// 5.00
    pub const INTERNAL_SERVER_ERROR: Self = Self(0xA0);
    /// 5.01
    pub const NOT_IMPLEMENTED: Self = Self(0xA1);
    /// 5.02
    pub const BAD_GATEWAY: Self = Self(0xA2);
    /// 5.03
    pub const SERVICE_UNAVAILABLE: Self = Self(0xA3);
    /// 5.04
    pub const GATEWAY_TIMEOUT: Self = Self(0xA4);
    /// 5.05
    pub const PROXYING_NOT_SUPPORTED: Self = Self(0xA5);

    /// Returns the class, 0 to 7.
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// Returns the detail, 0 to 31.
    pub const fn detail(self) -> u8 {
        self.0 & 0x1F
    }

    /// Says whether this is a request (0.01 to 0.31).
    pub const fn is_request(self) -> bool {
        self.class() == 0 && self.0 != 0
    }

    /// Says whether this is a response (2.xx, 4.xx, 5.xx).
    pub const fn is_response(self) -> bool {
        matches!(self.class(), 2 | 4 | 5)
    }

    /// Says whether this is a response of class 2.
    pub const fn is_success(self) -> bool {
        self.class() == 2
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class(), self.detail())
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// 0.01
    Get,
    /// 0.02
    Post,
    /// 0.03
    Put,
    /// 0.04
    Delete,
    /// 0.05 (RFC 8132)
    Fetch,
    /// 0.06 (RFC 8132)
    Patch,
    /// 0.07 (RFC 8132)
    Ipatch,
}

impl Method {
    /// Returns the code of the method.
    pub const fn code(self) -> Code {
        Code(match self {
            Self::Get => 1,
            Self::Post => 2,
            Self::Put => 3,
            Self::Delete => 4,
            Self::Fetch => 5,
            Self::Patch => 6,
            Self::Ipatch => 7,
        })
    }

    /// Returns the method of a request code, none for a method that is not known.
    pub const fn from_code(code: Code) -> Option<Self> {
        Some(match code.0 {
            1 => Self::Get,
            2 => Self::Post,
            3 => Self::Put,
            4 => Self::Delete,
            5 => Self::Fetch,
            6 => Self::Patch,
            7 => Self::Ipatch,
            _ => return None,
        })
    }

    /// Says whether a request can be asked again without a change on the other side.
    pub const fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Fetch)
    }
}
