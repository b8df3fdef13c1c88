//! Names of people and computers come from outside, and may be made to deceive.

/// The most characters a name keeps.
pub const MAX_NAME_CHARACTERS: usize = 64;

/// What a name becomes of which nothing is left.
const UNNAMED: &str = "unnamed";

/// A name that can be shown in a terminal, a log line and a page: one line, no control characters, nothing invisible,
/// nothing that turns the writing direction, at most [`MAX_NAME_CHARACTERS`] characters, never empty.
///
/// It is still not HTML: whoever builds a page escapes it.
#[must_use]
pub fn sanitise_name(name: &str) -> String {
    let mut clean = String::new();
    let mut length = 0;
    let mut gap = false;
    for c in name.chars() {
        if c.is_whitespace() {
            gap = length > 0;
            continue;
        }
        if c.is_control() || is_invisible(c) {
            continue;
        }
        // The gap needs room for itself and for the character that ends it.
        let needed = if gap { 2 } else { 1 };
        if length + needed > MAX_NAME_CHARACTERS {
            break;
        }
        if gap {
            clean.push(' ');
            gap = false;
        }
        clean.push(c);
        length += needed;
    }
    if clean.is_empty() { UNNAMED.to_owned() } else { clean }
}

/// Marks, joiners, fillers, tags and bidirectional controls: what makes two different names look the same, or a
/// name look like something else.
fn is_invisible(c: char) -> bool {
    matches!(u32::from(c),
        0x00AD | 0x034F | 0x061C | 0x115F | 0x1160 | 0x17B4 | 0x17B5
        | 0x180B..=0x180F
        | 0x200B..=0x200F
        | 0x202A..=0x202E
        | 0x2060..=0x206F
        | 0x2800 | 0x3164 | 0xFEFF | 0xFFA0
        | 0xFE00..=0xFE0F
        | 0xFFF0..=0xFFFB
        | 0x1BCA0..=0x1BCA3
        | 0x1D173..=0x1D17A
        | 0xE0000..=0xE0FFF
        | 0xE000..=0xF8FF
        | 0xF0000..=0x0010_FFFF)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(name: &str, expected: &str) {
        assert_eq!(sanitise_name(name), expected);
    }

    #[test]
    fn honest_names_stay_as_they_are() {
        for name in ["study", "Anna's laptop", "Büro", "仕事場", "<b>bold</b>"] {
            check(name, name);
        }
    }

    #[test]
    fn what_deceives_or_breaks_lines_is_removed() {
        check("  two\r\nlines\t here ", "two lines here");
        check("\u{1b}[31mred\u{7}", "[31mred");
        check("invoice\u{202e}fdp.exe", "invoicefdp.exe");
        check("a\u{200b}n\u{2066}n\u{feff}a\u{e0041}", "anna");
        check("line\u{2028}end\u{85}x", "line end x");
    }

    #[test]
    fn a_name_is_never_empty_and_never_long() {
        check("", "unnamed");
        check("\u{200f} \n", "unnamed");
        check(&"x".repeat(1000), &"x".repeat(64));
        check(&"x ".repeat(1000), "x ".repeat(32).trim_end());
    }

    proptest! {
        #[test]
        fn cleaning_twice_changes_nothing_more(name in any::<String>()) {
            let once = sanitise_name(&name);
            prop_assert!(once.chars().count() <= MAX_NAME_CHARACTERS);
            prop_assert!(!once.chars().any(char::is_control));
            prop_assert_eq!(sanitise_name(&once), once);
        }
    }
}
