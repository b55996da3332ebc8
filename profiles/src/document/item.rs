//! One value of a document, asked for by type.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeInteger, DeValue};

use super::{Diagnostic, Document, Place, Table, nearest};

/// A value with its key and its place. The accessors return none after they have reported what is wrong.
#[derive(Clone, Copy, Debug)]
pub struct Item<'d> {
    document: &'d Document<'d>,
    key: &'d str,
    value: &'d Spanned<DeValue<'d>>,
}

impl<'d> Item<'d> {
    pub(super) fn new(document: &'d Document<'d>, key: &'d str, value: &'d Spanned<DeValue<'d>>) -> Self {
        Self { document, key, value }
    }

    /// Returns the key that the value stands under; that of the array for the elements of an array.
    pub fn key(&self) -> &'d str {
        self.key
    }

    /// Returns where the value begins.
    pub fn place(&self) -> Place {
        self.document.place(self.value.span().start)
    }

    /// Returns the text.
    pub fn string(&self) -> Option<&'d str> {
        match self.value.get_ref().as_str() {
            Some(text) => Some(text),
            None => self.wrong_type("a string"),
        }
    }

    /// Returns the text, if it is one.
    pub fn if_string(&self) -> Option<&'d str> {
        self.value.get_ref().as_str()
    }

    /// Returns the text read as a `T`; what `T` says is wrong with it is reported.
    pub fn parse<T>(&self) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        match self.string()?.parse() {
            Ok(value) => Some(value),
            Err(error) => self.error(error.to_string()),
        }
    }

    /// Returns the integer, written in any radix of TOML, if it is within `range`.
    pub fn integer<T>(&self, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i128> + PartialOrd + Display,
    {
        let Some(integer) = self.value.get_ref().as_integer() else {
            return self.wrong_type("an integer");
        };
        let value = read_integer(integer).and_then(|v| T::try_from(v).ok());
        match value.filter(|v| range.contains(v)) {
            Some(value) => Some(value),
            None => self.error(format!(
                "{} is {integer}, which is not between {} and {}",
                self.key,
                range.start(),
                range.end()
            )),
        }
    }

    /// Says whether it is an integer.
    pub fn is_integer(&self) -> bool {
        self.value.get_ref().is_integer()
    }

    /// Returns the number, an integer being one too; infinities and NaN are refused.
    pub fn float(&self) -> Option<f64> {
        let Some(text) = self.number_text() else {
            return self.wrong_type("a number");
        };
        match text.parse::<f64>().ok().filter(|v| v.is_finite()) {
            Some(value) => Some(value),
            None => self.error(format!("{} is not a finite number", self.key)),
        }
    }

    /// Returns the number as decimal text, exactly as it was meant: `0.1` and not its nearest binary number.
    pub fn number_text(&self) -> Option<String> {
        match self.value.get_ref() {
            DeValue::Integer(integer) => read_integer(integer).map(|v| v.to_string()),
            DeValue::Float(float) => Some(float.as_str().to_owned()),
            DeValue::String(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        }
    }

    /// Returns the truth value.
    pub fn boolean(&self) -> Option<bool> {
        match self.value.get_ref().as_bool() {
            Some(value) => Some(value),
            None => self.wrong_type("true or false"),
        }
    }

    /// Returns the truth value, if it is one.
    pub fn if_boolean(&self) -> Option<bool> {
        self.value.get_ref().as_bool()
    }

    /// Returns what one of several words stands for; another word is answered with the nearest.
    pub fn one_of<T: Clone>(&self, words: &[(&str, T)]) -> Option<T> {
        let word = self.string()?;
        if let Some((_, value)) = words.iter().find(|(known, _)| *known == word) {
            return Some(value.clone());
        }
        let all: Vec<&str> = words.iter().map(|(known, _)| *known).collect();
        let help = match nearest(word, all.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("one of {}", all.join(", ")),
        };
        self.error_with_help(format!("{} cannot be {word:?}", self.key), help)
    }

    /// Returns the elements of an array.
    pub fn items(&self) -> Option<Vec<Self>> {
        match self.value.get_ref().as_array() {
            Some(array) => Some(
                array
                    .iter()
                    .map(|value| Self::new(self.document, self.key, value))
                    .collect(),
            ),
            None => self.wrong_type("an array"),
        }
    }

    /// Returns the elements of an array, or what stands there instead of one.
    pub fn one_or_more(&self) -> Option<Vec<Self>> {
        if self.is_array() {
            self.items()
        } else {
            Some(vec![*self])
        }
    }

    /// Returns the elements of an array of texts.
    pub fn strings(&self) -> Option<Vec<&'d str>> {
        self.items()?.iter().map(Self::string).collect()
    }

    /// Says whether it is an array.
    pub fn is_array(&self) -> bool {
        self.value.get_ref().is_array()
    }

    /// Returns the table.
    pub fn table(&self) -> Option<Table<'d>> {
        match self.value.get_ref().as_table() {
            Some(table) => Some(Table::new(self.document, table, self.value.span())),
            None => self.wrong_type("a table"),
        }
    }

    /// Says whether it is a table.
    pub fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    /// Returns the tables of an array of tables, `[[key]]`.
    pub fn tables(&self) -> Option<Vec<Table<'d>>> {
        self.items()?.iter().map(Self::table).collect()
    }

    /// Reports an error at this value and returns none, for use at the end of an accessor.
    pub fn error<T>(&self, message: impl Into<String>) -> Option<T> {
        self.document.report(Diagnostic::error(self.place(), message));
        None
    }

    /// Reports an error with what to do about it, and returns none.
    pub fn error_with_help<T>(&self, message: impl Into<String>, help: impl Into<String>) -> Option<T> {
        self.document
            .report(Diagnostic::error(self.place(), message).with_help(help));
        None
    }

    /// Reports a warning at this value.
    pub fn warn(&self, message: impl Into<String>, help: impl Into<String>) {
        self.document
            .report(Diagnostic::warning(self.place(), message).with_help(help));
    }

    /// Returns the bytes of the text that the value takes.
    pub fn span(&self) -> Range<usize> {
        self.value.span()
    }

    fn wrong_type<T>(&self, expected: &str) -> Option<T> {
        let found = self.value.get_ref().type_str();
        self.error(format!("{} must be {expected}, not {}", self.key, article(found)))
    }
}

fn article(type_name: &str) -> String {
    let vowel = type_name.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {type_name}", if vowel { "an" } else { "a" })
}

fn read_integer(integer: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()
}
