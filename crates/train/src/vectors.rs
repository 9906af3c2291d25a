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

#[cfg(test)]
mod tests {
    use fireclay::host::{TextEncoding, TextFit};
    use fireclay::{Activation, Backend, DeviceChoice, Field, FrontPart, MlpConfig};

    use super::*;

    fn input(encoding: &TextEncoding) -> InputSpec {
        let mut fit = TextFit::new(encoding);
        fit.add(Some("bad good tea"));
        InputSpec::new(vec![Field::new("x", fit.finish(9))]).unwrap()
    }

    /// The vectors of the bag of a fresh network.
    fn started(file: &str, encoding: &TextEncoding) -> Result<Vec<f32>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("words.vec");
        std::fs::write(&path, file).unwrap();
        let device = Backend::Flex.device(DeviceChoice::Default).unwrap();
        let input = input(encoding);
        let terms = input.texts().next().unwrap().terms();
        let bag = FrontPart::Bag { terms, width: 2, activation: Activation::Relu };
        let network = MlpConfig { front: vec![bag], ..MlpConfig::new([0], [], 2) };
        let mlp = network_with(&path, &network.architecture().unwrap(), &input, 1, &device)?;
        let tensors = mlp.tensors().unwrap().into_iter();
        Ok(tensors
            .filter(|tensor| tensor.name == "front.0.weight")
            .flat_map(|one| one.values)
            .collect())
    }

    fn words() -> TextEncoding {
        TextEncoding { word_ngrams: "1".parse().unwrap(), ..TextEncoding::default() }
    }

    #[test]
    fn words_of_the_file_have_its_vectors_and_others_those_of_the_seed() {
        let found = started("2 2\ntea 0.5 -3\nbad 7 8\ntea 1 1\n", &words()).unwrap();
        assert_eq!((&found[..2], &found[4..]), (&[7.0, 8.0][..], &[0.5, -3.0][..]));
        let other = started("cup 1 1\nbad 1 2\n", &words()).unwrap();
        assert_eq!(found[2..4], other[2..4]);
        assert!(found[2..4].iter().all(|x| x.abs() <= 0.5));
    }

    #[test]
    fn files_that_do_not_fit_are_refused() {
        let hashed = TextEncoding { buckets: Some(8), ..words() };
        for (file, encoding, expected) in [
            ("cup 1 1\n", words(), "none of the 3 terms"),
            ("tea 1 1 1\n", words(), "they have 3 numbers, and the text has 2"),
            ("tea 1 1\n", hashed, "leave --buckets out"),
            ("tea 1 1\nbad 1\n", words(), "line 2"),
        ] {
            let error = format!("{:#}", started(file, &encoding).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }
}
