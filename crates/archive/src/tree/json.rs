//! Reading the JSON of trees. Unknown fields are passed over; fields that are not there are zero or empty.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use data_encoding::BASE64;
use serde::Deserialize;

use super::{ExtendedAttribute, FileTime, Node, NodeKind, TreeError, go_json};
use crate::id::BlobId;

#[derive(Deserialize)]
pub(super) struct TreeJson<'a> {
    #[serde(borrow)]
    pub(super) nodes: Option<Vec<NodeJson<'a>>>,
}

#[derive(Deserialize)]
pub(super) struct NodeJson<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(rename = "type", default, borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    mode: u32,
    #[serde(default)]
    mtime: FileTime,
    #[serde(default)]
    atime: FileTime,
    #[serde(default)]
    ctime: FileTime,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    #[serde(default)]
    user: String,
    #[serde(default)]
    group: String,
    #[serde(default)]
    inode: u64,
    #[serde(default)]
    device_id: u64,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    links: u64,
    #[serde(default)]
    linktarget: String,
    linktarget_raw: Option<String>,
    extended_attributes: Option<Vec<AttributeJson>>,
    #[serde(default)]
    device: u64,
    content: Option<Vec<BlobId>>,
    subtree: Option<BlobId>,
}

#[derive(Deserialize)]
struct AttributeJson {
    name: String,
    value: Option<String>,
}

impl TryFrom<NodeJson<'_>> for Node {
    type Error = TreeError;

    fn try_from(json: NodeJson<'_>) -> Result<Self, TreeError> {
        let decode = |text: &str| {
            BASE64.decode(text.as_bytes()).map_err(|error| TreeError(format!("invalid base64: {error}")))
        };
        let name = go_json::unquote(&json.name)
            .ok_or_else(|| TreeError(format!("invalid escape sequence in the name {:?}", json.name)))?;
        let link_target = match &json.linktarget_raw {
            Some(raw) => OsString::from_vec(decode(raw)?),
            None => json.linktarget.into(),
        };
        let mut extended_attributes = Vec::new();
        for attribute in json.extended_attributes.unwrap_or_default() {
            let value = decode(attribute.value.as_deref().unwrap_or_default())?;
            extended_attributes.push(ExtendedAttribute { name: attribute.name.into(), value });
        }
        Ok(Self {
            name: OsString::from_vec(name),
            kind: NodeKind::parse(&json.kind),
            mode: json.mode,
            modified: json.mtime,
            accessed: json.atime,
            changed: json.ctime,
            uid: json.uid,
            gid: json.gid,
            user: json.user,
            group: json.group,
            inode: json.inode,
            device_id: json.device_id,
            size: json.size,
            links: json.links,
            link_target,
            extended_attributes,
            device: json.device,
            content: json.content,
            subtree: json.subtree,
        })
    }
}
