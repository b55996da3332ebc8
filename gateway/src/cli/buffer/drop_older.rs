//! `buffer drop`: old readings are forgotten, by the gateway where one runs, else here.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lwm2m_client::Timestamp;
use serde_json::{Value as Json, json};
use ucifi_core::buffer::log::inspect;
use ucifi_core::buffer::{Commit, Log, Reply, Request};
use ucifi_profiles::document::nearest;

use super::time::rfc3339;
use super::{Place, unreadable};
use crate::cli::arguments::DropOptions;
use crate::cli::control::request;
use crate::cli::output::answer;
use crate::control;
use crate::exit::{ExitStatus, Failure};
use crate::store::{FileDisk, FolderError, FolderLock, log_options};

pub(super) fn drop_older(config: &Path, options: &DropOptions) -> Result<(), Failure> {
    let than = before(SystemTime::now(), options.older_than);
    let place = Place::of(config)?;
    if let Some(server) = &options.server {
        must_be_known(&place, server)?;
    }
    let value = if options.client.socket.is_some() {
        ask(config, options, than)?
    } else {
        let state_dir = &place.loaded.configuration.gateway.state_dir;
        match state_dir
            .is_dir()
            .then(|| FolderLock::take(state_dir))
            .transpose()
        {
            Ok(_lock) => json!({ "dropped": drop_here(&place, options, than)? }),
            Err(FolderError::InUse { .. }) => ask(config, options, than)?,
            // Who may open the socket need not own the folder.
            Err(refused @ FolderError::NotAllowed { .. }) => ask(config, options, than)
                .map_err(|_| Failure::new(ExitStatus::Failed, refused.to_string()))?,
            Err(failed @ FolderError::Failed { .. }) => {
                return Err(Failure::new(ExitStatus::Failed, failed.to_string()));
            }
        }
    };
    answer(options.client.json, &value, || text(&value, than))
}

fn before(now: SystemTime, age: Duration) -> Timestamp {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_unix_ms(ms(since).saturating_sub(ms(age)))
}

/// Refuses a name that no server has, neither in the configuration nor in the buffer.
fn must_be_known(place: &Place, server: &str) -> Result<(), Failure> {
    let configured = place.loaded.configuration.servers.iter();
    let mut known: Vec<Arc<str>> = configured.map(|server| Arc::clone(&server.name)).collect();
    if let Some(disk) = place.look()? {
        let inspection = inspect(&disk).map_err(unreadable)?;
        let debts = inspection.contents.debts.into_iter();
        known.extend(debts.map(|owing| owing.debt.account));
    }
    if known.iter().any(|known| &**known == server) {
        return Ok(());
    }
    let near = nearest(server, known.iter().map(|known| &**known));
    let hint = near.map_or_else(
        || "see `ucifi-gateway buffer`".to_owned(),
        |near| format!("did you mean {near:?}?"),
    );
    let message = format!("there is no server {server:?}: {hint}");
    Err(Failure::new(ExitStatus::NotFound, message))
}

fn ask(config: &Path, options: &DropOptions, than: Timestamp) -> Result<Json, Failure> {
    let asked = control::Request::DropOlder {
        before_unix_ms: than.unix_ms(),
        server: options.server.clone(),
    };
    request(config, &options.client, &asked)
}

/// Drops in the folder itself, which nobody else uses.
fn drop_here(place: &Place, options: &DropOptions, than: Timestamp) -> Result<u64, Failure> {
    if place.look()?.is_none() {
        return Ok(0);
    }
    let failed = |message: String| Failure::new(ExitStatus::Failed, message);
    let disk = FileDisk::open(&place.folder).map_err(|error| failed(error.to_string()))?;
    let (mut log, _) = Log::open(disk, log_options(&place.loaded.configuration)).map_err(unreadable)?;
    let account = options.server.as_deref().map(Arc::from);
    let mut replies = log.handle(Request::DropOlder { than, account });
    // What the disk did not take before goes with this commit, or fails with it.
    replies.extend(log.handle(Request::Commit(Commit::default())));
    let mut dropped = 0;
    for reply in replies {
        match reply {
            Reply::Dropped { count } => dropped = count,
            Reply::Committed { result, .. } => {
                result.map_err(|error| failed(format!("nothing is dropped: {error}")))?
            }
            Reply::Gap(_) | Reply::Loaded { .. } => {}
        }
    }
    Ok(dropped)
}

fn text(value: &Json, than: Timestamp) -> String {
    let count = value["dropped"].as_u64().unwrap_or_default();
    let readings = if count == 1 { "reading" } else { "readings" };
    format!("dropped {count} {readings} measured before {}\n", rfc3339(than))
}
