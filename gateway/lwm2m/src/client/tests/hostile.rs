//! Whatever comes in: no panic, no endless loop, and no change that was not asked for and answered.

use proptest::prelude::*;

use super::peer::{Ask, Bench};
use crate::Value;
use crate::client::{Event, Operation, Response};

const CODES: [&str; 9] = [
    "0.01", "0.02", "0.03", "0.04", "0.05", "0.07", "2.05", "4.04", "0.00",
];
const PATHS: [&str; 19] = [
    "/",
    "/0",
    "/1/0/1",
    "/1/0/4",
    "/1/0/8",
    "/1/0",
    "/3",
    "/3/0/4",
    "/3/0/7",
    "/3311",
    "/3311/0",
    "/3311/1",
    "/3311/0/5850",
    "/3311/0/32",
    "/3311/0/32/1",
    "/3303/0/5700",
    "/3340",
    "/65535",
    "/a",
];
const QUERIES: [&str; 6] = ["", "pmin=1&pmax=2", "gt=1", "st=0", "pmin", "epmin=1&epmax=5"];

/// Datagrams near enough to valid ones to get far: a request, then some of its bytes changed, cut or added.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let formats = prop::option::of(prop::sample::select(vec![0u16, 40, 42, 60, 110, 112, 11542]));
    let observe = prop::option::of(0u32..3);
    let query = prop::sample::select(&QUERIES[..]);
    let payload = prop_oneof![
        Just(Vec::new()),
        Just(b"1".to_vec()),
        Just(b"\xE1\x16\xDA\x01".to_vec()),
        Just(br#"[{"n":"/3311/0/5850","vb":true}]"#.to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    let codes = prop::sample::select(&CODES[..]);
    let paths = prop::sample::select(&PATHS[..]);
    let ask = (
        codes,
        paths,
        formats.clone(),
        formats,
        observe,
        query,
        payload,
        any::<u16>(),
    );
    let mutation = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (ask, mutation, any::<bool>()).prop_map(|(ask, mutation, cut)| {
        let (code, path, accept, format, observe, query, payload, id) = ask;
        let mut ask = Ask::method(code, path);
        if let Some(accept) = accept {
            ask = ask.accept(accept);
        }
        if let Some(observe) = observe {
            ask = ask.observe(observe);
        }
        if !query.is_empty() {
            ask = ask.query(query);
        }
        if let Some(format) = format {
            ask = ask.body(format, payload);
        }
        let mut bytes = ask.to_packet(id).to_bytes().unwrap();
        for (at, value) in mutation {
            let at = at.index(bytes.len());
            if cut {
                bytes.truncate(at.max(1))
            } else {
                bytes[at] = value
            }
        }
        bytes
    })
}

#[derive(Clone, Debug)]
enum Step {
    Datagram(Vec<u8>),
    Pass(u64),
    Change(f64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => datagram().prop_map(Step::Datagram),
        1 => prop::collection::vec(any::<u8>(), 0..64).prop_map(Step::Datagram),
        1 => (0u64..2000).prop_map(Step::Pass),
        1 => any::<f64>().prop_map(Step::Change),
    ]
}

/// Applies an operation, as whoever runs the client would.
fn apply(bench: &mut Bench, operation: &Operation) -> Response {
    match operation {
        Operation::Write { entries, .. } => {
            for entry in entries {
                bench.device.set(&entry.path.to_string(), entry.value.clone());
            }
            Response::Changed
        }
        Operation::Execute { .. } => Response::Changed,
        Operation::Create { object, .. } => {
            bench
                .device
                .set(&format!("/{object}/9/5850"), Value::Boolean(true));
            Response::Created(crate::InstanceId(9))
        }
        Operation::Delete { path } => {
            let (o, i) = (path.object_id().unwrap(), path.instance_id().unwrap());
            bench.device.remove(o.0, i.0);
            Response::Deleted
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_sequence_of_datagrams_is_survived(steps in prop::collection::vec(step(), 1..60)) {
        let mut bench = Bench::default();
        for step in steps {
            match step {
                Step::Datagram(bytes) => bench.receive_bytes(&bytes),
                Step::Pass(secs) => bench.pass_secs(secs),
                Step::Change(value) => bench.change("/3303/0/5700", Value::Float(value)),
            }
            bench.sent.clear();
            for event in std::mem::take(&mut bench.events) {
                if let Event::Operation { id, operation } = event {
                    let response = apply(&mut bench, &operation);
                    bench.respond(id, response);
                }
            }
        }
    }

    #[test]
    fn nothing_but_an_operation_can_change_the_objects(datagrams in prop::collection::vec(datagram(), 1..40)) {
        let mut bench = Bench::default();
        let before = bench.device.clone();
        let read = |bench: &mut Bench| {
            let mut probe = Bench::default();
            probe.device = bench.device.clone();
            probe.ask(&Ask::get("/3311").accept(11542)).payload
        };
        let values = read(&mut bench);
        for datagram in datagrams {
            bench.receive_bytes(&datagram);
        }
        // Every operation that left is unanswered, so nothing may have happened.
        prop_assert_eq!(&bench.device, &before);
        prop_assert_eq!(read(&mut bench), values);
    }
}
