//! How deep a TOML text nests, seen before it is parsed.
//!
//! The parser bounds brackets and dotted keys each, but not their product, and a tree some thousand levels deep cannot
//! even be dropped without overflowing the stack. This looks at characters only; what is no TOML is left to the parser.

/// Returns the offset at which brackets and dotted keys together nest more than `limit` levels deep.
pub(super) fn deeper_than(text: &str, limit: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut open: Vec<usize> = Vec::new();
    let mut depth = 0_usize;
    let mut dots = 0_usize;
    let mut at = 0_usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' | b'\'' => {
                at = after_string(bytes, at, *byte);
                continue;
            }
            b'#' => {
                at = find(bytes, at, b"\n").unwrap_or(bytes.len());
                continue;
            }
            b'{' | b'[' => {
                open.push(dots);
                depth += dots + 1;
                dots = 0;
            }
            b'}' | b']' => {
                dots = open.pop().unwrap_or(0);
                depth = depth.saturating_sub(dots + 1);
            }
            b'.' => dots += 1,
            b'\n' | b',' => dots = 0,
            _ => {}
        }
        if depth + dots > limit {
            return Some(at);
        }
        at += 1;
    }
    None
}

fn after_string(bytes: &[u8], start: usize, quote: u8) -> usize {
    let triple = [quote; 3];
    let rest = bytes.get(start..).unwrap_or(&[]);
    if rest.starts_with(&triple) {
        return after_quotes(bytes, start + 3, &triple, quote == b'"').unwrap_or(bytes.len());
    }
    let line_end = find(bytes, start, b"\n").unwrap_or(bytes.len());
    let line = bytes.get(..line_end).unwrap_or(bytes);
    after_quotes(line, start + 1, &[quote], quote == b'"').unwrap_or(line_end)
}

fn after_quotes(bytes: &[u8], mut at: usize, quotes: &[u8], escapes: bool) -> Option<usize> {
    loop {
        let rest = bytes.get(at..)?;
        if rest.is_empty() {
            return None;
        }
        if rest.starts_with(quotes) {
            return Some(at + quotes.len());
        }
        at += if escapes && rest.starts_with(b"\\") { 2 } else { 1 };
    }
}

fn find(bytes: &[u8], from: usize, needle: &[u8; 1]) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.iter()
        .position(|b| b == &needle[0])
        .map(|offset| from + offset)
}
