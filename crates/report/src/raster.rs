//! Plots as pixels.

use std::sync::Arc;

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::Database;
use resvg::usvg::{Options, Tree};

use crate::pictures::{Colour, png};

/// Pixels for each of a plot's own, in both directions, so that it is sharp in print and on screens
/// of today.
const SCALE: f32 = 2.0;

const FONT: &[u8] = include_bytes!("../fonts/Roboto-Regular.ttf");
const FAMILY: &str = "Roboto";

/// A plot, an SVG document on an opaque ground, as a PNG.
pub(crate) fn rasterized(svg: &str) -> Result<Vec<u8>, String> {
    let options = Options { fontdb: Arc::new(fonts(svg)), ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(|error| error.to_string())?;
    let size = tree.size().to_int_size();
    let size = size.scale_by(SCALE).ok_or("it has no size")?;
    let mut pixels = Pixmap::new(size.width(), size.height()).ok_or("it is too large")?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    let colours: Vec<u8> =
        pixels.data().chunks_exact(4).flat_map(|pixel| &pixel[..3]).copied().collect();
    let (width, height) = (size.width() as usize, size.height() as usize);
    Ok(png(width, height, &Colour::Rgb, &colours).into_bytes())
}

/// The letters of a plot: our own, so that it looks the same everywhere, and for names that may be
/// written in others those of the system.
fn fonts(svg: &str) -> Database {
    let mut fonts = Database::new();
    if !svg.is_ascii() {
        fonts.load_system_fonts();
    }
    fonts.load_font_data(FONT.to_vec());
    fonts.set_sans_serif_family(FAMILY);
    fonts
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::ZlibDecoder;

    use super::*;

    /// The pixels of a drawn picture, row after row: its one chunk of data, whose lines are not
    /// filtered.
    fn pixels(png: &[u8]) -> (usize, Vec<[u8; 3]>) {
        let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap()) as usize;
        let (width, height) = (number(16), number(20));
        let at = png.windows(4).position(|word| word == b"IDAT").unwrap();
        let mut lines = Vec::new();
        let data = &png[at + 4..at + 4 + number(at - 4)];
        ZlibDecoder::new(data).read_to_end(&mut lines).unwrap();
        assert_eq!(lines.len(), height * (1 + 3 * width));
        let lines = lines.chunks_exact(1 + 3 * width);
        let colours = lines.flat_map(|line| line[1..].as_chunks().0.iter().copied());
        (width, colours.collect())
    }

    fn drawn(inside: &str) -> (usize, Vec<[u8; 3]>) {
        let svg = format!(
            r##"<svg width="40" height="20" viewBox="0 0 40 20" xmlns="http://www.w3.org/2000/svg">
            <rect width="40" height="20" fill="#FFFFFF"/>{inside}</svg>"##
        );
        pixels(&rasterized(&svg).unwrap())
    }

    #[test]
    fn each_point_becomes_four_pixels() {
        let blue = r##"<rect x="3" y="5" width="10" height="2" fill="#0072B2"/>"##;
        let (width, found) = drawn(blue);
        assert_eq!((width, found.len()), (80, 80 * 40));
        for (i, pixel) in found.iter().enumerate() {
            let is_inside = (6..26).contains(&(i % 80)) && (10..14).contains(&(i / 80));
            let expected = if is_inside { [0, 0x72, 0xB2] } else { [255; 3] };
            assert_eq!(*pixel, expected, "{} {}", i % 80, i / 80);
        }
    }

    #[test]
    fn there_are_letters_without_fonts_of_the_system() {
        let text = |text: &str| {
            let text =
                format!(r#"<text y="15" font-family="sans-serif" font-size="17">{text}</text>"#);
            drawn(&text).1.iter().filter(|pixel| pixel[1] < 128).count()
        };
        assert_eq!(text(" "), 0);
        assert!(text("1") > 20 && text("88") > 3 * text("1"), "{} {}", text("1"), text("88"));
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        assert!(rasterized("<svg").is_err());
        assert!(rasterized("").is_err());
    }
}
