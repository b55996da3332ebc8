//! Hex digits as people write them: in any case, with blanks or colons between.

/// Returns the bytes; none when it is no hex, or a digit is missing.
pub(crate) fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != ':')
        .map(|c| c.to_digit(16))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes = pairs
        .iter()
        .filter_map(|[high, low]| u8::try_from(high * 16 + low).ok());
    rest.is_empty().then(|| bytes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_colons_may_stand_between_digits() {
        assert_eq!(bytes("01 04:0c FF"), Some(vec![1, 4, 12, 255]));
        assert_eq!(bytes("014"), None);
        assert_eq!(bytes("0x01"), None);
        assert_eq!(bytes(""), Some(vec![]));
    }
}
