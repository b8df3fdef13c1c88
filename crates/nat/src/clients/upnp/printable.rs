//! What routers say, made harmless.

/// The text on one line, without anything that a terminal or a page would obey, cut after `most` characters.
pub(super) fn printable(text: &str, most: usize) -> String {
    let mut clean = String::new();
    let mut length = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        let mut visible = word.chars().filter(|c| !is_trick(*c)).peekable();
        if visible.peek().is_none() {
            continue;
        }
        if length > 0 && length < most {
            clean.push(' ');
            length += 1;
        }
        for c in visible.take(most - length) {
            clean.push(c);
            length += 1;
        }
        if length >= most {
            break;
        }
    }
    clean.truncate(clean.trim_end().len());
    clean
}

/// Characters that are not seen, or that change how others are seen: directions, joiners, tags, private and unassigned ones.
const fn is_trick(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffd}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{10ffff}')
}
