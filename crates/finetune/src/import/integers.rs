//! Weights that are whole numbers, of which no network is made.

use fireclay_formats::{Archive, ElementType, Kind, Tensor};
use fireclay_terminal::printable;

use super::ImportError;

/// An error of tensors that make no network, in the words of weights that are whole numbers if the
/// file has such.
pub(super) fn explain(error: ImportError, archive: &Archive) -> ImportError {
    let mut matrices = archive.tensors.iter().filter(|tensor| tensor.shape.len() == 2);
    let has_weights = matrices.clone().any(|tensor| tensor.dtype.is_float());
    let found = matrices.find(|tensor| {
        let is_whole = !tensor.dtype.is_float() && tensor.dtype != ElementType::Bool;
        is_whole && (!has_weights || is_weight(&tensor.name))
    });
    let Some(Tensor { name, shape, dtype, .. }) = found else { return error };
    let how = match archive.kind {
        Kind::NumPy => {
            "numpy.savez(\"float.npz\", **{k: v.astype(\"float32\") for k, v in \
             numpy.load(FILE).items()})"
        }
        _ => "v.float() of each tensor v before it is saved",
    };
    ImportError::unsupported(
        format!("tensor {} {shape:?} has whole numbers ({})", printable(name, 60), dtype.name()),
        format!(
            "weights are numbers of floating point; convert them with {how}; of a quantized network \
             save the weights from before it was quantized"
        ),
    )
}

/// Whether a name is that of the weights of a layer.
fn is_weight(name: &str) -> bool {
    let last = name.rsplit(['.', '/']).next().unwrap_or_default();
    matches!(last, "weight" | "kernel" | "w" | "W")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: Kind, tensors: &[(&str, &[usize], ElementType)]) -> String {
        let tensor = |&(name, shape, dtype): &(&str, &[usize], ElementType)| {
            let mut tensor = Tensor::zeros(name, shape.to_vec());
            tensor.dtype = dtype;
            tensor
        };
        let archive = Archive {
            kind,
            tensors: tensors.iter().map(tensor).collect(),
            network: None,
            layout: None,
            labels: None,
            class_names: Vec::new(),
            files: Vec::new(),
            task: None,
            notes: Vec::new(),
            advice: None,
        };
        let error = ImportError::NoLayers { tensors: tensors.len(), has_matrix: false };
        explain(error, &archive).to_string()
    }

    #[test]
    fn whole_numbers_are_named_and_converted() {
        let said_of_numpy = said(Kind::NumPy, &[("W1", &[6, 8], ElementType::I64)]);
        let expected =
            "tensor W1 [6, 8] has whole numbers (i64); weights are numbers of floating point";
        assert!(said_of_numpy.starts_with(expected), "{said_of_numpy}");
        assert!(said_of_numpy.contains("v.astype(\"float32\")"), "{said_of_numpy}");
        // One of several.
        let float = ("2.weight", &[3, 8][..], ElementType::F32);
        let some = said(Kind::PyTorch, &[("0.weight", &[8, 6], ElementType::I8), float]);
        assert!(some.starts_with("tensor 0.weight [8, 6] has whole numbers (i8)"), "{some}");
    }

    #[test]
    fn other_whole_numbers_say_nothing_of_weights() {
        let float = ("0.weight", &[8, 6][..], ElementType::F32);
        for other in [
            ("confusion", &[3, 3][..], ElementType::I64),
            ("0.mask", &[8, 6], ElementType::U8),
            ("x.weight", &[8, 6], ElementType::Bool),
            ("ids", &[8], ElementType::I64),
        ] {
            assert!(
                said(Kind::PyTorch, &[float, other]).starts_with("the file has no weight matrix")
            );
        }
    }
}
