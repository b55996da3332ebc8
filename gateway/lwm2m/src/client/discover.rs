//! Discover: what is there, with the attributes attached to it.

use super::attributes::{AttributeTable, Attributes};
use super::object_list::object_link;
use super::objects::Content;
use super::refusal::Refusal;
use super::view::View;
use crate::Path;
use crate::format::link::{self, Link};
use crate::object::EnablerVersion;

/// Answers a Discover on an object, an instance or a resource. The node asked for shows what holds for it, also
/// from the levels above; the nodes below show what is attached to themselves.
pub(super) fn discover(
    view: View<'_>,
    attributes: &AttributeTable,
    version: EnablerVersion,
    path: Path,
) -> Result<String, Refusal> {
    if matches!(path, Path::Root | Path::ResourceInstance(..)) {
        return Err(Refusal::not_allowed(format!("{path} cannot be discovered")));
    }
    if !view.exists(path) {
        return Err(Refusal::not_found(format!("{path} is not there")));
    }
    let links: Vec<Link> = nodes(view, path)
        .into_iter()
        .map(|node| {
            let attributes = if node == path {
                attributes.effective(node)
            } else {
                attributes.own(node)
            };
            node_link(view, version, node, &attributes)
        })
        .collect();
    Ok(link::write(&links))
}

/// Returns a node and what is below it: down to the resources, and to the resource instances of a resource asked
/// for itself.
fn nodes(view: View<'_>, path: Path) -> Vec<Path> {
    let below: Vec<Path> = match path {
        Path::Root | Path::ResourceInstance(..) => Vec::new(),
        Path::Object(o) => {
            let instances = view.instances(o).into_iter().map(|i| Path::Instance(o, i));
            instances.flat_map(|instance| nodes(view, instance)).collect()
        }
        Path::Instance(o, i) => {
            let resources = view.resources(o, i).into_iter();
            resources.map(|r| Path::Resource(o, i, r)).collect()
        }
        Path::Resource(o, i, r) => match view.read(o, i, r) {
            Some(Content::Multiple(all)) => all
                .into_keys()
                .map(|ri| Path::ResourceInstance(o, i, r, ri))
                .collect(),
            Some(Content::Single(_)) | None => Vec::new(),
        },
    };
    std::iter::once(path).chain(below).collect()
}

fn node_link(view: View<'_>, version: EnablerVersion, node: Path, attributes: &Attributes) -> Link {
    let mut link = match node {
        Path::Object(o) => object_link(view, version, o),
        Path::Resource(o, i, r) => match view.read(o, i, r) {
            Some(Content::Multiple(all)) => Link::to(node).with("dim", all.len()),
            Some(Content::Single(_)) | None => Link::to(node),
        },
        Path::Root | Path::Instance(..) | Path::ResourceInstance(..) => Link::to(node),
    };
    for (name, value) in attributes.to_pairs() {
        link = link.with(name, value);
    }
    link
}
