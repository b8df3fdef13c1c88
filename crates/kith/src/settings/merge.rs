//! Merging layers through the `config` crate.
//!
//! The crate merges and deserialises; it is not asked to read or to judge. Its own file source ignores optional files that
//! can't be read, its environment source can't tell a list from a text, it turns `"yes"` into 1 for a port, and it merges
//! tables key by key. So layers arrive here read and checked, as sources that replace whole values.

use std::collections::HashMap;

use config::{Config, ConfigError, Source, Value, ValueKind};

use super::layer::Layer;

/// Merges layers, the strongest last, into typed settings.
pub(super) fn merge(layers: &[Layer]) -> Result<super::Settings, ConfigError> {
    let builder = layers.iter().fold(Config::builder(), |builder, layer| builder.add_source(layer.clone()));
    builder.build()?.try_deserialize()
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<HashMap<String, Value>, ConfigError> {
        let mut root = Value::new(None, ValueKind::Table(HashMap::new()));
        self.collect_to(&mut root)?;
        root.into_table()
    }

    fn collect_to(&self, cache: &mut Value) -> Result<(), ConfigError> {
        for (name, leaf) in &self.leaves {
            put(cache, name, convert(&leaf.value, &leaf.origin.to_string()));
        }
        Ok(())
    }
}

/// Puts a value at its full key name below `parent`, making the sections above it, and replacing what was there.
fn put(parent: &mut Value, name: &str, value: Value) {
    let (part, rest) = name.split_once('.').map_or((name, None), |(part, rest)| (part, Some(rest)));
    if !matches!(parent.kind, ValueKind::Table(_)) {
        parent.kind = ValueKind::Table(HashMap::new());
    }
    if let ValueKind::Table(table) = &mut parent.kind {
        let child = table.entry(part.to_owned()).or_default();
        match rest {
            Some(rest) => put(child, rest, value),
            None => *child = value,
        }
    }
}

fn convert(value: &toml::Value, origin: &String) -> Value {
    let kind = match value {
        toml::Value::String(text) => ValueKind::String(text.clone()),
        toml::Value::Integer(number) => ValueKind::I64(*number),
        toml::Value::Float(number) => ValueKind::Float(*number),
        toml::Value::Boolean(flag) => ValueKind::Boolean(*flag),
        toml::Value::Datetime(time) => ValueKind::String(time.to_string()),
        toml::Value::Array(list) => {
            ValueKind::Array(list.iter().map(|entry| convert(entry, origin)).collect())
        }
        toml::Value::Table(table) => ValueKind::Table(
            table.iter().map(|(name, entry)| (name.clone(), convert(entry, origin))).collect(),
        ),
    };
    Value::new(Some(origin), kind)
}
