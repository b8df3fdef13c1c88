//! What a request asks for. Pure, and strict: what is not exactly a path of the protocol goes nowhere.

use http::{Method, Uri};

use crate::names::{ArchiveName, NameError, Object, ObjectName, ObjectType};
use crate::refusal::{Code, Refusal};

/// A request of the REST protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) archive: ArchiveName,
    pub(crate) action: Action,
}

/// What is to be done in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Make the archive's directory.
    Create,
    /// Bring back what was deleted after a time.
    Undelete,
    /// Name all objects of a type.
    List(ObjectType),
    /// Tell an object's size.
    Head(Object),
    /// Send an object.
    Get(Object),
    /// Store an object.
    Store(Object),
    /// Delete an object.
    Delete(Object),
}

impl Action {
    /// Leaves the disk as it is.
    pub(crate) fn reads_only(&self) -> bool {
        matches!(self, Self::List(_) | Self::Head(_) | Self::Get(_))
    }
}

/// Reads method and path. Nothing is percent-decoded: no valid name needs it.
pub(crate) fn parse(method: &Method, uri: &Uri) -> Result<Route, Refusal> {
    let path = uri.path().strip_prefix('/').ok_or_else(|| not_found(uri))?;
    let (archive, rest) = path.split_once('/').ok_or_else(|| not_found(uri))?;
    let archive = ArchiveName::parse(archive).map_err(bad_name)?;
    let action = match rest.split_once('/') {
        None if rest.is_empty() => root(method, uri)?,
        None if rest == "config" => object(method, Object::Config)?,
        None => return Err(not_found(uri)),
        Some((kind, name)) => {
            let kind = ObjectType::parse(kind).ok_or_else(|| not_found(uri))?;
            if name.is_empty() {
                listing(method, kind)?
            } else {
                object(method, Object::Named(kind, ObjectName::parse(name).map_err(bad_name)?))?
            }
        }
    };
    Ok(Route { archive, action })
}

fn root(method: &Method, uri: &Uri) -> Result<Action, Refusal> {
    let asks = |wanted: &[&str]| {
        uri.query().is_some_and(|query| query.split('&').any(|pair| wanted.contains(&pair)))
    };
    match *method {
        Method::POST if asks(&["create=true"]) => Ok(Action::Create),
        Method::POST if asks(&["undelete", "undelete=true"]) => Ok(Action::Undelete),
        Method::POST => Err(Refusal::new(
            Code::BadRequest,
            "an archive is created with the query create=true, and its deletions undone with undelete",
        )),
        Method::DELETE => Err(Refusal::new(
            Code::NotAllowed,
            "an archive is not deleted as a whole: delete its snapshots and prune, or ask the person who keeps it",
        )),
        _ => Err(Refusal::method("POST")),
    }
}

fn listing(method: &Method, kind: ObjectType) -> Result<Action, Refusal> {
    match *method {
        Method::GET => Ok(Action::List(kind)),
        _ => Err(Refusal::method("GET")),
    }
}

fn object(method: &Method, object: Object) -> Result<Action, Refusal> {
    let writes = method == Method::POST || method == Method::DELETE;
    if writes && matches!(object, Object::Named(ObjectType::Keys, _)) {
        return Err(Refusal::new(
            Code::KeysRefused,
            "keys are not kept here: whoever holds a key file can try passwords against it; keep it with you",
        ));
    }
    match *method {
        Method::HEAD => Ok(Action::Head(object)),
        Method::GET => Ok(Action::Get(object)),
        Method::POST => Ok(Action::Store(object)),
        Method::DELETE if object == Object::Config => {
            Err(Refusal::new(Code::WriteOnce, "the config of an archive is written once and never deleted"))
        }
        Method::DELETE => Ok(Action::Delete(object)),
        _ => Err(Refusal::method("HEAD, GET, POST, DELETE")),
    }
}

fn bad_name(error: NameError) -> Refusal {
    Refusal::new(Code::BadName, error.to_string())
}

fn not_found(uri: &Uri) -> Refusal {
    let path: String = uri.path().chars().take(100).collect();
    Refusal::new(Code::NotFound, format!("nothing of restic's REST protocol has the path {path}"))
}
