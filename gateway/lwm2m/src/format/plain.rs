//! The formats that carry one value and no name: plain text and raw bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::scalar::{base64_bytes, objlnk};
use super::{ContentFormat, Entry, FormatError, Types};
use crate::path::Path;
use crate::value::{Value, ValueType};

pub(super) fn decode_text(base: Path, payload: &[u8], types: &dyn Types) -> Result<Entry, FormatError> {
    let value_type = single_type(ContentFormat::Text, base, types)?;
    let text = std::str::from_utf8(payload).map_err(|e| FormatError::Malformed {
        format: ContentFormat::Text,
        reason: e.to_string(),
    })?;
    let wrong = FormatError::WrongType {
        path: base,
        expected: value_type,
    };
    let value = text_value(text, value_type).ok_or(wrong)?;
    Ok(Entry { path: base, value })
}

pub(super) fn decode_opaque(base: Path, payload: &[u8], types: &dyn Types) -> Result<Entry, FormatError> {
    let expected = single_type(ContentFormat::Opaque, base, types)?;
    if expected != ValueType::Opaque {
        return Err(FormatError::WrongType { path: base, expected });
    }
    Ok(Entry {
        path: base,
        value: Value::Opaque(payload.to_vec()),
    })
}

pub(super) fn encode_text(base: Path, entries: &[Entry]) -> Result<Vec<u8>, FormatError> {
    let text = match the_value(ContentFormat::Text, base, entries)? {
        Value::Boolean(v) => u8::from(*v).to_string(),
        Value::Opaque(bytes) => STANDARD.encode(bytes),
        Value::Float(v) if !v.is_finite() => {
            return Err(FormatError::NotEncodable {
                format: ContentFormat::Text,
                path: base,
                reason: format!("{v} is no decimal number"),
            });
        }
        // Numbers are written without an exponent (LwM2M Core 1.2, Appendix C).
        value @ (Value::String(_)
        | Value::Corelnk(_)
        | Value::Integer(_)
        | Value::Unsigned(_)
        | Value::Time(_)
        | Value::Float(_)
        | Value::Objlnk(..)) => value.to_string(),
    };
    Ok(text.into_bytes())
}

pub(super) fn encode_opaque(base: Path, entries: &[Entry]) -> Result<Vec<u8>, FormatError> {
    let value = the_value(ContentFormat::Opaque, base, entries)?;
    let Value::Opaque(bytes) = value else {
        return Err(FormatError::NotEncodable {
            format: ContentFormat::Opaque,
            path: base,
            reason: format!("it is {}", value.value_type()),
        });
    };
    Ok(bytes.clone())
}

fn single_type(format: ContentFormat, base: Path, types: &dyn Types) -> Result<ValueType, FormatError> {
    let (Some(object), Some(resource)) = (base.object_id(), base.resource_id()) else {
        return Err(FormatError::Unsupported { format, path: base });
    };
    let (value_type, multiple) = types
        .resource_type(object, resource)
        .ok_or(FormatError::UnknownResource(base))?;
    match (multiple, base.resource_instance_id()) {
        (false, None) | (true, Some(_)) => Ok(value_type),
        (true, None) => Err(FormatError::Unsupported { format, path: base }),
        (false, Some(_)) => Err(FormatError::WrongMultiplicity(base)),
    }
}

fn the_value(format: ContentFormat, base: Path, entries: &[Entry]) -> Result<&Value, FormatError> {
    match entries {
        [entry] if entry.path == base => Ok(&entry.value),
        _ => Err(FormatError::Unsupported { format, path: base }),
    }
}

fn text_value(text: &str, value_type: ValueType) -> Option<Value> {
    Some(match value_type {
        ValueType::String => Value::String(text.to_owned()),
        ValueType::Corelnk => Value::Corelnk(text.to_owned()),
        ValueType::Integer => Value::Integer(text.parse().ok()?),
        ValueType::Unsigned => Value::Unsigned(text.parse().ok()?),
        ValueType::Time => Value::Time(text.parse().ok()?),
        ValueType::Float => Value::Float(decimal(text)?),
        ValueType::Boolean => match text {
            "0" => Value::Boolean(false),
            "1" => Value::Boolean(true),
            _ => return None,
        },
        ValueType::Opaque => Value::Opaque(base64_bytes(text)?),
        ValueType::Objlnk => objlnk(text)?,
    })
}

