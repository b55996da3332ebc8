//! A cabinet with an SDM630 and relay boards on a Leshan server, under each model.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cabinet::Cabinet;

/// Register values of the meter: address and value, as the Eastron protocol document lists them.
const METER: [(u16, f32); 24] = [
    (0x00, 230.5),
    (0x02, 231.25),
    (0x04, 229.75),
    (0x06, 4.5),
    (0x08, 3.25),
    (0x0A, 2.0),
    (0x0C, 1037.25),
    (0x0E, -751.5),
    (0x10, 459.5),
    (0x18, 12.5),
    (0x1A, -8.25),
    (0x1C, 4.0),
    (0x1E, 0.98),
    (0x20, -0.97),
    (0x22, 0.99),
    (0x30, 9.75),
    (0x34, 745.25),
    (0x3C, 8.25),
    (0x46, 50.02),
    (0x48, 5188.847),
    (0x4A, 12.5),
    (0x4C, 101.5),
    (0x4E, 3.25),
    (0x15A, 1729.25),
];

/// What the server must read from them: path and value in the registry's unit.
const EXPECTED: [(&str, f64); 10] = [
    ("/3421/0/1", 230.5),
    ("/3421/1/1", 231.25),
    ("/3421/2/1", 229.75),
    ("/3421/0/6", 4.5),
    ("/3421/0/16", 1037.25),
    ("/3421/1/16", 0.0),
    ("/3421/1/17", 751.5),
    ("/3422/0/15", 745.25),
    ("/3422/0/17", 5_188_847.0),
    ("/3421/0/25", 1_729_250.0),
];

fn start(model: &str) -> anyhow::Result<Cabinet> {
    with_meter_values(Cabinet::start(model)?)
}

