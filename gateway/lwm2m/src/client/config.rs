//! What a client is told once, before it starts.

use crate::coap::TransmissionParameters;
use crate::object::EnablerVersion;

/// When to register again after a failure: the resources 17 to 20 of object 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts of one sequence (/1/x/17).
    pub attempts: u32,
    /// Seconds before the second attempt, doubled before each further one (/1/x/18).
    pub timer_secs: u32,
    /// Seconds between two sequences (/1/x/19).
    pub sequence_delay_secs: u32,
    /// Sequences before the client gives up (/1/x/20).
    pub sequences: u32,
}

impl Default for RetryPolicy {
    /// Quicker than the standard's own (60 s, doubled four times, then a day of silence), because nobody drives to a
    /// cabinet whose server was rebooted, and without end, because there is no bootstrap server to fall back on.
    fn default() -> Self {
        Self {
            attempts: 6,
            timer_secs: 5,
            sequence_delay_secs: 300,
            sequences: u32::MAX,
        }
    }
}

/// The account of one client at one server.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientConfig {
    /// The endpoint name.
    pub endpoint: String,
    /// The server, as in `coap://host:5683`; a path in it goes before `/rd`.
    pub server_uri: String,
    /// The short server id (/1/0/0).
    pub short_server_id: u16,
    /// Seconds after which the server forgets a silent client; 0 for never (/1/0/1).
    pub lifetime_secs: u32,
    /// The highest version that is announced.
    pub version: EnablerVersion,
    /// The minimum period of observations without a `pmin` of their own (/1/0/2).
    pub default_pmin_secs: Option<u32>,
    /// The maximum period of observations without a `pmax` of their own (/1/0/3).
    pub default_pmax_secs: Option<u32>,
    /// Whether notifications are kept while the server is away (/1/0/6).
    pub notification_storing: bool,
    /// Whether Send is disabled (/1/0/23).
    pub mute_send: bool,
    /// Whether every notification is confirmable.
    pub confirmable_notifications: bool,
    /// Further parameters of the Register, for example `gw=cab-17`.
    pub register_query: Vec<(String, String)>,
    /// Whether message ids are used only after they were made durable, with [`Event::SaveDue`](super::Event::SaveDue)
    /// and [`Client::handle_saved`](super::Client::handle_saved), so that none is used twice across a crash.
    pub reserves_message_ids: bool,
    /// How long CoAP waits, and how often it repeats.
    pub transmission: TransmissionParameters,
    /// When to try again.
    pub retry: RetryPolicy,
}

impl ClientConfig {
    /// Returns an account with the defaults: lifetime a day, LwM2M 1.1, notifications stored, Send allowed.
    pub fn new(endpoint: impl Into<String>, server_uri: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            server_uri: server_uri.into(),
            short_server_id: 1,
            lifetime_secs: 86_400,
            version: EnablerVersion::V1_1,
            default_pmin_secs: None,
            default_pmax_secs: None,
            notification_storing: true,
            mute_send: false,
            confirmable_notifications: false,
            register_query: Vec::new(),
            reserves_message_ids: false,
            transmission: TransmissionParameters::default(),
            retry: RetryPolicy::default(),
        }
    }
}
