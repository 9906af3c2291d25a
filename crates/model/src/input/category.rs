//! Texts of tables, one of some.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{InputError, Value, ValueProblem};
use crate::named_enum;

named_enum! {
    /// The encoding of a category. A text without a place of its own is called other: it was in no
    /// training row, or in too few.
    #[derive(Default)]
    pub enum CategoryEncoding as "encoding of categories" {
        /// A 1 in the place of the text and 0 in all others; other texts are 0 in every place.
        #[default]
        OneHot = "one-hot",
        /// The same, with a place for other texts behind those of the texts.
        OneHotOther = "one-hot-other",
        /// -1 for the first of two texts, 1 for the second, 0 for other or missing ones.
        Binary = "binary",
        /// Equally spaced numbers from -1 for the first text to 1 for the last, and an indicator: 1 for
        /// other or missing texts, whose number is 0.
        Ordered = "ordered",
        /// One number, for a learned embedding: 0 for other texts, 1 for the first text, and so on,
        /// and behind the last the number of missing ones.
        Index = "index",
    }
}

/// One of some texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Category {
    /// The texts: sorted by bytes, or in their own order if they are
    /// [ordered](CategoryEncoding::Ordered).
    pub values: Vec<String>,
    /// The encoding of the texts.
    #[serde(default, skip_serializing_if = "is_one_hot")]
    pub encoding: CategoryEncoding,
    /// True if it may be missing.
    pub missing: bool,
}

fn is_one_hot(encoding: &CategoryEncoding) -> bool {
    *encoding == CategoryEncoding::OneHot
}

