//! Decoded pixels: what is transparent becomes paper, large pictures become smaller, and what lies on
//! its side is turned up.

/// The pixels of a picture as they were stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pixels {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// 1 grey, 2 grey and alpha, 3 colours, 4 colours and alpha.
    pub(crate) channels: usize,
    /// Row by row, the channels of a pixel together.
    pub(crate) values: Vec<u8>,
}

/// A picture as it is looked at.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Picture {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Red, green and blue, row by row.
    pub(crate) pixels: Vec<[u8; 3]>,
    /// What was done to it, in order.
    pub(crate) done: Vec<String>,
}

/// A picture that comes row by row and is made smaller on the way, so that it is never in memory as it
/// was.
#[derive(Debug)]
pub(crate) struct Flattening {
    width: usize,
    height: usize,
    /// The side of the square of which each pixel becomes the mean.
    side: usize,
    /// Rows that have come.
    rows: usize,
    /// Of the squares that have begun: colours times alpha, alpha, and pixels.
    sums: Vec<[u32; 5]>,
    /// Colours as much as they cover the paper, and how much that is.
    pixels: Vec<[u8; 4]>,
    /// Brightness times alpha, and alpha, of all pixels.
    drawn: u64,
    opaque: u64,
}

impl Flattening {
    /// Of a picture of this size, to means of squares of this side.
    pub(crate) fn new(width: usize, height: usize, side: usize) -> Self {
        let side = side.max(1);
        let small = width.div_ceil(side);
        Self {
            width,
            height,
            side,
            rows: 0,
            sums: vec![[0; 5]; small],
            pixels: Vec::with_capacity(small * height.div_ceil(side)),
            drawn: 0,
            opaque: 0,
        }
    }

    /// The next row, of this many channels a pixel.
    pub(crate) fn push(&mut self, row: &[u8], channels: usize) {
        let has_alpha = channels.is_multiple_of(2);
        // A division for each pixel would take longer than all the rest.
        let squares = row.chunks((self.side * channels).max(1));
        for (sum, square) in self.sums.iter_mut().zip(squares) {
            for pixel in square.chunks_exact(channels.max(1)) {
                let (rgb @ [r, g, b], alpha) = coloured(pixel);
                if has_alpha {
                    self.drawn += u64::from(luma(rgb)) * u64::from(alpha);
                    self.opaque += u64::from(alpha);
                }
                let alpha = u32::from(alpha);
                sum[0] += u32::from(r) * alpha;
                sum[1] += u32::from(g) * alpha;
                sum[2] += u32::from(b) * alpha;
                sum[3] += alpha;
                sum[4] += 1;
            }
        }
        self.rows += 1;
        if self.rows.is_multiple_of(self.side) || self.rows == self.height {
            self.pixels.extend(self.sums.iter().map(mean));
            self.sums.fill([0; 5]);
        }
    }

    /// The picture on its paper, once all rows have come. What is transparent is paper, white or black,
    /// whichever stands out from what was drawn.
    pub(crate) fn finish(self) -> Picture {
        let is_on_white = self.drawn * 2 <= self.opaque * 255;
        let pixels = self.pixels.into_iter().map(|pixel| on_paper(pixel, is_on_white)).collect();
        let done = match self.side {
            1 => Vec::new(),
            _ => vec![format!("made smaller, from {}x{}", self.width, self.height)],
        };
        let (width, height) = (self.width.div_ceil(self.side), self.height.div_ceil(self.side));
        Picture { width, height, pixels, done }
    }
}

/// A colour on white paper, or on black.
fn on_paper([r, g, b, alpha]: [u8; 4], is_on_white: bool) -> [u8; 3] {
    let paper = if is_on_white { 255 - alpha } else { 0 };
    [r, g, b].map(|colour| colour.saturating_add(paper))
}

/// The mean of a square: colours times alpha, and alpha.
fn mean(&[r, g, b, alpha, count]: &[u32; 5]) -> [u8; 4] {
    let count = count.max(1);
    let [r, g, b] = [r, g, b].map(|sum| ((sum + 255 * count / 2) / (255 * count)) as u8);
    [r, g, b, ((alpha + count / 2) / count) as u8]
}

impl Pixels {
    /// The colours alone, each the mean of a square of this side.
    pub(crate) fn flattened(&self, side: usize) -> Picture {
        let mut flattening = Flattening::new(self.width, self.height, side);
        for row in self.values.chunks_exact((self.width * self.channels).max(1)) {
            flattening.push(row, self.channels);
        }
        flattening.finish()
    }
}

/// Colours and alpha.
fn coloured(pixel: &[u8]) -> ([u8; 3], u8) {
    match *pixel {
        [grey] => ([grey; 3], 255),
        [grey, alpha] => ([grey; 3], alpha),
        [r, g, b] => ([r, g, b], 255),
        [r, g, b, alpha] => ([r, g, b], alpha),
        _ => ([0; 3], 255),
    }
}

/// Brightness of a colour, Rec. ITU-R BT.709; exact for greys.
fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((2126 * u32::from(r) + 7152 * u32::from(g) + 722 * u32::from(b) + 5000) / 10_000) as u8
}

/// How much more a colour has to stand out than brightness does, to be read in its place.
const MORE: f64 = 1.5;

impl Picture {
    /// How bright each pixel is.
    pub(crate) fn brightness(&self) -> Vec<u8> {
        self.pixels.iter().map(|&pixel| luma(pixel)).collect()
    }

