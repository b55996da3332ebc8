//! Object 1, LwM2M Server: the one object that the client serves itself.
//!
//! Resources 9 to 22 are left out: there is no bootstrap server and one transport, and the retry resources (17 to
//! 20) carry no operation before LwM2M 1.2. They act through [`RetryPolicy`](super::RetryPolicy).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::config::ClientConfig;
use super::operation::WriteMode;
use super::saved::{SavedServer, ServerValues};
use crate::format::Entry;
use crate::object::{EnablerVersion, ObjectDefinition, Operations, ResourceDefinition, Version};
use crate::{InstanceId, ObjectId, Path, ResourceId, Value, ValueType};

pub(super) const ID: ObjectId = ObjectId(1);
pub(super) const INSTANCE: InstanceId = InstanceId(0);

pub(super) const SHORT_SERVER_ID: ResourceId = ResourceId(0);
pub(super) const LIFETIME: ResourceId = ResourceId(1);
pub(super) const DEFAULT_PMIN: ResourceId = ResourceId(2);
pub(super) const DEFAULT_PMAX: ResourceId = ResourceId(3);
pub(super) const DISABLE: ResourceId = ResourceId(4);
pub(super) const DISABLE_TIMEOUT: ResourceId = ResourceId(5);
pub(super) const NOTIFICATION_STORING: ResourceId = ResourceId(6);
pub(super) const BINDING: ResourceId = ResourceId(7);
pub(super) const UPDATE_TRIGGER: ResourceId = ResourceId(8);
pub(super) const MUTE_SEND: ResourceId = ResourceId(23);

/// The only transport there is.
const UDP: &str = "U";
/// The default of /1/x/5.
const DISABLE_TIMEOUT_SECS: u32 = 86_400;

/// The values of /1/0.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ServerObject {
    version: EnablerVersion,
    short_server_id: u16,
    pub(super) lifetime_secs: u32,
    pub(super) default_pmin_secs: Option<u32>,
    pub(super) default_pmax_secs: Option<u32>,
    pub(super) disable_timeout_secs: u32,
    pub(super) notification_storing: bool,
    pub(super) mute_send: bool,
}

impl ServerObject {
    pub(super) fn new(config: &ClientConfig) -> Self {
        Self {
            version: config.version,
            short_server_id: config.short_server_id,
            lifetime_secs: config.lifetime_secs,
            default_pmin_secs: config.default_pmin_secs,
            default_pmax_secs: config.default_pmax_secs,
            disable_timeout_secs: DISABLE_TIMEOUT_SECS,
            notification_storing: config.notification_storing,
            mute_send: config.mute_send,
        }
    }

    /// Returns the writable resources.
    pub(super) const fn save(&self) -> ServerValues {
        ServerValues {
            lifetime_secs: self.lifetime_secs,
            default_pmin_secs: self.default_pmin_secs,
            default_pmax_secs: self.default_pmax_secs,
            disable_timeout_secs: self.disable_timeout_secs,
            notification_storing: self.notification_storing,
            mute_send: self.mute_send,
        }
    }

    /// Takes over what was in force before a restart, except for what is configured differently by now.
    pub(super) fn resume(&mut self, saved: &SavedServer) {
        fn kept<T: PartialEq>(configured: &mut T, before: T, present: T) {
            if *configured == before {
                *configured = present;
            }
        }
        let (before, present) = (saved.configured, saved.present);
        kept(
            &mut self.lifetime_secs,
            before.lifetime_secs,
            present.lifetime_secs,
        );
        kept(
            &mut self.default_pmin_secs,
            before.default_pmin_secs,
            present.default_pmin_secs,
        );
        kept(
            &mut self.default_pmax_secs,
            before.default_pmax_secs,
            present.default_pmax_secs,
        );
        kept(
            &mut self.disable_timeout_secs,
            before.disable_timeout_secs,
            present.disable_timeout_secs,
        );
        kept(
            &mut self.notification_storing,
            before.notification_storing,
            present.notification_storing,
        );
        kept(&mut self.mute_send, before.mute_send, present.mute_send);
    }

    /// Shows the object as this enabler version defines it.
    pub(super) const fn set_version(&mut self, version: EnablerVersion) {
        self.version = version;
    }

