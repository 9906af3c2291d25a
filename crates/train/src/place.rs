//! Where the data of a run is: where it was, where it may have gone, and whether it is the same.
//!
//! The settings of a run keep the name of its data as it was typed, so that neither the model nor
//! its digest depends on where the folder lies. The manifest has the place, and the digest decides.

use std::path::{Component, Path, PathBuf};

use fireclay::{Description, InputSpec, Task};
use fireclay_data::{DataError, Source, TrainTest};
use fireclay_measure::{fitted_to, only};
use fireclay_terminal::message;
use serde::{Deserialize, Serialize};

use crate::manifest::{DataSummary, Manifest};
use crate::settings::Settings;
use crate::tuning::Tuning;

/// Where a folder of data was when work on a run last began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// From the root of the file system.
    pub absolute: String,
    /// From the folder of the run, if the two have more in common than the root: a project that is
    /// moved as a whole keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative: Option<String>,
}

impl Place {
    /// The place of a source, as the run in `folder` sees it; none of a set that is known by name,
    /// nor of a path that is not UTF-8.
    pub(crate) fn of(source: &Source, folder: &Path) -> Option<Self> {
        let path = source.path()?;
        let absolute = path.canonicalize().ok()?;
        let relative = folder.canonicalize().ok().and_then(|run| relative(&run, &absolute));
        let relative = relative.and_then(|path| path.to_str().map(str::to_owned));
        Some(Self { absolute: absolute.to_str()?.to_owned(), relative })
    }
}

/// The way from one absolute folder to another, if they have more in common than the root.
fn relative(from: &Path, to: &Path) -> Option<PathBuf> {
    let (from, to): (Vec<_>, Vec<_>) = (from.components().collect(), to.components().collect());
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let is_more = from[..common].iter().any(|part| matches!(part, Component::Normal(_)));
    let up = from[common..].iter().map(|_| Component::ParentDir);
    is_more.then(|| up.chain(to[common..].iter().copied()).collect())
}

/// A path from the root, without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// The name of a source that says nothing of where a folder lies: of an absolute path the last part.
pub fn portable(name: &str) -> String {
    let prefix = ["idx:", "sounds:"].into_iter().find(|prefix| name.starts_with(prefix));
    let prefix = prefix.unwrap_or_default();
    let path = Path::new(&name[prefix.len()..]);
    match path.file_name().filter(|_| path.is_absolute()) {
        Some(last) => format!("{prefix}{}", last.to_string_lossy()),
        None => name.to_owned(),
    }
}

/// Why the data of a run cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// What a person named cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// It is in none of the places where it may be.
    #[error(
        "{}, which was {name} when it began; its digest is in manifest.json. Looked at:{}\n\
         Name the file or folder that has it with {flag} PATH",
        if *has_other {
            "the data is not what this run learns from"
        } else {
            "cannot find the data that this run learns from"
        },
        looked.iter().map(|line| format!("\n  {line}")).collect::<String>()
    )]
    NotFound {
        /// What it was called when the run began.
        name: String,
        /// The places, each with what is wrong there.
        looked: Vec<String>,
        /// Whether one of them has other data.
        has_other: bool,
        /// The flag that names its place.
        flag: &'static str,
    },
}

/// The data of a run, looked for where it was and where it may have gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sought<'a> {
    /// The source as the settings of the run have it.
    pub(crate) name: &'a str,
    /// Where it was.
    pub(crate) place: Option<&'a Place>,
    /// The folder of the run.
    pub(crate) folder: &'a Path,
    /// The flag that says where it is now.
    pub(crate) flag: &'static str,
    /// What was typed behind it.
    pub(crate) told: Option<&'a str>,
    /// The settings of the run, if the data is what it learns from.
    pub(crate) settings: Option<&'a Settings>,
    /// Input of the model that the run starts from.
    pub(crate) input: Option<&'a InputSpec>,
}

