//! SOAP as UPnP uses it: requests written, responses read (UPnP Device Architecture 1.1, section 3).

use quick_xml::escape::escape;

use super::printable::printable;
pub use super::xml::Malformed;
use super::xml::{Step, walk};

/// Largest response, bytes. Real ones have less than 2 KiB.
pub(super) const LARGEST: usize = 64 * 1024;
/// Most arguments of a response that are kept. `GetSpecificPortMappingEntry` has 5, `GetGenericPortMappingEntry` 8.
const MOST_ARGUMENTS: usize = 32;
/// Longest description of an error that is kept, characters.
const LONGEST_WORDS: usize = 120;

/// What a device answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// It did what it was asked for.
    Done(Arguments),
    /// It did not.
    Fault {
        /// `errorCode`.
        code: u16,
        /// `errorDescription`, made printable; may be empty.
        words: String,
    },
}

/// What an action returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// The name of the element, as in `AddPortMappingResponse`.
    pub name: String,
    /// Names and values.
    pub values: Vec<(String, String)>,
}

impl Arguments {
    /// The value of that name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of that name as a number.
    #[must_use]
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.value(name)?.parse().ok()
    }

    /// The value of that name as a truth, in any of the spellings that UPnP allows.
    #[must_use]
    pub fn truth(&self, name: &str) -> Option<bool> {
        match self.value(name)?.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" => Some(true),
            "0" | "false" | "no" => Some(false),
            _ => None,
        }
    }

    /// The response written anew, with nothing in it but what was understood.
    pub(super) fn render(&self) -> String {
        let mut body = format!("<{}>", self.name);
        for (name, value) in &self.values {
            element(&mut body, name, &value.replace(char::is_control, " "));
        }
        enveloped(&format!("{body}</{}>", self.name))
    }
}

/// Reads a response.
///
/// # Errors
/// If it is no well-formed response within the bounds, or a fault without UPnP's number.
pub fn response(document: &[u8]) -> Result<Response, Malformed> {
    if document.len() > LARGEST {
        return Err(Malformed::Size);
    }
    let mut done = None::<Arguments>;
    let (mut fault, mut code, mut words) = (false, None, String::new());
    walk(document, |path, step| {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        match (names.as_slice(), step) {
            (["Envelope", "Body", "Fault"], Step::Open) => fault = true,
            (["Envelope", "Body", "Fault", .., "UPnPError", "errorCode"], Step::Close(Some(text))) => {
                code = text.parse().ok();
            }
            (["Envelope", "Body", "Fault", .., "UPnPError", "errorDescription"], Step::Close(Some(text))) => {
                words = printable(text, LONGEST_WORDS);
            }
            (["Envelope", "Body", name], Step::Open) if is_name(name) && done.is_none() => {
                done = Some(Arguments { name: (*name).to_owned(), values: Vec::new() });
            }
            (["Envelope", "Body", action, name], Step::Close(Some(text))) if is_name(name) => {
                let known =
                    done.as_mut().filter(|done| done.name == *action && done.values.len() < MOST_ARGUMENTS);
                if let Some(done) = known {
                    done.values.push(((*name).to_owned(), text.to_owned()));
                }
            }
            _ => {}
        }
    })?;
    if fault {
        return code.map(|code| Response::Fault { code, words }).ok_or(Malformed::Other);
    }
    done.map(Response::Done).ok_or(Malformed::Other)
}

/// A request for an action.
pub(super) fn request(service: &str, action: &str, arguments: &[(&str, &str)]) -> String {
    let mut body = format!("<u:{action} xmlns:u=\"{service}\">");
    for (name, value) in arguments {
        element(&mut body, name, value);
    }
    enveloped(&format!("{body}</u:{action}>"))
}

/// Names of elements that are letters and digits: those of UPnP.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn element(into: &mut String, name: &str, value: &str) {
    into.push_str(&format!("<{name}>{}</{name}>", escape(value)));
}

fn enveloped(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\r\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body>{body}</s:Body></s:Envelope>\r\n"
    )
}
