use std::collections::{BTreeMap, BTreeSet};

use ucifi_core::Profile;
use ucifi_core::field::{Link, PointId};

use super::*;

const EXAMPLE: &str = include_str!("../../gateway.example.toml");

const SITE: &str = r#"[gateway]
name = "cab-1"

[[server]]
name = "city"
uri = "coap://192.0.2.1"

[[bus]]
name = "rs485-1"
port = "/dev/ttyUSB0"

[[device]]
id = "meter-1"
profile = "eastron.sdm630"
bus = "rs485-1"
unit = 1
"#;

fn sources(texts: &[(&str, &str)]) -> Sources {
    let file = |(name, text): &(&str, &str)| File {
        name: (*name).to_owned(),
        text: (*text).to_owned(),
    };
    Sources {
        options: texts.iter().map(file).collect(),
        ..Sources::default()
    }
}

/// Reads `text` and returns what is wrong with it, as people see it.
fn mistakes(text: &str) -> Vec<String> {
    complaints(&sources(&[("gateway.toml", text)]))
}

fn complaints(sources: &Sources) -> Vec<String> {
    match read(sources) {
        Ok(loaded) => loaded.warnings.iter().map(ToString::to_string).collect(),
        Err(found) => found.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_example_is_valid_and_shows_every_option() {
    let loaded = read(&sources(&[("gateway.example.toml", EXAMPLE)])).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let mut shown = BTreeSet::new();
    let mut section = String::new();
    for line in EXAMPLE.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_matches(['[', ']']).to_owned();
        }
        let line = line.strip_prefix("# ").unwrap_or(line);
        if let Some((key, _)) = line.split_once(" = ") {
            shown.insert(format!("{section}.{key}"));
        }
    }
    let missing: Vec<&String> = loaded.options.difference(&shown).collect();
    assert!(missing.is_empty(), "not in gateway.example.toml: {missing:?}");
}

#[test]
fn what_the_example_shows_as_a_value_is_the_default() {
    let example = read(&sources(&[("gateway.example.toml", EXAMPLE)]))
        .unwrap()
        .configuration;
    let site = read(&sources(&[("gateway.toml", SITE)])).unwrap().configuration;
    let (shown, default) = (&example.servers[0], &site.servers[0]);
    let named = Server {
        name: shown.name.clone(),
        uri: shown.uri.clone(),
        ..default.clone()
    };
    assert_eq!(*shown, named);
    let named = GatewayOptions {
        name: example.gateway.name.clone(),
        ..site.gateway
    };
    assert_eq!(example.gateway, named);
    assert_eq!(example.buffer, site.buffer);
    assert_eq!(example.buses[0].writes, site.buses[0].writes);
    let links =
        "[[broker]]\nname = \"local\"\nuri = \"mqtt://127.0.0.1:1883\"\n[lorawan]\nregion = \"EU868\"\n";
    let text = format!("{SITE}{links}");
    let site = read(&sources(&[("gateway.toml", &text)])).unwrap().configuration;
    assert_eq!(example.brokers, site.brokers);
    assert_eq!(example.lorawan, site.lorawan);
}

#[test]
fn mistakes_in_a_broker_and_in_the_radio_network_are_told_with_their_places() {
    let text = r#"[[broker]]
name = "local"
uri = "mqtts://127.0.0.1"
version = "4"
password_file = "p"
retain = true

[lorawan]
region = "US915"
listen = "1700"
net_id = "13"
forwarders = ["AA555A000000010"]
"#;
    let found = complaints(&sources(&[("gateway.toml", SITE), ("conf.d/field.toml", text)]));
    assert_eq!(
        found,
        [
            "conf.d/field.toml:3:7: error: uri \"mqtts://127.0.0.1\": TLS is not in this version\n  help: use mqtt:// \
             inside a protected network",
            "conf.d/field.toml:4:11: error: version cannot be \"4\"\n  help: one of 3.1.1, 5",
            "conf.d/field.toml:5:17: error: password_file without username\n  help: MQTT has no password without a \
             user name",
            "conf.d/field.toml:6:1: error: unknown key \"retain\"\n  help: known here: client_id, discover, \
             keep_alive_secs, name, password_file, uri, username, version, writes",
            "conf.d/field.toml:9:10: error: region \"US915\" is not in this version\n  help: only \"EU868\" is",
            "conf.d/field.toml:10:10: error: listen \"1700\" is no address with a port\n  help: as in 127.0.0.1:1700, \
             or 0.0.0.0:1700 for forwarders on other machines",
            "conf.d/field.toml:11:10: error: net_id is not 6 hex digits\n  help: as in 000000",
            "conf.d/field.toml:12:15: error: forwarders is not 16 hex digits\n  help: as in 70B3D57ED0001234",
        ]
    );
}

#[test]
fn a_password_with_a_user_name_in_the_uri_is_refused_and_not_shown() {
    let text = format!("{SITE}[[broker]]\nname = \"b\"\nuri = \"mqtt://me:hunter2@127.0.0.1\"\n");
    let found = mistakes(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("password_file") && !found[0].contains("hunter2"),
        "{found:?}"
    );
}