    pub(super) fn definition(&self) -> &'static ObjectDefinition {
        match self.version {
            EnablerVersion::V1_0 => &V1_0,
            EnablerVersion::V1_1 => &V1_1,
        }
    }

    pub(super) fn resources(&self) -> Vec<ResourceId> {
        let unset = |r: &ResourceId| self.is_readable(*r) && self.read(*r).is_none();
        // A default that is not set can still be written, so it is there.
        let settable = |r: &ResourceId| *r == DEFAULT_PMIN || *r == DEFAULT_PMAX;
        let all = self.definition().resources.keys().copied();
        all.filter(|r| settable(r) || !unset(r)).collect()
    }

    fn is_readable(&self, resource: ResourceId) -> bool {
        self.definition()
            .resources
            .get(&resource)
            .is_some_and(|d| d.operations.read)
    }

    pub(super) fn read(&self, resource: ResourceId) -> Option<Value> {
        if !self.is_readable(resource) {
            return None;
        }
        let seconds = |secs: u32| Value::Integer(secs.into());
        match resource {
            SHORT_SERVER_ID => Some(Value::Integer(self.short_server_id.into())),
            LIFETIME => Some(seconds(self.lifetime_secs)),
            DEFAULT_PMIN => self.default_pmin_secs.map(seconds),
            DEFAULT_PMAX => self.default_pmax_secs.map(seconds),
            DISABLE_TIMEOUT => Some(seconds(self.disable_timeout_secs)),
            NOTIFICATION_STORING => Some(Value::Boolean(self.notification_storing)),
            BINDING => Some(Value::String(UDP.to_owned())),
            MUTE_SEND => Some(Value::Boolean(self.mute_send)),
            _ => None,
        }
    }

    /// Returns the object after a Write whose entries fit the definition; why not, where a value cannot be taken.
    pub(super) fn written(&self, mode: WriteMode, target: Path, entries: &[Entry]) -> Result<Self, String> {
        let mut new = self.clone();
        let replaced = mode == WriteMode::Replace && matches!(target, Path::Instance(..));
        if replaced {
            let names = |r| entries.iter().any(|e| e.path.resource_id() == Some(r));
            if ![LIFETIME, NOTIFICATION_STORING, BINDING].into_iter().all(names) {
                return Err("resources 1, 6 and 7 are mandatory in an instance of object 1".to_owned());
            }
            new.default_pmin_secs = None;
            new.default_pmax_secs = None;
            new.disable_timeout_secs = DISABLE_TIMEOUT_SECS;
            // An absent /1/x/23 means muted.
            new.mute_send = true;
        }
        for entry in entries {
            new.set(entry)?;
        }
        Ok(new)
    }

    fn set(&mut self, entry: &Entry) -> Result<(), String> {
        let Some(resource) = entry.path.resource_id() else {
            return Err(format!("{} is no resource", entry.path));
        };
        match (resource, &entry.value) {
            (LIFETIME, Value::Integer(v)) => self.lifetime_secs = seconds(*v, entry.path)?,
            (DEFAULT_PMIN, Value::Integer(v)) => self.default_pmin_secs = Some(seconds(*v, entry.path)?),
            (DEFAULT_PMAX, Value::Integer(v)) => self.default_pmax_secs = Some(seconds(*v, entry.path)?),
            (DISABLE_TIMEOUT, Value::Integer(v)) => self.disable_timeout_secs = seconds(*v, entry.path)?,
            (NOTIFICATION_STORING, Value::Boolean(v)) => self.notification_storing = *v,
            (BINDING, Value::String(v)) if v == UDP => {}
            (BINDING, _) => return Err("the binding can only be U".to_owned()),
            (MUTE_SEND, Value::Boolean(v)) => self.mute_send = *v,
            _ => return Err(format!("{} cannot take this value", entry.path)),
        }
        Ok(())
    }
}

fn seconds(value: i64, path: Path) -> Result<u32, String> {
    u32::try_from(value).map_err(|_| format!("{path} cannot be {value}: 0 to 4294967295 seconds"))
}

static V1_0: LazyLock<ObjectDefinition> = LazyLock::new(|| definition(Version::V1_0, "urn:oma:lwm2m:oma:1"));
static V1_1: LazyLock<ObjectDefinition> =
    LazyLock::new(|| definition(Version::new(1, 1), "urn:oma:lwm2m:oma:1:1.1"));

fn definition(version: Version, urn: &str) -> ObjectDefinition {
    use ValueType::{Boolean, Integer, String};
    let mut rows = vec![
        (SHORT_SERVER_ID, "Short Server ID", "R", true, Some(Integer)),
        (LIFETIME, "Lifetime", "RW", true, Some(Integer)),
        (DEFAULT_PMIN, "Default Minimum Period", "RW", false, Some(Integer)),
        (DEFAULT_PMAX, "Default Maximum Period", "RW", false, Some(Integer)),
        (DISABLE, "Disable", "E", false, None),
        (DISABLE_TIMEOUT, "Disable Timeout", "RW", false, Some(Integer)),
        (
            NOTIFICATION_STORING,
            "Notification Storing When Disabled or Offline",
            "RW",
            true,
            Some(Boolean),
        ),
        (BINDING, "Binding", "RW", true, Some(String)),
        (UPDATE_TRIGGER, "Registration Update Trigger", "E", true, None),
    ];
    if version > Version::V1_0 {
        rows.push((MUTE_SEND, "Mute Send", "RW", false, Some(Boolean)));
    }
    let resources: BTreeMap<_, _> = rows.into_iter().map(|row| (row.0, resource(row))).collect();
    ObjectDefinition {
        id: ID,
        name: "LwM2M Server".to_owned(),
        version,
        urn: urn.to_owned(),
        multiple: true,
        mandatory: true,
        resources,
    }
}

fn resource(row: (ResourceId, &str, &str, bool, Option<ValueType>)) -> ResourceDefinition {
    let (id, name, operations, mandatory, value_type) = row;
    ResourceDefinition {
        id,
        name: name.to_owned(),
        operations: Operations {
            read: operations.contains('R'),
            write: operations.contains('W'),
            execute: operations.contains('E'),
        },
        multiple: false,
        mandatory,
        value_type,
        range: String::new(),
        unit: String::new(),
    }
}
