//! Several commands in one line, separated by commas, as in the app's command box: `kith ra, restart`.
//!
//! One after the other; the first that fails ends the line. That the doctor names a fault is no failure of it: in `kith doctor bert, restart`
//! the restart follows, and the exit code is the doctor's.
//!
//! Only words that the box knows, too, are taken apart: an argument of another command may well end in a comma.

use std::ffi::OsString;

/// Commands that may stand beside others in one line.
const WORDS: [&str; 14] = [
    "ra", "restart", "doctor", "explain", "status", "friends", "ports", "backup", "pause", "resume", "scrub",
    "id", "open", "help",
];
/// Most commands of one line.
const MOST_COMMANDS: usize = 16;

/// The lines that a line with commas stands for, each with the program's name and what stands before the first command; `None`: it is
/// an ordinary line.
pub(super) fn split(arguments: &[OsString]) -> Option<Vec<Vec<OsString>>> {
    let first = first_word(arguments)?;
    let (before, line) = arguments.split_at(first);
    let text: Vec<&str> = line.iter().map(|word| word.to_str()).collect::<Option<_>>()?;
    let leading = text.first()?.split([',', ' ']).next()?;
    if !WORDS.contains(&leading) {
        return None;
    }
    let mut commands: Vec<Vec<OsString>> = vec![Vec::new()];
    for (position, word) in text.iter().enumerate() {
        // One word that holds the whole line, as in `kith "ra, restart"`, is taken apart at blanks as well.
        let whole = position == 0 && word.contains(',');
        let pieces: Vec<&str> = if whole { word.split_inclusive([',', ' ']).collect() } else { vec![word] };
        for piece in pieces {
            let bare = piece.trim().trim_end_matches(',').trim();
            if !bare.is_empty() {
                commands.last_mut()?.push(bare.into());
            }
            // A comma ends a command where another one follows, and is part of a name elsewhere.
            let next = text.get(position + 1).map(|next| next.trim_end_matches(','));
            let ends =
                piece.trim().ends_with(',') && (whole || next.is_none_or(|next| WORDS.contains(&next)));
            if ends {
                commands.push(Vec::new());
            } else if bare.len() < piece.trim().len() && !whole {
                *commands.last_mut()?.last_mut()? = piece.into();
            }
        }
    }
    commands.retain(|command| !command.is_empty());
    if commands.len() < 2 && !text.iter().any(|word| word.ends_with(',')) {
        return None;
    }
    // Too many are none: the line is refused as an ordinary one.
    if commands.len() > MOST_COMMANDS {
        return None;
    }
    Some(commands.into_iter().map(|command| before.iter().cloned().chain(command).collect()).collect())
}

/// Where the first command stands: behind the program's name and what goes for all commands.
fn first_word(arguments: &[OsString]) -> Option<usize> {
    let mut position = 1;
    while let Some(word) = arguments.get(position) {
        match word.to_str()? {
            "--home" => position += 2,
            word if word.starts_with("--home=") => position += 1,
            _ => return Some(position),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &[&str], expected: Option<&[&str]>) {
        let arguments: Vec<OsString> =
            std::iter::once("kith").chain(line.iter().copied()).map(Into::into).collect();
        let commands = split(&arguments).map(|lines| {
            let words = |line: Vec<OsString>| {
                line.iter().map(|word| word.to_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
            };
            lines.into_iter().map(words).collect::<Vec<_>>()
        });
        let expected =
            expected.map(|lines| lines.iter().map(|line| format!("kith {line}")).collect::<Vec<_>>());
        assert_eq!(commands, expected, "{line:?}");
    }

    #[test]
    fn commands_that_are_separated_by_commas_are_several() {
        check(&["ra,", "restart"], Some(&["ra", "restart"]));
        check(&["ra,restart"], Some(&["ra", "restart"]));
        check(&["ra, restart"], Some(&["ra", "restart"]));
        check(&["help,", "restart"], Some(&["help", "restart"]));
        check(&["doctor", "bert,", "restart"], Some(&["doctor bert", "restart"]));
        check(&["pause", "8h,", "doctor", "bert,", "status"], Some(&["pause 8h", "doctor bert", "status"]));
        check(&["--home", "/h", "ra,", "restart"], Some(&["--home /h ra", "--home /h restart"]));
    }

    #[test]
    fn a_comma_at_the_end_is_no_command_of_its_own() {
        check(&["ra,"], Some(&["ra"]));
        check(&["ra,", "restart,"], Some(&["ra", "restart"]));
    }

    #[test]
    fn ordinary_lines_stay_as_they_are() {
        check(&["ra"], None);
        check(&["doctor", "bert"], None);
        check(&["set", "add", "Docs", "/home/a,", "restart"], None);
        check(&["find", "a,b"], None);
        check(&[], None);
    }

    #[test]
    fn a_name_with_a_comma_stays_whole_unless_a_command_follows() {
        check(&["doctor", "bert, the younger"], None);
        check(&["ra,", "doctor", "a,b"], Some(&["ra", "doctor a,b"]));
    }

    #[test]
    fn a_line_has_a_named_number_of_commands_at_most() {
        let many: Vec<OsString> =
            std::iter::once("kith").chain(std::iter::repeat_n("ra,", 100)).map(Into::into).collect();
        assert_eq!(split(&many), None);
        assert_eq!(split(&many[..=MOST_COMMANDS]).unwrap().len(), MOST_COMMANDS);
    }
}
