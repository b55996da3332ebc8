//! What is said of each mistake, and what holds whatever the text.

use std::sync::LazyLock;

use lwm2m_client::Value;
use ucifi_core::Profile;
use ucifi_core::field::{BlockContent, Frame, RegisterBlock, Table as RegisterTable};
use ucifi_core::profile::{Decoded, EncodeError, PointClass};

use super::*;
use crate::limits::MAX_DIAGNOSTICS;

static TABLE: LazyLock<ObjectTable> = LazyLock::new(ObjectTable::builtin);

const UNIT: &str = "\"/3303/0/5701\" = \"Cel\"";

const BASE: &str = r#"schema = 1
id = "test.meter"
version = "1.0.0"
status = "draft"
source = "none"
identity = { manufacturer = "Test", model = "Meter" }
[modbus]
base = 0
table = "input"
order = "ABCD"
type = "u16"
[constants]
"/3303/0/5701" = "Cel"
[points]
temperature = { at = 0, type = "i16", scale = 0.1, unit = "Cel", path = "/3303/0/5700" }
"#;

fn diagnostics(text: &str) -> Vec<String> {
    let found = match compile("t.toml", text, &TABLE) {
        Ok(profile) => profile.warnings().to_vec(),
        Err(errors) => errors,
    };
    found.iter().map(ToString::to_string).collect()
}

/// Checks what is said where one piece of the base profile is another.
fn check(piece: &str, other: &str, expected: &[&str]) {
    assert!(BASE.contains(piece), "{piece:?} is not in the base profile");
    assert_eq!(diagnostics(&BASE.replace(piece, other)), expected);
}

#[test]
fn a_profile_without_a_mistake_has_no_diagnostics() {
    assert_eq!(diagnostics(BASE), [""; 0]);
}

#[test]
fn what_is_missing_is_said_all_at_once() {
    let found = diagnostics("schema = 2\n");
    for key in ["id", "version", "status", "source", "identity"] {
        let message = format!("t.toml:1:1: error: {key} is missing");
        assert!(found.contains(&message), "{key}: {found:#?}");
    }
    let medium = "t.toml:1:1: error: [modbus], [lorawan] or [mqtt] is missing";
    assert!(found.iter().any(|d| d.starts_with(medium)), "{found:#?}");
    assert!(
        found
            .iter()
            .any(|d| d.starts_with("t.toml:1:10: error: schema 2 is unknown")),
        "{found:#?}"
    );
}

#[test]
fn a_wrong_table_does_not_hide_what_else_is_wrong() {
    let twice = BASE
        .replace("table = \"input\"", "table = \"inptu\"")
        .replace("unit = \"Cel\"", "unit = \"V\"");
    let found = diagnostics(&twice);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(
        found[0].starts_with("t.toml:9:9: error: table cannot be \"inptu\""),
        "{found:#?}"
    );
    assert!(found[1].contains("V"), "{found:#?}");
}

#[test]
fn an_unknown_key_is_answered_with_the_nearest() {
    check(
        "scale = 0.1",
        "scael = 0.1",
        &["t.toml:15:39: error: unknown key \"scael\"\n  help: did you mean \"scale\"?"],
    );
}

#[test]
fn ambiguous_words_for_the_order_of_bytes_are_refused() {
    let found = diagnostics(&BASE.replace("order = \"ABCD\"", "swap = \"word\""));
    assert!(
        found[0].starts_with("t.toml:10:1: error: swap means different things"),
        "{found:#?}"
    );
    assert!(found[0].contains("\"CDAB\" (lower register first)"), "{found:#?}");
    let found = diagnostics(&BASE.replace("\"ABCD\"", "\"little_endian\""));
    assert!(
        found[0].starts_with("t.toml:10:9: error: order cannot be \"little_endian\""),
        "{found:#?}"
    );
}

