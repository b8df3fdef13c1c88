//! Names from files, friends and hubs, made harmless.
//!
//! A file may be called `\x1b[2J`, a friend may put a right-to-left override into a name so that `gpj.exe` reads as
//! `exe.jpg`, a newline forges a second line in a log. What comes out of [`safe`] is one line of plain text that shows in
//! the order in which it is stored.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Shows what would act on a terminal, a log or the reading order as an escape: control characters (ANSI sequences start
/// with one), line separators, bidirectional overrides and isolates, and characters that show as nothing.
#[must_use]
pub fn safe(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find(is_harmful) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(&text[..first]);
    for character in text[first..].chars() {
        match character {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if is_harmful(character) => {
                // Writing into a String cannot fail.
                _ = write!(out, "\\u{{{:x}}}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    Cow::Owned(out)
}

/// Joiners (U+200C, U+200D) stay: several scripts and most composed emoji need them.
fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{061c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::safe;
    use std::borrow::Cow;

    #[test]
    fn ordinary_names_of_all_scripts_pass_unchanged() {
        for name in ["report.pdf", "Föhn über Zürich", "写真", "صورة", "👩‍👩‍👧", "a b", ""]
        {
            assert!(matches!(safe(name), Cow::Borrowed(same) if same == name), "{name}");
        }
    }

    #[test]
    fn escape_sequences_and_line_breaks_are_shown_and_not_obeyed() {
        assert_eq!(safe("a\x1b[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(safe("one\ntwo\r\tthree\x7f"), "one\\ntwo\\r\\tthree\\u{7f}");
        assert_eq!(safe("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(safe("line\u{2028}line"), "line\\u{2028}line");
    }

    #[test]
    fn overrides_of_the_reading_order_are_shown() {
        assert_eq!(safe("invoice\u{202e}gpj.exe"), "invoice\\u{202e}gpj.exe");
        assert_eq!(safe("\u{2066}x\u{2069}\u{200f}\u{61c}"), "\\u{2066}x\\u{2069}\\u{200f}\\u{61c}");
    }

    #[test]
    fn nothing_harmful_is_left_of_any_character() {
        for character in ('\0'..=char::MAX).filter(|c| super::is_harmful(*c)) {
            assert!(!safe(&character.to_string()).contains(super::is_harmful));
        }
    }
}
