//! Host and port out of the URIs of servers and brokers.

/// Splits what follows the scheme of a URI into a host, an IPv6 address without its brackets, and a port.
///
/// # Errors
/// What is wrong with it, in words that go on after "uri ...".
pub(super) fn host_and_port(rest: &str, usual_port: u16) -> Result<(String, u16), &'static str> {
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = split_port(rest, usual_port).ok_or("has a bad port")?;
    let in_brackets = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let bare = in_brackets.unwrap_or(host);
    let odd = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '@' | '[' | ']');
    // The colons of an IPv6 address stand in brackets.
    let is_bare_ipv6 = in_brackets.is_none() && host.contains(':');
    if bare.is_empty() || bare.contains(odd) || is_bare_ipv6 {
        return Err("names no host, or more than one");
    }
    Ok((bare.to_owned(), port))
}

fn split_port(text: &str, usual_port: u16) -> Option<(&str, u16)> {
    let after_address = text.rfind(']').map_or(0, |end| end + 1);
    let tail = text.get(after_address..)?;
    match tail.rfind(':') {
        None => Some((text, usual_port)),
        Some(colon) => {
            let port = tail.get(colon + 1..)?.parse().ok().filter(|port| *port != 0)?;
            Some((text.get(..after_address + colon)?, port))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(rest: &str) -> Option<(String, u16)> {
        host_and_port(rest, 1883).ok()
    }

    #[test]
    fn a_host_is_given_with_or_without_a_port() {
        let found = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(split("localhost"), found("localhost", 1883));
        assert_eq!(split("10.0.0.5:1884/"), found("10.0.0.5", 1884));
        assert_eq!(split("[::1]"), found("::1", 1883));
        assert_eq!(split("[::1]:2000"), found("::1", 2000));
    }

    #[test]
    fn what_is_no_host_with_a_port_is_refused() {
        for wrong in ["", ":1883", "x:y", "x:0", "x:70000", "::1", "x/y", "a b"] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }
}
