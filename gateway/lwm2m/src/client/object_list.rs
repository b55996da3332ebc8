//! The list of objects and instances that Register and Update carry.

use super::view::View;
use crate::format::link::{self, Link};
use crate::object::{EnablerVersion, Version};
use crate::{ObjectId, Path};

/// Returns the list as CoRE links. Objects 0, 21 and 23 are never in it.
pub(super) fn object_list(view: View<'_>, version: EnablerVersion) -> String {
    let mut links = vec![root_link(version)];
    for object in view.objects() {
        let instances = view.instances(object);
        let link = object_link(view, version, object);
        if instances.is_empty() || !link.attributes.is_empty() {
            links.push(link);
        }
        links.extend(instances.into_iter().map(|i| Link::to(Path::Instance(object, i))));
    }
    link::write(&links)
}

/// Returns the link of an object, with its version where a server could take another one for granted: some read a
/// missing `ver` as 1.0, others as the one of the enabler release.
pub(super) fn object_link(view: View<'_>, version: EnablerVersion, object: ObjectId) -> Link {
    let link = Link::to(Path::Object(object));
    let assumed = version.core_version(object).unwrap_or(Version::V1_0);
    match view.definition(object).map(|d| d.version) {
        Some(own) if own != Version::V1_0 || own != assumed => link.with("ver", own),
        Some(_) | None => link,
    }
}

fn root_link(version: EnablerVersion) -> Link {
    let root = Link::to(Path::Root).with_quoted("rt", "oma.lwm2m");
    match version {
        EnablerVersion::V1_0 => root,
        EnablerVersion::V1_1 => root.with_quoted("ct", "110 112 11542"),
    }
}
