use super::{decode, encode};
use crate::format::test_types::{self, Known, hex};
use crate::format::{Entry, FormatError};
use crate::limits::MAX_ENTRIES;
use crate::path::{InstanceId, ObjectId, Path};
use crate::value::{Value, ValueType};

/// LwM2M TS 1.0, section 6.4.3.2: Read of /3/0, in the corrected form of Eclipse Leshan's LwM2mNodeDecoderTest.
const DEVICE: &str = "C800144F70656E204D6F62696C6520416C6C69616E6365C801164C69676874776569676874204D324D\
                      20436C69656E74C80209333435303030313233C303312E308606410001410105880708\
                      42000ED842011388870841007D42010384C10964C10A0F830B410000C40D5182428F\
                      C60E2B30323A3030C11055";

fn entry(path: &str, value: Value) -> Entry {
    Entry {
        path: path.parse().unwrap(),
        value,
    }
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

fn check(base: &str, bytes: &str, entries: &[Entry]) {
    let base = base.parse().unwrap();
    let bytes = hex(bytes);
    let types = Known::of(entries);
    assert_eq!(decode(base, &bytes, &types).unwrap(), entries, "{base}");
    assert_eq!(encode(base, entries).unwrap(), bytes, "{base}");
}

fn device() -> Vec<Entry> {
    let integer = |path, value| entry(path, Value::Integer(value));
    vec![
        entry("/3/0/0", text("Open Mobile Alliance")),
        entry("/3/0/1", text("Lightweight M2M Client")),
        entry("/3/0/2", text("345000123")),
        entry("/3/0/3", text("1.0")),
        integer("/3/0/6/0", 1),
        integer("/3/0/6/1", 5),
        integer("/3/0/7/0", 3800),
        integer("/3/0/7/1", 5000),
        integer("/3/0/8/0", 125),
        integer("/3/0/8/1", 900),
        integer("/3/0/9", 100),
        integer("/3/0/10", 15),
        integer("/3/0/11/0", 0),
        entry("/3/0/13", Value::Time(1_367_491_215)),
        entry("/3/0/14", text("+02:00")),
        entry("/3/0/16", text("U")),
    ]
}

#[test]
fn the_device_instance_of_the_standard_reads_and_writes() {
    check("/3/0", DEVICE, &device());
    // The same at object level, wrapped (LwM2mNodeDecoderTest, ENCODED_DEVICE_WITH_INSTANCE).
    check("/3", &format!("080079{DEVICE}"), &device());
}

#[test]
fn the_objects_of_leshans_tests_read_and_write() {
    // LwM2mNodeDecoderTest: ENCODED_ACL, with a resource instance of 16 bits; the length of the outer item is 14.
    let link = |path, o, i| entry(path, Value::Objlnk(ObjectId(o), InstanceId(i)));
    let integer = |path, value| entry(path, Value::Integer(value));
    let acl = [
        integer("/2/0/0", 1),
        integer("/2/0/1", 0),
        integer("/2/0/2/127", 7),
        integer("/2/0/3", 127),
        integer("/2/2/0", 3),
        integer("/2/2/1", 0),
        integer("/2/2/2/127", 7),
        integer("/2/2/2/310", 1),
        integer("/2/2/3", 127),
    ];
    check(
        "/2",
        "08000EC10001C101008302417F07C1037F080212C10003C101008702417F0761013601C1037F",
        &acl,
    );
    // ENCODED_SERVER
    let server = [
        integer("/1/0/0", 1),
        integer("/1/0/1", 86_400),
        entry("/1/0/6", Value::Boolean(true)),
        entry("/1/0/7", text("U")),
    ];
    check("/1", "08000FC10001C40100015180C10601C10755", &server);
    // ENCODED_OBJ65 and ENCODED_OBJ66: object links, also the null link
    let links = [
        link("/65/0/0/0", 66, 0),
        link("/65/0/0/1", 66, 1),
        entry("/65/0/1", text("8613800755500")),
        integer("/65/0/2", 0x1234_5678),
    ];
    check(
        "/65/0",
        "88000C440000420000440100420001C8010D38363133383030373535353030C40212345678",
        &links,
    );
    let services = [
        entry("/66/0/0", text("myService 1")),
        entry("/66/0/1", text("Internet.15.234")),
        link("/66/0/2", 67, 0),
        entry("/66/1/0", text("myService 2")),
        entry("/66/1/1", text("Internet.15.235")),
        link("/66/1/2", 65_535, 65_535),
    ];
    check(
        "/66",
        "080026C8000B6D79536572766963652031C8010F496E7465726E65742E31352E323334C40200430000\
         080126C8000B6D79536572766963652032C8010F496E7465726E65742E31352E323335C402FFFFFFFF",
        &services,
    );
}

#[test]
fn numbers_take_the_shortest_width() {
    let rows = [
        ("C100FF", Value::Integer(-1)),
        ("C20080FF", Value::Integer(-32_513)),
        ("C40000013880", Value::Integer(80_000)),
        ("C800087FFFFFFFFFFFFFFF", Value::Integer(i64::MAX)),
        ("C20000FF", Value::Unsigned(255)),
        ("C80008FFFFFFFFFFFFFFFF", Value::Unsigned(u64::MAX)),
        ("C40043664000", Value::Float(230.25)),
        ("C800083FB999999999999A", Value::Float(0.1)),
        ("C10000", Value::Boolean(false)),
        ("C000", Value::Opaque(vec![])),
    ];
    for (bytes, value) in rows {
        check("/3442/0/0", bytes, &[entry("/3442/0/0", value)]);
    }
}

#[test]
fn a_create_without_a_number_is_about_instance_65535() {
    let path = Path::resource(2, 65_535, 1);
    let entries = [Entry {
        path,
        value: Value::Integer(11),
    }];
    let types = Known::of(&entries);
    assert_eq!(
        decode(Path::Object(ObjectId(2)), &hex("C1010B"), &types).unwrap(),
        entries
    );
    assert_eq!(
        encode(Path::Object(ObjectId(2)), &entries).unwrap(),
        hex("C1010B")
    );
}

#[test]
fn what_servers_send_beside_the_rules_is_read() {
    // LwM2mNodeDecoderTest, tlv_power_source__array_values: bare resource instances.
    let sources = [
        entry("/3/0/6/0", Value::Integer(1)),
        entry("/3/0/6/1", Value::Integer(5)),
    ];
    let types = Known::of(&sources);
    assert_eq!(
        decode(Path::resource(3, 0, 6), &[65, 0, 1, 65, 1, 5], &types).unwrap(),
        sources
    );
    check("/3/0/6", "8606410001410105", &sources);
    // An object instance around one resource, as LwM2mNodeTlvDecoder tolerates it.
    let level = [entry("/3/0/9", Value::Integer(100))];
    let types = Known::of(&level);
    assert_eq!(
        decode(Path::resource(3, 0, 9), &hex("0300C10964"), &types).unwrap(),
        level
    );
}

#[test]
fn a_resource_instance_stands_alone() {
    check("/3/0/6/1", "410105", &[entry("/3/0/6/1", Value::Integer(5))]);
}

#[test]
fn a_multiple_resource_may_be_empty() {
    assert_eq!(encode(Path::resource(3, 0, 6), &[]).unwrap(), hex("8006"));
    let types = Known::of(&[entry("/3/0/6/0", Value::Integer(1))]);
    assert_eq!(decode(Path::resource(3, 0, 6), &hex("8006"), &types), Ok(vec![]));
}

#[test]
fn wrong_items_are_refused() {
    let types = Known::of(&device());
    let refused = |base: &str, bytes: &str| decode(base.parse().unwrap(), &hex(bytes), &types).unwrap_err();
    let path = |p: &str| p.parse::<Path>().unwrap();
    assert!(
        matches!(refused("/3/0", "C8"), FormatError::Malformed { .. }),
        "cut in the header"
    );
    assert!(
        matches!(refused("/3/0", "C20964"), FormatError::Malformed { .. }),
        "cut in the value"
    );
    assert!(
        matches!(refused("/3/0", "410005"), FormatError::Malformed { .. }),
        "an instance of what"
    );
    assert!(
        matches!(refused("/3/0", "8603C10001"), FormatError::Malformed { .. }),
        "resource in resource"
    );
    assert!(matches!(refused("/", "C10964"), FormatError::Unsupported { .. }));
    let integer = ValueType::Integer;
    assert_eq!(
        refused("/3/0", "C3090000FF"),
        FormatError::WrongType {
            path: path("/3/0/9"),
            expected: integer
        }
    );
    assert_eq!(
        refused("/3/0", "C009"),
        FormatError::WrongType {
            path: path("/3/0/9"),
            expected: integer
        }
    );
    assert_eq!(
        refused("/3/0", "C10964C10964"),
        FormatError::Duplicate(path("/3/0/9"))
    );
    assert_eq!(
        refused("/3/0", "C10601"),
        FormatError::WrongMultiplicity(path("/3/0/6"))
    );
    assert_eq!(
        refused("/3/0", "8309410001"),
        FormatError::WrongMultiplicity(path("/3/0/9/0"))
    );
    assert_eq!(
        refused("/3/0", "C16301"),
        FormatError::UnknownResource(path("/3/0/99"))
    );
    let outside = |p, b| FormatError::OutsideBase {
        path: path(p),
        base: path(b),
    };
    assert_eq!(refused("/3/0", "0301C10964"), outside("/3/1/9", "/3/0"));
    assert_eq!(refused("/3/0/9", "C10A0F"), outside("/3/0/10", "/3/0/9"));
}

#[test]
fn more_values_than_the_bound_are_refused() {
    let types = test_types::Fixed(ValueType::String, false);
    let items = |n: usize| {
        (0..n)
            .flat_map(|id| [0xe0, (id >> 8) as u8, id as u8])
            .collect::<Vec<u8>>()
    };
    let full = decode(Path::instance(3442, 0), &items(MAX_ENTRIES), &types).unwrap();
    assert_eq!(full.len(), MAX_ENTRIES);
    let refused = decode(Path::instance(3442, 0), &items(MAX_ENTRIES + 1), &types);
    assert_eq!(refused, Err(FormatError::TooManyEntries(MAX_ENTRIES)));
}

proptest::proptest! {
    #[test]
    fn every_tree_reads_back(entries in test_types::tree()) {
        let base = Path::Object(ObjectId(3442));
        let bytes = encode(base, &entries).unwrap();
        proptest::prop_assert_eq!(decode(base, &bytes, &Known::of(&entries)).unwrap(), entries);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, value_type in test_types::any_type(), multiple: bool) {
        let types = test_types::Fixed(value_type, multiple);
        for base in ["/3", "/3/0", "/3/0/6", "/3/0/6/1"] {
            if let Ok(entries) = decode(base.parse().unwrap(), &bytes, &types) {
                proptest::prop_assert!(entries.len() <= bytes.len());
            }
        }
    }
}
