//! The profiles that a gateway knows: those inside the binary, and those of the site.

use std::collections::BTreeMap;
use std::sync::Arc;

use lwm2m_client::object::ObjectTable;
use ucifi_core::Profile;

use crate::compile::compile;
use crate::profile::CompiledProfile;

/// The texts inside the binary: the name of each file below `profiles/vendors/`, and what stands in it.
pub const STOCK: [(&str, &str); 11] = [
    (
        "axioma/qalcosonic-w1.toml",
        include_str!("../vendors/axioma/qalcosonic-w1.toml"),
    ),
    (
        "eastron/sdm120.toml",
        include_str!("../vendors/eastron/sdm120.toml"),
    ),
    (
        "eastron/sdm630.toml",
        include_str!("../vendors/eastron/sdm630.toml"),
    ),
    (
        "milesight/em400-tld.toml",
        include_str!("../vendors/milesight/em400-tld.toml"),
    ),
    ("nas/ul20xx.toml", include_str!("../vendors/nas/ul20xx.toml")),
    (
        "shelly/gen2-meter.toml",
        include_str!("../vendors/shelly/gen2-meter.toml"),
    ),
    (
        "tasmota/am2301.toml",
        include_str!("../vendors/tasmota/am2301.toml"),
    ),
    ("tasmota/plug.toml", include_str!("../vendors/tasmota/plug.toml")),
    (
        "waveshare/relay-8ch-d.toml",
        include_str!("../vendors/waveshare/relay-8ch-d.toml"),
    ),
    (
        "waveshare/relay-8ch.toml",
        include_str!("../vendors/waveshare/relay-8ch.toml"),
    ),
    (
        "zigbee2mqtt/lamp.toml",
        include_str!("../vendors/zigbee2mqtt/lamp.toml"),
    ),
];

/// Profiles by id; a later one replaces an earlier one of the same id.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    profiles: BTreeMap<Arc<str>, Arc<CompiledProfile>>,
}

impl Catalogue {
    /// Returns the profiles inside the binary, compiled against an object table.
    ///
    /// # Panics
    /// Never with the built-in table: the tests of this crate compile every stock profile.
    pub fn stock(table: &ObjectTable) -> Self {
        let mut catalogue = Self::default();
        for (file, text) in STOCK {
            let profile = compile(file, text, table).expect("every stock profile compiles, as a test shows");
            catalogue.insert(profile);
        }
        catalogue
    }

    /// Adds a profile; returns the one it replaces.
    pub fn insert(&mut self, profile: CompiledProfile) -> Option<Arc<CompiledProfile>> {
        self.profiles.insert(profile.id().into(), Arc::new(profile))
    }

    /// Returns the profile of an id or an alias.
    pub fn find(&self, id: &str) -> Option<&Arc<CompiledProfile>> {
        self.profiles.get(id).or_else(|| {
            self.profiles
                .values()
                .find(|profile| profile.aliases().iter().any(|alias| &**alias == id))
        })
    }

    /// Returns the id that a person most likely meant.
    pub fn nearest(&self, id: &str) -> Option<&str> {
        crate::document::nearest(id, self.ids())
    }

    /// Returns every id, in order, without aliases.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.profiles.keys().map(|id| &**id)
    }

    /// Returns every profile in the order of the ids.
    pub fn profiles(&self) -> impl Iterator<Item = &Arc<CompiledProfile>> {
        self.profiles.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::Case;

    /// The profiles that explain the language; they are documentation and not in the binary.
    const EXAMPLES: [(&str, &str); 4] = [
        (
            "example/meter.toml",
            include_str!("../vendors/example/meter.toml"),
        ),
        (
            "example/actuator.toml",
            include_str!("../vendors/example/actuator.toml"),
        ),
        (
            "example/radio.toml",
            include_str!("../vendors/example/radio.toml"),
        ),
        (
            "example/broker.toml",
            include_str!("../vendors/example/broker.toml"),
        ),
    ];

    #[test]
    fn every_stock_profile_compiles_without_a_warning_and_passes_its_golden_frames() {
        let table = ObjectTable::builtin();
        for (file, text) in STOCK.into_iter().chain(EXAMPLES) {
            let profile = compile(file, text, &table).unwrap_or_else(|errors| {
                let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                panic!("{}", errors.join("\n"))
            });
            assert!(profile.warnings().is_empty(), "{:?}", profile.warnings());
            for outcome in profile.run_tests() {
                assert!(
                    outcome.passed(),
                    "{}: {}: {:#?}",
                    outcome.place,
                    outcome.name,
                    outcome.differences
                );
            }
        }
    }

    #[test]
    fn every_stock_profile_has_a_good_answer_and_one_that_says_nothing_or_is_refused() {
        for profile in Catalogue::stock(&ObjectTable::builtin()).profiles() {
            let says = |case: &Case| match case {
                Case::Read { expect, .. } => !expect.is_empty(),
                Case::Said(said) => !said.expect.is_empty(),
                Case::Write { .. } | Case::Sent { .. } => true,
                Case::Broken { .. } | Case::Refused { .. } | Case::Foreign(_) => false,
            };
            let (good, negative): (Vec<_>, Vec<_>) = profile.tests.iter().partition(|test| says(&test.case));
            assert!(!good.is_empty() && !negative.is_empty(), "{}", profile.id());
        }
    }

    #[test]
    fn a_profile_is_found_by_its_id_and_its_aliases() {
        let catalogue = Catalogue::stock(&ObjectTable::builtin());
        assert_eq!(catalogue.find("eastron.sdm630").unwrap().id(), "eastron.sdm630");
        assert_eq!(catalogue.find("eastron.sdm72-v2").unwrap().id(), "eastron.sdm630");
        assert!(catalogue.find("eastron.sdm").is_none());
        assert_eq!(catalogue.nearest("estron.sdm630"), Some("eastron.sdm630"));
        assert_eq!(catalogue.ids().count(), STOCK.len());
    }
}
