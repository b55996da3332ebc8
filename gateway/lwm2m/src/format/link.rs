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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, links: &[Link]) {
        assert_eq!(parse(text.as_bytes()).unwrap(), links, "{text}");
        assert_eq!(write(links), text);
    }

    fn link(target: &str) -> Link {
        Link {
            target: target.to_owned(),
            attributes: Vec::new(),
        }
    }

    #[test]
    fn links_read_as_they_are_written() {
        // RFC 6690, section 5.
        check(
            r#"</sensors>;ct=40;title="Sensor Index",</sensors/temp>;rt="temperature-c";if="sensor""#,
            &[
                link("/sensors")
                    .with("ct", 40)
                    .with_quoted("title", "Sensor Index"),
                link("/sensors/temp")
                    .with_quoted("rt", "temperature-c")
                    .with_quoted("if", "sensor"),
            ],
        );
        check(
            r#"<http://www.example.com/sensors/t123>;anchor="/sensors/temp";rel="describedby""#,
            &[link("http://www.example.com/sensors/t123")
                .with_quoted("anchor", "/sensors/temp")
                .with_quoted("rel", "describedby")],
        );
        // The object list in Leshan's LwM2mNodeDecoderTest, ENCODED_OBJ3442.
        check(
            r#"</>;rt="oma.lwm2m";ct="60 110 112 1542 1543 11542 11543",</1>;ver=1.1,</1/0>,</2>,</3>;ver=1.1,</3/0>,</3442/0>"#,
            &[
                link("/")
                    .with_quoted("rt", "oma.lwm2m")
                    .with_quoted("ct", "60 110 112 1542 1543 11542 11543"),
                link("/1").with("ver", "1.1"),
                Link::to(Path::instance(1, 0)),
                link("/2"),
                link("/3").with("ver", "1.1"),
                Link::to(Path::instance(3, 0)),
                Link::to(Path::instance(3442, 0)),
            ],
        );
        let flag = Attribute {
            name: "obs".into(),
            value: None,
        };
        check(
            "</3/0/9>;obs",
            &[Link {
                attributes: vec![flag],
                ..link("/3/0/9")
            }],
        );
        check("", &[]);
        check(r#"</1>;a="\\\"""#, &[link("/1").with_quoted("a", "\\\"")]);
    }

    #[test]
    fn a_link_tells_its_path_and_attributes() {
        let links = parse(br#"</3/0/9>;pmin=1;title="a,b;c", <coap://h/3> ;x = y , </d01/3>"#).unwrap();
        assert_eq!(links[0].path(), Some(Path::resource(3, 0, 9)));
        assert_eq!(links[0].attribute("pmin"), Some("1"));
        assert_eq!(links[0].attribute("title"), Some("a,b;c"));
        assert_eq!(links[0].attribute("pmax"), None);
        assert_eq!(links[1].attribute("x"), Some("y"));
        assert_eq!((links[1].path(), links[2].path()), (None, None));
    }

    #[test]
    fn what_is_no_link_is_refused() {
        for text in [
            "3/0",
            "</3/0",
            "</3/0>,",
            "</3/0>;",
            "</3/0>;=1",
            "</3/0>;a=",
            r#"</3>;a="b"#,
            "</3></4>",
            "</3> x",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse(&[b'<', 0xff, b'>']).is_err());
    }

    #[test]
    fn more_links_than_the_bound_are_refused() {
        let list = |n| vec!["</3>"; n].join(",");
        assert_eq!(parse(list(MAX_LINKS).as_bytes()).unwrap().len(), MAX_LINKS);
        assert!(parse(list(MAX_LINKS + 1).as_bytes()).is_err());
    }

    fn attribute() -> impl Strategy<Value = Attribute> {
        let token = "[!-~&&[^\",;<>]]{1,8}".prop_map(AttributeValue::Token);
        let value = prop_oneof![token, any::<String>().prop_map(AttributeValue::Quoted)];
        ("[a-z]{1,6}", proptest::option::of(value)).prop_map(|(name, value)| Attribute { name, value })
    }

    proptest! {
        #[test]
        fn every_list_reads_back(
            links in proptest::collection::vec(("[^<>]{0,12}", proptest::collection::vec(attribute(), 0..4)), 0..6),
        ) {
            let link = |(target, attributes)| Link { target, attributes };
            let links: Vec<Link> = links.into_iter().map(link).collect();
            prop_assert_eq!(parse(write(&links).as_bytes()).unwrap(), links);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, text in "[</>;,=\"\\\\a1 ]{0,40}") {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                let links = parse(bytes).unwrap_or_default();
                prop_assert!(links.len() <= bytes.len());
            }
        }
    }
}
