//! A Modbus unit on a pseudo-terminal.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ucifi_core::Profile;
use ucifi_profiles::CompiledProfile;
use ucifi_sim::modbus_unit::Exchange;
use ucifi_sim::serial_line::{Line, pty};

use super::registers::{told, unit_of};
use super::report::{Report, Setup};
use crate::cli::SimulateOptions;
use crate::exit::{ExitStatus, Failure};
use crate::interrupt::Interrupt;
use crate::limits::SIMULATED_REQUESTS;

/// How often a person is told what was asked.
const LOOK: Duration = Duration::from_millis(100);

pub(super) async fn play(
    profile: &CompiledProfile,
    options: &SimulateOptions,
    report: &Report,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    let serial = profile.serial();
    let baud = options.baud.or(serial.map(|serial| serial.baud)).unwrap_or(9600);
    let format = serial.map_or("8N1", |serial| serial.format.as_str());
    let address = options.unit.unwrap_or(1);
    // Start bit, data bits, parity and stop bits.
    let bits = if format.contains('N') && format.ends_with('1') {
        10
    } else {
        11
    };
    let line = Line::new(baud, bits, u64::from(address), Instant::now())
        .with_unit(unit_of(profile, address).followed());
    let line = pty::start(line).map_err(|error| Failure::cannot("make a pseudo-terminal", &error))?;
    let link = options.link.as_deref().map(|path| Link::make(path, &line.path));
    let link = link.transpose()?;
    let port = match &link {
        Some(link) => std::path::absolute(&link.path).unwrap_or_else(|_| link.path.clone()),
        None => PathBuf::from(&line.path),
    };
    report.begin(&setup(profile, &port, (baud, format), address))?;
    attend(&line.handle, profile, address, report, interrupt).await
}

fn setup(profile: &CompiledProfile, port: &Path, (baud, format): (u32, &str), address: u8) -> Setup {
    let writes = if profile.command_paths().next().is_some() {
        "allow"
    } else {
        "deny"
    };
    let shown = port.display();
    let quoted = toml::Value::String(shown.to_string());
    Setup {
        what: format!(
            "{} answers at unit address {address} on {shown}, {baud} baud {format}",
            profile.id()
        ),
        link: format!(
            "[[bus]]\nname = \"rs485-1\"\nport = {quoted}\nbaud = {baud}\nformat = \"{format}\"\nwrites = \"{writes}\"\n"
        ),
        device: vec![("bus", "rs485-1".into()), ("unit", i64::from(address).into())],
        id: "modbus-1",
        profile: profile.id().to_owned(),
    }
}

/// Tells what is asked until it is interrupted: a read that comes again and again is told once.
async fn attend(
    line: &pty::Handle,
    profile: &CompiledProfile,
    address: u8,
    report: &Report,
    interrupt: &mut Interrupt,
) -> Result<(), Failure> {
    let mut known = BTreeSet::new();
    loop {
        tokio::select! {
            () = interrupt.comes() => break,
            () = tokio::time::sleep(LOOK) => {}
        }
        let take = move |line: &mut Line| line.unit_mut(address).map(|unit| unit.take_exchanges());
        let Some(exchanges) = line.with(take).await else {
            return Err(Failure::new(ExitStatus::Failed, "the pseudo-terminal is gone"));
        };
        for exchange in exchanges.unwrap_or_default() {
            if is_news(&exchange, &mut known) {
                let told = told(&exchange, profile);
                report.say(told.step, &told.text)?;
            }
        }
    }
    let count = move |line: &mut Line| line.unit(address).map(|unit| unit.requests());
    let requests = line.with(count).await.flatten().unwrap_or_default();
    report.say("ended", &format!("{requests} requests were answered"))
}

fn is_news(exchange: &Exchange, known: &mut BTreeSet<Vec<u8>>) -> bool {
    let is_read = matches!(exchange.request.first(), Some(1..=4));
    if !is_read || known.len() >= SIMULATED_REQUESTS {
        return !is_read;
    }
    let is_refused = exchange
        .answer
        .first()
        .is_some_and(|function| function & 0x80 != 0);
    let mut key = exchange.request.clone();
    key.push(u8::from(is_refused));
    known.insert(key)
}

/// A name for the pseudo-terminal that is the same each time.
struct Link {
    path: PathBuf,
}

impl Link {
    /// Makes it; one that another simulated device has left there gives way, nothing else does.
    fn make(path: &Path, port: &str) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            let message = format!("cannot make the link {}: {error}", path.display());
            Failure::new(ExitStatus::Failed, message)
        };
        match fs::read_link(path) {
            Ok(target) if target.starts_with("/dev/pts") => fs::remove_file(path).map_err(failed)?,
            Ok(_) => return Err(occupied(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return Err(occupied(path)),
        }
        symlink(port, path).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
        })
    }
}

fn occupied(path: &Path) -> Failure {
    let message = format!(
        "{} is there already and stays as it is: name another link",
        path.display()
    );
    Failure::new(ExitStatus::Refused, message)
}

impl Drop for Link {
    fn drop(&mut self) {
        // Somebody may have taken it away.
        fs::remove_file(&self.path).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(request: &[u8], answer: &[u8]) -> Exchange {
        Exchange {
            request: request.to_vec(),
            answer: answer.to_vec(),
        }
    }

    #[test]
    fn a_read_is_news_once_and_again_when_it_is_refused_and_a_write_is_always() {
        let mut known = BTreeSet::new();
        let read = exchange(&[4, 0, 0, 0, 2], &[4, 4]);
        assert!(is_news(&read, &mut known));
        assert!(!is_news(&read, &mut known));
        assert!(is_news(&exchange(&[4, 0, 0, 0, 2], &[0x84, 2]), &mut known));
        let write = exchange(&[5, 0, 0, 0, 0], &[5, 0, 0, 0, 0]);
        assert!(is_news(&write, &mut known) && is_news(&write, &mut known));
        for address in 0..=u16::MAX {
            let [high, low] = address.to_be_bytes();
            is_news(&exchange(&[3, high, low, 0, 1], &[3]), &mut known);
        }
        assert_eq!(known.len(), SIMULATED_REQUESTS);
    }

    #[test]
    fn a_link_takes_the_place_of_an_old_one_and_of_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("meter");
        symlink("/dev/pts/999", &path).unwrap();
        let link = Link::make(&path, "/dev/pts/998").unwrap();
        assert_eq!(fs::read_link(&path).unwrap(), Path::new("/dev/pts/998"));
        drop(link);
        assert!(!path.exists());
        fs::write(&path, "mine").unwrap();
        assert!(Link::make(&path, "/dev/pts/998").is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }
}
