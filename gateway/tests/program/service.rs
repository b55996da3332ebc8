//! The daemon under a service manager, and the files that tell systemd of it.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;

use lwm2m_client::Path;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::path_of;
use crate::site::{PATIENCE, Site};

/// The socket on which a service manager listens.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn listen() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    /// Waits for a message with a line that begins so; returns the message.
    fn wait_for(&self, line: &str) -> String {
        loop {
            let mut buffer = [0; 1024];
            let length = self.socket.recv(&mut buffer).unwrap();
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message.lines().any(|told| told.starts_with(line)) {
                return message;
            }
        }
    }
}

#[test]
fn a_service_manager_is_told_how_the_gateway_is_from_the_start_to_the_end() {
    let manager = Manager::listen();
    let mut site = Site::start_in(&[
        ("NOTIFY_SOCKET", path_of(&manager.path())),
        ("WATCHDOG_USEC", "400000"),
    ]);
    manager.wait_for("READY=1");
    let sign = manager.wait_for("WATCHDOG=1");
    assert!(sign.contains("STATUS="), "{sign}");
    site.wait_for_value(Path::resource(3421, 0, 1));
    manager.wait_for("STATUS=2 of 2 devices answer, 3 of 3 endpoints registered");

    site.reconfigure("Feeder A", "Feeder B");
    site.signal(Signal::HUP);
    let reloading = manager.wait_for("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    manager.wait_for("READY=1");
    manager.wait_for("WATCHDOG=1");

    site.signal(Signal::TERM);
    manager.wait_for("STOPPING=1");
    assert_eq!(site.terminate(), Some(0));
}

fn packaged(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../systemd")
        .join(file)
}

/// Where systemd's tools are not installed there is nothing to ask; the gateway runs on such systems too.
#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let unit = std::fs::read_to_string(packaged("ucifi-gateway.service")).unwrap();
    let own = unit.replace("/usr/bin/ucifi-gateway", env!("CARGO_BIN_EXE_ucifi-gateway"));
    let file = folder.path().join("ucifi-gateway.service");
    std::fs::write(&file, own).unwrap();
    let Ok(verified) = Command::new("systemd-analyze")
        .args(["verify", "--man=no", path_of(&file)])
        .output()
    else {
        eprintln!("NOT RUN: systemd-analyze is not installed");
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    let ours: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("ucifi-gateway"))
        .collect();
    assert!(verified.status.success() && ours.is_empty(), "{said}");
}

#[test]
fn the_unit_checks_the_configuration_first_and_keeps_what_the_gateway_needs() {
    let unit = std::fs::read_to_string(packaged("ucifi-gateway.service")).unwrap();
    for line in [
        "Type=notify",
        "ExecStartPre=/usr/bin/ucifi-gateway check",
        "StateDirectory=ucifi-gateway",
        "RuntimeDirectory=ucifi-gateway",
        "SupplementaryGroups=dialout",
        "DeviceAllow=char-ttyUSB rw",
        "ProtectSystem=strict",
    ] {
        assert!(unit.lines().any(|told| told == line), "{line}");
    }
}
