//! `objects`: the object registry for people, programs and servers' model folders.

use std::fs;
use std::path::{Path, PathBuf};

use lwm2m_client::ObjectId;
use lwm2m_client::object::{
    Model, ObjectDefinition, ObjectTable, Operations, ResourceDefinition, Version, xml,
};
use serde_json::{Value as Json, json};

use super::arguments::ObjectsCommand;
use super::output::{answer, print};
use super::table::{Align, Table};
use crate::config::beside;
use crate::exit::{ExitStatus, Failure};
use crate::profiles::objects_of;

pub(super) fn objects(config: &Path, command: ObjectsCommand) -> Result<(), Failure> {
    let table = known_objects(config)?;
    match command {
        ObjectsCommand::List(options) => list(&table, options.json),
        ObjectsCommand::Find { text, options } => find(&table, &text, options.json),
        ObjectsCommand::Show { id, version, options } => show(&table, ObjectId(id), version, options.json),
        ObjectsCommand::Export { dir, model } => export(&table, &dir, model),
    }
}

/// The built-in objects, and those of `objects.d` beside the configuration if there is one.
fn known_objects(config: &Path) -> Result<ObjectTable, Failure> {
    let files = beside(config, "objects.d", "xml").map_err(super::check::invalid)?;
    objects_of(&files).map_err(super::check::invalid)
}

fn list(table: &ObjectTable, json: bool) -> Result<(), Failure> {
    let newest: Vec<_> = table.objects().filter_map(|id| table.latest(id)).collect();
    let value = newest.iter().map(|object| summary(table, object)).collect();
    answer(json, &Json::Array(value), || {
        let mut rows = Table::new(&[
            ("id", Align::Right),
            ("name", Align::Left),
            ("versions", Align::Left),
        ]);
        for object in &newest {
            rows.row(vec![
                object.id.to_string(),
                object.name.clone(),
                versions(table, object.id).join(" "),
            ]);
        }
        rows.to_string()
    })
}

fn summary(table: &ObjectTable, object: &ObjectDefinition) -> Json {
    json!({ "id": object.id, "name": object.name, "versions": versions(table, object.id) })
}

fn versions(table: &ObjectTable, object: ObjectId) -> Vec<String> {
    table.versions(object).iter().map(Version::to_string).collect()
}

fn find(table: &ObjectTable, text: &str, json: bool) -> Result<(), Failure> {
    let wanted = text.to_lowercase();
    let hits: Vec<(String, String)> = table
        .objects()
        .filter_map(|id| table.latest(id))
        .flat_map(|object| hits_in(object, &wanted))
        .collect();
    if hits.is_empty() {
        let message = format!("no object or resource is called anything like {text:?}");
        return Err(Failure::new(ExitStatus::NotFound, message));
    }
    let value = hits
        .iter()
        .map(|(path, name)| json!({ "path": path, "name": name }))
        .collect();
    answer(json, &Json::Array(value), || {
        let mut rows = Table::new(&[("path", Align::Left), ("name", Align::Left)]);
        hits.iter()
            .for_each(|(path, name)| rows.row(vec![path.clone(), name.clone()]));
        rows.to_string()
    })
}

fn hits_in(object: &ObjectDefinition, wanted: &str) -> Vec<(String, String)> {
    let matches = |name: &str| name.to_lowercase().contains(wanted);
    let own = (matches(&object.name) || object.id.to_string() == wanted)
        .then(|| (format!("/{}", object.id), object.name.clone()));
    let resources = object
        .resources
        .values()
        .filter(|resource| matches(&resource.name));
    let resources = resources.map(|r| {
        (
            format!("/{}/x/{}", object.id, r.id),
            format!("{}: {}", object.name, r.name),
        )
    });
    own.into_iter().chain(resources).collect()
}

fn show(table: &ObjectTable, id: ObjectId, version: Option<Version>, json: bool) -> Result<(), Failure> {
    let found = match version {
        Some(version) => table.definition(id, version),
        None => table.latest(id),
    };
    let Some(object) = found else {
        return Err(Failure::new(ExitStatus::NotFound, missing(table, id, version)));
    };
    answer(json, &object_json(object), || object_text(object))
}

fn missing(table: &ObjectTable, id: ObjectId, version: Option<Version>) -> String {
    let known = versions(table, id);
    match version {
        Some(version) if !known.is_empty() => {
            format!(
                "object {id} has no version {version}: there are {}",
                known.join(", ")
            )
        }
        Some(_) | None => format!("no object has the number {id}: see `ucifi-gateway objects list`"),
    }
}

fn object_json(object: &ObjectDefinition) -> Json {
    let resources: Vec<Json> = object.resources.values().map(resource_json).collect();
    json!({
        "id": object.id,
        "name": object.name,
        "version": object.version.to_string(),
        "urn": object.urn,
        "multiple": object.multiple,
        "resources": resources,
    })
}

fn resource_json(resource: &ResourceDefinition) -> Json {
    json!({
        "id": resource.id,
        "name": resource.name,
        "operations": operations(resource.operations),
        "multiple": resource.multiple,
        "mandatory": resource.mandatory,
        "type": type_name(resource),
        "range": resource.range,
        "unit": resource.unit,
    })
}

fn operations(operations: Operations) -> String {
    let letters = [
        (operations.read, 'R'),
        (operations.write, 'W'),
        (operations.execute, 'E'),
    ];
    letters
        .into_iter()
        .filter_map(|(allowed, letter)| allowed.then_some(letter))
        .collect()
}

fn type_name(resource: &ResourceDefinition) -> &'static str {
    resource.value_type.map_or("", |value_type| value_type.name())
}

fn object_text(object: &ObjectDefinition) -> String {
    let instances = if object.multiple {
        "several instances"
    } else {
        "one instance"
    };
    let mut rows = Table::new(&[
        ("id", Align::Right),
        ("name", Align::Left),
        ("ops", Align::Left),
        ("type", Align::Left),
        ("unit", Align::Left),
        ("needed", Align::Left),
        ("range", Align::Left),
    ]);
    for r in object.resources.values() {
        let several = if r.multiple { "[]" } else { "" };
        rows.row(vec![
            r.id.to_string(),
            r.name.clone(),
            operations(r.operations),
            format!("{}{several}", type_name(r)),
            r.unit.clone(),
            if r.mandatory {
                "yes".to_owned()
            } else {
                String::new()
            },
            r.range.split_whitespace().collect::<Vec<_>>().join(" "),
        ]);
    }
    format!(
        "{} {} {}, {instances}\n{}\n\n{rows}",
        object.id, object.name, object.version, object.urn
    )
}

fn export(table: &ObjectTable, dir: &Path, model: Model) -> Result<(), Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::new(
            ExitStatus::Failed,
            format!("cannot write {}: {error}", path.display()),
        )
    };
    fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
    let objects: Vec<_> = table
        .objects()
        .filter_map(|id| table.in_model(id, model))
        .collect();
    for object in &objects {
        let path: PathBuf = dir.join(file_name(object));
        fs::write(&path, xml::write(object)).map_err(|error| failed(&path, error))?;
    }
    print(&format!(
        "{} objects of model {model} written to {}\n",
        objects.len(),
        dir.display()
    ))
}

/// The names that the registry itself gives its files.
fn file_name(object: &ObjectDefinition) -> String {
    if object.version == Version::V1_0 {
        return format!("{}.xml", object.id);
    }
    format!(
        "{}-{}_{}.xml",
        object.id, object.version.major, object.version.minor
    )
}
