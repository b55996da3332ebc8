//! Sections and histories in payloads of bytes.

use super::*;

const SECTIONS: &str = r#"[lorawan]
class = "A"
uplink_every_secs = 600
endian = "big"
[[uplink]]
port = 2
[[uplink.section]]
at = 1
length_at = 0
tag_bytes = 1
[[uplink.section.entry]]
tag = 1
bytes = 2
[uplink.section.entry.points]
voltage = { at = 0, type = "u16", unit = "V", path = "/3418/0/1" }
[[uplink.section]]
repeat = 2
mask_at = 1
optional = [1, 2]
[uplink.section.points]
power = { field = 1, type = "u16", unit = "W", path = "/3418/0/4" }
high = { at = 0, bit = 7, path = "/3418/0/15" }
"#;

#[test]
fn sections_follow_each_other_and_end_where_the_bytes_do() {
    let radio = profile(SECTIONS);
    let (voltage, power, high) = (0, 1, 2);
    for (payload, expected) in [
        // A tagged value; a group without further bytes; a group with both of them.
        (
            &[3, 1, 0, 230, 0x00, 0, 0x80, 3, 9, 0, 42][..],
            vec![(voltage, float(230.0)), (high, truth(true)), (power, float(42.0))],
        ),
        // An unknown tag ends the list, not the payload; the first power counts.
        (
            &[2, 7, 7, 0, 2, 0, 1, 0, 2, 0, 2],
            vec![(high, truth(false)), (power, float(1.0))],
        ),
        // The second number of the group is not wholly there.
        (&[0, 0x80, 2, 0], vec![(high, truth(true))]),
        // A length beyond the end.
        (&[200, 1, 0, 230], vec![(voltage, float(230.0))]),
        (&[], vec![]),
    ] {
        assert_eq!(values(uplink(&radio, 2, payload)), expected, "{payload:?}");
    }
    assert_eq!(uplink(&radio, 2, &[2, 7, 7]), None, "nothing that it knows");
}

#[test]
fn mistakes_in_sections_are_named() {
    for (piece, other, expected) in [
        (
            "tag_bytes = 1",
            "",
            "t.toml:13:1: error: a section needs to know what stands in it",
        ),
        (
            "bytes = 2",
            "bytes = 1",
            "t.toml:21:18: error: the number ends behind byte 2, but there are only 1",
        ),
        (
            "tag = 1",
            "tag = \"01 02\"",
            "t.toml:18:7: error: a tag has 1 bytes here",
        ),
        (
            "field = 1",
            "field = 2",
            "t.toml:27:19: error: field is 2, which is not between 0 and 1",
        ),
        (
            "field = 1",
            "field = 0",
            "t.toml:27:19: error: the number ends behind byte 2, but there are only 1",
        ),
        ("mask_at = 1", "mask_at = 2", "t.toml:24:11: error: mask_at is 2"),
        ("repeat = 2", "repeat = 0", "t.toml:23:10: error: repeat is 0"),
    ] {
        check(SECTIONS, piece, other, expected);
    }
}

#[test]
fn former_values_come_oldest_first_and_only_with_a_time() {
    let history = "[[uplink.history]]\npoint = \"voltage\"\ntime = { at = 6, type = \"unix_u32\" }\nbase = { at = 10, type = \"u8\" }\ndeltas = { at = 11, type = \"i8\", count = 9, every_secs = 60 }\n";
    let time = "port = 2\ntime = { at = 2, type = \"unix_u32\" }";
    let radio = profile(&format!("{}{history}", RADIO.replace("port = 2", time)));
    let mut payload = vec![0xFD, 0x08];
    payload.extend(1_700_000_600_u32.to_le_bytes());
    payload.extend(1_700_000_000_u32.to_le_bytes());
    payload.extend([100, 10, 0xFB]);
    let samples = uplink(&radio, 2, &payload).unwrap().samples;
    let read: Vec<(i64, Decoded)> = samples
        .iter()
        .map(|sample| (sample.measured.unwrap().unix_secs(), sample.decoded.clone()))
        .collect();
    assert_eq!(
        read,
        [
            (1_700_000_000, float(10.0)),
            (1_700_000_060, float(11.0)),
            (1_700_000_120, float(10.5)),
            (1_700_000_600, float(230.1)),
        ]
    );
    assert!(samples.iter().all(|sample| sample.point == PointId(0)));
    payload[6..10].fill(0);
    assert_eq!(uplink(&radio, 2, &payload).unwrap().samples.len(), 1);
}

#[test]
fn former_values_beyond_the_bound_are_not_read() {
    let history = "[[uplink.history]]\npoint = \"voltage\"\ntime = { at = 2, type = \"unix_u32\" }\nbase = { at = 6, type = \"u8\" }\ndeltas = { at = 7, type = \"u8\", count = 235, every_secs = 60 }\n";
    let radio = profile(&format!("{RADIO}{}", history.repeat(5)));
    let mut payload = vec![0xFD, 0x08];
    payload.extend(1_700_000_000_u32.to_le_bytes());
    payload.resize(MAX_LORAWAN_PAYLOAD, 1);
    let samples = uplink(&radio, 2, &payload).unwrap().samples;
    assert_eq!(samples.len(), MAX_SAMPLES + 1);
}