impl Category {
    /// The texts that occur, sorted, and whether any row lacks one; one-hot.
    pub fn fit<'a>(values: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        Self::fit_as(CategoryEncoding::OneHot, values, 1)
    }

    /// Fits an encoding to the texts of the training rows, sorted by bytes; those in fewer than
    /// `least` rows have no place of their own. [Binary](CategoryEncoding::Binary) texts are at most
    /// two.
    pub fn fit_as<'a>(
        encoding: CategoryEncoding,
        values: impl IntoIterator<Item = Option<&'a str>>,
        least: usize,
    ) -> Self {
        let (mut counts, mut missing) = (BTreeMap::<&str, usize>::new(), false);
        for value in values {
            match value {
                Some(text) => *counts.entry(text).or_default() += 1,
                None => missing = true,
            }
        }
        let often = counts.into_iter().filter(|(_, count)| *count >= least);
        let values = often.map(|(text, _)| text.to_owned()).collect();
        Self { values, encoding, missing }
    }

    /// [Ordered](CategoryEncoding::Ordered) texts in an order that is given, whether they occur in the
    /// training rows or not.
    pub fn fit_ordered<'a>(
        order: Vec<String>,
        values: impl IntoIterator<Item = Option<&'a str>>,
    ) -> Self {
        let missing = values.into_iter().any(|value| value.is_none());
        Self { values: order, encoding: CategoryEncoding::Ordered, missing }
    }

    /// The place of a text among [`values`](Self::values), if it has one.
    pub fn place(&self, text: &str) -> Option<usize> {
        if self.encoding == CategoryEncoding::Ordered {
            self.values.iter().position(|known| known == text)
        } else {
            self.values.binary_search_by(|known| known.as_str().cmp(text)).ok()
        }
    }

    /// The numbers of an [index](CategoryEncoding::Index), from 0: one for other texts, one for each
    /// text and one for missing ones, if they may be. None if it has another encoding.
    pub fn indices(&self) -> Option<usize> {
        let count = 1 + self.values.len() + usize::from(self.missing);
        (self.encoding == CategoryEncoding::Index).then_some(count)
    }

    /// Numbers that the network sees of it.
    pub(super) fn width(&self) -> usize {
        match self.encoding {
            CategoryEncoding::OneHot => self.values.len() + usize::from(self.missing),
            CategoryEncoding::OneHotOther => self.values.len() + 1 + usize::from(self.missing),
            CategoryEncoding::Binary | CategoryEncoding::Index => 1,
            CategoryEncoding::Ordered => 2,
        }
    }

    pub(super) fn encode(&self, value: Value<'_>, into: &mut [f32]) -> Result<(), ValueProblem> {
        let found = match value {
            Value::Text(text) => self.place(text).map_or(Found::Other, Found::At),
            Value::Missing if self.missing => Found::Missing,
            other => return Err(ValueProblem::of(other, "a text")),
        };
        into.fill(0.0);
        let count = self.values.len();
        match (self.encoding, found) {
            (CategoryEncoding::OneHot | CategoryEncoding::OneHotOther, Found::At(place)) => {
                into[place] = 1.0;
            }
            (CategoryEncoding::OneHot, Found::Other) => {}
            (CategoryEncoding::OneHotOther, Found::Other) => into[count] = 1.0,
            (CategoryEncoding::OneHot | CategoryEncoding::OneHotOther, Found::Missing) => {
                into[self.width() - 1] = 1.0;
            }
            (CategoryEncoding::Binary, Found::At(place)) => into[0] = [-1.0, 1.0][place.min(1)],
            (CategoryEncoding::Binary, _) => {}
            (CategoryEncoding::Ordered, Found::At(place)) => into[0] = spaced(place, count),
            (CategoryEncoding::Ordered, _) => into[1] = 1.0,
            (CategoryEncoding::Index, Found::Other) => {}
            (CategoryEncoding::Index, Found::At(place)) => into[0] = (1 + place) as f32,
            (CategoryEncoding::Index, Found::Missing) => into[0] = (1 + count) as f32,
        }
        Ok(())
    }

    pub(super) fn validate(&self, field: &str) -> Result<(), InputError> {
        let count = self.values.len();
        // Where other texts have a place, it may be the only one.
        let has_other = matches!(
            self.encoding,
            CategoryEncoding::OneHotOther | CategoryEncoding::Ordered | CategoryEncoding::Index
        );
        if count == 0 && !has_other {
            return Err(InputError::NoCategories { field: field.to_owned() });
        }
        if count > 2 && self.encoding == CategoryEncoding::Binary {
            return Err(InputError::NotBinary { field: field.to_owned(), found: count });
        }
        let mut sorted: Vec<&String> = self.values.iter().collect();
        if self.encoding == CategoryEncoding::Ordered {
            sorted.sort_unstable();
        }
        match sorted.windows(2).find(|pair| pair[0] >= pair[1]) {
            Some(pair) => {
                Err(InputError::Categories { field: field.to_owned(), value: pair[1].clone() })
            }
            None => Ok(()),
        }
    }
}

/// What is known of a text.
#[derive(Clone, Copy)]
enum Found {
    At(usize),
    Other,
    Missing,
}

