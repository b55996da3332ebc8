//! A new cabinet: `init`, `device`, `doctor` and `completions` as a person uses them, one after the other.

use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Output;

use tempfile::TempDir;

use crate::{code, path_of, program, run, stderr, stdout};

/// A folder for the configuration of a new cabinet.
struct Cabinet {
    folder: TempDir,
}

impl Cabinet {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let config = self.path("etc/gateway.toml");
        program(arguments)
            .args(["--config", path_of(&config)])
            .output()
            .unwrap()
    }

    /// Runs a command that must succeed; returns what it said.
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(
            code(&output),
            0,
            "{arguments:?}: {} {}",
            stdout(&output),
            stderr(&output)
        );
        stdout(&output)
    }

    fn init(&self) {
        fs::write(self.path("port"), "").unwrap();
        let port = self.path("port");
        let said = self.done(&[
            "init",
            "--name",
            "cab-9",
            "--server",
            "coap://127.0.0.1:5683",
            "--port",
            path_of(&port),
            "--broker",
            "mqtt://127.0.0.1",
        ]);
        assert!(said.contains("as bus rs485-1"), "{said}");
    }
}

const METER: [&str; 7] = [
    "--profile",
    "eastron.sdm630",
    "--bus",
    "rs485-1",
    "--unit",
    "3",
    "--label=Feeder A",
];

#[test]
fn what_init_finds_makes_a_configuration_that_check_accepts_and_is_never_overwritten() {
    let cabinet = Cabinet::new();
    // Whatever ports and brokers this machine has.
    cabinet.done(&["init"]);
    let written = cabinet.text("etc/gateway.toml");
    cabinet.done(&["check"]);
    let again = cabinet.run(&["init", "--name", "other"]);
    assert_eq!(code(&again), 5, "{}", stderr(&again));
    assert!(stderr(&again).contains("stays as it is"), "{}", stderr(&again));
    assert_eq!(cabinet.text("etc/gateway.toml"), written);
}

#[test]
fn what_init_is_given_must_make_sense() {
    let cabinet = Cabinet::new();
    let output = cabinet.run(&["init", "--server", "https://lwm2m.example.org"]);
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    assert!(!cabinet.path("etc").exists());
}

#[test]
fn a_device_is_added_replaced_and_removed_in_a_file_of_its_own() {
    let cabinet = Cabinet::new();
    cabinet.init();
    let said = cabinet.done(&[&["device", "add", "meter-1"][..], &METER].concat());
    assert!(said.contains("next: "), "{said}");
    let file = "etc/devices.d/meter-1.toml";
    assert_eq!(
        cabinet.text(file),
        "[[device]]\nid = \"meter-1\"\nprofile = \"eastron.sdm630\"\nbus = \"rs485-1\"\nlabel = \"Feeder A\"\nunit = 3\n"
    );
    assert!(cabinet.done(&["check"]).contains("cab-9-meter-1"));

    let again = cabinet.run(&[&["device", "add", "meter-1"][..], &METER].concat());
    assert_eq!(code(&again), 5, "{}", stderr(&again));

    cabinet.done(&[
        "device", "replace", "meter-1", "--unit", "4", "--serial", "21340567",
    ]);
    let text = cabinet.text(file);
    assert!(
        text.contains("unit = 4\n") && text.contains("serial = \"21340567\"\n"),
        "{text}"
    );
    assert!(text.contains("label = \"Feeder A\"\n"), "{text}");

    cabinet.done(&["device", "remove", "meter-1"]);
    assert!(!cabinet.path(file).exists());
    assert_eq!(code(&cabinet.run(&["device", "remove", "meter-1"])), 7);
}

#[test]
fn a_key_from_standard_input_gets_a_file_beside_that_of_the_device() {
    let cabinet = Cabinet::new();
    cabinet.done(&["init", "--lorawan"]);
    let key = "2B7E151628AED2A6ABF7158809CF4F3C";
    fs::write(cabinet.path("lamp.key"), format!("{key}\n")).unwrap();
    let config = cabinet.path("etc/gateway.toml");
    let added = program(&["device", "add", "lamp-1", "--profile", "nas.ul20xx"])
        .args(["--dev-eui", "0200000000000001", "--join-eui", "0000000000000000"])
        .args(["--app-key", "-", "--config", path_of(&config)])
        .stdin(fs::File::open(cabinet.path("lamp.key")).unwrap())
        .output()
        .unwrap();
    assert_eq!(code(&added), 0, "{}", stderr(&added));
    assert_eq!(cabinet.text("etc/devices.d/lamp-1.key").trim(), key);
    assert!(!cabinet.text("etc/devices.d/lamp-1.toml").contains(key));
    cabinet.done(&["check"]);
}

