//! `kith settings`.

use kith_control::view::SettingView;
use serde::Serialize;

use super::Place;
use super::args::{Json, SettingsCommand};
use super::error::{CliError, CliResult};
use super::output::{json, line, note, table};
use crate::settings::{Entry, SettingsSources, edit};

/// A setting, for programs.
#[derive(Serialize)]
struct View {
    key: &'static str,
    value: String,
    default: &'static str,
    origin: String,
    locked: bool,
    description: &'static str,
}

impl From<Entry> for View {
    fn from(entry: Entry) -> Self {
        Self {
            key: entry.key,
            value: entry.value,
            default: entry.default,
            origin: entry.origin.to_string(),
            locked: entry.locked,
            description: entry.help,
        }
    }
}

pub(super) async fn run(place: &Place, command: SettingsCommand) -> CliResult {
    match command {
        SettingsCommand::Get { key, json } => get(place, key, json),
        SettingsCommand::Set { key, value } => set(place, &key, &value).await,
    }
}

fn get(place: &Place, key: Option<String>, Json { json: as_json }: Json) -> CliResult {
    let loaded = SettingsSources::of_process(&place.home()?)?.load()?;
    match key {
        Some(key) => {
            let entry = loaded.get(&key)?;
            if as_json {
                return json(&View::from(entry));
            }
            line(plain(&entry.value));
        }
        None => {
            let entries = loaded.list();
            if as_json {
                return json(&entries.into_iter().map(View::from).collect::<Vec<_>>());
            }
            let head = ["KEY", "VALUE", "FROM"].map(str::to_owned).to_vec();
            let rows = entries.into_iter().map(|entry| {
                let locked = if entry.locked { " (locked)" } else { "" };
                vec![entry.key.to_owned(), entry.value, format!("{}{locked}", entry.origin)]
            });
            table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
        }
    }
    Ok(())
}

/// A text without the quotes that TOML needs; everything else as TOML writes it.
fn plain(value: &str) -> String {
    match toml::from_str::<toml::Table>(&format!("value = {value}")).ok().and_then(|mut t| t.remove("value"))
    {
        Some(toml::Value::String(text)) => text,
        _ => value.to_owned(),
    }
}

/// Through the daemon when one runs, so that the change is in force at once.
async fn set(place: &Place, key: &str, value: &str) -> CliResult {
    match place.client().await {
        Ok(client) => {
            let SettingView { key, value, origin, .. } = client.change_setting(key, value).await?;
            line(format!("{key} = {value}"));
            warn_if_hidden(place, &origin);
            Ok(())
        }
        Err(error) if error.code == super::Code::NotRunning => {
            let home = place.home()?;
            home.prepare()?;
            let sources = SettingsSources::of_process(&home)?;
            let edited = edit::set(&sources, key, value)?;
            line(format!("{} = {}", edited.entry.key, edited.entry.value));
            if !edited.effective {
                warn_if_hidden(place, &edited.entry.origin.to_string());
            }
            Ok(())
        }
        Err(CliError { code, message, hint }) => Err(CliError { code, message, hint }),
    }
}

fn warn_if_hidden(place: &Place, origin: &str) {
    let Ok(home) = place.home() else { return };
    if !origin.starts_with(&home.settings_file().display().to_string()) {
        note(format!(
            "note: the value in force comes from {origin}, which is stronger than the home's kith.toml"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_single_text_is_printed_without_quotes() {
        assert_eq!(plain("\"100GB\""), "100GB");
        assert_eq!(plain("4242"), "4242");
        assert_eq!(plain("[\"0.0.0.0\"]"), "[\"0.0.0.0\"]");
    }
}
