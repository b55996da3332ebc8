//! Exact fractions, so that a register of 2301 at a scale of 0.1 is 230.1 and not 230.10000000000002.

/// A fraction in lowest terms with a denominator above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ratio {
    numerator: i128,
    denominator: i128,
}

impl Ratio {
    pub(crate) const ZERO: Self = Self {
        numerator: 0,
        denominator: 1,
    };
    pub(crate) const ONE: Self = Self {
        numerator: 1,
        denominator: 1,
    };

    fn new(numerator: i128, denominator: i128) -> Option<Self> {
        let sign = denominator.signum();
        let divisor = greatest_common_divisor(numerator, denominator)?;
        Some(Self {
            numerator: numerator.checked_mul(sign)? / divisor,
            denominator: denominator.checked_abs()? / divisor,
        })
    }

    /// Reads a decimal number such as `-0.1` or `2.5e-3`, of at most 18 digits and an exponent within ±18.
    pub(crate) fn from_decimal(text: &str) -> Option<Self> {
        let text = text.replace('_', "");
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text.as_str(), 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{}", fraction.trim_end_matches('0'));
        if digits.len() > 19 || !(-18..=18).contains(&exponent) {
            return None;
        }
        let places = i32::try_from(fraction.trim_end_matches('0').len()).ok()? - exponent;
        let power = 10_i128.checked_pow(places.unsigned_abs())?;
        let digits: i128 = digits.parse().ok()?;
        if places >= 0 {
            Self::new(digits, power)
        } else {
            Self::new(digits.checked_mul(power)?, 1)
        }
    }

    pub(crate) fn is_zero(self) -> bool {
        self.numerator == 0
    }

    pub(crate) fn times(self, other: Self) -> Option<Self> {
        Self::new(
            self.numerator.checked_mul(other.numerator)?,
            self.denominator.checked_mul(other.denominator)?,
        )
    }

    pub(crate) fn over(self, other: Self) -> Option<Self> {
        self.times(Self::new(other.denominator, other.numerator)?)
    }

    pub(crate) fn plus(self, other: Self) -> Option<Self> {
        let left = self.numerator.checked_mul(other.denominator)?;
        let right = other.numerator.checked_mul(self.denominator)?;
        Self::new(
            left.checked_add(right)?,
            self.denominator.checked_mul(other.denominator)?,
        )
    }

    pub(crate) fn negated(self) -> Self {
        Self {
            numerator: -self.numerator,
            denominator: self.denominator,
        }
    }

    pub(crate) fn as_f64(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }

    fn of_integer(value: i128) -> Self {
        Self {
            numerator: value,
            denominator: 1,
        }
    }
}

fn greatest_common_divisor(a: i128, b: i128) -> Option<i128> {
    let (mut a, mut b) = (a.checked_abs()?, b.checked_abs()?);
    if b == 0 {
        return None;
    }
    while b != 0 {
        (a, b) = (b, a % b);
    }
    Some(a)
}

/// `value * slope + offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Linear {
    pub(crate) slope: Ratio,
    pub(crate) offset: Ratio,
}

impl Linear {
    pub(crate) const IDENTITY: Self = Self {
        slope: Ratio::ONE,
        offset: Ratio::ZERO,
    };

    /// Returns the map that applies this one and then `next`; none where the numbers grow too large.
    pub(crate) fn then(self, next: Self) -> Option<Self> {
        Some(Self {
            slope: self.slope.times(next.slope)?,
            offset: self.offset.times(next.slope)?.plus(next.offset)?,
        })
    }

    /// Returns the map back, unless the slope is zero.
    pub(crate) fn inverse(self) -> Option<Self> {
        let slope = Ratio::ONE.over(self.slope)?;
        Some(Self {
            slope,
            offset: self.offset.times(slope)?.negated(),
        })
    }

    /// Applies it to an integer, rounding once.
    pub(crate) fn apply_integer(self, value: i128) -> f64 {
        self.apply_exactly(Ratio::of_integer(value))
            .unwrap_or_else(|| self.apply(value as f64))
    }

    /// Applies it to the decimal number that is written as `value` is, rounding once.
    pub(crate) fn apply_decimal(self, value: f64) -> f64 {
        if self == Self::IDENTITY {
            return value;
        }
        Ratio::from_decimal(&value.to_string())
            .and_then(|decimal| self.apply_exactly(decimal))
            .unwrap_or_else(|| self.apply(value))
    }

    fn apply_exactly(self, value: Ratio) -> Option<f64> {
        Some(value.times(self.slope)?.plus(self.offset)?.as_f64())
    }

    pub(crate) fn apply(self, value: f64) -> f64 {
        let product = value * self.slope.numerator as f64 / self.slope.denominator as f64;
        if self.offset.is_zero() {
            product
        } else {
            product + self.offset.as_f64()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(text: &str) -> Ratio {
        Ratio::from_decimal(text).unwrap()
    }

    #[test]
    fn a_decimal_is_read_exactly() {
        assert_eq!(ratio("0.1"), Ratio::new(1, 10).unwrap());
        assert_eq!(ratio("-2.50"), Ratio::new(-5, 2).unwrap());
        assert_eq!(ratio("-0.5"), Ratio::new(-1, 2).unwrap());
        assert_eq!(ratio("2.5e-3"), Ratio::new(1, 400).unwrap());
        assert_eq!(ratio("1e3"), Ratio::new(1000, 1).unwrap());
        for text in ["", ".", "x", "1e99", "nan", "inf", "12345678901234567890123"] {
            assert_eq!(Ratio::from_decimal(text), None, "{text}");
        }
    }

    #[test]
    fn a_scaled_integer_is_rounded_once() {
        let tenth = Linear {
            slope: ratio("0.1"),
            offset: Ratio::ZERO,
        };
        assert_eq!(tenth.apply_integer(2301), 230.1);
        assert_eq!(tenth.inverse().unwrap().apply_integer(5), 50.0);
        let shifted = Linear {
            slope: ratio("0.1"),
            offset: ratio("-40"),
        };
        assert_eq!(shifted.apply_integer(651), 25.1);
        assert_eq!(shifted.inverse().unwrap().apply(25.1).round(), 651.0);
        assert_eq!(shifted.apply_integer(i128::MAX), shifted.apply(i128::MAX as f64));
        assert_eq!(
            shifted.apply_decimal(f64::NAN).to_bits(),
            shifted.apply(f64::NAN).to_bits()
        );
        let thousand = Linear {
            slope: ratio("1000"),
            offset: Ratio::ZERO,
        };
        assert_eq!(
            (thousand.apply_decimal(0.057), thousand.apply(0.057)),
            (57.0, 57.0)
        );
        assert_eq!(thousand.apply_decimal(0.235), 235.0);
        assert_eq!(thousand.apply_decimal(1e300), thousand.apply(1e300));
    }
}
