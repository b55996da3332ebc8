//! CoRE link format (RFC 6690): lists of links with attributes, as Register, Update and Discover carry them.
//!
//! Targets are kept as text; what an attribute means is the reader's business.

use std::fmt::Write as _;

use crate::format::{ContentFormat, FormatError};
use crate::limits::MAX_LINKS;
use crate::path::Path;

/// One link: a target and its attributes in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What stands between the angle brackets, for example `/3/0`.
    pub target: String,
    /// The attributes.
    pub attributes: Vec<Attribute>,
}

/// One attribute of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its value, where it has one.
    pub value: Option<AttributeValue>,
}

/// The value of an attribute, with the way it is written: some readers take `ver` without quotes alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue {
    /// `ver=1.1`
    Token(String),
    /// `rt="oma.lwm2m"`; held without the quotes.
    Quoted(String),
}

impl Link {
    /// Returns a link to a path, without attributes.
    pub fn to(path: Path) -> Self {
        Self {
            target: path.to_string(),
            attributes: Vec::new(),
        }
    }

    /// Adds an attribute written without quotes.
    #[must_use]
    pub fn with(mut self, name: &str, token: impl ToString) -> Self {
        let value = Some(AttributeValue::Token(token.to_string()));
        self.attributes.push(Attribute {
            name: name.to_owned(),
            value,
        });
        self
    }

    /// Adds an attribute written in quotes.
    #[must_use]
    pub fn with_quoted(mut self, name: &str, text: impl ToString) -> Self {
        let value = Some(AttributeValue::Quoted(text.to_string()));
        self.attributes.push(Attribute {
            name: name.to_owned(),
            value,
        });
        self
    }

    /// Returns the target as a path; none for one with a prefix, and for an address.
    pub fn path(&self) -> Option<Path> {
        self.target.parse().ok()
    }

    /// Returns the value of the first attribute of this name, quoted or not; empty where it has no value.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|a| a.name == name)?;
        Some(match &found.value {
            Some(AttributeValue::Token(text) | AttributeValue::Quoted(text)) => text,
            None => "",
        })
    }
}

/// Writes links, separated by commas.
pub fn write(links: &[Link]) -> String {
    let mut text = String::new();
    for (position, link) in links.iter().enumerate() {
        let comma = if position == 0 { "" } else { "," };
        write_link(&mut text, comma, link).expect("writing to a String does not fail");
    }
    text
}

fn write_link(text: &mut String, comma: &str, link: &Link) -> std::fmt::Result {
    write!(text, "{comma}<{}>", link.target)?;
    for attribute in &link.attributes {
        write!(text, ";{}", attribute.name)?;
        match &attribute.value {
            Some(AttributeValue::Token(token)) => write!(text, "={token}")?,
            Some(AttributeValue::Quoted(quoted)) => {
                write!(text, "=\"{}\"", quoted.replace('\\', "\\\\").replace('"', "\\\""))?;
            }
            None => {}
        }
    }
    Ok(())
}

/// Reads links; white space around separators is passed over.
pub fn parse(payload: &[u8]) -> Result<Vec<Link>, FormatError> {
    let text = std::str::from_utf8(payload).map_err(|e| malformed(e.to_string()))?;
    let mut rest = text.trim();
    let mut links = Vec::new();
    if rest.is_empty() {
        return Ok(links);
    }
    loop {
        if links.len() == MAX_LINKS {
            return Err(malformed(format!("more than {MAX_LINKS} links")));
        }
        let (link, after) = link(rest)?;
        links.push(link);
        if after.is_empty() {
            return Ok(links);
        }
        let next = after
            .strip_prefix(',')
            .ok_or_else(|| unexpected("a comma", after))?;
        rest = next.trim_start();
    }
}

fn link(text: &str) -> Result<(Link, &str), FormatError> {
    let target = text.strip_prefix('<').and_then(|t| t.split_once('>'));
    let (target, mut rest) = target.ok_or_else(|| unexpected("a target in angle brackets", text))?;
    let mut attributes = Vec::new();
    rest = rest.trim_start();
    while let Some(after) = rest.strip_prefix(';') {
        let (attribute, after) = attribute(after.trim_start())?;
        attributes.push(attribute);
        rest = after.trim_start();
    }
    Ok((
        Link {
            target: target.to_owned(),
            attributes,
        },
        rest,
    ))
}

fn attribute(text: &str) -> Result<(Attribute, &str), FormatError> {
    let end = text.find(['=', ';', ',']).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    let name = name.trim_end();
    if name.is_empty() || name.contains(['<', '>', '"', ' ']) {
        return Err(unexpected("the name of an attribute", text));
    }
    let (value, rest) = match rest.strip_prefix('=') {
        Some(after) => value(after.trim_start()).map(|(v, r)| (Some(v), r))?,
        None => (None, rest),
    };
    Ok((
        Attribute {
            name: name.to_owned(),
            value,
        },
        rest,
    ))
}

fn value(text: &str) -> Result<(AttributeValue, &str), FormatError> {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted_string(quoted).ok_or_else(|| unexpected("a closing quote", text));
    }
    let end = text.find([';', ',']).unwrap_or(text.len());
    let (token, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    let token = token.trim_end();
    if token.is_empty() || token.contains(['"', '<', '>', ' ']) {
        return Err(unexpected("the value of an attribute", text));
    }
    Ok((AttributeValue::Token(token.to_owned()), rest))
}

fn quoted_string(text: &str) -> Option<(AttributeValue, &str)> {
    let mut value = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some((AttributeValue::Quoted(value), characters.as_str())),
            '\\' => value.push(characters.next()?),
            other => value.push(other),
        }
    }
}

fn unexpected(expected: &str, found: &str) -> FormatError {
    let start: String = found.chars().take(20).collect();
    malformed(format!("expected {expected} at {start:?}"))
}

fn malformed(reason: String) -> FormatError {
    FormatError::Malformed {
        format: ContentFormat::Link,
        reason,
    }
}
