//! Every bound of this crate, with the reason for it.

/// The most values that are read from one payload: a body of 64 KiB full of the smallest TLV resources would hold
/// about twice as many, while a Read of a large object with hundreds of instances stays below.
pub const MAX_ENTRIES: usize = 16_384;

/// The most links that are read from one payload: a registration with a thousand objects or instances stays below.
pub const MAX_LINKS: usize = 8_192;

/// The longest object definition file that is read: the longest one of the registry has 34 KB.
pub const MAX_XML_BYTES: usize = 1_048_576;

/// The deepest nesting of elements in an object definition file: the schema needs five.
pub const MAX_XML_DEPTH: usize = 16;

/// The longest SenML name, base name included: four numbers of five digits and their slashes need 24 bytes.
pub const MAX_SENML_NAME_BYTES: usize = 64;
