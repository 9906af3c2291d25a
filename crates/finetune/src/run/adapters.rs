//! Adapters beside the layers of a model.

use anyhow::{Result, bail};
use fireclay::{Architecture, Lora, Model, ParameterPath};

use crate::pattern::Pattern;

/// The adapters on the layers that are named, by default all below the output.
pub(super) fn on_layers(lora: &Lora, patterns: &[Pattern], model: &Model) -> Result<Lora> {
    let model = model.mlp.architecture();
    let last = model.hidden.len();
    let mut layers: Vec<usize> = Vec::new();
    for pattern in patterns {
        let paths = pattern.paths(model)?;
        let weights = paths.into_iter().filter(|path| matches!(path, ParameterPath::Weight(_)));
        let named: Vec<usize> = weights.map(ParameterPath::layer).collect();
        if named.is_empty() {
            bail!(
                "--lora-on {pattern}: it names no weights of a layer, which adapters stand beside"
            );
        }
        layers.extend(named);
    }
    if patterns.is_empty() {
        layers = (0..last).collect();
    }
    if layers.is_empty() {
        bail!("no layer is left for an adapter: name some with --lora-on");
    }
    layers.sort_unstable();
    layers.dedup();
    check_rank(lora.rank, &layers, model)?;
    Ok(Lora { layers, ..lora.clone() })
}

/// Refuses a rank that is larger than any of these layers can use: with it an adapter has more
/// numbers than the weights beside it, and says no more than they do.
fn check_rank(rank: usize, layers: &[usize], network: &Architecture) -> Result<()> {
    let sizes = network.layer_sizes();
    let most = layers
        .iter()
        .filter_map(|&layer| sizes.get(layer).map(|[inputs, outputs]| *inputs.min(outputs)))
        .max()
        .unwrap_or(0);
    if rank <= most {
        return Ok(());
    }
    bail!(
        "--lora rank={rank}: the rank of these layers' weights is at most {most}; give rank={most} \
         or less"
    )
}
