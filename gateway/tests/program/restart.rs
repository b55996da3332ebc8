//! A daemon that was stopped, killed or told to read its configuration again goes on where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lwm2m_client::Path;
use rustix::process::Signal;
use ucifi_sim::server::Event;

use crate::site::{PATIENCE, Site};
use crate::{code, path_of, program, stderr};

const ENDPOINTS: [&str; 3] = ["cab-1", "cab-1-meter", "cab-1-relays"];

/// The power that the meter shows, another one each time it is read: what has not changed is not sent again.
const CHANGING: Path = Path::resource(3422, 0, 15);

/// Returns by endpoint where the clients are registered, and from which port.
fn registrations(site: &Site) -> BTreeMap<String, (String, SocketAddr)> {
    let clients = site.clients().into_iter();
    clients
        .map(|client| (client.endpoint, (client.location, client.address)))
        .collect()
}

/// Waits until every endpoint has registered and what the site shows has been received.
fn wait_until_all_is_well(site: &mut Site) -> BTreeMap<String, (String, SocketAddr)> {
    let mut missing = vec![Path::resource(3421, 0, 1), Path::resource(3413, 0, 2)];
    site.wait_for(|event| {
        let values = event.received().map_or(&[][..], |(_, values)| values);
        missing.retain(|path| values.iter().all(|value| value.path != *path));
        missing.is_empty()
    });
    let found = registrations(site);
    assert_eq!(found.keys().collect::<Vec<_>>(), ENDPOINTS);
    found
}

/// Waits until every endpoint has sent an Update; none may register.
fn wait_for_updates(site: &mut Site) {
    let mut missing: Vec<&str> = ENDPOINTS.to_vec();
    site.wait_for(|event| {
        if let Event::Registered(view) = event {
            panic!("{} registered anew", view.endpoint);
        }
        if let Event::Updated(view) = event {
            missing.retain(|endpoint| *endpoint != view.endpoint);
        }
        missing.is_empty()
    });
}

fn forget_what_happened(site: &mut Site) {
    while site.server.events.try_recv().is_ok() {}
}

#[test]
fn after_a_stop_or_a_kill_an_update_comes_from_the_same_ports_and_values_go_on() {
    let mut site = Site::start();
    let before = wait_until_all_is_well(&mut site);
    for is_killed in [false, true] {
        if is_killed {
            site.kill();
        } else {
            assert_eq!(site.terminate(), Some(0));
        }
        forget_what_happened(&mut site);
        site.start_again();
        wait_for_updates(&mut site);
        site.wait_for_value(CHANGING);
        assert_eq!(registrations(&site), before, "killed: {is_killed}");
    }
    assert_eq!(site.terminate(), Some(0));
}

#[test]
fn readings_that_waited_on_disk_survive_a_kill_and_arrive_with_their_times() {
    let mut site = Site::start();
    wait_until_all_is_well(&mut site);
    assert_eq!(site.terminate(), Some(0));
    site.reconfigure(
        "[[server]]",
        "[buffer]\nhold_ms = 0\ncommit_ms = 50\n\n[[server]]",
    );
    site.change(|manners| manners.silent = true);
    site.start_again();
    let stored = wait_until_stored(&site);
    site.kill();
    let killed = unix_ms();
    forget_what_happened(&mut site);
    site.change(|manners| manners.silent = false);
    site.start_again();
    let mut late = BTreeSet::new();
    site.wait_for(|event| {
        if let Event::Received { endpoint, values, .. } = event {
            let old = values
                .iter()
                .filter_map(|value| Some((value.path, value.time?.unix_ms())));
            let old = old.filter(|(_, time)| *time < killed);
            late.extend(old.map(|(path, time)| (endpoint.clone(), path, time)));
        }
        late.len() as u64 >= stored
    });
    assert_eq!(site.terminate(), Some(0));
}

/// Waits until some readings are on disk; returns how many.
fn wait_until_stored(site: &Site) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    // The socket is there a moment after the daemon has been started.
    while !site.socket().exists() {
        assert!(Instant::now() < deadline, "no socket");
    }
    loop {
        assert!(Instant::now() < deadline, "nothing was stored");
        let status = site.ask_json(&["status"]);
        let endpoints = status["endpoints"].as_array().unwrap().iter();
        let stored = endpoints
            .filter_map(|endpoint| endpoint["buffered"].as_u64())
            .sum();
        if stored > 0 {
            return stored;
        }
    }
}

fn unix_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since_1970.as_millis()).unwrap()
}

