//! The connection stands: what the friend has room for.

use crate::code::{Code, Part};
use crate::diagnosis::Outcome;
use crate::facts::Keeps;

use super::{Case, Found};

/// Less free room than this is none.
const ALMOST_NOTHING: u64 = 1 << 20;

pub(super) fn checks(case: &Case<'_>) -> Vec<Found> {
    let name = case.name();
    let asked = case.there.and_then(|there| there.keeps.as_ref());
    let known;
    let keeps = match asked {
        Some(keeps) => keeps,
        None if case.is_apart() => {
            return vec![Found::new(
                Code::QuotaFull,
                Part::Friend,
                Outcome::Skipped,
                format!("{name} is not connected"),
            )];
        }
        None => {
            known = Keeps {
                accepts: true,
                offered: case.pair.offered,
                stored: case.pair.stored.unwrap_or(0),
                free: None,
                trouble: case.pair.trouble.clone(),
            };
            &known
        }
    };
    let mut found = Vec::new();
    if let Some(trouble) = &keeps.trouble {
        found.push(
            Found::failed(
                Code::DiskFailed,
                Part::Friend,
                format!("{name} stores nothing at present: {trouble}"),
                format!("on {name}'s computer: look at the disk of the vault (`kith status` there says what failed), then `kith restart`"),
            )
            .because([trouble.clone()]),
        );
    }
    if !keeps.accepts {
        found.push(Found::failed(
            Code::NothingAccepted,
            Part::Friend,
            format!("{name} takes no backups of this computer at present"),
            format!("on {name}'s computer: `kith friend resume` with this computer's name, or `kith settings set vault.accept friends`"),
        ));
    }
    if keeps.free.is_some_and(|free| free < ALMOST_NOTHING) {
        found.push(Found::failed(
            Code::DiskFull,
            Part::Friend,
            format!("the disk on which {name} keeps backups is full"),
            format!("on {name}'s computer: make room on that disk; nothing that is stored is lost"),
        ));
    }
    if let Some(offered) = keeps
        .offered
        .filter(|offered| keeps.stored.saturating_add(ALMOST_NOTHING.min(offered / 100)) >= *offered)
    {
        found.push(
            Found::failed(
                Code::QuotaFull,
                Part::Friend,
                format!("the room that {name} offers is used up"),
                format!(
                    "on {name}'s computer: `kith friend quota` with this computer's name and more than {}",
                    size(offered)
                ),
            )
            .because([format!("{} of {} are used", size(keeps.stored), size(offered))]),
        );
    }
    if found.is_empty() {
        found.push(Found::ok(Code::QuotaFull, Part::Friend, format!("{name} has room for backups")));
    }
    found
}

/// `200 GB`.
fn size(bytes: u64) -> String {
    let (mut value, mut units) = (bytes, ["B", "KB", "MB", "GB", "TB"].iter());
    let mut unit = units.next().copied().unwrap_or("B");
    while value >= 10_000 {
        let Some(next) = units.next() else { break };
        value /= 1000;
        unit = next;
    }
    format!("{value} {unit}")
}
