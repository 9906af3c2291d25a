//! From raw features to what the first layer is given: what was said of them, and then what the file
//! does to them itself.

use fireclay::Preprocessing;

use super::super::ImportError;
use super::linear::Diagonal;
use super::steps::NormStep;

/// Raw features of a picture are bytes.
const LARGEST_BYTE: f64 = 255.0;
/// Features that all bytes together move by less than this say next to nothing.
const LEAST_WIDTH: f64 = 1.0 / 20.0;
/// What means of bytes may be beyond their range, as a share of it.
const SLACK: f64 = 1.0 / 20.0;
/// Features of a small picture.
const LEAST_PICTURE: usize = 64;
/// No network is given numbers as large as this.
const LARGEST: f64 = 1000.0;

/// What was said of raw features, as `(scale x - mean) / deviation`.
pub(super) fn said_of(said: Option<&Preprocessing>) -> Result<(f64, f64, f64), ImportError> {
    match said {
        None | Some(Preprocessing::None) => Ok((1.0, 0.0, 1.0)),
        Some(Preprocessing::Scale { scale }) => Ok((f64::from(*scale), 0.0, 1.0)),
        Some(Preprocessing::Normalize { scale, mean, deviation }) => {
            Ok((f64::from(*scale), f64::from(*mean), f64::from(*deviation)))
        }
        Some(Preprocessing::Standardize { .. }) => Err(ImportError::unsupported(
            "the file prepares features itself",
            "they cannot be standardised one by one before",
        )),
    }
}

/// What is done to raw features, and what is left for the first layer to do.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) preprocessing: Preprocessing,
    /// Goes into the first layer: no preprocessing can do it.
    pub(super) left: Option<Diagonal>,
    /// What a person should look at.
    pub(super) doubt: Option<String>,
}

/// What a batch norm on the input has seen of features when it was trained.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// What the norm is called.
    name: String,
    /// What the file does to features before the norm.
    before: Diagonal,
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Seen {
    /// What a batch norm has seen, of features behind `before`.
    pub(super) fn of(norm: &NormStep, before: &Diagonal) -> Self {
        Self {
            name: norm.name(),
            before: before.clone(),
            mean: norm.mean.clone(),
            deviation: norm.variance.iter().map(|variance| variance.sqrt()).collect(),
        }
    }

    /// Holds what was said of features to what the norm has seen of them: bytes would have to have
    /// such means and deviations once they are prepared.
    ///
    /// # Errors
    ///
    /// No bytes have them: the norm has seen features that were prepared in another way.
    pub(super) fn check(&self, said: Option<&Preprocessing>) -> Result<(), ImportError> {
        let Some(flag) = flag_of(said) else { return Ok(()) };
        let (scale, mean, deviation) = said_of(said)?;
        for feature in 0..self.mean.len() {
            let (factor, shift) = (self.before.scale[feature], self.before.offset[feature]);
            let [a, b] =
                [0.0, LARGEST_BYTE].map(|byte| factor * (scale * byte - mean) / deviation + shift);
            let (low, high) = (a.min(b), a.max(b));
            // What a norm has seen is mixed with its first values, 0 and 1, for some steps; noise and
            // few rows at a time add a little.
            let width = high - low;
            let means = low.min(0.0) - SLACK * width..=high.max(0.0) + SLACK * width;
            let most = (1.0 + 2.0 * SLACK) * (width / 2.0).powi(2).max(1.0);
            let (mean, deviation) = (self.mean[feature], self.deviation[feature]);
            if !means.contains(&mean) || deviation * deviation > most {
                let norm = self.name.clone();
                return Err(ImportError::SeenOtherwise { norm, flag, mean, deviation, low, high });
            }
        }
        Ok(())
    }

    /// What a person should look at: raw features of a picture, of which the norm has seen only
    /// numbers that bytes are made into.
    pub(super) fn doubt(&self, said: Option<&Preprocessing>) -> Option<String> {
        let are_small = self.mean.iter().chain(&self.deviation).all(|x| x.abs() <= 1.5);
        let is_untrained = self.mean.iter().all(|&mean| mean == 0.0);
        let may_be_picture = self.mean.len() >= LEAST_PICTURE && self.before.is_identity();
        if flag_of(said).is_some() || !may_be_picture || is_untrained || !are_small {
            return None;
        }
        Some(format!(
            "{} on the input has seen features with means from {:.3} to {:.3}; if raw features are \
             bytes, say --preprocessing scale or --normalize",
            self.name,
            self.mean.iter().copied().fold(f64::INFINITY, f64::min),
            self.mean.iter().copied().fold(f64::NEG_INFINITY, f64::max)
        ))
    }
}

