//! Units: what a device may speak, and how it becomes the registry's.

use std::sync::LazyLock;

use crate::ratio::{Linear, Ratio};

struct Conversion {
    from: &'static str,
    to: &'static str,
    map: Linear,
}

static CONVERSIONS: LazyLock<Vec<Conversion>> = LazyLock::new(|| {
    include_str!("units.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| row(line).expect("each row of units.tsv has five readable columns"))
        .collect()
});

fn row(line: &'static str) -> Option<Conversion> {
    let mut columns = line.split('\t');
    let (from, to) = (columns.next()?, columns.next()?);
    let offset = Ratio::from_decimal(columns.next()?)?;
    let numerator = Ratio::from_decimal(columns.next()?)?;
    let slope = numerator.over(Ratio::from_decimal(columns.next()?)?)?;
    let map = Linear {
        slope,
        offset: offset.times(slope)?,
    };
    Some(Conversion { from, to, map })
}

/// Returns how a value in unit `from` becomes one in unit `to`; none where no rule says so.
pub(crate) fn convert(from: &str, to: &str) -> Option<Linear> {
    if from == to {
        return Some(Linear::IDENTITY);
    }
    let rule = CONVERSIONS.iter().find(|c| c.from == from && c.to == to)?;
    Some(rule.map)
}

/// Returns the units that become `to`, itself first.
pub(crate) fn convertible_to(to: &str) -> Vec<&str> {
    let others = CONVERSIONS.iter().filter(|c| c.to == to).map(|c| c.from);
    std::iter::once(to)
        .filter(|to| !to.is_empty())
        .chain(others)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_devices_speak_becomes_the_unit_of_the_registry() {
        for (value, from, to, expected) in [
            (5188.847, "kWh", "Wh", 5_188_847.0),
            (77.0, "degF", "Cel", 25.0),
            (300.0, "K", "Cel", 26.85),
            (7_200.0, "m3/h", "m3/s", 2.0),
            (36.0, "km/h", "m/s", 10.0),
            (180.0, "deg", "rad", std::f64::consts::PI),
            (95.0, "%", "", 0.95),
            (95.0, "%", "/100", 95.0),
            (1013.25, "hPa", "Pa", 101_325.0),
        ] {
            let result = convert(from, to).unwrap().apply(value);
            assert!(
                (result - expected).abs() <= expected.abs() * 1e-12,
                "{value} {from} is {result} {to}"
            );
        }
        assert_eq!(convert("kWh", "W"), None);
        assert_eq!(convert("kWh", "kWh"), Some(Linear::IDENTITY));
    }

    #[test]
    fn units_to_choose_from_are_listed_with_the_own_one_first() {
        assert_eq!(convertible_to("Wh"), ["Wh", "kWh", "MWh", "J", "Ws"]);
        assert_eq!(convertible_to(""), ["%"]);
    }
}
