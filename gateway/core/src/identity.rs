//! What every device says of itself: the objects 3, Device, and 3410, Device Extension.

use lwm2m_client::object::ObjectTable;
use lwm2m_client::{InstanceId, ObjectId, Path, Value};

use crate::device::{Device, canonical};

/// Resource /3/0/13, Current Time: the gateway's own clock, see `view`.
pub(crate) const CURRENT_TIME: (ObjectId, InstanceId, lwm2m_client::ResourceId) =
    (ObjectId(3), InstanceId(0), lwm2m_client::ResourceId(13));

/// Fills in what the profile and the configuration tell of a device; a point or a constant of the profile for the
/// same resource is left alone.
pub(crate) fn fill(
    device: &mut Device,
    serial: &str,
    firmware_version: &str,
    is_field_device: bool,
    table: &ObjectTable,
) {
    let identity = device.profile.identity().clone();
    let label = device.label.to_string();
    let text = |text: &str| (!text.is_empty()).then(|| Value::String(text.to_owned()));
    let values = [
        (Path::resource(3, 0, 0), text(&identity.manufacturer)),
        (Path::resource(3, 0, 1), text(&identity.model_number)),
        (Path::resource(3, 0, 2), text(serial)),
        (Path::resource(3, 0, 3), text(firmware_version)),
        (Path::resource(3, 0, 11), Some(Value::Integer(0))),
        (Path::resource(3, 0, 16), text("U")),
        (Path::resource(3, 0, 17), text(&identity.device_type)),
    ];
    let values = values
        .into_iter()
        .chain(extension(is_field_device, &identity.oui, &label));
    for (path, value) in values {
        let Some((key, _)) = canonical(table, path) else {
            continue;
        };
        let is_taken = device.tree.get(key).is_some() || device.points.iter().any(|point| point.key == key);
        if let Some(value) = value.filter(|_| !is_taken) {
            device.tree.put_constant(key, value);
        }
    }
}

/// Returns object 3410 of a field device, and the link to it. A maker without a number leaves the mandatory /3410/0/2
/// empty: the instance is there for the label all the same.
fn extension(is_field_device: bool, oui: &str, label: &str) -> Vec<(Path, Option<Value>)> {
    if !is_field_device {
        return Vec::new();
    }
    let label = (!label.is_empty()).then(|| Value::String(label.to_owned()));
    vec![
        (
            Path::resource(3, 0, 22),
            Some(Value::Objlnk(ObjectId(3410), InstanceId(0))),
        ),
        (Path::resource(3410, 0, 2), Some(Value::String(oui.to_owned()))),
        (Path::resource(3410, 0, 3), label),
    ]
}
