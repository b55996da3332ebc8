//! Writes and executions of people at the cabinet.

use lwm2m_client::object::ResourceDefinition;
use lwm2m_client::{Path, Value, ValueType};
use ucifi_core::{CommandError, CommandId, PointValue};

use super::super::clock::now;
use super::super::commands;
use super::super::engine::Engine;
use super::values::{no_value, values};
use crate::control::{Problem, ProblemKind};

/// Begins to write a value, as a person writes it.
pub(super) fn write(
    engine: &mut Engine,
    device: &str,
    target: &str,
    text: &str,
) -> Result<CommandId, Problem> {
    let path = commanded(engine, device, target)?;
    let definition = definition(engine, path)?;
    let value = parse(definition, path, text)?;
    definition
        .check(&value)
        .map_err(|reason| Problem::new(ProblemKind::Refused, reason))?;
    engine
        .gateway
        .command(device, path, value, now())
        .map_err(command_problem)
}

/// Begins to execute a resource.
pub(super) fn exec(
    engine: &mut Engine,
    device: &str,
    target: &str,
    arguments: &str,
) -> Result<CommandId, Problem> {
    let path = resource(engine, device, target)?;
    if !definition(engine, path)?.operations.execute {
        return Err(Problem::new(
            ProblemKind::Refused,
            format!("{path} cannot be executed"),
        ));
    }
    engine
        .gateway
        .execute(device, path, arguments, now())
        .map_err(command_problem)
}

fn command_problem(error: CommandError) -> Problem {
    match error {
        CommandError::UnknownDevice(_) | CommandError::UnknownResource(_) => {
            Problem::new(ProblemKind::NotFound, error.to_string())
        }
        CommandError::Refused(outcome) => Problem::new(
            commands::kind_of(&outcome).unwrap_or(ProblemKind::Refused),
            outcome.to_string(),
        ),
    }
}

/// Returns the resource to write: a path means itself; the name of a point that only shows what a command did, as the
/// state of a relay, means the one command beside it.
fn commanded(engine: &Engine, device: &str, target: &str) -> Result<Path, Problem> {
    let path = resource(engine, device, target)?;
    if target.starts_with('/') {
        return Ok(path);
    }
    let commands = engine.gateway.commanded_beside(device, path);
    match commands.as_slice() {
        [only] => Ok(*only),
        several if several.contains(&path) => Ok(path),
        [] => Ok(path),
        several => Err(ambiguous(device, target, several)),
    }
}

fn ambiguous(device: &str, target: &str, paths: &[Path]) -> Problem {
    let paths: Vec<String> = paths.iter().map(Path::to_string).collect();
    let message = format!(
        "{target:?} of {device} may mean {}: name the path",
        paths.join(" or ")
    );
    Problem::new(ProblemKind::BadRequest, message)
}

/// Returns the resource that a path or the name of a point means.
fn resource(engine: &Engine, device: &str, target: &str) -> Result<Path, Problem> {
    let values = values(engine, device)?;
    let path = match target.parse::<Path>() {
        Ok(path) => path,
        Err(_) => named(device, target, &values)?,
    };
    if path.resource_id().is_none() {
        let message = format!("{path} is no resource: name one, as in /3416/0/1");
        return Err(Problem::new(ProblemKind::BadRequest, message));
    }
    Ok(path)
}

/// Returns the one resource of this name: points have names of their own, the registry's names may recur.
fn named(device: &str, name: &str, values: &[PointValue]) -> Result<Path, Problem> {
    let paths: Vec<Path> = values
        .iter()
        .filter(|value| *value.name == *name)
        .map(|value| value.path)
        .collect();
    match paths.as_slice() {
        [only] => Ok(*only),
        [] => Err(no_value(device, name, values)),
        several => Err(ambiguous(device, name, several)),
    }
}

fn definition(engine: &Engine, path: Path) -> Result<&ResourceDefinition, Problem> {
    let unknown = || {
        Problem::new(
            ProblemKind::NotFound,
            format!("no object has the resource {path}"),
        )
    };
    let (object, resource) = path.object_id().zip(path.resource_id()).ok_or_else(unknown)?;
    let object = engine.objects.latest(object).ok_or_else(unknown)?;
    object.resources.get(&resource).ok_or_else(unknown)
}

/// Reads a value as a person writes it: LwM2M's own text format, and the words and hex digits of people.
fn parse(definition: &ResourceDefinition, path: Path, text: &str) -> Result<Value, Problem> {
    let unfit = |expected: &str| {
        let message = format!(
            "{text:?} is no value for {path} ({}): {expected}",
            definition.name
        );
        Problem::new(ProblemKind::Refused, message)
    };
    let Some(value_type) = definition.value_type else {
        return Err(unfit("it has no value, it can only be executed"));
    };
    let value = match value_type {
        ValueType::Boolean => match text.to_lowercase().as_str() {
            "true" | "1" | "on" => Some(Value::Boolean(true)),
            "false" | "0" | "off" => Some(Value::Boolean(false)),
            _ => None,
        },
        ValueType::Integer => text.parse().ok().map(Value::Integer),
        ValueType::Unsigned => text.parse().ok().map(Value::Unsigned),
        ValueType::Float => text
            .parse()
            .ok()
            .filter(|v: &f64| v.is_finite())
            .map(Value::Float),
        ValueType::Time => text.parse().ok().map(Value::Time),
        ValueType::String => Some(Value::String(text.to_owned())),
        ValueType::Corelnk => Some(Value::Corelnk(text.to_owned())),
        ValueType::Opaque => crate::hex::bytes(text).map(Value::Opaque),
        ValueType::Objlnk => objlnk(text),
    };
    value.ok_or_else(|| unfit(&format!("expected {}", expected(value_type))))
}

fn objlnk(text: &str) -> Option<Value> {
    let (object, instance) = text.split_once(':')?;
    Some(Value::Objlnk(
        lwm2m_client::ObjectId(object.parse().ok()?),
        lwm2m_client::InstanceId(instance.parse().ok()?),
    ))
}

fn expected(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Boolean => "true or false",
        ValueType::Integer => "an integer",
        ValueType::Unsigned => "an integer that is not negative",
        ValueType::Float => "a number",
        ValueType::Time => "seconds since 1970",
        ValueType::String | ValueType::Corelnk => "a text",
        ValueType::Opaque => "hex digits",
        ValueType::Objlnk => "object:instance",
    }
}
