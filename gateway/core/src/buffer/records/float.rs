//! Floats: most of what a meter measures is a decimal number, a 32-bit float, or one of these in another unit.
//!
//! Each form is tried by computing the value back as the reader will; a form that does not give the same 64 bits is
//! not taken.

use lwm2m_client::Value;

use super::RecordsError;
use super::bytes::Reader;
use super::value::Payload;

const DOUBLE: u8 = 10;
const SINGLE: u8 = 11;
const SINGLE_STEP: u8 = 14;
const DECIMAL: u8 = 17;
const END: u8 = 29;

/// The units that a device's float may have been turned from.
const SCALES: [Scale; 3] = [Scale::One, Scale::Thousand, Scale::Thousandth];

#[derive(Clone, Copy)]
enum Scale {
    One,
    Thousand,
    Thousandth,
}

impl Scale {
    fn apply(self, value: f64) -> f64 {
        match self {
            Self::One => value,
            Self::Thousand => value * 1000.0,
            Self::Thousandth => value / 1000.0,
        }
    }

    fn undo(self, value: f64) -> f64 {
        match self {
            Self::One => value,
            Self::Thousand => value / 1000.0,
            Self::Thousandth => value * 1000.0,
        }
    }
}

/// The decimal forms: 10^k as a divisor, and whether the quotient is rounded to 32 bits.
const DECIMALS: [(f64, bool); 12] = [
    (1.0, false),
    (10.0, false),
    (100.0, false),
    (1_000.0, false),
    (10_000.0, false),
    (100_000.0, false),
    (1_000_000.0, false),
    (10.0, true),
    (100.0, true),
    (1_000.0, true),
    (10_000.0, true),
    (100_000.0, true),
];

/// Returns the shortest form of a float.
pub(super) fn forms<'a>(value: f64, base: Option<&Value>) -> (u8, Payload<'a>) {
    let base = float(base);
    let double = (DOUBLE, Payload::Double(value.to_bits() ^ base.to_bits()));
    singles(value, base)
        .chain(decimals(value, base))
        .fold(
            double,
            |best, next| {
                if next.1.len() < best.1.len() { next } else { best }
            },
        )
}

fn singles<'a>(value: f64, base: f64) -> impl Iterator<Item = (u8, Payload<'a>)> {
    let exact = SCALES.into_iter().zip(0..).filter_map(move |(scale, at)| {
        let single = scale.undo(value) as f32;
        is_same(scale.apply(single.into()), value).then_some((scale, at, single))
    });
    exact.flat_map(move |(scale, at, single)| {
        let old = scale.undo(base) as f32;
        let step = i64::from(order(single)) - i64::from(order(old));
        [
            (SINGLE + at, Payload::Single(single.to_bits())),
            (SINGLE_STEP + at, Payload::Difference(step)),
        ]
    })
}

fn decimals<'a>(value: f64, base: f64) -> impl Iterator<Item = (u8, Payload<'a>)> {
    DECIMALS
        .into_iter()
        .zip(DECIMAL..)
        .filter_map(move |((divisor, is_single), form)| {
            let n = whole(value, divisor);
            is_same(quotient(n, divisor, is_single), value)
                .then(|| (form, Payload::Difference(n.wrapping_sub(whole(base, divisor)))))
        })
}

pub(super) fn take(reader: &mut Reader<'_>, form: u8, base: Option<&Value>) -> Result<f64, RecordsError> {
    let base = float(base);
    match form {
        DOUBLE => Ok(f64::from_bits(base.to_bits() ^ take_double(reader)?)),
        SINGLE..SINGLE_STEP => {
            let bits = reader.take(size_of::<u32>())?.try_into();
            let single = f32::from_le_bytes(bits.map_err(|_| RecordsError::Truncated)?);
            Ok(scale(form, SINGLE)?.apply(single.into()))
        }
        SINGLE_STEP..DECIMAL => {
            let scale = scale(form, SINGLE_STEP)?;
            let old = i64::from(order(scale.undo(base) as f32));
            let new = old.checked_add(reader.difference()?);
            let new = new.and_then(|order| i32::try_from(order).ok());
            let single = of_order(new.ok_or(RecordsError::Range)?);
            Ok(scale.apply(single.into()))
        }
        DECIMAL..END => {
            let decimal = DECIMALS.get(usize::from(form - DECIMAL));
            let (divisor, is_single) = *decimal.ok_or(RecordsError::Form(form))?;
            let n = whole(base, divisor).wrapping_add(reader.difference()?);
            Ok(quotient(n, divisor, is_single))
        }
        _ => Err(RecordsError::Form(form)),
    }
}

