//! `kith invite` and `kith join`.

use std::io::{BufRead, IsTerminal, Read};
use std::time::Duration;

use kith_control::view::ListenerState;
use kith_control::{Client, InviteRequest, JoinRequest};
use kith_identity::Invite;

use super::error::{CliError, CliResult, Code};
use super::output::{line, note, safe, time};
use crate::settings::ByteSize;

/// No invite and no 24 words are longer.
const LONGEST_INPUT: u64 = 16 * 1024;

pub(super) async fn invite(
    client: &Client,
    quota: Option<ByteSize>,
    expires: Duration,
    own: bool,
    qr: bool,
) -> CliResult {
    let request = InviteRequest {
        quota_bytes: quota.map(ByteSize::bytes),
        expires_seconds: Some(expires.as_secs()),
        own,
    };
    let view = client.invite(&request).await?;
    if qr || std::io::stdout().is_terminal() {
        match fast_qr::QRBuilder::new(view.invite.as_str()).build() {
            Ok(code) => note(code.to_str()),
            Err(_too_long) => note("(the invite is too long for a QR code)"),
        }
    }
    if std::io::stdout().is_terminal() {
        note(format!(
            "Whoever has this line can pair with this computer once, until {}. Send it to your friend, who gives it to `kith join`:",
            time(view.expires)
        ));
    }
    let names_hubs = Invite::parse(&view.invite).is_ok_and(|invite| !invite.hubs().is_empty());
    line(view.invite);
    if names_hubs {
        // Whoever holds it comes by the hub.
        return Ok(());
    }
    if client.status().await.is_ok_and(|status| status.listener.state == ListenerState::Off) {
        note(
            "This computer takes no calls (network.outbound-only). If `kith join` there says that it reached nobody, it prints a reply \
             line: give that to `kith join` here.",
        );
    }
    Ok(())
}

pub(super) async fn join(client: &Client, quota: Option<ByteSize>, own: bool) -> CliResult {
    let invite = read_secret_line("Paste the invite (or the reply line), then press Enter: ").await?;
    if invite.is_empty() {
        return Err(CliError::usage("no invite was given", "paste it, or pipe it: `kith join < invite.txt`"));
    }
    let request = JoinRequest { invite, quota_bytes: quota.map(ByteSize::bytes), own };
    let view = client.join(&request).await?;
    if let Some(friend) = view.friend {
        line(format!("paired with {} ({})", safe(&friend.name), friend.device_id));
        line(
            "Compare these six words with your friend, by voice; they must be the same on both computers (`kith friends`):",
        );
        line(format!("    {}", view.safety_words));
        return Ok(());
    }
    note("error: no address led to the other computer:");
    for failure in &view.failures {
        note(format!("  {}: {}", safe(&failure.address), safe(&failure.reason)));
    }
    if let Some(reply) = view.reply {
        note(
            "hint: it may work the other way round. Send this reply line to the inviter, who gives it to `kith join`:",
        );
        line(reply);
        note(format!("the six words to compare then: {}", view.safety_words));
    } else {
        note("hint: `kith probe HOST PORT` tests the way to the other computer");
    }
    Err(CliError::said(Code::Failed))
}

/// One line with a secret: never from the arguments, which other users of the computer can see.
pub(super) async fn read_secret_line(prompt: &str) -> CliResult<String> {
    let terminal = std::io::stdin().is_terminal();
    if terminal {
        note(prompt);
    }
    let read = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        let mut input = std::io::stdin().lock().take(LONGEST_INPUT);
        if terminal { input.read_line(&mut text) } else { input.read_to_string(&mut text) }.map(|_| text)
    });
    let text = read.await.map_err(|_ending| CliError::said(Code::Failed))??;
    Ok(text.trim().to_owned())
}
