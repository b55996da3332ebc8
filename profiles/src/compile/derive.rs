//! `[[derive]]`: resources that are computed from others.

use lwm2m_client::Path;
use lwm2m_client::object::ResourceDefinition;
use ucifi_core::Quality;
use ucifi_core::profile::{Derivation, Rule};

use super::Draft;
use super::resource::{Target, Use};
use crate::document::{Item, Table};
use crate::expression::Scope;

const RULES: [(&str, Rule); 6] = [
    ("positive", Rule::Positive),
    ("negative", Rule::Negative),
    ("sum", Rule::Sum),
    ("reactive", Rule::Reactive),
    ("percent", Rule::Percent),
    ("same", Rule::Same),
];

const QUALITIES: [(&str, Quality); 2] = [("good", Quality::Good), ("derived", Quality::Derived)];

impl<'d> Draft<'d> {
    pub(super) fn derivation(&mut self, table: &Table<'d>, scope: Scope) {
        let target_item = table.require("target");
        let target = target_item.and_then(|item| self.target(&item, scope, Use::Fill));
        let rule_item = table.require("rule");
        let rule = rule_item.and_then(|item| item.one_of(&RULES));
        let sources = table
            .require("from")
            .and_then(|item| self.derivation_sources(&item, scope));
        let quality = match table.get("quality") {
            Some(item) => item.one_of(&QUALITIES),
            None => Some(Quality::Derived),
        };
        table.finish();
        let (Some(target_item), Some(target), Some(rule_item)) = (target_item, target, rule_item) else {
            return;
        };
        let (Some(rule), Some(sources), Some(quality)) = (rule, sources, quality) else {
            return;
        };
        if fits(&rule_item, rule, &sources, target.definition).is_none()
            || !self.fill(&target_item, target.path)
        {
            return;
        }
        self.derivations.push(Derivation {
            target: target.path,
            rule,
            sources: sources.iter().map(|source| source.path).collect(),
            quality,
        });
    }

    fn derivation_sources(&self, item: &Item<'d>, scope: Scope) -> Option<Vec<Target<'d>>> {
        let items = item.one_or_more()?;
        items
            .iter()
            .map(|item| {
                let source = self.target(item, scope, Use::Fill)?;
                self.known_source(item, source.path)?;
                Some(source)
            })
            .collect()
    }

    /// A source has a value from above, which also rules out circles.
    fn known_source(&self, item: &Item<'_>, path: Path) -> Option<()> {
        if self.filled.contains_key(&path) {
            return Some(());
        }
        item.error_with_help(
            format!("nothing above gives {path} a value"),
            "a derivation reads points, constants and derivations that stand before it",
        )
    }
}

fn fits(item: &Item<'_>, rule: Rule, sources: &[Target<'_>], target: &ResourceDefinition) -> Option<()> {
    let count = match rule {
        Rule::Sum => 1..=usize::MAX,
        Rule::Reactive => 2..=2,
        Rule::Positive | Rule::Negative | Rule::Percent | Rule::Same => 1..=1,
    };
    if !count.contains(&sources.len()) {
        return item.error(format!(
            "the rule reads {} sources, not {}",
            count.start(),
            sources.len()
        ));
    }
    let keeps_unit = match rule {
        Rule::Positive | Rule::Negative | Rule::Sum | Rule::Same => true,
        Rule::Reactive | Rule::Percent => false,
    };
    let other = sources
        .iter()
        .find(|source| source.definition.unit != target.unit);
    match other {
        Some(source) if keeps_unit => item.error(format!(
            "{} is in {:?}, {} in {:?}",
            source.definition.name, source.definition.unit, target.name, target.unit
        )),
        Some(_) | None => Some(()),
    }
}
