//! The real buffer and the real state in a folder, in one of two ways.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use tokio::runtime::Runtime;
use ucifi_core::buffer::log::{Log, Options};
use ucifi_core::buffer::{Reply, Request};
use ucifi_core::state::{Kept, SaveRequest};
use ucifi_gateway::store::{Answer, FileDisk, Origin, State, Store, buffer_folder};

/// How much later it is at every save, so that the state makes copies of itself in every life.
const LATER: Duration = Duration::from_secs(20);

pub(crate) enum Keeper {
    /// The parts, with a clock of their own.
    Parts {
        log: Box<Log<FileDisk>>,
        state: Box<State>,
        now: Instant,
    },
    /// The thread that the gateway has.
    Thread { store: Box<Store>, runtime: Runtime },
}

impl Keeper {
    pub(crate) fn open(folder: &Path, options: Options, is_thread: bool) -> anyhow::Result<(Self, Kept)> {
        if is_thread {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()?;
            let (store, kept) = Store::open(folder, options)?;
            let store = Box::new(store);
            return Ok((Self::Thread { store, runtime }, kept));
        }
        let now = Instant::now();
        let state = Box::new(State::open(folder, now));
        let (log, contents) = Log::open(FileDisk::open(&buffer_folder(folder))?, options)?;
        let saved = state.saved();
        let log = Box::new(log);
        Ok((Self::Parts { log, state, now }, Kept { saved, contents }))
    }

    /// Asks the buffer, and returns all that it says until it has answered.
    pub(crate) fn request(&mut self, request: Request) -> anyhow::Result<Vec<Reply>> {
        match self {
            Self::Parts { log, .. } => Ok(log.handle(request)),
            Self::Thread { store, runtime } => {
                store.buffer(request);
                let mut replies = Vec::new();
                while replies.iter().all(|reply| matches!(reply, Reply::Gap(_))) {
                    if let Answer::Buffer(reply) = next(store, runtime)? {
                        replies.push(reply);
                    }
                }
                Ok(replies)
            }
        }
    }

    pub(crate) fn save(&mut self, request: SaveRequest) -> anyhow::Result<()> {
        match self {
            Self::Parts { state, now, .. } => {
                *now += LATER;
                let result = state.apply(&request.changes, *now);
                state.handle_timeout(*now);
                result.map_err(|reason| anyhow!(reason))
            }
            Self::Thread { store, runtime } => {
                store.save(Origin::Core, request);
                loop {
                    if let Answer::Saved { result, .. } = next(store, runtime)? {
                        return result.map_err(|reason| anyhow!(reason));
                    }
                }
            }
        }
    }

    /// Closes in order.
    pub(crate) fn close(self) -> anyhow::Result<()> {
        match self {
            Self::Parts { state, now, .. } => state.close(true, now),
            Self::Thread { store, runtime } => {
                let ended_well = runtime.block_on(store.close());
                anyhow::ensure!(ended_well, "the thread of the store has panicked");
            }
        }
        Ok(())
    }
}

fn next(store: &mut Store, runtime: &Runtime) -> anyhow::Result<Answer> {
    runtime
        .block_on(store.next())
        .context("the thread of the store has ended")
}
