//! Writing of object definition files.

use std::fmt::{self, Write as _};

use crate::object::{ObjectDefinition, ResourceDefinition};
use crate::value::ValueType;

/// Writes an object definition as OMA's schema orders its elements.
///
/// Descriptions stay empty, because the table has none. Every resource stands inside `Resources`, which makes the
/// file of object 3457 1.1 one that servers read completely.
pub fn write(definition: &ObjectDefinition) -> String {
    let mut xml = String::new();
    write_file(&mut xml, definition).expect("writing to a String does not fail");
    xml
}

fn write_file(xml: &mut String, definition: &ObjectDefinition) -> fmt::Result {
    let enabler = enabler_version(definition);
    let schema = if enabler == "1.0" {
        "LWM2M.xsd"
    } else {
        "LWM2M-v1_1.xsd"
    };
    writeln!(xml, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(
        xml,
        "<LWM2M xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
         xsi:noNamespaceSchemaLocation=\"http://openmobilealliance.org/tech/profiles/{schema}\">"
    )?;
    writeln!(xml, "\t<Object ObjectType=\"MODefinition\">")?;
    element(xml, 2, "Name", &definition.name)?;
    element(xml, 2, "Description1", "")?;
    element(xml, 2, "ObjectID", &definition.id.to_string())?;
    element(xml, 2, "ObjectURN", &definition.urn)?;
    element(xml, 2, "LWM2MVersion", enabler)?;
    element(xml, 2, "ObjectVersion", &definition.version.to_string())?;
    element(xml, 2, "MultipleInstances", multiple(definition.multiple))?;
    element(xml, 2, "Mandatory", mandatory(definition.mandatory))?;
    writeln!(xml, "\t\t<Resources>")?;
    definition
        .resources
        .values()
        .try_for_each(|r| write_item(xml, r))?;
    writeln!(xml, "\t\t</Resources>")?;
    element(xml, 2, "Description2", "")?;
    writeln!(xml, "\t</Object>")?;
    writeln!(xml, "</LWM2M>")
}

fn write_item(xml: &mut String, resource: &ResourceDefinition) -> fmt::Result {
    writeln!(xml, "\t\t\t<Item ID=\"{}\">", resource.id)?;
    element(xml, 4, "Name", &resource.name)?;
    element(xml, 4, "Operations", resource.operations.letters())?;
    element(xml, 4, "MultipleInstances", multiple(resource.multiple))?;
    element(xml, 4, "Mandatory", mandatory(resource.mandatory))?;
    element(xml, 4, "Type", resource.value_type.map_or("", ValueType::name))?;
    element(xml, 4, "RangeEnumeration", &resource.range)?;
    element(xml, 4, "Units", &resource.unit)?;
    element(xml, 4, "Description", "")?;
    writeln!(xml, "\t\t\t</Item>")
}

fn element(xml: &mut String, depth: usize, name: &str, text: &str) -> fmt::Result {
    let indent = "\t".repeat(depth);
    let text = quick_xml::escape::escape(text);
    writeln!(xml, "{indent}<{name}>{text}</{name}>")
}

const fn multiple(multiple: bool) -> &'static str {
    if multiple { "Multiple" } else { "Single" }
}

const fn mandatory(mandatory: bool) -> &'static str {
    if mandatory { "Mandatory" } else { "Optional" }
}

/// Returns the enabler release whose schema the file needs: LwM2M 1.1 brought two data types.
fn enabler_version(definition: &ObjectDefinition) -> &'static str {
    let newer = |t| matches!(t, Some(ValueType::Unsigned | ValueType::Corelnk));
    let needs_1_1 = definition.resources.values().any(|r| newer(r.value_type));
    if needs_1_1 { "1.1" } else { "1.0" }
}