/// Reads a decimal number; an exponent is accepted, the words that Rust reads as infinite or no number are not.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    let number: f64 = text.parse().ok()?;
    (plain && number.is_finite()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::test_types::{self, Fixed};

    const BASE: Path = Path::resource(3442, 0, 1);

    fn check(text: &str, value: Value) {
        let types = Fixed(value.value_type(), false);
        let entry = Entry { path: BASE, value };
        assert_eq!(
            decode_text(BASE, text.as_bytes(), &types).as_ref(),
            Ok(&entry),
            "{text}"
        );
        assert_eq!(encode_text(BASE, &[entry]).unwrap(), text.as_bytes());
    }

    #[test]
    fn text_reads_as_it_is_written() {
        // LwM2M Core TS, Appendix C: the text forms of the data types.
        check(
            "Open Mobile Alliance",
            Value::String("Open Mobile Alliance".into()),
        );
        check("", Value::String(String::new()));
        check("-9223372036854775808", Value::Integer(i64::MIN));
        check("18446744073709551615", Value::Unsigned(u64::MAX));
        check("-0.25", Value::Float(-0.25));
        check("0.000000000000000000001", Value::Float(1e-21));
        check("1367491215", Value::Time(1_367_491_215));
        check("1", Value::Boolean(true));
        check("0", Value::Boolean(false));
        check("10:1", Value::Objlnk(crate::ObjectId(10), crate::InstanceId(1)));
        check(
            "65535:65535",
            Value::Objlnk(crate::ObjectId(65535), crate::InstanceId(65535)),
        );
        check("</3/0/1>", Value::Corelnk("</3/0/1>".into()));
        // RFC 4648, section 10.
        check("Zm9vYmE=", Value::Opaque(b"fooba".to_vec()));
    }

    #[test]
    fn text_of_another_type_is_refused() {
        let rows = [
            (ValueType::Integer, "1.0"),
            (ValueType::Integer, "9223372036854775808"),
            (ValueType::Unsigned, "-1"),
            (ValueType::Float, "inf"),
            (ValueType::Float, "NaN"),
            (ValueType::Float, "1,5"),
            (ValueType::Boolean, "true"),
            (ValueType::Objlnk, "3"),
            (ValueType::Opaque, "Zm9vYmE=="),
            (ValueType::Time, ""),
        ];
        for (value_type, text) in rows {
            let refused = decode_text(BASE, text.as_bytes(), &Fixed(value_type, false));
            assert_eq!(
                refused,
                Err(FormatError::WrongType {
                    path: BASE,
                    expected: value_type
                }),
                "{text}"
            );
        }
        assert!(decode_text(BASE, &[0xff], &Fixed(ValueType::String, false)).is_err());
    }

    #[test]
    fn only_a_single_value_has_a_text() {
        let types = Fixed(ValueType::Integer, true);
        assert!(decode_text(BASE, b"1", &types).is_err());
        assert!(decode_text(Path::instance(3442, 0), b"1", &types).is_err());
        let instance = "/3442/0/1/4".parse().unwrap();
        assert_eq!(decode_text(instance, b"1", &types).unwrap().path, instance);
        let entry = Entry {
            path: BASE,
            value: Value::Integer(1),
        };
        assert!(encode_text(BASE, &[entry.clone(), entry.clone()]).is_err());
        assert!(encode_text(instance, &[entry]).is_err());
    }

    #[test]
    fn opaque_bytes_go_as_they_are() {
        let entry = Entry {
            path: BASE,
            value: Value::Opaque(vec![0, 255, 1]),
        };
        assert_eq!(
            encode_opaque(BASE, std::slice::from_ref(&entry)).unwrap(),
            [0, 255, 1]
        );
        let types = Fixed(ValueType::Opaque, false);
        assert_eq!(decode_opaque(BASE, &[0, 255, 1], &types), Ok(entry));
        assert!(decode_opaque(BASE, &[0], &Fixed(ValueType::String, false)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn every_value_with_a_text_reads_back(value in test_types::finite_value()) {
            let types = Fixed(value.value_type(), false);
            let entry = Entry { path: BASE, value };
            let text = encode_text(BASE, std::slice::from_ref(&entry)).unwrap();
            proptest::prop_assert_eq!(decode_text(BASE, &text, &types).unwrap(), entry);
        }

        #[test]
        fn any_text_is_read_or_refused(payload: Vec<u8>, value_type in test_types::any_type()) {
            if let Ok(entry) = decode_text(BASE, &payload, &Fixed(value_type, false)) {
                proptest::prop_assert_eq!(entry.value.value_type(), value_type);
            }
        }
    }
}
