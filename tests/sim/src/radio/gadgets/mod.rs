//! What devices on the radio say: a street lamp and a water meter, in the frames of real products.
//!
//! A [`Gadget`] is pure; [`Street`] lets some of them join and send, in real time towards a gateway's UDP port.

mod luminaire;
mod street;
mod water_meter;

pub use luminaire::Luminaire;
pub use street::{Deed, News, Street, StreetPlan};
pub use water_meter::WaterMeter;

/// A payload and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// FPort.
    pub f_port: u8,
    /// FRMPayload.
    pub payload: Vec<u8>,
    /// Whether the network is asked to acknowledge it.
    pub is_confirmed: bool,
}

/// A device behind a radio.
pub trait Gadget: Send {
    /// Returns what it says when its time has come; `unix_secs` is what its clock says.
    fn report(&mut self, unix_secs: u32) -> Message;

    /// Takes what it was told; returns its answer, where it has one.
    fn told(&mut self, f_port: u8, payload: &[u8]) -> Option<Message>;

    /// Returns how bright it is, in percent, where it is a lamp.
    fn level(&self) -> Option<u8> {
        None
    }
}