impl Sought<'_> {
    /// The first source whose data `is_same`; a source that was given is the only one tried.
    ///
    /// # Errors
    ///
    /// Data that cannot be read, and a list of the folders without the right data.
    pub(crate) fn find(
        &self,
        load: &dyn Fn(&Source) -> Result<TrainTest, DataError>,
        is_same: &dyn Fn(&TrainTest) -> bool,
    ) -> Result<(Source, TrainTest), PlaceError> {
        let mut looked = Vec::new();
        let mut has_other = false;
        for source in self.candidates()? {
            if let Some(path) = source.path()
                && self.told.is_none()
                && !path.exists()
            {
                looked.push(format!("{}: not there", plain(path).display()));
                continue;
            }
            match load(&source) {
                // What is known by name has been checked against published sums.
                Ok(data) if source.path().is_none() && self.told.is_none() => {
                    return Ok((source, data));
                }
                Ok(data) if is_same(&data) => return Ok((source, data)),
                Ok(_) => {
                    has_other = true;
                    looked.push(format!("{source}: other data"));
                }
                Err(error) if self.told.is_some() => return Err(error.into()),
                Err(error) => looked.push(message(&error)),
            }
        }
        let (flag, name) = (self.flag, self.name.to_owned());
        Err(PlaceError::NotFound { name, looked, has_other, flag })
    }

    /// The source of a name, with what the settings say of a table.
    fn source(&self, name: &str) -> Result<Source, DataError> {
        let source = match self.settings {
            Some(settings) => settings.source_named(name)?,
            None => name.parse()?,
        };
        Ok(match self.input {
            Some(input) => source.encoded_by(input),
            None => source,
        })
    }

    /// Where it may be: where it is called so, where it was, and near the run.
    fn candidates(&self) -> Result<Vec<Source>, DataError> {
        if let Some(told) = self.told {
            return Ok(vec![self.source(told)?]);
        }
        let named = self.source(self.name)?;
        let Some(path) = named.path() else { return Ok(vec![named]) };
        let mut paths = vec![path.to_owned()];
        // Where links lead, as the relative place was found.
        let folder = self.folder.canonicalize().unwrap_or_else(|_| plain(self.folder));
        if let Some(Place { absolute, relative }) = self.place {
            paths.extend(relative.as_ref().map(|relative| plain(&folder.join(relative))));
            paths.push(PathBuf::from(absolute));
        }
        if path.is_relative() {
            // The folder that `--out` is in is near, and runs of older versions have no place.
            paths.extend(folder.ancestors().skip(1).take(4).map(|above| plain(&above.join(path))));
        }
        let mut seen = Vec::new();
        let mut found = Vec::new();
        for path in paths {
            let same = path.canonicalize().unwrap_or_else(|_| plain(&path));
            if !seen.contains(&same) {
                seen.push(same);
                found.push(named.at(path));
            }
        }
        Ok(found)
    }
}

/// The data of a run, all classes of it, checked against the digests in its manifest; `told` is the
/// place that a person gives, `model` the model of the run, and `load` reads a source.
///
/// # Errors
///
/// Data that cannot be found or read, or is not what the run learned from.
pub fn whole_data_of_run(
    manifest: &Manifest,
    folder: &Path,
    model: &Description,
    told: Option<&str>,
    load: &dyn Fn(&Source) -> Result<TrainTest, DataError>,
) -> Result<TrainTest, PlaceError> {
    let settings = &manifest.settings;
    let sought = Sought {
        name: &settings.data.source,
        settings: Some(settings),
        input: Some(&model.input),
        place: manifest.data.place.as_ref(),
        folder,
        flag: "--data",
        told,
    };
    Ok(sought.find(load, &|data| is_data_of(manifest, data, &model.task))?.1)
}

/// Whether data has the digests that a run has of its own, once it has the classes and the labels of
/// the run.
pub(crate) fn is_data_of(manifest: &Manifest, data: &TrainTest, task: &Task) -> bool {
    let Manifest { settings, data: DataSummary { digest, .. }, .. } = manifest;
    let mut digests = digest.split(' ');
    let (train, test) = (digests.next(), digests.next());
    // Rows that were replayed are among those of the first digest.
    let replays = settings.tuning.as_ref().is_some_and(Tuning::replays);
    let has_digests = |data: &TrainTest| {
        test == Some(data.test.digest().as_str())
            && (replays || train == Some(data.train.digest().as_str()))
    };
    let classes = &settings.data.classes;
    if classes.is_empty() && settings.tuning.is_none() {
        return has_digests(data);
    }
    let Ok(chosen) = only(data.clone(), classes) else { return false };
    if settings.tuning.is_none() {
        return has_digests(&chosen);
    }
    fitted_to(chosen, task).is_ok_and(|data| has_digests(&data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_leads_from_the_run_to_its_data_if_both_are_of_one_project() {
        let way = |from: &str, to: &str| relative(Path::new(from), Path::new(to));
        assert_eq!(way("/a/p/runs/x", "/a/p/data"), Some("../../data".into()));
        assert_eq!(way("/a/p", "/a/p/data/d"), Some("data/d".into()));
        assert_eq!(way("/a/p/runs/x", "/mnt/data"), None);
    }

    #[test]
    fn a_portable_name_does_not_say_where_a_folder_lies() {
        assert_eq!(portable("idx:/data/digits"), "idx:digits");
        assert_eq!(portable("idx:../digits"), "idx:../digits");
        assert_eq!(portable("mnist"), "mnist");
        assert_eq!(portable("/data/prices.csv"), "prices.csv");
    }
}
