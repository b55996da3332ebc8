//! What outlives the gateway: the readings that servers have not taken yet, and its state.
//!
//! A thread of its own carries out what is asked, strictly in order, and answers in that order, so that nobody else ever
//! waits for a disk. What cannot be written is told as such, and tried again by whoever asked and by the thread itself:
//! a disk that is full or broken costs durability, and never the live traffic.
//!
//! ```text
//!  state_dir/
//!    lock         held by the process that uses the folder, with its number
//!    state/       sled's database; state.bad-1 …: damaged ones
//!    snapshot     a copy of the state; snapshot.1: the one before
//!    reserve      space that is given up first when the disk is full
//!    buffer/      the segments of the log of readings
//! ```

mod files;
mod folder;
mod log;
mod state;
mod worker;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::error;
use ucifi_core::buffer::{Options, Reply, Request, Statistics};
use ucifi_core::state::{Kept, SaveRequest};

pub use files::FileDisk;
pub use folder::{FolderError, FolderLock};
pub use log::{buffer_folder, log_options};
pub use state::State;

use crate::limits::{READ_AGAIN, SETTLE, STORE_ANSWERS, STORE_ORDERS};
use worker::Worker;

/// Who wants something saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The core.
    Core,
    /// Whoever allots local ports.
    Ports,
    /// The radio network.
    Radio,
    /// Who saves nothing but wants to know whether the disk answers.
    Probe,
}

/// What became of something that was asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Of a request for the buffer; one request may have several.
    Buffer(Reply),
    /// Of something to be saved.
    Saved {
        /// Who wanted it.
        origin: Origin,
        /// The number of the request.
        id: u64,
        /// Whether it is durable, or why not.
        result: Result<(), String>,
    },
    /// What is kept, as a new gateway is to be told.
    Kept(Box<Kept>),
    /// The thread gets on with its work.
    Alive,
    /// The buffer could not be opened before and can be now: what is in it is known to whoever asks
    /// [`Store::restart`].
    BufferOpened,
}

/// How well things are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Why the buffer cannot be read or written, where it cannot.
    pub buffer_failure: Option<String>,
    /// Why the state cannot be written, where it cannot.
    pub state_failure: Option<String>,
    /// What the buffer holds; none while it is not open.
    pub statistics: Option<Statistics>,
}

/// Where it can be asked how well things are kept.
#[derive(Clone, Debug, Default)]
pub struct HealthWatch(Arc<Mutex<Health>>);

impl HealthWatch {
    /// Returns how it is.
    pub fn now(&self) -> Health {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, health: Health) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }
}

/// Why nothing can be kept in a folder at all.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// There is no thread to be had.
    #[error("cannot start the thread that writes to disk: {0}")]
    Thread(std::io::Error),
}

/// The thread that keeps things, seen from the event loop.
#[derive(Debug)]
pub struct Store {
    orders: SyncSender<Order>,
    /// What the thread has no room for yet: whoever asks bounds what it has asked and got no answer to.
    waiting: VecDeque<Order>,
    answers: mpsc::Receiver<Answer>,
    health: HealthWatch,
    thread: JoinHandle<()>,
}

/// What the thread is to do.
#[derive(Debug)]
enum Order {
    Buffer(Request),
    Save {
        origin: Origin,
        request: SaveRequest,
    },
    Restart(Options),
    /// Answered as soon as everything before it is done.
    Alive,
    /// What comes is the end, and whoever asked has saved all that there was.
    Close,
}

impl Store {
    /// Opens what is kept in a folder, which this process alone may then use; makes the folder where it is missing.
    ///
    /// # Errors
    /// When another process uses the folder, or it cannot be written to. A damaged or failing disk is no error.
    pub fn open(state_dir: &Path, options: Options) -> Result<(Self, Kept), StoreError> {
        let lock = FolderLock::take(state_dir)?;
        let health = HealthWatch::default();
        let (worker, kept) = Worker::open(state_dir, options, health.clone());
        let (orders, ordered) = sync_channel(STORE_ORDERS);
        let (answer, answers) = mpsc::channel(STORE_ANSWERS);
        let work = move || {
            worker.run(&ordered, &answer);
            // Nobody else may write before this thread has.
            drop(lock);
        };
        let thread = Builder::new()
            .name("store".to_owned())
            .spawn(work)
            .map_err(StoreError::Thread)?;
        let waiting = VecDeque::new();
        let store = Self {
            orders,
            waiting,
            answers,
            health,
            thread,
        };
        Ok((store, kept))
    }

