//! `kith doctor`: asks the daemon for its diagnosis; when the daemon itself is what is wrong, makes one.

mod local;
mod ports;
mod show;
mod start;
mod way;

#[cfg(test)]
mod tests;

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use kith_control::{Client, ClientError, DoctorRequest};
use kith_doctor::Diagnosis;
use kith_doctor::firewall::Texts;

use super::Place;
use super::args::{DoctorArgs, Json};
use super::error::{CliError, CliResult, Code};
use super::joining::read_secret_line;
use super::output::{json, line, note, safe};

/// Longest wait for the daemon, which promises to need ten seconds at most.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most bytes of rules that are sent to the daemon, as JSON: it reads requests of a megabyte.
const MOST_RULES: usize = 900 << 10;

pub(super) async fn run(place: &Place, args: DoctorArgs) -> CliResult {
    let Json { json: as_json } = args.json;
    let client = match place.client().await {
        Ok(client) => client,
        Err(error) if error.code == Code::NotRunning => {
            let seen = Box::pin(local::look(place)).await?;
            tell(&local::service_down(&seen), as_json)?;
            return Err(CliError::said(Code::NotRunning));
        }
        Err(error) => return Err(error),
    };
    if args.code {
        return code(&client, args.friend, as_json).await;
    }
    let with = match args.with.as_deref() {
        Some("-") => {
            Some(read_secret_line("Paste the line that your friend sent, then press Enter: ").await?)
        }
        _ => args.with,
    };
    if with.as_ref().is_some_and(|code| code.trim().is_empty()) {
        return Err(CliError::usage(
            "no report code was given",
            "`kith doctor --code` on the friend's computer prints one",
        ));
    }
    if !as_json {
        note(match &args.friend {
            Some(friend) => {
                format!("looking at both ends and at what is between here and {friend}; ten seconds at most")
            }
            None => "looking at this computer; ten seconds at most".to_owned(),
        });
    }
    let firewall = rules(place).await;
    let request = DoctorRequest { friend: args.friend, with, firewall };
    // Beside each other: neither waits for the network longer than the doctor may take.
    let (diagnosis, shut) =
        tokio::join!(tokio::time::timeout(PATIENCE, client.doctor(&request)), ports::shut(&client));
    let mut diagnosis = match diagnosis {
        Ok(answer) => answer.map_err(asked)?,
        Err(_elapsed) => {
            let seen = Box::pin(local::look(place)).await?;
            tell(&local::service_silent(&seen, PATIENCE), as_json)?;
            return Err(CliError::said(Code::Failed));
        }
    };
    if let Some(shut) = shut {
        local::add_shut_ports(&mut diagnosis, &shut);
    }
    tell(&diagnosis, as_json)?;
    if diagnosis.verdict.is_fine() { Ok(()) } else { Err(CliError::said(Code::Failed)) }
}

/// The rules of this computer's firewall, for a daemon that has no right to read them: the superuser who asks has it.
async fn rules(place: &Place) -> Option<Box<Texts>> {
    let own = place.home().ok()?.control_socket().metadata().ok()?.uid();
    if own == 0 || !nix::unistd::geteuid().is_root() {
        return None;
    }
    let texts = Box::new(Box::pin(crate::daemon::doctor::firewall::texts()).await);
    let bytes = serde_json::to_vec(&texts).map_or(usize::MAX, |json| json.len());
    (bytes <= MOST_RULES).then_some(texts)
}

/// A daemon that ends in the middle is one that does not run.
fn asked(error: ClientError) -> CliError {
    match error {
        ClientError::Interrupted(_) => CliError {
            hint: Some("it may have been restarted: run this again".to_owned()),
            ..CliError::from(error)
        },
        other => other.into(),
    }
}

async fn code(client: &Client, friend: Option<String>, as_json: bool) -> CliResult {
    let view = client.report_code(friend).await?;
    if as_json {
        return json(&view);
    }
    note(&view.note);
    note(
        "Send this line to your friend, who gives it to `kith doctor YOU --with LINE`, or to the page Doctor of the app:",
    );
    line(safe(&view.code));
    Ok(())
}

fn tell(diagnosis: &Diagnosis, as_json: bool) -> CliResult {
    if as_json {
        return json(diagnosis);
    }
    show::lines(diagnosis).iter().for_each(line);
    Ok(())
}
