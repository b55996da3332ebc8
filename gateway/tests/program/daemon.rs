//! `run`: the daemon between a pseudo-terminal and a server on loopback, asked over its control socket.

use std::fs;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use lwm2m_client::Path;
use rustix::process::Signal;
use ucifi_sim::serial_line::{Fault, Faults, Line};
use ucifi_sim::server::Event;

use crate::site::{PATIENCE, Site};
use crate::{code, path_of, program, stderr, stdout};

#[test]
fn a_meter_is_read_and_a_relay_is_switched_over_the_control_socket() {
    let mut site = Site::start();
    site.wait_for_value(Path::resource(3421, 0, 1));
    site.wait_for_value(Path::resource(3413, 0, 2));

    let status = site.ask_json(&["status"]);
    let states: Vec<&str> = status["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|e| e["state"].as_str())
        .collect();
    assert_eq!(states, ["registered"; 3]);
    assert_eq!(status["buses"][0]["state"], "open");

    let read = site.ask_json(&["read", "meter", "u_l1"]);
    let value = &read["values"][0];
    assert_eq!(
        (value["path"].as_str(), value["unit"].as_str()),
        (Some("/3421/0/1"), Some("V"))
    );
    assert!(
        (225.0..235.0).contains(&value["value"].as_f64().unwrap()),
        "{value}"
    );
    assert_eq!(value["quality"], "good");
    let (_, table, _) = site.ask(&["read", "meter", "/3421/0"]);
    assert!(table.starts_with("NAME"), "{table}");

    assert_eq!(site.coil(0), Some(false));
    let (code, said, complained) = site.ask(&["write", "relays", "/3413/0/3", "100"]);
    assert_eq!(code, 0, "{complained}");
    assert!(said.contains("as the device shows"), "{said}");
    assert_eq!(site.coil(0), Some(true));
    let level = site.ask_json(&["read", "relays", "/3413/0/2"]);
    assert_eq!(level["values"][0]["value"], 100);

    assert_eq!(site.terminate(), Some(0));
    assert!(!site.socket().exists());
}

#[test]
fn a_relay_is_switched_by_the_name_of_its_point_and_never_by_a_name_that_several_have() {
    let mut site = Site::start();
    site.wait_for_value(Path::resource(3413, 0, 2));
    for (name, value, coil) in [
        ("relay_1", "100", true),
        ("relay_2", "100", true),
        ("relay_1", "0", false),
    ] {
        let (code, said, complained) = site.ask(&["write", "relays", name, value]);
        assert_eq!(code, 0, "{complained}");
        assert!(said.contains("as the device shows"), "{said}");
        let number: u16 = name["relay_".len()..].parse().unwrap();
        assert_eq!(site.coil(number - 1), Some(coil), "{name}");
    }
    let (code, _, complained) = site.ask(&["write", "relays", "Command", "100"]);
    assert_eq!(code, 2, "{complained}");
    assert!(complained.contains("/3413/0/3 or /3413/1/3"), "{complained}");
    assert_eq!(site.coil(0), Some(false));
    assert_eq!(site.terminate(), Some(0));
}

#[test]
fn a_write_under_way_at_a_stop_is_finished_and_answered_first() {
    let late = Fault::Late(Duration::from_millis(100));
    let (answered, status) = stop_during_a_write(late);
    assert_eq!(code(&answered), 0, "{}", stderr(&answered));
    assert!(
        stdout(&answered).contains("as the device shows"),
        "{}",
        stdout(&answered)
    );
    assert_eq!(status, Some(0));
}

#[test]
fn a_write_that_nothing_confirms_does_not_hold_up_a_stop_for_long() {
    let began = Instant::now();
    let (answered, status) = stop_during_a_write(Fault::Mute);
    assert_eq!(code(&answered), 6, "{} {}", stdout(&answered), stderr(&answered));
    assert_eq!(status, Some(0));
    assert!(began.elapsed() < PATIENCE);
}

/// Switches a relay of a faulty board, ends the daemon while it waits for the board, and returns what the one who
/// switched was told and the daemon's exit status.
fn stop_during_a_write(fault: Fault) -> (Output, Option<i32>) {
    let mut site = Site::start();
    site.wait_for_value(Path::resource(3413, 0, 2));
    let order = move |line: &mut Line| line.set_faults(2, Faults::always(fault));
    site.runtime.block_on(site.line.handle.with(order)).unwrap();
    let write = program(&[
        "write",
        "relays",
        "relay_1",
        "100",
        "--socket",
        path_of(&site.socket()),
    ])
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while site.coil(0) != Some(true) {
        assert!(Instant::now() < deadline, "the relay was never switched");
    }
    let status = site.terminate();
    (write.wait_with_output().unwrap(), status)
}

#[test]
fn what_cannot_be_done_has_its_exit_status_and_a_reason() {
    let mut site = Site::start();
    site.wait_for_value(Path::resource(3413, 0, 2));
    let rows: [(&[&str], i32, &str); 6] = [
        (&["read", "metre"], 7, "did you mean \"meter\""),
        (&["read", "meter", "u_l9"], 7, "did you mean \"u_l"),
        (&["write", "relays", "/3413/0/3", "50"], 5, "/3413/0/3"),
        (
            &["write", "relays", "/3413/0/3", "bright"],
            5,
            "expected an integer",
        ),
        (&["write", "relays", "/3413/0/2", "100"], 5, "/3413/0/2"),
        (&["write", "relays", "/3413/0", "100"], 2, "no resource"),
    ];
    for (arguments, status, reason) in rows {
        let (code, _, complained) = site.ask(arguments);
        assert_eq!(code, status, "{arguments:?}: {complained}");
        assert!(complained.contains(reason), "{arguments:?}: {complained}");
    }
    assert_eq!(site.coil(0), Some(false));
    assert_eq!(site.terminate(), Some(0));
}

#[test]
fn a_stop_keeps_the_registrations_and_deregister_ends_them() {
    let mut site = Site::start();
    site.wait_for_value(Path::resource(3421, 0, 1));
    let (code, said, _) = site.ask(&["deregister", "meter"]);
    assert_eq!((code, said.as_str()), (0, "leaving: cab-1-meter\n"));
    site.wait_for(|event| matches!(event, Event::Deregistered { endpoint } if endpoint == "cab-1-meter"));
    assert_eq!(site.terminate(), Some(0));
    let clients = site.runtime.block_on(site.server.handle.clients()).unwrap();
    let names: Vec<&str> = clients.iter().map(|client| client.endpoint.as_str()).collect();
    assert_eq!(names, ["cab-1", "cab-1-relays"]);
}

#[test]
fn a_stop_can_end_the_registrations() {
    let mut site = Site::start();
    site.wait_for_value(Path::resource(3421, 0, 1));
    let file = site.folder.path().join("gateway.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        text.replace("name = \"cab-1\"", "name = \"cab-1\"\non_stop = \"deregister\""),
    )
    .unwrap();
    site.signal(Signal::HUP);
    site.wait_for_log("the new configuration is in force");
    site.wait_for_value(Path::resource(3421, 0, 1));
    assert_eq!(site.terminate(), Some(0));
    let clients = site.runtime.block_on(site.server.handle.clients()).unwrap();
    assert_eq!(clients, []);
}