fn with_meter_values(mut cabinet: Cabinet) -> anyhow::Result<Cabinet> {
    for (address, value) in METER {
        cabinet.set_meter(1, address, &[value])?;
        cabinet.set_meter(4, address, &[value])?;
    }
    Ok(cabinet)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn close(seen: f64, expected: f64) -> bool {
    (seen - expected).abs() <= expected.abs() * 1e-6 + 1e-9
}

/// Checks every expected value that lies below `path` in an answer.
fn check_values(answer: &Value, path: &str, least: usize) {
    let below = EXPECTED
        .iter()
        .filter(|(at, _)| *at == path || at.starts_with(&format!("{path}/")));
    let mut checked = 0;
    for (at, expected) in below {
        let seen = number(&answer["values"][*at]);
        assert!(
            close(seen, *expected),
            "{at}: the server read {seen}, the register holds {expected}, in {answer}"
        );
        checked += 1;
    }
    assert!(checked >= least, "only {checked} values below {path}: {answer}");
}

/// What a model shows: the version of an object is none where its links carry no `ver`.
struct Shown {
    model: &'static str,
    meter: [(u16, Option<&'static str>); 3],
    relay: Option<&'static str>,
    feeder: Option<&'static str>,
    /// 5188.847 kWh of the feeder's register in the unit of /3418/0/6.
    energy: f64,
}

fn check_model(shown: &Shown) -> anyhow::Result<()> {
    let mut cabinet = start(shown.model)?;
    for endpoint in ["cab-17", "cab-17-meter", "cab-17-relays", "cab-17-feeder"] {
        cabinet.registered(endpoint)?;
    }
    let meter = cabinet.announced("cab-17-meter", &["</3421/2>", "</3422/0>"])?;
    let relays = cabinet.announced("cab-17-relays", &["</3413/7>"])?;
    let feeder = cabinet.announced("cab-17-feeder", &["</3418/0>"])?;
    for (object, version) in shown.meter {
        check_version(&meter, object, version);
    }
    check_version(&relays, 3413, shown.relay);
    check_version(&feeder, 3418, shown.feeder);
    for (format, name) in [(11542, "TLV"), (110, "SENML_JSON"), (112, "SENML_CBOR")] {
        for (path, least) in [("/3421", 8), ("/3421/0", 4), ("/3422/0", 2), ("/3421/1/17", 1)] {
            let answer = read(&mut cabinet, "cab-17-meter", path, name, format)?;
            check_values(&answer, path, least);
        }
        let answer = read(&mut cabinet, "cab-17-feeder", "/3418/0/6", name, format)?;
        let energy = number(&answer["values"]["/3418/0/6"]);
        assert!(
            close(energy, shown.energy),
            "{energy} under model {}",
            shown.model
        );
    }
    Ok(())
}

fn read(cabinet: &mut Cabinet, endpoint: &str, path: &str, name: &str, format: u16) -> anyhow::Result<Value> {
    let answer = cabinet.ask(endpoint, json!({"op": "read", "path": path, "format": name}))?;
    assert_eq!(answer["status"], 205, "{answer}");
    assert_eq!(answer["format"], format, "{answer}");
    Ok(answer)
}

fn check_version(registration: &Value, object: u16, version: Option<&str>) {
    let links = registration["links"].to_string();
    match version {
        Some(version) => assert!(
            links.contains(&format!("</{object}>;ver={version}")),
            "{object} in {links}"
        ),
        None => assert!(
            !links.contains(&format!("</{object}>;ver=")),
            "{object} in {links}"
        ),
    }
}

#[test]
fn under_model_2020_the_cabinet_is_read_in_every_format() -> anyhow::Result<()> {
    check_model(&Shown {
        model: "2020",
        meter: [(3421, None), (3422, None), (3410, None)],
        relay: None,
        feeder: None,
        energy: 5_188.847,
    })
}

#[test]
fn under_model_2023_the_cabinet_is_read_in_every_format() -> anyhow::Result<()> {
    check_model(&Shown {
        model: "2023",
        meter: [(3421, Some("2.0")), (3422, None), (3410, Some("2.0"))],
        relay: Some("1.1"),
        feeder: Some("2.0"),
        energy: 5_188_847.0,
    })
}

#[test]
fn under_model_2026_the_cabinet_is_read_in_every_format() -> anyhow::Result<()> {
    check_model(&Shown {
        model: "2026",
        meter: [(3421, Some("2.0")), (3422, None), (3410, Some("2.0"))],
        relay: Some("1.1"),
        feeder: Some("2.1"),
        energy: 5_188_847.0,
    })
}

#[test]
fn an_observed_value_notifies_within_a_second_of_the_poll_that_saw_it_change() -> anyhow::Result<()> {
    let mut cabinet = start("2026")?;
    cabinet.registered("cab-17-meter")?;
    cabinet.announced("cab-17-meter", &["</3421/0>"])?;
    let observed = cabinet.ask(
        "cab-17-meter",
        json!({"op": "observe", "path": "/3421/0/1", "format": "SENML_CBOR"}),
    )?;
    assert_eq!(observed["status"], 205, "{observed}");
    cabinet.leshan.forget();
    cabinet.set_meter(1, 0, &[241.5])?;
    let notified = cabinet
        .leshan
        .wait_for("a notification", Duration::from_secs(20), |line| {
            line["event"] == "notification" && number(&line["value"]) == 241.5
        })?;
    let values = cabinet.cli(&["read", "meter", "/3421/0/1"])?;
    let measured = (number(&values["values"][0]["time"]) * 1000.0).round() as i64;
    let received = notified["received_ms"].as_i64().unwrap_or(i64::MAX);
    // The value may have been polled again since; its first sighting is not later than that.
    assert!(
        received - measured < 1000,
        "polled at {measured}, received at {received}"
    );
    Ok(())
}

#[test]
fn a_write_switches_the_relay_and_is_answered_after_the_read_back() -> anyhow::Result<()> {
    let mut cabinet = start("2026")?;
    cabinet.registered("cab-17-relays")?;
    cabinet.announced("cab-17-relays", &["</3413/3>"])?;
    for (value, on) in [(100, true), (0, false), (100, true)] {
        let answer = cabinet.ask(
            "cab-17-relays",
            json!({"op": "write", "path": "/3413/3/3", "value": value}),
        )?;
        assert_eq!(answer["status"], 204, "{answer}");
        assert_eq!(cabinet.coils(2)?[3], on, "the answer came before the relay moved");
        let level = cabinet.ask(
            "cab-17-relays",
            json!({"op": "read", "path": "/3413/3/2", "format": "TLV"}),
        )?;
        assert_eq!(
            level["values"]["/3413/3/2"], value,
            "the read-back is what the server reads next"
        );
    }
    Ok(())
}

#[test]
fn what_is_refused_absent_or_unfit_gets_the_code_of_the_design() -> anyhow::Result<()> {
    let mut cabinet = start("2026")?;
    cabinet.registered("cab-17-stubborn")?;
    cabinet.announced("cab-17-stubborn", &["</3413/0>"])?;
    cabinet.refuse_writes(3)?;
    let mut check = |request: Value, status: u64| -> anyhow::Result<()> {
        let answer = cabinet.ask("cab-17-stubborn", request.clone())?;
        assert_eq!(answer["status"], status, "{request} was answered {answer}");
        Ok(())
    };
    check(json!({"op": "write", "path": "/3413/0/3", "value": 100}), 500)?;
    check(json!({"op": "write", "path": "/3413/0/3", "value": 101}), 400)?;
    check(json!({"op": "write", "path": "/3413/0/3", "value": 50}), 400)?;
    check(json!({"op": "write", "path": "/3413/0/1", "value": 50}), 405)?;
    check(json!({"op": "read", "path": "/3413/9"}), 404)?;
    check(json!({"op": "read", "path": "/0"}), 401)?;
    check(json!({"op": "execute", "path": "/3413/0/3"}), 405)?;
    Ok(())
}

#[test]
fn a_board_that_fell_silent_answers_with_5_03() -> anyhow::Result<()> {
    let mut cabinet = start("2026")?;
    cabinet.registered("cab-17-relays")?;
    cabinet.announced("cab-17-relays", &["</3413/0>"])?;
    cabinet.silence(2)?;
    let gone = cabinet.wait_for_code(
        "cab-17-relays",
        json!({"op": "write", "path": "/3413/0/3", "value": 100}),
        503,
    )?;
    assert!(gone["max_age"].as_u64().is_some_and(|secs| secs <= 60), "{gone}");
    Ok(())
}

#[test]
fn readings_arrive_by_send_with_the_time_of_their_poll() -> anyhow::Result<()> {
    let mut cabinet = start("2026")?;
    cabinet.registered("cab-17-meter")?;
    let sent = cabinet
        .leshan
        .wait_for("a sent voltage", Duration::from_secs(30), |line| {
            line["event"] == "send" && line["path"] == "/3421/0/1" && number(&line["value"]) == 230.5
        })?;
    let (time, received) = (sent["time_ms"].as_i64(), sent["received_ms"].as_i64());
    let age = received.zip(time).map(|(received, time)| received - time);
    assert!(age.is_some_and(|age| (0..5000).contains(&age)), "{sent}");
    Ok(())
}

#[test]
fn a_gateway_that_is_to_deregister_does_so_when_it_is_stopped_and_registers_anew() -> anyhow::Result<()> {
    let mut cabinet = start("2026")?;
    cabinet.registered("cab-17-meter")?;
    assert_eq!(cabinet.stop_gateway()?, Some(0));
    cabinet.configure("[gateway]", "[gateway]\non_stop = \"deregister\"")?;
    cabinet.leshan.forget();
    cabinet.start_gateway()?;
    cabinet.hears("updated", "cab-17-meter")?;
    assert_eq!(cabinet.stop_gateway()?, Some(0));
    cabinet.hears("deregistered", "cab-17-meter")?;
    cabinet.start_gateway()?;
    cabinet.registered("cab-17-meter")?;
    Ok(())
}

#[test]
fn a_server_discovers_sets_attributes_and_observes_a_whole_instance() -> anyhow::Result<()> {
    let mut cabinet = start("2026")?;
    cabinet.registered("cab-17-meter")?;
    cabinet.announced("cab-17-meter", &["</3422/0>"])?;
    let set = json!({"op": "attributes", "path": "/3422/0/15", "query": "pmin=1&pmax=600&st=5.5"});
    assert_eq!(cabinet.ask("cab-17-meter", set)?["status"], 204);
    let links =
        cabinet.ask("cab-17-meter", json!({"op": "discover", "path": "/3422/0"}))?["links"].to_string();
    assert!(links.contains("</3422/0/15>;pmin=1;pmax=600;st=5.5"), "{links}");
    assert!(links.contains("</3422/0/5518>"), "{links}");
    let observed = cabinet.ask(
        "cab-17-meter",
        json!({"op": "observe", "path": "/3422/0", "format": "SENML_JSON"}),
    )?;
    assert_eq!(observed["status"], 205, "{observed}");
    cabinet.leshan.forget();
    cabinet.set_meter(1, 0x34, &[1500.0])?;
    cabinet.leshan.wait_for(
        "a notification of the instance",
        Duration::from_secs(20),
        |line| {
            line["event"] == "notification"
                && line["path"] == "/3422/0/15"
                && number(&line["value"]) == 1500.0
        },
    )?;
    Ok(())
}

#[test]
fn behind_modbus_tcp_the_meter_is_read_and_a_relay_switched() -> anyhow::Result<()> {
    let mut cabinet = with_meter_values(Cabinet::start_tcp("2026")?)?;
    cabinet.registered("cab-17-meter")?;
    cabinet.announced("cab-17-meter", &["</3421/2>", "</3422/0>"])?;
    let answer = read(&mut cabinet, "cab-17-meter", "/3421", "SENML_CBOR", 112)?;
    check_values(&answer, "/3421", 8);
    cabinet.announced("cab-17-relays", &["</3413/3>"])?;
    let write = json!({"op": "write", "path": "/3413/3/3", "value": 100});
    assert_eq!(cabinet.ask("cab-17-relays", write)?["status"], 204);
    assert!(cabinet.coils(2)?[3], "the answer came before the relay moved");
    Ok(())
}