    /// Asks something of the buffer.
    pub fn buffer(&mut self, request: Request) {
        self.order(Order::Buffer(request));
    }

    /// Has something made durable.
    pub fn save(&mut self, origin: Origin, request: SaveRequest) {
        self.order(Order::Save { origin, request });
    }

    /// Returns the next answer; none when the thread has ended, which it only does badly. Nothing is lost when this is
    /// dropped before it is ready.
    pub async fn next(&mut self) -> Option<Answer> {
        self.hand_over();
        self.answers.recv().await
    }

    /// Says where it can be asked how well things are kept.
    pub fn health(&self) -> HealthWatch {
        self.health.clone()
    }

    /// Reads what is kept again, for a new gateway with other options; answers to the old one are dropped. None when
    /// the thread has ended, or its disk does not answer: then this is of no use any more.
    pub async fn restart(&mut self, options: Options) -> Option<Kept> {
        self.restart_within(options, READ_AGAIN).await
    }

    async fn restart_within(&mut self, options: Options, patience: Duration) -> Option<Kept> {
        self.order(Order::Restart(options));
        let kept = async {
            loop {
                match self.next().await? {
                    Answer::Kept(kept) => return Some(*kept),
                    Answer::Buffer(_) | Answer::Saved { .. } | Answer::Alive | Answer::BufferOpened => {}
                }
            }
        };
        tokio::time::timeout(patience, kept).await.unwrap_or_else(|_| {
            error!("the disk does not answer: what is kept cannot be read for the new configuration");
            None
        })
    }

    /// Asks for a write that changes nothing: it is answered when the disk is.
    pub fn probe(&mut self) {
        let request = SaveRequest {
            id: 0,
            changes: Vec::new(),
            is_current: false,
        };
        self.save(Origin::Probe, request);
    }

    /// Asks for a sign of life, which touches no disk.
    pub fn ask_alive(&mut self) {
        self.order(Order::Alive);
    }

    /// Closes what is kept, when everything asked for is done. Says whether the thread ended well, in time: one whose
    /// disk does not answer is left behind.
    pub async fn close(self) -> bool {
        self.close_within(SETTLE).await
    }

    async fn close_within(mut self, patience: Duration) -> bool {
        self.order(Order::Close);
        let finish = async move {
            while !self.waiting.is_empty() && self.next().await.is_some() {}
            let Self {
                orders,
                mut answers,
                thread,
                ..
            } = self;
            drop(orders);
            // It lets go of its answers last of all.
            while answers.recv().await.is_some() {}
            thread
        };
        let Ok(thread) = tokio::time::timeout(patience, finish).await else {
            error!("the disk does not answer: what was not written by now may be lost");
            return false;
        };
        let joined = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
        joined.unwrap_or(false)
    }

    fn order(&mut self, order: Order) {
        self.waiting.push_back(order);
        self.hand_over();
    }

    fn hand_over(&mut self) {
        while let Some(order) = self.waiting.pop_front() {
            match self.orders.try_send(order) {
                Ok(()) => {}
                Err(TrySendError::Full(order)) => return self.waiting.push_front(order),
                // The end of the answers tells that the thread has ended.
                Err(TrySendError::Disconnected(_)) => return,
            }
        }
    }
}

#[cfg(test)]
impl Store {
    /// Returns one whose disk never answers.
    pub(crate) fn hanging() -> Self {
        let (orders, ordered) = sync_channel(STORE_ORDERS);
        let (answer, answers) = mpsc::channel(STORE_ANSWERS);
        let hang = move || {
            let _kept = (ordered, answer);
            loop {
                std::thread::park();
            }
        };
        Self {
            orders,
            waiting: VecDeque::new(),
            answers,
            health: HealthWatch::default(),
            thread: std::thread::spawn(hang),
        }
    }
}

#[cfg(test)]
mod tests;
