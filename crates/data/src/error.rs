//! The errors of this crate: one variant per way a file, an address or a request can be wrong.

use std::io;
use std::path::{Path, PathBuf};

use fireclay_model::SoundsError;
use fireclay_readers::{IdxError, TextError};
use fireclay_sounds::SoundError;
use fireclay_tables::TableError;
use fireclay_terminal::{counted, printable};
use thiserror::Error;

/// Remedy for a path in the place of a source.
const A_SOURCE: &str = "give a name such as mnist, a table such as rows.csv, idx:FOLDER for a folder of IDX files, or \
     sounds:FOLDER for recordings";

/// The name of a file as a message shows it.
fn shown(path: &Path) -> String {
    printable(&path.display().to_string(), 200)
}

/// Why data could not be loaded, checked or divided.
#[derive(Debug, Error)]
pub enum DataError {
    /// Rows that stay on disk have a text, whose terms are kept in memory.
    #[error(
        "a column of text cannot stay on disk; leave out `--memory`, or leave out the column with \
         `--drop`"
    )]
    TextInBlocks,
    /// The terms of a text do not fit the rows.
    #[error(
        "the terms of text {text} do not fit; each row needs rising places, and values that are \
         finite numbers"
    )]
    Terms {
        /// Which text, from 0.
        text: usize,
    },
    /// A file or folder could not be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A folder, a pipe or a device stands where a file is needed.
    #[error("{} is not a regular file; put the file itself there", .path.display())]
    NotAFile {
        /// The path that is no file.
        path: PathBuf,
    },
    /// A text file is not the text that was expected.
    #[error("cannot read {}", .path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// The problem with it.
        source: TextError,
    },
    /// There are class ids that no list of labels names, and too large to be counted up to.
    #[error(
        "{} has the class {found}; without a labels.txt that names them, classes count from 0 to at \
         most {most}", .path.display()
    )]
    TooManyClasses {
        /// The file of labels.
        path: PathBuf,
        /// The largest class id.
        found: u32,
        /// The largest that is taken.
        most: u32,
    },
    /// A file is not a table that can be learned from.
    #[error("cannot use the table {}", .path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// The problem with it.
        source: Box<TableError>,
    },
    /// A recording that cannot be read.
    #[error("cannot read {}", shown(path))]
    Sound {
        /// Its file.
        path: PathBuf,
        /// The problem with it.
        source: Box<SoundError>,
    },
    /// Features of recordings that cannot be computed.
    #[error("data.sounds: {0}")]
    Features(Box<SoundsError>),
    /// A pattern of file names without a clear meaning.
    #[error(
        "--pattern {given:?}: give different names in braces with a text between two of them, such as \
         {{label}}_{{speaker}}"
    )]
    BadPattern {
        /// What was given.
        given: String,
    },
    /// A file whose name does not follow the pattern.
    #[error("{} does not follow --pattern; rename or move it, or change the pattern", shown(file))]
    OtherName {
        /// The file.
        file: PathBuf,
    },
    /// A folder without recordings.
    #[error("{} has no .wav or .flac file; name the folder of the recordings", shown(folder))]
    NoRecordings {
        /// The folder.
        folder: PathBuf,
    },
    /// A recording that is in no folder of a class.
    #[error(
        "{} is in no folder of a class; put it into one, or name the parts of the file names with \
         --pattern, such as {{label}}_{{speaker}}",
        shown(file)
    )]
    NoClassFolder {
        /// The recording.
        file: PathBuf,
    },
    /// Values of a column that choose no row for the test, or all.
    #[error("--test {column}={}: {found} of {rows} rows have such a value; choose others", values.join(","))]
    TestValues {
        /// The column.
        column: String,
        /// The values.
        values: Vec<String>,
        /// Rows that have one.
        found: usize,
        /// All rows.
        rows: usize,
    },
    /// The rows for the test are neither a share, nor a number, nor a file, nor values of a column.
    #[error(
        "--test {given}: give a share between 0 and 1, a number of rows, an existing file, or values of a \
         column such as split=test"
    )]
    BadTest {
        /// What was given.
        given: String,
    },
    /// A fold is not written as it must be.
    #[error("data.table.fold = {given:?}: give one such as 2/5")]
    BadFold {
        /// What was given.
        given: String,
    },
    /// A fold has no rows, or all.
    #[error("--folds {of}: a fold would have no rows; give fewer folds")]
    EmptyFold {
        /// Folds.
        of: usize,
    },
    /// Rows cannot be divided in two ways at once.
    #[error("{first} and {second} both divide the rows; give one of them")]
    TwoDivisions {
        /// The first flag.
        first: &'static str,
        /// The second flag.
        second: &'static str,
    },
    /// Blocks of a table do not fit the memory.
    #[error("--memory {given}MB is too little for this table; give at least {needed}MB")]
    LittleMemory {
        /// Megabytes given.
        given: u64,
        /// The least megabytes.
        needed: u64,
    },
    /// A group of rows of Parquet, which is read at once, does not fit the memory.
    #[error(
        "--memory {given}MB is too little for row groups of {} MB; write the file with a smaller `row_group_size`",
        bytes.div_ceil(1 << 20)
    )]
    LargeGroups {
        /// Bytes of the largest group in memory.
        bytes: u64,
        /// Megabytes given.
        given: u64,
    },
    /// A thread that reads rows ended before its time.
    #[error("a reader of rows ended before its time")]
    Reader,
    /// Rows that stay on disk cannot be joined with others.
    #[error("rows that are read in blocks cannot be joined with others; leave out --memory")]
    BlocksAlone,
    /// All rows are of one group.
    #[error("all rows have the same value in the column of --group; choose another column")]
    OneGroup,
    /// A file or folder could not be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A file is not a well-formed IDX file, or not one of the kind that was needed.
    #[error("{} is not a usable IDX file", .path.display())]
    Idx {
        /// The file.
        path: PathBuf,
        /// The problem with it.
        source: IdxError,
    },
    /// A well-formed file holds rows that make no data set.
    #[error("{} holds unusable rows", .path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// The problem with the rows.
        source: Box<DataError>,
    },
    /// A set has more images than labels, or features than targets, or the other way round.
    #[error(
        "{} has {} but {} has {label_count}; each row of one needs one of the other",
        .images.display(), counted(*image_count as u64, "row"), .labels.display()
    )]
    CountMismatch {
        /// The file of images or features.
        images: PathBuf,
        /// The file of labels or targets.
        labels: PathBuf,
        /// Rows in the file of images or features.
        image_count: usize,
        /// Rows in the file of labels or targets.
        label_count: usize,
    },
    /// A folder has two files where one is needed.
    #[error(
        "{} has {} and {}, of which one is needed; leave the other out", .folder.display(), .first, .second
    )]
    TwoFiles {
        /// The folder.
        folder: PathBuf,
        /// Name of the first.
        first: String,
        /// Name of the second.
        second: String,
    },
    /// The training rows have classes and the test rows numbers, or the other way round.
    #[error(
        "{} has classes for some rows and numbers for others; training and test rows need the same",
        .folder.display()
    )]
    MixedTargets {
        /// The folder.
        folder: PathBuf,
    },
    /// A file of targets has more or fewer of them a row than others, or than there are names.
    #[error(
        "{}: the number of targets in a row is {found}, and not {expected}; both files of targets need as many, \
         and a labels.txt as many lines", .path.display()
    )]
    TargetColumns {
        /// The file of targets.
        path: PathBuf,
        /// Targets of a row.
        found: usize,
        /// Names of targets.
        expected: usize,
    },
    /// A published set does not have the number of rows it is known to have.
    #[error("{} has {}, the published file has {expected}; remove it to fetch it again", .path.display(), counted(*found as u64, "row"))]
    RowCount {
        /// The file.
        path: PathBuf,
        /// Rows of the published file.
        expected: usize,
        /// Rows of this file.
        found: usize,
    },
    /// Rows can only be selected by class if each has one.
    #[error("rows are chosen and renamed by their class, and these have other targets")]
    NoClasses,
    /// A label is not among the labels of the data.
    #[error("there is no label `{label}` among {}", .choices.join(", "))]
    UnknownLabel {
        /// The label.
        label: String,
        /// The labels of the data.
        choices: Vec<String>,
    },
    /// Sets that are to follow each other have other targets.
    #[error("the sets have different labels, or different kinds of targets; both need the same")]
    LabelMismatch,
    /// Training and test rows differ in shape.
    #[error("training rows have shape {train:?} but test rows have {test:?}; both need the same")]
    ShapeMismatch {
        /// Shape of a training row.
        train: Vec<usize>,
        /// Shape of a test row.
        test: Vec<usize>,
    },
    /// An image that should be square, because it is stored transposed, is not.
    #[error("images of shape {shape:?} cannot be transposed in place; expected [side, side]")]
    NotSquare {
        /// Shape of one image.
        shape: Vec<usize>,
    },
    /// A label of a one-based file is zero.
    #[error("label {row} is 0, but the labels of this file count from 1")]
    ZeroLabel {
        /// The row of the label.
        row: usize,
    },
    /// A `labels.txt` is not a list of names, one a line.
    #[error("{} line {line} is empty; write one label name a line", .path.display())]
    EmptyLabelLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// The files of an `idx:` folder were not found.
    #[error(
        "{} has none of {}; it contains {}{}",
        .folder.display(), .looked_for.join(", "), listing(.found), other_names(.found)
    )]
    MissingFile {
        /// The folder.
        folder: PathBuf,
        /// The names that would have been accepted; `.gz` and `.zst` may follow each.
        looked_for: Vec<String>,
        /// The names in the folder, sorted; at most the first 20.
        found: Vec<String>,
    },
    /// A source name is not known.
    #[error("unknown data set `{name}`{}; choose one of {}", suggestion(.nearest), .choices.join(", "))]
    UnknownSource {
        /// The name given.
        name: String,
        /// The known name that is spelt most like it, if any is near.
        nearest: Option<String>,
        /// Every known name.
        choices: Vec<String>,
    },
    /// A path was given in the place of a source.
    #[error(
        "`{name}` {}",
        match .is_folder {
            Some(true) => format!("is a folder: to read its IDX files, give idx:{name}"),
            Some(false) => format!("is a file: {A_SOURCE}"),
            None => format!("does not exist: {A_SOURCE}"),
        }
    )]
    PathAsSource {
        /// The path.
        name: String,
        /// True if it is a folder; none if it does not exist.
        is_folder: Option<bool>,
    },
    /// The operating system names no folder for cached files.
    #[error("no cache folder is known for this user; set LoadOptions::cache_folder")]
    NoCacheFolder,
    /// The bytes of a file are not the published ones.
    #[error("{} has the checksum {found}, the published one is {expected}", .path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The published sum, in hexadecimal.
        expected: String,
        /// The sum of the file, in hexadecimal.
        found: String,
    },
    /// A file is neither cached nor could it be fetched.
    #[error(
        "cannot get {file}:{}\nwithout a network, put it into {} as {}",
        attempts_text(.attempts), .folder.display(), .accepted_names.join(" or ")
    )]
    Unavailable {
        /// The name of the file.
        file: String,
        /// The attempts, in order, with the reason for each failure.
        attempts: Vec<Attempt>,
        /// The folder in which the file is looked for.
        folder: PathBuf,
        /// The names under which it is accepted there.
        accepted_names: Vec<String>,
    },
    /// A URL could not be fetched.
    #[error("cannot fetch {url}: {reason}")]
    Fetch {
        /// The address.
        url: String,
        /// The error, causes included.
        reason: String,
    },
    /// A zip archive, or a member of it, could not be read.
    #[error("cannot read {member} in the archive {}", .path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// The member.
        member: String,
        /// The error of the archive reader.
        source: zip::result::ZipError,
    },
    /// The shape of a row has no axis, a zero, or a product that overflows.
    #[error("a row cannot have the shape {shape:?}; every size must be at least 1")]
    BadShape {
        /// The shape given.
        shape: Vec<usize>,
    },
    /// There are no rows.
    #[error("the data set has no rows; at least one is needed")]
    NoRows,
    /// The features do not fill whole rows.
    #[error("{found} feature values do not fill rows of {width}")]
    PartialRow {
        /// Values in one row.
        width: usize,
        /// Values given.
        found: usize,
    },
    /// There are too many or too few targets for the rows.
    #[error("{} for {}; expected {expected}", counted(*found as u64, "target value"), counted(*rows as u64, "row"))]
    TargetCount {
        /// Rows of features.
        rows: usize,
        /// Target values these rows need.
        expected: usize,
        /// Target values given.
        found: usize,
    },
    /// There are no labels (classes) or names (regression targets).
    #[error("no labels or target names were given; at least one is needed")]
    NoLabels,
    /// Two labels or target names are equal.
    #[error("the label `{label}` occurs twice; labels must differ")]
    DuplicateLabel {
        /// The label.
        label: String,
    },
    /// A class id has no label.
    #[error("row {row} has class {id}, but there are labels for 0 to {} only", .classes - 1)]
    ClassOutOfRange {
        /// The row.
        row: usize,
        /// The class id found.
        id: u32,
        /// The number of labels.
        classes: usize,
    },
    /// A multi-label target is neither 0 nor 1.
    #[error("row {row}, label {column}: found {found}, expected 0 or 1")]
    NotBinary {
        /// The row.
        row: usize,
        /// The label, counted from 0.
        column: usize,
        /// The value found.
        found: u8,
    },
    /// There are more or fewer weights than rows.
    #[error("{} for {}; there must be one of each", counted(*found as u64, "weight"), counted(*rows as u64, "row"))]
    WeightCount {
        /// Rows of the data set.
        rows: usize,
        /// Weights given.
        found: usize,
    },
    /// A weight is below 0, or no finite number.
    #[error("row {row}: the weight is {found}; it must be finite and at least 0")]
    BadWeight {
        /// The row.
        row: usize,
        /// Its weight.
        found: f32,
    },
    /// Every weight is 0.
    #[error("all rows have the weight 0, so nothing can be learned from them")]
    NoWeight,
    /// A feature or a target is NaN or infinite.
    #[error("row {row}, {role} {column}: found {found}, expected a finite number")]
    NotFinite {
        /// `"feature"` or `"target"`.
        role: &'static str,
        /// The row.
        row: usize,
        /// The column, counted from 0.
        column: usize,
        /// The value found.
        found: f32,
    },
    /// The fraction of a holdout is not in `0.0..1.0`.
    #[error("a holdout of {found} of the rows is impossible; expected at least 0 and less than 1")]
    BadFraction {
        /// The fraction given.
        found: f64,
    },
    /// A holdout would leave no row for training.
    #[error("holding out {holdout} of {} leaves none to train on", counted(*rows as u64, "row"))]
    HoldoutTooLarge {
        /// Rows to hold out.
        holdout: usize,
        /// Rows in the data set.
        rows: usize,
    },
    /// A stratified split was asked of targets that are not classes.
    #[error(
        "only a data set with one class per row can be split by class; split it without strata"
    )]
    NotClasses,
}

