//! What is shown of a text, and what stands in place of the rest.
//!
//! Everything that is text is hidden unless it is known to be harmless: an **allowlist**. Harmless are the words of
//! Kith's own sentences (`words`), numbers, times, and the addresses that every computer has (127.0.0.1, 0.0.0.0, ::1, ::).
//! Whatever else stands there is replaced by a pseudonym that says of what kind it was: `friend-1`, `path-4`,
//! `address-6 (public IPv4)`. The same text has the same pseudonym within one report, and another one in the next.
//!
//! A text is looked at in this order: runs of words of a recovery phrase; strings that are known (names of friends and
//! sets, paths, this computer), the longest first; then what is left, by its form.
//!
//! No file, no clock: text in, text out.

mod address;
mod fields;
mod forms;
mod known;
mod pseudonym;
#[cfg(test)]
mod tests;
mod words;

use self::fields::Field;
use self::known::Known;
pub use self::pseudonym::Kind;
use self::pseudonym::Pseudonyms;

/// What is left of a longer line of the log.
pub const LONGEST_LINE: usize = 4096;
/// Shorter values of the log are not learned as names: they would turn up everywhere.
const SHORTEST_LEARNED: usize = 2;
/// Longer values of the log are not names.
const LONGEST_LEARNED: usize = 256;
/// Quoted text in quoted text is followed so deep.
const DEPTH: usize = 3;

/// Replaces what a report must not show. Remembers what it replaced, for one report.
#[derive(Debug, Default)]
pub struct Redactor {
    names: Pseudonyms,
    known: Known,
}

/// How a text goes on after a part of it.
enum Flow {
    /// With the next part.
    On,
    /// Not at all: a path began, and where it ends can't be known.
    Hidden,
}

impl Redactor {
    /// One that knows no names yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Learns a name, so that it is found inside of sentences too.
    pub fn know(&mut self, kind: Kind, text: &str) {
        if !text.trim().is_empty() && self.known.exact(text).is_none() {
            let pseudonym = self.names.of(kind, text);
            self.known.insert(text, &pseudonym);
        }
    }

    /// Learns a name for which a fixed word stands, as `this-computer`.
    pub fn know_as(&mut self, text: &str, pseudonym: &'static str) {
        if !text.trim().is_empty() && self.known.exact(text).is_none() {
            self.known.insert(text, pseudonym);
        }
    }

    /// Learns a device id, whole and by its first group.
    pub fn know_device(&mut self, id: &kith_identity::DeviceId) {
        let short = id.short();
        self.know(Kind::Device, &short);
        if let Some(pseudonym) = self.known.exact(&short).map(str::to_owned) {
            self.known.insert(&id.to_string(), &pseudonym);
        }
    }

    /// The pseudonym of something that is a name as a whole.
    pub fn name(&mut self, kind: Kind, text: &str) -> String {
        match self.known.exact(text) {
            Some(pseudonym) => pseudonym.to_owned(),
            None => self.names.of(kind, text),
        }
    }

