//! Similarity of names, to suggest a correction in messages.

/// The most similar candidate: equal except for case and separators, or at most two edits away.
pub(super) fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .filter_map(|candidate| near(text, candidate).map(|distance| (distance, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Whether two texts are equal except for case, spaces and separators.
pub(super) fn same_letters(one: &str, other: &str) -> bool {
    squashed(one) == squashed(other)
}

fn near(text: &str, candidate: &str) -> Option<usize> {
    if text.len() > 4 * candidate.len().max(8) {
        return None;
    }
    if same_letters(text, candidate) {
        return Some(0);
    }
    // Two edits would be half of a short word.
    let allowed = match candidate.chars().count() {
        0..=2 => 0,
        3..=4 => 1,
        _ => 2,
    };
    let distance = edit_distance(&text.to_lowercase(), &candidate.to_lowercase());
    (distance <= allowed).then_some(distance)
}

fn squashed(text: &str) -> String {
    text.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The edit distance with insertions, deletions, replacements and swaps of adjacent characters.
fn edit_distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for row in 1..=one.len() {
        let mut next = vec![row];
        for column in 1..=other.len() {
            let replaced = last[column - 1] + usize::from(one[row - 1] != other[column - 1]);
            let mut best = replaced.min(last[column] + 1).min(next[column - 1] + 1);
            let swapped = row > 1
                && column > 1
                && one[row - 1] == other[column - 2]
                && one[row - 2] == other[column - 1];
            if swapped {
                best = best.min(before[column - 2] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut last, next);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_or_two_away_is_near_and_another_word_is_not() {
        let known = ["listen", "admin", "metrics", "ttl"];
        assert_eq!(nearest("lisen", known), Some("listen"));
        assert_eq!(nearest("adimn", known), Some("admin"));
        assert_eq!(nearest("Metrics", known), Some("metrics"));
        assert_eq!(nearest("tttl", known), Some("ttl"));
        assert_eq!(nearest("watch", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn case_and_separators_make_no_other_name() {
        assert!(same_letters("talkdesk-internal", "Talkdesk Internal"));
        assert!(!same_letters("talkdesk", "Talkdesk Internal"));
    }
}
