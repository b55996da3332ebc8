//! The names under which values are saved.
//!
//! ```text
//!  core/commands                                   the command numbers that may be in use
//!  core/stopped                                    the run that ended with everything saved
//!  core/endpoint/<device>                          the endpoint name of a device
//!  core/client/<server>/<device>/<part>            how far the client of a device at a server is
//!  core/values/<device>/<object>/<instance>/<part> the latest values of an object instance
//! ```
//! The cabinet itself is `~`: its id is the gateway's name, which may change. In the names of devices and servers `%`,
//! `/` and `~` are written as `%25`, `%2F` and `%7E`.

use std::fmt;
use std::sync::Arc;

use lwm2m_client::{InstanceId, ObjectId};

use crate::buffer::CABINET;

/// A device, or the cabinet itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// The cabinet.
    Cabinet,
    /// A device, by its id.
    Device(Arc<str>),
}

/// What a saved value is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    /// The command numbers that may be in use.
    Commands,
    /// The run that ended with everything saved.
    Stopped,
    /// The endpoint name of a device.
    Endpoint(Owner),
    /// The client of a device at a server.
    Client {
        /// The name of the server.
        account: Arc<str>,
        /// The device.
        owner: Owner,
        /// Which part, as the client calls it.
        part: String,
    },
    /// The latest values of an object instance, or a part of them where they are many.
    Values {
        /// The device.
        owner: Owner,
        /// The object.
        object: ObjectId,
        /// The instance.
        instance: InstanceId,
        /// Which part, from 0.
        part: u8,
    },
}

impl Owner {
    /// Returns its name for people.
    pub(crate) fn id(&self) -> Arc<str> {
        match self {
            Self::Cabinet => "the cabinet".into(),
            Self::Device(id) => Arc::clone(id),
        }
    }

    /// Returns the name of its streams in the buffer; no two owners have the same.
    pub(crate) fn stream(&self) -> Arc<str> {
        match self {
            Self::Cabinet => CABINET.into(),
            Self::Device(id) if id.starts_with(CABINET) => format!("{CABINET}{id}").into(),
            Self::Device(id) => Arc::clone(id),
        }
    }

    /// Returns whose streams have a name.
    pub(crate) fn of_stream(name: &Arc<str>) -> Self {
        match name.strip_prefix(CABINET) {
            None => Self::Device(Arc::clone(name)),
            Some("") => Self::Cabinet,
            Some(id) => Self::Device(id.into()),
        }
    }
}

impl Name {
    /// Says whether a name can be one of these.
    pub(crate) fn is_ours(name: &str) -> bool {
        name.starts_with("core/")
    }

    /// Returns what the names of all parts of a client begin with, and no others.
    pub(crate) fn client_prefix(account: &str, owner: &Owner) -> String {
        format!("core/client/{}/{owner}/", escape(account))
    }

    /// Returns what the names of all values of a device begin with, and no others.
    pub(crate) fn device_prefix(owner: &Owner) -> String {
        format!("core/values/{owner}/")
    }

    /// Returns what the names of all parts of an instance begin with, and no others.
    pub(crate) fn values_prefix(owner: &Owner, object: ObjectId, instance: InstanceId) -> String {
        format!("core/values/{owner}/{object}/{instance}/")
    }

    /// Reads a name; none where it is not one of these.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('/');
        if parts.next() != Some("core") {
            return None;
        }
        let parsed = match parts.next()? {
            "commands" => Self::Commands,
            "stopped" => Self::Stopped,
            "endpoint" => Self::Endpoint(owner(parts.next()?)?),
            "client" => Self::Client {
                account: unescape(parts.next()?)?.into(),
                owner: owner(parts.next()?)?,
                part: unescape(parts.next()?)?,
            },
            "values" => Self::Values {
                owner: owner(parts.next()?)?,
                object: ObjectId(parts.next()?.parse().ok()?),
                instance: InstanceId(parts.next()?.parse().ok()?),
                part: parts.next()?.parse().ok()?,
            },
            _ => return None,
        };
        // One spelling each: `+1` and `01` are numbers too.
        (parts.next().is_none() && parsed.to_string() == name).then_some(parsed)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commands => f.write_str("core/commands"),
            Self::Stopped => f.write_str("core/stopped"),
            Self::Endpoint(owner) => write!(f, "core/endpoint/{owner}"),
            Self::Client { account, owner, part } => {
                write!(f, "core/client/{}/{owner}/{}", escape(account), escape(part))
            }
            Self::Values {
                owner,
                object,
                instance,
                part,
            } => write!(f, "core/values/{owner}/{object}/{instance}/{part}"),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cabinet => f.write_str("~"),
            Self::Device(id) => f.write_str(&escape(id)),
        }
    }
}

fn owner(text: &str) -> Option<Owner> {
    match text {
        "~" => Some(Owner::Cabinet),
        _ => Some(Owner::Device(unescape(text)?.into())),
    }
}

fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('/', "%2F").replace('~', "%7E")
}

fn unescape(text: &str) -> Option<String> {
    let plain = text.replace("%2F", "/").replace("%7E", "~").replace("%25", "%");
    (escape(&plain) == text).then_some(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_owner() -> impl Strategy<Value = Owner> {
        prop_oneof![
            Just(Owner::Cabinet),
            ".{0,12}".prop_map(|id| Owner::Device(id.into())),
            "[%/~257EFa-z]{0,8}".prop_map(|id| Owner::Device(id.into())),
        ]
    }

    fn any_name() -> impl Strategy<Value = Name> {
        prop_oneof![
            Just(Name::Commands),
            Just(Name::Stopped),
            any_owner().prop_map(Name::Endpoint),
            ("[%/~257EFa-z]{0,8}", any_owner(), ".{0,8}").prop_map(|(account, owner, part)| Name::Client {
                account: account.into(),
                owner,
                part,
            }),
            (any_owner(), any::<u16>(), any::<u16>(), any::<u8>()).prop_map(
                |(owner, object, instance, part)| Name::Values {
                    owner,
                    object: ObjectId(object),
                    instance: InstanceId(instance),
                    part,
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn whose_a_stream_is_can_be_told_by_its_name(owner in any_owner()) {
            prop_assert_eq!(Owner::of_stream(&owner.stream()), owner);
        }

        #[test]
        fn a_name_is_read_as_it_was_written(name in any_name()) {
            prop_assert_eq!(Name::parse(&name.to_string()), Some(name));
        }

        #[test]
        fn any_text_is_a_name_or_none(text in "(core/)?.{0,40}") {
            if let Some(name) = Name::parse(&text) {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }

    #[test]
    fn names_are_what_the_documentation_says() {
        let device = |id: &str| Owner::Device(id.into());
        let client = Name::Client {
            account: "city".into(),
            owner: device("meter-1"),
            part: "counters".to_owned(),
        };
        let values = Name::Values {
            owner: device("a/b"),
            object: ObjectId(3421),
            instance: InstanceId(0),
            part: 1,
        };
        assert_eq!(client.to_string(), "core/client/city/meter-1/counters");
        assert_eq!(values.to_string(), "core/values/a%2Fb/3421/0/1");
        assert_eq!(Name::Endpoint(Owner::Cabinet).to_string(), "core/endpoint/~");
    }
}
