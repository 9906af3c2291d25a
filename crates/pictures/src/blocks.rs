//! A picture as text.

use crate::grey::Grey;

/// From dark to bright.
const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];
/// The most columns that are drawn; every pixel takes two, for a cell is twice as high as wide.
const MOST_COLUMNS: usize = 80;

/// Draws a picture as blocks, in lines of at most 82 columns, whatever its range of numbers is; nothing if
/// rows of this shape are no grey pictures.
pub fn blocks(shape: &[usize], features: &[f32]) -> Option<String> {
    let (height, width) = match *shape {
        [height, width] | [height, width, 1] | [1, height, width] => (height, width),
        [all] if all.isqrt().pow(2) == all => (all.isqrt(), all.isqrt()),
        _ => return None,
    };
    if width * height != features.len() || width == 0 {
        return None;
    }
    let grey = Grey { width, height, values: features.to_vec() };
    let wide = width.min(MOST_COLUMNS / 2);
    let grey = grey.resized(wide, (height * wide / width).max(1));
    let least = grey.values.iter().copied().fold(f32::INFINITY, f32::min);
    let range = (grey.largest() - least).max(f32::MIN_POSITIVE);
    let lines = grey.values.chunks_exact(wide).map(|row| {
        let cells = row.iter().map(|value| shade((value - least) / range));
        let line: String = cells.flat_map(|cell| [cell, cell]).collect();
        format!("  {line}").trim_end().to_owned()
    });
    Some(lines.collect::<Vec<_>>().join("\n"))
}

/// The block for a share of full brightness.
fn shade(share: f32) -> char {
    let brightest = SHADES.len() - 1;
    SHADES[((share * brightest as f32).round() as usize).min(brightest)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dark_is_empty_and_bright_is_full() {
        let drawn = blocks(&[2, 3], &[0.0, 255.0, 64.0, 0.0, 0.0, 191.0]).unwrap();
        assert_eq!(drawn, "    ██░░\n      ▓▓");
        assert_eq!(blocks(&[5], &[0.0; 5]), None);
        assert_eq!(blocks(&[4], &[0.0, 0.0, 0.0, 9.0]).unwrap(), "\n    ██");
    }

    #[test]
    fn a_line_fits_eighty_columns() {
        let drawn = blocks(&[100, 200], &[1.0; 20_000]).unwrap();
        assert!(drawn.lines().all(|line| line.chars().count() <= 82));
    }
}
