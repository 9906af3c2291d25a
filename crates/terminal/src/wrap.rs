//! Text in lines that fit a terminal.

/// A text that begins in this column, in lines of at most 80 columns that begin there too, broken
/// between words.
pub fn wrapped_at(text: &str, column: usize) -> String {
    const MOST: usize = 80;
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let width = column + line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && width > MOST {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines.push(line);
    lines.join(&format!("\n{}", " ".repeat(column)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words() {
        let text = format!("  {}", wrapped_at(&"seven letters ".repeat(12), 2));
        assert!(text.lines().count() == 3 && text.lines().all(|line| line.len() <= 80), "{text}");
        assert!(text.lines().all(|line| line.starts_with("  s") || line.starts_with("  l")));
        assert_eq!(wrapped_at("a b", 2), "a b");
    }
}
