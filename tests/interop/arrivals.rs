//! A simulated LwM2M server that notes every number that arrives, with the times that it comes with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyhow::Context;
use lwm2m_client::object::ObjectTable;
use lwm2m_client::{Path, Value};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use ucifi_sim::server::io::{Handle, start};
use ucifi_sim::server::{Event, LwM2mServer, Origin, ServerRequest, Transmission};

/// Where a gadget shows its number.
pub(crate) const NUMBER: Path = Path::resource(3300, 0, 5700);

/// By number the times that it came with, in milliseconds since 1970.
type Times = BTreeMap<u32, Vec<i64>>;

pub(crate) struct Arrivals {
    pub(crate) port: u16,
    handle: Handle,
    times: Arc<Mutex<Times>>,
}

/// How often a number came more than once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Duplicates {
    /// The same reading once more: with the same time.
    pub(crate) of_one_time: usize,
    /// Its message was taken once more: with another time.
    pub(crate) of_another_time: usize,
}

impl Arrivals {
    pub(crate) fn start(runtime: &Runtime) -> anyhow::Result<Self> {
        let server = LwM2mServer::new(Arc::new(ObjectTable::builtin()), Transmission::default(), 1);
        let running = runtime.block_on(start(([127, 0, 0, 1], 0).into(), server))?;
        let times = Arc::<Mutex<Times>>::default();
        runtime.spawn(note(running.events, Arc::clone(&times)));
        Ok(Self {
            port: running.address.port(),
            handle: running.handle,
            times,
        })
    }

    /// Lets the server take nothing and say nothing, or be there again.
    pub(crate) fn be_silent(&self, runtime: &Runtime, silent: bool) -> anyhow::Result<()> {
        let change = self.handle.change(move |manners| manners.silent = silent);
        runtime.block_on(change).context("the server has stopped")
    }

    /// Returns what an endpoint shows as its number; none where it shows none or is not there.
    pub(crate) fn read(&self, runtime: &Runtime, endpoint: &str) -> Option<String> {
        let read = ServerRequest::Read {
            path: NUMBER,
            accept: Some(0),
        };
        let answer = runtime.block_on(self.handle.request(endpoint, read)).ok()?;
        answer.code.is_success().then(|| answer.text())
    }

    /// Says whether a number has arrived.
    pub(crate) fn has(&self, number: u32) -> bool {
        self.times().contains_key(&number)
    }

    /// Returns the numbers below `end` that have not arrived.
    pub(crate) fn missing(&self, end: u32) -> Vec<u32> {
        let times = self.times();
        (0..end).filter(|number| !times.contains_key(number)).collect()
    }

    pub(crate) fn duplicates(&self) -> Duplicates {
        let mut all = Duplicates::default();
        for times in self.times().values() {
            let mut different = times.clone();
            different.sort_unstable();
            different.dedup();
            all.of_one_time += times.len() - different.len();
            all.of_another_time += different.len() - 1;
        }
        all
    }

    fn times(&self) -> std::sync::MutexGuard<'_, Times> {
        self.times.lock().expect("nobody panics while it is held")
    }
}

async fn note(mut events: mpsc::Receiver<Event>, times: Arc<Mutex<Times>>) {
    while let Some(event) = events.recv().await {
        let Some((Origin::Send, values)) = event.received() else {
            continue;
        };
        for value in values.iter().filter(|value| value.path == NUMBER) {
            if let Value::Float(number) = value.value {
                let time = value.time.map_or(0, |time| time.unix_ms());
                let mut times = times.lock().expect("nobody panics while it is held");
                times.entry(number as u32).or_default().push(time);
            }
        }
    }
}
