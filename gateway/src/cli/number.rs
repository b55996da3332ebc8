//! Numbers as people want to read them: what a 32-bit float can mean and no more.

use lwm2m_client::Value;
use serde_json::Number;

/// Returns a float with seven significant digits, or more where its whole part has more; no zeros at the end.
pub(crate) fn float(value: f64) -> String {
    let whole_digits = value.abs().log10().floor().clamp(-1.0, 6.0);
    // Between 0 and 7, as the clamp says.
    let decimals = (6.0 - whole_digits) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Returns a value for people.
pub(crate) fn of_value(value: &Value) -> String {
    match value {
        Value::Float(number) => float(*number),
        Value::String(_)
        | Value::Integer(_)
        | Value::Unsigned(_)
        | Value::Boolean(_)
        | Value::Opaque(_)
        | Value::Time(_)
        | Value::Objlnk(..)
        | Value::Corelnk(_) => value.to_string(),
    }
}

/// Returns a unit for people: the registry has the symbols of SenML, where percent is `/100` (RFC 8798).
pub(crate) fn unit(symbol: &str) -> &str {
    if symbol == "/100" { "%" } else { symbol }
}

/// Returns a number of JSON for people.
pub(super) fn text(number: &Number) -> String {
    match number.as_f64() {
        Some(value) if number.is_f64() => float(value),
        Some(_) | None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_float_has_the_digits_that_mean_something() {
        let rows = [
            (f64::from(31.261_467_f32), "31.26147"),
            (230.0, "230"),
            (0.0, "0"),
            (-0.05, "-0.05"),
            (5_188_000.75, "5188001"),
            (123_456_789.0, "123456789"),
            (100.0, "100"),
        ];
        for (value, text) in rows {
            assert_eq!(float(value), text);
        }
    }
}