/// One place that was tried for a file, and why it did not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// A URL, or the path of a local file.
    pub address: String,
    /// Why it failed, causes included.
    pub reason: String,
}

impl DataError {
    /// Tells the table that an error is about.
    pub(crate) fn table(path: &Path) -> impl Fn(TableError) -> Self {
        move |source| Self::Table { path: path.to_owned(), source: Box::new(source) }
    }

    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { path, source }
    }

    pub(crate) fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Write { path, source }
    }

    pub(crate) fn idx(path: &Path) -> impl FnOnce(IdxError) -> Self {
        let path = path.to_owned();
        move |source| Self::Idx { path, source }
    }

    pub(crate) fn in_file(path: &Path) -> impl FnOnce(DataError) -> Self {
        let path = path.to_owned();
        move |source| Self::InFile { path, source: Box::new(source) }
    }
}

fn listing(names: &[String]) -> String {
    if names.is_empty() { "no files".to_owned() } else { names.join(", ") }
}

/// Suggests a remedy for the files of a set that is known by another name.
fn other_names(names: &[String]) -> String {
    if names.iter().any(|name| name.starts_with("qmnist-")) {
        "\nthese look like the files of QMNIST; use --data qmnist, or rename them".to_owned()
    } else if names.iter().any(|name| name.starts_with("emnist-")) {
        "\nthese look like the files of EMNIST, whose images are stored transposed; use --data \
         emnist-letters or another of its splits"
            .to_owned()
    } else {
        String::new()
    }
}

fn suggestion(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!(", did you mean `{name}`?")).unwrap_or_default()
}

fn attempts_text(attempts: &[Attempt]) -> String {
    attempts.iter().map(|attempt| format!("\n  {}: {}", attempt.address, attempt.reason)).collect()
}
