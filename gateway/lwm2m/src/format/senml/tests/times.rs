use super::*;

#[test]
fn times_are_those_of_the_sender() {
    let float = |v| Value::Float(v);
    // Leshan's LwM2mNodeDecoderTest, senml_timestamped_nodes: base time and offsets, also with a new base name.
    let series = [
        record("/1024/0/1", float(22.9), at(268_500_000_000)),
        record("/1024/0/1", float(22.4), at(268_499_995_000)),
        record("/1024/0/1", float(24.1), at(268_499_950_000)),
    ];
    let json = br#"[{"bn":"/1024/0/1","bt":268500000,"v":22.9},{"t":-5,"v":22.4},{"t":-50,"v":24.1}]"#;
    check_records(Json, json, &series);
    let sent = [
        record("/3303/0/5700", float(-128.8), at(1_699_877_805_766)),
        record("/6/0/0", float(-39.0), at(1_699_877_805_867)),
    ];
    let json =
        br#"[{"bn":"/3303/0/5700","bt":1699877805.766,"v":-128.8},{"bn":"/6/0/0","t":0.101,"v":-39.0}]"#;
    read_records(Json, json, &sent);
    // Leshan's LwM2mNodeEncoderTest: base times as decimal fractions, replaced by later records.
    let cbor = "83a321662f302f302f3022c482001a1dcd6504036c53616d706c65537472696e67a321662f302f302f3122c482001a1d\
                cd650504f4a321662f302f302f3222c482001a1dcd6506021901c8";
    let replaced = [
        record("/0/0/0", text("SampleString"), at(500_000_004_000)),
        record("/0/0/1", Value::Boolean(false), at(500_000_005_000)),
        record("/0/0/2", Value::Integer(456), at(500_000_006_000)),
    ];
    read_records(Cbor, &hex(cbor), &replaced);
}

#[test]
fn the_series_of_rfc_8428_is_read() {
    // RFC 8428, section 6: fields, times and values as printed there, with paths in place of its device names.
    let (bn, voltage, current) = ("682f333434322f302f", "63313230", "63313231");
    let cbor = format!(
        "87a721{bn}22fb41d303a15b001062236141200500{voltage}01615602fb405e066666666666\
         a300{current}062402fb3ff3333333333333a300{current}062302fb3ff4cccccccccccd\
         a300{current}062202fb3ff6666666666666a300{current}062102f93e00\
         a300{current}062002fb3ff999999999999aa300{current}060002fb3ffb333333333333"
    );
    let end = 1_276_020_076_001;
    let mut series = vec![record("/3442/0/120", Value::Float(120.1), at(end))];
    for (seconds, amperes) in [(5, 1.2), (4, 1.3), (3, 1.4), (2, 1.5), (1, 1.6), (0, 1.7)] {
        series.push(record(
            "/3442/0/121",
            Value::Float(amperes),
            at(end - seconds * 1000),
        ));
    }
    read_records(Cbor, &hex(&cbor), &series);
    // Section 5.1.2, the same in JSON.
    let json = br#"[{"bn":"/3442/0/","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"120","u":"V","v":120.1},
        {"n":"121","t":-5,"v":1.2},{"n":"121","t":-4,"v":1.3},{"n":"121","t":-3,"v":1.4},
        {"n":"121","t":-2,"v":1.5},{"n":"121","t":-1,"v":1.6},{"n":"121","v":1.7}]"#;
    read_records(Json, json, &series);
}

#[test]
fn one_base_time_serves_a_pack() {
    let series = [
        record("/3303/0/5700", Value::Float(21.5), at(1_700_000_000_250)),
        record("/3303/0/5700", Value::Float(22.5), at(1_700_000_060_000)),
        record("/3304/0/5700", Value::Float(40.5), at(1_699_999_999_900)),
    ];
    let json = br#"[{"bn":"/","bt":1700000000,"n":"3303/0/5700","t":0.25,"v":21.5},{"n":"3303/0/5700","t":60,"v":22.5},{"n":"3304/0/5700","t":-0.1,"v":40.5}]"#;
    check_records(Json, json, &series);
    // The Python package cbor2 6.3 reads these bytes as the same records.
    let cbor = "83a521612f221a6553f100006b333330332f302f3537303006fb3fd000000000000002fa41ac0000a3006b333330332f\
                302f3537303006183c02fa41b40000a3006b333330342f302f3537303006fbbfb999999999999a02fa42220000";
    check_records(Cbor, &hex(cbor), &series);
}

