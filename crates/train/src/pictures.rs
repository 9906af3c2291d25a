//! What the pictures of a data set have in common: known of the published ones, measured of others.

use fireclay::{Centre, Channels, Drawn, Ink, PictureShape, Pictures, Placement};
use fireclay_data::{Dataset, Features, Source};

/// The most rows that are looked at.
const MOST_ROWS: usize = 2_000;
/// The least share of rows that must agree.
const MOST: f64 = 0.95;
/// The least side of pictures in which a placement differs from chance.
const LEAST_SIDE: usize = 12;
/// The share of full brightness, as its divisor, up to which a difference is noise.
const FAINTEST: u8 = 16;

/// What the pictures of a set look like; nothing if its rows are not grey pictures of bytes, or all
/// black.
pub fn pictures(source: &Source, rows: &Dataset) -> Option<Pictures> {
    let known = known(source).filter(|pictures| pictures.validate(rows.shape()).is_ok());
    known.or_else(|| measured(rows))
}

/// What is known of the pictures of a published set.
fn known(source: &Source) -> Option<Pictures> {
    Pictures::of_published(&source.to_string())
}

/// What the pictures of two sets have in common that one network learns from.
pub(crate) fn joined(one: Option<Pictures>, other: Option<Pictures>) -> Option<Pictures> {
    let (one, other) = (one?, other?);
    // Numbers of another size cannot be made from one picture for both.
    if (one.darkest, one.brightest) != (other.darkest, other.brightest) {
        return None;
    }
    let ink = if one.ink == other.ink { one.ink } else { Ink::Mixed };
    let is_placed = one.ink == other.ink && one.placement == other.placement;
    let placement = if is_placed { one.placement } else { Placement::AsIs };
    Some(Pictures { ink, placement, ..one })
}

fn measured(rows: &Dataset) -> Option<Pictures> {
    let shape = PictureShape::of(rows.shape())?;
    let Features::Bytes(bytes) = rows.features() else { return None };
    let levels = levels(bytes)?;
    if shape.channels != Channels::Grey {
        return None;
    }
    let step = rows.len().div_ceil(MOST_ROWS);
    let looked_at = bytes.chunks_exact(rows.width()).step_by(step);
    let ink = ink(looked_at.clone(), shape, levels);
    let placement = match ink {
        Ink::Mixed => Placement::AsIs,
        _ => placement(looked_at, shape, levels),
    };
    let [darkest, brightest] = levels;
    Some(Pictures { ink, placement, darkest, brightest })
}

/// The numbers of black and of full brightness; nothing if all are the same. What stops a little before
/// 0 and 255 has them; what stops well before is grey ink or paper, or counts otherwise, as 0 and 1.
fn levels(bytes: &[u8]) -> Option<[u8; 2]> {
    let (least, most) = (*bytes.iter().min()?, *bytes.iter().max()?);
    let near = u8::MAX / FAINTEST;
    let darkest = if least <= near.min(most / FAINTEST) { 0 } else { least };
    let brightest = if most >= u8::MAX - near { u8::MAX } else { most };
    (least < most).then_some([darkest, brightest])
}

/// The places of the outermost pixels.
fn edge(PictureShape { width, height, .. }: PictureShape) -> Vec<usize> {
    (0..width * height)
        .filter(|at| {
            let (x, y) = (at % width, at / width);
            x == 0 || y == 0 || x + 1 == width || y + 1 == height
        })
        .collect()
}

/// Whether the outermost pixels are mostly dark, or mostly bright, in most pictures.
fn ink<'a>(
    rows: impl ExactSizeIterator<Item = &'a [u8]>,
    shape: PictureShape,
    [darkest, brightest]: [u8; 2],
) -> Ink {
    let edge = edge(shape);
    let count = rows.len() as f64;
    let (mut dark_rows, mut bright_rows) = (0.0, 0.0);
    for row in rows {
        let range = u32::from(brightest - darkest);
        let quarters = |at: &usize| u32::from(row[*at].saturating_sub(darkest)) * 4 / range;
        let dark = edge.iter().filter(|at| quarters(at) < 1).count();
        let bright = edge.iter().filter(|at| quarters(at) >= 3).count();
        dark_rows += f64::from(u8::from(dark * 2 > edge.len()));
        bright_rows += f64::from(u8::from(bright * 2 > edge.len()));
    }
    if dark_rows >= MOST * count {
        Ink::BrightOnDark
    } else if bright_rows >= MOST * count {
        Ink::DarkOnBright
    } else {
        Ink::Mixed
    }
}

