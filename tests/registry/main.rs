//! Compares the built-in object table with the published registry, whose folder `UCIFI_REGISTRY` names: the tables
//! `objects.tsv`, `objects_all_versions.tsv` and `versions.tsv`, and the object definition files in `xml/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use lwm2m_client::object::{Model, ObjectDefinition, ObjectTable, ResourceDefinition, Version, xml};
use lwm2m_client::{ObjectId, ResourceId, ValueType};

fn registry() -> PathBuf {
    std::env::var_os("UCIFI_REGISTRY")
        .map(PathBuf::from)
        .expect("UCIFI_REGISTRY names the folder of the registry")
}

/// Reads a table as rows of named fields.
fn table(name: &str) -> Vec<BTreeMap<String, String>> {
    let text = fs::read_to_string(registry().join(name)).expect("the published registry is well formed");
    let mut lines = text.lines();
    let header: Vec<String> = lines
        .next()
        .expect("the published registry is well formed")
        .split('\t')
        .map(str::to_owned)
        .collect();
    let row = |line: &str| {
        header
            .iter()
            .cloned()
            .zip(line.split('\t').map(str::to_owned))
            .collect()
    };
    lines.map(row).collect()
}

/// Builds the definitions that a table describes, one row a resource.
fn definitions(name: &str) -> BTreeMap<(ObjectId, Version), ObjectDefinition> {
    let mut objects = BTreeMap::new();
    for row in table(name) {
        let id = ObjectId(
            row["object_id"]
                .parse()
                .expect("the published registry is well formed"),
        );
        let version = row["object_version"]
            .parse()
            .expect("the published registry is well formed");
        let object = objects.entry((id, version)).or_insert_with(|| ObjectDefinition {
            id,
            name: row["object_name"].clone(),
            version,
            urn: row["urn"].clone(),
            multiple: row["object_multiple"] == "1",
            mandatory: row["object_mandatory"] == "1",
            resources: BTreeMap::new(),
        });
        let resource = resource(&row);
        assert!(
            object.resources.insert(resource.id, resource).is_none(),
            "/{id} {version}"
        );
    }
    objects
}

fn resource(row: &BTreeMap<String, String>) -> ResourceDefinition {
    let text = |field: &str| {
        if row[field] == "none" {
            ""
        } else {
            row[field].as_str()
        }
    };
    let value_type = text("type");
    ResourceDefinition {
        id: ResourceId(
            row["resource_id"]
                .parse()
                .expect("the published registry is well formed"),
        ),
        name: row["resource_name"].clone(),
        operations: text("operations")
            .parse()
            .expect("the published registry is well formed"),
        multiple: row["multiple"] == "1",
        mandatory: row["mandatory"] == "1",
        value_type: (!value_type.is_empty()).then(|| {
            value_type
                .parse::<ValueType>()
                .expect("the published registry is well formed")
        }),
        range: row["range_enumeration"].clone(),
        unit: row["units"].clone(),
    }
}

#[test]
fn every_object_version_and_resource_equals_the_registry() {
    let built_in = ObjectTable::builtin();
    let mut published = definitions("objects.tsv");
    published.extend(definitions("objects_all_versions.tsv"));
    for ((object, version), expected) in &published {
        let found = built_in.definition(*object, *version);
        assert_eq!(found.map(AsRef::as_ref), Some(expected), "/{object} {version}");
    }
    let count: usize = built_in.objects().map(|o| built_in.versions(o).len()).sum();
    assert_eq!(count, published.len(), "no version that the registry lacks");
}

#[test]
fn the_newest_version_of_each_object_is_the_registrys() {
    let built_in = ObjectTable::builtin();
    let newest = definitions("objects.tsv");
    assert_eq!(built_in.objects().count(), newest.len());
    for ((object, version), _) in newest {
        assert_eq!(
            built_in
                .latest(object)
                .expect("the published registry is well formed")
                .version,
            version,
            "/{object}"
        );
        assert_eq!(
            built_in
                .in_model(object, Model::Y2026)
                .expect("the published registry is well formed")
                .version,
            version,
            "/{object}"
        );
    }
}

#[test]
fn each_model_has_the_versions_of_its_registry() {
    let built_in = ObjectTable::builtin();
    for row in table("versions.tsv") {
        let object = ObjectId(
            row["object_id"]
                .parse()
                .expect("the published registry is well formed"),
        );
        let version = |model| built_in.in_model(object, model).map(|d| d.version);
        let of_2024: Option<Version> = row["registry_2024-02-22"].parse().ok();
        assert_eq!(version(Model::Y2023), of_2024, "/{object}");
        assert_eq!(
            version(Model::Y2026),
            row["registry_2026-06-10"].parse().ok(),
            "/{object}"
        );
        assert_eq!(version(Model::Y2020), of_2024.map(|_| Version::V1_0), "/{object}");
    }
}

#[test]
fn the_published_files_read_as_the_table_has_them() {
    let built_in = ObjectTable::builtin();
    let mut files = 0;
    for file in fs::read_dir(registry().join("xml")).expect("the published registry is well formed") {
        let path = file.expect("the published registry is well formed").path();
        if path.extension().is_none_or(|e| e != "xml") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("the published registry is well formed");
        let objects = xml::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let [object] = objects.as_slice() else {
            panic!("{}: one object a file", path.display())
        };
        assert_eq!(
            object,
            built_in
                .latest(object.id)
                .expect("the published registry is well formed")
                .as_ref(),
            "{}",
            path.display()
        );
        files += 1;
    }
    assert_eq!(files, built_in.objects().count());
}
