//! The files that people write: profiles and object definitions.

use std::path::Path;

use lwm2m_client::object::xml;
use lwm2m_client::{ObjectId, object};

use super::table;

pub(super) fn profile(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match ucifi_profiles::compile("fuzz.toml", &text, table()) {
        Ok(profile) => drop(profile.run_tests()),
        Err(diagnostics) => assert!(!diagnostics.is_empty(), "refused without a reason"),
    }
}

/// Short profiles, so that mutations change what matters; the stock ones stand behind them.
pub(super) fn profile_seeds() -> Vec<Vec<u8>> {
    let vendors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../profiles/vendors");
    let stock = [
        "eastron/sdm120.toml",
        "waveshare/relay-8ch.toml",
        "nas/ul20xx.toml",
        "axioma/qalcosonic-w1.toml",
        "tasmota/plug.toml",
    ];
    stock
        .iter()
        .map(|file| std::fs::read(vendors.join(file)).expect("a stock profile"))
        .collect()
}

pub(super) fn object_xml(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(definitions) = xml::parse(&text) else {
        return;
    };
    for definition in definitions {
        let written = xml::write(&definition);
        let again: Vec<object::ObjectDefinition> = xml::parse(&written).expect("what was written reads");
        assert_eq!(again.first(), Some(&definition), "{written}");
    }
}

pub(super) fn object_xml_seeds() -> Vec<Vec<u8>> {
    let small = [3420, 3410, 25].map(ObjectId);
    small
        .into_iter()
        .filter_map(|id| Some(xml::write(table().latest(id)?).into_bytes()))
        .collect()
}
