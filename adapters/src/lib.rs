//! Field protocols: an engine without IO for each, and the port or socket it runs on behind the feature `io`.
//!
//! An adapter knows how a frame is framed and never what it means: that is the profile's business.

#[cfg(feature = "io")]
mod clock;
pub mod lorawan;
pub mod modbus;
pub mod mqtt;
