//! Paths to objects, object instances, resources and resource instances (LwM2M Core 1.2, section 7.2).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

macro_rules! id {
    ($name:ident, $what:literal) => {
        #[doc = concat!("The number of ", $what, ", 0 to 65534; 65535 is reserved by the standard.")]
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u16);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(ObjectId, "an object");
id!(InstanceId, "an object instance");
id!(ResourceId, "a resource");
id!(ResourceInstanceId, "a resource instance");

/// Where a request points: the root, an object, an object instance, a resource or a resource instance.
///
/// Paths sort as a tree walk does: a node comes before what is below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// `/`
    Root,
    /// `/3416`
    Object(ObjectId),
    /// `/3416/0`
    Instance(ObjectId, InstanceId),
    /// `/3416/0/1`
    Resource(ObjectId, InstanceId, ResourceId),
    /// `/3416/0/35/2`
    ResourceInstance(ObjectId, InstanceId, ResourceId, ResourceInstanceId),
}

impl Path {
    /// Returns the path of a resource.
    pub const fn resource(object: u16, instance: u16, resource: u16) -> Self {
        Self::Resource(ObjectId(object), InstanceId(instance), ResourceId(resource))
    }

    /// Returns the path of an object instance.
    pub const fn instance(object: u16, instance: u16) -> Self {
        Self::Instance(ObjectId(object), InstanceId(instance))
    }

    /// Builds a path from its segments, none for the root; more than four are refused.
    pub fn from_segments(segments: &[u16]) -> Option<Self> {
        Some(match *segments {
            [] => Self::Root,
            [o] => Self::Object(ObjectId(o)),
            [o, i] => Self::Instance(ObjectId(o), InstanceId(i)),
            [o, i, r] => Self::Resource(ObjectId(o), InstanceId(i), ResourceId(r)),
            [o, i, r, ri] => {
                Self::ResourceInstance(ObjectId(o), InstanceId(i), ResourceId(r), ResourceInstanceId(ri))
            }
            _ => return None,
        })
    }

    /// Returns the numbers of this path, none for the root.
    pub fn segments(&self) -> Vec<u16> {
        let all = [
            self.object_id().map(|o| o.0),
            self.instance_id().map(|i| i.0),
            self.resource_id().map(|r| r.0),
            self.resource_instance_id().map(|ri| ri.0),
        ];
        all.into_iter().flatten().collect()
    }

    /// Returns the object, unless this is the root.
    pub const fn object_id(&self) -> Option<ObjectId> {
        match *self {
            Self::Root => None,
            Self::Object(o)
            | Self::Instance(o, _)
            | Self::Resource(o, ..)
            | Self::ResourceInstance(o, ..) => Some(o),
        }
    }

    /// Returns the object instance, where the path reaches that deep.
    pub const fn instance_id(&self) -> Option<InstanceId> {
        match *self {
            Self::Root | Self::Object(_) => None,
            Self::Instance(_, i) | Self::Resource(_, i, _) | Self::ResourceInstance(_, i, ..) => Some(i),
        }
    }

    /// Returns the resource, where the path reaches that deep.
    pub const fn resource_id(&self) -> Option<ResourceId> {
        match *self {
            Self::Root | Self::Object(_) | Self::Instance(..) => None,
            Self::Resource(_, _, r) | Self::ResourceInstance(_, _, r, _) => Some(r),
        }
    }

    /// Returns the resource instance, where the path reaches that deep.
    pub const fn resource_instance_id(&self) -> Option<ResourceInstanceId> {
        match *self {
            Self::ResourceInstance(.., ri) => Some(ri),
            Self::Root | Self::Object(_) | Self::Instance(..) | Self::Resource(..) => None,
        }
    }

    /// Says whether `other` is this node or below it.
    pub fn contains(&self, other: &Self) -> bool {
        let (own, theirs) = (self.segments(), other.segments());
        theirs.starts_with(&own)
    }
}

impl Ord for Path {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |path: &Self| {
            (
                path.object_id(),
                path.instance_id(),
                path.resource_id(),
                path.resource_instance_id(),
            )
        };
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Path {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segments = self.segments();
        if segments.is_empty() {
            return f.write_str("/");
        }
        segments.iter().try_for_each(|s| write!(f, "/{s}"))
    }
}

impl FromStr for Path {
    type Err = PathError;

    /// Reads `/`, `/3416`, `/3416/0` and so on; the first slash must be there, a last one must not.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || PathError(text.to_owned());
        let rest = text.strip_prefix('/').ok_or_else(error)?;
        if rest.is_empty() {
            return Ok(Self::Root);
        }
        let segments: Vec<u16> = rest
            .split('/')
            .map(segment)
            .collect::<Option<_>>()
            .ok_or_else(error)?;
        Self::from_segments(&segments).ok_or_else(error)
    }
}

/// Reads one path segment: digits only, no leading zero, at most 65534.
pub(crate) fn segment(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let number: u16 = text.parse().ok()?;
    (plain && number != u16::MAX).then_some(number)
}

/// A text that is no LwM2M path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no LwM2M path: expected up to four numbers below 65535, as in /3416/0/1")]
pub struct PathError(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_it_is_written() {
        for text in ["/", "/3", "/3/0", "/3416/0/1", "/3416/0/35/2"] {
            assert_eq!(text.parse::<Path>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in [
            "",
            "3/0",
            "/3/",
            "//3",
            "/03",
            "/65535",
            "/+3",
            "/3/0/1/2/3",
            "/dev1/3",
            "/3 ",
        ] {
            assert!(text.parse::<Path>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn paths_sort_as_a_tree_walk_does() {
        let walk = [
            "/", "/3", "/3/0", "/3/0/6", "/3/0/6/0", "/3/0/6/1", "/3/0/7", "/3/1", "/4",
        ];
        let paths: Vec<Path> = walk.iter().map(|text| text.parse().unwrap()).collect();
        assert!(paths.is_sorted());
    }

    #[test]
    fn a_node_contains_itself_and_what_is_below_it() {
        assert!(Path::instance(3, 0).contains(&Path::resource(3, 0, 9)));
        assert!(Path::Root.contains(&Path::instance(3, 0)));
        assert!(!Path::resource(3, 0, 9).contains(&Path::instance(3, 0)));
    }
}