#[test]
fn a_path_is_held_against_the_registry() {
    for (path, message) in [
        (
            "3303/0",
            "\"3303/0\" is no LwM2M path: expected up to four numbers below 65535, as in /3416/0/1",
        ),
        (
            "/3303/0",
            "/3303/0 is no resource: object, instance and resource are needed",
        ),
        ("/3999/0/1", "object 3999 is not in the registry"),
        (
            "/3303/0/5605",
            "/3303/0/5605 (Reset Min and Max Measured Values) cannot be read, so nothing shows its value",
        ),
        (
            "/3303/0/5700/1",
            "Sensor Value of /3303/0/5700/1 has no instances",
        ),
        (
            "/3415/1/3",
            "object 3415 (Time synchronization) has instance 0 only",
        ),
    ] {
        let found = diagnostics(&BASE.replace("/3303/0/5700", path));
        let first = found[0].lines().next().unwrap();
        assert_eq!(first, format!("t.toml:15:73: error: {message}"));
    }
    let found = diagnostics(&BASE.replace("5700", "5799"));
    assert!(
        found[0].contains("has no resource 5799\n  help: it has "),
        "{found:#?}"
    );
}

#[test]
fn units_are_held_against_the_registry() {
    let meter = |unit: &str| {
        BASE.replace("/3303/0/5700", "/3412/0/12")
            .replace("unit = \"Cel\"", unit)
    };
    assert_eq!(
        diagnostics(&meter("unit = \"V\""))[0],
        "t.toml:15:59: error: \"V\" does not become Hz, the unit of Frequency\n  help: known are Hz, MHz"
    );
    assert!(diagnostics(&meter(""))[0].starts_with("t.toml:"));
    let missing = BASE
        .replace("/3303/0/5700", "/3421/0/1")
        .replace("unit = \"Cel\", ", "");
    assert_eq!(
        diagnostics(&missing)[0],
        "t.toml:15:15: error: unit is missing: Voltage is in V\n  help: known are V, mV, kV"
    );
}

#[test]
fn a_resource_of_another_type_is_refused() {
    let text = BASE
        .replace("/3303/0/5700", "/3200/0/5500")
        .replace("unit = \"Cel\", ", "");
    let found = diagnostics(&text);
    assert!(
        found[0].contains("a number does not fit Digital Input State, of type Boolean"),
        "{found:#?}"
    );
    let bit = text.replace("scale = 0.1, ", "bit = 3, ").replace(UNIT, "");
    assert_eq!(diagnostics(&bit), [""; 0]);
    let float = BASE.replace("scale = 0.1, unit = \"Cel\"", "bit = 16");
    assert!(diagnostics(&float)[0].contains("bit is 16, which is not between 0 and 15"));
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    check(
        "scale = 0.1",
        "scale = 0",
        &[
            "t.toml:15:47: error: a scale of 0 makes every value 0\n  help: leave it out where the register needs none",
        ],
    );
    check(
        "scale = 0.1",
        "min = 5, max = 4",
        &["t.toml:15:54: error: min 5 is above max 4"],
    );
    check(
        "at = 0, type = \"i16\"",
        "at = 65535, type = \"i32\"",
        &["t.toml:15:22: error: address 65535 with 2 registers is outside of 0 to 65535, counted from 0"],
    );
    let found = diagnostics(&BASE.replace("base = 0", "base = 1"));
    assert!(found[0].contains("address 0 with 1 registers is outside of 0 to 65535, counted from 1"));
    let found = diagnostics(
        &BASE
            .replace("order = \"ABCD\"\n", "")
            .replace("\"i16\"", "\"i32\""),
    );
    assert!(found[0].contains("order is missing"), "{found:#?}");
}

#[test]
fn a_modicon_number_is_a_warning() {
    let found = diagnostics(&BASE.replace("at = 0,", "at = 30013,"));
    assert_eq!(
        found,
        [
            "t.toml:15:22: warning: 30013 looks like a Modicon number, but is taken as wire address 30013\n  \
          help: if the manual counts from 30001, write 12"
        ]
    );
}

