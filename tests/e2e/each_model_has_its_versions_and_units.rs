//! One meter at servers of three generations.

use std::time::Duration;

use lwm2m_client::object::{Model, ObjectTable};
use lwm2m_client::{ObjectId, Path, Value};
use ucifi_core::field::Table;
use ucifi_sim::cabinet::{Cabinet, Plan};
use ucifi_sim::modbus_unit::{Signal, Unit};
use ucifi_sim::server::{ServerRequest, content_format};

const SECOND: Duration = Duration::from_secs(1);
const METER: &str = "cab-17-meter-1";

/// A meter that shows 5188.5 kWh in all its energy registers.
fn cabinet(model: Model) -> Cabinet {
    let mut unit = Unit::sdm630(3);
    for register in [0x48, 0x156, 0x15a, 0x15c, 0x15e, 0x166, 0x168, 0x16a] {
        unit.registers_mut()
            .set_f32(Table::InputRegisters, register, Signal::Constant(5188.5));
    }
    let mut plan = Plan::new(1)
        .with("meter-1", "eastron.sdm630", unit)
        .with_relays("relays", 4);
    plan.model = model;
    let mut cabinet = plan.build();
    cabinet.run_for(SECOND * 15);
    cabinet
}

#[test]
fn the_objects_are_announced_in_the_versions_of_the_model() {
    let table = ObjectTable::builtin();
    for model in Model::ALL {
        let cabinet = cabinet(model);
        for (endpoint, objects) in [(METER, &[3421, 3422][..]), ("cab-17-relays", &[3413])] {
            let client = cabinet.server().client(endpoint).unwrap();
            for object in objects.iter().map(|number| ObjectId(*number)) {
                let expected = table.in_model(object, model).unwrap().version;
                assert_eq!(
                    client.objects.get(&object),
                    Some(&expected),
                    "{object} in {model}"
                );
            }
        }
    }
}

#[test]
fn a_value_is_translated_into_the_unit_of_the_version_that_was_announced() {
    let table = ObjectTable::builtin();
    for model in Model::ALL {
        let mut cabinet = cabinet(model);
        for path in [Path::resource(3421, 0, 25), Path::resource(3422, 0, 17)] {
            let definition = table.in_model(path.object_id().unwrap(), model).unwrap();
            let unit = definition.resources[&path.resource_id().unwrap()].unit.clone();
            let expected = match unit.as_str() {
                "Wh" => 5_188_500.0,
                "kWh" => 5_188.5,
                _ => panic!("{path} is in {unit:?}"),
            };
            let accept = Some(content_format::SENML_CBOR);
            let answer = cabinet.ask(METER, ServerRequest::Read { path, accept }).unwrap();
            assert_eq!(
                answer.values[0].value,
                Value::Float(expected),
                "{path} in {model}, {unit}"
            );
            let arrivals = cabinet.arrivals(METER);
            let sent = arrivals.iter().filter(|arrival| arrival.received.path == path);
            assert!(
                sent.count() > 1
                    && arrivals
                        .iter()
                        .filter(|a| a.received.path == path)
                        .all(|arrival| { arrival.received.value == Value::Float(expected) })
            );
        }
    }
}
