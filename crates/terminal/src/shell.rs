//! Words of commands that people paste into a shell.

use std::path::{Path, PathBuf};

use crate::is_visible;

/// A word as a POSIX shell reads it back: as it is if it means nothing else there, in quotes if not.
///
/// Characters that would move a cursor or turn the line are written as escapes, `$'\x1b'`, which
/// bash, zsh and ksh read back.
pub fn quoted(word: &str) -> String {
    // Zsh looks for a program behind a leading `=`.
    let starts_plain = word.chars().next().is_some_and(is_plain);
    if starts_plain && word.chars().all(|c| is_plain(c) || c == '=') {
        return word.to_owned();
    }
    if word.chars().all(is_visible) {
        return format!("'{}'", word.replace('\'', r"'\''"));
    }
    let escaped: String = word.chars().map(escape).collect();
    format!("$'{escaped}'")
}

/// A path as a word of a shell, which no program takes for a flag.
pub fn quoted_path(path: &Path) -> String {
    let is_like_a_flag = path.to_str().is_some_and(|text| text.starts_with('-'));
    let path = if is_like_a_flag { Path::new(".").join(path) } else { PathBuf::from(path) };
    match path.to_str() {
        Some(text) => quoted(text),
        None => quoted_bytes(&path),
    }
}

/// What a message about a folder that is no run adds: the runs in it, if there are any.
pub fn hint_of_runs(runs: &[PathBuf]) -> String {
    match runs {
        [] => String::new(),
        [run] => format!("; did you mean {}?", quoted_path(run)),
        [first, .., last] => format!(
            "; name one of the runs in it, such as {} or {}",
            quoted_path(first),
            quoted_path(last)
        ),
    }
}

/// Returns true if a shell takes it for itself wherever it stands in a word.
fn is_plain(c: char) -> bool {
    let is_letter = c.is_alphanumeric() && is_visible(c);
    is_letter || matches!(c, '_' | '-' | '.' | '/' | ':' | ',' | '@' | '%' | '+')
}

/// A character between `$'` and `'`.
fn escape(c: char) -> String {
    match c {
        '\'' | '\\' => format!("\\{c}"),
        c if is_visible(c) => c.to_string(),
        c => {
            let mut bytes = [0; 4];
            c.encode_utf8(&mut bytes).bytes().map(|byte| format!("\\x{byte:02x}")).collect()
        }
    }
}

/// A path that is not UTF-8, byte by byte where it must be.
#[cfg(unix)]
fn quoted_bytes(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let escaped: String = path
        .as_os_str()
        .as_bytes()
        .utf8_chunks()
        .map(|chunk| {
            let valid: String = chunk.valid().chars().map(escape).collect();
            let rest = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
            valid + &rest.collect::<String>()
        })
        .collect();
    format!("$'{escaped}'")
}

#[cfg(not(unix))]
fn quoted_bytes(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: [&str; 14] = [
        "runs/mnist-1",
        "größer/数字",
        "my runs/run one",
        "it's",
        "a\"b`c$(d)\\e",
        "~",
        "=ls",
        "#x",
        "*?[a]{b,c}",
        "a;b&c|d<e>f",
        "!!",
        "",
        "line\nbreak\ttab",
        "\u{1b}[2J\u{202e}'\\",
    ];

    #[test]
    fn plain_words_stay_and_nothing_moves_the_cursor() {
        assert_eq!(quoted("runs/mnist-1"), "runs/mnist-1");
        assert_eq!(quoted("größer/数字"), "größer/数字");
        assert_eq!((quoted("a=b").as_str(), quoted("=b").as_str()), ("a=b", "'=b'"));
        assert_eq!(quoted("my runs"), "'my runs'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("a\u{1b}'"), r"$'a\x1b\''");
        assert_eq!(quoted_path(Path::new("-rf")), "./-rf");
        assert!(WORDS.iter().all(|word| quoted(word).chars().all(is_visible)));
    }

    #[cfg(unix)]
    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let read = |word: &str| {
            let script = format!("printf '%s' {word}");
            std::process::Command::new("bash").args(["-c", &script]).output().unwrap().stdout
        };
        for word in WORDS {
            assert_eq!(read(&quoted(word)), word.as_bytes(), "{word:?}");
        }
        let odd = OsStr::from_bytes(b"odd\xe9 d'\n");
        assert_eq!(read(&quoted_path(Path::new(odd))), odd.as_bytes());
        assert_eq!(read(&quoted_path(Path::new("-x y"))), b"./-x y");
    }
}
