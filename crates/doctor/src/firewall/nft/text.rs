//! Rules in words close to those of `nft`.

use serde_json::{Map, Value};

/// Longest text of a part.
const LONGEST: usize = 300;
/// Most elements of a set that are shown.
const MOST_SHOWN: usize = 8;
/// Deepest that values are looked into.
const DEEPEST: usize = 8;

/// A rule.
pub(super) fn rule(written: &[Value]) -> String {
    let mut text = String::new();
    for expression in written {
        let Some((kind, body)) = expression.as_object().and_then(|object| object.iter().next()) else {
            continue;
        };
        let part = match kind.as_str() {
            "counter" | "comment" => continue,
            "match" => matching(body),
            "vmap" => format!("{} vmap {}", value(&body["key"], 0), value(&body["data"], 0)),
            "log" => "log".to_owned(),
            "limit" => format!("limit rate {}/{}", value(&body["rate"], 0), value(&body["per"], 0)),
            "reject" => match (body.get("type").and_then(Value::as_str), body.get("expr")) {
                (Some(kind), Some(with)) => format!("reject with {kind} {}", value(with, 0)),
                (Some(kind), None) => format!("reject with {kind}"),
                _ => "reject".to_owned(),
            },
            "jump" | "goto" => format!("{kind} {}", value(&body["target"], 0)),
            "xt" => body.get("name").and_then(Value::as_str).unwrap_or("xt").to_owned(),
            _ => kind.clone(),
        };
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&part);
        if text.len() > LONGEST {
            break;
        }
    }
    text
}

fn matching(body: &Value) -> String {
    let operator = match body["op"].as_str() {
        None | Some("==" | "in") => "",
        Some(operator) => operator,
    };
    let parts = [value(&body["left"], 0), operator.to_owned(), value(&body["right"], 0)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn value(of: &Value, depth: usize) -> String {
    if depth > DEEPEST {
        return "...".to_owned();
    }
    match of {
        Value::Null => String::new(),
        Value::Bool(found) => if *found { "exists" } else { "missing" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(all) => several(all, ",", depth),
        Value::Object(object) => fielded(object, depth),
    }
}

fn several(all: &[Value], between: &str, depth: usize) -> String {
    let shown = all.iter().take(MOST_SHOWN).map(|one| match one {
        Value::Array(pair) if pair.len() == 2 => {
            format!("{} : {}", value(&pair[0], depth + 1), value(&pair[1], depth + 1))
        }
        _ => value(one, depth + 1),
    });
    let mut shown: Vec<String> = shown.collect();
    if all.len() > MOST_SHOWN {
        shown.push("...".to_owned());
    }
    shown.join(between)
}

fn fielded(object: &Map<String, Value>, depth: usize) -> String {
    let Some((kind, body)) = object.iter().next() else { return String::new() };
    let word = |key: &str| value(body.get(key).unwrap_or(&Value::Null), depth + 1);
    match (kind.as_str(), body) {
        ("payload", _) => format!("{} {}", word("protocol"), word("field")),
        ("meta", _) => match word("key").as_str() {
            bare @ ("iif" | "iifname" | "oif" | "oifname" | "skuid" | "skgid" | "mark") => bare.to_owned(),
            key => format!("meta {key}"),
        },
        ("ct", _) => format!("ct {}", word("key")),
        ("fib", _) => {
            let flags = body
                .get("flags")
                .and_then(Value::as_array)
                .map_or_else(String::new, |flags| several(flags, " . ", depth));
            format!("fib {flags} {}", word("result"))
        }
        ("concat", Value::Array(all)) => several(all, " . ", depth),
        ("set", Value::Array(all)) => format!("{{ {} }}", several(all, ", ", depth)),
        ("range", Value::Array(ends)) => several(ends, "-", depth),
        ("prefix", _) => format!("{}/{}", word("addr"), word("len")),
        ("&" | "|", Value::Array(parts)) => several(parts, &format!(" {kind} "), depth),
        ("elem", _) => word("val"),
        ("jump" | "goto", _) => format!("{kind} {}", word("target")),
        _ => kind.clone(),
    }
}
