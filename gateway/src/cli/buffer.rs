//! `buffer`: the readings on disk that servers have not taken yet, whether a gateway runs or not.
//!
//! Looking changes nothing: the files are opened for reading, also while a gateway writes them.

mod drop_older;
mod export;
mod show;
mod time;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ucifi_core::buffer::{CABINET, Debt, DiskError, OpenError, PointClass};

use super::arguments::{BufferCommand, BufferOptions};
use super::check::invalid;
use crate::config::{Loaded, Sources, read};
use crate::exit::{ExitStatus, Failure};
use crate::store::{FileDisk, buffer_folder};

pub(super) use time::{age, rfc3339};

pub(super) fn buffer(config: &Path, options: BufferOptions) -> Result<(), Failure> {
    let json = options.show.json;
    match options.command {
        None => show::show(config, json),
        Some(BufferCommand::Show(options)) => show::show(config, json || options.json),
        Some(BufferCommand::Export(_)) if json => {
            let message = "an export is --csv or --senml, and not --json";
            Err(Failure::new(ExitStatus::Usage, message))
        }
        Some(BufferCommand::Export(options)) => export::export(config, &options),
        Some(BufferCommand::Drop(mut options)) => {
            options.client.json |= json;
            drop_older::drop_older(config, &options)
        }
    }
}

/// The buffer of a configuration.
struct Place {
    loaded: Loaded,
    folder: PathBuf,
}

impl Place {
    fn of(config: &Path) -> Result<Self, Failure> {
        let loaded = Sources::load(config)
            .and_then(|sources| read(&sources))
            .map_err(invalid)?;
        let folder = buffer_folder(&loaded.configuration.gateway.state_dir);
        Ok(Self { loaded, folder })
    }

    /// Returns a debt with the names that people know.
    fn named(&self, debt: &Debt) -> Debt {
        let mut named = debt.clone();
        if &*named.stream.device == CABINET {
            named.stream.device = Arc::clone(&self.loaded.configuration.gateway.name);
        }
        named
    }

    /// Opens the folder to look at; none where no gateway has made it yet.
    fn look(&self) -> Result<Option<FileDisk>, Failure> {
        match FileDisk::open_read_only(&self.folder) {
            Ok(disk) => Ok(Some(disk)),
            Err(DiskError::Missing(_)) => Ok(None),
            Err(error @ (DiskError::Full | DiskError::Failed(_))) => Err(unreadable(OpenError::Disk(error))),
        }
    }
}

fn unreadable(error: OpenError) -> Failure {
    Failure::new(ExitStatus::Failed, error.to_string())
}

/// Returns the word for a class.
pub(super) const fn class_name(class: PointClass) -> &'static str {
    match class {
        PointClass::Alarm => "alarm",
        PointClass::Billing => "billing",
        PointClass::Measurement => "measurement",
        PointClass::Diagnostic => "diagnostic",
    }
}
