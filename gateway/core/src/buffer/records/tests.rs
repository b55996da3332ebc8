//! That nothing is lost, that rubbish is refused, and how many bytes a reading takes.

use lwm2m_client::{InstanceId, ObjectId, Path, Timestamp, Value};
use proptest::prelude::*;

use super::{RecordsError, decode, encode};
use crate::buffer::{Moment, Record};
use crate::limits::MAX_RECORDS_PER_BLOCK;

fn record(seq: u64, path: &str, value: Value, unix_ms: i64) -> Record {
    Record {
        seq,
        path: path.parse().unwrap(),
        value,
        moment: Moment::Wall(Timestamp::from_unix_ms(unix_ms)),
    }
}

/// Compares to the bit, which `PartialEq` of floats does not.
fn same(left: &[Record], right: &[Record]) -> bool {
    let parts = |record: &Record| {
        let bits = if let Value::Float(value) = record.value {
            Some(value.to_bits())
        } else {
            None
        };
        let shown = format!("{:?}", record.value);
        (record.seq, record.path, record.moment, bits, shown)
    };
    left.iter().map(parts).eq(right.iter().map(parts))
}

#[track_caller]
fn assert_survives(records: &[Record]) {
    let bytes = encode(records);
    let again = decode(&bytes).unwrap();
    assert!(same(records, &again), "{records:?}\n{bytes:02x?}\n{again:?}");
}

#[test]
fn the_bytes_are_as_the_format_says() {
    let records = [
        record(300, "/3421/0/1", Value::Float(230.1), 1000),
        record(301, "/3421/1/1", Value::Float(229.8), 1000),
        record(303, "/3421/0/1", Value::Float(230.0), 1250),
    ];
    let expected = [
        &[1, 3][..],
        // Numbers 0 to 299 skipped, path and moment written, one decimal: 2301.
        &[
            0x97, 0xac, 0x02, 0x83, 0xba, 0x35, 0x00, 0x02, 0xd0, 0x0f, 0xfa, 0x23,
        ],
        // One instance on, three tenths less than its sibling.
        &[0x92, 0x45, 0x05],
        // One skipped, one instance back, 250 ms later, a whole number: 0 more than 230.1 rounded.
        &[0x8f, 0x01, 0x43, 0xf4, 0x03, 0x00],
    ]
    .concat();
    assert_eq!(encode(&records), expected);
    assert_survives(&records);
}

#[test]
fn every_kind_of_value_survives() {
    let values = [
        Value::String("ÄÖ\n\"".to_owned()),
        Value::String(String::new()),
        Value::Integer(i64::MIN),
        Value::Integer(i64::MAX),
        Value::Unsigned(u64::MAX),
        Value::Unsigned(0),
        Value::Boolean(true),
        Value::Boolean(false),
        Value::Opaque((0..=255).collect()),
        Value::Time(i64::MIN),
        Value::Time(1_790_000_000),
        Value::Objlnk(ObjectId(65535), InstanceId(65535)),
        Value::Objlnk(ObjectId(3), InstanceId(0)),
        Value::Corelnk("</3/0>;ver=1.1".to_owned()),
    ];
    // Each after each other, on one path and on its own.
    let mut records = Vec::new();
    for first in &values {
        for second in &values {
            let seq = records.len() as u64;
            records.push(record(seq, "/3414/0/1", first.clone(), 0));
            records.push(record(seq + 1, "/3414/0/1", second.clone(), 0));
        }
        assert_survives(&[record(7, "/3414/0/1", first.clone(), 0)]);
    }
    assert_survives(&records);
}

#[test]
fn every_bit_of_a_float_survives() {
    let bits = [
        0x0000_0000_0000_0000,
        0x8000_0000_0000_0000,
        0x7ff0_0000_0000_0000,
        0xfff0_0000_0000_0000,
        0x7ff8_0000_0000_0000,
        0x7ff0_0000_0000_0001,
        0xffff_ffff_ffff_ffff,
        0x7ff8_0000_dead_beef,
        0x0000_0000_0000_0001,
        0x7fef_ffff_ffff_ffff,
        0x3ff0_0000_0000_0000,
        0x3fb9_9999_9999_999a,
        0x406c_c333_4000_0000,
        0xc340_0000_0000_0000,
    ];
    let mut records = Vec::new();
    for first in bits {
        for second in bits {
            for bits in [first, second, second] {
                let value = Value::Float(f64::from_bits(bits));
                records.push(record(records.len() as u64, "/3421/0/1", value, -1));
            }
        }
    }
    assert_survives(&records);
}

