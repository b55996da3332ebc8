//! The arithmetic of templates: integers, `n`, `+`, `-`, `*` and brackets; `{n}` and `n` are the same.
//!
//! It is total: every text gives a number or a reason, in bounded time and stack.

use crate::limits::MAX_EXPRESSION_BYTES;

/// The number that a copy of a template is for; none outside of templates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) n: Option<i64>,
}

impl Scope {
    /// Returns the value of an expression such as `0x15A + 2*{n}`.
    pub(crate) fn number(self, text: &str) -> Result<i64, String> {
        if text.len() > MAX_EXPRESSION_BYTES {
            return Err(format!("an expression has at most {MAX_EXPRESSION_BYTES} bytes"));
        }
        let mut parser = Parser {
            rest: text,
            scope: self,
        };
        let value = parser.sum()?;
        match parser.peek() {
            None => Ok(value),
            Some(found) => Err(format!("{text:?} is no expression: {found:?} is unexpected")),
        }
    }

    /// Returns the text with each `{expression}` replaced by its value.
    pub(crate) fn text(self, text: &str) -> Result<String, String> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (inner, after) = after
                .split_once('}')
                .ok_or_else(|| format!("{text:?} lacks a closing brace"))?;
            expanded.push_str(before);
            expanded.push_str(&self.number(inner)?.to_string());
            rest = after;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }
}

struct Parser<'t> {
    rest: &'t str,
    scope: Scope,
}

impl Parser<'_> {
    fn sum(&mut self) -> Result<i64, String> {
        let mut value = self.product()?;
        loop {
            let next = match self.peek() {
                Some('+') => {
                    self.skip();
                    value.checked_add(self.product()?)
                }
                Some('-') => {
                    self.skip();
                    value.checked_sub(self.product()?)
                }
                Some(_) | None => return Ok(value),
            };
            value = next.ok_or_else(too_large)?;
        }
    }

    fn product(&mut self) -> Result<i64, String> {
        let mut value = self.factor()?;
        while self.peek() == Some('*') {
            self.skip();
            value = value.checked_mul(self.factor()?).ok_or_else(too_large)?;
        }
        Ok(value)
    }

    fn factor(&mut self) -> Result<i64, String> {
        match self.peek() {
            Some(open @ ('(' | '{')) => {
                self.skip();
                let value = self.sum()?;
                let close = if open == '(' { ')' } else { '}' };
                if self.peek() != Some(close) {
                    return Err(format!("{close:?} is missing"));
                }
                self.skip();
                Ok(value)
            }
            Some('n') => {
                self.skip();
                self.scope
                    .n
                    .ok_or_else(|| "n has a value only inside of a [[template]]".to_owned())
            }
            Some('0'..='9') => self.literal(),
            Some(other) => Err(format!("a number or n is expected, not {other:?}")),
            None => Err("a number or n is missing at the end".to_owned()),
        }
    }

    fn literal(&mut self) -> Result<i64, String> {
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(self.rest.len());
        let (literal, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        let plain = literal.replace('_', "");
        let value = match plain.strip_prefix("0x") {
            Some(hex) => i64::from_str_radix(hex, 16),
            None => plain.parse(),
        };
        value.map_err(|_| format!("{literal:?} is no number"))
    }

    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start_matches(' ');
        self.rest.chars().next()
    }

    fn skip(&mut self) {
        let mut chars = self.rest.chars();
        chars.next();
        self.rest = chars.as_str();
    }
}

fn too_large() -> String {
    "the result is too large".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Scope = Scope { n: Some(2) };

    #[test]
    fn an_expression_is_reckoned_with_products_first() {
        for (text, value) in [
            ("0x0000+2*({n}-1)", 2),
            ("0x15A + 2*n", 0x15E),
            ("{n+1}*3", 9),
            ("10 - 3 - 2", 5),
            ("1_000", 1000),
        ] {
            assert_eq!(TWO.number(text), Ok(value), "{text}");
        }
        assert_eq!(Scope::default().number("7"), Ok(7));
    }

    #[test]
    fn what_is_no_expression_has_a_reason() {
        for text in [
            "",
            "1+",
            "(1",
            "{n",
            "1 2",
            "0xZZ",
            "x",
            "9223372036854775807*2",
            "12345678901234567890",
        ] {
            assert!(TWO.number(text).is_err(), "{text}");
        }
        assert!(Scope::default().number("n").unwrap_err().contains("[[template]]"));
        assert!(TWO.number(&"(".repeat(MAX_EXPRESSION_BYTES)).is_err());
        assert!(
            TWO.number(&"1+".repeat(MAX_EXPRESSION_BYTES))
                .unwrap_err()
                .contains("at most")
        );
    }

    #[test]
    fn braces_in_a_text_are_replaced() {
        assert_eq!(TWO.text("/3421/{n}/1").unwrap(), "/3421/2/1");
        assert_eq!(TWO.text("u_l{n+1}").unwrap(), "u_l3");
        assert!(TWO.text("u_l{n").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_gives_a_number_or_a_reason(text in "[0-9a-fnx+*(){} -]{0,80}") {
            let _outcome = (TWO.number(&text), TWO.text(&text));
        }
    }
}
