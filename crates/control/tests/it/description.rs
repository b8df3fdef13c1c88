//! The OpenAPI document against the routes that are really there, and against real answers.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::{Ask, start};

async fn document(running: &crate::harness::Running) -> Value {
    let answer = Ask::get(running.api(), "/v1/openapi.json").token(&running.token()).send().await;
    assert_eq!(answer.status, 200);
    answer.json()
}

fn operations(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect()
}

#[tokio::test]
async fn the_document_lists_exactly_the_contract() {
    let running = start().await;
    let wanted: BTreeSet<String> = "
        GET /v1/status
        GET /v1/friends
        POST /v1/invites
        POST /v1/joins
        PATCH /v1/friends/{friend}
        DELETE /v1/friends/{friend}
        GET /v1/near
        POST /v1/near
        DELETE /v1/near
        POST /v1/near/meetings
        POST /v1/near/meetings/{id}/confirm
        POST /v1/near/meetings/{id}/refuse
        GET /v1/sets
        POST /v1/sets
        DELETE /v1/sets/{name}
        POST /v1/backups
        POST /v1/checks
        GET /v1/jobs
        GET /v1/jobs/{id}
        DELETE /v1/jobs/{id}
        GET /v1/snapshots
        GET /v1/snapshots/{id}/entries
        GET /v1/find
        GET /v1/settings
        PUT /v1/settings/{key}
        POST /v1/pause
        POST /v1/resume
        POST /v1/ra
        POST /v1/restart
        GET /v1/ports
        GET /v1/firewall
        GET /v1/events
        GET /v1/openapi.json
        GET /v1/friends/{friend}/archive
        GET /v1/friends/{friend}/store/{path}
        HEAD /v1/friends/{friend}/store/{path}
        POST /v1/friends/{friend}/store/{path}
        DELETE /v1/friends/{friend}/store/{path}
        POST /v1/friends/{friend}/undelete
        POST /v1/scrub
        POST /v1/doctor
        POST /v1/report-codes
        POST /v1/recover
        POST /v1/app-codes"
        .lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(operations(&document(&running).await), wanted);
    running.stop().await;
}

#[tokio::test]
async fn every_operation_of_the_document_is_routed_and_says_truly_where() {
    let running = start().await;
    let document = document(&running).await;
    for operation in operations(&document) {
        let (method, path) = operation.split_once(' ').unwrap();
        if path == "/v1/events" {
            continue;
        }
        let target = path.replace("{id}", "41").replace(['{', '}'], "");
        let answer = Ask::new(method, running.api(), &target).token(&running.token()).json("{}").send().await;
        let socket_only = document["paths"][path][method.to_lowercase()]["x-socket-only"] == true;
        assert_eq!(answer.status == 403, socket_only, "{operation}: {answer:?}");
        assert_ne!(answer.status, 405, "{operation}");
        let unrouted = answer.status == 404 && answer.body.contains("no such route");
        assert!(!unrouted, "{operation}");
    }
    running.stop().await;
}

#[tokio::test]
async fn every_reference_of_the_document_leads_somewhere() {
    let running = start().await;
    let document = document(&running).await;
    let mut found = 0;
    let mut open = vec![&document];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(reference)) = map.get("$ref") {
                    found += 1;
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                open.extend(map.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    assert!(found > 40, "{found}");
    running.stop().await;
}

#[tokio::test]
async fn answers_look_as_the_document_says() {
    let running = start().await;
    let document = document(&running).await;
    for target in
        ["/v1/status", "/v1/friends", "/v1/sets", "/v1/jobs", "/v1/settings", "/v1/ports", "/v1/snapshots"]
    {
        let answer = Ask::get(running.api(), target).token(&running.token()).send().await.json();
        let schema =
            &document["paths"][target]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        if let Err(why) = conforms(&answer, schema, &document) {
            panic!("{target}: {why}");
        }
    }
    running.stop().await;
}

/// As much of JSON Schema as the document uses. Stricter in one thing: no undescribed fields, and none missing.
fn conforms(value: &Value, schema: &Value, document: &Value) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return conforms(value, document.pointer(&reference[1..]).unwrap(), document);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = choices.iter().any(|choice| conforms(value, choice, document).is_ok());
        return if fits { Ok(()) } else { Err(format!("{value} is none of {choices:?}")) };
    }
    let actual = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let allowed = &schema["type"];
    if !(allowed == actual || allowed.as_array().is_some_and(|types| types.iter().any(|one| one == actual))) {
        return Err(format!("{value} is not {allowed}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return Err(format!("{value} is not among {words:?}"));
    }
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| conforms(item, &schema["items"], document)),
        Value::Object(fields) => {
            let described = schema["properties"].as_object().ok_or("no properties")?;
            let (have, want): (BTreeSet<_>, BTreeSet<_>) =
                (fields.keys().collect(), described.keys().collect());
            if have != want {
                return Err(format!("has {have:?}, described {want:?}"));
            }
            fields.iter().try_for_each(|(name, field)| {
                conforms(field, &described[name], document).map_err(|why| format!("{name}: {why}"))
            })
        }
        _ => Ok(()),
    }
}

/// Names under which programs are started elsewhere: hooks, filters, "run before".
const COMMANDS: [&str; 16] = [
    "command",
    "cmd",
    "exec",
    "execute",
    "run",
    "script",
    "shell",
    "program",
    "args",
    "argv",
    "hook",
    "binary",
    "executable",
    "environment",
    "env",
    "before",
];

#[tokio::test]
async fn no_operation_takes_a_command_line() {
    let running = start().await;
    let document = document(&running).await;
    let mut fields = BTreeSet::new();
    for operation in
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values())
    {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            fields.insert(parameter["name"].as_str().unwrap().to_owned());
        }
        fields_of(&operation["requestBody"], &document, &mut fields);
    }
    assert!(fields.contains("invite") && fields.contains("paths") && fields.contains("friend"), "{fields:?}");
    for field in &fields {
        let parts: Vec<&str> = field.split(['_', '-']).collect();
        assert!(!COMMANDS.iter().any(|command| parts.contains(command)), "{field} may be a command");
    }
    running.stop().await;
}

/// The names of all properties in a schema, references followed.
fn fields_of(schema: &Value, document: &Value, fields: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                fields.extend(properties.keys().cloned());
            }
            if let Some(pointer) = object.get("$ref").and_then(Value::as_str) {
                fields_of(document.pointer(pointer.trim_start_matches('#')).unwrap(), document, fields);
            }
            object.values().for_each(|value| fields_of(value, document, fields));
        }
        Value::Array(list) => list.iter().for_each(|value| fields_of(value, document, fields)),
        _ => {}
    }
}
