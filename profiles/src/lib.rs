//! Device profiles as data: the language, its compiler and the stock catalogue.
//!
//! A profile is one TOML text for one device model. [`compile`] checks it against the object table and gives a
//! [`CompiledProfile`], which decodes frames and encodes commands for the core; [`Catalogue`] holds all that a gateway
//! knows. The crate opens no file and reads no clock: callers pass texts. `README.md` explains the language.
//!
//! ```
//! use lwm2m_client::object::ObjectTable;
//! use ucifi_core::profile::Profile;
//! use ucifi_core::field::Frame;
//! use ucifi_profiles::{Catalogue, open_exchange};
//!
//! let catalogue = Catalogue::stock(&ObjectTable::builtin());
//! let meter = catalogue.find("eastron.sdm630").unwrap();
//! let request = [0x01, 0x04, 0x00, 0x0c, 0x00, 0x02, 0xb1, 0xc8];
//! let response = [0x01, 0x04, 0x04, 0x41, 0xfa, 0x17, 0x7c, 0xc1, 0x98];
//! let block = open_exchange(&request, &response).unwrap();
//! let meaning = meter.decode(&Frame::ModbusBlock(block)).unwrap();
//! let point = &meter.points()[usize::from(meaning.samples[0].point.0)];
//! assert_eq!((&*point.name, point.path.to_string().as_str(), &*point.unit), ("p_l1", "/3421/0/23", "W"));
//! ```

mod bytes;
mod catalogue;
mod command;
mod compile;
pub mod document;
mod expression;
mod golden;
mod instant;
mod json;
mod layout;
pub mod limits;
mod message;
mod payload;
mod played;
mod profile;
mod ratio;
mod register;
mod units;

pub use catalogue::{Catalogue, STOCK};
pub use compile::compile;
pub use golden::{TestOutcome, open_exchange};
pub use played::RegisterRange;
pub use profile::{CompiledProfile, Probe, SerialDefaults, Status};
