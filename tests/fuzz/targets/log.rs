//! The segment files of the buffer, as a broken disk may give them back.
//!
//! An input is the content of one file, or, behind a byte 0xff, payloads that stand in sound frames: most changes of a
//! file end at a checksum, these don't.

use std::collections::BTreeMap;

use crc::{CRC_32_ISCSI, Crc};
use lwm2m_client::{Path, Timestamp, Value};
use ucifi_core::buffer::{
    Batch, Commit, Disk, DiskError, Fingerprint, Log, Moment, Options, PointClass, Record, Repeatable, Reply,
    Request, Settled, Stream,
};

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
const SEGMENT_BYTES: u64 = 4096;
const FRAMES: u8 = 0xff;

/// Whatever is on the disk, a log opens, gives what it says it holds, and goes on.
pub(super) fn segment(bytes: &[u8]) {
    let content = match bytes.split_first() {
        Some((&FRAMES, payloads)) => framed(payloads),
        Some(_) | None => bytes.to_vec(),
    };
    let mut disk = Memory::default();
    disk.files.insert("segment-0000".to_owned(), content);
    let Ok((mut log, contents)) = Log::open(disk, options()) else {
        return;
    };
    for owing in &contents.debts {
        let request = Request::Load {
            debt: owing.debt.clone(),
            from: 0,
            limit: 100,
        };
        for reply in log.handle(request) {
            if let Reply::Loaded {
                result: Ok(loaded), ..
            } = reply
            {
                assert!(loaded.is_sorted_by(|a, b| a.seq < b.seq));
            }
        }
    }
    let next_seq = contents.next_seq;
    if next_seq > u64::MAX / 2 {
        return;
    }
    let settled = contents.debts.first().map(|owing| Settled {
        debt: owing.debt.clone(),
        seqs: vec![0..=owing.first],
    });
    let commit = Commit {
        settled: settled.into_iter().collect(),
        ..commit(next_seq, next_seq + 3)
    };
    let replies = log.handle(Request::Commit(commit));
    assert!(
        matches!(replies.last(), Some(Reply::Committed { result: Ok(()), .. })),
        "{replies:?}"
    );
    let (_, contents) = Log::open(log.into_disk(), options()).expect("what was written opens");
    assert!(contents.next_seq >= next_seq + 3);
    let stored: u64 = contents.debts.iter().map(|owing| owing.count).sum();
    assert!(stored >= 3, "{contents:?}");
}

pub(super) fn segment_seeds() -> Vec<Vec<u8>> {
    let (mut log, _) = Log::open(Memory::default(), options()).expect("an empty disk");
    for n in 0..4 {
        log.handle(Request::Commit(commit(n * 10 + 1, n * 10 + 9)));
    }
    let file = log
        .into_disk()
        .files
        .remove("segment-0000")
        .expect("the first file");
    let end = file
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let file = file.get(..end).unwrap_or_default().to_vec();
    vec![payloads(&file), file]
}

/// Puts payloads, each behind its length in two bytes, into frames of segment 1.
fn framed(mut payloads: &[u8]) -> Vec<u8> {
    let mut file = b"uCIFIlog\x01\0\0\0\x01\0\0\0\0\0\0\0".to_vec();
    file.extend(CRC.checksum(&file).to_le_bytes());
    while let Some((len, rest)) = payloads.split_first_chunk() {
        let len = usize::from(u16::from_le_bytes(*len)).min(rest.len());
        let (payload, rest) = rest.split_at(len);
        payloads = rest;
        let place = [1u64.to_le_bytes(), (file.len() as u64).to_le_bytes()].concat();
        let check = CRC.checksum(&[&place, payload].concat());
        let numbers = [(len as u32).to_le_bytes(), check.to_le_bytes()].concat();
        file.extend(&numbers);
        file.extend(CRC.checksum(&[place, numbers].concat()).to_le_bytes());
        file.extend(payload);
    }
    file
}

/// Takes the payloads out of the frames of a file.
fn payloads(file: &[u8]) -> Vec<u8> {
    let mut out = vec![FRAMES];
    let mut frames = file.get(24..).unwrap_or_default();
    while let Some((len, rest)) = frames.split_first_chunk() {
        let len = u32::from_le_bytes(*len) as usize;
        let Some(payload) = rest.get(8..8 + len) else {
            break;
        };
        out.extend((len as u16).to_le_bytes());
        out.extend(payload);
        frames = rest.get(8 + len..).unwrap_or_default();
    }
    out
}

fn commit(first: u64, next_seq: u64) -> Commit {
    let record = |seq: u64| Record {
        seq,
        path: Path::resource(3421, 0, (seq % 3) as u16),
        value: Value::Integer(seq as i64 % 100),
        moment: match seq % 4 {
            0 => Moment::Boot { boot: 1, ms: seq },
            _ => Moment::Wall(Timestamp::from_unix_ms(1_790_000_000_000 + (seq % 1_000) as i64)),
        },
    };
    Commit {
        next_seq,
        wall: Some(Timestamp::from_unix_ms(1_790_000_000_000)),
        batches: vec![Batch {
            stream: Stream {
                device: "meter".into(),
                class: PointClass::Measurement,
            },
            accounts: vec!["city".into()],
            records: (first..next_seq).map(record).collect(),
        }],
        repeatable: Some(vec![Repeatable {
            fingerprint: Fingerprint(first),
            received: Some(Timestamp::from_unix_ms(1_790_000_000_000)),
        }]),
        ..Commit::default()
    }
}

fn options() -> Options {
    Options {
        segment_bytes: SEGMENT_BYTES,
        max_bytes: 8 * SEGMENT_BYTES,
        ..Options::default()
    }
}

#[derive(Clone, Debug, Default)]
struct Memory {
    files: BTreeMap<String, Vec<u8>>,
}

impl Disk for Memory {
    fn list(&self) -> Result<Vec<(String, u64)>, DiskError> {
        let files = self.files.iter();
        Ok(files
            .map(|(name, file)| (name.clone(), file.len() as u64))
            .collect())
    }

    fn create(&mut self, name: &str, len: u64) -> Result<(), DiskError> {
        self.files.insert(name.to_owned(), vec![0; len as usize]);
        Ok(())
    }

    fn read(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, DiskError> {
        let file = self
            .files
            .get(name)
            .ok_or_else(|| DiskError::Missing(name.to_owned()))?;
        let rest = file.get(offset as usize..).unwrap_or_default();
        Ok(rest.get(..len).unwrap_or(rest).to_vec())
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let at = offset as usize;
        let file = self.files.get_mut(name);
        let place = file.and_then(|file| file.get_mut(at..at + bytes.len()));
        place
            .ok_or_else(|| DiskError::Missing(name.to_owned()))?
            .copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self, _name: &str) -> Result<(), DiskError> {
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), DiskError> {
        self.files.remove(name);
        Ok(())
    }
}
