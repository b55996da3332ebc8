//! The gateway between peers that others wrote: pymodbus units on a serial line, and a Leshan server.
//!
//! `.ci/run` installs the peers and sets `UCIFI_LESHAN` and `UCIFI_PYTHON`; the feature `interop` builds the suite.

mod cabinet;
mod json_process;
mod leshan;
mod outage;
mod street;
mod wiretap;
