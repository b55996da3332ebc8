//! The machine itself: its ports, its clock, its disk.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::net::UdpSocket;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::fs::OFlags;
use serde_json::Value as Json;

use super::{Finding, dial};
use crate::cli::serial_ports;
use crate::config::{Bus, BusPort, Configuration, LoRaWan};
use crate::runtime::is_clock_set;

/// How long a Modbus TCP target may take to answer.
const TCP_PATIENCE: Duration = Duration::from_secs(3);

/// Says whether the port of a bus can be used. A running gateway knows best, and has the port for itself.
pub(super) fn bus(bus: &Bus, status: Option<&Json>) -> Finding {
    let what = format!("bus {}", bus.name);
    let running = status.and_then(|status| status["buses"].as_array());
    let own = running.and_then(|buses| buses.iter().find(|told| told["name"] == *bus.name));
    if let Some("open") = own.and_then(|own| own["state"].as_str()) {
        return Finding::ok(
            what,
            format!("{}, open in the running gateway", bus.port.describe()),
        );
    }
    match &bus.port {
        BusPort::Serial { path, .. } => serial(what, path),
        BusPort::Tcp { address } => tcp(what, address),
    }
}

fn serial(what: String, path: &str) -> Finding {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        // A port without a carrier would keep us waiting, and must not become our terminal.
        .custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed())
        .open(path);
    match opened {
        Ok(_) => Finding::ok(what, format!("{path} can be opened")),
        Err(error) => {
            let next = next_for_port(&error);
            Finding::fail(what, format!("{path}: {error}"), next)
        }
    }
}

fn next_for_port(error: &io::Error) -> String {
    let kind = error.kind();
    if kind == ErrorKind::NotFound {
        let found = serial_ports::find(Path::new("/dev"));
        let names: Vec<String> = found.iter().map(|path| path.display().to_string()).collect();
        if names.is_empty() {
            return "plug the adapter in: this machine has no serial port of a kind that is known".to_owned();
        }
        return format!("set port of the bus to one that is there: {}", names.join(", "));
    }
    let next = if kind == ErrorKind::PermissionDenied {
        "join the group of the port: sudo usermod -aG dialout $USER, and log in again; the service has it by \
         SupplementaryGroups=dialout"
    } else if kind == ErrorKind::ResourceBusy {
        "another program has the port: sudo fuser -v and its name says which"
    } else {
        "see dmesg for what the driver says of it"
    };
    next.to_owned()
}

fn tcp(what: String, address: &str) -> Finding {
    match dial(address, TCP_PATIENCE) {
        Ok(_) => Finding::ok(what, format!("tcp://{address} takes connections")),
        Err(error) => Finding::fail(
            what,
            format!("tcp://{address}: {error}"),
            "see whether the bridge is on, and whether its address and port are these",
        ),
    }
}

/// Says whether the time of day is known, and kept.
pub(super) fn clock() -> Vec<Finding> {
    let what = "clock";
    if !is_clock_set() {
        let next = "let it be set by NTP (timedatectl set-ntp true) or by hand: until then readings have no time of day";
        return vec![Finding::fail(
            what,
            "has not been set since the machine was switched on",
            next,
        )];
    }
    vec![match is_synchronized() {
        Some(true) => Finding::ok(what, "set and synchronized"),
        Some(false) => Finding::warn(
            what,
            "set, but not synchronized: it will drift",
            "timedatectl set-ntp true, or see why the NTP server is not reached: timedatectl timesync-status",
        ),
        None => Finding::warn(
            what,
            "set; whether it is synchronized cannot be told without timedatectl",
            "see that an NTP client runs",
        ),
    }]
}

