//! The derivations of a device, with their paths resolved and in the order in which they are to run.

use std::collections::BTreeSet;

use lwm2m_client::object::ObjectTable;
use lwm2m_client::{Path, Value, ValueType};

use super::{UnknownResource, canonical};
use crate::profile::{Derivation, Profile, Rule};
use crate::reading::Quality;
use crate::tree::Key;

/// A resource that is computed from others.
pub(super) struct Derived {
    /// The resource.
    pub(super) target: Key,
    /// The type that its values must have.
    pub(super) value_type: ValueType,
    /// How it is computed.
    pub(super) rule: Rule,
    /// From which resources.
    pub(super) sources: Vec<Key>,
    /// The best quality that it can have.
    pub(super) quality: Quality,
    /// Its last value that was news, as servers know it.
    pub(super) told: Option<Value>,
}

/// Returns the derivations of a profile, each after those that it builds on.
pub(super) fn derivations(
    profile: &dyn Profile,
    table: &ObjectTable,
) -> Result<Vec<Derived>, UnknownResource> {
    let derived = |derivation: &Derivation| {
        let typed = canonical(table, derivation.target).and_then(|(key, d)| Some((key, d.value_type?)));
        let (target, value_type) = typed.ok_or(UnknownResource(derivation.target))?;
        let source = |path: &Path| {
            let (key, _) = canonical(table, *path).ok_or(UnknownResource(*path))?;
            Ok(key)
        };
        Ok(Derived {
            target,
            value_type,
            rule: derivation.rule,
            sources: derivation.sources.iter().map(source).collect::<Result<_, _>>()?,
            quality: derivation.quality,
            told: None,
        })
    };
    let all: Result<Vec<Derived>, _> = profile.derivations().iter().map(derived).collect();
    Ok(in_order(all?))
}

/// Puts a derivation after those that it builds on; what goes in a circle comes last, as it was.
fn in_order(mut rest: Vec<Derived>) -> Vec<Derived> {
    let mut ordered = Vec::new();
    loop {
        let targets: BTreeSet<Key> = rest.iter().map(|derived| derived.target).collect();
        let builds_on_rest =
            |derived: &Derived| derived.sources.iter().any(|source| targets.contains(source));
        let (later, next): (Vec<_>, Vec<_>) = rest.into_iter().partition(builds_on_rest);
        if next.is_empty() {
            ordered.extend(later);
            return ordered;
        }
        ordered.extend(next);
        rest = later;
    }
}
