//! A picture in the terminal.

use super::grey::Grey;

/// From dark to bright.
const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];
/// The most columns that are drawn; every pixel takes two, for a cell is twice as high as wide.
const MOST_COLUMNS: usize = 80;

/// Draws a picture as blocks, whatever its range of numbers is.
pub(crate) fn blocks(shape: &[usize], features: &[f32]) -> Option<String> {
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
    let shade = |value: &f32| {
        let step = ((value - least) / range * (SHADES.len() - 1) as f32).round() as usize;
        SHADES[step.min(SHADES.len() - 1)]
    };
    let line = |line: &[f32]| {
        let cells: String = line.iter().map(shade).flat_map(|c| [c, c]).collect();
        format!("  {}", cells.trim_end())
    };
    Some(
        grey.values
            .chunks_exact(wide)
            .map(|row| line(row).trim_end().to_owned())
            .collect::<Vec<_>>()
            .join("\n"),
    )
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