#[test]
fn a_value_that_stays_takes_one_byte() {
    for value in [
        Value::Float(f64::NAN),
        Value::Time(1_790_000_000),
        Value::Boolean(true),
    ] {
        let once = [record(0, "/3421/0/1", value.clone(), 0)];
        let more: Vec<Record> = (0..3)
            .map(|seq| record(seq, "/3421/0/1", value.clone(), 0))
            .collect();
        assert_eq!(encode(&more).len(), encode(&once).len() + 2, "{value:?}");
    }
}

#[test]
fn an_empty_block_is_two_bytes() {
    assert_eq!(encode(&[]), [1, 0]);
    assert_eq!(decode(&[1, 0]), Ok(Vec::new()));
}

#[test]
fn the_highest_number_is_the_last_one() {
    assert_survives(&[record(u64::MAX, "/3/0/9", Value::Integer(1), 0)]);
    let mut bytes = encode(&[record(u64::MAX, "/3/0/9", Value::Integer(1), 0)]);
    bytes[1] = 2;
    bytes.push(0);
    assert_eq!(decode(&bytes), Err(RecordsError::Range));
}

#[test]
#[should_panic(expected = "the numbers of a block rise")]
fn numbers_that_do_not_rise_are_not_written() {
    let value = Value::Boolean(true);
    encode(&[
        record(5, "/3/0/9", value.clone(), 0),
        record(5, "/3/0/9", value, 0),
    ]);
}

#[test]
fn a_block_holds_so_many_readings_and_no_more() {
    let one = |seq: usize| record(seq as u64, "/3413/0/6", Value::Boolean(true), 0);
    let most: Vec<Record> = (0..MAX_RECORDS_PER_BLOCK).map(one).collect();
    assert_survives(&most);
    let mut bytes = encode(&most);
    assert_eq!(bytes[1..3], [0x80, 0x20]);
    bytes[1] = 0x81;
    bytes.push(0);
    assert_eq!(decode(&bytes), Err(RecordsError::TooMany(4097)));
    let more: Vec<Record> = (0..=MAX_RECORDS_PER_BLOCK).map(one).collect();
    std::panic::catch_unwind(|| encode(&more)).unwrap_err();
}

#[test]
fn rubbish_is_refused_by_its_name() {
    use RecordsError::{Form, Moment, Path, Range, TooMany, Trailing, Truncated, Version};
    let cases: [(&[u8], RecordsError); 17] = [
        (&[], Truncated),
        (&[2, 0], Version(2)),
        (&[1], Truncated),
        (&[1, 0, 0], Trailing(1)),
        (&[1, 0x80, 0x80, 4], TooMany(65536)),
        (&[1, 2, 8], Truncated),
        (&[1, 1, 29 << 3], Form(29)),
        (&[1, 1, 31 << 3], Form(31)),
        // The value before, where there is none.
        (&[1, 1, 0], Form(0)),
        // A step from a path that is no resource.
        (&[1, 1, 0x0a, 0x44], Path),
        // Five numbers; one below zero; one of 17 bits.
        (&[1, 1, 0x0a, 0x85, 0, 0, 0, 0, 0], Path),
        (&[1, 1, 0x0a, 0x81, 1], Path),
        (&[1, 1, 0x0a, 0x81, 0x80, 0x80, 0x08], Path),
        (&[1, 1, 0x0c, 0, 2], Moment(2)),
        // A link beyond 16 bits; 7 of 8 bytes from the third on; a single float beyond all.
        (&[1, 1, 6 << 3, 0x80, 0x80, 4, 0], Range),
        (&[1, 1, 10 << 3, 0x27, 1, 2, 3, 4, 5, 6, 7], Range),
        (&[1, 1, 14 << 3, 0x80, 0x80, 0x80, 0x80, 0x80, 1], Range),
    ];
    for (bytes, error) in cases {
        assert_eq!(decode(bytes), Err(error), "{bytes:02x?}");
    }
    assert_eq!(decode(&[1, 1, 7 << 3, 1, 0xff]), Err(RecordsError::Text));
}