#[test]
fn a_sender_without_a_clock_counts_from_now() {
    // RFC 8428, section 4.5.3: times below 2^28 seconds count from now; none at all is now.
    let series = [
        record("/3303/0/5700", Value::Float(21.5), ago(5000)),
        record("/3303/0/5700", Value::Float(22.5), ago(500)),
        record("/3303/0/5700", Value::Float(23.5), None),
    ];
    let json = br#"[{"bn":"/3303/0/5700","t":-5,"v":21.5},{"t":-0.5,"v":22.5},{"v":23.5}]"#;
    check_records(Json, json, &series);
}

#[test]
fn times_of_both_kinds_go_without_a_base_time() {
    let mixed = [
        record("/3303/0/5700", Value::Float(21.5), at(1_700_000_000_250)),
        record("/3303/0/5700", Value::Float(22.5), ago(500)),
    ];
    let json = br#"[{"bn":"/3303/0/5700","t":1700000000.25,"v":21.5},{"t":-0.5,"v":22.5}]"#;
    check_records(Json, json, &mixed);
}

#[test]
fn a_time_that_would_be_read_as_another_is_refused() {
    let written = |time| encode_records(Cbor, &[record("/3303/0/5700", Value::Float(1.0), time)]);
    assert!(written(at(268_435_455_999)).is_err());
    assert!(written(at(268_435_456_000)).is_ok());
    assert!(written(ago(-268_435_456_000)).is_err());
    assert!(written(ago(-268_435_455_999)).is_ok());
}

#[test]
fn the_boundary_between_relative_and_wall_time_is_2_to_the_28() {
    let read = |t: &str| {
        let payload = format!(r#"[{{"n":"/3303/0/5700","t":{t},"v":1}}]"#);
        let types = Fixed(ValueType::Float, false);
        decode_records(Json, Path::Root, payload.as_bytes(), &types).map(|r| r[0].time)
    };
    assert_eq!(
        read("268435455"),
        Ok(Some(RecordTime::RelativeMs(268_435_455_000)))
    );
    assert_eq!(read("268435456"), Ok(at(268_435_456_000)));
    assert_eq!(
        read("-400000000"),
        Ok(Some(RecordTime::RelativeMs(-400_000_000_000)))
    );
    assert_eq!(read("0"), Ok(Some(RecordTime::RelativeMs(0))));
    assert!(read("1e300").is_err());
    assert!(read("9223372036854775807").is_err());
}

#[test]
fn values_alone_may_not_repeat_but_series_may() {
    let payload = br#"[{"n":"/3/0/9","v":1,"t":-2},{"n":"/3/0/9","v":2,"t":-1}]"#;
    let types = Fixed(ValueType::Integer, false);
    let duplicate = FormatError::Duplicate(Path::resource(3, 0, 9));
    assert_eq!(
        refused(Json, payload, Fixed(ValueType::Integer, false)),
        duplicate
    );
    assert_eq!(
        decode_records(Json, Path::Root, payload, &types).unwrap().len(),
        2
    );
    let twice = br#"[{"n":"/3/0/9","v":1,"t":-2},{"n":"/3/0/9","v":2,"t":-2}]"#;
    assert_eq!(decode_records(Json, Path::Root, twice, &types), Err(duplicate));
}

proptest::proptest! {
    #[test]
    fn every_series_reads_back(
        entries in test_types::tree(),
        times in proptest::collection::vec(268_435_456_000..8_000_000_000_000i64, 100),
    ) {
        let record = |(entry, ms): (Entry, i64)| Record { entry, time: at(ms) };
        let records: Vec<Record> = entries.iter().cloned().zip(times).map(record).collect();
        for syntax in [Json, Cbor] {
            let bytes = encode_records(syntax, &records).unwrap();
            let found = decode_records(syntax, Path::Root, &bytes, &Known::of(&entries)).unwrap();
            proptest::prop_assert_eq!(&found, &records);
        }
    }
}
