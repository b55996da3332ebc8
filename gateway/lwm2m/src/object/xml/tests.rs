use super::{XmlError, parse, write};
use crate::ResourceId;
use crate::limits::{MAX_XML_BYTES, MAX_XML_DEPTH};
use crate::object::{ObjectDefinition, ObjectTable, Version};
use crate::value::ValueType;

/// Laid out as the registry's file of object 3457 1.1: an item stands outside `Resources`, texts are CDATA.
const STRAY: &str = "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<!-- a notice -->
<LWM2M xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">
  <Object ObjectType=\"MODefinition\">
    <Name>Program  &amp;  Manager</Name>
    <Description1><![CDATA[Describes <things> & more.]]></Description1>
    <ObjectID>3457</ObjectID>
    <ObjectURN>urn:oma:lwm2m:ext:3457:1.1</ObjectURN>
    <ObjectVersion>1.1</ObjectVersion>
    <MultipleInstances>Single</MultipleInstances>
    <Mandatory>Mandatory</Mandatory>
    <Novelty><Name>not the name</Name></Novelty>
    <Resources>
      <Item ID=\"0\"><Name>Count</Name><Operations>RW</Operations><MultipleInstances>Single</MultipleInstances>
        <Mandatory>Mandatory</Mandatory><Type>Unsigned Integer</Type><RangeEnumeration>0..9</RangeEnumeration>
        <Units/><Description/></Item>
    </Resources>
    <Item ID=\"100\"><Name>Apply</Name><Operations>E</Operations><MultipleInstances>Single</MultipleInstances>
      <Mandatory>Optional</Mandatory><Type></Type><RangeEnumeration/><Units>&#115;</Units><Description/></Item>
    <Description2/>
  </Object>
</LWM2M>";

fn one(xml: &str) -> ObjectDefinition {
    let mut objects = parse(xml).unwrap();
    assert_eq!(objects.len(), 1);
    objects.remove(0)
}

fn refused(xml: &str) -> XmlError {
    parse(xml).unwrap_err()
}

#[test]
fn a_file_with_stray_items_is_read() {
    let object = one(STRAY.trim_start_matches('\u{feff}'));
    assert_eq!(object, one(STRAY), "with a byte order mark too");
    assert_eq!(object.name, "Program & Manager");
    assert_eq!(object.version, Version::new(1, 1));
    assert!(object.mandatory && !object.multiple);
    let (count, apply) = (
        &object.resources[&ResourceId(0)],
        &object.resources[&ResourceId(100)],
    );
    assert_eq!(
        (count.value_type, count.range.as_str()),
        (Some(ValueType::Unsigned), "0..9")
    );
    assert_eq!((apply.value_type, apply.unit.as_str()), (None, "s"));
    assert!(apply.operations.execute && !apply.mandatory);
}

#[test]
fn what_is_written_reads_back_for_the_whole_table() {
    let table = ObjectTable::builtin();
    let mut files = 0;
    for object in table.objects() {
        for version in table.versions(object) {
            let definition = table.definition(object, version).unwrap();
            let xml = write(definition);
            assert_eq!(&one(&xml), definition.as_ref(), "/{object} {version}");
            files += 1;
        }
    }
    assert_eq!(files, 172);
}

#[test]
fn a_written_file_has_every_item_inside_resources() {
    let table = ObjectTable::builtin();
    let xml = write(table.latest(crate::ObjectId(3457)).unwrap());
    let resources = xml
        .split_once("<Resources>")
        .unwrap()
        .1
        .split_once("</Resources>")
        .unwrap();
    assert_eq!(resources.0.matches("<Item ").count(), 21);
    assert!(!resources.1.contains("<Item "));
}

#[test]
fn names_are_escaped() {
    let mut object = one(STRAY);
    object.name = "a<b>&\"c'".to_owned();
    assert_eq!(one(&write(&object)), object);
}

#[test]
fn a_mistake_is_named_with_its_line() {
    let rows = [
        (
            "<Type>Unsigned Integer</Type>",
            "<Type>Bool</Type>",
            15,
            "Type: unknown data type \"Bool\"",
        ),
        (
            "<Operations>E<",
            "<Operations>X<",
            18,
            "Operations: unknown operations \"X\": expected R, W, RW, E or nothing",
        ),
        ("ID=\"100\"", "ID=\"x\"", 18, "ID: \"x\" is no number below 65535"),
        ("ID=\"100\"", "", 18, "the attribute ID is missing"),
        ("ID=\"100\"", "ID=\"0\"", 19, "resource 0 occurs twice"),
        (
            ">1.1<",
            ">one<",
            9,
            "ObjectVersion: \"one\" is no object version: expected two numbers, as in 2.1",
        ),
        ("<ObjectID>3457</ObjectID>", "", 21, "missing element ObjectID"),
    ];
    for (old, new, line, reason) in rows {
        assert_eq!(
            refused(&STRAY.replacen(old, new, 1)),
            XmlError {
                line,
                reason: reason.into()
            }
        );
    }
}

#[test]
fn what_is_no_definition_is_refused() {
    let rows = [
        "",
        "text",
        "<LWM2M/>",
        "<html/>",
        "<LWM2M><Object>",
        "<LWM2M></Object></LWM2M>",
        "<LWM2M><Item ID=\"1\"/></LWM2M>",
        "<LWM2M><Object><Object/></Object></LWM2M>",
        "<!DOCTYPE x [<!ENTITY a \"b\">]><LWM2M><Object><Name>&a;</Name></Object></LWM2M>",
    ];
    for xml in rows {
        refused(xml);
    }
}

#[test]
fn a_file_beyond_the_bounds_is_refused() {
    let nested = |n| format!("<LWM2M>{}", "<a>".repeat(n));
    assert_eq!(
        refused(&nested(MAX_XML_DEPTH)).reason,
        "elements are nested deeper than 16"
    );
    assert_eq!(
        refused(&nested(MAX_XML_DEPTH - 1)).reason,
        "the file ends within a"
    );
    let padded = |n: usize| STRAY.replace("a notice", &"x".repeat(n));
    assert!(parse(&padded(MAX_XML_BYTES - STRAY.len())).is_ok());
    assert!(parse(&padded(MAX_XML_BYTES)).is_err());
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text: String, cut in 0..STRAY.len(), byte: char) {
        let mut changed: Vec<char> = STRAY.chars().collect();
        let last = changed.len() - 1;
        changed[cut.min(last)] = byte;
        let short = changed.iter().take(cut);
        for xml in [text, String::from_iter(short), String::from_iter(&changed)] {
            let objects = parse(&xml).unwrap_or_default();
            proptest::prop_assert!(objects.len() <= 1);
        }
    }
}
