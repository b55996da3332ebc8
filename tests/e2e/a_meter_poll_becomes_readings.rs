//! From the registers of a meter over the bus, the gateway and the network to the server.

use std::time::Duration;

use lwm2m_client::{ObjectId, Path, Value};
use ucifi_core::Quality;
use ucifi_core::field::Table;
use ucifi_sim::cabinet::{Cabinet, Plan};
use ucifi_sim::modbus_unit::{Signal, Unit};
use ucifi_sim::server::{Code, Event, Origin, ServerRequest, content_format};

use crate::meter;

const SECOND: Duration = Duration::from_secs(1);
const VOLTAGE: Path = Path::resource(3421, 0, 1);
const METER: &str = "cab-17-meter-1";

fn steady_meter(volts: f64) -> Cabinet {
    let mut unit = Unit::sdm630(3);
    unit.registers_mut()
        .set_f32(Table::InputRegisters, 0, Signal::Constant(volts));
    Plan::new(1).with("meter-1", "eastron.sdm630", unit).build()
}

#[test]
fn every_value_that_is_sent_was_shown_by_the_meter_at_the_time_that_comes_with_it() {
    let mut cabinet = Plan::new(1).with_meter("meter-1", 3).build();
    cabinet.run_for(SECOND * 300);
    assert!(meter::check_arrivals(&cabinet, "meter-1", 3) > 300);
    // The server knows an object before it gets values of it, and so it never refuses any.
    let refused = cabinet
        .server_events()
        .iter()
        .filter(|(_, event)| matches!(event, Event::Refused { .. }));
    assert_eq!(refused.count(), 0);
}

#[test]
fn a_meter_and_a_relay_board_appear_as_clients_of_their_own() {
    let mut cabinet = Plan::new(1)
        .with_meter("meter-1", 3)
        .with_relays("relays", 4)
        .build();
    cabinet.run_for(SECOND * 10);
    let clients = cabinet.server().clients();
    let names: Vec<&str> = clients.iter().map(|client| client.endpoint.as_str()).collect();
    assert_eq!(names, ["cab-17", METER, "cab-17-relays"]);
    let offers = |client: usize, object| clients[client].objects.contains_key(&ObjectId(object));
    assert!(offers(1, 3421) && offers(1, 3422) && !offers(1, 3413));
    assert!(offers(2, 3413) && !offers(2, 3421));
}

#[test]
fn a_read_gives_the_same_value_in_every_format() {
    let mut cabinet = steady_meter(231.5);
    cabinet.run_for(SECOND * 10);
    let formats = [
        content_format::TEXT,
        content_format::TLV,
        content_format::SENML_JSON,
        content_format::SENML_CBOR,
    ];
    for accept in formats.map(Some).into_iter().chain([None]) {
        let answer = cabinet
            .ask(
                METER,
                ServerRequest::Read {
                    path: VOLTAGE,
                    accept,
                },
            )
            .unwrap();
        assert_eq!(answer.code, Code::CONTENT, "{accept:?}: {}", answer.text());
        assert_eq!(
            (answer.values[0].path, answer.values[0].value.clone()),
            (VOLTAGE, Value::Float(231.5))
        );
    }
}

#[test]
fn an_instance_and_an_object_are_read_whole() {
    let mut cabinet = steady_meter(231.5);
    cabinet.run_for(SECOND * 10);
    for accept in [
        content_format::TLV,
        content_format::SENML_JSON,
        content_format::SENML_CBOR,
    ] {
        for (path, instances) in [(Path::instance(3421, 1), 1), (Path::Object(ObjectId(3421)), 3)] {
            let request = ServerRequest::Read {
                path,
                accept: Some(accept),
            };
            let answer = cabinet.ask(METER, request).unwrap();
            assert_eq!(
                (answer.code, answer.undecodable.as_deref()),
                (Code::CONTENT, None),
                "{path} in {accept}"
            );
            let voltages = answer
                .values
                .iter()
                .filter(|value| value.path.resource_id() == VOLTAGE.resource_id());
            assert_eq!(voltages.count(), instances, "{path} in {accept}");
            assert!(answer.values.len() >= 10 * instances, "{path} in {accept}");
        }
    }
}

#[test]
fn an_observed_value_is_notified_within_a_second_after_the_poll_that_saw_it_change() {
    let mut unit = Unit::sdm630(3);
    let steps = vec![(Duration::ZERO, 230.0), (SECOND * 30, 236.0)];
    unit.registers_mut()
        .set_f32(Table::InputRegisters, 0, Signal::Steps(steps));
    let mut plan = Plan::new(1).with("meter-1", "eastron.sdm630", unit);
    plan.send = false;
    let mut cabinet = plan.build();
    cabinet.run_for(SECOND * 10);
    cabinet
        .ask(
            METER,
            ServerRequest::Observe {
                path: VOLTAGE,
                accept: None,
            },
        )
        .unwrap();
    let shows =
        |cabinet: &Cabinet| cabinet.value("meter-1", VOLTAGE) == Some((Value::Float(236.0), Quality::Good));
    assert!(cabinet.run_until(SECOND * 60, shows));
    let seen = cabinet.elapsed();
    cabinet.run_for(SECOND * 5);
    let arrivals = cabinet.arrivals(METER);
    let notified = arrivals.iter().find(|arrival| {
        matches!(arrival.origin, Origin::Notification { .. }) && arrival.received.value == Value::Float(236.0)
    });
    assert!(notified.unwrap().at - seen < SECOND, "{arrivals:?}");
}

#[test]
fn a_value_that_the_meter_does_not_have_is_absent() {
    let mut unit = Unit::sdm630(3);
    unit.registers_mut()
        .set_f32(Table::InputRegisters, 0x1e, Signal::Constant(f64::NAN));
    let mut cabinet = Plan::new(1).with("meter-1", "eastron.sdm630", unit).build();
    cabinet.run_for(SECOND * 30);
    let factor = Path::resource(3421, 0, 13);
    assert!(
        cabinet
            .arrivals(METER)
            .iter()
            .all(|arrival| arrival.received.path != factor)
    );
    let answer = cabinet
        .ask(
            METER,
            ServerRequest::Read {
                path: factor,
                accept: None,
            },
        )
        .unwrap();
    assert_eq!(answer.code, Code::NOT_FOUND);
}