    /// An address or `host:port`: the class of the address and the port stay.
    pub fn address(&mut self, text: &str) -> String {
        if let Some((length, found)) = address::at_start(text)
            && length == text.len()
        {
            return found.shown(&mut self.names);
        }
        match text.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => {
                format!("{}:{port}", self.name(Kind::Host, host))
            }
            _ => self.name(Kind::Host, text),
        }
    }

    /// A sentence: our own words stay.
    pub fn text(&mut self, text: &str) -> String {
        self.text_at(text, 0)
    }

    /// Learns the names that stand in the fields of a line of the log, to find them in its other lines.
    pub fn learn(&mut self, line: &str) {
        let Some((_, _, rest)) = fields::head(cut(line)) else { return };
        for part in fields::split(rest) {
            let Some((_, Field::Name(kind))) = part.field else { continue };
            let value = fields::unquoted(part.value);
            let length = value.chars().count();
            let is_name = (SHORTEST_LEARNED..=LONGEST_LEARNED).contains(&length)
                && !fields::is_own_value(&value)
                && !forms::is_number(&value)
                && address::at_start(&value).is_none()
                && !forms::is_device(&value);
            if is_name {
                self.know(kind, &value);
            }
        }
    }

    /// A line of the log as the report shows it.
    pub fn log_line(&mut self, line: &str) -> String {
        let Some((time, level, rest)) = fields::head(cut(line)) else {
            return format!("(a line that does not begin as those of Kith do, {} bytes: hidden)", line.len());
        };
        let mut out = format!("{time} {level:>5} ");
        for (at, part) in fields::split(rest).into_iter().enumerate() {
            if at > 0 {
                out.push(' ');
            }
            match part.field {
                None => out.push_str(&self.text(part.value)),
                Some((name, field)) => {
                    out.push_str(name);
                    out.push('=');
                    out.push_str(&self.value(field, part.value));
                }
            }
        }
        if line.len() > LONGEST_LINE {
            out.push_str(" (cut off)");
        }
        out
    }

    /// How many pseudonyms of each kind were given.
    pub fn given(&self) -> Vec<(Kind, usize)> {
        self.names.given()
    }

    fn value(&mut self, field: Field, value: &str) -> String {
        let unquoted = fields::unquoted(value);
        let Field::Name(kind) = field else {
            // A path is hidden to the end of its text: the closing quote must not be in it.
            return if value.starts_with('"') {
                format!("\"{}\"", self.text(&unquoted))
            } else {
                self.text(value)
            };
        };
        let value = unquoted;
        if value.is_empty() || fields::is_own_value(&value) || forms::is_number(&value) {
            return value.into_owned();
        }
        if let Some(known) = self.known.exact(&value) {
            return known.to_owned();
        }
        if forms::is_device(&value) {
            return self.device(&value);
        }
        match address::at_start(&value) {
            Some((length, found)) if length == value.len() => found.shown(&mut self.names),
            _ => self.names.of(kind, &value),
        }
    }

    fn device(&mut self, text: &str) -> String {
        // The whole id and its first group are one device.
        let short = text.get(..forms::DEVICE_GROUP).unwrap_or(text);
        self.name(Kind::Device, short)
    }

    fn text_at(&mut self, text: &str, depth: usize) -> String {
        if depth > DEPTH {
            return self.names.of(Kind::Text, text);
        }
        let mut out = String::with_capacity(text.len());
        let runs = forms::runs(text);
        let mut runs = runs.iter().peekable();
        let (mut at, mut raw, mut before) = (0, 0, None);
        while at < text.len() {
            let found = match runs.peek() {
                Some((range, kind)) if range.start == at => {
                    let pseudonym = self.names.of(*kind, &text[range.clone()]);
                    let length = range.len();
                    runs.next();
                    Some((length, pseudonym))
                }
                _ => self.known.at(before, &text[at..]).map(|(length, found)| (length, found.to_owned())),
            };
            if let Some((length, pseudonym)) = found {
                if let Flow::Hidden = self.scan(&text[raw..at], depth, &mut out) {
                    return ended(out, text);
                }
                out.push_str(&pseudonym);
                before = text[..at + length].chars().next_back();
                at += length;
                raw = at;
                // A run that begins inside of what a known name has covered.
                while runs.next_if(|(range, _)| range.start < at).is_some() {}
                continue;
            }
            before = text[at..].chars().next();
            at += before.map_or(1, char::len_utf8);
        }
        match self.scan(&text[raw..], depth, &mut out) {
            Flow::Hidden => ended(out, text),
            Flow::On => out,
        }
    }

    /// What is left when nothing in it is known.
    fn scan(&mut self, raw: &str, depth: usize, out: &mut String) -> Flow {
        let mut at = 0;
        while let Some(character) = raw[at..].chars().next() {
            let rest = &raw[at..];
            if character.is_whitespace() {
                out.push(' ');
                at += character.len_utf8();
            } else if let Some(escaped) =
                [("\\\"", '"'), ("\\n", ' '), ("\\'", '\'')].iter().find(|(from, _)| rest.starts_with(from))
            {
                out.push(escaped.1);
                at += escaped.0.len();
            } else if character == '"' {
                out.push('"');
                at += 1;
                if let Some(length) = fields::quoted_length(&raw[at..]) {
                    let inner = fields::unescaped(&raw[at..at + length]);
                    out.push_str(&self.text_at(&inner, depth + 1));
                    out.push('"');
                    at += length + 1;
                }
            } else {
                let end = rest.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(rest.len());
                // The backslash of an escaped quote belongs to the quote.
                let end = end - usize::from(rest[end..].starts_with('"') && rest[..end].ends_with('\\'));
                if let Flow::Hidden = self.chunk(&rest[..end], rest, out) {
                    return Flow::Hidden;
                }
                at += end;
            }
        }
        Flow::On
    }

    /// What stands between two spaces.
    fn chunk(&mut self, chunk: &str, rest: &str, out: &mut String) -> Flow {
        if let Some(start) = forms::url_start(chunk) {
            self.atoms(&chunk[..start], out);
            let url = chunk[start..].trim_end_matches(forms::PUNCTUATION);
            // A file's URL is a path; and a space may stand in it.
            if url.starts_with("file:") {
                out.push_str(&self.names.of(Kind::Path, forms::without_reason(&rest[start..])));
                return Flow::Hidden;
            }
            out.push_str(&self.names.of(Kind::Url, url));
            out.push_str(&chunk[start + url.len()..]);
        } else if let Some(start) = forms::path_start(chunk) {
            self.atoms(&chunk[..start], out);
            out.push_str(&self.names.of(Kind::Path, forms::without_reason(&rest[start..])));
            return Flow::Hidden;
        } else if chunk.contains('@') {
            let mail = chunk.trim_matches(forms::PUNCTUATION);
            let start = chunk.find(mail).unwrap_or(0);
            out.push_str(&chunk[..start]);
            out.push_str(&self.names.of(Kind::Mail, mail));
            out.push_str(&chunk[start + mail.len()..]);
        } else {
            self.atoms(chunk, out);
        }
        Flow::On
    }

    /// Splits at punctuation, which stays.
    fn atoms(&mut self, chunk: &str, out: &mut String) {
        let core = chunk.trim_matches(forms::PUNCTUATION);
        if forms::is_time(core) || forms::is_harmless_slashed(core) {
            out.push_str(chunk);
            return;
        }
        let mut at = 0;
        while let Some(character) = chunk[at..].chars().next() {
            let rest = &chunk[at..];
            if let Some((length, found)) = address::at_start(rest) {
                out.push_str(&found.shown(&mut self.names));
                at += length;
            } else if forms::PUNCTUATION.contains(&character) {
                out.push(character);
                at += 1;
            } else {
                let end = rest
                    .find(|c| forms::PUNCTUATION.contains(&c) && !forms::JOINERS.contains(&c))
                    .unwrap_or(rest.len());
                let atom = rest[..end].trim_end_matches(forms::JOINERS);
                out.push_str(&self.atom(atom));
                at += atom.len();
            }
        }
    }

    fn atom(&mut self, atom: &str) -> String {
        if forms::is_number(atom) || forms::is_own_name(atom) || words::are_ours(atom) {
            return atom.to_owned();
        }
        if forms::is_device(atom) {
            return self.device(atom);
        }
        let kind = forms::kind(atom);
        self.name(kind, atom)
    }
}

/// A path hides the rest of its text; a reason of the system at the end can be told from it.
fn ended(mut out: String, text: &str) -> String {
    if let Some(reason) = forms::reason(text) {
        out.push_str(": ");
        out.push_str(reason);
    }
    out
}

/// The beginning of a line, at most [`LONGEST_LINE`] bytes.
fn cut(line: &str) -> &str {
    let mut end = line.len().min(LONGEST_LINE);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}
