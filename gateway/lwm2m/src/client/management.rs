//! Device management: what a request of the server asks for, and whether it may.
//!
//! Decides and changes nothing: what is to be done is returned as an [`Action`].

use super::attributes::{AttributeChange, AttributeTable};
use super::discover;
use super::limits;
use super::operation::{Operation, WriteMode};
use super::read::{self, Reading};
use super::refusal::Refusal;
use super::view::{SECRET, View};
use super::write;
use crate::coap::{Code, IncomingRequest, Method};
use crate::format::ContentFormat;
use crate::object::EnablerVersion;
use crate::path;
use crate::{ObjectId, Path, ValueType};

/// What a request asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// Read, and begin or end an observation where the request says so.
    Read { path: Path, reading: Reading },
    /// Discover.
    Discover { links: String },
    /// Write-Attributes.
    Attach { path: Path, change: AttributeChange },
    /// Write, Execute, Create or Delete.
    Operate(Operation),
}

/// Decides what a request asks for.
pub(super) fn decide(
    view: View<'_>,
    attributes: &AttributeTable,
    version: EnablerVersion,
    request: &IncomingRequest,
) -> Result<Action, Refusal> {
    let path = parse_path(&request.path)?;
    if let Some(object) = path.object_id().filter(|o| SECRET.contains(o)) {
        return Err(Refusal::new(
            Code::UNAUTHORIZED,
            format!("object {object} is not for servers"),
        ));
    }
    match request.method {
        Method::Get if request.accept == Some(ContentFormat::Link.code()) => {
            let links = discover::discover(view, attributes, version, path)?;
            Ok(Action::Discover { links })
        }
        Method::Get => {
            let reading = read::read(view, path, request.accept, version)?;
            Ok(Action::Read { path, reading })
        }
        Method::Put if request.content_format.is_none() && request.payload.is_empty() => {
            attach(view, path, &request.query)
        }
        Method::Put => write::write(view, WriteMode::Replace, path, request).map(Action::Operate),
        Method::Post => post(view, path, request).map(Action::Operate),
        Method::Delete => write::delete(view, path).map(Action::Operate),
        Method::Fetch | Method::Patch | Method::Ipatch => {
            Err(Refusal::not_allowed("composite operations are not offered"))
        }
    }
}

/// POST means Create, partial Write or Execute, by what the path points at.
fn post(view: View<'_>, path: Path, request: &IncomingRequest) -> Result<Operation, Refusal> {
    let resource = match path {
        Path::Root => return Err(Refusal::not_allowed("nothing can be done to the root")),
        Path::Object(o) => return write::create(view, o, request),
        Path::Instance(..) => return write::write(view, WriteMode::Update, path, request),
        Path::Resource(o, i, r) | Path::ResourceInstance(o, i, r, _) => (o, i, r),
    };
    let (o, i, r) = resource;
    let definition = view.resource(o, r).filter(|_| view.has_instance(o, i));
    let definition = definition.ok_or_else(|| Refusal::not_found(format!("{path} is not there")))?;
    if definition.operations.execute {
        return write::execute(view, path, request);
    }
    if definition.multiple && request.content_format.is_some() {
        return write::write(view, WriteMode::Update, path, request);
    }
    Err(Refusal::not_allowed(format!("{path} cannot be executed")))
}

fn attach(view: View<'_>, path: Path, query: &[String]) -> Result<Action, Refusal> {
    if path == Path::Root {
        return Err(Refusal::not_allowed("the root takes no attributes"));
    }
    let resource = path.object_id().zip(path.resource_id());
    let definition = resource.and_then(|(o, r)| view.resource(o, r));
    // A resource without a value can be watched too, so it need not exist beyond its definition.
    let there = match path {
        Path::Resource(o, i, _) => view.has_instance(o, i) && definition.is_some(),
        Path::Root | Path::Object(_) | Path::Instance(..) | Path::ResourceInstance(..) => view.exists(path),
    };
    if !there {
        return Err(Refusal::not_found(format!("{path} is not there")));
    }
    if query.is_empty() || query.len() > limits::QUERY {
        return Err(Refusal::bad_request(format!(
            "1 to {} attributes are expected",
            limits::QUERY
        )));
    }
    let change = AttributeChange::parse(query).map_err(Refusal::bad_request)?;
    if definition.is_some_and(|d| !d.operations.read) {
        return Err(Refusal::bad_request(format!("{path} cannot be observed")));
    }
    let numeric = definition.and_then(|d| d.value_type).is_some_and(is_numeric);
    if change.needs_number() && !numeric {
        return Err(Refusal::bad_request(format!(
            "gt, lt and st need a number, {path} is none"
        )));
    }
    Ok(Action::Attach { path, change })
}

const fn is_numeric(value_type: ValueType) -> bool {
    match value_type {
        ValueType::Integer | ValueType::Unsigned | ValueType::Float | ValueType::Time => true,
        ValueType::String
        | ValueType::Boolean
        | ValueType::Opaque
        | ValueType::Objlnk
        | ValueType::Corelnk => false,
    }
}

fn parse_path(segments: &[String]) -> Result<Path, Refusal> {
    let text = || segments.join("/");
    // What begins with a letter belongs to something else: a prefix, `.well-known`, the bootstrap interface.
    if segments
        .first()
        .is_some_and(|s| !s.starts_with(|c: char| c.is_ascii_digit()))
    {
        return Err(Refusal::not_found(format!("/{} is not there", text())));
    }
    let numbers: Option<Vec<u16>> = segments.iter().map(|s| path::segment(s)).collect();
    let parsed = numbers.and_then(|n| Path::from_segments(&n));
    parsed.ok_or_else(|| Refusal::not_allowed(format!("/{} is no LwM2M path", text())))
}

/// Says whether an operation is about an object.
pub(super) fn is_about(operation: &Operation, object: ObjectId) -> bool {
    let target = match operation {
        Operation::Write { target, .. } => target.object_id(),
        Operation::Execute { path, .. } | Operation::Delete { path } => path.object_id(),
        Operation::Create { object, .. } => Some(*object),
    };
    target == Some(object)
}
