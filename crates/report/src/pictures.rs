//! Rows and weights as pictures.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fireclay::InputSpec;
use fireclay_data::{Dataset, Features};
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

/// A PNG of a size in pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    png: Vec<u8>,
}

impl Picture {
    /// The bytes of its file.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.png
    }

    /// The picture as an address that holds it.
    pub(crate) fn data_uri(&self) -> String {
        format!("data:image/png;base64,{}", STANDARD.encode(&self.png))
    }
}

/// Where the pixels of a row are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    height: usize,
    width: usize,
    /// 1 is grey, 3 red, green and blue.
    channels: usize,
    /// Whether a channel is a plane of its own, or the channels of a pixel are neighbours.
    is_planar: bool,
    /// Mel bands, or coefficients, of rows that are spectrograms: the lowest is at the bottom.
    bands: Option<usize>,
}

/// Longest side of a picture of a row; of larger ones every second pixel, or third, … is taken.
const LONGEST_SIDE: usize = 64;

impl Layout {
    /// The layout of rows with a shape such as `[28, 28]`, `[32, 32, 3]` or `[3, 32, 32]`.
    pub(crate) fn of(shape: &[usize]) -> Option<Self> {
        let (height, width, channels, is_planar) = match *shape {
            [height, width] => (height, width, 1, false),
            [1, height, width] | [height, width, 1] => (height, width, 1, false),
            [height, width, 3] => (height, width, 3, false),
            [3, height, width] => (height, width, 3, true),
            _ => return None,
        };
        let bands = None;
        (height > 1 && width > 1).then_some(Self { height, width, channels, is_planar, bands })
    }

    /// The layout of rows of this shape for a model; those of recordings are spectrograms, with deltas
    /// below.
    pub(crate) fn of_input(input: &InputSpec, shape: &[usize]) -> Option<Self> {
        let bands = input.sounds().map(|sounds| sounds.bands());
        Self::of(shape).map(|layout| Self { bands, ..layout })
    }

    /// The line of a row that is shown in a place, and the place of a line.
    fn line(self, y: usize) -> usize {
        self.bands.map_or(y, |bands| y / bands * bands + bands - 1 - y % bands)
    }

    /// The place of a channel of a pixel in a row.
    fn place(self, y: usize, x: usize, channel: usize) -> usize {
        let pixel = self.line(y) * self.width + x;
        if self.is_planar {
            channel * self.height * self.width + pixel
        } else {
            pixel * self.channels + channel
        }
    }
}

/// The picture of a row of a data set: bytes as they are, other numbers from their least to their
/// greatest.
pub(crate) fn row(data: &Dataset, layout: Layout, row: usize) -> Picture {
    let range = row * data.width()..(row + 1) * data.width();
    let values: Vec<u8> = match data.features() {
        Features::Bytes(bytes) => bytes[range].to_vec(),
        Features::Floats(floats) => stretched(&floats[range]),
        Features::Blocks(_) => stretched(&data.numbers(row..row + 1)),
    };
    let every = layout.height.max(layout.width).div_ceil(LONGEST_SIDE);
    let (ys, xs) = ((0..layout.height).step_by(every), (0..layout.width).step_by(every));
    let (height, width) = (ys.len(), xs.len());
    let pixels = ys.flat_map(|y| xs.clone().map(move |x| (y, x)));
    let bytes: Vec<u8> = pixels
        .flat_map(|(y, x)| (0..layout.channels).map(move |channel| layout.place(y, x, channel)))
        .map(|place| values[place])
        .collect();
    let colour = if layout.channels == 1 { Colour::Grey } else { Colour::Rgb };
    png(width, height, &colour, &bytes)
}

fn stretched(values: &[f32]) -> Vec<u8> {
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    // A cast of something beyond a byte ends at its edge, and one of NaN, of equal values, at 0.
    values.iter().map(|value| ((value - low) / (high - low) * 255.0) as u8).collect()
}

