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
    let distance = strsim::osa_distance(&text.to_lowercase(), &candidate.to_lowercase());
    (distance <= allowed).then_some(distance)
}

fn squashed(text: &str) -> String {
    text.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
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