#[test]
fn init_keeps_everything_beside_a_configuration_that_is_elsewhere_and_listens_and_writes_if_it_is_told() {
    let cabinet = Cabinet::new();
    let said = cabinet.done(&["init", "--lorawan", "127.0.0.1:1701", "--allow-writes"]);
    assert!(
        said.contains("packet forwarders send to 127.0.0.1:1701"),
        "{said}"
    );
    let text = cabinet.text("etc/gateway.toml");
    for part in [
        "/etc/state\"",
        "/etc/control.sock\"",
        "listen = \"127.0.0.1:1701\"\nwrites = \"allow\"",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    cabinet.done(&["check"]);
}

#[test]
fn a_device_that_does_not_fit_is_not_written() {
    let cabinet = Cabinet::new();
    cabinet.init();
    let output = cabinet.run(&[
        "device",
        "add",
        "meter-1",
        "--profile",
        "eastron.sdm63",
        "--bus",
        "rs485-1",
        "--unit",
        "3",
    ]);
    assert_eq!(code(&output), 3);
    assert!(
        stderr(&output).contains("did you mean \"eastron.sdm630\"?"),
        "{}",
        stderr(&output)
    );
    assert!(!cabinet.path("etc/devices.d/meter-1.toml").exists());

    cabinet.done(&[&["device", "add", "meter-1"][..], &METER].concat());
    let before = cabinet.text("etc/devices.d/meter-1.toml");
    let output = cabinet.run(&["device", "replace", "meter-1", "--bus", "rs485-9"]);
    assert_eq!(code(&output), 3, "{}", stderr(&output));
    assert_eq!(cabinet.text("etc/devices.d/meter-1.toml"), before);
}

#[test]
fn a_device_in_a_file_that_people_have_written_is_left_to_them() {
    let cabinet = Cabinet::new();
    cabinet.init();
    fs::create_dir(cabinet.path("etc/devices.d")).unwrap();
    let both = "[[device]]\nid = \"a\"\nprofile = \"eastron.sdm120\"\nbus = \"rs485-1\"\nunit = 1\n\n\
                [[device]]\nid = \"b\"\nprofile = \"eastron.sdm120\"\nbus = \"rs485-1\"\nunit = 2\n";
    fs::write(cabinet.path("etc/devices.d/a.toml"), both).unwrap();
    for command in [
        &["device", "remove", "a"][..],
        &["device", "replace", "b", "--unit", "9"],
    ] {
        let output = cabinet.run(command);
        assert_eq!(code(&output), 5, "{}", stderr(&output));
        assert!(
            stderr(&output).contains("devices.d/a.toml:"),
            "{}",
            stderr(&output)
        );
    }
    assert_eq!(cabinet.text("etc/devices.d/a.toml"), both);
}

#[test]
fn doctor_says_line_by_line_what_to_mend() {
    let cabinet = Cabinet::new();
    cabinet.init();
    // A server that answers nothing but pings, a port that is no port and can be opened, and no broker.
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let file = cabinet.path("etc/gateway.toml");
    let text = cabinet.text("etc/gateway.toml");
    let text = text.replace(
        "coap://127.0.0.1:5683",
        &format!("coap://{}", server.local_addr().unwrap()),
    );
    let text = text.replace("mqtt://127.0.0.1", &format!("mqtt://{closed}"));
    fs::write(&file, text).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 16];
        while let Ok((_, from)) = server.recv_from(&mut buffer) {
            server.send_to(&[0x70, 0x00, buffer[2], buffer[3]], from).unwrap();
        }
    });
    let output = cabinet.run(&["doctor", "--json"]);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let told: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let verdict = |what: &str| {
        let all = told["findings"].as_array().unwrap();
        let found = all.iter().find(|finding| finding["what"] == what);
        found.unwrap_or_else(|| panic!("{what} in {told}"))["verdict"].clone()
    };
    assert_eq!(verdict("configuration"), "ok");
    assert_eq!(verdict("gateway"), "warn");
    assert_eq!(verdict("bus rs485-1"), "ok");
    assert_eq!(verdict("disk"), "ok");
    assert_eq!(verdict("server server"), "ok");
    assert_eq!(verdict("broker local"), "fail");
    for finding in told["findings"].as_array().unwrap() {
        assert_eq!(finding["verdict"] == "ok", finding["next"].is_null(), "{finding}");
    }
    let text = cabinet.run(&["doctor"]);
    assert!(stdout(&text).contains("next: "), "{}", stdout(&text));
    assert!(!cabinet.path("etc/state").exists());
}

#[test]
fn every_shell_gets_something_to_complete_commands_with() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        assert_eq!(code(&output), 0, "{shell}");
        assert!(stdout(&output).contains("deregister"), "{shell}");
    }
}
