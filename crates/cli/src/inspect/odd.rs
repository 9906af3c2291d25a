//! What is odd about tensors.

use std::collections::HashMap;

use fireclay_formats::Problem;
use fireclay_terminal::{counted, printable};

use super::Found;
use super::numbers::{Seen, Stored};

/// Magnitudes above this are called odd: weights of a trained network are a thousand times smaller.
const EXPLODING: f64 = 1e4;
/// The most units that are named of a layer.
const MOST_UNITS: usize = 8;

/// Counts the numbers of all tensors, and says what is odd about them.
pub(super) fn check(tensors: &[Stored<'_>], found: &mut Found) -> Result<(), Problem> {
    let mut seen: HashMap<[u8; 32], &Stored<'_>> = HashMap::new();
    for tensor in tensors {
        let look = tensor.look()?;
        let name = printable(&tensor.name, 80);
        found.odd.extend(alone(tensor, &look).into_iter().map(|odd| format!("{name}: {odd}")));
        if tensor.is_parameter && look.numbers.count > 1 && !look.is_constant {
            match seen.get(&look.digest) {
                Some(twin) => found
                    .odd
                    .push(format!("{name}: the same numbers as {}", printable(&twin.name, 80))),
                None => {
                    seen.insert(look.digest, tensor);
                }
            }
        }
        found.tensors.push(look.numbers);
    }
    Ok(())
}

/// What is odd about one tensor.
fn alone(tensor: &Stored<'_>, look: &Seen) -> Vec<String> {
    let Seen { numbers, dead_units, .. } = look;
    let mut odd = Vec::new();
    let of = numbers.count;
    if numbers.nan > 0 {
        odd.push(format!("NaN: {} of {}", numbers.nan, counted(of, "number")));
    }
    if numbers.infinite > 0 {
        odd.push(format!("infinite: {} of {}", numbers.infinite, counted(of, "number")));
    }
    if !tensor.is_float || !tensor.is_parameter {
        return odd;
    }
    let magnitude = [numbers.least, numbers.largest].into_iter().flatten().map(f64::abs);
    let magnitude = magnitude.fold(0.0, f64::max);
    if magnitude > EXPLODING {
        odd.push(format!("magnitudes up to {magnitude:.3e}"));
    }
    let is_zero = numbers.zeros == of && of > 0;
    if is_zero && tensor.shape.len() > 1 {
        odd.push("all zeros".to_owned());
    } else if let dead @ [_, ..] = &dead_units[..] {
        let named: Vec<String> = dead.iter().take(MOST_UNITS).map(ToString::to_string).collect();
        let more = if dead.len() > MOST_UNITS { ", …" } else { "" };
        let count = dead.len();
        odd.push(format!(
            "{count} dead units, with incoming weights of 0: {}{more}",
            named.join(", ")
        ));
    }
    odd
}

#[cfg(test)]
mod tests {
    use super::*;
    use fireclay_formats::Layout;

    fn odd(tensors: &[Stored<'_>]) -> Vec<String> {
        let mut found = Found::default();
        check(tensors, &mut found).unwrap();
        found.odd
    }

    fn tensor(name: &str, shape: &[usize], values: &[f64]) -> Stored<'static> {
        let values = values.to_vec();
        Stored {
            name: name.to_owned(),
            shape: shape.to_vec(),
            dtype: "f32",
            is_float: true,
            layout: Layout::OutIn,
            is_parameter: true,
            pieces: Box::new(move |each| {
                each(&values);
                Ok(())
            }),
        }
    }

    #[test]
    fn each_oddity_is_named() {
        for (shape, values, words) in [
            (&[3][..], &[1.0, f64::NAN, f64::NAN][..], "NaN: 2 of 3 numbers"),
            (&[2], &[1.0, f64::NEG_INFINITY], "infinite: 1 of 2 numbers"),
            (&[2], &[1.0, -2e5], "magnitudes up to 2.000e5"),
            (&[2, 1], &[0.0, 0.0], "all zeros"),
            (
                &[3, 2],
                &[1.0, 2.0, 0.0, 0.0, 3.0, 0.0],
                "1 dead units, with incoming weights of 0: 1",
            ),
        ] {
            assert_eq!(odd(&[tensor("w", shape, values)]), [format!("w: {words}")]);
        }
        assert!(odd(&[tensor("b", &[3], &[0.0; 3])]).is_empty(), "fresh biases are zeros");
    }

    #[test]
    fn twins_are_found_unless_they_say_nothing() {
        let pair = |values: &[f64]| [tensor("a", &[2], values), tensor("b", &[2], values)];
        assert_eq!(odd(&pair(&[1.0, 2.0])), ["b: the same numbers as a"]);
        assert!(odd(&pair(&[1.0, 1.0])).is_empty());
        let mut memory = pair(&[1.0, 2.0]);
        memory[1].is_parameter = false;
        assert!(odd(&memory).is_empty());
    }

    #[test]
    fn units_are_columns_where_weights_lie_so() {
        let keras = Stored {
            layout: Layout::InOut,
            ..tensor("k", &[2, 3], &[1.0, 0.0, 1.0, 2.0, 0.0, 0.0])
        };
        assert_eq!(keras.look().unwrap().dead_units, [1]);
    }
}