/// Units shown of a first layer.
pub(crate) const UNITS: usize = 144;

/// Colours of weights: 31 of negative ones, one of 0, 31 of positive ones.
const LEVELS: i32 = 31;

/// The weights of the units of a first layer, `[units, inputs]`, side by side.
///
/// Blue is negative, orange positive, transparent 0; full colour is the weight that only one in
/// 200 exceeds.
pub(crate) fn weights(values: &[f32], layout: Layout) -> Option<Picture> {
    const COLUMNS: usize = 16;
    let inputs = layout.height * layout.width;
    if layout.channels != 1 || layout.height.max(layout.width) > LONGEST_SIDE {
        return None;
    }
    let units: Vec<&[f32]> = values.chunks_exact(inputs).take(UNITS).collect();
    let full = quantile_of_sizes(&units.concat())?;
    let columns = units.len().min(COLUMNS);
    let (cell_width, cell_height) = (layout.width + 2, layout.height + 2);
    let (width, height) = (columns * cell_width, units.len().div_ceil(columns) * cell_height);
    let mut indices = vec![LEVELS as u8; width * height];
    for (i, unit) in units.iter().enumerate() {
        let (top, left) = (i / columns * cell_height + 1, i % columns * cell_width + 1);
        for (y, line) in unit.chunks_exact(layout.width).enumerate() {
            let start = (top + layout.line(y)) * width + left;
            for (index, weight) in indices[start..].iter_mut().zip(line) {
                let level = (weight / full * LEVELS as f32).round() as i32;
                *index = (level.clamp(-LEVELS, LEVELS) + LEVELS) as u8;
            }
        }
    }
    Some(png(width, height, &Colour::Weights, &indices))
}

/// The size that only one number in 200 exceeds; none if all are 0.
fn quantile_of_sizes(values: &[f32]) -> Option<f32> {
    let mut sizes: Vec<f32> = values.iter().map(|value| value.abs()).collect();
    sizes.sort_by(f32::total_cmp);
    let at = sizes.get(sizes.len().saturating_sub(1 + sizes.len() / 200))?;
    (*at > 0.0).then_some(*at)
}

/// How bytes are pixels.
pub(crate) enum Colour {
    Grey,
    Rgb,
    /// Indices into the colours of weights.
    Weights,
}

/// A PNG of 8 bits a sample (W3C, Portable Network Graphics, third edition).
///
/// Written here, in forty lines, because the crate `png` would switch on features of packages
/// below Burn, which would then be compiled twice.
pub(crate) fn png(width: usize, height: usize, colour: &Colour, bytes: &[u8]) -> Picture {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let colour_type = match colour {
        Colour::Grey => 0,
        Colour::Rgb => 2,
        Colour::Weights => 3,
    };
    let mut header = Vec::new();
    header.extend((width as u32).to_be_bytes());
    header.extend((height as u32).to_be_bytes());
    header.extend([8, colour_type, 0, 0, 0]);
    chunk(&mut png, b"IHDR", &header);
    if let Colour::Weights = colour {
        let palette: Vec<u8> = (-LEVELS..=LEVELS)
            .flat_map(|level| if level < 0 { [0, 114, 178] } else { [213, 94, 0] })
            .collect();
        let alpha: Vec<u8> =
            (-LEVELS..=LEVELS).map(|level| (level.abs() * 255 / LEVELS) as u8).collect();
        chunk(&mut png, b"PLTE", &palette);
        chunk(&mut png, b"tRNS", &alpha);
    }
    chunk(&mut png, b"IDAT", &compressed(bytes, bytes.len() / height));
    chunk(&mut png, b"IEND", &[]);
    Picture { width, height, png }
}

