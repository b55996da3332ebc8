//! `init`: a first configuration, made of what can be found out about this machine.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::arguments::InitOptions;
use super::output::print;
use super::serial_ports;
use crate::config::{DEFAULT_PATH, File, Sources, read};
use crate::exit::{ExitStatus, Failure};

/// Where a broker on this machine usually listens.
const LOCAL_BROKER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1883);

/// How long it may take to say that it is there.
const BROKER_PATIENCE: Duration = Duration::from_secs(1);

/// What was found, or said.
struct Found {
    name: String,
    ports: Vec<String>,
    server: Option<String>,
    broker: Option<String>,
    /// Where packet forwarders send to.
    lorawan: Option<String>,
    writes: &'static str,
    /// Where everything is kept that is not in the usual folders.
    folder: Option<PathBuf>,
}

pub(super) fn init(config: &Path, options: &InitOptions) -> Result<(), Failure> {
    if config.exists() {
        return Err(already(config));
    }
    let found = find(config, options);
    let text = text(&found);
    check(config, &text)?;
    write(config, &text)?;
    print(&report(config, &found))
}

fn already(config: &Path) -> Failure {
    let message = format!(
        "{} is there already and stays as it is: `ucifi-gateway check` says what it means",
        config.display()
    );
    Failure::new(ExitStatus::Refused, message)
}

fn find(config: &Path, options: &InitOptions) -> Found {
    let ports: Vec<PathBuf> = if options.port.is_empty() {
        serial_ports::find(Path::new("/dev"))
    } else {
        options.port.clone()
    };
    let broker = options.broker.clone().or_else(|| {
        let answers = TcpStream::connect_timeout(&LOCAL_BROKER, BROKER_PATIENCE).is_ok();
        answers.then(|| format!("mqtt://{LOCAL_BROKER}"))
    });
    Found {
        name: options.name.clone().unwrap_or_else(host_name),
        ports: ports.iter().map(|port| port.display().to_string()).collect(),
        server: options.server.clone(),
        broker,
        lorawan: options.lorawan.clone(),
        writes: if options.allow_writes { "allow" } else { "deny" },
        folder: own_folder(config),
    }
}

/// A configuration elsewhere is for trying or for a second gateway: it has its own folder, where no root is needed.
fn own_folder(config: &Path) -> Option<PathBuf> {
    if config == Path::new(DEFAULT_PATH) {
        return None;
    }
    let config = std::path::absolute(config).ok()?;
    config.parent().map(Path::to_owned)
}

/// The name of the machine, as far as it fits an endpoint name.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let first = name.split('.').next().unwrap_or_default();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '-'
        }
    };
    let fitting: String = first.chars().map(plain).take(64).collect();
    if fitting.is_empty() {
        "cabinet".to_owned()
    } else {
        fitting
    }
}

fn text(found: &Found) -> String {
    let mut text = format!(
        "# Made by `ucifi-gateway init`. Every option with its default is in gateway.example.toml.\n\
         # `ucifi-gateway check` says what this comes to, `ucifi-gateway doctor` whether the machine is up to it.\n\n\
         [gateway]\n\
         # The endpoint name of the cabinet, and the first part of those of its devices.\n\
         name = {}\n",
        quoted(&found.name)
    );
    if let Some(folder) = &found.folder {
        let beside = |name: &str| quoted(&folder.join(name).display().to_string());
        text.push_str(&format!(
            "# Beside this file, since it is not at its usual place.\nstate_dir = {}\ncontrol_socket = {}\n",
            beside("state"),
            beside("control.sock")
        ));
    }
    text.push('\n');
    text.push_str(&server_text(found.server.as_deref()));
    for (port, number) in found.ports.iter().zip(1..) {
        let (port, writes) = (quoted(port), found.writes);
        text.push_str(&format!(
            "[[bus]]\nname = \"rs485-{number}\"\nport = {port}\n# What the devices on it are set to.\nbaud = 9600\n\
             format = \"8N1\"\n# \"allow\" lets servers switch and set its devices.\nwrites = \"{writes}\"\n\n"
        ));
    }
    text.push_str(&broker_text(found.broker.as_deref(), found.writes));
    text.push_str(&lorawan_text(found.lorawan.as_deref(), found.writes));
    text.push_str(DEVICES);
    text
}

fn server_text(server: Option<&str>) -> String {
    match server {
        Some(uri) => format!("[[server]]\nname = \"server\"\nuri = {}\n\n", quoted(uri)),
        None => {
            "# The LwM2M server, without which nobody is told anything.\n# [[server]]\n# name = \"city\"\n\
                 # uri = \"coap://lwm2m.example.org\"\n\n"
                .to_owned()
        }
    }
}

fn broker_text(broker: Option<&str>, writes: &str) -> String {
    match broker {
        Some(uri) => format!(
            "[[broker]]\nname = \"local\"\nuri = {}\nwrites = \"{writes}\"\n\n",
            quoted(uri)
        ),
        None => "# For MQTT devices:\n# [[broker]]\n# name = \"local\"\n# uri = \"mqtt://127.0.0.1\"\n\n"
            .to_owned(),
    }
}

