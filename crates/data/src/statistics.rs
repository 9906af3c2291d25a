//! Mean and standard deviation of features, for fitting preprocessing on training rows.

use crate::Dataset;

impl Dataset {
    /// Mean and population standard deviation of each feature over `rows`: two of `[features]`.
    ///
    /// Raw values, as in [`Dataset::batch`]. Zeros if `rows` is empty.
    ///
    /// # Panics
    ///
    /// If a row number is not less than [`Dataset::len`].
    pub fn mean_and_std(&self, rows: &[usize]) -> (Vec<f32>, Vec<f32>) {
        let (mean, variance) = self.mean_and_variance(rows);
        (
            mean.into_iter().map(|mean| mean as f32).collect(),
            variance.into_iter().map(|variance| variance.sqrt() as f32).collect(),
        )
    }

    /// Mean and population standard deviation of all features of `rows` taken together.
    ///
    /// # Panics
    ///
    /// If a row number is not less than [`Dataset::len`].
    pub fn global_mean_and_std(&self, rows: &[usize]) -> (f32, f32) {
        let (means, variances) = self.mean_and_variance(rows);
        let mean = average(means.iter().copied());
        // Variance within the features plus variance between their means.
        let between = average(means.iter().map(|&feature| (feature - mean).powi(2)));
        (mean as f32, (average(variances.into_iter()) + between).sqrt() as f32)
    }

    /// Welford's update (Technometrics 4, 1962), which does not lose small variances of values that
    /// lie far from zero, as the mean of the squares less the square of the mean does.
    fn mean_and_variance(&self, rows: &[usize]) -> (Vec<f64>, Vec<f64>) {
        let mut mean = vec![0.0; self.width()];
        let mut squares = vec![0.0; self.width()];
        let mut row = Vec::with_capacity(self.width());
        for (before, &index) in rows.iter().enumerate() {
            row.clear();
            self.append_row(index, &mut row);
            let weight = 1.0 / (before + 1) as f64;
            for ((&value, mean), squares) in row.iter().zip(&mut mean).zip(&mut squares) {
                let from_old_mean = f64::from(value) - *mean;
                *mean += from_old_mean * weight;
                *squares += from_old_mean * (f64::from(value) - *mean);
            }
        }
        // The population's variance, as scikit-learn's StandardScaler has it: divided by n, not n - 1.
        let weight = 1.0 / rows.len().max(1) as f64;
        squares.iter_mut().for_each(|square| *square *= weight);
        (mean, squares)
    }
}

fn average(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use crate::{Dataset, Features, Targets};

    fn set(width: usize, values: &[f32]) -> Dataset {
        let ids = vec![0; values.len() / width];
        let targets = Targets::Classes { ids, labels: vec!["a".to_owned()] };
        Dataset::new(vec![width], Features::Floats(values.to_vec()), targets).unwrap()
    }

    #[test]
    fn each_feature_and_all_together() {
        // numpy: a = [[1, 10], [3, 10], [5, 40]]; a.mean(0), a.std(0), a.mean(), a.std()
        let set = set(2, &[1.0, 10.0, 3.0, 10.0, 5.0, 40.0]);
        let (mean, std) = set.mean_and_std(&[0, 1, 2]);
        assert_eq!(mean, [3.0, 20.0]);
        assert_eq!(std, [1.632_993_2, 14.142_136]);
        assert_eq!(set.global_mean_and_std(&[0, 1, 2]), (11.5, 13.175_103));
    }

    #[test]
    fn only_the_given_rows_count() {
        let set = set(1, &[1.0, 100.0, 3.0]);
        assert_eq!(set.mean_and_std(&[0, 2]), (vec![2.0], vec![1.0]));
        assert_eq!(set.mean_and_std(&[]), (vec![0.0], vec![0.0]));
    }

    #[test]
    fn small_variance_far_from_zero_is_kept() {
        let set = set(1, &[16_777_214.0, 16_777_215.0, 16_777_216.0]);
        let (_, std) = set.mean_and_std(&[0, 1, 2]);
        assert!((std[0] - 0.816_496_6).abs() < 1e-6, "{std:?}");
    }

    #[test]
    fn constant_features_have_no_deviation() {
        let set = set(1, &[0.1; 7]);
        let (mean, std) = set.mean_and_std(&[0, 1, 2, 3, 4, 5, 6]);
        assert!((mean[0] - 0.1).abs() < 1e-7);
        assert_eq!(std, [0.0]);
    }
}
