//! What the buffer has on disk, as a broken disk may give it back.

use lwm2m_client::{InstanceId, ObjectId, Path, Timestamp, Value};
use ucifi_core::buffer::records::{decode, encode};
use ucifi_core::buffer::{Moment, Record};

/// What reads is written and read again, to the same bytes each time.
pub(super) fn records(bytes: &[u8]) {
    let Ok(records) = decode(bytes) else { return };
    let written = encode(&records);
    let again =
        decode(&written).unwrap_or_else(|error| panic!("{records:?} was written as {written:02x?}: {error}"));
    assert_eq!(encode(&again), written, "{records:?} came back as {again:?}");
    assert!(again.is_sorted_by(|a, b| a.seq < b.seq));
}

pub(super) fn records_seeds() -> Vec<Vec<u8>> {
    let polls = (0..3_u16).flat_map(|poll| (0..6_u16).map(move |at| (poll, at)));
    let meter: Vec<Record> = polls
        .map(|(poll, at)| {
            let value = f64::from(230.4_f32 + f32::from(at) * 0.25 - f32::from(poll) * 0.4);
            let path = Path::resource(3421, at % 3, 1 + at / 3);
            record(u64::from(poll * 6 + at), path, Value::Float(value), wall(poll))
        })
        .collect();
    let kinds: Vec<Record> = kinds()
        .into_iter()
        .enumerate()
        .map(|(at, value)| {
            record(
                900 + 2 * at as u64,
                Path::resource(3414, 0, at as u16),
                value,
                boot(at),
            )
        })
        .collect();
    vec![
        encode(&[]),
        encode(&meter),
        encode(&kinds),
        encode(&[meter, kinds].concat()),
    ]
}

fn kinds() -> Vec<Value> {
    vec![
        Value::String("maker".to_owned()),
        Value::Integer(-40_000),
        Value::Unsigned(u64::MAX),
        Value::Float(f64::NAN),
        Value::Float(std::f64::consts::PI),
        Value::Float(f64::from(1_234.567_9_f32) * 1000.0),
        Value::Float(f64::from(0.017_453_292_f32)),
        Value::Boolean(true),
        Value::Opaque(vec![0xde, 0xad, 0xbe, 0xef]),
        Value::Time(1_790_000_000),
        Value::Objlnk(ObjectId(3410), InstanceId(0)),
        Value::Corelnk("</3/0>".to_owned()),
    ]
}

const fn record(seq: u64, path: Path, value: Value, moment: Moment) -> Record {
    Record {
        seq,
        path,
        value,
        moment,
    }
}

fn wall(poll: u16) -> Moment {
    Moment::Wall(Timestamp::from_unix_ms(1_790_000_000_000 + 250 * i64::from(poll)))
}

const fn boot(at: usize) -> Moment {
    Moment::Boot {
        boot: 7,
        ms: 40 * at as u64,
    }
}