/// The flag that said how features are prepared, if they are.
fn flag_of(said: Option<&Preprocessing>) -> Option<&'static str> {
    match said {
        None | Some(Preprocessing::None) => None,
        Some(Preprocessing::Normalize { .. }) => Some("--normalize"),
        Some(_) => Some("--preprocessing scale"),
    }
}

/// Puts together what was said and what the file does.
///
/// # Errors
///
/// Neither tells how features were prepared, or both prepare them and little or too much is left.
pub(super) fn prepare(
    said: Option<&Preprocessing>,
    of_file: &Diagonal,
    file_tells: bool,
) -> Result<Prepared, ImportError> {
    let doubt = if file_tells { doubt(said, of_file)? } else { None };
    let whole = |preprocessing| Ok(Prepared { preprocessing, left: None, doubt: doubt.clone() });
    if said.is_none() && !file_tells {
        return Err(ImportError::Unsaid {
            what: "how raw features were prepared for the network".to_owned(),
            flag: "--preprocessing scale (bytes to [0, 1]) or --preprocessing none, or with \
                   --normalize MEAN,DEVIATION (of scaled bytes)"
                .to_owned(),
        });
    }
    if of_file.is_identity() {
        return whole(said.cloned().unwrap_or_default());
    }
    if file_tells {
        check_range(said, of_file)?;
    }
    let (scale, mean, deviation) = said_of(said)?;
    let (factors, shifts) = (&of_file.scale, &of_file.offset);
    if let (Some(&factor), Some(&shift)) = (factors.first(), shifts.first())
        && factors.iter().all(|other| *other == factor)
        && shifts.iter().all(|other| *other == shift)
    {
        if mean == 0.0 && deviation == 1.0 && shift == 0.0 && factor != 0.0 {
            return whole(Preprocessing::Scale { scale: (scale * factor) as f32 });
        }
        let deviation_of_all = (deviation / factor) as f32;
        if factor > 0.0 && deviation_of_all.is_normal() {
            return whole(Preprocessing::Normalize {
                scale: scale as f32,
                mean: (mean - shift * deviation / factor) as f32,
                deviation: deviation_of_all,
            });
        }
    }
    let means: Vec<f32> = factors
        .iter()
        .zip(shifts)
        .map(|(factor, shift)| ((mean - shift * deviation / factor) / scale) as f32)
        .collect();
    let deviations: Vec<f32> =
        factors.iter().map(|factor| (deviation / (scale * factor)) as f32).collect();
    let is_representable = means.iter().all(|mean| mean.is_finite())
        && deviations.iter().all(|&deviation| deviation > 0.0 && deviation.is_normal());
    if is_representable {
        return whole(Preprocessing::Standardize { mean: means, deviation: deviations });
    }
    let preprocessing = said.cloned().unwrap_or_default();
    Ok(Prepared { preprocessing, left: Some(of_file.clone()), doubt })
}

/// What may be wrong with what was said, or was not, of features that the file prepares itself.
fn doubt(said: Option<&Preprocessing>, of_file: &Diagonal) -> Result<Option<String>, ImportError> {
    let (low, high) = ends(said, of_file)?;
    let takes_a_mean = of_file.offset.iter().any(|&offset| offset != 0.0);
    let what = match said {
        Some(Preprocessing::Normalize { .. }) if takes_a_mean => {
            "both --normalize and the file take a mean off; if the file was given pixels in [0, 1], \
             say --preprocessing scale instead"
        }
        None if of_file.scale.len() >= LEAST_PICTURE && low.abs().max(high.abs()) > 50.0 => {
            "if the file was given pixels in [0, 1], say --preprocessing scale"
        }
        _ => return Ok(None),
    };
    Ok(Some(format!("bytes from 0 to 255 become {low:.3} to {high:.3}; {what}")))
}

/// What bytes of 0 and 255 become, of the feature in the middle of all by its factor.
fn ends(said: Option<&Preprocessing>, of_file: &Diagonal) -> Result<(f64, f64), ImportError> {
    let (scale, mean, deviation) = said_of(said)?;
    let mut order: Vec<usize> = (0..of_file.scale.len()).collect();
    order.sort_by(|&a, &b| of_file.scale[a].abs().total_cmp(&of_file.scale[b].abs()));
    let middle = order.get(order.len() / 2).copied().unwrap_or_default();
    let (factor, shift) = (of_file.scale[middle], of_file.offset[middle]);
    let [dark, bright] =
        [0.0, LARGEST_BYTE].map(|byte| factor * (scale * byte - mean) / deviation + shift);
    Ok((dark, bright))
}

