//! The thread that keeps things: it owns the log of readings and the state, and does one thing after the other.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tracing::{error, info};
use ucifi_core::buffer::{Commit, Contents, DiskError, Gap, Log, Moment, Options, Reply, Request};
use ucifi_core::state::Kept;

use super::{Answer, FileDisk, Health, HealthWatch, Order, State, buffer_folder};

/// The pause before a buffer that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// More readings than a gateway ever takes.
const FAR_AHEAD: u64 = 1 << 48;

/// Stands for the number of this start while the buffer, which has it, cannot be opened: the first start has number 1.
const UNKNOWN_START: u32 = 0;

/// More readings than a gateway takes in a millisecond.
const READINGS_PER_MS: u64 = 16;

pub(super) struct Worker {
    folder: PathBuf,
    options: Options,
    state: State,
    buffer: Buffer,
    /// What was missing in the buffer when it could be opened after all, for whoever asks for what is in it.
    untold: Vec<Gap>,
    /// Why the last commit failed, where it did.
    commit_failure: Option<DiskError>,
    /// Whether the end that comes is an orderly one.
    is_orderly: bool,
    health: HealthWatch,
}

/// The log of readings.
enum Buffer {
    Open {
        log: Box<Log<FileDisk>>,
        /// The number of this start of the process.
        boot: u32,
    },
    /// It cannot be read, let alone written.
    Closed { reason: String, retry_at: Instant },
}

impl Worker {
    /// Opens what is kept in a folder, as far as it can be opened.
    pub(super) fn open(state_dir: &Path, options: Options, health: HealthWatch) -> (Self, Kept) {
        let now = Instant::now();
        let state = State::open(state_dir, now);
        let folder = buffer_folder(state_dir);
        let (buffer, contents) = open_buffer(&folder, &options, now);
        let worker = Self {
            folder,
            options,
            state,
            buffer,
            untold: Vec::new(),
            commit_failure: None,
            is_orderly: false,
            health,
        };
        worker.tell_health();
        let saved = worker.state.saved();
        (worker, Kept { saved, contents })
    }

