//! The payload formats: what decodes must encode, and decode to the same again.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use lwm2m_client::format::{self, ContentFormat, Entry, Record, RecordTime, link};
use lwm2m_client::object::{Model, ObjectDefinition};
use lwm2m_client::{ObjectId, Path, Timestamp, Value};

use super::table;

const BASES: [Path; 4] = [
    Path::Root,
    Path::Object(ObjectId(3413)),
    Path::instance(3413, 0),
    Path::resource(3413, 0, 3),
];

/// Three objects that have every data type between them.
fn types() -> &'static BTreeMap<ObjectId, Arc<ObjectDefinition>> {
    static TYPES: OnceLock<BTreeMap<ObjectId, Arc<ObjectDefinition>>> = OnceLock::new();
    TYPES.get_or_init(|| {
        let objects = [0, 3, 25, 3413, 3414, 3421, 3441, 3452].map(ObjectId);
        objects
            .into_iter()
            .filter_map(|id| Some((id, table().in_model(id, Model::Y2026)?.clone())))
            .collect()
    })
}

fn check(format: ContentFormat, payload: &[u8]) {
    for base in BASES {
        let Ok(entries) = format::decode(format, base, payload, types()) else {
            continue;
        };
        let Ok(again) = format::encode(format, base, &entries) else {
            continue;
        };
        let second = format::decode(format, base, &again, types());
        let second =
            second.unwrap_or_else(|error| panic!("{entries:?} was written as {again:02x?}: {error}"));
        assert!(same(&entries, &second), "{entries:?} came back as {second:?}");
    }
    // With times; only that it ends well.
    drop(format::decode_records(format, Path::Root, payload, types()));
}

/// Compares regardless of order, and of which NaN it is.
fn same(left: &[Entry], right: &[Entry]) -> bool {
    let sorted = |entries: &[Entry]| {
        let mut texts: Vec<String> = entries
            .iter()
            .map(|e| format!("{} {:?}", e.path, e.value))
            .collect();
        texts.sort();
        texts
    };
    sorted(left) == sorted(right)
}

pub(super) fn tlv(payload: &[u8]) {
    check(ContentFormat::Tlv, payload);
}

pub(super) fn senml_json(payload: &[u8]) {
    check(ContentFormat::SenmlJson, payload);
}

pub(super) fn senml_cbor(payload: &[u8]) {
    check(ContentFormat::SenmlCbor, payload);
}

pub(super) fn text(payload: &[u8]) {
    for resource in [
        (3, 0),
        (3, 13),
        (3, 17),
        (3413, 3),
        (3413, 6),
        (3414, 1),
        (3421, 1),
    ] {
        let base = Path::resource(resource.0, 0, resource.1);
        drop(format::decode(ContentFormat::Text, base, payload, types()));
    }
}

pub(super) fn opaque(payload: &[u8]) {
    drop(format::decode(
        ContentFormat::Opaque,
        Path::resource(3414, 0, 1),
        payload,
        types(),
    ));
}

pub(super) fn link(payload: &[u8]) {
    let Ok(links) = link::parse(payload) else { return };
    let written = link::write(&links);
    assert_eq!(link::parse(written.as_bytes()).as_ref(), Ok(&links), "{written}");
}

fn entries() -> Vec<Entry> {
    let entry = |path: &str, value| Entry {
        path: path.parse().expect("a path"),
        value,
    };
    vec![
        entry("/3413/0/1", Value::Integer(50)),
        entry("/3413/0/3", Value::Integer(-129)),
        entry("/3413/0/5/0", Value::Integer(70_000)),
        entry("/3413/0/5/7", Value::Integer(i64::MIN)),
        entry("/3413/0/6", Value::Boolean(true)),
        entry("/3413/0/5518", Value::Time(1_790_000_000)),
        entry("/3413/0/6050", Value::Float(0.25)),
    ]
}

fn encoded(format: ContentFormat) -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = BASES
        .iter()
        .filter_map(|base| {
            let below: Vec<Entry> = entries().into_iter().filter(|e| base.contains(&e.path)).collect();
            format::encode(format, *base, &below).ok()
        })
        .collect();
    let timed = |at: usize, entry| Record {
        entry,
        time: Some(RecordTime::Absolute(Timestamp::from_unix_ms(
            1_790_000_000_000 + 250 * at as i64,
        ))),
    };
    let records: Vec<Record> = entries()
        .into_iter()
        .enumerate()
        .map(|(at, e)| timed(at, e))
        .collect();
    seeds.extend(format::encode_records(format, &records).ok());
    seeds
}

pub(super) fn tlv_seeds() -> Vec<Vec<u8>> {
    encoded(ContentFormat::Tlv)
}

pub(super) fn senml_json_seeds() -> Vec<Vec<u8>> {
    let mut seeds = encoded(ContentFormat::SenmlJson);
    seeds.push(br#"[{"bn":"/3/0/","bt":1.25e9,"n":"0","vs":"a"},{"n":"9","v":1e2,"t":-5},{"n":"22/0","vlo":"3410:0"}]"#.to_vec());
    seeds
}

pub(super) fn senml_cbor_seeds() -> Vec<Vec<u8>> {
    encoded(ContentFormat::SenmlCbor)
}

pub(super) fn text_seeds() -> Vec<Vec<u8>> {
    ["1", "-7", "3.5e2", "true", "3410:0", "AAEC", "2020-01-01", "Open"]
        .map(|t| t.as_bytes().to_vec())
        .to_vec()
}

pub(super) fn link_seeds() -> Vec<Vec<u8>> {
    vec![
        br#"</>;rt="oma.lwm2m";ct="60 110 112",</1/0>,</3/0>,</3416>;ver=3.0,</3416/0>;pmin=10;lt=-3.5"#
            .to_vec(),
        br#"</lwm2m/3/0/6>;dim=2,</a%20b>;title="with \"quotes\", and commas""#.to_vec(),
    ]
}