fn is_synchronized() -> Option<bool> {
    // What systemd-timesyncd leaves there; others tell the kernel only, and timedatectl asks that.
    if Path::new("/run/systemd/timesync/synchronized").exists() {
        return Some(true);
    }
    let asked = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .output();
    let told = asked.ok().filter(|output| output.status.success())?;
    match String::from_utf8_lossy(&told.stdout).trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// Says whether there is room for what is kept, and whether it can be written.
pub(super) fn disk(configuration: &Configuration, status: Option<&Json>) -> Vec<Finding> {
    let folder = &configuration.gateway.state_dir;
    let mut findings = vec![room(folder, configuration.buffer.max_mb)];
    let failures = ["buffer_failure", "state_failure"];
    let told = failures.iter().filter_map(|key| status?["disk"][*key].as_str());
    let failed: Vec<Finding> = told
        .map(|reason| {
            Finding::fail(
                "disk",
                reason,
                "see dmesg for errors of the disk, and df for its room",
            )
        })
        .collect();
    if !failed.is_empty() {
        findings.extend(failed);
    } else if status.is_some() {
        findings.push(Finding::ok("disk", "the running gateway writes to it"));
    } else {
        findings.push(writes(folder));
    }
    findings
}

fn room(folder: &Path, max_mb: u32) -> Finding {
    let what = "room on disk";
    // A folder that is not made yet will be where the first one above it is.
    let there = folder
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("/"));
    let Ok(stat) = rustix::fs::statvfs(there) else {
        return Finding::warn(what, format!("{} cannot be asked", there.display()), "df -h");
    };
    let free_mb = stat.f_bavail.saturating_mul(stat.f_frsize) / (1024 * 1024);
    let how = format!(
        "{free_mb} MiB free in {}, the buffer takes at most {max_mb}",
        there.display()
    );
    if free_mb >= u64::from(max_mb) {
        Finding::ok(what, how)
    } else {
        Finding::warn(
            what,
            how,
            "lower max_mb of [buffer], or make room: else the oldest readings go when it is full",
        )
    }
}

/// Writes a file and takes it away again; a folder that is not there yet is made by the gateway.
fn writes(folder: &Path) -> Finding {
    let what = "disk";
    let there = folder
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("/"));
    let probe = there.join(format!(".ucifi-gateway-doctor-{}", std::process::id()));
    let written = fs::File::create_new(&probe).and_then(|mut file| {
        file.write_all(b"doctor")?;
        file.sync_all()
    });
    // One that was not made cannot be taken away.
    fs::remove_file(&probe).ok();
    match written {
        Ok(()) => Finding::ok(what, format!("{} can be written", there.display())),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Finding::warn(
            what,
            format!("you may not write to {}", there.display()),
            "sudo -u ucifi-gateway ucifi-gateway doctor asks as the gateway",
        ),
        Err(error) => Finding::fail(
            what,
            format!("{} cannot be written: {error}", there.display()),
            "mount it writable, or set state_dir to a folder on a disk that is",
        ),
    }
}

/// Says whether forwarders can reach the gateway, and whether any does.
pub(super) fn radio(lorawan: &LoRaWan, status: Option<&Json>) -> Finding {
    let what = "lorawan";
    let told = status
        .map(|status| &status["lorawan"])
        .filter(|told| told.is_object());
    let Some(told) = told else {
        return port_is_free(what, lorawan);
    };
    let heard = told["forwarders"].as_array().map_or(0, Vec::len);
    if heard == 0 {
        return Finding::warn(
            what,
            format!("listens on {}, and no forwarder has been heard", lorawan.listen),
            "set server_address and both ports of the packet forwarder to this",
        );
    }
    Finding::ok(
        what,
        format!("listens on {}, forwarders heard: {heard}", lorawan.listen),
    )
}

fn port_is_free(what: &str, lorawan: &LoRaWan) -> Finding {
    match UdpSocket::bind(lorawan.listen) {
        Ok(_) => Finding::ok(what, format!("UDP {} is free", lorawan.listen)),
        Err(error) => Finding::fail(
            what,
            format!("UDP {}: {error}", lorawan.listen),
            "another network server may have it: sudo ss -ulpn; or set listen to an address of this machine",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_port_that_is_not_there_fails_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ttyUSB9");
        let finding = serial("bus b".to_owned(), path.to_str().unwrap());
        assert_eq!(finding.verdict, Verdict::Fail);
        assert!(finding.next.is_some());
        fs::write(&path, "").unwrap();
        assert_eq!(
            serial("bus b".to_owned(), path.to_str().unwrap()).verdict,
            Verdict::Ok
        );
    }

    #[test]
    fn room_for_less_than_the_buffer_is_worth_a_look() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("not/yet");
        assert_eq!(room(&missing, 0).verdict, Verdict::Ok);
        assert_eq!(room(&missing, u32::MAX).verdict, Verdict::Warn);
    }

    #[test]
    fn a_folder_that_can_be_written_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(writes(&folder.path().join("not/yet")).verdict, Verdict::Ok);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_udp_port_that_another_has_fails() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let lorawan = LoRaWan {
            region: crate::config::Region::Eu868,
            listen: taken.local_addr().unwrap(),
            net_id: 0,
            forwarders: Vec::new(),
            dedup_ms: 200,
            writes: false,
        };
        assert_eq!(radio(&lorawan, None).verdict, Verdict::Fail);
        drop(taken);
        assert_eq!(radio(&lorawan, None).verdict, Verdict::Ok);
    }
}