#[test]
fn two_points_neither_overlap_nor_share_a_name_or_a_resource() {
    let more = |line: &str| format!("{BASE}{line}\n");
    let wide = more("wide = { at = 0, type = \"u32\", path = \"/3303/1/5700\" }");
    assert_eq!(
        diagnostics(&wide),
        ["t.toml:16:8: error: wide at 0x0000 overlaps temperature, which takes 0x0000 to 0x0000"]
    );
    let twice = more("again = { at = 1, unit = \"Cel\", path = \"/3303/0/5700\" }");
    assert_eq!(
        diagnostics(&twice),
        ["t.toml:16:40: error: /3303/0/5700 has a value already, from line 15"]
    );
    let named = more("temperature = { at = 1, path = \"/3303/1/5700\" }");
    assert!(diagnostics(&named)[0].starts_with("t.toml:16:1: error: duplicate key"));
}

#[test]
fn mandatory_resources_without_a_source_are_named_once_per_template() {
    let text = BASE
        .replace(UNIT, "")
        .replace("[points]", "[[template]]\nn = [0, 1, 2]\n[template.points]")
        .replace("temperature", "\"u_{n}\"")
        .replace("at = 0", "at = \"n\"")
        .replace("unit = \"Cel\"", "unit = \"V\"")
        .replace("/3303/0/5700", "/3421/{n}/1");
    assert_eq!(
        diagnostics(&text),
        [
            "t.toml:17:69: error: /3421/0 lacks mandatory resources: 6 Current, 13 Instantaneous Power Factor, \
          16 Active power+ (QI+QIV), 25 Active energy import (+A) Un\n  \
          help: give each a point, a constant or a derivation"
        ]
    );
}

#[test]
fn a_verified_profile_needs_tests() {
    check(
        "\"draft\"",
        "\"verified\"",
        &["t.toml:4:10: error: a verified profile has golden frames\n  \
           help: add a [[test]], or write status = \"community\""],
    );
}

const DERIVE: &str = "[[derive]]\ntarget = \"/3303/0/5601\"\nrule = \"same\"\nfrom = \"/3303/0/5700\"\n";

#[test]
fn a_derivation_reads_what_has_a_value_above_it() {
    let derive = |piece: &str, other: &str| diagnostics(&format!("{BASE}{DERIVE}").replace(piece, other));
    assert_eq!(derive("same", "same"), [""; 0]);
    assert_eq!(
        derive("from = \"/3303/0/5700\"", "from = \"/3303/0/5602\""),
        ["t.toml:19:8: error: nothing above gives /3303/0/5602 a value\n  \
             help: a derivation reads points, constants and derivations that stand before it"]
    );
    assert_eq!(
        derive("same", "reactive"),
        ["t.toml:18:8: error: the rule reads 2 sources, not 1"]
    );
    assert!(derive("same", "smae")[0].ends_with("help: did you mean \"same\"?"));
    assert!(derive("5601", "5700")[0].contains("/3303/0/5700 has a value already, from line 15"));
    assert_eq!(
        derive("target = \"/3303/0/5601\"", "target = \"/3421/0/23\"")[0],
        "t.toml:18:8: error: Sensor Value is in \"\", Instantaneous Net Active Power (|+A|-|-A|) in \"W\""
    );
}

#[test]
fn constants_and_the_probe_are_checked_too() {
    let found = diagnostics(&BASE.replace("= \"Cel\"\n", "= 7\n"));
    assert!(
        found[0].starts_with("t.toml:13:18: error: /3303/0/5701 must be a string"),
        "{found:#?}"
    );
    let probe = "base = 0\nprobe = { point = \"temprature\", range = [80, 20] }";
    let found = diagnostics(&BASE.replace("base = 0", probe));
    assert_eq!(
        found,
        [
            "t.toml:9:19: error: no point is called \"temprature\"\n  help: did you mean \"temperature\"?",
            "t.toml:9:41: error: range must be [lowest, highest]",
        ]
    );
}

const COMMAND: &str = "[[command]]\non_write = \"/3413/0/3\"\nfunction = \"coil\"\nat = 0\nvalues = { 0 = \"off\", 100 = \"on\" }\n";

