//! Looking at a log without changing it, while another process may be writing it.

use std::ops::ControlFlow;

use super::{Log, OpenError, Options, Statistics};
use crate::buffer::{Contents, Debt, Disk, DiskError, Loaded};

/// How many readings are loaded at a time.
const LOADED_AT_ONCE: usize = 512;

/// What a log holds, as it is found on a disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inspection {
    /// As a gateway would find it at its start.
    pub contents: Contents,
    /// What was met on the way.
    pub statistics: Statistics,
}

/// Looks at a log without changing anything; a gateway may be writing it meanwhile.
///
/// # Errors
/// When the disk cannot be read, or another version of the gateway wrote it.
pub fn inspect<D: Disk>(disk: &D) -> Result<Inspection, OpenError> {
    let (log, contents) = Log::open(ReadOnly(disk), Options::default())?;
    Ok(Inspection {
        contents,
        statistics: log.statistics(),
    })
}

/// Shows every reading owed, debt by debt, oldest first, until `show` breaks off, without changing anything. What cannot
/// be read is left out.
///
/// # Errors
/// When the disk cannot be read, or another version of the gateway wrote it.
pub fn visit<D: Disk>(
    disk: &D,
    show: &mut dyn FnMut(&Debt, &Loaded) -> ControlFlow<()>,
) -> Result<(), OpenError> {
    let (mut log, contents) = Log::open(ReadOnly(disk), Options::default())?;
    for owing in contents.debts {
        let mut from = 0;
        while let Ok(loaded) = log.load(&owing.debt, from, LOADED_AT_ONCE) {
            let Some(last) = loaded.last() else {
                break;
            };
            from = last.seq + 1;
            for loaded in &loaded {
                if show(&owing.debt, loaded).is_break() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// A disk that is only read.
#[derive(Debug)]
struct ReadOnly<'a, D>(&'a D);

impl<D: Disk> Disk for ReadOnly<'_, D> {
    fn list(&self) -> Result<Vec<(String, u64)>, DiskError> {
        self.0.list()
    }

    fn create(&mut self, _name: &str, _len: u64) -> Result<(), DiskError> {
        Err(refused())
    }

    fn read(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, DiskError> {
        self.0.read(name, offset, len)
    }

    fn write(&mut self, _name: &str, _offset: u64, _bytes: &[u8]) -> Result<(), DiskError> {
        Err(refused())
    }

    fn sync(&mut self, _name: &str) -> Result<(), DiskError> {
        Err(refused())
    }

    fn remove(&mut self, _name: &str) -> Result<(), DiskError> {
        Err(refused())
    }
}

fn refused() -> DiskError {
    DiskError::Failed("it is only looked at".to_owned())
}
