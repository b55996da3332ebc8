use std::collections::BTreeMap;
use std::sync::Arc;

use lwm2m_client::object::Model;

use super::meter_and_relay;
use crate::field::PointId;
use crate::limits;
use crate::testing::{self, Meter, device, one_server};
use crate::{AccountConfig, Config, ConfigError, Gateway};

fn error(change: impl FnOnce(&mut Config)) -> String {
    let mut config = meter_and_relay(Model::Y2026);
    change(&mut config);
    let result = Gateway::new(config, testing::table(), 1, testing::start());
    result
        .err()
        .expect("the configuration contradicts itself")
        .to_string()
}

#[test]
fn a_device_id_that_is_used_twice_is_named() {
    let text = error(|config| config.devices[1].id = "meter-1".into());
    assert!(text.contains("\"meter-1\" is used twice"), "{text}");
    let text = error(|config| config.devices[1].id = "cab-17".into());
    assert!(text.contains("\"cab-17\""), "the cabinet is a device too: {text}");
}

#[test]
fn two_devices_at_one_address_are_named() {
    let text = error(|config| config.devices[1].link = config.devices[0].link.clone());
    assert!(
        text.contains("meter-1 and relay-1 are both on bus rs485 unit 1"),
        "{text}"
    );
}

#[test]
fn an_endpoint_name_that_is_used_twice_is_named() {
    let text = error(|config| config.devices[1].endpoint = Some("cab-17-meter-1".into()));
    assert!(
        text.contains("meter-1 and relay-1 both have the endpoint name \"cab-17-meter-1\""),
        "{text}"
    );
    let text = error(|config| config.devices[1].endpoint = Some("cab-17".into()));
    assert!(text.contains("cab-17 and relay-1"), "{text}");
}

#[test]
fn two_servers_of_one_name_are_named() {
    let text = error(|config| {
        config
            .accounts
            .push(AccountConfig::new("city", "coap://192.0.2.2"))
    });
    assert!(text.contains("server name \"city\""), "{text}");
}

#[test]
fn an_interval_for_a_point_that_is_not_there_is_named() {
    let text = error(|config| config.devices[0].intervals = BTreeMap::from([(PointId(6), 1_000)]));
    assert!(
        text.contains("meter-1 sets the interval of point 6, but example.m6 has 6 points"),
        "{text}"
    );
}

#[test]
fn a_profile_that_fills_what_no_object_has_is_named() {
    let text = error(|config| {
        let derivation = crate::profile::Derivation {
            target: "/3421/0/999".parse().unwrap(),
            rule: crate::profile::Rule::Same,
            sources: vec!["/3421/0/16".parse().unwrap()],
            quality: crate::Quality::Good,
        };
        config.devices[0].profile = Arc::new(Meter::deriving(vec![derivation]));
    });
    assert!(text.contains("example.m6 of meter-1 fills /3421/0/999"), "{text}");
}

fn servers(account: &AccountConfig, count: usize) -> Vec<AccountConfig> {
    let server = |n| AccountConfig {
        name: format!("server-{n}").into(),
        ..account.clone()
    };
    (0..count).map(server).collect()
}

#[test]
fn more_endpoints_than_one_gateway_serves_are_refused() {
    let units = 1..=u8::try_from(limits::MAX_ENDPOINTS / limits::MAX_ACCOUNTS).unwrap();
    let devices = units.map(|unit| device(&format!("meter-{unit}"), unit, Meter::new()));
    let mut config = one_server(Model::Y2026, devices.collect());
    config.accounts = servers(&config.accounts[0], limits::MAX_ACCOUNTS);
    let result = Gateway::new(config, testing::table(), 1, testing::start());
    assert!(matches!(result.err(), Some(ConfigError::TooManyEndpoints { .. })));
}

#[test]
fn more_servers_than_one_gateway_serves_are_refused() {
    let mut config = one_server(Model::Y2026, vec![device("meter-1", 1, Meter::new())]);
    config.accounts = servers(&config.accounts[0], limits::MAX_ACCOUNTS + 1);
    let result = Gateway::new(config, testing::table(), 1, testing::start());
    assert!(matches!(result.err(), Some(ConfigError::TooManyAccounts { .. })));
}

#[test]
fn endpoints_are_numbered_server_by_server_and_named_after_gateway_and_device() {
    let mut config = meter_and_relay(Model::Y2026);
    config
        .accounts
        .push(AccountConfig::new("utility", "coap://192.0.2.2"));
    config.devices[1].endpoint = Some("urn:dev:ops:0A1B2C-R1-4711".into());
    let gateway = Gateway::new(config, testing::table(), 1, testing::start()).unwrap();
    let names: Vec<(u32, Arc<str>, Arc<str>)> = gateway
        .endpoints()
        .into_iter()
        .map(|e| (e.id.0, e.account, e.name))
        .collect();
    let expected = [
        (0, "city", "cab-17"),
        (1, "city", "cab-17-meter-1"),
        (2, "city", "urn:dev:ops:0A1B2C-R1-4711"),
        (3, "utility", "cab-17"),
        (4, "utility", "cab-17-meter-1"),
        (5, "utility", "urn:dev:ops:0A1B2C-R1-4711"),
    ];
    assert_eq!(
        names,
        expected.map(|(id, account, name)| (id, account.into(), name.into()))
    );
}
