//! Text as Go's `strconv.Quote` and `encoding/json` write it.
//!
//! A tree's id is the hash of its JSON, so a directory gets the same id from both programs only if the bytes agree.

use super::printable::is_printable;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends a JSON string with the content of `text`; invalid UTF-8 becomes U+FFFD, byte by byte.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        write_escaped(out, chunk.valid());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.push(b'"');
}

fn write_escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        // U+2028 and U+2029 are E2 80 A8 and E2 80 A9.
        let separator = byte == 0xe2 && bytes[at + 1] == 0x80 && matches!(bytes[at + 2], 0xa8 | 0xa9);
        if byte >= 0x20 && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&') && !separator {
            at += 1;
            continue;
        }
        out.extend_from_slice(&bytes[copied..at]);
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0xe2 => {
                out.extend_from_slice(b"\\u202");
                out.push(HEX[usize::from(bytes[at + 2] & 0xf)]);
                at += 2;
            }
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&hex(byte));
            }
        }
        at += 1;
        copied = at;
    }
    out.extend_from_slice(&bytes[copied..]);
}

fn hex(byte: u8) -> [u8; 2] {
    [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]
}

/// Appends a file name: quoted as by `strconv.Quote` (without the quotes), and that as a JSON string.
pub(crate) fn write_name(out: &mut Vec<u8>, name: &[u8]) {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\') || *byte == b' ';
    if name.iter().all(plain) {
        write_string(out, name);
    } else {
        write_string(out, &quote(name));
    }
}

/// `strconv.Quote` without the quotes around it.
fn quote(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 16);
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            quote_char(&mut out, c);
        }
        for &byte in chunk.invalid() {
            out.extend_from_slice(b"\\x");
            out.extend_from_slice(&hex(byte));
        }
    }
    out
}

fn quote_char(out: &mut Vec<u8>, c: char) {
    let short = match c {
        '"' | '\\' => Some(c as u8),
        '\x07' => Some(b'a'),
        '\x08' => Some(b'b'),
        '\x0c' => Some(b'f'),
        '\n' => Some(b'n'),
        '\r' => Some(b'r'),
        '\t' => Some(b't'),
        '\x0b' => Some(b'v'),
        _ => None,
    };
    if let Some(letter) = short {
        out.extend_from_slice(&[b'\\', letter]);
        return;
    }
    if is_printable(c) {
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        return;
    }
    let [a, b, high, low] = u32::from(c).to_be_bytes();
    match u32::from(c) {
        ..0x20 | 0x7f => {
            out.extend_from_slice(b"\\x");
            out.extend_from_slice(&hex(low));
        }
        ..0x1_0000 => {
            out.extend_from_slice(b"\\u");
            out.extend([hex(high), hex(low)].as_flattened());
        }
        _ => {
            out.extend_from_slice(b"\\U");
            out.extend([hex(a), hex(b), hex(high), hex(low)].as_flattened());
        }
    }
}

/// The inverse of [`quote`]: the name, or `None` if an escape sequence is invalid.
pub(crate) fn unquote(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            if byte == b'"' || byte == b'\n' {
                return None;
            }
            out.push(byte);
            continue;
        }
        let (&kind, after) = rest.split_first()?;
        rest = after;
        let simple = match kind {
            b'a' => Some(7),
            b'b' => Some(8),
            b't' => Some(9),
            b'n' => Some(10),
            b'v' => Some(11),
            b'f' => Some(12),
            b'r' => Some(13),
            b'\\' | b'"' => Some(kind),
            _ => None,
        };
        if let Some(byte) = simple {
            out.push(byte);
            continue;
        }
        let (digits, radix) = match kind {
            b'x' => (2, 16),
            b'u' => (4, 16),
            b'U' => (8, 16),
            b'0'..=b'7' => (3, 8),
            _ => return None,
        };
        if radix == 8 {
            // The digit that told the kind is the first of the three.
            rest = &bytes[bytes.len() - rest.len() - 1..];
        }
        let (number, after) = rest.split_at_checked(digits)?;
        rest = after;
        let value = number.iter().try_fold(0u32, |value, &digit| {
            Some(value.checked_mul(radix)? + char::from(digit).to_digit(radix)?)
        })?;
        if matches!(kind, b'u' | b'U') {
            out.extend_from_slice(char::from_u32(value)?.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            out.push(u8::try_from(value).ok()?);
        }
    }
    Some(out)
}