    /// Brightness, or the one colour in which what is drawn stands out more, and its name: yellow ink on
    /// white paper is nearly as bright as the paper, and has no blue.
    pub(crate) fn standing_out(&self) -> (Vec<u8>, Option<&'static str>) {
        let bright = self.brightness();
        if self.pixels.iter().all(|[r, g, b]| r == g && g == b) {
            return (bright, None);
        }
        let mut best = (spread(&bright) * MORE.powi(4), bright, None);
        for (i, name) in ["red", "green", "blue"].into_iter().enumerate() {
            let values: Vec<u8> = self.pixels.iter().map(|pixel| pixel[i]).collect();
            let spread = spread(&values);
            if spread > best.0 {
                best = (spread, values, Some(name));
            }
        }
        (best.1, best.2)
    }

    /// As it is meant to be looked at, for a camera that was held in this way, by EXIF's numbers.
    pub(crate) fn turned(self, orientation: u8) -> Self {
        if !(2..=8).contains(&orientation) {
            return self;
        }
        let Self { width, height, .. } = self;
        let [wide, high] = if orientation >= 5 { [height, width] } else { [width, height] };
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for y in 0..high {
            for x in 0..wide {
                // Where this pixel of the result comes from.
                let [x, y] = match orientation {
                    2 => [width - 1 - x, y],
                    3 => [width - 1 - x, height - 1 - y],
                    4 => [x, height - 1 - y],
                    5 => [y, x],
                    6 => [y, height - 1 - x],
                    7 => [width - 1 - y, height - 1 - x],
                    _ => [width - 1 - y, x],
                };
                pixels.push(self.pixels[y * width + x]);
            }
        }
        let mut done = self.done;
        done.push("turned the way up that its EXIF tag says".to_owned());
        Self { width: wide, height: high, pixels, done }
    }
}

/// How far values are from their median, by the fourth power, so that a little ink is more than the noise
/// of all the paper.
fn spread(values: &[u8]) -> f64 {
    let mut counts = [0_u64; 256];
    values.iter().for_each(|&value| counts[usize::from(value)] += 1);
    let mut below = 0;
    let mut median = 0;
    for (value, count) in counts.iter().enumerate() {
        below += count;
        if below * 2 >= values.len() as u64 {
            median = value;
            break;
        }
    }
    let median = median as f64;
    let sum: f64 =
        counts.iter().enumerate().map(|(i, &n)| n as f64 * (i as f64 - median).powi(4)).sum();
    sum / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greys_stay_what_they_are() {
        for grey in 0..=255 {
            assert_eq!(luma([grey; 3]), grey);
        }
    }

    #[test]
    fn a_picture_is_turned_the_way_up_it_was_meant() {
        // 1 2 3
        // 4 5 6
        let stored = || Pixels { width: 3, height: 2, channels: 1, values: vec![1, 2, 3, 4, 5, 6] };
        for (orientation, width, values) in [
            (1, 3, [1, 2, 3, 4, 5, 6]),
            (2, 3, [3, 2, 1, 6, 5, 4]),
            (3, 3, [6, 5, 4, 3, 2, 1]),
            (4, 3, [4, 5, 6, 1, 2, 3]),
            (5, 2, [1, 4, 2, 5, 3, 6]),
            (6, 2, [4, 1, 5, 2, 6, 3]),
            (7, 2, [6, 3, 5, 2, 4, 1]),
            (8, 2, [3, 6, 2, 5, 1, 4]),
            (99, 3, [1, 2, 3, 4, 5, 6]),
        ] {
            let turned = stored().flattened(1).turned(orientation);
            assert_eq!((turned.width, turned.pixels), (width, values.map(|v| [v; 3]).to_vec()));
        }
    }

    #[test]
    fn ink_is_read_in_the_colour_in_which_it_stands_out() {
        let picture = |ink: [u8; 3], paper: [u8; 3]| {
            let pixels = (0..100).map(|i| if i % 9 == 0 { ink } else { paper }).collect();
            Picture { width: 10, height: 10, pixels, done: Vec::new() }.standing_out()
        };
        let of = |ink, paper| picture(ink, paper).1;
        assert_eq!(of([255, 255, 0], [255; 3]), Some("blue"));
        assert_eq!(of([200, 60, 40], [40, 120, 40]), Some("red"));
        assert_eq!(of([10; 3], [40, 60, 160]), Some("blue"));
        assert_eq!(of([20, 20, 90], [250; 3]), None);
        assert_eq!(
            picture([9; 3], [7; 3]),
            ((0..100).map(|i| 7 + 2 * u8::from(i % 9 == 0)).collect(), None)
        );
    }

    #[test]
    fn what_is_transparent_is_paper() {
        let pixels =
            |values| Pixels { width: 2, height: 1, channels: 2, values }.flattened(1).pixels;
        assert_eq!(pixels(vec![0, 255, 0, 0]), [[0; 3], [255; 3]]);
        assert_eq!(pixels(vec![255, 255, 0, 0]), [[255; 3], [0; 3]]);
    }

    #[test]
    fn a_smaller_picture_is_made_of_means() {
        let values = vec![0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110];
        let small = Pixels { width: 4, height: 3, channels: 1, values }.flattened(2);
        assert_eq!((small.width, small.height), (2, 2));
        assert_eq!(small.pixels, [[25; 3], [45; 3], [85; 3], [105; 3]]);
    }
}
