//! Device profiles as data: the language, its compiler and the stock catalogue.
//!
//! A profile is one TOML text for one device model. [`compile`] checks it against the object table and gives a
//! [`CompiledProfile`], which decodes frames and encodes commands for the core; [`Catalogue`] holds all that a gateway
//! knows. The crate opens no file and reads no clock: callers pass texts. `README.md` explains the language.

mod catalogue;
mod compile;
pub mod document;
mod expression;
mod golden;
mod layout;
pub mod limits;
mod profile;
mod ratio;
mod register;
mod units;

pub use catalogue::{Catalogue, STOCK};
pub use compile::compile;
pub use golden::{TestOutcome, open_exchange};
pub use profile::{CompiledProfile, Probe, SerialDefaults, Status};