#[test]
fn a_long_length_allocates_nothing() {
    let long = [1, 1, 9 << 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    assert_eq!(decode(&long), Err(RecordsError::Truncated));
}

#[test]
fn every_cut_is_refused() {
    let bytes = encode(&meter_polls(2, 0));
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len]).is_err(), "cut at {len}");
    }
}

/// The points of a three-phase meter as its profile orders them: path, value, and what the phases differ by.
const PHASE: [(u16, f64); 13] = [
    (1, 230.4),
    (6, 4.8),
    (23, 1040.0),
    (20, 1105.0),
    (18, 370.0),
    (19, 0.0),
    (13, 0.941),
    (11, 50.01),
    (25, 18_250.6),
    (26, 0.0),
    (27, 18_250.6),
    (29, 3_120.2),
    (30, 12.7),
];
const TOTAL: [(u16, f64); 10] = [
    (15, 3120.0),
    (12, 3315.0),
    (10, 1110.0),
    (11, 0.0),
    (5, 0.941),
    (17, 54_751.9),
    (18, 0.0),
    (21, 9_360.6),
    (22, 38.1),
    (19, 54_751.9),
];

/// Whole polls of a meter that gives 32-bit floats, at one a second from a number on, in frames 60 ms apart.
fn meter_polls(polls: usize, first: u64) -> Vec<Record> {
    let points = |n: u16| PHASE.map(|(resource, value)| (Path::resource(3421, n, resource), value));
    let phases = (0..3).flat_map(points);
    let totals = TOTAL.map(|(resource, value)| (Path::resource(3422, 0, resource), value));
    let points: Vec<(Path, f64)> = phases.chain(totals).collect();
    assert_eq!(points.len(), 49);
    let mut noise = 12_345_u32;
    let mut records = Vec::new();
    for poll in 0..polls {
        for (at, (path, value)) in points.iter().enumerate() {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let drift = 1.0 + (f64::from(noise >> 8) / f64::from(1 << 24) - 0.5) * 0.02;
            // What a meter sends is a 32-bit float with all its digits; energy is kept in Wh.
            let single = f64::from((value * drift) as f32);
            let is_energy = *value > 9_000.0;
            records.push(Record {
                seq: first + records.len() as u64,
                path: *path,
                value: Value::Float(if is_energy { single * 1000.0 } else { single }),
                moment: Moment::Wall(Timestamp::from_unix_ms(
                    1_795_000_000_123 + 1000 * poll as i64 + 60 * (at as i64 / 10),
                )),
            });
        }
    }
    records
}

/// One frame of a board with eight inputs and relays.
fn board(first: u64) -> Vec<Record> {
    (0..8_u16)
        .map(|n| Record {
            seq: first + u64::from(n),
            path: Path::resource(3413, n, 6),
            value: Value::Boolean(n % 3 == 0),
            moment: Moment::Wall(Timestamp::from_unix_ms(1_795_000_000_123)),
        })
        .collect()
}

/// One frame of a sensor with eight decimal numbers.
fn sensor(first: u64) -> Vec<Record> {
    let values = [21.4, 48.3, 1013.2, 412.0, 7.1, 12.9, 0.4, 3.6];
    values
        .into_iter()
        .zip(1..)
        .map(|(value, n)| Record {
            seq: first + u64::from(n),
            path: Path::resource(3428, 0, n),
            value: Value::Float(f64::from(value as f32)),
            moment: Moment::Wall(Timestamp::from_unix_ms(1_795_000_000_123)),
        })
        .collect()
}