#[test]
fn the_options_of_another_protocol_are_refused_with_what_is_needed() {
    let text = SITE.replace("unit = 1", "unit = 1\ntopic = \"plug-1\"");
    assert_eq!(
        mistakes(&text),
        [
            "gateway.toml:17:9: error: topic is for MQTT devices, and eastron.sdm630 is a Modbus device\n  help: it \
             needs bus and unit"
        ]
    );
}

#[test]
fn five_different_mistakes_are_all_told_with_their_places() {
    let text = r#"[gateway]
name = "cab-1"
answer_within = 4000

[[server]]
name = "city"
uri = "coaps://192.0.2.1"

[[bus]]
name = "rs485-1"
port = "/dev/ttyUSB0"
baud = 9800

[[device]]
id = "meter-1"
profile = "estron.sdm630"
bus = "rs485-1"
unit = 248
"#;
    assert_eq!(
        mistakes(text),
        [
            "gateway.toml:3:1: error: unknown key \"answer_within\"\n  help: did you mean \"answer_within_ms\"?",
            "gateway.toml:7:7: error: uri \"coaps://192.0.2.1\": DTLS is not in this version\n  help: use coap:// \
             inside a protected network",
            "gateway.toml:12:8: error: no serial port runs at 9800 baud\n  help: did you mean 9600?",
            "gateway.toml:16:11: error: there is no profile \"estron.sdm630\"\n  help: did you mean \
             \"eastron.sdm630\"?",
            "gateway.toml:18:8: error: unit is 248, which is not between 1 and 247",
        ]
    );
}

#[test]
fn the_state_goes_to_a_folder_that_does_not_depend_on_where_the_gateway_is_started() {
    let text = SITE.replace("\"cab-1\"", "\"cab-1\"\nstate_dir = \"state\"");
    assert_eq!(
        mistakes(&text),
        [
            "gateway.toml:3:13: error: state_dir \"state\" is no absolute path\n  help: as in state_dir = \
             \"/var/lib/ucifi-gateway\""
        ]
    );
}

#[test]
fn names_and_addresses_are_taken_once_also_across_files() {
    let more = r#"[[device]]
id = "meter-1"
profile = "eastron.sdm120"
bus = "rs485-1"
unit = 2

[[device]]
id = "meter-2"
profile = "eastron.sdm120"
bus = "rs485-1"
unit = 1
"#;
    assert_eq!(
        complaints(&sources(&[("gateway.toml", SITE), ("devices.d/more.toml", more)])),
        [
            "devices.d/more.toml:2:6: error: another device has the id \"meter-1\"\n  help: the first one is at \
             gateway.toml:13:6",
            "devices.d/more.toml:11:8: error: bus rs485-1 unit 1 is taken\n  help: meter-1 has it, at \
             gateway.toml:12:1",
        ]
    );
}

#[test]
fn an_unknown_bus_and_an_unknown_point_are_told_with_the_nearest() {
    let text = SITE.replace("bus = \"rs485-1\"\nunit = 1", "bus = \"rs485_1\"\nunit = 1");
    assert_eq!(
        mistakes(&text),
        ["gateway.toml:15:7: error: there is no bus \"rs485_1\"\n  help: did you mean \"rs485-1\"?"]
    );
    let text = format!("{SITE}intervals_ms = {{ u_l1 = 500, u_l4 = 500 }}\n");
    assert_eq!(
        mistakes(&text),
        ["gateway.toml:17:37: error: eastron.sdm630 has no point \"u_l4\"\n  help: did you mean \"u_l3\"?"]
    );
}

#[test]
fn local_ports_must_do_for_every_endpoint() {
    let text = SITE.replace("192.0.2.1\"", "192.0.2.1\"\nlocal_ports = [57000, 57000]");
    assert_eq!(
        mistakes(&text),
        [
            "gateway.toml:7:15: error: local_ports has 1 ports for 2 endpoints: the devices and the cabinet itself\n  \
             help: as in local_ports = [57000, 57001]"
        ]
    );
}

#[test]
fn more_devices_than_a_gateway_serves_are_refused() {
    let many = "[[device]]\n".repeat(crate::limits::DEVICES + 1);
    let found = complaints(&sources(&[
        ("gateway.toml", SITE),
        ("devices.d/many.toml", &many),
    ]));
    assert!(
        found.iter().any(|line| line.contains("more than 10000 devices")),
        "{found:?}"
    );
}

#[test]
fn a_device_on_a_broken_bus_is_not_blamed() {
    let text = SITE.replace("/dev/ttyUSB0", "ttyUSB0");
    let found = mistakes(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("no absolute path"), "{found:?}");
}

#[test]
fn without_a_gateway_section_there_is_no_gateway() {
    let found = mistakes("");
    assert!(
        found.iter().any(|line| line.contains("there is no [gateway]")),
        "{found:?}"
    );
}