/// Whether what is drawn is as large in most pictures, and lies in their middle.
fn placement<'a>(
    rows: impl Iterator<Item = &'a [u8]>,
    shape: PictureShape,
    [darkest, brightest]: [u8; 2],
) -> Placement {
    let width = shape.width;
    if width != shape.height || width < LEAST_SIDE {
        return Placement::AsIs;
    }
    let edge = edge(shape);
    let faintest = (brightest - darkest) / FAINTEST;
    let drawn = |row: &[u8]| {
        let paper = median(edge.iter().map(|at| row[*at]).collect());
        let ink = |&value: &u8| Some(value.abs_diff(paper)).filter(|ink| *ink > faintest);
        Drawn::of(row.iter().map(|value| f64::from(ink(value).unwrap_or(0))), width)
    };
    let drawn: Vec<Drawn> = rows.filter_map(drawn).collect();
    let mut sizes = vec![0_usize; width + 1];
    drawn.iter().for_each(|drawn| sizes[drawn.side] += 1);
    let Some(side) = (1..=width).max_by_key(|side| sizes[*side]) else { return Placement::AsIs };
    let agree = |has: &dyn Fn(&Drawn) -> bool| {
        drawn.iter().filter(|drawn| has(drawn)).count() as f64 >= MOST * drawn.len() as f64
    };
    let sides = [width, width];
    // Without a margin, whatever fills the picture lies in its middle.
    if side + 2 > width || !agree(&|drawn| drawn.is_of_side(side, sides)) {
        return Placement::AsIs;
    }
    let by = if agree(&|drawn| drawn.is_centred(Centre::Mass, sides)) {
        Centre::Mass
    } else if agree(&|drawn| drawn.is_centred(Centre::Box, sides)) {
        Centre::Box
    } else {
        return Placement::AsIs;
    };
    Placement::Centred { side: side as u32, by }
}