#[test]
fn a_reading_takes_few_bytes() {
    let late = 1 << 36;
    let cases = [
        ("one poll of a meter", meter_polls(1, late), 5.5),
        ("ten polls of a meter", meter_polls(10, late), 4.0),
        ("one frame of a board", board(late), 4.0),
        ("one frame of a sensor", sensor(late), 6.5),
    ];
    for (what, records, at_most) in cases {
        assert_survives(&records);
        let bytes = encode(&records).len();
        let each = bytes as f64 / records.len() as f64;
        eprintln!(
            "{what}: {} readings in {bytes} bytes, {each:.2} each",
            records.len()
        );
        assert!(each <= at_most, "{what}: {each:.2} bytes a reading");
    }
}

fn any_path() -> impl Strategy<Value = Path> {
    let segment = prop_oneof![0_u16..12, 3410_u16..3425, any::<u16>()];
    prop::collection::vec(segment, 0..=4).prop_map(|segments| Path::from_segments(&segments).unwrap())
}

fn any_float() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        any::<u32>().prop_map(|bits| f64::from(f32::from_bits(bits))),
        (any::<i32>(), 0..8).prop_map(|(n, places)| f64::from(n) / 10_f64.powi(places)),
        (-5000_i32..5000, 0..3)
            .prop_map(|(n, places)| f64::from((f64::from(n) / 10_f64.powi(places)) as f32)),
        (-50_000_i32..50_000).prop_map(|n| f64::from(n as f32 / 8.0) * 1000.0),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => any_float().prop_map(Value::Float),
        1 => prop_oneof![-9_i64..9, any::<i64>()].prop_map(Value::Integer),
        1 => any::<u64>().prop_map(Value::Unsigned),
        1 => any::<i64>().prop_map(Value::Time),
        1 => any::<bool>().prop_map(Value::Boolean),
        1 => any::<(u16, u16)>().prop_map(|(o, i)| Value::Objlnk(ObjectId(o), InstanceId(i))),
        1 => ".{0,9}".prop_map(Value::String),
        1 => ".{0,9}".prop_map(Value::Corelnk),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Value::Opaque),
    ]
}

fn any_moment() -> impl Strategy<Value = Moment> {
    let boot = |(boot, ms)| Moment::Boot { boot, ms };
    prop_oneof![
        any::<i64>().prop_map(|ms| Moment::Wall(Timestamp::from_unix_ms(ms))),
        (1_790_000_000_000_i64..1_790_000_000_003).prop_map(|ms| Moment::Wall(Timestamp::from_unix_ms(ms))),
        any::<(u32, u64)>().prop_map(boot),
        (0_u32..2, 0_u64..3).prop_map(boot),
    ]
}

/// Records whose paths come again, so that there is something to be told against.
fn any_records() -> impl Strategy<Value = Vec<Record>> {
    let skipped = prop_oneof![5 => Just(0_u64), 1 => 1_u64..300, 1 => any::<u32>().prop_map(u64::from)];
    let parts = (any::<prop::sample::Index>(), any_value(), any_moment(), skipped);
    let first = prop_oneof![Just(0_u64), any::<u64>().prop_map(|seq| seq >> 1)];
    let paths = prop::collection::vec(any_path(), 1..8);
    (first, paths, prop::collection::vec(parts, 0..40)).prop_map(|(mut seq, paths, parts)| {
        let record = |(path, value, moment, skipped): (prop::sample::Index, _, _, u64)| {
            seq += skipped + 1;
            Record {
                seq,
                path: *path.get(&paths),
                value,
                moment,
            }
        };
        parts.into_iter().map(record).collect()
    })
}

proptest! {
    #[test]
    fn whatever_is_written_reads_as_it_was(records in any_records()) {
        let bytes = encode(&records);
        let again = decode(&bytes).unwrap();
        prop_assert!(same(&records, &again), "{records:?} came back as {again:?}");
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(decode(&[&[1], bytes.as_slice()].concat()));
        drop(decode(&bytes));
    }

    /// What reads at all is readings, with rising numbers, that can be written again.
    #[test]
    fn changed_bytes_are_refused_or_are_other_readings(
        records in any_records(),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
    ) {
        let mut bytes = encode(&records);
        *at.get_mut(&mut bytes) = to;
        if let Ok(read) = decode(&bytes) {
            prop_assert!(read.is_sorted_by(|a, b| a.seq < b.seq));
            prop_assert!(same(&read, &decode(&encode(&read)).unwrap()));
        }
    }
}
