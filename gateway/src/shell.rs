//! Words in commands that people are told to type.

/// Returns a word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one_word_and_runs_nothing() {
        assert_eq!(quoted("plug-1"), "plug-1");
        assert_eq!(quoted("hall lamp"), "'hall lamp'");
        assert_eq!(quoted("it's $(reboot)"), r"'it'\''s $(reboot)'");
        assert_eq!(quoted(""), "''");
    }
}
