//! Text from files, made harmless.

/// A text from a file as it may be shown to people: of one line, without anything that moves a
/// terminal's cursor or turns the direction of writing, and not longer than `most` characters.
pub fn printable(text: &str, most: usize) -> String {
    // Messages of libraries have several lines, the last of which ends too.
    let text = text.trim_end_matches(['\n', '\r']);
    let shown: String = text.chars().take(most).map(harmless).collect();
    if text.chars().nth(most).is_some() { shown + "…" } else { shown }
}

fn harmless(c: char) -> char {
    match c {
        '\n' | '\r' | '\t' => ' ',
        c if is_visible(c) => c,
        _ => char::REPLACEMENT_CHARACTER,
    }
}

/// Returns true if a character shows as itself: no control character, none that turns the direction
/// of writing, and not the mark that stands for any broken one.
pub fn is_visible(c: char) -> bool {
    let hides = matches!(
        c,
        '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | char::REPLACEMENT_CHARACTER
    );
    !c.is_control() && !hides
}

/// The beginning of a digest, enough to tell it from others: `sha256:` and twelve characters.
pub fn digest_start(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_cannot_move_the_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\nc", 80), "a\u{fffd}[2Jb c");
        assert_eq!(printable("\u{202e}gnp\u{61c}", 80), "\u{fffd}gnp\u{fffd}");
        assert_eq!(printable("abcdef", 3), "abc…");
        assert_eq!(printable("äöü", 3), "äöü");
    }

    #[test]
    fn messages_end_with_a_character_of_theirs() {
        // As libraries write them, of several lines.
        assert_eq!(printable("line 1:\n\tno number\r\n", 80), "line 1:  no number");
        assert_eq!(printable("äöü", 2), "äö…");
    }

    #[test]
    fn a_digest_is_known_by_its_beginning() {
        assert_eq!(digest_start("sha256:0123456789abcdef"), "sha256:0123456789ab");
        assert_eq!(digest_start(""), "");
    }
}