/// The lines of a picture, each behind a byte that says that it is not filtered.
fn compressed(bytes: &[u8], stride: usize) -> Vec<u8> {
    let lines: Vec<u8> =
        bytes.chunks_exact(stride).flat_map(|line| [&[0], line].concat()).collect();
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    // Writing to memory does not fail.
    let _ = encoder.write_all(&lines);
    encoder.finish().unwrap_or_default()
}

fn chunk(png: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    png.extend((data.len() as u32).to_be_bytes());
    png.extend(kind);
    png.extend(data);
    let mut sum = Crc::new();
    sum.update(kind);
    sum.update(data);
    png.extend(sum.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use fireclay::{Preprocessing, SoundColumns, Sounds};
    use fireclay_data::Targets;

    use super::*;

    #[test]
    fn a_png_is_the_one_of_the_specification() {
        // Image.open(BytesIO(png)).getdata() of Pillow gave these pixels back.
        let picture = png(2, 1, &Colour::Grey, &[0, 255]);
        let head = [137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 2];
        assert_eq!(picture.png[..20], head);
        let end = [0, 0, 0, 0, 73, 69, 78, 68, 174, 66, 96, 130];
        assert_eq!(picture.png[picture.png.len() - 12..], end);
        assert!(picture.data_uri().starts_with("data:image/png;base64,iVBORw0KGgo"));
    }

    #[test]
    fn shapes_of_images_are_known() {
        let layout = |height, width, channels, is_planar| {
            Some(Layout { height, width, channels, is_planar, bands: None })
        };
        assert_eq!(Layout::of(&[28, 28]), layout(28, 28, 1, false));
        assert_eq!(Layout::of(&[1, 8, 9]), layout(8, 9, 1, false));
        assert_eq!(Layout::of(&[32, 30, 3]), layout(32, 30, 3, false));
        assert_eq!(Layout::of(&[3, 32, 30]), layout(32, 30, 3, true));
        for other in [&[784][..], &[1, 5], &[5, 2, 2], &[2, 2, 2, 2], &[]] {
            assert_eq!(Layout::of(other), None, "{other:?}");
        }
    }

    #[test]
    fn planes_are_woven_and_large_pictures_thinned() {
        let planar = Layout { height: 2, width: 2, channels: 3, is_planar: true, bands: None };
        assert_eq!((planar.place(1, 0, 2), planar.place(0, 1, 0)), (10, 1));
        let labels = vec!["a".to_owned()];
        let features = Features::Floats((0..200 * 100).map(|i| i as f32).collect());
        let targets = Targets::Classes { ids: vec![0], labels };
        let data = Dataset::new(vec![200, 100], features, targets).unwrap();
        let picture = row(&data, Layout::of(&[200, 100]).unwrap(), 0);
        assert_eq!((picture.width, picture.height), (25, 50));
    }

    #[test]
    fn low_bands_of_recordings_and_of_their_deltas_are_at_the_bottom() {
        let sounds = Sounds {
            mels: 2,
            deltas: 1,
            columns: SoundColumns::Statistics,
            ..Sounds::of_rate(8_000)
        };
        let input = InputSpec::dense(&[4, 2], Preprocessing::None).with_sounds(Some(sounds));
        let layout = Layout::of_input(&input, &[4, 2]).unwrap();
        assert_eq!([0, 1, 2, 3].map(|y| layout.place(y, 1, 0)), [3, 1, 7, 5]);
    }

    #[test]
    fn weights_of_zero_make_no_picture() {
        let layout = Layout::of(&[2, 2]).unwrap();
        assert_eq!(weights(&[0.0; 8], layout), None);
        let picture = weights(&[0.0, 1.0, -1.0, 0.5, 0.0, 0.0, 0.0, 0.0], layout).unwrap();
        assert_eq!((picture.width, picture.height), (8, 4));
    }

    #[test]
    fn numbers_are_stretched_to_bytes() {
        assert_eq!(stretched(&[-1.0, 0.0, 1.0]), [0, 127, 255]);
        assert_eq!(stretched(&[2.0, 2.0]), [0, 0]);
    }
}
