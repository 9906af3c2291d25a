//! The numbers of a tensor, looked at once and in pieces, so that no tensor is in memory as a whole.

use fireclay_formats::{Layout, Problem};
use fireclay_terminal::printable;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Gives pieces of numbers, in order.
pub(super) type Pieces<'a> = Box<dyn Fn(&mut dyn FnMut(&[f64])) -> Result<(), Problem> + 'a>;

/// A tensor as a file has it.
pub(super) struct Stored<'a> {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) dtype: &'static str,
    pub(super) is_float: bool,
    /// How a matrix lies.
    pub(super) layout: Layout,
    /// Whether it is a parameter, and not the memory of an optimizer or the like.
    pub(super) is_parameter: bool,
    pub(super) pieces: Pieces<'a>,
}

/// What the numbers of a tensor come to; mean, deviation and range are those of the finite ones.
#[derive(Debug, Serialize)]
pub(super) struct Numbers {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) dtype: &'static str,
    pub(super) count: u64,
    pub(super) mean: Option<f64>,
    pub(super) deviation: Option<f64>,
    pub(super) least: Option<f64>,
    pub(super) largest: Option<f64>,
    pub(super) zeros: u64,
    pub(super) nan: u64,
    pub(super) infinite: u64,
}

/// What was seen of a tensor.
pub(super) struct Seen {
    pub(super) numbers: Numbers,
    /// The same for the same numbers of the same shape.
    pub(super) digest: [u8; 32],
    /// Whether all numbers are the same, so that it says nothing if another tensor has them too.
    pub(super) is_constant: bool,
    /// Units of a layer with these weights into which only zeros come, by index.
    pub(super) dead_units: Vec<usize>,
}

impl Stored<'_> {
    /// Looks at all its numbers.
    pub(super) fn look(&self) -> Result<Seen, Problem> {
        let mut sums = Sums::default();
        let mut hash = Sha256::new();
        self.shape.iter().for_each(|&size| hash.update((size as u64).to_le_bytes()));
        let (mut first, mut is_constant) = (None, true);
        let mut units = Units::of(&self.shape, self.layout);
        (self.pieces)(&mut |piece| {
            sums.add(piece);
            let first = *first.get_or_insert_with(|| piece.first().map_or(0, |v| v.to_bits()));
            is_constant &= piece.iter().all(|value| value.to_bits() == first);
            piece.iter().for_each(|value| hash.update(value.to_bits().to_le_bytes()));
            units.add(piece);
        })?;
        Ok(Seen {
            numbers: sums.numbers(self),
            digest: hash.finalize().into(),
            is_constant,
            dead_units: units.dead(),
        })
    }
}

/// Counts of numbers, and the mean and spread of the finite ones.
#[derive(Default)]
struct Sums {
    count: u64,
    zeros: u64,
    nan: u64,
    infinite: u64,
    finite: u64,
    mean: f64,
    /// The squares of the distances from the mean, in sum.
    squares: f64,
    range: Option<(f64, f64)>,
}

impl Sums {
    fn add(&mut self, piece: &[f64]) {
        self.count += piece.len() as u64;
        self.zeros += count(piece, |value| value == 0.0);
        self.nan += count(piece, f64::is_nan);
        self.infinite += count(piece, f64::is_infinite);
        let number = count(piece, f64::is_finite);
        if number == 0 {
            return;
        }
        let finite = piece.iter().copied().filter(|value| value.is_finite());
        let (least, largest) = self.range.unwrap_or((f64::INFINITY, f64::NEG_INFINITY));
        self.range = Some(finite.clone().fold((least, largest), |(least, largest), value| {
            (least.min(value), largest.max(value))
        }));
        let mean = finite.clone().map(|value| value / number as f64).sum::<f64>();
        let squares = finite.map(|value| (value - mean).powi(2)).sum::<f64>();
        // Chan, Golub and LeVeque 1979: the sums of two parts are those of both.
        let total = (self.finite + number) as f64;
        let share = number as f64 / total;
        let apart = mean - self.mean;
        self.squares += squares + apart.powi(2) * share * self.finite as f64;
        self.mean += apart * share;
        self.finite += number;
    }

    fn numbers(&self, tensor: &Stored<'_>) -> Numbers {
        let [mean, deviation] = [self.mean, (self.squares / self.finite as f64).sqrt()]
            .map(|value| (self.finite > 0 && value.is_finite()).then_some(value));
        Numbers {
            name: printable(&tensor.name, 200),
            shape: tensor.shape.clone(),
            dtype: tensor.dtype,
            count: self.count,
            mean,
            deviation,
            least: self.range.map(|(least, _)| least),
            largest: self.range.map(|(_, largest)| largest),
            zeros: self.zeros,
            nan: self.nan,
            infinite: self.infinite,
        }
    }
}

fn count(piece: &[f64], is: fn(f64) -> bool) -> u64 {
    piece.iter().filter(|value| is(**value)).count() as u64
}

/// Which units of a matrix have had only zeros so far.
struct Units {
    layout: Layout,
    rows: usize,
    columns: usize,
    at: usize,
    /// Of columns, if those are units.
    is_dead: Vec<bool>,
    /// Of rows: those that were dead to their end, and whether the one under way is.
    dead: Vec<usize>,
    is_row_dead: bool,
}

impl Units {
    fn of(shape: &[usize], layout: Layout) -> Self {
        let (rows, columns) = match *shape {
            [rows, columns] if rows > 0 && columns > 0 => (rows, columns),
            _ => (0, 0),
        };
        let by_columns = if layout == Layout::InOut { columns } else { 0 };
        let (is_dead, dead) = (vec![true; by_columns], Vec::new());
        Self { layout, rows, columns, at: 0, is_dead, dead, is_row_dead: true }
    }

    fn add(&mut self, piece: &[f64]) {
        if self.rows == 0 {
            return;
        }
        for value in piece {
            let column = self.at % self.columns;
            if self.layout == Layout::InOut {
                self.is_dead[column] &= *value == 0.0;
            } else {
                self.is_row_dead &= *value == 0.0;
                if column + 1 == self.columns {
                    if self.is_row_dead {
                        self.dead.push(self.at / self.columns);
                    }
                    self.is_row_dead = true;
                }
            }
            self.at += 1;
        }
    }

    fn dead(self) -> Vec<usize> {
        match self.layout {
            Layout::OutIn => self.dead,
            Layout::InOut => {
                (0..self.is_dead.len()).filter(|&column| self.is_dead[column]).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_come_to_what_the_whole_does() {
        let values: Vec<f64> = (0..1000).map(|i| f64::from(i % 37) * 0.25 - 3.0).collect();
        let of = |size: usize| {
            let mut sums = Sums::default();
            values.chunks(size).for_each(|piece| sums.add(piece));
            sums
        };
        let mean = values.iter().sum::<f64>() / 1000.0;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 1000.0;
        for size in [1, 7, 999, 1000] {
            let sums = of(size);
            assert!((sums.mean - mean).abs() < 1e-12, "{size}: {}", sums.mean);
            assert!((sums.squares / 1000.0 - variance).abs() < 1e-9, "{size}");
            assert_eq!((sums.range, sums.zeros), (Some((-3.0, 6.0)), of(1000).zeros));
        }
    }
}
