//! The rules by which a value is computed from others of the same device.
//!
//! Pure arithmetic: which derivation runs when, and with which time and quality, is the device's business.

use lwm2m_client::{Value, ValueType};

use crate::profile::Rule;

/// Computes a value of type `target`; none where a source has no number or the result is none.
pub(crate) fn derive(rule: Rule, sources: &[&Value], target: ValueType) -> Option<Value> {
    match rule {
        Rule::Same => sources.first().and_then(|v| same(v, target)),
        Rule::Positive => numeric(target, number(sources.first()?)?.max(0.0)),
        Rule::Negative => numeric(target, (-number(sources.first()?)?).max(0.0)),
        Rule::Sum => numeric(target, numbers(sources)?.iter().sum()),
        Rule::Reactive => numeric(target, reactive(&numbers(sources)?)?),
        Rule::Percent => numeric(
            target,
            if number(sources.first()?)? == 0.0 {
                0.0
            } else {
                100.0
            },
        ),
    }
}

fn same(value: &Value, target: ValueType) -> Option<Value> {
    if value.value_type() == target {
        return Some(value.clone());
    }
    numeric(target, number(value)?)
}

/// √(S² − P²); a meter rounds S and P apart, so P may exceed S by a little: that is no reactive power.
fn reactive(numbers: &[f64]) -> Option<f64> {
    let [s, p] = *numbers else { return None };
    Some((s * s - p * p).max(0.0).sqrt())
}

fn numbers(sources: &[&Value]) -> Option<Vec<f64>> {
    sources.iter().map(|v| number(v)).collect()
}

/// Reads true as 1 and false as 0.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Boolean(v) => Some(f64::from(u8::from(*v))),
        Value::String(_)
        | Value::Integer(_)
        | Value::Unsigned(_)
        | Value::Float(_)
        | Value::Opaque(_)
        | Value::Time(_)
        | Value::Objlnk(..)
        | Value::Corelnk(_) => value.as_f64(),
    }
}

/// Writes a number as a value of a numeric type: rounded where that has no fractions, none where it does not fit.
pub(crate) fn numeric(target: ValueType, number: f64) -> Option<Value> {
    // i64::MAX and u64::MAX as f64 round up to the next power of two, which no longer fits.
    const TOP_SIGNED: f64 = 9_223_372_036_854_775_808.0;
    const TOP_UNSIGNED: f64 = 18_446_744_073_709_551_616.0;
    if !number.is_finite() {
        return None;
    }
    let whole = number.round();
    let signed = || (-TOP_SIGNED..TOP_SIGNED).contains(&whole).then_some(whole as i64);
    match target {
        ValueType::Float => Some(Value::Float(number)),
        ValueType::Integer => signed().map(Value::Integer),
        ValueType::Time => signed().map(Value::Time),
        ValueType::Unsigned => (0.0..TOP_UNSIGNED)
            .contains(&whole)
            .then_some(Value::Unsigned(whole as u64)),
        ValueType::Boolean => Some(Value::Boolean(number != 0.0)),
        ValueType::String | ValueType::Opaque | ValueType::Objlnk | ValueType::Corelnk => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(rule: Rule, sources: &[f64]) -> Option<f64> {
        let values: Vec<Value> = sources.iter().map(|v| Value::Float(*v)).collect();
        let refs: Vec<&Value> = values.iter().collect();
        derive(rule, &refs, ValueType::Float).and_then(|v| v.as_f64())
    }

    #[test]
    fn a_signed_power_splits_into_import_and_export() {
        assert_eq!(float(Rule::Positive, &[120.5]), Some(120.5));
        assert_eq!(float(Rule::Negative, &[120.5]), Some(0.0));
        assert_eq!(float(Rule::Positive, &[-80.0]), Some(0.0));
        assert_eq!(float(Rule::Negative, &[-80.0]), Some(80.0));
    }

    #[test]
    fn the_reactive_power_is_the_third_side_of_the_triangle() {
        assert_eq!(float(Rule::Reactive, &[5.0, 4.0]), Some(3.0));
        assert_eq!(
            float(Rule::Reactive, &[4.0, 4.001]),
            Some(0.0),
            "rounding never makes it imaginary"
        );
        assert_eq!(float(Rule::Reactive, &[5.0]), None);
    }

    #[test]
    fn a_sum_needs_all_its_sources() {
        assert_eq!(float(Rule::Sum, &[1.0, 2.0, 3.5]), Some(6.5));
        let (one, text) = (Value::Float(1.0), Value::String("x".to_owned()));
        assert_eq!(derive(Rule::Sum, &[&one, &text], ValueType::Float), None);
    }

    #[test]
    fn a_relay_is_a_level_of_0_or_100_percent() {
        let at = |on| derive(Rule::Percent, &[&Value::Boolean(on)], ValueType::Integer);
        assert_eq!(at(true), Some(Value::Integer(100)));
        assert_eq!(at(false), Some(Value::Integer(0)));
    }

    #[test]
    fn the_same_value_takes_the_type_of_its_target() {
        let at = |value: Value, target| derive(Rule::Same, &[&value], target);
        assert_eq!(at(Value::Float(2.6), ValueType::Integer), Some(Value::Integer(3)));
        assert_eq!(at(Value::Integer(3), ValueType::Float), Some(Value::Float(3.0)));
        assert_eq!(
            at(Value::String("a".to_owned()), ValueType::String),
            Some(Value::String("a".to_owned()))
        );
        assert_eq!(at(Value::Float(1e30), ValueType::Integer), None);
        assert_eq!(at(Value::Float(-1.0), ValueType::Unsigned), None);
    }
}