/// Refuses a flag on top of what the file does itself if nothing sensible comes out: pixels divided
/// by 255 twice, or normalised twice.
fn check_range(said: Option<&Preprocessing>, of_file: &Diagonal) -> Result<(), ImportError> {
    let Some(flag) = flag_of(said) else { return Ok(()) };
    let (scale, mean, deviation) = said_of(said)?;
    let [low, high] = [0.0, LARGEST_BYTE].map(|byte| (scale * byte - mean) / deviation);
    let mut widths: Vec<f64> =
        of_file.scale.iter().map(|factor| (factor * (high - low)).abs()).collect();
    widths.retain(|&width| width > 0.0);
    widths.sort_by(f64::total_cmp);
    // A constant feature may have any factor: the quarter that moves least tells.
    let Some(&narrow) = widths.get(widths.len() / 4) else { return Ok(()) };
    let least = of_file
        .scale
        .iter()
        .zip(&of_file.offset)
        .map(|(factor, shift)| (factor * low + shift).abs().min((factor * high + shift).abs()))
        .fold(f64::INFINITY, f64::min);
    if (LEAST_WIDTH..=LARGEST).contains(&narrow) && least <= LARGEST {
        return Ok(());
    }
    let (low, high) = ends(said, of_file)?;
    Err(ImportError::TwicePrepared { flag, low, high })
}

