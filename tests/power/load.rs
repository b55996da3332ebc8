//! What is written: readings and values that follow from their number and the life in which they were taken.

use std::sync::Arc;

use lwm2m_client::{Path, Timestamp, Value};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ucifi_core::buffer::{Debt, Moment, PointClass, Record, Stream};
use ucifi_core::state::MAX_VALUE_BYTES;

/// 2026-07-01T00:00:00Z.
const START_MS: i64 = 1_782_864_000_000;

/// The streams, each with the servers that it is owed to.
pub(crate) fn streams() -> Vec<(Stream, Vec<Arc<str>>)> {
    let (city, utility): (Arc<str>, Arc<str>) = ("city".into(), "utility".into());
    let stream = |device: &str, class| Stream {
        device: device.into(),
        class,
    };
    vec![
        (
            stream("meter-1", PointClass::Measurement),
            vec![city.clone(), utility.clone()],
        ),
        (stream("meter-2", PointClass::Measurement), vec![city.clone()]),
        (stream("meter-2", PointClass::Billing), vec![utility.clone()]),
        (stream("lamp-3", PointClass::Alarm), vec![city.clone(), utility]),
        (stream("lamp-3", PointClass::Diagnostic), vec![city]),
    ]
}

/// All that can be owed, each with the place of its stream.
pub(crate) fn debts() -> Vec<(usize, Debt)> {
    let mut debts = Vec::new();
    for (place, (stream, accounts)) in streams().into_iter().enumerate() {
        for account in accounts {
            let stream = stream.clone();
            debts.push((place, Debt { account, stream }));
        }
    }
    debts
}

/// The reading of a number, as a life took it.
pub(crate) fn record(seq: u64, life: u32) -> Record {
    let mut rng = StdRng::seed_from_u64(seq << 16 | u64::from(life));
    let path = Path::resource(3410 + rng.random_range(0..20), rng.random_range(0..3), 5700);
    let value = match rng.random_range(0..40) {
        0 => Value::Opaque(vec![rng.random(); rng.random_range(0..2000)]),
        1 => Value::String(format!("reading {seq} of life {life}")),
        2..8 => Value::Integer(rng.random_range(-1000..1000)),
        _ => Value::Float(f64::from(rng.random_range(-100_000..100_000)) / 100.0),
    };
    let wall = Timestamp::from_unix_ms(START_MS + seq as i64 * 10 + rng.random_range(0..10));
    Record {
        seq,
        path,
        value,
        moment: Moment::Wall(wall),
    }
}

/// The names of the values in the state.
pub(crate) fn names() -> Vec<String> {
    (0..40).map(|number| format!("endpoint/{number}")).collect()
}

/// What a save writes under a name; none removes it.
pub(crate) fn value(name: &str, life: u32, save: u64) -> Option<Vec<u8>> {
    let number: u64 = name.bytes().map(u64::from).sum();
    let mut rng = StdRng::seed_from_u64(number << 48 ^ save << 16 ^ u64::from(life));
    if rng.random_range(0..20) == 0 {
        return None;
    }
    let most = if rng.random_range(0..10) == 0 {
        MAX_VALUE_BYTES
    } else {
        200
    };
    let mut bytes = vec![0; rng.random_range(1..=most)];
    rng.fill(&mut bytes[..]);
    Some(bytes)
}