#[test]
fn a_site_is_read_with_its_defaults() {
    let text = format!("{SITE}intervals_ms = {{ u_l1 = 500 }}\n");
    let configuration = read(&sources(&[("gateway.toml", &text)])).unwrap().configuration;
    let device = &configuration.devices[0];
    let points = device.profile.points();
    let voltage = points.iter().position(|point| &*point.name == "u_l1").unwrap();
    assert_eq!(
        device.link,
        Link::Modbus {
            bus: "rs485-1".into(),
            unit: 1
        }
    );
    assert_eq!(
        device.intervals_ms,
        BTreeMap::from([(PointId(voltage as u16), 500)])
    );
    assert_eq!(device.endpoint_name("cab-1"), "cab-1-meter-1");
    let port = BusPort::Serial {
        path: "/dev/ttyUSB0".to_owned(),
        baud: 9600,
        format: SerialFormat::N1,
    };
    assert_eq!(
        configuration.buses,
        [Bus {
            name: "rs485-1".into(),
            port,
            writes: false
        }]
    );
}

fn with_variables(variables: &[(&str, &str)]) -> Sources {
    let variables = variables
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    Sources {
        overrides: Override::from_variables(variables).unwrap(),
        ..sources(&[("gateway.toml", SITE), ("conf.d/field.toml", FIELD)])
    }
}

const FIELD: &str =
    "[[broker]]\nname = \"local\"\nuri = \"mqtt://127.0.0.1\"\n[lorawan]\nregion = \"EU868\"\n";

#[test]
fn the_environment_overrides_single_options() {
    let sources = with_variables(&[
        ("UCIFI__GATEWAY__NAME", "cab-2"),
        ("UCIFI__SERVER__CITY__URI", "coap://192.0.2.9:5783"),
        ("UCIFI__SERVER__CITY__MODEL", "2023"),
        ("UCIFI__BUFFER__HOLD_MS", "0"),
        ("UCIFI__SERVER__CITY__BUFFER_MAX_AGE_DAYS", "0"),
        ("UCIFI__BUS__RS485_1__BAUD", "19200"),
        ("UCIFI__BROKER__LOCAL__VERSION", "5"),
        ("UCIFI__LORAWAN__LISTEN", "0.0.0.0:1701"),
        ("UCIFI__DEVICE__METER_1__UNIT", "7"),
        ("UCIFI_CONFIG", "/elsewhere"),
        ("HOME", "/root"),
    ]);
    let configuration = read(&sources).unwrap().configuration;
    assert_eq!(&*configuration.gateway.name, "cab-2");
    assert_eq!(configuration.servers[0].uri.port, 5783);
    assert_eq!(configuration.servers[0].model.name(), "2023");
    assert_eq!(configuration.buffer.hold_ms, 0);
    assert_eq!(configuration.servers[0].buffer.max_age_days, None);
    assert!(matches!(
        configuration.buses[0].port,
        BusPort::Serial { baud: 19_200, .. }
    ));
    assert_eq!(configuration.brokers[0].version, MqttVersion::V5);
    assert_eq!(configuration.lorawan.unwrap().listen.port(), 1701);
    assert_eq!(
        configuration.devices[0].link,
        Link::Modbus {
            bus: "rs485-1".into(),
            unit: 7
        }
    );
}

#[test]
fn a_variable_that_fits_nothing_is_told_by_its_name() {
    let found = complaints(&with_variables(&[
        ("UCIFI__GATEWAY__NAMES", "x"),
        ("UCIFI__SERVER__TOWN__URI", "coap://h"),
        ("UCIFI__BUS__RS485_1__BAUD", "fast"),
    ]));
    assert_eq!(
        found,
        [
            "UCIFI__BUS__RS485_1__BAUD:1:8: error: baud must be an integer, not a string",
            "UCIFI__GATEWAY__NAMES:1:1: error: unknown key \"names\"\n  help: did you mean \"name\"?",
            "UCIFI__SERVER__TOWN__URI:1:1: error: there is no server \"town\"\n  help: the name in lower case, with _ \
             for everything but letters and digits",
        ]
    );
    let unknown = BTreeMap::from([("UCIFI__NAME".to_owned(), "x".to_owned())]);
    assert_eq!(
        Override::from_variables(unknown),
        Err(vec![("UCIFI__NAME".to_owned(), "names no option".to_owned())])
    );
}

#[test]
fn profiles_of_the_site_join_the_catalogue_and_their_mistakes_are_told() {
    let broken = File {
        name: "profiles.d/x.toml".to_owned(),
        text: "schema = 1\nid = 3\n".to_owned(),
    };
    let sources = Sources {
        profiles: vec![broken],
        ..sources(&[("gateway.toml", SITE)])
    };
    let found = complaints(&sources);
    assert!(
        found
            .iter()
            .any(|line| line.starts_with("profiles.d/x.toml:2:6: error: ")),
        "{found:?}"
    );
}
