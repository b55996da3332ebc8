//! The check of Write, Create and Execute: what leaves here fits the definitions, as a whole or not at all.

use std::collections::BTreeSet;

use super::limits;
use super::operation::{Operation, WriteMode};
use super::refusal::Refusal;
use super::view::View;
use crate::coap::{Code, IncomingRequest};
use crate::format::{self, ContentFormat, Entry};
use crate::object::ResourceDefinition;
use crate::{InstanceId, ObjectId, Path, ResourceId, Value};

/// The instance number of entries whose instance is still to be made.
const UNNAMED: InstanceId = InstanceId(u16::MAX);

/// Checks a Write on an instance, a resource or a resource instance.
pub(super) fn write(
    view: View<'_>,
    mode: WriteMode,
    target: Path,
    request: &IncomingRequest,
) -> Result<Operation, Refusal> {
    check_target(view, target)?;
    let entries = decode(view, target, request)?;
    if entries.is_empty() && !matches!(target, Path::Resource(..)) {
        return Err(Refusal::bad_request("there is nothing to write"));
    }
    entries.iter().try_for_each(|entry| check_entry(view, entry))?;
    Ok(Operation::Write {
        mode,
        target,
        entries,
    })
}

/// Checks a Create.
pub(super) fn create(
    view: View<'_>,
    object: ObjectId,
    request: &IncomingRequest,
) -> Result<Operation, Refusal> {
    if view.definition(object).is_none() {
        return Err(Refusal::not_found(format!("object {object} is not there")));
    }
    if !view.may_create(object) {
        return Err(Refusal::not_allowed(format!(
            "an instance of object {object} cannot be created"
        )));
    }
    let nothing = request.payload.is_empty() && request.content_format.is_none();
    let mut entries = if nothing {
        Vec::new()
    } else {
        decode(view, Path::Object(object), request)?
    };
    let instance = instance_to_create(view, object, &entries)?;
    // Values that only the client may set are ignored in a Create.
    entries.retain(|e| definition(view, e).is_some_and(|d| d.operations.write));
    entries.iter().try_for_each(|entry| check_value(view, entry))?;
    check_mandatory(view, object, &entries)?;
    Ok(Operation::Create {
        object,
        instance,
        entries,
    })
}

/// Checks a Delete.
pub(super) fn delete(view: View<'_>, path: Path) -> Result<Operation, Refusal> {
    let Path::Instance(object, instance) = path else {
        return Err(Refusal::not_allowed("only an object instance can be deleted"));
    };
    if !view.has_instance(object, instance) {
        return Err(Refusal::not_found(format!("{path} is not there")));
    }
    if !view.may_delete(object, instance) {
        return Err(Refusal::not_allowed(format!("{path} cannot be deleted")));
    }
    Ok(Operation::Delete { path })
}

/// Checks an Execute of a resource that is known to be there.
pub(super) fn execute(view: View<'_>, path: Path, request: &IncomingRequest) -> Result<Operation, Refusal> {
    let accepted = match path {
        Path::Resource(o, i, r) => view.accepts(o, i, r),
        Path::Root | Path::Object(_) | Path::Instance(..) | Path::ResourceInstance(..) => false,
    };
    if !accepted {
        return Err(Refusal::not_allowed(format!("nothing is behind {path}")));
    }
    if request
        .content_format
        .is_some_and(|f| f != ContentFormat::Text.code())
    {
        return Err(Refusal::new(
            Code::UNSUPPORTED_CONTENT_FORMAT,
            "arguments are plain text",
        ));
    }
    if request.payload.len() > limits::ARGUMENTS {
        return Err(Refusal::new(
            Code::REQUEST_ENTITY_TOO_LARGE,
            format!("arguments of more than {} bytes", limits::ARGUMENTS),
        ));
    }
    let arguments = std::str::from_utf8(&request.payload)
        .ok()
        .filter(|text| are_arguments(text));
    match arguments {
        Some(arguments) => Ok(Operation::Execute {
            path,
            arguments: arguments.to_owned(),
        }),
        None => Err(Refusal::bad_request("arguments are written as in 0='on',1")),
    }
}

/// Says whether a text is a list of arguments: a digit each, maybe with a value in single quotes (LwM2M Core 1.2,
/// section 6.3.5).
fn are_arguments(text: &str) -> bool {
    let mut rest = text;
    let mut first = true;
    while !rest.is_empty() {
        let Some(after) = (if first { Some(rest) } else { rest.strip_prefix(',') }).and_then(after_argument)
        else {
            return false;
        };
        first = false;
        rest = after;
    }
    true
}

fn after_argument(text: &str) -> Option<&str> {
    let rest = text.strip_prefix(|c: char| c.is_ascii_digit())?;
    let Some(quoted) = rest.strip_prefix("='") else {
        return Some(rest);
    };
    let (value, rest) = quoted.split_once('\'')?;
    let printable = value
        .bytes()
        .all(|b| matches!(b, 0x21 | 0x23..=0x26 | 0x28..=0x5B | 0x5D..=0x7E));
    printable.then_some(rest)
}

