//! A walk over an XML document from the network: one pass, no tree, every size bounded, no entities but the five of XML itself.

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, Event};

/// Deepest nesting of elements. Descriptions of real gateways need 12.
const DEEPEST: usize = 32;
/// Longest text of an element that is kept, bytes; the rest is cut off.
pub(super) const LONGEST_TEXT: usize = 2048;
/// Longest name of an element, bytes.
const LONGEST_NAME: usize = 128;

/// Why a document from a device was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not well-formed.
    #[error("the XML is not well-formed")]
    Syntax,
    /// It has a document type declaration, which may define entities.
    #[error("the XML declares a document type")]
    Doctype,
    /// An entity other than the five that XML defines.
    #[error("the XML uses an entity that XML does not define")]
    Entity,
    /// Nested too deeply.
    #[error("the XML is nested too deeply")]
    Depth,
    /// Larger than such documents are.
    #[error("the document is too large")]
    Size,
    /// Well-formed, but another kind of document.
    #[error("the XML is not what was asked for")]
    Other,
}

/// A step of the walk.
pub(super) enum Step<'a> {
    /// An element begins; its name is the last of the path.
    Open,
    /// It ends. The text is what stood in it, trimmed, if it held no other elements.
    Close(Option<&'a str>),
}

/// Walks to the end of the root element. `visit` gets the names (without prefixes) from the root to where the walk is.
pub(super) fn walk(document: &[u8], mut visit: impl FnMut(&[String], Step<'_>)) -> Result<(), Malformed> {
    let mut reader = Reader::from_reader(document);
    // "AT&T" is common in names of models.
    reader.config_mut().allow_dangling_amp = true;
    let mut path: Vec<String> = Vec::new();
    let mut text = String::new();
    let mut leaf = false;
    loop {
        match reader.read_event().map_err(|_| Malformed::Syntax)? {
            Event::Start(start) => {
                open(&mut path, start.local_name().into_inner())?;
                visit(&path, Step::Open);
                text.clear();
                leaf = true;
            }
            Event::Empty(start) => {
                open(&mut path, start.local_name().into_inner())?;
                visit(&path, Step::Open);
                visit(&path, Step::Close(Some("")));
                path.pop();
                leaf = false;
                if path.is_empty() {
                    return Ok(());
                }
            }
            Event::End(_) => {
                visit(&path, Step::Close(leaf.then_some(text.trim())));
                path.pop();
                leaf = false;
                if path.is_empty() {
                    return Ok(());
                }
            }
            // Letters that are not UTF-8 spoil only themselves: some routers write their names in other encodings.
            Event::Text(part) if leaf => append(&mut text, &String::from_utf8_lossy(&part)),
            Event::CData(part) if leaf => append(&mut text, &String::from_utf8_lossy(&part)),
            Event::GeneralRef(reference) => {
                let mut buffer = [0; 4];
                let meant = meaning(&reference, &mut buffer)?;
                if leaf {
                    append(&mut text, meant);
                }
            }
            Event::DocType(_) => return Err(Malformed::Doctype),
            Event::Text(_) | Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => return Err(Malformed::Syntax),
        }
    }
}

fn open(path: &mut Vec<String>, name: &[u8]) -> Result<(), Malformed> {
    if path.len() >= DEEPEST {
        return Err(Malformed::Depth);
    }
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Err(Malformed::Syntax);
    }
    path.push(String::from_utf8_lossy(name).into_owned());
    Ok(())
}

fn meaning<'a>(reference: &BytesRef<'_>, buffer: &'a mut [u8; 4]) -> Result<&'a str, Malformed> {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => Ok(character.encode_utf8(buffer)),
        Ok(None) => {
            let name = reference.decode().map_err(|_| Malformed::Entity)?;
            resolve_xml_entity(&name).ok_or(Malformed::Entity)
        }
        Err(_) => Err(Malformed::Entity),
    }
}

fn append(text: &mut String, part: &str) {
    let room = LONGEST_TEXT - text.len().min(LONGEST_TEXT);
    text.push_str(&part[..part.floor_char_boundary(room)]);
}