/// The middle one of some numbers, of which there is one at least.
fn median(mut values: Vec<u8>) -> u8 {
    let middle = values.len() / 2;
    *values.select_nth_unstable(middle).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use fireclay_data::Targets;

    fn set(shape: &[usize], rows: usize, value: impl Fn(usize, usize) -> u8) -> Dataset {
        let width: usize = shape.iter().product();
        let bytes = (0..rows * width).map(|i| value(i / width, i % width)).collect();
        let targets = Targets::Classes { ids: vec![0; rows], labels: vec!["a".to_owned()] };
        Dataset::new(shape.to_vec(), Features::Bytes(bytes), targets).unwrap()
    }

    /// A bar of these sides, its left upper corner there.
    fn bar(at: usize, [left, top]: [usize; 2], [wide, high]: [usize; 2]) -> bool {
        let (x, y) = (at % 28, at / 28);
        (left..left + wide).contains(&x) && (top..top + high).contains(&y)
    }

    #[test]
    fn the_pictures_of_every_published_set_are_known() {
        for name in Source::names().iter().filter(|name| !name.ends_with(":FOLDER")) {
            let source: Source = name.parse().unwrap();
            assert!(known(&source).is_some(), "{name}");
        }
        assert_eq!(known(&Source::Idx("mnist".into())), None);
    }

    #[test]
    fn mnist_is_measured_as_what_it_is_known_to_be() {
        let data = fireclay_data::load(
            &Source::Mnist,
            &fireclay_data::LoadOptions::default(),
            &mut |_| {},
        );
        let data = data.unwrap();
        assert_eq!(measured(&data.train), known(&Source::Mnist));
        assert_eq!(measured(&data.test), known(&Source::Mnist));
        let Features::Bytes(bytes) = data.test.features() else { panic!("bytes") };
        let changed = |change: &dyn Fn(usize, u8) -> u8| {
            measured(&set(&[28, 28], 1_000, |row, at| change(row, bytes[row * 784 + at])))
        };
        let paper = Pictures { ink: Ink::DarkOnBright, ..Pictures::MNIST };
        assert_eq!(changed(&|_, value| 255 - value), Some(paper));
        let both =
            Pictures { ink: Ink::Mixed, placement: Placement::AsIs, darkest: 0, brightest: 255 };
        assert_eq!(
            changed(&|row, value| if row % 2 == 0 { value } else { 255 - value }),
            Some(both)
        );
        let ones = changed(&|_, value| u8::from(value > 127)).unwrap();
        assert_eq!((ones.ink, ones.brightest), (Ink::BrightOnDark, 1));
    }

    #[test]
    fn grey_ink_and_larger_pictures_are_measured() {
        let data = fireclay_data::load(
            &Source::Mnist,
            &fireclay_data::LoadOptions::default(),
            &mut |_| {},
        );
        let test = data.unwrap().test;
        let Features::Bytes(bytes) = test.features() else { panic!("bytes") };
        for [paper, ink] in [[30, 180], [220, 100], [200, 140], [128, 255]] {
            let grey = |row: usize, at: usize| {
                let value = i32::from(bytes[row * 784 + at]);
                (paper + (ink - paper) * value / 255) as u8
            };
            let expected = Pictures {
                ink: if ink < paper { Ink::DarkOnBright } else { Ink::BrightOnDark },
                darkest: paper.min(ink) as u8,
                brightest: paper.max(ink) as u8,
                ..Pictures::MNIST
            };
            assert_eq!(measured(&set(&[28, 28], 500, grey)), Some(expected), "{paper} {ink}");
        }
        // Twice as large.
        let large = |row: usize, at: usize| bytes[row * 784 + at / 112 * 28 + at % 56 / 2];
        let placement = Placement::Centred { side: 40, by: Centre::Mass };
        let expected = Pictures { placement, ..Pictures::MNIST };
        assert_eq!(measured(&set(&[56, 56], 500, large)), Some(expected));
    }

    #[test]
    fn ink_that_moves_about_is_left_where_it_is() {
        let wandering =
            set(&[28, 28], 50, |row, at| 255 - 200 * u8::from(bar(at, [1 + row % 14, 2], [8, 20])));
        let look = Pictures { placement: Placement::AsIs, ..Pictures::MNIST };
        let paper = Pictures { ink: Ink::DarkOnBright, darkest: 55, ..look };
        assert_eq!(measured(&wandering), Some(paper));
        let sizes = set(&[28, 28], 50, |row, at| {
            let high = 6 + row % 12;
            255 * u8::from(bar(at, [12, 14 - high / 2], [4, high]))
        });
        assert_eq!(measured(&sizes).map(|p| p.placement), Some(Placement::AsIs));
        // An L: its mass is far from the middle of its box.
        let boxed = set(&[28, 28], 50, |_, at| {
            255 * u8::from(bar(at, [6, 2], [3, 24]) || bar(at, [6, 23], [16, 3]))
        });
        assert_eq!(measured(&boxed).map(|p| p.placement), Some(Placement::EMNIST));
    }

    #[test]
    fn photographs_have_no_ink() {
        let noise = |row: usize, at: usize| (row * 7919 + at * 104_729).wrapping_mul(2_654_435_761);
        let photographs = set(&[16, 16], 40, |row, at| (noise(row, at) >> 9) as u8);
        assert_eq!(measured(&photographs).map(|p| p.ink), Some(Ink::Mixed));
        assert_eq!(measured(&set(&[13], 5, |_, at| at as u8)), None);
        assert_eq!(measured(&set(&[3, 4, 4], 5, |_, at| at as u8)), None);
        assert_eq!(measured(&set(&[4, 4], 5, |_, _| 0)), None);
    }

    #[test]
    fn what_two_sets_have_in_common() {
        let mnist = known(&Source::Mnist);
        let fashion = known(&Source::FashionMnist);
        let paper = mnist.map(|m| Pictures { ink: Ink::DarkOnBright, ..m });
        assert_eq!(joined(mnist, mnist), mnist);
        assert_eq!(joined(mnist, fashion), fashion);
        let mixed = fashion.map(|f| Pictures { ink: Ink::Mixed, ..f });
        assert_eq!(joined(mnist, paper), mixed);
        assert_eq!(joined(mnist, None), None);
        assert_eq!(joined(mnist, mnist.map(|m| Pictures { brightest: 1, ..m })), None);
    }
}
