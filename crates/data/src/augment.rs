//! Random changes of the features of recordings, for training alone.

use fireclay_model::Sounds;
use fireclay_model::rng::{Purpose, generator, normal, uniform};
use serde::{Deserialize, Serialize};

/// Augmentation of recordings in training, as the section `[training.augment]` of a settings file holds
/// it. All of it works on the features, `[bands, columns]`; deltas move with their bands.
///
/// What a row becomes is a function of the seed, the epoch and the row, so a resumed run continues with
/// the same changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// The most columns by which a row moves in time, in either direction.
    #[serde(skip_serializing_if = "is_zero")]
    pub shift: f64,
    /// The most by which time is stretched around its middle, as a share.
    #[serde(skip_serializing_if = "is_zero")]
    pub stretch: f64,
    /// The most by which the frequencies of bands are stretched, as a share: the length of the vocal
    /// tract (VTLP, Jaitly and Hinton 2013).
    #[serde(skip_serializing_if = "is_zero")]
    pub warp: f64,
    /// The most by which all features are louder or quieter, in their unit.
    #[serde(skip_serializing_if = "is_zero")]
    pub gain: f64,
    /// The standard deviation of noise on each feature, in its unit.
    #[serde(skip_serializing_if = "is_zero")]
    pub noise: f64,
    /// The most columns behind each other that become the mean of the row (SpecAugment, Park et al. 2019).
    #[serde(skip_serializing_if = "is_none")]
    pub mask_columns: u32,
    /// The most bands beside each other that become the mean of the row.
    #[serde(skip_serializing_if = "is_none")]
    pub mask_bands: u32,
}

/// A setting of augmentation that is out of its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("training.augment.{setting} is {found}; it must be {expected}")]
pub struct AugmentationError {
    /// The setting.
    pub setting: &'static str,
    /// Its value.
    pub found: String,
    /// What it may be.
    pub expected: &'static str,
}

fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

fn is_none(number: &u32) -> bool {
    *number == 0
}

impl Augmentation {
    /// Checks all settings, for rows with these features if they are known.
    ///
    /// # Errors
    ///
    /// The first setting that is out of its range.
    pub fn validate(&self, sounds: Option<&Sounds>) -> Result<(), AugmentationError> {
        let Self { shift, stretch, warp, gain, noise, mask_columns, mask_bands } = *self;
        for (setting, found) in [("shift", shift), ("gain", gain), ("noise", noise)] {
            check(found.is_finite() && found >= 0.0, setting, found, "0 or above")?;
        }
        for (setting, found) in [("stretch", stretch), ("warp", warp)] {
            check((0.0..1.0).contains(&found), setting, found, "from 0 to below 1")?;
        }
        let Some(sounds) = sounds else { return Ok(()) };
        let of_bands = "0 with --mfcc, whose coefficients have no order of bands";
        check(warp == 0.0 || sounds.mfcc.is_none(), "warp", warp, of_bands)?;
        check(mask_bands == 0 || sounds.mfcc.is_none(), "mask_bands", mask_bands, of_bands)?;
        let (bands, columns) = (sounds.bands() as u32, sounds.columns.count() as u32);
        check(mask_bands < bands, "mask_bands", mask_bands, "fewer than all bands")?;
        check(mask_columns < columns, "mask_columns", mask_columns, "fewer than all columns")
    }

    /// Returns true if rows stay as they are.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Changes the features of a row, which has so many bands and has number `row` in its data set, for
    /// an epoch.
    pub fn apply(&self, values: &mut [f32], sounds: &Sounds, seed: u64, epoch: u64, row: u64) {
        let mut rng = generator(seed, Purpose::Augmentation, (epoch << 32) ^ row);
        let [rows, columns] = sounds.shape();
        let bands = sounds.bands();
        // Everything is drawn, so that no setting changes what another one does.
        let [shift, stretch, warp, gain] = [self.shift, self.stretch, self.warp, self.gain]
            .map(|most| most * (2.0 * uniform(&mut rng) - 1.0));
        let [wide, left, high, top] = [0; 4].map(|_: i32| uniform(&mut rng));
        if shift != 0.0 || stretch != 0.0 || warp != 0.0 {
            let moved = Moved { shift, time: 1.0 + stretch, frequency: 1.0 + warp, columns };
            let blocks = values.chunks_exact_mut(bands * columns);
            blocks.for_each(|block| moved.apply(block));
        }
        if gain != 0.0 {
            values.iter_mut().for_each(|value| *value += gain as f32);
        }
        if self.noise > 0.0 {
            values.iter_mut().for_each(|value| *value += (self.noise * normal(&mut rng)) as f32);
        }
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64;
        let masked_columns = masked(wide, left, self.mask_columns, columns);
        let masked_bands = masked(high, top, self.mask_bands, bands);
        for row in 0..rows {
            let is_masked = masked_bands.contains(&(row % bands));
            let range = if is_masked { 0..columns } else { masked_columns.clone() };
            values[row * columns..(row + 1) * columns][range].fill(mean as f32);
        }
    }
}

