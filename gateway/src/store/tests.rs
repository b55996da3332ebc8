//! The thread as the event loop sees it: in order, answered, and alive whatever becomes of the disk.

use std::fs;

use lwm2m_client::{Path as ResourcePath, Timestamp, Value};
use ucifi_core::buffer::{Batch, Commit, Debt, Moment, PointClass, Record, Stream};
use ucifi_core::state::Change;

use super::*;

fn stream() -> Stream {
    Stream {
        device: "meter".into(),
        class: PointClass::Measurement,
    }
}

fn debt() -> Debt {
    Debt {
        account: "city".into(),
        stream: stream(),
    }
}

fn record(seq: u64) -> Record {
    Record {
        seq,
        path: ResourcePath::resource(3421, 0, 1),
        value: Value::Float(230.0 + seq as f64),
        moment: Moment::Wall(Timestamp::from_unix_ms(1_700_000_000_000 + seq as i64)),
    }
}

fn commit(id: u64, seqs: std::ops::RangeInclusive<u64>) -> Request {
    let batch = Batch {
        stream: stream(),
        accounts: vec!["city".into()],
        records: seqs.clone().map(record).collect(),
    };
    Request::Commit(Commit {
        id,
        next_seq: seqs.end() + 1,
        batches: vec![batch],
        ..Commit::default()
    })
}

fn save(id: u64, name: &str, value: &str) -> SaveRequest {
    let change = Change {
        name: name.to_owned(),
        value: Some(value.as_bytes().to_vec()),
    };
    SaveRequest {
        id,
        changes: vec![change],
        is_current: false,
    }
}

fn open(folder: &Path) -> (Store, Kept) {
    Store::open(folder, Options::default()).unwrap()
}

#[tokio::test]
async fn everything_is_answered_in_order_however_much_is_asked_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, kept) = open(folder.path());
    assert_eq!(kept.contents.debts, []);
    let first = kept.contents.next_seq;
    let count = 2 * (STORE_ORDERS + STORE_ANSWERS) as u64;
    for n in 0..count {
        store.buffer(commit(n, first + n..=first + n));
        store.save(Origin::Core, save(n, "a", &n.to_string()));
    }
    for n in 0..count {
        let committed = Reply::Committed {
            id: n,
            result: Ok(()),
        };
        assert_eq!(store.next().await, Some(Answer::Buffer(committed)));
        let saved = Answer::Saved {
            origin: Origin::Core,
            id: n,
            result: Ok(()),
        };
        assert_eq!(store.next().await, Some(saved));
    }
    assert!(store.close().await);
}

#[tokio::test]
async fn what_was_kept_is_told_at_the_next_start_and_to_a_new_engine() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, kept) = open(folder.path());
    let first = kept.contents.next_seq;
    store.buffer(commit(1, first..=first + 4));
    store.save(Origin::Ports, save(1, "a", "1"));
    let same = store.restart(Options::default()).await.unwrap();
    let owed = |kept: &Kept| {
        let owing = kept.contents.debts.first().unwrap();
        (
            owing.debt.clone(),
            owing.count,
            owing.first,
            kept.contents.next_seq,
        )
    };
    assert_eq!(owed(&same), (debt(), 5, first, first + 5));
    assert_eq!(same.saved.values["a"], b"1");
    // What is asked for last is done before the end.
    store.save(Origin::Core, save(2, "b", "2"));
    assert!(store.close().await);
    let (mut store, next) = open(folder.path());
    assert_eq!(owed(&next), owed(&same));
    assert_eq!(
        next.contents.boot,
        same.contents.boot + 1,
        "also where nothing was written"
    );
    assert_eq!(next.saved.values["b"], b"2");
    store.buffer(Request::Load {
        debt: debt(),
        from: first,
        limit: 2,
    });
    let Some(Answer::Buffer(Reply::Loaded { result, .. })) = store.next().await else {
        panic!("nothing was loaded");
    };
    let seqs: Vec<u64> = result.unwrap().iter().map(|loaded| loaded.seq).collect();
    assert_eq!(seqs, [first, first + 1]);
    assert!(store.close().await);
}

#[tokio::test]
async fn two_do_not_keep_things_in_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let error = Store::open(folder.path(), Options::default()).unwrap_err();
    assert!(
        matches!(error, StoreError::Folder(FolderError::InUse { .. })),
        "{error}"
    );
    assert!(store.close().await);
    assert!(open(folder.path()).0.close().await);
}

#[tokio::test]
async fn a_buffer_that_cannot_be_opened_refuses_and_takes_readings_when_it_can() {
    let folder = tempfile::tempdir().unwrap();
    // What is no folder fails as a disk does whose folder cannot be read.
    fs::write(buffer_folder(folder.path()), "").unwrap();
    let (mut store, kept) = open(folder.path());
    let first = kept.contents.next_seq;
    store.buffer(commit(1, first..=first));
    let Some(Answer::Buffer(Reply::Committed { id: 1, result })) = store.next().await else {
        panic!("no answer");
    };
    assert!(result.is_err());
    let health = store.health().now();
    assert!(
        health.buffer_failure.is_some() && health.state_failure.is_none(),
        "{health:?}"
    );
    store.save(Origin::Core, save(1, "a", "1"));
    let saved = store.next().await;
    assert!(
        matches!(saved, Some(Answer::Saved { result: Ok(()), .. })),
        "{saved:?}"
    );

    fs::remove_file(buffer_folder(folder.path())).unwrap();
    let kept = store.restart(Options::default()).await.unwrap();
    let first = first.max(kept.contents.next_seq);
    store.buffer(commit(2, first..=first));
    let committed = Reply::Committed {
        id: 2,
        result: Ok(()),
    };
    assert_eq!(store.next().await, Some(Answer::Buffer(committed)));
    assert!(store.close().await);
}

#[tokio::test]
async fn a_disk_that_does_not_answer_does_not_keep_anybody_from_ending() {
    assert!(!Store::hanging().close_within(Duration::from_millis(20)).await);
}

#[tokio::test]
async fn a_disk_that_does_not_answer_is_not_waited_for_by_a_new_configuration() {
    let mut store = Store::hanging();
    let kept = store
        .restart_within(Options::default(), Duration::from_millis(20))
        .await;
    assert_eq!(kept, None);
}

#[tokio::test]
async fn a_probe_is_answered_when_all_that_was_asked_before_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(folder.path());
    store.save(Origin::Core, save(1, "a", "1"));
    store.probe();
    for expected in [Origin::Core, Origin::Probe] {
        let Some(Answer::Saved { origin, result, .. }) = store.next().await else {
            panic!("no answer");
        };
        assert_eq!((origin, result), (expected, Ok(())));
    }
    assert!(store.close().await);
}
