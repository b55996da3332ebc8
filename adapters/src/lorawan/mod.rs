//! LoRaWAN 1.0.x in EU868: an embedded network server behind packet forwarders.
//!
//! What went through the air is told in the types of [`air`]; the tables of the region are in [`region`]. [`gwmp`] is the
//! protocol of the packet forwarders and [`Forwarders`] the engine that speaks it. Nothing here does IO or reads a
//! clock. What a payload means is not known here.

pub mod air;
pub mod forwarders;
pub mod gwmp;
pub mod region;

pub use air::{
    AirFrame, ForwarderId, Heard, Purpose, Sent, Transmission, TransmissionId, TxError, When, Window,
};
pub use forwarders::Forwarders;
pub use region::DataRate;
