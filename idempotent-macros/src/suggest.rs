//! "Did you mean": the known name that a misspelt one is closest to.

use proc_macro2::Ident;
use syn::Error;

/// Says that `name` is not one of `known`, and which of them was probably meant.
pub(crate) fn unknown(what: &str, name: &Ident, known: &[&str]) -> Error {
    let hint = match closest(&name.to_string(), known) {
        Some(close) => format!("did you mean `{close}`?"),
        None if known.is_empty() => "there is none".to_owned(),
        None => format!("expected {}", one_of(known)),
    };
    Error::new(name.span(), format!("unknown {what} `{name}`; {hint}"))
}

/// Lists `words` as alternatives: "`a`, `b` or `c`".
pub(crate) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// Finds the word of `known` that `name` is a misspelling of.
///
/// A word may show what follows it, as `wait("10s")` does; only its name counts.
///
/// This is a heuristic: at most a third of the letters may differ. It is wrong for a misspelling of
/// a word that is not known, which then looks like another one.
pub(crate) fn closest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|word| {
            let letters = name_of(word);
            (distance(name, letters), letters.len(), *word)
        })
        .filter(|(distance, length, _)| *distance <= (length / 3).max(1))
        .min_by_key(|(distance, ..)| *distance)
        .map(|(.., word)| word)
}

/// The part of a word that stands before what follows it.
pub(crate) fn name_of(word: &str) -> &str {
    word.split_once('(').map_or(word, |(name, _)| name)
}

/// Counts the letters to insert, delete, replace or swap with a neighbour to make `a` of `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<_>, Vec<_>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::{closest, distance, one_of};

    #[test]
    fn a_swap_of_neighbours_is_one_mistake() {
        assert_eq!(distance("lt", "tl"), 1);
        assert_eq!(distance("", "ttl"), 3);
        assert_eq!(distance("skip", "skip"), 0);
    }

    #[test]
    fn a_misspelling_finds_its_word_and_another_word_finds_none() {
        let known = ["key", "ttl", "on_cancel", "on_panic"];
        assert_eq!(closest("tll", &known), Some("ttl"));
        assert_eq!(closest("on_cancle", &known), Some("on_cancel"));
        assert_eq!(closest("timeout", &known), None);
    }

    #[test]
    fn alternatives_are_listed_as_a_person_would() {
        assert_eq!(one_of(&["a"]), "`a`");
        assert_eq!(one_of(&["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
