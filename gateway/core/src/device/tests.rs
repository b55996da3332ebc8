use super::*;
use crate::field::Uplink;
use crate::profile::{Derivation, Rule};
use crate::testing::{self, Meter, words};

fn derivation(target: &str, rule: Rule, sources: &[&str]) -> Derivation {
    Derivation {
        target: target.parse().unwrap(),
        rule,
        sources: sources.iter().map(|source| source.parse().unwrap()).collect(),
        quality: Quality::Derived,
    }
}

fn device(derivations: Vec<Derivation>) -> Result<Device, UnknownResource> {
    let profile = Arc::new(Meter::deriving(derivations));
    Device::new(
        "m".into(),
        "".into(),
        profile,
        None,
        &BTreeMap::new(),
        &testing::table(),
    )
}

fn held(device: &Device, path: &str) -> Option<(Value, Quality)> {
    let held = device
        .tree
        .get(crate::tree::key(path.parse().unwrap()).unwrap())?;
    Some((held.value.clone(), held.quality))
}

fn take(device: &mut Device, frame: Frame, at: Now) -> News {
    let link = Link::Modbus {
        bus: "rs485".into(),
        unit: 1,
    };
    let uplink = Uplink::new(link, frame, at);
    let meaning = device.read_frame(&uplink).unwrap();
    device.handle_samples(meaning.samples, &uplink)
}

#[test]
fn a_derivation_may_build_on_one_that_stands_after_it() {
    let mut device = device(vec![
        derivation("/3421/0/23", Rule::Sum, &["/3421/0/22", "/3421/0/16"]),
        derivation("/3421/0/22", Rule::Positive, &["/3421/0/16"]),
    ])
    .unwrap();
    let news = take(&mut device, words(2, &[340]), testing::start());
    assert_eq!(
        held(&device, "/3421/0/23"),
        Some((Value::Float(68.0), Quality::Derived))
    );
    assert_eq!(news.values.len(), 3, "what is derived from news is news");
}

#[test]
fn derivations_in_a_circle_come_to_an_end() {
    let mut device = device(vec![
        derivation("/3421/0/22", Rule::Sum, &["/3421/0/23", "/3421/0/16"]),
        derivation("/3421/0/23", Rule::Same, &["/3421/0/22"]),
    ])
    .unwrap();
    take(&mut device, words(2, &[340]), testing::start());
    assert_eq!(
        held(&device, "/3421/0/22"),
        None,
        "one of its sources never has a value"
    );
}

#[test]
fn what_is_derived_from_a_fault_is_no_better() {
    let mut device = device(vec![derivation("/3421/0/22", Rule::Positive, &["/3421/0/16"])]).unwrap();
    take(&mut device, words(2, &[340]), testing::start());
    take(&mut device, words(2, &[testing::IMPOSSIBLE]), testing::start());
    assert_eq!(
        held(&device, "/3421/0/22"),
        Some((Value::Float(34.0), Quality::Fault))
    );
}

#[test]
fn what_is_derived_is_told_with_its_source_unless_it_was_told_so_before() {
    let mut device = device(vec![derivation("/3421/0/22", Rule::Same, &["/3421/0/1"])]).unwrap();
    for (secs, word, expected, why) in [
        (0, 2301, vec![(1, 230.1), (22, 230.1)], "the first value"),
        (1, 2305, vec![], "within the deadband"),
        (59, 2305, vec![], "before the heartbeat"),
        (
            60,
            2305,
            vec![(1, 230.5), (22, 230.5)],
            "a heartbeat after a drift",
        ),
        (120, 2305, vec![(1, 230.5)], "a heartbeat and nothing else"),
        (121, 2320, vec![(1, 232.0), (22, 232.0)], "beyond the deadband"),
    ] {
        let mut at = testing::start();
        at.instant += std::time::Duration::from_secs(secs);
        let news = take(&mut device, words(0, &[word]), at);
        let told: Vec<_> = news
            .values
            .iter()
            .map(|new| (new.key.2.0, new.value.as_f64().unwrap()))
            .collect();
        assert_eq!(told, expected, "{why}");
    }
}

#[test]
fn a_resource_that_the_registry_does_not_know_is_named() {
    let error = device(vec![derivation("/3421/0/999", Rule::Same, &["/3421/0/16"])]).err();
    assert_eq!(error, Some(UnknownResource(Path::resource(3421, 0, 999))));
    let error = device(vec![derivation("/3421/0/22", Rule::Same, &["/3440/0/1"])]).err();
    assert_eq!(error, Some(UnknownResource(Path::resource(3440, 0, 1))));
}