    /// Works until nobody is left who could ask for anything.
    pub(super) fn run(mut self, orders: &Receiver<Order>, answers: &mpsc::Sender<Answer>) {
        // Who asked may have gone away: what was asked is done all the same.
        let answer = |answer| {
            answers.blocking_send(answer).ok();
        };
        loop {
            let wait = self.poll_timeout().saturating_duration_since(Instant::now());
            match orders.recv_timeout(wait) {
                Ok(order) => self.handle(order, answer),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.handle_timeout(answer);
            self.tell_health();
        }
        self.state.close(self.is_orderly, Instant::now());
    }

    fn handle(&mut self, order: Order, answer: impl Fn(Answer)) {
        match order {
            Order::Buffer(request) => {
                for reply in self.carry_out(request) {
                    if let Reply::Committed { result, .. } = &reply {
                        self.commit_failure = result.clone().err();
                    }
                    answer(Answer::Buffer(reply));
                }
            }
            Order::Save { origin, request } => {
                let result = self.state.save(&request, Instant::now());
                let id = request.id;
                answer(Answer::Saved { origin, id, result });
            }
            Order::Alive => answer(Answer::Alive),
            Order::Close => self.is_orderly = true,
            Order::Restart(options) => {
                self.options = options;
                answer(Answer::Kept(Box::new(self.restart())));
            }
        }
    }

    fn handle_timeout(&mut self, answer: impl Fn(Answer)) {
        let now = Instant::now();
        self.state.handle_timeout(now);
        self.retry_buffer(now, answer);
    }

    /// Opens a buffer that could not be opened before. Whoever hears of it asks for what is in it; until then it takes
    /// what there is in memory, whose numbers are beyond all that it can hold.
    fn retry_buffer(&mut self, now: Instant, answer: impl Fn(Answer)) {
        let Buffer::Closed { retry_at, .. } = &mut self.buffer else {
            return;
        };
        if now < *retry_at {
            return;
        }
        *retry_at = now + RETRY;
        if let Ok((log, contents)) = open_log(&self.folder, &self.options) {
            info!("the buffer can be opened again");
            self.untold.extend(contents.gaps);
            let (log, boot) = (Box::new(log), contents.boot);
            self.buffer = Buffer::Open { log, boot };
            answer(Answer::BufferOpened);
        }
    }

    fn poll_timeout(&self) -> Instant {
        let state = self.state.poll_timeout();
        match &self.buffer {
            Buffer::Open { .. } => state,
            Buffer::Closed { retry_at, .. } => state.min(*retry_at),
        }
    }

    fn carry_out(&mut self, mut request: Request) -> Vec<Reply> {
        let reason = match &mut self.buffer {
            Buffer::Open { log, boot } => {
                if let Request::Commit(commit) = &mut request {
                    name_start(commit, *boot);
                }
                return log.handle(request);
            }
            Buffer::Closed { reason, .. } => reason.clone(),
        };
        let failed = DiskError::Failed(reason);
        vec![match request {
            Request::Commit(commit) => Reply::Committed {
                id: commit.id,
                result: Err(failed),
            },
            Request::Load { debt, from, .. } => Reply::Loaded {
                debt,
                from,
                result: Err(failed),
            },
            Request::DropOlder { .. } => Reply::Dropped { count: 0 },
        }]
    }

    /// Opens the buffer again: that tells what is in it, as at a start.
    fn restart(&mut self) -> Kept {
        let now = Instant::now();
        // Two must not have the files open at once.
        self.buffer = Buffer::Closed {
            reason: String::new(),
            retry_at: now,
        };
        let (buffer, mut contents) = open_buffer(&self.folder, &self.options, now);
        self.buffer = buffer;
        self.commit_failure = None;
        self.untold.retain(|gap| !contents.gaps.contains(gap));
        contents.gaps.append(&mut self.untold);
        let saved = self.state.saved();
        Kept { saved, contents }
    }

    fn tell_health(&self) {
        let failure = self.commit_failure.as_ref().map(ToString::to_string);
        let (buffer_failure, statistics) = match &self.buffer {
            Buffer::Open { log, .. } => (failure, Some(log.statistics())),
            Buffer::Closed { reason, .. } => (Some(reason.clone()), None),
        };
        self.health.set(Health {
            buffer_failure,
            state_failure: self.state.failure().map(str::to_owned),
            statistics,
        });
    }
}

fn open_buffer(folder: &Path, options: &Options, now: Instant) -> (Buffer, Contents) {
    match open_log(folder, options) {
        Ok((log, contents)) => {
            let (log, boot) = (Box::new(log), contents.boot);
            (Buffer::Open { log, boot }, contents)
        }
        Err(reason) => {
            error!(
                reason,
                "the buffer cannot be opened: readings wait in memory only, and are lost at a restart"
            );
            let retry_at = now + RETRY;
            (Buffer::Closed { reason, retry_at }, unknown())
        }
    }
}

fn open_log(folder: &Path, options: &Options) -> Result<(Log<FileDisk>, Contents), String> {
    let disk = FileDisk::open(folder).map_err(|error| error.to_string())?;
    let (mut log, mut contents) = Log::open(disk, options.clone()).map_err(|error| error.to_string())?;
    begin(&mut log, &mut contents);
    Ok((log, contents))
}

/// Makes the number of this start durable, which the log does with the next commit only: a run in which no server was
/// ever away has a number of its own too. A disk that does not take it says so again at the first reading.
fn begin(log: &mut Log<FileDisk>, contents: &mut Contents) {
    let commit = Commit {
        next_seq: contents.next_seq,
        ..Commit::default()
    };
    for reply in log.handle(Request::Commit(commit)) {
        if let Reply::Gap(gap) = reply {
            contents.gaps.push(gap);
        }
    }
}

/// Gives readings the number of this start that were taken before it was known: the buffer could not be opened then.
fn name_start(commit: &mut Commit, known: u32) {
    let batches = commit.batches.iter_mut();
    for record in batches.flat_map(|batch| &mut batch.records) {
        if let Moment::Boot { boot, .. } = &mut record.moment
            && *boot == UNKNOWN_START
        {
            *boot = known;
        }
    }
}

/// Returns what is told of a buffer that cannot be read: the numbers of new readings are beyond all that were ever
/// given, so that they stay apart when it can be read after all.
fn unknown() -> Contents {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ms = u64::try_from(since_1970.as_millis()).unwrap_or_default();
    Contents {
        boot: UNKNOWN_START,
        next_seq: FAR_AHEAD.saturating_add(ms.saturating_mul(READINGS_PER_MS)),
        ..Contents::default()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use lwm2m_client::Value;
    use ucifi_core::buffer::{Batch, Debt, PointClass, Record, Stream};

    use super::*;

    #[test]
    fn a_buffer_that_can_be_opened_after_all_is_told_once_and_takes_readings() {
        let folder = tempfile::tempdir().unwrap();
        let buffer = buffer_folder(folder.path());
        // What is no folder fails as a disk does whose folder cannot be read.
        std::fs::write(&buffer, "").unwrap();
        let (mut worker, kept) = Worker::open(folder.path(), Options::default(), HealthWatch::default());
        let commit = || {
            Request::Commit(Commit {
                next_seq: kept.contents.next_seq,
                ..Commit::default()
            })
        };
        let is_taken = |replies: Vec<Reply>| matches!(replies[..], [Reply::Committed { result: Ok(()), .. }]);
        assert!(!is_taken(worker.carry_out(commit())));
        let answers = RefCell::default();
        let answer = |answer| RefCell::<Vec<Answer>>::borrow_mut(&answers).push(answer);
        let mut due = Instant::now() + RETRY;
        worker.retry_buffer(due, answer);
        assert_eq!(answers.take(), []);
        std::fs::remove_file(&buffer).unwrap();
        for expected in [vec![Answer::BufferOpened], vec![]] {
            due += RETRY;
            worker.retry_buffer(due, answer);
            assert_eq!(answers.take(), expected);
        }
        assert!(is_taken(worker.carry_out(commit())));
        assert!(worker.restart().contents.next_seq >= kept.contents.next_seq);
    }

    fn reading(seq: u64, boot: u32) -> Request {
        let record = Record {
            seq,
            path: "/3421/0/1".parse().unwrap(),
            value: Value::String(format!("reading {seq}")),
            moment: Moment::Boot { boot, ms: 5 },
        };
        let stream = Stream {
            device: "meter".into(),
            class: PointClass::Measurement,
        };
        let batch = Batch {
            stream,
            accounts: vec!["city".into()],
            records: vec![record],
        };
        Request::Commit(Commit {
            next_seq: seq + 1,
            batches: vec![batch],
            ..Commit::default()
        })
    }

    /// Opens a folder in which the buffer can be opened at the second attempt only.
    fn late(folder: &Path) -> (Worker, Contents) {
        let (buffer, aside) = (buffer_folder(folder), folder.join("aside"));
        let is_there = std::fs::rename(&buffer, &aside).is_ok();
        std::fs::write(&buffer, "").unwrap();
        let (mut worker, kept) = Worker::open(folder, Options::default(), HealthWatch::default());
        std::fs::remove_file(&buffer).unwrap();
        if is_there {
            std::fs::rename(&aside, &buffer).unwrap();
        }
        worker.retry_buffer(Instant::now() + RETRY, |_| {});
        assert!(matches!(worker.buffer, Buffer::Open { .. }));
        (worker, kept.contents)
    }

    #[test]
    fn readings_taken_before_the_buffer_could_be_opened_belong_to_this_start() {
        let folder = tempfile::tempdir().unwrap();
        let (mut worker, contents) = late(folder.path());
        let Buffer::Open { boot, .. } = worker.buffer else {
            panic!("it is not open");
        };
        let first = contents.next_seq;
        worker.carry_out(reading(first, contents.boot));
        let stream = Stream {
            device: "meter".into(),
            class: PointClass::Measurement,
        };
        let account = "city".into();
        let replies = worker.carry_out(Request::Load {
            debt: Debt { account, stream },
            from: first,
            limit: 1,
        });
        let [
            Reply::Loaded {
                result: Ok(loaded), ..
            },
        ] = &replies[..]
        else {
            panic!("{replies:?}");
        };
        assert_eq!(loaded[0].moment, Moment::Boot { boot, ms: 5 });
    }

    #[test]
    fn what_is_missing_in_a_buffer_that_is_opened_late_is_told_with_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let (mut worker, kept) = Worker::open(folder.path(), Options::default(), HealthWatch::default());
        let first = kept.contents.next_seq;
        for seq in first..first + 3 {
            worker.carry_out(reading(seq, kept.contents.boot));
        }
        drop(worker);
        let segment = buffer_folder(folder.path()).join("segment-0000");
        let mut bytes = std::fs::read(&segment).unwrap();
        // Not the first one, whose frame has the names.
        let text = format!("reading {}", first + 1).into_bytes();
        let place = bytes.windows(text.len()).position(|bytes| bytes == text).unwrap();
        bytes[place] ^= 0xff;
        std::fs::write(&segment, bytes).unwrap();
        let (mut worker, _) = late(folder.path());
        let contents = worker.restart().contents;
        assert_eq!(contents.gaps.len(), 1, "{:?}", contents.gaps);
        for seq in contents.next_seq..contents.next_seq + 2 {
            worker.carry_out(reading(seq, contents.boot));
        }
        assert_eq!(worker.restart().contents.gaps, [], "once it is known");
    }

    #[test]
    fn readings_that_are_numbered_without_the_buffer_are_beyond_all_others() {
        let day = 86_400 * 1_000 * READINGS_PER_MS;
        assert!(
            unknown().next_seq > FAR_AHEAD + 19_000 * day,
            "the days since 1970"
        );
        assert!(unknown().next_seq < u64::MAX / 2);
    }
}
