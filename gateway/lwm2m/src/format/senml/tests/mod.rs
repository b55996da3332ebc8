mod hostile;
mod times;

use super::Syntax::{self, Cbor, Json};
use super::{decode, decode_records, encode, encode_records};
use crate::format::test_types::{self, Fixed, Known, hex};
use crate::format::{Entry, FormatError, Record, RecordTime};
use crate::limits::{MAX_ENTRIES, MAX_SENML_NAME_BYTES};
use crate::path::{InstanceId, ObjectId, Path};
use crate::time::Timestamp;
use crate::value::{Value, ValueType};

fn entry(path: &str, value: Value) -> Entry {
    Entry {
        path: path.parse().unwrap(),
        value,
    }
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

fn record(path: &str, value: Value, time: Option<RecordTime>) -> Record {
    Record {
        entry: entry(path, value),
        time,
    }
}

fn at(ms: i64) -> Option<RecordTime> {
    Some(RecordTime::Absolute(Timestamp::from_unix_ms(ms)))
}

fn ago(ms: i64) -> Option<RecordTime> {
    Some(RecordTime::RelativeMs(-ms))
}

fn check(syntax: Syntax, base: &str, payload: &[u8], entries: &[Entry]) {
    let base = base.parse().unwrap();
    assert_eq!(
        decode(syntax, base, payload, &Known::of(entries)).unwrap(),
        entries,
        "{base}"
    );
    let written = encode(syntax, base, entries).unwrap();
    assert_eq!(written, payload, "{base} {}", String::from_utf8_lossy(&written));
}

fn check_records(syntax: Syntax, payload: &[u8], records: &[Record]) {
    read_records(syntax, payload, records);
    let written = encode_records(syntax, records).unwrap();
    assert_eq!(written, payload, "{}", String::from_utf8_lossy(&written));
}

fn read_records(syntax: Syntax, payload: &[u8], records: &[Record]) {
    let entries: Vec<Entry> = records.iter().map(|r| r.entry.clone()).collect();
    assert_eq!(
        decode_records(syntax, Path::Root, payload, &Known::of(&entries)).unwrap(),
        records
    );
}

fn refused(syntax: Syntax, payload: &[u8], types: Fixed) -> FormatError {
    decode(syntax, Path::Root, payload, &types).unwrap_err()
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
    // LwM2M Core 1.1, section 7.4.4, as Eclipse Leshan's AbstractSenMLTest has it in both syntaxes.
    let json = r#"[{"bn":"/3/0/","n":"0","vs":"Open Mobile Alliance"},{"n":"1","vs":"Lightweight M2M Client"},{"n":"2","vs":"345000123"},{"n":"3","vs":"1.0"},{"n":"6/0","v":1},{"n":"6/1","v":5},{"n":"7/0","v":3800},{"n":"7/1","v":5000},{"n":"8/0","v":125},{"n":"8/1","v":900},{"n":"9","v":100},{"n":"10","v":15},{"n":"11/0","v":0},{"n":"13","v":1367491215},{"n":"14","vs":"+02:00"},{"n":"16","vs":"U"}]"#;
    check(Json, "/3/0", json.as_bytes(), &device());
    let cbor = "90a321652f332f302f00613003744f70656e204d6f62696c6520416c6c69616e6365a200613103764c69676874776569\
                676874204d324d20436c69656e74a20061320369333435303030313233a20061330363312e30a20063362f300201a20063\
                362f310205a20063372f3002190ed8a20063372f3102191388a20063382f3002187da20063382f3102190384a200613902\
                1864a200623130020fa2006431312f300200a200623133021a5182428fa20062313403662b30323a3030a2006231360361\
                55";
    check(Cbor, "/3/0", &hex(cbor), &device());
}

#[test]
fn single_resources_read_and_write() {
    // Leshan's LwM2mNodeEncoderTest and SenMLCborSerializerTest.
    check(
        Json,
        "/3/0/0",
        br#"[{"bn":"/3/0/0","vs":"Open Mobile Alliance"}]"#,
        &device()[..1],
    );
    let voltages = [
        entry("/3/0/7/0", Value::Integer(3800)),
        entry("/3/0/7/1", Value::Integer(5000)),
    ];
    check(
        Json,
        "/3/0/7",
        br#"[{"bn":"/3/0/7/","n":"0","v":3800},{"n":"1","v":5000}]"#,
        &voltages,
    );
    let key = [entry("/0/0/3", Value::Opaque(vec![0xab, 0xcd, 0xef]))];
    check(Json, "/0/0/3", br#"[{"bn":"/0/0/3","vd":"q83v"}]"#, &key);
    check(Cbor, "/0/0/3", &hex("81a221662f302f302f330843abcdef"), &key);
}

#[test]
fn every_type_reads_and_writes() {
    // CBOR made with the Python package cbor2 6.3: dumps([{-2: "/3442/0/1", …}]); the float of four bytes is written
    // by the rules of RFC 8949, as that package has none.
    let rows = [
        (
            r#""v":-9223372036854775808"#,
            "023b7fffffffffffffff",
            Value::Integer(i64::MIN),
        ),
        (
            r#""v":9223372036854775807"#,
            "021b7fffffffffffffff",
            Value::Integer(i64::MAX),
        ),
        (
            r#""v":18446744073709551615"#,
            "021bffffffffffffffff",
            Value::Unsigned(u64::MAX),
        ),
        (r#""v":1700000000"#, "021a6553f100", Value::Time(1_700_000_000)),
        (r#""v":0.1"#, "02fb3fb999999999999a", Value::Float(0.1)),
        (r#""v":230.5"#, "02fa43668000", Value::Float(230.5)),
        (r#""vb":true"#, "04f5", Value::Boolean(true)),
        (r#""vs":"ü\"\n""#, "0364c3bc220a", text("ü\"\n")),
        (r#""vd":"-_8""#, "0842fbff", Value::Opaque(vec![0xfb, 0xff])),
        (
            r#""vs":"</3/0>;ver=1.1""#,
            "036e3c2f332f303e3b7665723d312e31",
            Value::Corelnk("</3/0>;ver=1.1".into()),
        ),
        (
            r#""vlo":"66:0""#,
            "63766c6f6436363a30",
            Value::Objlnk(ObjectId(66), InstanceId(0)),
        ),
    ];
    for (json, cbor, value) in rows {
        let entries = [entry("/3442/0/1", value)];
        check(
            Json,
            "/3442/0/1",
            format!(r#"[{{"bn":"/3442/0/1",{json}}}]"#).as_bytes(),
            &entries,
        );
        check(
            Cbor,
            "/3442/0/1",
            &hex(&format!("81a221692f333434322f302f31{cbor}")),
            &entries,
        );
    }
}

#[test]
fn numbers_of_other_kinds_are_read() {
    let types = |t| Fixed(t, false);
    let base = Path::resource(3442, 0, 130);
    let read = |bytes: &str, t| {
        let payload = hex(&format!("81a2216b2f333434322f302f313330{bytes}"));
        decode(Cbor, base, &payload, &types(t)).map(|e| e[0].value.clone())
    };
    // Leshan's SenMLCborSerializerTest: 300 as a half-precision float.
    let leshan = hex("81a202f95cb0216b2f333434322f302f313330");
    let found = decode(Cbor, base, &leshan, &types(ValueType::Integer)).unwrap();
    assert_eq!(found[0].value, Value::Integer(300));
    assert_eq!(read("02f95cb0", ValueType::Float), Ok(Value::Float(300.0)));
    assert_eq!(read("021864", ValueType::Float), Ok(Value::Float(100.0)));
    assert_eq!(read("023863", ValueType::Float), Ok(Value::Float(-100.0)));
    // RFC 8949, section 3.4.4: 273.15 as a decimal fraction.
    assert_eq!(read("02c48221196ab3", ValueType::Float), Ok(Value::Float(273.15)));
    assert_eq!(read("02c482011864", ValueType::Integer), Ok(Value::Integer(1000)));
    assert!(read("02c482196ab3", ValueType::Float).is_err(), "cut short");
    assert!(read("02c2411a", ValueType::Integer).is_err(), "a bignum");
    assert!(read("02fb3ff8000000000000", ValueType::Integer).is_err(), "1.5");
    assert!(read("021b8000000000000000", ValueType::Integer).is_err(), "2^63");
    let json = |v: &str, t| {
        let payload = format!(r#"[{{"n":"/3442/0/130","v":{v}}}]"#);
        decode(Json, base, payload.as_bytes(), &types(t)).map(|e| e[0].value.clone())
    };
    assert_eq!(json("1e3", ValueType::Integer), Ok(Value::Integer(1000)));
    assert_eq!(
        json("9007199254740993", ValueType::Integer),
        Ok(Value::Integer(9_007_199_254_740_993))
    );
    assert!(json("9223372036854775808", ValueType::Integer).is_err());
    assert!(json("-1", ValueType::Unsigned).is_err());
    assert!(json("1e999", ValueType::Float).is_err());
    assert!(json("\"1\"", ValueType::Integer).is_err());
}

#[test]
fn both_alphabets_of_base64_are_read() {
    for vd in ["-_8", "-_8=", "+/8=", "+/8"] {
        let payload = format!(r#"[{{"n":"/0/0/3","vd":"{vd}"}}]"#);
        let found = decode(
            Json,
            Path::Root,
            payload.as_bytes(),
            &Fixed(ValueType::Opaque, false),
        )
        .unwrap();
        assert_eq!(found[0].value, Value::Opaque(vec![0xfb, 0xff]), "{vd}");
    }
}

#[test]
fn a_create_without_a_number_is_about_instance_65535() {
    let created = [Entry {
        path: Path::resource(2, 65_535, 1),
        value: Value::Integer(7),
    }];
    check(Json, "/2", br#"[{"bn":"/2/","n":"65535/1","v":7}]"#, &created);
}

#[test]
fn an_empty_pack_is_an_empty_list() {
    check(Json, "/3/0/6", b"[]", &[]);
    check(Cbor, "/3/0/6", &[0x80], &[]);
}

#[test]
fn json_has_no_infinity() {
    let entries = [entry("/3/0/9", Value::Float(f64::INFINITY))];
    assert!(encode(Json, Path::Root, &entries).is_err());
    check(Cbor, "/3/0/9", &hex("81a221662f332f302f3902fa7f800000"), &entries);
}

proptest::proptest! {
    #[test]
    fn every_tree_reads_back(entries in test_types::tree()) {
        let base = Path::Object(ObjectId(3442));
        for syntax in [Json, Cbor] {
            let bytes = encode(syntax, base, &entries).unwrap();
            let found = decode(syntax, base, &bytes, &Known::of(&entries)).unwrap();
            proptest::prop_assert_eq!(&found, &entries);
        }
    }
}