fn scale(form: u8, first: u8) -> Result<Scale, RecordsError> {
    let scale = SCALES.get(usize::from(form.wrapping_sub(first)));
    scale.copied().ok_or(RecordsError::Form(form))
}

/// Returns a base as a float; what is none counts as 0.
fn float(base: Option<&Value>) -> f64 {
    // What a NaN becomes in 32 bits is not the same on every machine.
    if let Some(Value::Float(old)) = base
        && !old.is_nan()
    {
        *old
    } else {
        0.0
    }
}

/// Says whether a form gives a value back to the bit. A NaN never is: only [`DOUBLE`] keeps its bits everywhere.
fn is_same(computed: f64, value: f64) -> bool {
    !value.is_nan() && computed.to_bits() == value.to_bits()
}

fn whole(value: f64, divisor: f64) -> i64 {
    (value * divisor).round() as i64
}

fn quotient(n: i64, divisor: f64, is_single: bool) -> f64 {
    let quotient = n as f64 / divisor;
    if is_single {
        f64::from(quotient as f32)
    } else {
        quotient
    }
}

/// Returns the place of a float among all floats of 32 bits: neighbors differ by 1.
const fn order(single: f32) -> i32 {
    let bits = single.to_bits().cast_signed();
    bits ^ ((bits >> 31) & i32::MAX)
}

const fn of_order(order: i32) -> f32 {
    f32::from_bits((order ^ ((order >> 31) & i32::MAX)).cast_unsigned())
}

/// Returns how many bytes are 0 at the front, and how many there are from there to the last that is not.
pub(super) const fn middle(bits: u64) -> (usize, usize) {
    if bits == 0 {
        return (0, 0);
    }
    let front = bits.leading_zeros() as usize / 8;
    (front, 8 - front - bits.trailing_zeros() as usize / 8)
}

pub(super) fn put_double(out: &mut Vec<u8>, bits: u64) {
    let (front, len) = middle(bits);
    out.push(((front << 4) | len) as u8);
    out.extend(bits.to_be_bytes().into_iter().skip(front).take(len));
}

fn take_double(reader: &mut Reader<'_>) -> Result<u64, RecordsError> {
    let shape = reader.byte()?;
    let (front, len) = (usize::from(shape >> 4), usize::from(shape & 0x0f));
    let mut bytes = [0; 8];
    let middle = bytes.get_mut(front..front + len).ok_or(RecordsError::Range)?;
    middle.copy_from_slice(reader.take(len)?);
    Ok(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(value: f64, base: f64) -> u8 {
        forms(value, Some(&Value::Float(base))).0
    }

    #[test]
    fn each_kind_of_number_gets_its_form() {
        assert_eq!(form(230.0, 229.0), DECIMAL);
        assert_eq!(form(230.1, 229.7), DECIMAL + 1);
        assert_eq!(form(f64::from(230.1_f32), 229.7), DECIMAL + 7);
        assert_eq!(form(f64::from(1.234_567_8_f32), 1.25), SINGLE_STEP);
        assert_eq!(form(f64::from(-7.654_321_e-9_f32), 230.0), SINGLE);
        assert_eq!(
            form(f64::from(1_234.567_9_f32) * 1000.0, 1_234_567.0),
            SINGLE_STEP + 1
        );
        assert_eq!(form(std::f64::consts::PI, 3.0), DOUBLE);
        assert_eq!(form(f64::NAN, 3.0), DOUBLE);
    }

    #[test]
    fn a_float_keeps_its_neighbors_in_its_order() {
        for single in [
            0.0,
            -0.0,
            1.0,
            -1.0,
            f32::MIN_POSITIVE,
            f32::INFINITY,
            f32::NEG_INFINITY,
        ] {
            assert_eq!(of_order(order(single)).to_bits(), single.to_bits());
        }
        assert_eq!(order(-0.0), -1);
        assert_eq!(order(1.0_f32.next_up()), order(1.0) + 1);
        assert_eq!(order((-1.0_f32).next_up()), order(-1.0) + 1);
    }
}
