//! `kith explain`: what a code of the doctor means. Needs no daemon.

use kith_doctor::{Code, Weight, near};
use serde::Serialize;

use super::args::Json;
use super::error::{CliError, CliResult};
use super::output::{json, line, safe, table};

/// Most near matches that are named.
const MOST_NEAR: usize = 4;

/// A row of the table, for programs.
#[derive(Serialize)]
struct CodeView {
    code: Code,
    weight: Weight,
    title: &'static str,
    meaning: &'static str,
    next_step: &'static str,
}

impl From<Code> for CodeView {
    fn from(code: Code) -> Self {
        Self {
            code,
            weight: code.weight(),
            title: code.title(),
            meaning: code.meaning(),
            next_step: code.step(),
        }
    }
}

pub(super) fn run(code: Option<&str>, Json { json: as_json }: Json) -> CliResult {
    let Some(text) = code else {
        if as_json {
            return json(&Code::ALL.iter().copied().map(CodeView::from).collect::<Vec<_>>());
        }
        let rows = Code::ALL.iter().map(|code| vec![code.to_string(), code.title().to_owned()]);
        table(&rows.collect::<Vec<_>>());
        line("");
        line("`kith explain CODE` says what it means and what to do.");
        return Ok(());
    };
    let code: Code = text.parse().map_err(|_no_such| unknown(text))?;
    if as_json {
        return json(&CodeView::from(code));
    }
    line(format!("{code}: {}", code.title()));
    line("");
    line(code.meaning());
    line("");
    line(format!("What to do: {}", code.step()));
    Ok(())
}

fn unknown(text: &str) -> CliError {
    let mut meant = near(text, Code::ALL.iter().map(|code| code.as_str()));
    meant.truncate(MOST_NEAR);
    let hint = match &meant[..] {
        [] => "`kith explain` lists all".to_owned(),
        meant => format!("did you mean {}? `kith explain` lists all", meant.join(" or ")),
    };
    CliError::usage(format!("there is no code {}", safe(text)), &hint)
}

#[cfg(test)]
mod tests {
    use super::super::error::Code as Exit;
    use super::*;

    #[test]
    fn an_unknown_code_is_wrong_use_and_names_the_nearest() {
        let error = unknown("firewal-in");
        assert_eq!((error.code, error.message.as_str()), (Exit::Usage, "there is no code firewal-in"));
        assert!(error.hint.unwrap().starts_with("did you mean firewall-in? "));
        assert_eq!(unknown("xyz").hint.unwrap(), "`kith explain` lists all");
    }
}
