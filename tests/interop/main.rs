//! The gateway between peers that others wrote: pymodbus units on a serial line, a mosquitto, and a Leshan server.
//!
//! `.ci/run` installs the peers and sets `UCIFI_LESHAN` and `UCIFI_PYTHON`; the feature `interop` builds the suite.

mod arrivals;
mod broker;
mod cabinet;
mod json_process;
mod kills;
mod leshan;
mod mosquitto;
mod mqtt_relay;
mod outage;
mod street;
mod three_links;
mod wiretap;
