//! Option numbers, which of them are understood, and the integer format of their values.

/// If-Match
pub const IF_MATCH: u16 = 1;
/// Uri-Host
pub const URI_HOST: u16 = 3;
/// ETag
pub const ETAG: u16 = 4;
/// If-None-Match
pub const IF_NONE_MATCH: u16 = 5;
/// Observe (RFC 7641)
pub const OBSERVE: u16 = 6;
/// Uri-Port
pub const URI_PORT: u16 = 7;
/// Location-Path
pub const LOCATION_PATH: u16 = 8;
/// Uri-Path
pub const URI_PATH: u16 = 11;
/// Content-Format
pub const CONTENT_FORMAT: u16 = 12;
/// Max-Age
pub const MAX_AGE: u16 = 14;
/// Uri-Query
pub const URI_QUERY: u16 = 15;
/// Accept
pub const ACCEPT: u16 = 17;
/// Location-Query
pub const LOCATION_QUERY: u16 = 20;
/// Block2 (RFC 7959)
pub const BLOCK2: u16 = 23;
/// Block1 (RFC 7959)
pub const BLOCK1: u16 = 27;
/// Size2 (RFC 7959)
pub const SIZE2: u16 = 28;
/// Proxy-Uri
pub const PROXY_URI: u16 = 35;
/// Proxy-Scheme
pub const PROXY_SCHEME: u16 = 39;
/// Size1
pub const SIZE1: u16 = 60;

/// What RFC 7252, table 4 (and RFC 7641, RFC 7959) says about an option that is understood.
struct Definition {
    number: u16,
    repeatable: bool,
    length: std::ops::RangeInclusive<usize>,
}

const fn once(number: u16, shortest: usize, longest: usize) -> Definition {
    Definition {
        number,
        repeatable: false,
        length: shortest..=longest,
    }
}

const fn repeated(number: u16, longest: usize) -> Definition {
    Definition {
        number,
        repeatable: true,
        length: 0..=longest,
    }
}

const UNDERSTOOD: [Definition; 14] = [
    once(URI_HOST, 1, 255),
    repeated(ETAG, 8),
    once(OBSERVE, 0, 3),
    once(URI_PORT, 0, 2),
    repeated(LOCATION_PATH, 255),
    repeated(URI_PATH, 255),
    once(CONTENT_FORMAT, 0, 2),
    once(MAX_AGE, 0, 4),
    repeated(URI_QUERY, 255),
    once(ACCEPT, 0, 2),
    repeated(LOCATION_QUERY, 255),
    once(BLOCK2, 0, 3),
    once(BLOCK1, 0, 3),
    once(SIZE1, 0, 4),
];

/// Says whether whoever does not understand the option must not go on (RFC 7252, section 5.4.6).
pub const fn is_critical(number: u16) -> bool {
    number & 1 == 1
}

/// Says whether an option is understood: the number, how often it came before, and its length.
pub(super) fn is_understood(number: u16, occurrences_before: usize, length: usize) -> bool {
    UNDERSTOOD
        .iter()
        .find(|known| known.number == number)
        .is_some_and(|known| known.length.contains(&length) && (known.repeatable || occurrences_before == 0))
}

/// Returns an integer as option value: big-endian without leading zeros (RFC 7252, section 3.2).
pub fn encode_uint(value: u32) -> Vec<u8> {
    let zeros = value.leading_zeros() as usize / 8;
    value.to_be_bytes().into_iter().skip(zeros).collect()
}

/// Returns the integer in an option value, none where it is longer than four bytes.
pub fn decode_uint(value: &[u8]) -> Option<u32> {
    (value.len() <= 4).then(|| value.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_take_as_few_bytes_as_they_need() {
        for (value, bytes) in [
            (0, &[][..]),
            (1, &[1]),
            (255, &[255]),
            (256, &[1, 0]),
            (0x0100_0000, &[1, 0, 0, 0]),
        ] {
            assert_eq!(encode_uint(value), bytes);
            assert_eq!(decode_uint(bytes), Some(value));
        }
        assert_eq!(decode_uint(&[0, 0, 7]), Some(7), "leading zeros are understood");
        assert_eq!(decode_uint(&[0; 5]), None);
    }

    #[test]
    fn an_option_that_must_not_be_repeated_is_not_understood_the_second_time() {
        assert!(is_understood(ACCEPT, 0, 2) && !is_understood(ACCEPT, 1, 2));
        assert!(is_understood(URI_PATH, 9, 255) && !is_understood(URI_PATH, 0, 256));
        assert!(!is_understood(IF_MATCH, 0, 0) && is_critical(IF_MATCH));
    }
}
