//! Two copies of one network in a file.

use std::collections::HashSet;

use fireclay_formats::Tensor;

use super::super::ImportError;
use super::looks::{COPIES, Look};
use super::names::pieces;
use super::ways::quoted;

/// Words that tell one of two networks whose names are else the same from the other.
const BESIDES: &[&str] = &[
    "module", "copy", "copies", "old", "prev", "previous", "best", "backup", "init", "initial",
    "slow", "orig",
];

/// What a name has within it that the other has not, if the rest of both is the same.
fn more<'a>(short: &Tensor, long: &'a Tensor) -> Option<&'a str> {
    let (short_name, long_name) = (short.name.as_str(), long.name.as_str());
    let more = long_name.len().checked_sub(short_name.len()).filter(|more| *more > 0)?;
    let same = short_name.bytes().zip(long_name.bytes()).take_while(|(a, b)| a == b).count();
    let is_rest_same = long_name.get(same + more..) == short_name.get(same..);
    long_name.get(same..same + more).filter(|_| is_rest_same && short.shape == long.shape)
}

/// What stands in some names and not in others that are else the same: `_ema`, `module.`.
fn infix(matrices: &[&Tensor]) -> Option<String> {
    let names: HashSet<&str> = matrices.iter().map(|tensor| tensor.name.as_str()).collect();
    let first = matrices.iter().min_by_key(|tensor| tensor.name.len())?;
    let mut found = matrices.iter().filter_map(|tensor| more(first, tensor)).filter(|infix| {
        pieces(infix).iter().any(|piece| piece.is_one_of(COPIES) || piece.is_one_of(BESIDES))
    });
    found
        .find(|infix| {
            let (with, without): (Vec<&str>, Vec<&str>) =
                names.iter().copied().partition(|name| name.contains(*infix));
            with.len() == without.len()
                && with.iter().all(|name| names.contains(name.replacen(*infix, "", 1).as_str()))
        })
        .map(str::to_owned)
}

/// Refuses two copies of one network, of which only one can be meant.
///
/// # Errors
///
/// [`ImportError::Unsupported`] with how to leave out either.
pub(super) fn refuse_copies(tensors: &[&Tensor]) -> Result<(), ImportError> {
    let what = "the file has the network twice, once as a copy such as an average of its weights";
    let matrices: Vec<&Tensor> =
        tensors.iter().copied().filter(|tensor| tensor.shape.len() == 2).collect();
    if let Some(infix) = infix(&matrices) {
        let key = infix.strip_suffix(['.', '/']).filter(|_| {
            matrices.iter().filter(|tensor| tensor.name.starts_with(&infix)).count() * 2
                == matrices.len()
        });
        let copy = quoted(&format!("*{infix}*"));
        let other = match key {
            Some(key) => format!("; --key {} takes the copy", quoted(key)),
            None => String::new(),
        };
        let advice = format!("keep one: --allow-unused {copy} leaves out the copy{other}");
        return Err(ImportError::unsupported(what, advice));
    }
    let (copies, rest): (Vec<&Tensor>, Vec<&Tensor>) =
        tensors.iter().partition(|tensor| Look::of(&tensor.name, &tensor.shape) == Look::Copy);
    if copies.is_empty() || shapes(&copies).is_empty() || shapes(&copies) != shapes(&rest) {
        return Ok(());
    }
    let advice = match (pattern(&copies, &rest), pattern(&rest, &copies)) {
        (Some(copy), Some(other)) => format!(
            "keep one: --allow-unused {} leaves out the copy, --allow-unused {} the other",
            quoted(&copy),
            quoted(&other)
        ),
        (Some(one), None) | (None, Some(one)) => {
            format!("leave out these with --allow-unused {}, or the others", quoted(&one))
        }
        (None, None) => "leave out one of them with --allow-unused".to_owned(),
    };
    Err(ImportError::unsupported(what, advice))
}

/// The shapes of the matrices among tensors, in order.
fn shapes(tensors: &[&Tensor]) -> Vec<Vec<usize>> {
    let matrices = tensors.iter().filter(|tensor| tensor.shape.len() == 2);
    let mut shapes: Vec<Vec<usize>> = matrices.map(|tensor| tensor.shape.clone()).collect();
    shapes.sort();
    shapes
}

/// A pattern for what the names of some tensors begin with, and those of no others.
fn pattern(of: &[&Tensor], others: &[&Tensor]) -> Option<String> {
    let first = of.first().map(|tensor| tensor.name.as_str()).unwrap_or_default();
    (1..first.len())
        .rev()
        .find(|length| {
            first.get(..*length).is_some_and(|start| {
                of.iter().all(|tensor| tensor.name.starts_with(start))
                    && !others.iter().any(|tensor| tensor.name.starts_with(start))
            })
        })
        .map(|length| format!("{}*", &first[..length]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_copies_of_a_network_one_is_chosen() {
        let named = |names: &[&str]| -> Vec<Tensor> {
            names.iter().map(|&name| Tensor::zeros(name, vec![4, 4])).collect()
        };
        let tensors =
            named(&["model.fc1.weight", "ema.fc1.weight", "model.fc2.weight", "ema.fc2.weight"]);
        let error = refuse_copies(&tensors.iter().collect::<Vec<_>>()).unwrap_err().to_string();
        assert!(error.contains("--allow-unused 'ema.fc*' leaves out the copy"), "{error}");
        for (affix, advice) in [
            ("ema.", "--allow-unused '*ema.*' leaves out the copy; --key ema takes the copy"),
            ("module.", "--allow-unused '*module.*' leaves out the copy; --key module takes"),
            ("target_", "--allow-unused '*target_*' leaves out the copy"),
        ] {
            let names =
                ["fc1.weight", "fc2.weight"].map(|name| [name.into(), affix.to_owned() + name]);
            let names = names.concat();
            let tensors = named(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let error = refuse_copies(&tensors.iter().collect::<Vec<_>>()).unwrap_err().to_string();
            assert!(error.contains(advice), "{error}");
        }
        let tensors = named(&["a.weight", "a.weight_ema", "b.weight", "b.weight_ema"]);
        let error = refuse_copies(&tensors.iter().collect::<Vec<_>>()).unwrap_err().to_string();
        assert!(error.ends_with("--allow-unused '*_ema*' leaves out the copy"), "{error}");
        // Layers that are called alike are no copies.
        for names in [["fc.weight", "fc1.weight"], ["fc.weight", "fc_out.weight"]] {
            let tensors = named(&names);
            assert!(refuse_copies(&tensors.iter().collect::<Vec<_>>()).is_ok(), "{names:?}");
        }
        let tensors = named(&["model.fc1.weight", "model.fc2.weight", "ema_decay"]);
        assert!(refuse_copies(&tensors.iter().collect::<Vec<_>>()).is_ok());
    }
}
