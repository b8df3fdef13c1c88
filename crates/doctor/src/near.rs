//! What somebody who mistyped a word may have meant.

/// Most letters that may be wrong in a word.
const MOST_WRONG: usize = 3;
/// Longest word that is compared: what is longer is no slip.
const LONGEST: usize = 64;

/// Those of `words` that are nearest to what was typed, the nearest first: typed in part, or with a few wrong letters.
#[must_use]
pub fn near<'a>(typed: &str, words: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let typed = typed.trim().to_lowercase();
    if typed.is_empty() || typed.chars().count() > LONGEST {
        return Vec::new();
    }
    // A third of a short word is all that can be wrong with it.
    let bearable = (typed.chars().count() / 3).clamp(1, MOST_WRONG);
    let mut found: Vec<(usize, &str)> = words
        .into_iter()
        .filter_map(|word| {
            let within =
                typed.chars().count() >= MOST_WRONG && (word.contains(&typed) || typed.contains(word));
            let distance = if within { 0 } else { distance(&typed, word) };
            (distance <= bearable).then_some((distance, word))
        })
        .collect();
    found.sort_by_key(|(distance, _)| *distance);
    found.into_iter().map(|(_, word)| word).collect()
}

/// How many letters have to be put in, taken out or changed (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, wanted) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *wanted);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(typed: &str, expected: &[&str]) {
        let words = ["works", "offline", "firewall-in", "firewall-out", "mapping-off", "moved"];
        assert_eq!(near(typed, words), expected, "{typed}");
    }

    #[test]
    fn a_word_with_a_few_wrong_letters_is_found() {
        check("ofline", &["offline"]);
        check("OFFLINE", &["offline"]);
        check("mapping-of", &["mapping-off"]);
        check("movd", &["moved"]);
        check("firewal-in", &["firewall-in"]);
    }

    #[test]
    fn a_part_of_a_word_is_found() {
        check("firewall", &["firewall-in", "firewall-out"]);
        check("mapping", &["mapping-off"]);
    }

    #[test]
    fn something_else_is_not() {
        check("", &[]);
        check("xyz", &[]);
        check(&"w".repeat(1000), &[]);
    }
}
