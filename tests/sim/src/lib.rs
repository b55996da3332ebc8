//! The world around the gateway, made up: field devices on serial lines, a network, a clock and an LwM2M server.
//!
//! Everything here is a state machine like the gateway's own engines: `handle_*` in, `poll_*` out, the clock is an
//! argument, randomness is seeded. [`server::io`] runs the server on a UDP socket and [`serial_line::pty`] a line
//! on a pseudo-terminal, so that the real gateway can be run against them.
//! Nothing in here shares code with what it judges: CoAP exchanges, registration and Modbus framing are written anew.
//! The object table and the payload formats are the client's own; foreign vectors judge those.
//!
//! | module | what it is for |
//! |---|---|
//! | [`clock`] | simulated time: a monotonic clock, and a wall clock that may be unset or jump |
//! | [`network`] | datagrams with delay, loss, duplication and reordering |
//! | [`modbus_unit`] | Modbus units with registers whose values move |
//! | [`serial_line`] | several units on one line, with pacing and faults |
//! | [`radio`] | LoRaWAN devices, packet forwarders and the air between them |
//! | [`mqtt`] | an MQTT broker, and gadgets at it |
//! | [`server`] | an LwM2M server |
//! | [`disk`], [`state`] | a disk and a state store that lose, tear, fill up and fail |
//! | [`ledger`] | what became of every reading |
//! | [`cabinet`] | all of it around the gateway's engines, in one loop |

pub mod cabinet;
pub mod clock;
pub mod disk;
pub mod ledger;
pub mod limits;
pub mod modbus_unit;
pub mod mqtt;
pub mod network;
pub mod radio;
pub mod serial_line;
pub mod server;
pub mod state;