fn lorawan_text(listen: Option<&str>, writes: &str) -> String {
    match listen {
        Some(address) => format!(
            "[lorawan]\nregion = \"EU868\"\n# Where packet forwarders send to; 0.0.0.0 for those on other machines.\n\
             listen = {}\nwrites = \"{writes}\"\n\n",
            quoted(address)
        ),
        None => "# For LoRaWAN devices, with a packet forwarder that sends to port 1700 of this machine:\n\
                 # [lorawan]\n# region = \"EU868\"\n# listen = \"127.0.0.1:1700\"\n\n"
            .to_owned(),
    }
}

const DEVICES: &str = "# Devices: `ucifi-gateway device add` writes each to a file of its own in devices.d, and\n\
                       # `ucifi-gateway profile list` has the kinds that are known. As in\n\
                       #   ucifi-gateway device add meter-1 --profile eastron.sdm630 --bus rs485-1 --unit 1\n";

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// What is written is right: what a person gave may not be.
fn check(config: &Path, text: &str) -> Result<(), Failure> {
    let file = File {
        name: config.display().to_string(),
        text: text.to_owned(),
    };
    let sources = Sources {
        options: vec![file],
        ..Sources::default()
    };
    read(&sources).map_err(super::check::invalid).map(drop)
}

fn write(config: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        let message = format!(
            "cannot write {}: {error}; name another file with --config",
            config.display()
        );
        Failure::new(ExitStatus::Failed, message)
    };
    if let Some(folder) = config.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(config);
    let mut file = match created {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(already(config)),
        Err(error) => return Err(failed(error)),
    };
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed)
}

fn report(config: &Path, found: &Found) -> String {
    let mut text = format!("written: {}\n", config.display());
    text.push_str(&format!("  name    {}\n", found.name));
    for (port, number) in found.ports.iter().zip(1..) {
        text.push_str(&format!("  port    {port}, as bus rs485-{number}\n"));
    }
    if found.ports.is_empty() {
        text.push_str("  port    none found; a USB adapter shows up under /dev/serial/by-id\n");
    }
    match &found.broker {
        Some(uri) => text.push_str(&format!("  broker  {uri}, as broker local\n")),
        None => text.push_str("  broker  none listens on this machine\n"),
    }
    if let Some(address) = &found.lorawan {
        text.push_str(&format!("  lorawan packet forwarders send to {address}\n"));
    }
    match &found.server {
        Some(uri) => text.push_str(&format!("  server  {uri}\n")),
        None => text.push_str("  server  none yet: name it in the file, or begin again with --server\n"),
    }
    if found.writes == "deny" {
        text.push_str("  writes  denied on every link: writes = \"allow\" lets devices be switched\n");
    }
    let own = if is_understood(config) {
        String::new()
    } else {
        format!(" --config {}", config.display())
    };
    text.push_str(&format!(
        "next: ucifi-gateway device add ID --profile PROFILE ...{own}\n      ucifi-gateway check{own}\n      \
         ucifi-gateway doctor{own}\n"
    ));
    text
}

/// Says whether the commands find this file without being told.
fn is_understood(config: &Path) -> bool {
    let named = std::env::var_os("UCIFI_CONFIG");
    named.map_or(config == Path::new(DEFAULT_PATH), |named| {
        config == Path::new(&named)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(ports: &[&str], server: Option<&str>, broker: Option<&str>) -> Found {
        Found {
            name: "cab".to_owned(),
            ports: ports.iter().map(|port| (*port).to_owned()).collect(),
            server: server.map(str::to_owned),
            broker: broker.map(str::to_owned),
            lorawan: broker.map(|_| "127.0.0.1:1700".to_owned()),
            writes: "allow",
            folder: broker.map(|_| "/tmp/a \"b\"".into()),
        }
    }

    #[test]
    fn whatever_is_found_the_configuration_is_right() {
        let rows = [
            found(&[], None, None),
            found(&["/dev/ttyUSB0", "/dev/serial/by-id/a \"b\""], None, None),
            found(
                &["/dev/ttyAMA0"],
                Some("coap://10.0.0.1"),
                Some("mqtt://127.0.0.1:1883"),
            ),
        ];
        for row in rows {
            let text = text(&row);
            assert!(check(Path::new("gateway.toml"), &text).is_ok(), "{text}");
        }
        let wrong = text(&found(&[], Some("http://x"), None));
        assert!(check(Path::new("gateway.toml"), &wrong).is_err());
    }

    #[test]
    fn the_name_of_the_machine_fits_an_endpoint_name() {
        let name = host_name();
        assert!((1..=64).contains(&name.len()), "{name}");
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
        assert!(name.chars().all(fits), "{name}");
    }
}
