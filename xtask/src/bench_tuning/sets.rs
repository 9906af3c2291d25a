//! Sets of the four IDX files, read, cut and turned.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// The images and labels of a part.
const PARTS: [&str; 2] = ["train", "t10k"];
const IMAGES: &str = "images-idx3-ubyte";
const LABELS: &str = "labels-idx1-ubyte";
/// The type of a byte, and how many axes there are.
const BYTES: [u8; 3] = [0, 0, 8];

/// Images of one size and a label for each.
#[derive(Clone)]
pub(crate) struct LabelledRows {
    size: [usize; 2],
    /// `[rows, height, width]`.
    images: Vec<u8>,
    labels: Vec<u8>,
}

/// The training rows, the test rows, and the names of the labels, if the folder has them.
#[derive(Clone)]
pub(crate) struct Set {
    pub(crate) train: LabelledRows,
    pub(crate) test: LabelledRows,
    pub(crate) names: Option<String>,
}

impl LabelledRows {
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// These rows alone.
    pub(crate) fn at(&self, rows: &[usize]) -> Self {
        let pixels = self.size[0] * self.size[1];
        let mut images = Vec::with_capacity(rows.len() * pixels);
        rows.iter()
            .for_each(|&row| images.extend_from_slice(&self.images[row * pixels..][..pixels]));
        let labels = rows.iter().map(|&row| self.labels[row]).collect();
        Self { size: self.size, images, labels }
    }

    /// The rows of these labels, or all if none are named.
    pub(crate) fn of(&self, labels: &[u8]) -> Vec<usize> {
        (0..self.len())
            .filter(|&row| labels.is_empty() || labels.contains(&self.labels[row]))
            .collect()
    }

    /// Rows of these labels, drawn from a seed, at most `count`.
    pub(crate) fn drawn(&self, labels: &[u8], count: usize, seed: u64) -> Self {
        let mut rows = self.of(labels);
        shuffle(&mut rows, seed);
        rows.truncate(count);
        self.at(&rows)
    }

    /// Every image turned by a quarter, against the clock.
    pub(crate) fn turned(&self) -> Self {
        let [height, width] = self.size;
        let mut images = Vec::with_capacity(self.images.len());
        for image in self.images.chunks_exact(height * width) {
            for column in (0..width).rev() {
                images.extend((0..height).map(|row| image[row * width + column]));
            }
        }
        Self { size: [width, height], images, labels: self.labels.clone() }
    }
}

impl Set {
    /// Reads a folder whose files may be compressed with gzip or Zstandard.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let [train, test] = PARTS.map(|part| rows(folder, part));
        let names = fs::read_to_string(folder.join("labels.txt")).ok();
        Ok(Self { train: train?, test: test?, names })
    }

    /// Writes a folder of four plain files, in the place of what is there.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
        for (part, rows) in PARTS.into_iter().zip([&self.train, &self.test]) {
            let sizes = [rows.len(), rows.size[0], rows.size[1]];
            let images = [header(&sizes), rows.images.clone()].concat();
            fs::write(folder.join(format!("{part}-{IMAGES}")), images)?;
            let labels = [header(&[rows.len()]), rows.labels.clone()].concat();
            fs::write(folder.join(format!("{part}-{LABELS}")), labels)?;
        }
        if let Some(names) = &self.names {
            fs::write(folder.join("labels.txt"), names)?;
        }
        Ok(())
    }

    /// With names for the labels, so that they are none of another set's.
    pub(crate) fn named(self, names: &str) -> Self {
        Self { names: Some(names.to_owned()), ..self }
    }
}

fn rows(folder: &Path, part: &str) -> Result<LabelledRows> {
    let (sizes, images) = payload(folder, &format!("{part}-{IMAGES}"), 3)?;
    let (labelled, labels) = payload(folder, &format!("{part}-{LABELS}"), 1)?;
    ensure!(sizes[0] == labelled[0], "{}: as many labels as images", folder.display());
    Ok(LabelledRows { size: [sizes[1], sizes[2]], images, labels })
}

