//! Device profiles as data: the language, its compiler and the stock catalogue.
//!
//! A profile is one TOML text for one device model. The crate opens no file and reads no clock: callers pass texts.

pub mod document;
pub mod limits;
