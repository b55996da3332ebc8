//! How the server behaves, well or badly.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use lwm2m_client::Path;

use super::request::Code;

/// What a test may change about the server while it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Manners {
    /// The newest enabler version that it accepts, as in `1.1`; a newer one gets 4.12.
    pub newest_version: String,
    /// It refuses every Register with this code.
    pub refuse_register: Option<Code>,
    /// It refuses the Registers of these endpoints, each with a code.
    pub refuse_register_of: BTreeMap<String, Code>,
    /// It refuses every Send with this code.
    pub refuse_send: Option<Code>,
    /// It refuses the next Sends with these codes, one each.
    pub refuse_next_sends: VecDeque<Code>,
    /// It observes these paths of every client that has them, each time it registers.
    pub observe: Vec<Path>,
    /// The format it asks for in these observations; none leaves the choice to the client.
    pub observe_format: Option<u16>,
    /// It takes nothing and says nothing.
    pub silent: bool,
    /// It answers what a client asks so much later, with the acknowledgement.
    pub answer_after: Duration,
    /// It acknowledges what a client asks at once and answers, so much later, with a message of its own.
    pub separate: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            newest_version: "1.1".to_owned(),
            refuse_register: None,
            refuse_register_of: BTreeMap::new(),
            refuse_send: None,
            refuse_next_sends: VecDeque::new(),
            observe: Vec::new(),
            observe_format: None,
            silent: false,
            answer_after: Duration::ZERO,
            separate: false,
        }
    }
}
