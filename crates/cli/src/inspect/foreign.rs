//! Files of other programs.

use std::path::Path;

use finetune::import::{Options, import};
use fireclay_formats::{Archive, Kind, Layer, Layout, Network, Norm};
use fireclay_terminal::{printable, sizes};

use super::Found;
use super::numbers::Stored;
use super::text::network;
use crate::model::Where;

/// The tensors of the file.
pub(super) fn tensors(archive: &Archive) -> Vec<Stored<'_>> {
    let usual = match archive.kind {
        Kind::PyTorch | Kind::Safetensors | Kind::Onnx => Layout::OutIn,
        Kind::Keras | Kind::KerasHdf5 | Kind::NumPy | Kind::Burn => Layout::InOut,
    };
    let stored = archive.tensors.iter().map(|tensor| Stored {
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        dtype: tensor.dtype.name(),
        is_float: tensor.dtype.is_float(),
        layout: layout(archive, &tensor.name).unwrap_or(usual),
        is_parameter: true,
        pieces: Box::new(|each| tensor.pieces(each)),
    });
    stored.collect()
}

/// The layout of the weight of this name in the network that the file describes.
fn layout(archive: &Archive, name: &str) -> Option<Layout> {
    archive.network.as_ref()?.layers.iter().find_map(|layer| match layer {
        Layer::Dense { weight, layout, .. } if weight == name => Some(*layout),
        _ => None,
    })
}

/// What the file says of itself, and whether fine-tuning could start from it.
pub(super) fn tell(path: &Path, key: Option<&str>, archive: &Archive, found: &mut Found) {
    let notes = archive.notes.iter().chain(&archive.advice);
    found.notes.extend(notes.map(|note| printable(note, 300)));
    found.network = archive.network.as_ref().map(|network| described(network, archive));
    // One array is data and no network.
    if archive.tensors.len() < 2 {
        return;
    }
    let Ok(device) = Where::default().device() else { return };
    let options = Options { key: key.map(str::to_owned), ..Options::default() };
    found.notes.push(match import(path, &options, &device) {
        Ok(imported) => format!(
            "`fireclay finetune` can start from it: {}",
            network(imported.model.mlp.architecture())
        ),
        Err(error) => {
            let why = format!("{:#}", anyhow::Error::new(error));
            let why = why.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&why);
            format!("to start from it, `fireclay finetune` needs more: {}", printable(why, 400))
        }
    });
}

/// The layers of a network, one after the other.
fn described(network: &Network, archive: &Archive) -> String {
    let input = network.input_shape.as_ref().map(|shape| format!("input {}", sizes(shape)));
    input.into_iter().chain([layers(&network.layers, archive)]).collect::<Vec<_>>().join(", ")
}

fn layers(all: &[Layer], archive: &Archive) -> String {
    all.iter().map(|each| layer(each, archive)).collect::<Vec<_>>().join(", ")
}

fn layer(layer: &Layer, archive: &Archive) -> String {
    match layer {
        Layer::Flatten => "flatten".to_owned(),
        Layer::Rescale { scale, offset } if *offset == 0.0 => format!("times {scale:.6}"),
        Layer::Rescale { scale, offset } => format!("times {scale:.6} plus {offset:.6}"),
        Layer::Affine { .. } => "scale and offset of each feature".to_owned(),
        Layer::Dense { weight, bias, .. } => {
            let tensor = archive.tensors.iter().find(|tensor| tensor.name == *weight);
            let shape = tensor.map_or_else(|| "?".to_owned(), |tensor| sizes(&tensor.shape));
            let bias = if bias.is_none() { " without bias" } else { "" };
            format!("dense {shape}{bias}")
        }
        Layer::Norm { kind: Norm::Batch, .. } => "batch norm".to_owned(),
        Layer::Norm { kind: Norm::Layer, .. } => "layer norm".to_owned(),
        Layer::Norm { kind: Norm::Rms, .. } => "RMS norm".to_owned(),
        Layer::Activation(activation) => printable(&activation.name, 40),
        Layer::Prelu { .. } => "prelu".to_owned(),
        Layer::Residual(inner) => format!("residual ({})", layers(inner, archive)),
        Layer::Dropout(share) => format!("dropout {share}"),
    }
}
