//! The OpenAPI document, made from the table of routes and the types themselves.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use super::routes::{self, Presence, Route};
use crate::backend::Failure;

/// What a body looks like.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    media: &'static str,
    schema: fn() -> Value,
    collect: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl Shape {
    pub(super) fn one<T: ToSchema>() -> Self {
        Self { media: "application/json", schema: reference::<T>, collect: collect::<T> }
    }

    pub(super) fn many<T: ToSchema>() -> Self {
        let schema = || json!({ "type": "array", "items": reference::<T>() });
        Self { media: "application/json", schema, collect: collect::<T> }
    }

    /// A stream of such messages, one after `data: ` each.
    pub(super) fn stream<T: ToSchema>() -> Self {
        Self { media: "text/event-stream", ..Self::one::<T>() }
    }

    pub(super) fn anything() -> Self {
        Self { media: "*/*", schema: || json!({}), collect: |_| {} }
    }

    fn content(self) -> Value {
        json!({ (self.media): { "schema": (self.schema)() } })
    }
}

fn reference<T: ToSchema>() -> Value {
    json!({ "$ref": format!("#/components/schemas/{}", T::name()) })
}

fn collect<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    schemas.push((T::name().into_owned(), <T as PartialSchema>::schema()));
    T::schemas(schemas);
}

/// The description of every route.
pub(super) fn document() -> Value {
    let mut schemas = Vec::new();
    collect::<Failure>(&mut schemas);
    let mut paths: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for route in routes::table() {
        for shape in route.request.iter().chain(&route.answer) {
            (shape.collect)(&mut schemas);
        }
        let item = paths.entry(route.path.replace("{*", "{")).or_default();
        for method in &route.methods {
            item.insert(method.as_str().to_ascii_lowercase(), operation(&route));
        }
    }
    let schemas: BTreeMap<_, _> = schemas.into_iter().collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Kith",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The local API of a Kith daemon. Loopback only; over TCP every request shows a bearer token.",
            "license": { "name": env!("CARGO_PKG_LICENSE") },
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        "security": [{ "token": [] }],
    })
}

fn operation(route: &Route) -> Value {
    let mut parameters: Vec<_> = names_in(route.path)
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    parameters.extend(route.query.iter().map(|(name, presence, description)| {
        json!({
            "name": name,
            "in": "query",
            "required": *presence == Presence::Required,
            "description": description,
            "schema": { "type": "string" },
        })
    }));
    let done = match route.answer {
        Some(shape) => ("200", json!({ "description": "Done", "content": shape.content() })),
        None => ("204", json!({ "description": "Done" })),
    };
    let failed = json!({ "description": "What failed, why, and what to do", "content": Shape::one::<Failure>().content() });
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters,
        "responses": { (done.0): done.1, "default": failed },
        // Answered on the Unix socket alone.
        "x-socket-only": route.socket_only,
    });
    if let Some(shape) = route.request {
        operation["requestBody"] = json!({ "content": shape.content() });
    }
    operation
}

fn names_in(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|part| Some(part.strip_prefix('{')?.strip_suffix('}')?.trim_start_matches('*')))
}
