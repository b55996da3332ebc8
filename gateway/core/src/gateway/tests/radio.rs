//! What servers are told of a device's radio.

use lwm2m_client::object::Model;

use crate::field::{DeviceClass, Radio, Reachability};
use crate::testing::{Node, StateStore, TestCabinet, Way, data, lamp, one_server, radio};
use crate::{Config, Uplink};

const LAMP: u32 = 1;

fn config() -> Config {
    let node = Node::new(Way::Radio(DeviceClass::C));
    one_server(Model::Y2026, vec![lamp("lamp-1", node)])
}

fn registered() -> TestCabinet {
    let mut cabinet = TestCabinet::kept(config(), StateStore::default());
    cabinet.run_ms(2_000);
    cabinet
}

fn heard(rssi_dbm: f64, data_rate: u8) -> Radio {
    Radio {
        rssi_dbm,
        snr_db: 7.5,
        data_rate,
        frequency_hz: 868_300_000,
        f_cnt_up: 1,
    }
}

/// Lets the lamp say the same as ever, heard like this.
fn hear(cabinet: &mut TestCabinet, heard: Radio) {
    let uplink = Uplink::new(radio(), data(&[(0, 1, None)]), cabinet.now);
    cabinet.hear(Uplink {
        radio: Some(Box::new(heard)),
        ..uplink
    });
}

fn ok(text: &str) -> (String, String) {
    ("2.05".to_owned(), text.to_owned())
}

fn sent(cabinet: &mut TestCabinet) -> Vec<String> {
    cabinet.run_ms(1_000);
    cabinet.sent().concat()
}

#[test]
fn a_device_on_the_radio_has_its_address_and_what_is_heard_of_it() {
    let mut cabinet = registered();
    assert!(cabinet.object_lists(LAMP).concat().contains("</3412/0>"));
    assert_eq!(cabinet.read(LAMP, "/3412/0/1"), ok("LoRaWAN"));
    assert_eq!(cabinet.read(LAMP, "/3412/0/6"), ok("70B3D56770FF031A"));
    assert_eq!(cabinet.read(LAMP, "/3412/0/20").0, "4.04");
    hear(&mut cabinet, heard(-97.0, 5));
    for (resource, text) in [
        (20, "-97"),
        (18, "7.5"),
        (10, "684"),
        (12, "868300000"),
        (19, "0"),
    ] {
        assert_eq!(cabinet.read(LAMP, &format!("/3412/0/{resource}")), ok(text));
    }
}

#[test]
fn the_facts_are_no_flood_and_can_be_read_all_the_same() {
    let mut cabinet = registered();
    hear(&mut cabinet, heard(-97.0, 5));
    let first = sent(&mut cabinet);
    assert!(first.contains(&"/3412/0/20 -97".to_owned()), "{first:?}");
    for step in 1..=59_u32 {
        cabinet.run_ms(58_000);
        hear(&mut cabinet, heard(-97.0 - f64::from(step), 5));
        assert_eq!(sent(&mut cabinet), [""; 0]);
    }
    assert_eq!(cabinet.read(LAMP, "/3412/0/20"), ok("-156"));
    cabinet.run_ms(120_000);
    hear(&mut cabinet, heard(-90.0, 5));
    let told = [
        "/3412/0/20 -90",
        "/3412/0/18 7.5",
        "/3412/0/10 684",
        "/3412/0/12 868300000",
    ];
    assert_eq!(sent(&mut cabinet), told, "once an hour");
    hear(&mut cabinet, heard(-90.0, 0));
    assert!(
        sent(&mut cabinet).contains(&"/3412/0/10 31".to_owned()),
        "another data rate"
    );
}

#[test]
fn an_observer_is_told_each_time_how_a_device_is_heard() {
    let mut cabinet = registered();
    hear(&mut cabinet, heard(-97.0, 5));
    let observe = cabinet.server.observe("/3412/0/20");
    cabinet.datagram(LAMP, &observe);
    cabinet.run_ms(2_000);
    cabinet.answers();
    hear(&mut cabinet, heard(-98.0, 5));
    cabinet.run_ms(2_000);
    assert_eq!(cabinet.answer().text, "-98");
}

#[test]
fn a_device_that_is_not_heard_any_more_is_told_at_once() {
    let mut cabinet = registered();
    hear(&mut cabinet, heard(-97.0, 5));
    sent(&mut cabinet);
    let silent = Reachability::Unreachable("nothing heard for 1800 s".to_owned());
    cabinet.gateway.handle_reachability(&radio(), silent, cabinet.now);
    assert_eq!(cabinet.read(LAMP, "/3412/0/19"), ok("1"));
    assert!(sent(&mut cabinet).contains(&"/3412/0/19 true".to_owned()));
    hear(&mut cabinet, heard(-97.0, 5));
    assert!(sent(&mut cabinet).contains(&"/3412/0/19 false".to_owned()));
}

#[test]
fn what_was_known_of_the_radio_outlives_a_restart() {
    let mut cabinet = registered();
    hear(&mut cabinet, heard(-97.0, 5));
    cabinet.run_ms(20_000);
    cabinet.stop();
    cabinet.restart(config());
    cabinet.run_ms(2_000);
    assert_eq!(cabinet.read(LAMP, "/3412/0/20"), ok("-97"));
}
