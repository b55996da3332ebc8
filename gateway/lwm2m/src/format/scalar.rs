//! The text forms of values that several formats share.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::path::{InstanceId, ObjectId};
use crate::value::Value;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Reads Base64 of either alphabet, with or without padding: senders differ.
pub(super) fn base64_bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE.decode(text).or_else(|_| STANDARD.decode(text)).ok()
}

/// Reads an object link, `10:1`.
pub(super) fn objlnk(text: &str) -> Option<Value> {
    let (object, instance) = text.split_once(':')?;
    let number = |t: &str| t.bytes().all(|b| b.is_ascii_digit()).then(|| t.parse().ok())?;
    Some(Value::Objlnk(
        ObjectId(number(object)?),
        InstanceId(number(instance)?),
    ))
}