#[test]
fn a_command_is_read_back_or_says_why_not() {
    let found = diagnostics(&format!("{BASE}{COMMAND}"));
    assert!(
        found[0].starts_with("t.toml:16:1: error: verify is missing"),
        "{found:#?}"
    );
    let found = diagnostics(&format!("{BASE}{COMMAND}verify = \"none\"\n"));
    assert!(
        found[0].starts_with("t.toml:21:10: error: verify = \"none\" needs a reason"),
        "{found:#?}"
    );
    let good = format!("{BASE}{COMMAND}verify = \"none\"\nreason = \"the coil springs back\"\n");
    assert_eq!(diagnostics(&good), [""; 0]);
    let outside = format!("{BASE}{COMMAND}verify = {{ count = 8, index = 8, within_ms = 100 }}\n");
    assert_eq!(
        diagnostics(&outside),
        ["t.toml:21:31: error: index is outside of the 8 that are read"]
    );
}

#[test]
fn a_command_takes_what_the_resource_takes() {
    let written = |piece: &str, other: &str| {
        let text = format!("{BASE}{COMMAND}verify = {{ within_ms = 100 }}\n");
        diagnostics(&text.replace(piece, other))
    };
    assert_eq!(written("100 =", "100 ="), [""; 0]);
    assert!(written("100 =", "101 =")[0].starts_with("t.toml:20:29: error: "));
    assert!(written("/3413/0/3", "/3413/0/2")[0].contains("cannot be written"));
    assert!(written("\"on\"", "\"onn\"")[0].contains("did you mean \"on\"?"));
    assert!(written("\"coil\"", "\"register\"")[0].contains("must be a number"));
}

const TEST: &str = "[[test]]\nname = \"cold\"\nrequest = \"01 04 00 00 00 01 31 ca\"\nresponse = \"01 04 02 ff 9c f8 a9\"\nexpect = { temperature = -10.0 }\n";

#[test]
fn a_golden_frame_with_a_wrong_crc_is_answered_with_the_right_one() {
    let good = format!("{BASE}{TEST}");
    assert_eq!(diagnostics(&good), [""; 0]);
    assert_eq!(
        diagnostics(&good.replace("f8 a9", "f8 a8")),
        [
            "t.toml:19:12: error: the CRC, the last two bytes, is wrong\n  help: for these bytes it would be f8 a9"
        ]
    );
    assert_eq!(
        diagnostics(&good.replace("{ temperature", "{ temprature")),
        ["t.toml:20:25: error: no point is called \"temprature\"\n  help: did you mean \"temperature\"?"]
    );
}

#[test]
fn a_golden_frame_that_says_something_else_fails_in_words() {
    let text = format!("{BASE}{TEST}").replace("-10.0", "-10.1");
    let profile = compile("t.toml", &text, &TABLE).unwrap();
    let outcomes = profile.run_tests();
    assert!(!outcomes[0].passed());
    assert_eq!(outcomes[0].differences, ["temperature is -10, expected -10.1"]);
    let text = text.replace("{ temperature = -10.1 }", "{}");
    let profile = compile("t.toml", &text, &TABLE).unwrap();
    let differences = &profile.run_tests()[0].differences;
    assert_eq!(
        *differences,
        ["the frame also says temperature = -10: expect it too"]
    );
}

#[test]
fn sentinels_are_absent_and_impossible_values_are_faults() {
    let text = BASE.replace(
        "scale = 0.1,",
        "scale = 0.1, absent = [0x8000], min = -40, max = 85,",
    );
    let profile = compile("t.toml", &text, &TABLE).unwrap();
    let decode = |word: u16| words(&profile, 0, vec![word]).remove(0).1;
    assert_eq!(decode(0x8000), Decoded::Absent);
    assert_eq!(decode(851), Decoded::Fault("85.1 is above 85".to_owned()));
    assert_eq!(decode(0xFE6F), Decoded::Fault("-40.1 is below -40".to_owned()));
    assert_eq!(decode(651), Decoded::Value(Value::Float(65.1)));
    assert_eq!(words(&profile, 1, vec![0]), []);
    assert_eq!(words(&profile, 0, vec![]), []);
}

