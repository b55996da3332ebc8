//! Values that move with time, the same on every run.

use std::time::Duration;

/// How a measured value goes over time.
#[derive(Clone, Debug, PartialEq)]
pub enum Signal {
    /// It stays.
    Constant(f64),
    /// It swings evenly between `mean - amplitude` and `mean + amplitude`, beginning at the mean.
    Swing {
        /// The middle.
        mean: f64,
        /// How far from the middle it goes.
        amplitude: f64,
        /// How long one swing takes.
        period: Duration,
    },
    /// It rises for good, as an energy register does.
    Rising {
        /// Where it begins.
        start: f64,
        /// How much is added in an hour.
        per_hour: f64,
    },
    /// From each time on it has the value beside it; before the first one it is zero.
    Steps(Vec<(Duration, f64)>),
}

impl Signal {
    /// Returns the value `elapsed` after the device was switched on, as a meter computes it: in 32 bits.
    pub fn at(&self, elapsed: Duration) -> f32 {
        let value = match self {
            Self::Constant(value) => *value,
            Self::Swing {
                mean,
                amplitude,
                period,
            } => mean + amplitude * triangle(elapsed, *period),
            Self::Rising { start, per_hour } => start + per_hour * elapsed.as_secs_f64() / 3600.0,
            Self::Steps(steps) => {
                let mut past = steps.iter().filter(|(from, _)| *from <= elapsed);
                past.next_back().map_or(0.0, |(_, value)| *value)
            }
        };
        value as f32
    }
}

/// A wave of straight lines from 0 over 1 and -1 back to 0; unlike a sine it is the same on every machine.
fn triangle(elapsed: Duration, period: Duration) -> f64 {
    let phase = (elapsed.as_secs_f64() / period.as_secs_f64()).fract();
    if phase < 0.25 {
        4.0 * phase
    } else if phase < 0.75 {
        2.0 - 4.0 * phase
    } else {
        4.0 * phase - 4.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(signal: &Signal, secs: u64) -> f32 {
        signal.at(Duration::from_secs(secs))
    }

    #[test]
    fn a_swing_goes_up_and_down_around_its_mean() {
        let swing = Signal::Swing {
            mean: 230.0,
            amplitude: 4.0,
            period: Duration::from_secs(40),
        };
        assert_eq!(
            [at(&swing, 0), at(&swing, 10), at(&swing, 20), at(&swing, 30)],
            [230.0, 234.0, 230.0, 226.0]
        );
    }

    #[test]
    fn a_rising_value_never_falls() {
        let energy = Signal::Rising {
            start: 1000.0,
            per_hour: 3600.0,
        };
        assert_eq!(
            [at(&energy, 0), at(&energy, 1), at(&energy, 3600)],
            [1000.0, 1001.0, 4600.0]
        );
    }

    #[test]
    fn steps_hold_until_the_next_one() {
        let steps = Signal::Steps(vec![(Duration::from_secs(5), 1.0), (Duration::from_secs(9), 2.0)]);
        assert_eq!(
            [at(&steps, 4), at(&steps, 5), at(&steps, 8), at(&steps, 9)],
            [0.0, 1.0, 1.0, 2.0]
        );
    }
}