/// A preprocessing in words.
pub(super) fn in_words(preprocessing: &Preprocessing) -> String {
    match preprocessing {
        Preprocessing::None => "raw features go in as they are".to_owned(),
        Preprocessing::Scale { scale } => format!("raw features times {scale}"),
        Preprocessing::Normalize { scale, mean, deviation } => {
            let sign = if *mean < 0.0 { "plus" } else { "minus" };
            format!("raw features times {scale}, {sign} {}, divided by {deviation}", mean.abs())
        }
        Preprocessing::Standardize { .. } => {
            "each raw feature minus a mean of its own, divided by a deviation of its own".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_all(
        said: Option<&Preprocessing>,
        (factor, shift): (f64, f64),
    ) -> Result<Preprocessing, ImportError> {
        Ok(prepare(said, &Diagonal::same(2, factor, shift), true)?.preprocessing)
    }

    #[test]
    fn what_was_said_of_features_comes_before_what_the_file_does() {
        let pixels = Preprocessing::PIXELS;
        let normal = Preprocessing::Normalize { scale: 0.5, mean: 2.0, deviation: 4.0 };
        assert_eq!(of_all(Some(&pixels), (1.0, 0.0)).unwrap(), pixels);
        assert_eq!(of_all(None, (0.25, 0.0)).unwrap(), Preprocessing::Scale { scale: 0.25 });
        // ((0.5 x - 2) / 4) 2 + 3, at x = 10: 4.5.
        let Preprocessing::Normalize { scale, mean, deviation } =
            of_all(Some(&normal), (2.0, 3.0)).unwrap()
        else {
            unreachable!("there is a shift")
        };
        assert!(((scale * 10.0 - mean) / deviation - 4.5).abs() < 1e-6);
        let unsaid = prepare(None, &Diagonal::identity(1), false);
        assert!(matches!(unsaid, Err(ImportError::Unsaid { .. })));
        // ((0.5 x - 2) / 4 - 1) / 3 and ((0.5 x - 2) / 4 - 2) / 5, at x = 10.
        let each = Diagonal {
            scale: vec![1.0 / 3.0, 0.2],
            offset: vec![-1.0 / 3.0, -0.4],
            from: Vec::new(),
        };
        let Preprocessing::Standardize { mean, deviation } =
            prepare(Some(&normal), &each, true).unwrap().preprocessing
        else {
            unreachable!("each feature has its own")
        };
        for (at, expected) in [(0, -1.0 / 12.0), (1, -0.25)] {
            assert!(((10.0 - mean[at]) / deviation[at] - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn factors_that_are_not_positive_are_left_for_the_first_layer() {
        for scale in [-1.0, 0.0] {
            let map =
                Diagonal { scale: vec![1.0, scale], offset: vec![0.5, 1.0], from: Vec::new() };
            let prepared = prepare(Some(&Preprocessing::PIXELS), &map, false).unwrap();
            assert_eq!(prepared.preprocessing, Preprocessing::PIXELS);
            assert_eq!(prepared.left, Some(map));
        }
    }

    #[test]
    fn what_a_batch_norm_has_seen_tells_how_features_were_prepared() {
        let seen = |factor: f64, mean: f64, deviation: f64| Seen {
            name: "the batch norm".to_owned(),
            before: Diagonal::same(2, factor, 0.0),
            mean: vec![0.0, mean],
            deviation: vec![1.0, deviation],
        };
        let scale = Preprocessing::PIXELS;
        let normalize =
            Preprocessing::Normalize { scale: 1.0 / 255.0, mean: 0.13, deviation: 0.31 };
        let bytes = seen(1.0, 33.0, 78.0);
        for said in [&scale, &normalize] {
            let error = bytes.check(Some(said)).unwrap_err();
            assert!(matches!(error, ImportError::SeenOtherwise { .. }), "{error}");
            // Means and deviations tell each for itself.
            assert!(seen(1.0, 33.0, 0.0).check(Some(said)).is_err());
            assert!(seen(1.0, 0.0, 78.0).check(Some(said)).is_err());
            // Untrained, and trained on what the flag makes of bytes.
            assert!(seen(1.0, 0.0, 1.0).check(Some(said)).is_ok());
            assert!(seen(1.0, 0.5, 0.3).check(Some(said)).is_ok());
            // Beyond what any bytes can have.
            assert!(seen(1.0, -1.0, 0.3).check(Some(said)).is_err());
            // What the file does before the norm counts.
            assert!(seen(255.0, 33.0, 78.0).check(Some(said)).is_ok());
        }
        // Small numbers of as many features as a picture has may be bytes that were divided.
        let picture = |mean: f64, deviation: f64| Seen {
            name: "the batch norm".to_owned(),
            before: Diagonal::identity(64),
            mean: vec![mean; 64],
            deviation: vec![deviation; 64],
        };
        let none = Some(&Preprocessing::None);
        let doubt = picture(0.13, 0.31).doubt(none).unwrap();
        assert!(doubt.contains("from 0.130 to 0.130; if raw features are bytes"), "{doubt}");
        for (seen, said) in [
            (picture(33.0, 78.0), none),
            (picture(0.0, 1.0), none),
            (picture(0.13, 0.31), Some(&scale)),
            (seen(1.0, 0.13, 0.31), none),
        ] {
            assert_eq!(seen.doubt(said), None);
        }
        // Features that were normalised are not only divided.
        for (mean, deviation) in [(-0.42, 0.01), (0.3, 1.1)] {
            assert!(seen(1.0, mean, deviation).check(Some(&scale)).is_err());
            assert!(seen(1.0, mean, deviation).check(Some(&normalize)).is_ok());
        }
        assert!(bytes.check(None).is_ok() && bytes.check(Some(&Preprocessing::None)).is_ok());
    }

    #[test]
    fn features_are_not_prepared_twice() {
        let scale = Preprocessing::PIXELS;
        let normalize =
            Preprocessing::Normalize { scale: 1.0 / 255.0, mean: 0.13, deviation: 0.31 };
        let statistics = (1.0 / 78.6, -33.3 / 78.6);
        for said in [&scale, &normalize] {
            // Keras' two usual Rescaling layers, and a Normalization of bytes.
            for of_file in [(1.0 / 255.0, 0.0), (1.0 / 127.5, -1.0), statistics] {
                let error = of_all(Some(said), of_file).unwrap_err();
                assert!(matches!(error, ImportError::TwicePrepared { .. }), "{error}");
            }
            assert!(of_all(Some(said), (1e5, 0.0)).is_err());
            assert!(of_all(Some(said), (1.0, 1e5)).is_err());
        }
        // A Normalization of pixels in [0, 1], and what the file does alone.
        assert!(of_all(Some(&scale), (1.0 / 0.31, -0.13 / 0.31)).is_ok());
        assert!(of_all(Some(&Preprocessing::None), (1.0 / 255.0, 0.0)).is_ok());
        assert!(of_all(None, statistics).is_ok());
        // What nothing decides is a note: two means, and a Normalization of pixels given bytes.
        let standard = Diagonal::same(64, 1.0 / 0.31, -0.13 / 0.31);
        for said in [Some(&normalize), None] {
            let doubt = prepare(said, &standard, true).unwrap().doubt.unwrap();
            assert!(doubt.contains("--preprocessing scale"), "{doubt}");
        }
        assert_eq!(prepare(Some(&scale), &standard, true).unwrap().doubt, None);
        // Of a set most of whose features are constant, the others tell.
        let mut scale_of_each = vec![1e7; 70];
        scale_of_each.extend(vec![1.0 / 90.0; 30]);
        let map = Diagonal { offset: vec![0.0; 100], scale: scale_of_each, from: Vec::new() };
        assert!(prepare(Some(&scale), &map, true).is_err());
    }
}