fn check(
    is_held: bool,
    setting: &'static str,
    found: impl ToString,
    expected: &'static str,
) -> Result<(), AugmentationError> {
    if is_held {
        Ok(())
    } else {
        Err(AugmentationError { setting, found: found.to_string(), expected })
    }
}

/// A range of at most `most` of `all` places, by two numbers from 0 to 1 that were drawn.
fn masked(length: f64, place: f64, most: u32, all: usize) -> std::ops::Range<usize> {
    let length = ((length * f64::from(most + 1)) as usize).min(all);
    let start = (place * (all - length + 1) as f64) as usize;
    start..start + length
}

/// A block of bands that moves and stretches.
struct Moved {
    shift: f64,
    time: f64,
    frequency: f64,
    columns: usize,
}

impl Moved {
    /// Takes each number from where it was, between four neighbours; beyond an edge is the edge.
    fn apply(&self, block: &mut [f32]) {
        let before = block.to_vec();
        let bands = before.len() / self.columns;
        let middle = (self.columns as f64 - 1.0) / 2.0;
        let places: Vec<(usize, usize, f64)> = (0..self.columns)
            .map(|column| {
                let place = (column as f64 - middle) * self.time + middle + self.shift;
                neighbours(place, self.columns)
            })
            .collect();
        for band in 0..bands {
            let (low, high, share) = neighbours(band as f64 * self.frequency, bands);
            for (column, &(left, right, part)) in places.iter().enumerate() {
                let [below, above] = [low, high].map(|band| {
                    let [left, right] =
                        [left, right].map(|at| f64::from(before[band * self.columns + at]));
                    left + part * (right - left)
                });
                block[band * self.columns + column] = (below + share * (above - below)) as f32;
            }
        }
    }
}

/// The two of `count` places around one between them, and its share of the way to the second.
fn neighbours(place: f64, count: usize) -> (usize, usize, f64) {
    let place = place.clamp(0.0, count as f64 - 1.0);
    let first = place.floor();
    (first as usize, (first as usize + 1).min(count - 1), place - first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(sounds: &Sounds) -> Vec<f32> {
        let [rows, columns] = sounds.shape();
        (0..rows * columns).map(|at| ((at * 7) % 31) as f32 - 9.0).collect()
    }

    const ALL: Augmentation = Augmentation {
        shift: 2.0,
        stretch: 0.1,
        warp: 0.1,
        gain: 3.0,
        noise: 0.5,
        mask_columns: 4,
        mask_bands: 6,
    };

    #[test]
    fn changes_are_a_function_of_seed_epoch_and_row() {
        let sounds = Sounds { deltas: 1, ..Sounds::of_rate(8_000) };
        let changed = |seed, epoch, number| {
            let mut values = row(&sounds);
            ALL.apply(&mut values, &sounds, seed, epoch, number);
            values
        };
        let first = changed(1, 2, 3);
        assert!(first.iter().all(|value| value.is_finite()));
        assert_eq!(first, changed(1, 2, 3));
        for other in [changed(2, 2, 3), changed(1, 3, 3), changed(1, 2, 4), row(&sounds)] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn nothing_changes_without_a_setting() {
        let sounds = Sounds::of_rate(8_000);
        let mut values = row(&sounds);
        Augmentation::default().apply(&mut values, &sounds, 1, 1, 0);
        assert_eq!(values, row(&sounds));
    }

    #[test]
    fn masks_are_the_mean_and_no_larger_than_they_may_be() {
        let sounds = Sounds::of_rate(8_000);
        let mut most = [0; 2];
        for epoch in 0..200 {
            let mut values = row(&sounds);
            let augment = Augmentation { mask_columns: 4, mask_bands: 6, ..Default::default() };
            augment.apply(&mut values, &sounds, 1, epoch, 0);
            let mean = row(&sounds).iter().sum::<f32>() / 800.0;
            let is_mean = |value: &f32| (value - mean).abs() < 1e-4;
            let bands = values.chunks(20).filter(|band| band.iter().all(is_mean)).count();
            let columns =
                (0..20).filter(|at| values.iter().skip(*at).step_by(20).all(is_mean)).count();
            most = [most[0].max(columns), most[1].max(bands)];
        }
        assert_eq!(most, [4, 6]);
    }

    #[test]
    fn time_moves_by_whole_columns_exactly() {
        let moved = Moved { shift: 1.0, time: 1.0, frequency: 1.0, columns: 4 };
        let mut block = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        moved.apply(&mut block);
        assert_eq!(block, [2.0, 3.0, 4.0, 4.0, 6.0, 7.0, 8.0, 8.0]);
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let sounds = Sounds::of_rate(8_000);
        ALL.validate(Some(&sounds)).unwrap();
        for bad in [
            Augmentation { shift: -1.0, ..ALL },
            Augmentation { noise: f64::NAN, ..ALL },
            Augmentation { warp: 1.0, ..ALL },
            Augmentation { mask_bands: 40, ..ALL },
            Augmentation { mask_columns: 20, ..ALL },
        ] {
            assert!(bad.validate(Some(&sounds)).is_err(), "{bad:?}");
        }
        assert!(ALL.validate(Some(&Sounds { mfcc: Some(13), ..sounds })).is_err());
    }
}
