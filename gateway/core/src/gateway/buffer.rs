//! The buffer's side of the gateway: what is made durable, what is loaded again, what had to go.

use crate::Now;
use crate::buffer::Reply;
use crate::gateway::Gateway;
use crate::output::Event;

impl Gateway {
    /// Takes what became of a request to the buffer; in the order of the requests.
    pub fn handle_buffer(&mut self, reply: Reply, _now: Now) {
        match reply {
            Reply::Gap(gap) => self.event(Event::Gap { endpoint: None, gap }),
            Reply::Committed { .. } | Reply::Loaded { .. } | Reply::Dropped { .. } => {}
        }
    }
}