/// Checks that a Write has something to write to, before its body is looked at.
fn check_target(view: View<'_>, target: Path) -> Result<(), Refusal> {
    let (Some(o), Some(i)) = (target.object_id(), target.instance_id()) else {
        return Err(Refusal::not_allowed("an object cannot be written as a whole"));
    };
    if !view.has_instance(o, i) {
        return Err(Refusal::not_found(format!(
            "{} is not there",
            Path::Instance(o, i)
        )));
    }
    let Some(r) = target.resource_id() else {
        return Ok(());
    };
    check_writable(view, o, i, r)?;
    let definition = view.resource(o, r);
    if target.resource_instance_id().is_some() && definition.is_none_or(|d| !d.multiple) {
        return Err(Refusal::not_found(format!(
            "{target} is not there: the resource is a single one"
        )));
    }
    Ok(())
}

fn check_writable(view: View<'_>, o: ObjectId, i: InstanceId, r: ResourceId) -> Result<(), Refusal> {
    let path = Path::Resource(o, i, r);
    let Some(definition) = view.resource(o, r) else {
        return Err(Refusal::not_found(format!("{path} is not there")));
    };
    if !definition.operations.write {
        return Err(Refusal::not_allowed(format!("{path} cannot be written")));
    }
    if !view.accepts(o, i, r) {
        return Err(Refusal::not_allowed(format!("nothing is behind {path}")));
    }
    Ok(())
}

fn check_entry(view: View<'_>, entry: &Entry) -> Result<(), Refusal> {
    let ids = entry
        .path
        .object_id()
        .zip(entry.path.instance_id())
        .zip(entry.path.resource_id());
    let Some(((o, i), r)) = ids else {
        return Err(Refusal::bad_request(format!("{} is no resource", entry.path)));
    };
    check_writable(view, o, i, r)?;
    check_value(view, entry)
}

fn check_value(view: View<'_>, entry: &Entry) -> Result<(), Refusal> {
    let Some(definition) = definition(view, entry) else {
        return Err(Refusal::not_found(format!("{} is not there", entry.path)));
    };
    if definition.multiple != entry.path.resource_instance_id().is_some() {
        return Err(Refusal::bad_request(format!(
            "{} is not as multiple as its definition",
            entry.path
        )));
    }
    definition
        .check(&entry.value)
        .map_err(|reason| Refusal::bad_request(format!("{}: {reason}", entry.path)))?;
    match entry.value {
        Value::Objlnk(o, i) if (o.0, i.0) != (u16::MAX, u16::MAX) && !view.has_instance(o, i) => Err(
            Refusal::bad_request(format!("{} would link to nothing", entry.path)),
        ),
        Value::Objlnk(..)
        | Value::String(_)
        | Value::Integer(_)
        | Value::Unsigned(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Opaque(_)
        | Value::Time(_)
        | Value::Corelnk(_) => Ok(()),
    }
}

fn definition<'a>(view: View<'a>, entry: &Entry) -> Option<&'a ResourceDefinition> {
    view.resource(entry.path.object_id()?, entry.path.resource_id()?)
}

fn decode(view: View<'_>, base: Path, request: &IncomingRequest) -> Result<Vec<Entry>, Refusal> {
    let unsupported = |what| Refusal::new(Code::UNSUPPORTED_CONTENT_FORMAT, what);
    let code = request
        .content_format
        .ok_or_else(|| unsupported("the content format is missing".to_owned()))?;
    let format = ContentFormat::from_code(code).filter(|f| *f != ContentFormat::Link);
    let format = format.ok_or_else(|| unsupported(format!("content format {code} is not spoken here")))?;
    format::decode(format, base, &request.payload, &view).map_err(|e| Refusal::of_body(&e))
}

fn instance_to_create(
    view: View<'_>,
    object: ObjectId,
    entries: &[Entry],
) -> Result<Option<InstanceId>, Refusal> {
    let named: BTreeSet<_> = entries.iter().filter_map(|e| e.path.instance_id()).collect();
    let instance = match named.len() {
        0 | 1 => named.into_iter().next().filter(|i| *i != UNNAMED),
        _ => return Err(Refusal::bad_request("one Create makes one instance")),
    };
    match instance {
        Some(i) if view.has_instance(object, i) => Err(Refusal::bad_request(format!(
            "{} is there already",
            Path::Instance(object, i)
        ))),
        Some(_) | None => Ok(instance),
    }
}

fn check_mandatory(view: View<'_>, object: ObjectId, entries: &[Entry]) -> Result<(), Refusal> {
    let Some(definition) = view.definition(object) else {
        return Err(Refusal::not_found(format!("object {object} is not there")));
    };
    let given = |r: ResourceId| entries.iter().any(|e| e.path.resource_id() == Some(r));
    let mut needed = definition
        .resources
        .values()
        .filter(|d| d.mandatory && d.operations.write);
    match needed.find(|d| !given(d.id)) {
        Some(missing) => Err(Refusal::bad_request(format!(
            "resource {} ({}) is mandatory and missing",
            missing.id, missing.name
        ))),
        None => Ok(()),
    }
}
