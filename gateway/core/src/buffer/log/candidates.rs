//! Finding the segments: which file is which, whatever state it is in.

use std::collections::{BTreeMap, BTreeSet};

use super::files::{File, is_ours};
use super::frame::{HEADER_BYTES, Header, header, scan};
use super::recovery::checkpoint;
use super::{Log, OpenError};
use crate::buffer::{Disk, DiskError};
use crate::limits;

const CHUNK_BYTES: usize = 1 << 16;

/// A file that may be a segment.
pub(super) struct Candidate {
    name: String,
    len: u64,
    header: Header,
}

impl<D: Disk> Log<D> {
    /// Returns all files that may be segments.
    pub(super) fn candidates(&mut self) -> Result<Vec<Candidate>, OpenError> {
        let files = self.disk.list().map_err(OpenError::Disk)?;
        let mut candidates = Vec::new();
        let mut failure = None;
        for (name, len) in files.into_iter().filter(|(name, _)| is_ours(name)) {
            let header = match self.read_chunk(&name, 0, HEADER_BYTES) {
                Ok(bytes) => header(&bytes),
                Err(error) => {
                    self.statistics.unreadable_chunks += 1;
                    self.files.unreadable.insert(name.clone());
                    failure = Some(error);
                    Header::Broken
                }
            };
            if let Header::Version(version) = header {
                return Err(OpenError::Version { file: name, version });
            }
            candidates.push(Candidate { name, len, header });
        }
        match failure {
            Some(failure) if self.files.unreadable.len() == candidates.len() => Err(OpenError::Disk(failure)),
            Some(_) | None => Ok(candidates),
        }
    }

    /// Says which file is which segment; a file whose header is broken is known by the first frame in it.
    pub(super) fn sort_out(&mut self, candidates: Vec<Candidate>) -> BTreeMap<u64, File> {
        let mut found = BTreeMap::new();
        let mut unknown = Vec::new();
        for candidate in candidates {
            match candidate.header {
                Header::Segment(id) if !found.contains_key(&id) && id < u64::MAX => {
                    let file = File {
                        name: candidate.name,
                        len: candidate.len,
                        end: HEADER_BYTES as u64,
                    };
                    found.insert(id, file);
                }
                Header::Blank if self.is_blank(&candidate) => {
                    self.files.spare.push((candidate.name, candidate.len))
                }
                Header::Segment(_) | Header::Blank | Header::Version(_) | Header::Broken => {
                    unknown.push(candidate)
                }
            }
        }
        if unknown.is_empty() {
            return found;
        }
        let wanted = self.wanted(&found);
        for candidate in unknown {
            self.place(candidate, &wanted, &mut found);
        }
        found
    }

    fn is_blank(&mut self, candidate: &Candidate) -> bool {
        let (bytes, is_readable) = self.read_through(&candidate.name, candidate.len);
        is_readable && bytes.iter().all(|byte| *byte == 0)
    }

    /// Returns the segments that there should be beside the ones found.
    fn wanted(&mut self, found: &BTreeMap<u64, File>) -> Vec<u64> {
        let mut wanted = BTreeSet::new();
        for (id, file) in found {
            let (bytes, _) = self.read_through(&file.name, file.len);
            wanted.extend(
                checkpoint(*id, &bytes)
                    .unwrap_or_default()
                    .iter()
                    .map(|(id, _)| *id),
            );
        }
        let newest = found.keys().next_back().copied().unwrap_or_default();
        wanted.extend([newest.saturating_add(1), newest.saturating_add(2)]);
        wanted.into_iter().filter(|id| !found.contains_key(id)).collect()
    }

    fn place(&mut self, candidate: Candidate, wanted: &[u64], found: &mut BTreeMap<u64, File>) {
        let (bytes, _) = self.read_through(&candidate.name, candidate.len);
        let id = wanted
            .iter()
            .find(|id| scan(**id, &bytes, None).end > HEADER_BYTES && !found.contains_key(id));
        match id {
            Some(id) => {
                self.statistics.known_by_frames += 1;
                let file = File {
                    name: candidate.name,
                    len: candidate.len,
                    end: HEADER_BYTES as u64,
                };
                found.insert(*id, file);
            }
            None => {
                self.statistics.set_aside_files += 1;
                self.files.set_aside.push((candidate.name, candidate.len));
            }
        }
    }

    /// Reads a file from its beginning; what the disk does not give, however often it is asked, is zeros. Says whether
    /// all of it was given.
    pub(super) fn read_through(&mut self, name: &str, len: u64) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        let mut is_readable = true;
        while (bytes.len() as u64) < len {
            let wanted = (len - bytes.len() as u64).min(CHUNK_BYTES as u64) as usize;
            match self.read_chunk(name, bytes.len() as u64, wanted) {
                Ok(chunk) if chunk.is_empty() => break,
                Ok(chunk) => bytes.extend(chunk),
                Err(_) => {
                    is_readable = false;
                    self.statistics.unreadable_chunks += 1;
                    self.files.unreadable.insert(name.to_owned());
                    bytes.resize(bytes.len() + wanted, 0);
                }
            }
        }
        (bytes, is_readable)
    }

    fn read_chunk(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, DiskError> {
        let mut result = self.disk.read(name, offset, len);
        for _ in 1..limits::MAX_READ_ATTEMPTS {
            if result.is_ok() {
                break;
            }
            result = self.disk.read(name, offset, len);
        }
        result
    }
}