#[test]
fn a_reload_applies_what_is_right_and_survives_what_is_wrong() {
    let mut site = Site::start();
    site.wait_for_value(Path::resource(3421, 0, 1));
    let file = site.folder.path().join("gateway.toml");
    let before = fs::read_to_string(&file).unwrap();

    fs::write(&file, before.replace("eastron.sdm630", "eastron.sdm631")).unwrap();
    site.signal(Signal::HUP);
    site.wait_for_log("there is no profile \"eastron.sdm631\"");
    site.wait_for_log("going on with the old one");
    assert_eq!(
        site.ask_json(&["devices"])["devices"].as_array().unwrap().len(),
        3
    );

    let without_relays = before
        .split("[[device]]")
        .take(2)
        .collect::<Vec<_>>()
        .join("[[device]]");
    fs::write(&file, without_relays).unwrap();
    site.signal(Signal::HUP);
    site.wait_for(|event| matches!(event, Event::Deregistered { endpoint } if endpoint == "cab-1-relays"));
    site.wait_for_log("the new configuration is in force");
    assert_eq!(
        site.ask_json(&["devices"])["devices"].as_array().unwrap().len(),
        2
    );
    assert_eq!(site.terminate(), Some(0));
}

#[test]
fn a_reload_that_cannot_be_run_leaves_everything_as_it_was() {
    let mut site = Site::start();
    site.wait_for_value(Path::resource(3421, 0, 1));
    let file = site.folder.path().join("gateway.toml");
    let before = fs::read_to_string(&file).unwrap();

    let twice = before.replace("unit = 2", "unit = 2\nendpoint = \"cab-1-meter\"");
    fs::write(&file, twice).unwrap();
    site.signal(Signal::HUP);
    site.wait_for_log("both have the endpoint name");
    let status = site.ask_json(&["status"]);
    assert_eq!(status["endpoints"][1]["state"], "registered", "{status}");

    fs::write(&file, &before).unwrap();
    site.signal(Signal::HUP);
    site.wait_for_log("the configuration has not changed");

    fs::write(&file, before.replace("control.sock", "other.sock")).unwrap();
    site.signal(Signal::HUP);
    site.wait_for_log("control_socket takes effect at the next start");
    site.wait_for_log("the new configuration is in force");
    assert_eq!(site.ask(&["status"]).0, 0);
    assert_eq!(site.terminate(), Some(0));
}