#[test]
fn a_range_of_local_ports_is_kept_to_across_restarts() {
    let mut site = Site::start();
    wait_until_all_is_well(&mut site);
    assert_eq!(site.terminate(), Some(0));
    let free = free_ports(4);
    let (first, last) = (free[0], free[3]);
    site.reconfigure(
        "name = \"test\"",
        &format!("name = \"test\"\nlocal_ports = [{first}, {last}]"),
    );
    let mut before = None;
    for _ in 0..2 {
        forget_what_happened(&mut site);
        site.start_again();
        wait_for_updates(&mut site);
        let ports: Vec<u16> = registrations(&site)
            .values()
            .map(|(_, address)| address.port())
            .collect();
        assert!(
            ports.iter().all(|port| (first..=last).contains(port)),
            "{ports:?}"
        );
        assert_eq!(*before.get_or_insert(ports.clone()), ports);
        assert_eq!(site.terminate(), Some(0));
    }
}

/// Returns ports in a row that nobody has.
fn free_ports(count: u16) -> Vec<u16> {
    let is_free = |port: &u16| std::net::UdpSocket::bind(("0.0.0.0", *port)).is_ok();
    // Below what the system gives away by itself.
    (20_000..30_000)
        .step_by(usize::from(count))
        .map(|first| (first..first + count).collect::<Vec<u16>>())
        .find(|ports| ports.iter().all(is_free))
        .unwrap()
}

#[test]
fn a_new_configuration_goes_on_with_the_registrations_and_the_ports() {
    let mut site = Site::start();
    let before = wait_until_all_is_well(&mut site);
    site.reconfigure("Feeder A", "Feeder B");
    forget_what_happened(&mut site);
    site.signal(Signal::HUP);
    site.wait_for_log("the new configuration is in force");
    wait_for_updates(&mut site);
    site.wait_for_value(CHANGING);
    assert_eq!(registrations(&site), before);
    assert_eq!(site.terminate(), Some(0));
}

#[test]
fn a_second_daemon_is_refused_the_folder_of_the_first() {
    let mut site = Site::start();
    wait_until_all_is_well(&mut site);
    let text = fs::read_to_string(site.folder.path().join("gateway.toml")).unwrap();
    let other = site.folder.path().join("other.toml");
    fs::write(&other, text.replace("control.sock", "other.sock")).unwrap();
    let output = program(&["run", "--config", path_of(&other)]).output().unwrap();
    assert_eq!(code(&output), 1);
    let complaint = stderr(&output);
    let folder = site.state_dir();
    let expected = format!(
        "error: {} is in use by another gateway (process ",
        folder.display()
    );
    assert!(complaint.contains(&expected), "{complaint}");
    site.wait_for_value(CHANGING);
    assert_eq!(site.terminate(), Some(0));
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    let text = format!(
        "[gateway]\nname = \"cab-1\"\nstate_dir = \"{}/state\"\ncontrol_socket = \"{}/control.sock\"\n",
        file.display(),
        folder.path().display()
    );
    fs::write(&file, text).unwrap();
    let output = program(&["run", "--config", path_of(&file)]).output().unwrap();
    assert_eq!(code(&output), 1);
    let complaint = stderr(&output);
    assert!(
        complaint.contains("gateway.toml/state") && complaint.contains("set state_dir"),
        "{complaint}"
    );
}

#[test]
fn a_destroyed_state_is_taken_from_its_copy_and_without_a_copy_everything_begins_anew() {
    let mut site = Site::start();
    let before = wait_until_all_is_well(&mut site);
    assert_eq!(site.terminate(), Some(0));
    destroy(&site, &["state/db", "state/conf"]);
    forget_what_happened(&mut site);
    site.start_again();
    site.wait_for_log("the state is taken from its copy");
    wait_for_updates(&mut site);
    site.wait_for_value(CHANGING);
    let ports = |found: BTreeMap<String, (String, SocketAddr)>| -> Vec<SocketAddr> {
        found.into_values().map(|(_, address)| address).collect()
    };
    assert_eq!(ports(registrations(&site)), ports(before));
    assert_eq!(site.terminate(), Some(0));

    destroy(&site, &["state/db", "state/conf", "snapshot", "snapshot.1"]);
    forget_what_happened(&mut site);
    site.start_again();
    site.wait_for_log("the state is lost, starting without");
    wait_until_all_is_well(&mut site);
    assert_eq!(site.terminate(), Some(0));
}

fn destroy(site: &Site, files: &[&str]) {
    for file in files {
        let path = site.state_dir().join(file);
        let len = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
        fs::write(path, vec![0xA5; len]).unwrap();
    }
}
