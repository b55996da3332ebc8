//! A disk that fails costs what would have been kept, and tells of it.

use super::*;

#[test]
fn a_disk_that_fails_is_told_once_and_costs_nothing_while_there_is_memory() {
    let mut cabinet = keeping();
    cabinet.is_connected = false;
    disk(&mut cabinet).failure = Some(DiskError::Full);
    let mut measured = measure(&mut cabinet, 0..100);
    let failed = |event: &Event| matches!(event, Event::BufferFailed { .. });
    let works = |event: &Event| matches!(event, Event::BufferWorks);
    assert_eq!((count(&cabinet, failed), count(&cabinet, works)), (1, 0));
    assert_eq!(status(&cabinet, METER).buffered, 0);
    disk(&mut cabinet).failure = None;
    measured.extend(measure(&mut cabinet, 100..200));
    assert_eq!((count(&cabinet, failed), count(&cabinet, works)), (1, 1));
    assert!(status(&cabinet, METER).buffered > 180);
    disk(&mut cabinet).failure = Some(DiskError::Failed("EIO".to_owned()));
    cabinet.is_connected = true;
    cabinet.run_ms(200_000);
    assert!(status(&cabinet, METER).buffered > 0, "it cannot be read");
    disk(&mut cabinet).failure = None;
    cabinet.run_ms(200_000);
    let mut got = currents(&cabinet, METER);
    got.sort_unstable();
    assert_eq!(got, measured);
    assert!(adds_up(&status(&cabinet, METER), 0));
}

#[test]
fn a_disk_that_failed_is_tried_with_little_and_gets_the_rest_when_it_works() {
    let mut cabinet = keeping();
    away_for_long(&mut cabinet);
    disk(&mut cabinet).failure = Some(DiskError::Failed("EIO".to_owned()));
    for step in 0..2_000 {
        cabinet.uplink(1, words(1, &[step]));
    }
    cabinet.run_ms(30_000);
    let before = disk(&mut cabinet).commits.len();
    disk(&mut cabinet).failure = None;
    cabinet.run_ms(5_000);
    let commits = &disk(&mut cabinet).commits[before..];
    let readings = |place: usize| -> usize { commits[place].batches.iter().map(|b| b.records.len()).sum() };
    assert!(readings(0) <= limits::TRIAL_COMMIT_BYTES / 8, "{}", readings(0));
    assert!(
        readings(0) + readings(1) >= 2_000,
        "{} and {}",
        readings(0),
        readings(1)
    );
}

#[test]
fn when_the_memory_is_full_and_the_disk_fails_the_oldest_goes_and_is_told() {
    let mut cabinet = keeping();
    cabinet.is_connected = false;
    disk(&mut cabinet).failure = Some(DiskError::Full);
    for step in 0..limits::MAX_QUEUED_READINGS {
        cabinet.uplink(1, words(1, &[u16::from(step % 2 == 0)]));
        if step % 8_000 == 0 {
            cabinet.run_ms(3_000);
        }
    }
    let status = status(&cabinet, METER);
    assert!(status.waiting <= limits::MAX_QUEUED_READINGS, "{status:?}");
    assert!(status.totals.dropped > 0 && adds_up(&status, 0), "{status:?}");
    let dropped = |event: &Event| {
        let Event::ReadingsDropped { count, reason, .. } = event else {
            return None;
        };
        (*reason == DropReason::QueueFull).then_some(*count as u64)
    };
    let told: u64 = cabinet.events.iter().filter_map(dropped).sum();
    assert!(told >= status.totals.dropped);
}

#[test]
fn a_disk_that_fails_while_the_server_is_given_a_pause_wakes_nobody() {
    let mut cabinet = keeping();
    away_for_long(&mut cabinet);
    disk(&mut cabinet).failure = Some(DiskError::Full);
    cabinet.is_connected = true;
    cabinet
        .server
        .send_answers
        .extend([ResponseType::ServiceUnavailable; 6]);
    for value in 0..60 {
        cabinet.uplink(1, words(1, &[value]));
        cabinet.run_ms(5_000);
    }
    assert_eq!(status(&cabinet, METER).state, EndpointState::Registered);
}