#[test]
fn a_map_gives_its_values_and_a_fault_for_others() {
    let text = BASE
        .replace(
            "type = \"i16\", scale = 0.1, unit = \"Cel\"",
            "map = { 0 = 0, 0x10 = 100 }",
        )
        .replace(UNIT, "")
        .replace("/3303/0/5700", "/3413/0/2");
    let profile = compile("t.toml", &text, &TABLE).unwrap();
    let decode = |word: u16| words(&profile, 0, vec![word]).remove(0).1;
    assert_eq!(decode(16), Decoded::Value(Value::Integer(100)));
    assert_eq!(
        decode(1),
        Decoded::Fault("1 is not in the map of the profile".to_owned())
    );
    let found = diagnostics(&text.replace("= 100", "= 101"));
    assert!(found[0].starts_with("t.toml:15:47: error: "), "{found:#?}");
}

#[test]
fn classes_say_how_often_a_point_is_read() {
    for (class, every_ms) in [
        ("alarm", 1_000),
        ("billing", 60_000),
        ("measurement", 10_000),
        ("diagnostic", 300_000),
    ] {
        let text = BASE.replace("at = 0,", &format!("at = 0, class = \"{class}\","));
        let profile = compile("t.toml", &text, &TABLE).unwrap();
        assert_eq!(profile.points()[0].every_ms, every_ms);
        assert_eq!(profile.register_reads().unwrap().0[0].every_ms, every_ms);
    }
    let profile = compile("t.toml", BASE, &TABLE).unwrap();
    assert_eq!(profile.points()[0].class, PointClass::Measurement);
}

#[test]
fn the_bounds_of_a_profile_are_reached_and_named() {
    let point = |n: usize| format!("p{n} = {{ at = {n}, path = \"/3303/{n}/5700\" }}\n");
    let many: String = (1..=MAX_POINTS).map(point).collect();
    let found = diagnostics(&format!("{BASE}{many}"));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].ends_with("a profile has at most 1000 points"));
    let long = format!("{BASE}#{}", "x".repeat(MAX_PROFILE_BYTES));
    assert!(diagnostics(&long)[0].contains("are too many for a profile"));
    let copies = "0, ".repeat(MAX_TEMPLATE_COPIES + 1);
    let found = diagnostics(&format!("{BASE}[[template]]\nn = [{copies}]\n"));
    assert!(found[0].contains("n lists 1 to 64 numbers"));
    let templates = "[[template]]\nn = [1]\n".repeat(MAX_TEMPLATES + 1);
    let found = diagnostics(&format!("{BASE}{templates}"));
    assert!(found[0].contains("a profile has at most 64 templates"));
    let tests = TEST.repeat(MAX_ENTRIES + 1);
    assert!(diagnostics(&format!("{BASE}{tests}"))[0].contains("a profile has at most 1000 tests"));
    let wrong = "[[test]]\n".repeat(MAX_ENTRIES);
    assert_eq!(diagnostics(&format!("{BASE}{wrong}")).len(), MAX_DIAGNOSTICS);
}

#[test]
fn only_its_own_kind_of_frame_is_decoded_and_only_mapped_resources_are_encoded() {
    let profile = compile("t.toml", BASE, &TABLE).unwrap();
    let confused = RegisterBlock {
        table: RegisterTable::InputRegisters,
        address: 0,
        content: BlockContent::Bits(vec![true]),
    };
    assert!(profile.decode(&Frame::ModbusBlock(confused)).is_err());
    let path = Path::resource(3303, 0, 5700);
    let error = profile.encode(path, &Value::Float(1.0)).unwrap_err();
    assert!(matches!(error, EncodeError::NotMapped { .. }));
    assert!(!profile.commands(path));
}

fn words(profile: &CompiledProfile, address: u16, words: Vec<u16>) -> Vec<(PointId, Decoded)> {
    let block = RegisterBlock {
        table: RegisterTable::InputRegisters,
        address,
        content: BlockContent::Words(words),
    };
    let meaning = profile.decode(&Frame::ModbusBlock(block)).unwrap();
    meaning
        .samples
        .into_iter()
        .map(|sample| (sample.point, sample.decoded))
        .collect()
}
