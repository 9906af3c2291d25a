//! The temperature that makes probabilities as sure as they are right.
//!
//! Guo et al. 2017 (arXiv 1706.04599): logits are divided by one number, chosen for the lowest
//! cross-entropy on rows that the network did not learn from. No answer changes by it, for it keeps the
//! order of probabilities.

/// The range of inverse temperatures that is searched.
const RANGE: [f64; 2] = [1e-2, 1e2];

/// The temperature of a classifier, from logits `[rows, classes]` of rows with weights; none if no temperature in the range
/// has the lowest loss, as when every row is classified correctly.
pub(super) fn of_classes(logits: &[f32], ids: &[u32], weights: &[f64]) -> Option<f32> {
    let classes = logits.len() / ids.len().max(1);
    // Of the loss `ln Σ exp(b z) - b z[class]` by the inverse temperature b.
    root(|inverse| {
        let rows = logits.chunks_exact(classes).zip(ids).zip(weights);
        rows.map(|((row, &id), weight)| weight * (mean(row, inverse) - f64::from(row[id as usize])))
            .sum()
    })
}

/// The temperature of a multi-label model, from logits and 0 or 1, `[rows, labels]`, of rows with weights; none as for
/// [`of_classes`].
pub(super) fn of_labels(logits: &[f32], values: &[u8], weights: &[f64]) -> Option<f32> {
    let labels = logits.len() / weights.len().max(1);
    root(|inverse| {
        let cells = logits.iter().zip(values).enumerate();
        cells
            .map(|(at, (&z, &value))| {
                let (z, value) = (f64::from(z), f64::from(value));
                weights[at / labels] * z * (1.0 / (1.0 + (-inverse * z).exp()) - value)
            })
            .sum()
    })
}

/// The mean of logits by the probabilities that they give at an inverse temperature.
fn mean(logits: &[f32], inverse: f64) -> f64 {
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let (mut sum, mut weighted) = (0.0, 0.0);
    for &z in logits {
        let z = f64::from(z);
        let weight = (inverse * (z - most)).exp();
        sum += weight;
        weighted += weight * z;
    }
    weighted / sum
}

/// The temperature at which the slope of the loss by the inverse temperature is 0. The loss is convex
/// in that, so the slope rises, and halving the range finds the place.
fn root(slope: impl Fn(f64) -> f64) -> Option<f32> {
    let [mut low, mut high] = RANGE.map(f64::ln);
    if slope(RANGE[0]) >= 0.0 || slope(RANGE[1]) <= 0.0 {
        return None;
    }
    // Until the ends are neighbours in double precision.
    for _ in 0..60 {
        let middle = low.midpoint(high);
        *if slope(middle.exp()) < 0.0 { &mut low } else { &mut high } = middle;
    }
    Some((-low.midpoint(high)).exp() as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_all_right_or_all_wrong_have_no_temperature() {
        let logits = [1.0, 0.0, 0.0, 2.0];
        assert_eq!(of_classes(&logits, &[0, 1], &[1.0; 2]), None);
        assert_eq!(of_classes(&logits, &[1, 0], &[1.0; 2]), None);
        assert_eq!(of_labels(&[1.0, -2.0], &[1, 0], &[1.0; 2]), None);
        assert_eq!(of_labels(&[0.0, 0.0], &[1, 0], &[1.0; 2]), None);
    }

    #[test]
    fn two_thirds_are_right() {
        // Logits that give p to the right class in two of three rows: ln 2 = z / T.
        let logits = [3.0, 0.0, 3.0, 0.0, 3.0, 0.0];
        let found = of_classes(&logits, &[0, 0, 1], &[1.0; 3]).unwrap();
        assert!((f64::from(found) - 3.0 / 2f64.ln()).abs() < 1e-6, "{found}");
        let found = of_labels(&[3.0; 3], &[1, 1, 0], &[1.0; 3]).unwrap();
        assert!((f64::from(found) - 3.0 / 2f64.ln()).abs() < 1e-6, "{found}");
        // A row of weight 2 counts as two.
        let found = of_classes(&logits[2..], &[0, 1], &[2.0, 1.0]).unwrap();
        assert!((f64::from(found) - 3.0 / 2f64.ln()).abs() < 1e-6, "{found}");
        let found = of_labels(&[3.0; 2], &[1, 0], &[2.0, 1.0]).unwrap();
        assert!((f64::from(found) - 3.0 / 2f64.ln()).abs() < 1e-6, "{found}");
    }
}