/// The sizes and the bytes of a file.
fn payload(folder: &Path, name: &str, axes: usize) -> Result<(Vec<usize>, Vec<u8>)> {
    let bytes = unpacked(folder, name)?;
    let is_said = bytes.starts_with(&BYTES) && bytes.get(3) == Some(&(axes as u8));
    ensure!(is_said, "{name} in {} is no IDX file of bytes", folder.display());
    let (head, values) = bytes.split_at_checked(4 + 4 * axes).context("a short IDX file")?;
    let sizes: Vec<usize> = head[4..]
        .chunks_exact(4)
        .map(|size| size.iter().fold(0, |all, &byte| all << 8 | usize::from(byte)))
        .collect();
    ensure!(
        sizes.iter().product::<usize>() == values.len(),
        "{name} in {} is not as long as it says",
        folder.display()
    );
    Ok((sizes, values.to_vec()))
}

fn unpacked(folder: &Path, name: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let [plain, gzip, zstandard] =
        ["", ".gz", ".zst"].map(|suffix| File::open(folder.join(format!("{name}{suffix}"))).ok());
    let read = if let Some(mut file) = plain {
        file.read_to_end(&mut bytes)
    } else if let Some(file) = gzip {
        flate2::read::MultiGzDecoder::new(file).read_to_end(&mut bytes)
    } else if let Some(file) = zstandard {
        ruzstd::decoding::StreamingDecoder::new(file)?.read_to_end(&mut bytes)
    } else {
        anyhow::bail!("there is no {name} in {}, plain, .gz or .zst", folder.display())
    };
    read.with_context(|| format!("{name} in {}", folder.display()))?;
    Ok(bytes)
}

fn header(sizes: &[usize]) -> Vec<u8> {
    let mut header = [&BYTES[..], &[sizes.len() as u8]].concat();
    sizes.iter().for_each(|&size| header.extend((size as u32).to_be_bytes()));
    header
}

/// Orders at random by `SplitMix64` (Steele, Lea and Flood 2014).
fn shuffle(rows: &mut [usize], seed: u64) {
    let mut state = seed;
    for last in (1..rows.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        rows.swap(last, ((mixed ^ mixed >> 31) % (last as u64 + 1)) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Set {
        let rows = LabelledRows { size: [2, 3], images: (0..12).collect(), labels: vec![7, 8] };
        Set { train: rows.clone(), test: rows.at(&[1]), names: None }
    }

    #[test]
    fn a_quarter_turn_against_the_clock() {
        // 0 1 2      2 5
        // 3 4 5  to  1 4
        //            0 3
        let turned = set().train.turned();
        assert_eq!((turned.size, &turned.images[..6]), ([3, 2], &[2, 5, 1, 4, 0, 3][..]));
        let back = turned.turned().turned().turned();
        assert_eq!((back.size, back.images), (set().train.size, set().train.images));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        set().named("x\ny\n").write(folder.path()).unwrap();
        let read = Set::read(folder.path()).unwrap();
        assert_eq!((read.train.images, read.train.labels), (set().train.images, vec![7, 8]));
        assert_eq!((read.test.images, read.names), ((6..12).collect(), Some("x\ny\n".to_owned())));
        set().write(folder.path()).unwrap();
        assert_eq!(Set::read(folder.path()).unwrap().names, None);
        fs::write(folder.path().join("train-labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 9]).unwrap();
        assert!(Set::read(folder.path()).is_err());
    }

    #[test]
    fn rows_are_drawn_by_label_and_seed() {
        let rows =
            LabelledRows { size: [1, 1], images: (0..100).collect(), labels: (0..100).collect() };
        let some: Vec<u8> = (10..60).collect();
        let drawn = rows.drawn(&some, 20, 1);
        assert_eq!((drawn.len(), &drawn.images), (20, &drawn.labels));
        assert!(drawn.labels.iter().all(|label| some.contains(label)));
        assert_ne!(drawn.labels, rows.drawn(&some, 20, 2).labels);
        let mut all = rows.drawn(&[], 1000, 3).labels;
        all.sort_unstable();
        assert_eq!(all, rows.labels);
    }
}
