//! What a person says of a table.

use fireclay_model::{DateFormat, NumberEncoding, TextEncoding};
use serde::{Deserialize, Serialize};

/// What a person says of a table, as the section `[data.table]` of a settings file holds it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TableOptions {
    /// The columns that are learned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target: Vec<String>,
    /// Another file, whose one column has the targets of the rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_file: Option<String>,
    /// The kind of prediction; inferred from the targets if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TableTask>,
    /// Rows for the final test: a share, a number, or another file; a fifth if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// The fold of the rows for the final test, such as `2/5`, in place of `test`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fold: Option<String>,
    /// True if the models of all folds are kept as one ensemble; for a whole cross-validation, and none
    /// of its folds.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ensemble: bool,
    /// Columns of numbers, whatever their cells look like.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub numeric: Vec<String>,
    /// Columns of truth values, whatever their cells look like.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub boolean: Vec<String>,
    /// Columns of categories, whatever their cells look like.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categorical: Vec<String>,
    /// Columns of dates, each as its name or as `column=format`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub date: Vec<String>,
    /// How dates are written whose column has no format of its own; found out if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date_format: Option<DateFormat>,
    /// The encoding of numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numbers: Option<NumberEncoding>,
    /// The most different values of a category that is one-hot; one with more has a learned embedding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_hot: Option<usize>,
    /// Columns of sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub text: Vec<String>,
    /// Columns of ordered categories, each as `column=low<middle<high`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ordered: Vec<String>,
    /// Columns that are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drop: Vec<String>,
    /// The part of columns that are not named anywhere.
    #[serde(skip_serializing_if = "Others::is_default")]
    pub others: Others,
    /// The column whose equal values are never in two splits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The column in whose order rows are split: the latest are for the test, those before them for
    /// validation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The column of sample weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// The encoding of texts; they are left out if absent, as in runs of programs that had none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub texts: Option<TextEncoding>,
}

/// The part of columns that are not named anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Others {
    /// Their kind is inferred.
    #[default]
    Infer,
    /// They are left out.
    Drop,
    /// There are none: one is an error.
    Refuse,
}

impl Others {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The kind of prediction that a table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableTask {
    /// One of the values of the target column.
    Classification,
    /// Any number of the target columns, each 0 or 1.
    MultiLabel,
    /// A number for each target column.
    Regression,
}

impl std::fmt::Display for TableTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Classification => "classification",
            Self::MultiLabel => "multi-label",
            Self::Regression => "regression",
        })
    }
}
