use super::*;

#[test]
fn wrong_packs_are_refused() {
    let rows = [
        "",
        "{}",
        "[",
        "[1]",
        "[{}]",
        r#"[{"n":"/3/0/9"}]"#,
        r#"[{"n":"3/0/9","v":1}]"#,
        r#"[{"n":"/3/0","v":1}]"#,
        r#"[{"n":"/3/0/9/","v":1}]"#,
        r#"[{"n":"/d01/3/0/9","v":1}]"#,
        r#"[{"bn":"/3/0/","n":"/9","v":1}]"#,
        r#"[{"n":"/3/0/9","v":1,"vs":"x"}]"#,
        r#"[{"n":"/3/0/9","v":1,"v":2}]"#,
        r#"[{"n":"/3/0/9","v":null}]"#,
        r#"[{"n":"/3/0/9","vb":true}]"#,
        r#"[{"n":"/3/0/9","bv":1,"v":1}]"#,
        r#"[{"n":"/3/0/9","bver":11,"v":1}]"#,
        r#"[{"n":"/3/0/9","secret_":1,"v":1}]"#,
        r#"[{"n":"/3/0/9","v":1}] []"#,
        r#"[{"n":"/3/0/65535","v":1}]"#,
    ];
    for payload in rows {
        refused(Json, payload.as_bytes(), Fixed(ValueType::Integer, false));
    }
    let known = r#"[{"bver":10,"n":"/3/0/9","u":"%","ut":0,"mystery":[{"deep":[[]]}],"v":1}]"#;
    assert!(
        decode(
            Json,
            Path::Root,
            known.as_bytes(),
            &Fixed(ValueType::Integer, false)
        )
        .is_ok()
    );
}

#[test]
fn wrong_cbor_is_refused() {
    // n "/3/0/9" is 00662f332f302f39.
    let rows = [
        "",
        "a0",
        "82a200662f332f302f390201",
        "81a200662f332f302f39",
        "81a100662f332f302f39",
        "81a300662f332f302f3902010202",
        "81a300662f332f302f3902010361",
        "81a200662f332f302f3902f6",
        "81a200662f332f302f390201ff",
        "81a300662f332f302f3902012401",
        "81a300662f332f302f390201200b",
        "81a300662f332f302f39020163783d5f01",
        "81a20046 2f332f302f390201",
        "9bffffffffffffffff",
        "81bbffffffffffffffff",
    ];
    for payload in rows {
        refused(Cbor, &hex(payload), Fixed(ValueType::Integer, false));
    }
    let indefinite = hex("9fbf00662f332f302f390201676d79737465727981a0ffff");
    assert!(decode(Cbor, Path::Root, &indefinite, &Fixed(ValueType::Integer, false)).is_ok());
}

#[test]
fn nesting_costs_nothing() {
    let types = Fixed(ValueType::Integer, false);
    let mut cbor = hex("81a20a");
    cbor.extend(std::iter::repeat_n(0x81, 60_000));
    assert!(decode(Cbor, Path::Root, &cbor, &types).is_err());
    let json = format!(r#"[{{"x":{}"#, "[".repeat(60_000));
    assert!(decode(Json, Path::Root, json.as_bytes(), &types).is_err());
}

#[test]
fn values_outside_the_request_are_refused() {
    let base = Path::instance(3, 0);
    let types = Fixed(ValueType::Integer, false);
    let payload = br#"[{"n":"/3/1/9","v":1}]"#;
    let outside = FormatError::OutsideBase {
        path: Path::resource(3, 1, 9),
        base,
    };
    assert_eq!(decode(Json, base, payload, &types), Err(outside.clone()));
    assert_eq!(
        encode(Json, base, &[entry("/3/1/9", Value::Integer(1))]),
        Err(outside)
    );
}

#[test]
fn more_values_than_the_bound_are_refused() {
    let types = Fixed(ValueType::Boolean, true);
    let pack = |n: usize| {
        let records: Vec<String> = (0..n).map(|i| format!(r#"{{"n":"{i}","vb":true}}"#)).collect();
        format!(
            r#"[{{"bn":"/3442/0/1/","n":"65534","vb":true}},{}]"#,
            records.join(",")
        )
    };
    let full = decode(Json, Path::Root, pack(MAX_ENTRIES - 1).as_bytes(), &types).unwrap();
    assert_eq!(full.len(), MAX_ENTRIES);
    let refused = decode(Json, Path::Root, pack(MAX_ENTRIES).as_bytes(), &types);
    assert_eq!(refused, Err(FormatError::TooManyEntries(MAX_ENTRIES)));
}

#[test]
fn a_name_longer_than_any_path_is_refused() {
    let payload = format!(
        r#"[{{"bn":"{}","v":1}}]"#,
        "/1".repeat(MAX_SENML_NAME_BYTES / 2 + 1)
    );
    let reason = refused(Json, payload.as_bytes(), Fixed(ValueType::Integer, false)).to_string();
    assert_eq!(reason, "malformed SenML JSON payload: a name of 66 bytes");
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, kind in test_types::any_type(), multiple: bool) {
        for syntax in [Json, Cbor] {
            let found = decode_records(syntax, Path::Root, &bytes, &Fixed(kind, multiple));
            proptest::prop_assert!(found.map_or(0, |r| r.len()) <= bytes.len());
        }
    }

    #[test]
    fn a_changed_byte_is_read_or_refused(
        entries in test_types::tree(),
        place: proptest::sample::Index,
        byte: u8,
    ) {
        for syntax in [Json, Cbor] {
            let mut bytes = encode(syntax, Path::Root, &entries).unwrap();
            let index = place.index(bytes.len());
            bytes[index] = byte;
            let found = decode_records(syntax, Path::Root, &bytes, &Known::of(&entries));
            proptest::prop_assert!(found.map_or(0, |r| r.len()) <= entries.len());
        }
    }
}
