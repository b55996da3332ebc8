//! How fast each payload format is written and read, and how many bytes a value costs in it.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lwm2m_client::format::{self, ContentFormat, Entry, Record, RecordTime};
use lwm2m_client::object::{Model, ObjectDefinition, ObjectTable};
use lwm2m_client::{ObjectId, Path, Timestamp, Value};

const FORMATS: [ContentFormat; 3] = [
    ContentFormat::Tlv,
    ContentFormat::SenmlJson,
    ContentFormat::SenmlCbor,
];

/// The values of one phase, as a meter shows them.
fn phase() -> Vec<Entry> {
    let values = [
        (1, 230.5),
        (6, 4.52),
        (11, 50.02),
        (13, 0.98),
        (16, 1037.25),
        (23, 1037.25),
        (25, 5_188_847.0),
    ];
    values
        .map(|(id, value)| Entry {
            path: Path::resource(3421, 0, id),
            value: Value::Float(value),
        })
        .to_vec()
}

fn types() -> BTreeMap<ObjectId, Arc<ObjectDefinition>> {
    let table = ObjectTable::builtin();
    [3421]
        .map(ObjectId)
        .into_iter()
        .filter_map(|id| Some((id, table.in_model(id, Model::Y2026)?.clone())))
        .collect()
}

fn codecs(criterion: &mut Criterion) {
    let (entries, types) = (phase(), types());
    let (instance, one) = (Path::instance(3421, 0), &entries[..1]);
    for format in FORMATS {
        let bytes = format::encode(format, instance, &entries).expect("a phase is encoded");
        let single = format::encode(format, one[0].path, one).expect("a value is encoded");
        eprintln!(
            "{format}: notification of one float {} bytes, of {} values {} bytes",
            single.len(),
            entries.len(),
            bytes.len()
        );
        let mut group = criterion.benchmark_group(format.name());
        group.throughput(Throughput::Elements(entries.len() as u64));
        group.bench_function("encode", |b| {
            b.iter(|| format::encode(format, instance, black_box(&entries)))
        });
        group.bench_function("decode", |b| {
            b.iter(|| format::decode(format, instance, black_box(&bytes), &types))
        });
        group.finish();
    }
}

fn sends(criterion: &mut Criterion) {
    let record = |(at, entry)| Record {
        entry,
        time: Some(RecordTime::Absolute(Timestamp::from_unix_ms(
            1_790_000_000_000 + 250 * at as i64,
        ))),
    };
    let records: Vec<Record> = phase().into_iter().enumerate().map(record).collect();
    for format in [ContentFormat::SenmlJson, ContentFormat::SenmlCbor] {
        let bytes = format::encode_records(format, &records).expect("records are encoded");
        eprintln!(
            "{format}: Send of {} timed values {} bytes",
            records.len(),
            bytes.len()
        );
        let mut group = criterion.benchmark_group(format!("{format} with times"));
        group.throughput(Throughput::Elements(records.len() as u64));
        group.bench_function("encode", |b| {
            b.iter(|| format::encode_records(format, black_box(&records)))
        });
        group.finish();
    }
}

criterion_group!(benches, codecs, sends);
criterion_main!(benches);
