//! `kith set`.

use kith_control::{Client, SetRequest};

use super::args::SetCommand;
use super::error::{CliError, CliResult};
use super::output::{ago, json, line, safe, table};

pub(super) async fn run(client: &Client, command: SetCommand) -> CliResult {
    match command {
        SetCommand::Add { name, paths, to, alternate, exclude } => {
            let mut absolute = Vec::with_capacity(paths.len());
            for path in paths {
                let full = std::path::absolute(&path)?;
                let text = full.to_str().ok_or_else(|| {
                    CliError::usage(
                        format!("{} is not valid UTF-8", full.display()),
                        "name the folder above it: files with such names inside it are backed up",
                    )
                })?;
                absolute.push(text.to_owned());
            }
            let request = SetRequest { name, paths: absolute, to, alternate, exclude };
            let set = client.add_set(&request).await?;
            line(format!("set {} goes to {}: {}", safe(&set.name), set.to.join(", "), set.paths.join(", ")));
            if !set.alternate.is_empty() {
                line(format!("while one of them is away, to {}", safe(&set.alternate.join(", "))));
            }
            line(format!("start it with: kith backup {}", safe(&set.name)));
            Ok(())
        }
        SetCommand::Remove { name } => {
            client.remove_set(&name).await?;
            line(format!("set {} is removed; its snapshots stay at the friends", safe(&name)));
            Ok(())
        }
        SetCommand::List(as_json) => {
            let sets = client.sets().await?;
            if as_json.json {
                return json(&sets);
            }
            if sets.is_empty() {
                line("no sets yet: `kith set add NAME PATH... --to FRIEND`");
            }
            for set in sets {
                line(safe(&set.name));
                let mut rows = vec![
                    vec!["  folders".into(), safe(&set.paths.join(", "))],
                    vec!["  to".into(), safe(&set.to.join(", "))],
                ];
                if !set.alternate.is_empty() {
                    rows.push(vec!["  or else to".into(), safe(&set.alternate.join(", "))]);
                }
                if !set.exclude.is_empty() {
                    rows.push(vec!["  without".into(), safe(&set.exclude.join(", "))]);
                }
                let backup = set.last_backup.map_or_else(|| "none yet".to_owned(), ago);
                rows.push(vec!["  last backup".into(), backup]);
                table(&rows);
            }
            Ok(())
        }
    }
}
