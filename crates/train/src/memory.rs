//! How much memory a run takes at the least, before any of it is taken.
//!
//! A system that promises more than it has ends a process minutes later, without a word. What is
//! counted here is what no run of these settings can do without; so a run that is refused could not
//! have come to its end.

use std::fs;

use fireclay::Architecture;

use crate::optimizer::OptimizerConfig;
use crate::settings::Settings;
use crate::tuning::Tuning;

/// A run that takes more memory than there is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "training takes at least {} of memory, and {} are free: {} for the network, its gradients and \
     the optimizer, {} for a batch of {rows}; use smaller --hidden layers{}",
    gigabytes(*.network + *.batch),
    gigabytes(*.free),
    gigabytes(*.network),
    gigabytes(*.batch),
    if *.batch > *.network { ", or a smaller --batch-size" } else { "" }
)]
pub struct TooLarge {
    /// Bytes of the network, its gradients and the optimizer's memory.
    pub network: u64,
    /// Bytes of the layers' values for a batch.
    pub batch: u64,
    /// Rows of a batch.
    pub rows: u64,
    /// Bytes that are free.
    pub free: u64,
}

/// Bytes of a number.
const NUMBER: u64 = 4;

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// Refuses a run on so many training rows that does not fit the memory that is free, where that is
/// known.
///
/// # Errors
///
/// What it takes and what there is.
pub fn check(settings: &Settings, rows: usize) -> Result<(), TooLarge> {
    free().map_or(Ok(()), |free| check_in(settings, rows, free))
}

fn check_in(settings: &Settings, rows: usize, free: u64) -> Result<(), TooLarge> {
    let Settings { model, training, optimizer, tuning, backend, .. } = settings;
    // What cannot be is refused with its reason elsewhere.
    let Ok(network) = model.architecture() else { return Ok(()) };
    let all = network.parameters() as u64;
    let rows = training.batch_size.min(rows) as u64;
    let (numbers, values) = if backend.is_cpu() {
        let average = if training.ema.is_some() { all } else { 0 };
        let trained = trained(&network, tuning.as_ref());
        // Of the vectors of terms, only the rows of a batch have gradients.
        let dense = trained.saturating_sub(vectors(&network));
        let moving = trained.saturating_mul(slots(optimizer)).saturating_add(dense);
        (all.saturating_add(average).saturating_add(moving), values_of_a_row(&network))
    } else {
        // Weights are drawn on the host, and all else is on the device.
        (all, 0)
    };
    let weights = numbers.saturating_mul(NUMBER);
    let batch = rows.saturating_mul(values).saturating_mul(NUMBER);
    if weights.saturating_add(batch) <= free {
        return Ok(());
    }
    Err(TooLarge { network: weights, batch, rows, free })
}

/// Parameters that are trained at once.
fn trained(network: &Architecture, tuning: Option<&Tuning>) -> u64 {
    let Some(tuning) = tuning else { return network.parameters() as u64 };
    let sizes = network.trainable();
    let of_phase = tuning.phases.iter().map(|phase| {
        let moving = sizes.iter().filter(|(path, _)| phase.rates.contains_key(&path.to_string()));
        moving.map(|(_, shape)| shape.iter().product::<usize>() as u64).sum()
    });
    of_phase.max().unwrap_or(0)
}

/// Numbers of the vectors of terms.
fn vectors(network: &Architecture) -> u64 {
    let bags = network.front.iter().filter_map(|part| Some((part.terms()?, part.width())));
    bags.map(|(terms, width)| (terms as u64).saturating_mul(width as u64)).sum()
}

/// Numbers that an optimizer remembers of each parameter.
fn slots(optimizer: &OptimizerConfig) -> u64 {
    match optimizer {
        OptimizerConfig::Sgd(o) => u64::from(o.momentum > 0.0),
        OptimizerConfig::Adam(_) | OptimizerConfig::AdamW(_) => 2,
        _ => 1,
    }
}

/// Values of the layers that the backward pass of a row needs.
fn values_of_a_row(network: &Architecture) -> u64 {
    let widths = network.hidden.iter().map(|layer| layer.width as u64);
    let hidden = widths.fold(0, u64::saturating_add);
    let member = hidden.saturating_add(network.outputs as u64);
    let members = member.saturating_mul(network.members() as u64);
    members.saturating_add(network.inputs() as u64)
}

/// Bytes that a process can still take, where the system tells it.
fn free() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let system = free_in(&text)?;
    // A container has its own limit, which is a number if there is one.
    let limit = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse::<u64>().ok());
    Some(limit.map_or(system, |limit| system.min(limit)))
}

/// What `/proc/meminfo` says is free: memory that is not in use or can be given back, and swap.
fn free_in(text: &str) -> Option<u64> {
    let swap = bytes_of(text, "SwapFree").unwrap_or(0);
    Some(bytes_of(text, "MemAvailable")?.saturating_add(swap))
}

/// A line of `/proc/meminfo`, in bytes.
fn bytes_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use fireclay::MlpConfig;

    use super::*;

    #[test]
    fn what_a_run_takes_is_counted_by_hand() {
        let model = MlpConfig::new([10], [1000], 5);
        let mut settings = Settings { model, ..Settings::default() };
        settings.training.batch_size = 64;
        // 10 * 1000 + 1000 + 1000 * 5 + 5 weights; of Adam each has a gradient and two numbers.
        let weights = 16_005_u64;
        let least = 4 * (4 * weights + 64 * 1015);
        assert_eq!(check_in(&settings, 1000, least), Ok(()));
        let found = check_in(&settings, 1000, least - 1).unwrap_err();
        assert_eq!((found.network, found.batch, found.rows), (16 * weights, 4 * 64 * 1015, 64));
        // A batch is never larger than the training split.
        settings.training.batch_size = usize::MAX;
        assert_eq!(check_in(&settings, 64, least), Ok(()));
    }

    #[test]
    fn a_network_beyond_counting_is_refused() {
        let model = MlpConfig::new([784], [1_000_000_000], 10);
        let settings = Settings { model, ..Settings::default() };
        let found = check_in(&settings, 1000, 1 << 40).unwrap_err();
        let words = "at least 12848.0 GB of memory";
        assert!(found.to_string().contains(words), "{found}");
    }

    #[test]
    fn free_memory_is_read_as_linux_writes_it() {
        let text = "MemTotal: 4 kB\nMemFree:        1 kB\nMemAvailable:   3 kB\nSwapFree: 2 kB\n";
        assert_eq!(free_in(text), Some(5 * 1024));
        assert_eq!(free_in("MemTotal: 4 kB\n"), None);
    }
}
