//! The copy of the state in a plain file, from which a database that cannot be opened is made anew.
//!
//! ```text
//! "UCIFIST1"                       8 bytes
//! version of the values            8 bytes, big endian, as all numbers
//! number of values                 4 bytes
//! for each, in the order of names:
//!     length of the name           2 bytes
//!     name                         UTF-8
//!     length of the value          2 bytes
//!     value
//! CRC-32/ISO-HDLC of all before    4 bytes
//! ```
//! It is written under another name, synced, and takes the place of the one before, which stays as `snapshot.1`. A power
//! cut leaves at least one whole copy, and of several the newest is taken.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crc::{CRC_32_ISO_HDLC, Crc};
use tracing::warn;
use ucifi_core::state::MAX_VALUE_BYTES;

use super::Values;
use crate::limits::{STATE_BYTES, STATE_NAME_BYTES};
use crate::store::folder;

const MAGIC: &[u8; 8] = b"UCIFIST1";
const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

const NAME: &str = "snapshot";
const NEW: &str = "snapshot.new";
const BEFORE: &str = "snapshot.1";

/// A copy of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// The version of the values.
    pub(super) version: u64,
    /// The values.
    pub(super) values: Values,
}

/// Reads the newest whole copy in a folder.
pub(super) fn load(folder: &Path) -> Option<Snapshot> {
    let found = [NAME, NEW, BEFORE].into_iter().filter_map(|name| {
        let bytes = match read(&folder.join(name)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                warn!(name, %error, "a copy of the state cannot be read");
                return None;
            }
        };
        let snapshot = decode(&bytes);
        if snapshot.is_none() && name != NEW {
            warn!(name, "a copy of the state is damaged");
        }
        snapshot
    });
    found.max_by_key(|snapshot| snapshot.version)
}

/// Says whether there is a copy, whole or not.
pub(super) fn exists(folder: &Path) -> bool {
    folder.join(NAME).exists()
}

/// Writes a copy; durable when this returns.
pub(super) fn store(folder: &Path, version: u64, values: &Values) -> io::Result<()> {
    let new = folder.join(NEW);
    let written = write(&new, &encode(version, values));
    if let Err(error) = written {
        // Its space is worth more than what was written of it.
        fs::remove_file(&new).ok();
        return Err(error);
    }
    match fs::rename(folder.join(NAME), folder.join(BEFORE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::rename(new, folder.join(NAME))?;
    folder::sync(folder)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Names and lengths come on top of the values; what is longer than this ends early and is not whole.
    let bound = 2 * STATE_BYTES as u64;
    File::open(path)?.take(bound).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn encode(version: u64, values: &Values) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(version.to_be_bytes());
    let count = u32::try_from(values.len()).expect("the state is bounded");
    bytes.extend(count.to_be_bytes());
    for (name, value) in values {
        for part in [name.as_bytes(), value] {
            let len = u16::try_from(part.len()).expect("names and values are bounded");
            bytes.extend(len.to_be_bytes());
            bytes.extend(part);
        }
    }
    let checksum = CHECKSUM.checksum(&bytes);
    bytes.extend(checksum.to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Snapshot> {
    let (body, checksum) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    if checksum != CHECKSUM.checksum(body).to_be_bytes() {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let version = u64::from_be_bytes(take(&mut rest)?);
    let count = u32::from_be_bytes(take(&mut rest)?);
    let mut values = Values::new();
    for _ in 0..count {
        let name = part(&mut rest, STATE_NAME_BYTES)?;
        let value = part(&mut rest, MAX_VALUE_BYTES)?;
        values.insert(String::from_utf8(name.to_vec()).ok()?, value.to_vec());
    }
    rest.is_empty().then_some(Snapshot { version, values })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

fn part<'b>(rest: &mut &'b [u8], most: usize) -> Option<&'b [u8]> {
    let len = usize::from(u16::from_be_bytes(take(rest)?));
    let (taken, left) = rest.split_at_checked(len).filter(|_| len <= most)?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    fn values(text: &str) -> Values {
        Values::from([("a".to_owned(), text.as_bytes().to_vec())])
    }

    #[test]
    fn a_copy_has_these_bytes() {
        let bytes = encode(2, &values("xy"));
        let body = b"UCIFIST1\0\0\0\0\0\0\0\x02\0\0\0\x01\0\x01a\0\x02xy";
        assert_eq!(bytes.split_last_chunk::<4>().unwrap().0, body);
        assert_eq!(
            decode(&bytes),
            Some(Snapshot {
                version: 2,
                values: values("xy")
            })
        );
    }

    #[test]
    fn the_newest_whole_copy_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert_eq!((load(folder), exists(folder)), (None, false));
        store(folder, 1, &values("one")).unwrap();
        store(folder, 2, &values("two")).unwrap();
        assert_eq!(load(folder).unwrap().values, values("two"));
        fs::write(folder.join(NAME), "garbage").unwrap();
        assert_eq!(load(folder).unwrap().values, values("one"));
        // The power went between the two renames of the third.
        fs::remove_file(folder.join(NAME)).unwrap();
        fs::write(folder.join(NEW), encode(3, &values("three"))).unwrap();
        assert_eq!(load(folder).unwrap().values, values("three"));
        for name in [NEW, BEFORE] {
            fs::write(folder.join(name), "").unwrap();
        }
        assert_eq!(load(folder), None);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_and_every_damage_is_seen(
            version: u64,
            values in btree_map(".{0,20}", vec(any::<u8>(), 0..50), 0..10),
            place: prop::sample::Index,
            bits in 1..=255_u8,
        ) {
            let mut bytes = encode(version, &values);
            prop_assert_eq!(decode(&bytes), Some(Snapshot { version, values }));
            let place = place.index(bytes.len());
            prop_assert_eq!(decode(&bytes[..place]), None);
            bytes[place] ^= bits;
            prop_assert_eq!(decode(&bytes), None);
        }

        #[test]
        fn foreign_bytes_are_no_copy_and_do_no_harm(mut bytes in vec(any::<u8>(), 0..200)) {
            decode(&bytes);
            // Also where the checksum happens to fit.
            bytes.splice(0..0, *MAGIC);
            let checksum = CHECKSUM.checksum(&bytes);
            bytes.extend(checksum.to_be_bytes());
            if let Some(snapshot) = decode(&bytes) {
                prop_assert!(snapshot.values.len() <= bytes.len());
            }
        }
    }
}