/// Equally spaced numbers from -1 to 1; 0 if there is only one.
fn spaced(place: usize, count: usize) -> f32 {
    let steps = count.saturating_sub(1).max(1) as f64;
    let centre = count.saturating_sub(1) as f64 / 2.0;
    ((place as f64 - centre) * 2.0 / steps) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(encoding: CategoryEncoding, least: usize) -> Category {
        let values = [Some("b"), Some("a"), Some("b"), Some("c"), None, Some("c")];
        Category::fit_as(encoding, values, least)
    }

    fn encoded(category: &Category, value: Value<'_>) -> Vec<f32> {
        let mut into = vec![f32::NAN; category.width()];
        category.encode(value, &mut into).unwrap();
        into
    }

    #[test]
    fn texts_are_sorted_and_counted_once() {
        let fitted = Category::fit([Some("b"), Some("a"), Some("b")]);
        assert_eq!((fitted.values, fitted.missing), (vec!["a".to_owned(), "b".to_owned()], false));
        assert!(Category::fit([Some("b"), None, Some("a")]).missing);
    }

    #[test]
    fn every_encoding_has_its_numbers() {
        for (encoding, b, other, missing) in [
            (
                CategoryEncoding::OneHot,
                vec![0.0, 1.0, 0.0, 0.0],
                vec![0.0, 0.0, 0.0, 0.0],
                vec![0.0, 0.0, 0.0, 1.0],
            ),
            (
                CategoryEncoding::OneHotOther,
                vec![0.0, 1.0, 0.0, 0.0, 0.0],
                vec![0.0, 0.0, 0.0, 1.0, 0.0],
                vec![0.0, 0.0, 0.0, 0.0, 1.0],
            ),
            (CategoryEncoding::Ordered, vec![0.0, 0.0], vec![0.0, 1.0], vec![0.0, 1.0]),
            (CategoryEncoding::Index, vec![2.0], vec![0.0], vec![4.0]),
        ] {
            let category = fitted(encoding, 1);
            assert_eq!(category.validate("c"), Ok(()), "{encoding}");
            assert_eq!(encoded(&category, Value::Text("b")), b, "{encoding}");
            assert_eq!(encoded(&category, Value::Text("z")), other, "{encoding}");
            assert_eq!(encoded(&category, Value::Missing), missing, "{encoding}");
        }
        assert_eq!(fitted(CategoryEncoding::Index, 1).indices(), Some(5));
        assert_eq!(fitted(CategoryEncoding::OneHot, 1).indices(), None);
    }

    #[test]
    fn rare_texts_share_a_place() {
        let category = fitted(CategoryEncoding::OneHotOther, 2);
        assert_eq!(category.values, ["b", "c"]);
        assert_eq!(encoded(&category, Value::Text("a")), [0.0, 0.0, 1.0, 0.0]);
        let binary = fitted(CategoryEncoding::Binary, 2);
        assert_eq!(encoded(&binary, Value::Text("b")), [-1.0]);
        assert_eq!(encoded(&binary, Value::Text("c")), [1.0]);
        assert_eq!(encoded(&binary, Value::Text("a")), [0.0]);
        assert_eq!(encoded(&binary, Value::Missing), [0.0]);
        let none = fitted(CategoryEncoding::Index, 9);
        assert_eq!((none.validate("c"), none.indices()), (Ok(()), Some(2)));
    }

    #[test]
    fn an_order_is_kept() {
        let order = ["low", "middle", "high", "huge"].map(str::to_owned).to_vec();
        let category = Category::fit_ordered(order, [Some("high"), Some("odd")]);
        let numbers = ["low", "middle", "high", "huge", "odd"];
        let numbers = numbers.map(|text| encoded(&category, Value::Text(text)));
        let third = 1.0 / 3.0;
        assert_eq!(numbers, [[-1.0, 0.0], [-third, 0.0], [third, 0.0], [1.0, 0.0], [0.0, 1.0]]);
        let problem = category.encode(Value::Missing, &mut [0.0, 0.0]).unwrap_err();
        assert!(matches!(problem, ValueProblem::Missing { .. }), "{problem}");
        let one = Category::fit_ordered(vec!["only".to_owned()], [None]);
        assert_eq!(encoded(&one, Value::Text("only")), [0.0, 0.0]);
    }

    #[test]
    fn impossible_categories_are_refused() {
        let category = |encoding, values: &[&str]| {
            let values = values.iter().map(|&value| value.to_owned()).collect();
            Category { values, encoding, missing: true }.validate("c")
        };
        for (encoding, values) in [
            (CategoryEncoding::OneHot, vec![]),
            (CategoryEncoding::OneHot, vec!["b", "a"]),
            (CategoryEncoding::Index, vec!["a", "a"]),
            (CategoryEncoding::Ordered, vec!["b", "a", "b"]),
            (CategoryEncoding::Binary, vec!["a", "b", "c"]),
        ] {
            assert!(category(encoding, &values).is_err(), "{encoding} {values:?}");
        }
        assert!(category(CategoryEncoding::Ordered, &["b", "a"]).is_ok());
    }
}
