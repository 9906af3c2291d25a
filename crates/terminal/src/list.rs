//! Several things in one line.

use crate::printable;

/// The first `most` of some things, each as `show` gives it, and how many more there are.
pub fn listed<T>(all: &[T], most: usize, show: impl FnMut(&T) -> String) -> String {
    let shown: Vec<String> = all.iter().take(most).map(show).collect();
    match all.len().saturating_sub(most) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The first `most` of some names from a file, and how many more there are.
pub fn names(all: &[String], most: usize) -> String {
    listed(all, most, |name| printable(name, 40))
}

/// A shape, such as `28x28`; `-` without dimensions.
pub fn sizes(shape: &[usize]) -> String {
    if shape.is_empty() {
        return "-".to_owned();
    }
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted() {
        let all = ["a", "b\n", "c"].map(str::to_owned);
        assert_eq!(names(&all, 3), "a, b, c");
        assert_eq!(names(&all, 2), "a, b and 1 more");
        assert_eq!(names(&[], 2), "");
        assert_eq!(listed(&[1, 2], 1, i32::to_string), "1 and 1 more");
    }

    #[test]
    fn shapes_are_products() {
        assert_eq!((sizes(&[28, 28]).as_str(), sizes(&[]).as_str()), ("28x28", "-"));
    }
}
