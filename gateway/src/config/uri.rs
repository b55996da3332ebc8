//! Host and port out of the URIs of servers and brokers.

/// Splits what follows the scheme of a URI into a host, an IPv6 address without its brackets, and a port.
///
/// # Errors
/// What is wrong with it, in words that go on after "uri ...".
pub(super) fn host_and_port(rest: &str, usual_port: u16) -> Result<(String, u16), &'static str> {
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = split_port(rest, usual_port).ok_or("has a bad port")?;
    let bare = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    let odd = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '@' | '[' | ']');
    if bare.is_empty() || bare.contains(odd) {
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
