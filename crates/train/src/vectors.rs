//! Pretrained vectors of words, from which the bag of a text starts.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fireclay::host::initial_values;
use fireclay::{
    Architecture, Device, FrontParameter, InputSpec, Mlp, ParameterPath, TermPlaces, Text,
};
use fireclay_readers::{VectorsError, WordVectors};
use fireclay_terminal::{group, printable};

/// A file of vectors that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}", printable(&path.display().to_string(), 200))]
pub struct VectorsFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub source: VectorsError,
}

/// Numbers of each vector in a file.
///
/// # Errors
///
/// A [`VectorsFileError`].
pub(crate) fn width(path: &Path) -> Result<usize, VectorsFileError> {
    let vectors = File::open(path).map_err(VectorsError::from);
    let vectors = vectors.and_then(|file| WordVectors::begin(BufReader::new(file)));
    let width = vectors.map(|vectors| vectors.width());
    width.map_err(|source| VectorsFileError { path: path.to_owned(), source })
}

/// A fresh network of which each bag has the vectors of a file for the words that are in it.
///
/// # Errors
///
/// A file without any of these words, or whose vectors have another length; a text that is hashed.
pub(crate) fn network_with(
    path: &Path,
    network: &Architecture,
    input: &InputSpec,
    seed: u64,
    device: &Device,
) -> Result<Mlp> {
    network.check_memory()?;
    let mut texts = input.texts();
    Mlp::build(network, device, &mut |parameter, _| {
        let mut values = initial_values(network, seed, parameter);
        let is_bag =
            |part: usize| network.front.get(part).is_some_and(|part| part.terms().is_some());
        match parameter {
            ParameterPath::Front(part, FrontParameter::Weight) if is_bag(part) => {
                if let Some(text) = texts.next() {
                    let width = network.front[part].width();
                    fill(path, text, width, &mut values).with_context(|| {
                        format!("the vectors of {}", printable(&path.display().to_string(), 200))
                    })?;
                }
            }
            _ => {}
        }
        Ok(values)
    })
}

/// Writes the vector of each word that has a place.
fn fill(path: &Path, text: &Text, width: usize, values: &mut [f32]) -> Result<()> {
    let TermPlaces::Vocabulary { terms } = &text.places else {
        bail!("they need a vocabulary; leave --buckets out");
    };
    let mut vectors = WordVectors::begin(BufReader::new(File::open(path)?))?;
    if vectors.width() != width {
        bail!("they have {} numbers, and the text has {width}", vectors.width());
    }
    let mut is_filled = vec![false; terms.terms().len()];
    let mut vector = Vec::with_capacity(width);
    while let Some(word) = vectors.next_into(&mut vector)? {
        let place = terms.place(word).map(|place| place as usize);
        // Of a word that occurs twice, the first counts.
        if let Some(place) = place.filter(|&place| !is_filled[place]) {
            is_filled[place] = true;
            values[place * width..][..width].copy_from_slice(&vector);
        }
    }
    let filled = is_filled.iter().filter(|is_filled| **is_filled).count();
    if filled == 0 {
        bail!("none of the {} terms is in it", group(is_filled.len() as u64));
    }
    log::info!("{filled} of {} terms have a vector of {}", is_filled.len(), path.display());
    Ok(())
}
