//! JSON as forwarders in the field write it.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use super::DecodeError;

/// With or without padding, and whatever stands in the bits that belong to no byte.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Decodes the object that a body must be; some forwarders close it with a NUL.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, DecodeError> {
    match serde_json::from_slice(trim(body)) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) | Err(_) => Err(DecodeError::Json),
    }
}

/// Takes blanks and NULs from the end.
pub(super) fn trim(body: &[u8]) -> &[u8] {
    let end = body
        .iter()
        .rposition(|byte| *byte != 0 && !byte.is_ascii_whitespace());
    body.get(..end.map_or(0, |last| last + 1)).unwrap_or_default()
}

/// Returns a finite number, also where it is written as text.
pub(super) fn number(object: &Map<String, Value>, name: &str) -> Option<f64> {
    let value = object.get(name)?;
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    number.is_finite().then_some(number)
}

/// Returns a whole number from 0 to 2³² - 1.
pub(super) fn unsigned(object: &Map<String, Value>, name: &str) -> Option<u32> {
    let number = number(object, name)?;
    let is_one = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
    // A whole number within the range of the type.
    is_one.then_some(number as u32)
}

/// Returns a text.
pub(super) fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

/// Returns the bytes of a base64 text; the examples of the protocol mix both alphabets.
pub(super) fn bytes(object: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    let written = text(object, name)?.trim();
    let standard: String = written
        .chars()
        .map(|character| match character {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    BASE64.decode(standard).ok()
}
