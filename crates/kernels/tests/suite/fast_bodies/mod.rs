//! The fast bodies on `flex` against the plain ones, which define the operations.
//!
//! Shapes, layouts and numbers are drawn from a fixed seed, so that what fails once fails again.

mod cross_entropy;
mod dense;
mod optimizers;
mod threads;

use burn::backend::{Autodiff, Flex};
use burn::tensor::{DType, Device, Tensor, TensorData};
use proptest::prelude::*;
use proptest::sample::select;

/// Distance of 1 from the next number.
fn epsilon(dtype: DType) -> f64 {
    if dtype == DType::F32 { f64::from(f32::EPSILON) } else { f64::EPSILON }
}

fn smallest_normal(dtype: DType) -> f64 {
    if dtype == DType::F32 { f64::from(f32::MIN_POSITIVE) } else { f64::MIN_POSITIVE }
}

fn dtypes() -> impl Strategy<Value = DType> {
    select(vec![DType::F32, DType::F64])
}

/// The layout of a tensor in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    Rows,
    /// Column by column, which the fast bodies leave to the plain ones.
    Columns,
    /// From the middle of a longer tensor, with NaN around it.
    Part,
}

fn layouts() -> impl Strategy<Value = Layout> {
    prop_oneof![4 => Just(Layout::Rows), 1 => Just(Layout::Columns), 2 => Just(Layout::Part)]
}

/// Where a tensor is made, and of which numbers.
type Place<'a> = (&'a Device, DType);

fn matrix(
    numbers: &[f64],
    [rows, columns]: [usize; 2],
    layout: Layout,
    place: Place<'_>,
) -> Tensor<2> {
    match layout {
        Layout::Rows => {
            Tensor::from_data(TensorData::new(numbers.to_vec(), [rows, columns]), place)
        }
        Layout::Columns => {
            let across = |column| (0..rows).map(move |row| numbers[row * columns + column]);
            let numbers: Vec<f64> = (0..columns).flat_map(across).collect();
            Tensor::from_data(TensorData::new(numbers, [columns, rows]), place).transpose()
        }
        Layout::Part => {
            let around = vec![f64::NAN; columns];
            let numbers = [&around[..], numbers, &around[..]].concat();
            let whole =
                Tensor::<2>::from_data(TensorData::new(numbers, [rows + 2, columns]), place);
            whole.narrow(0, 1, rows)
        }
    }
}

fn row(numbers: &[f64], layout: Layout, place: Place<'_>) -> Tensor<1> {
    let count = numbers.len();
    if layout == Layout::Part {
        let numbers = [&[f64::NAN], numbers, &[f64::NAN]].concat();
        let whole = Tensor::<1>::from_data(TensorData::new(numbers, [count + 2]), place);
        return whole.narrow(0, 1, count);
    }
    Tensor::from_data(TensorData::new(numbers.to_vec(), [count]), place)
}

fn form(data: &TensorData) -> (Vec<usize>, DType) {
    (data.shape().to_vec(), data.dtype())
}

fn doubles(data: &TensorData) -> Vec<f64> {
    data.clone().convert::<f64>().try_to_vec().unwrap()
}

/// The numbers' bits, with one NaN for all and one zero for both.
fn bits(data: &TensorData) -> Vec<u64> {
    let bits = |x: f64| if x.is_nan() { f64::NAN.to_bits() } else { (x + 0.0).to_bits() };
    doubles(data).into_iter().map(bits).collect()
}

#[track_caller]
fn assert_same(what: &str, found: &TensorData, expected: &TensorData) {
    assert_eq!(form(found), form(expected), "{what}");
    if bits(found) != bits(expected) {
        let numbers = doubles(found).into_iter().zip(doubles(expected)).enumerate();
        let of_bits = |x: f64| (x + 0.0).to_bits();
        let (i, (found, expected)) = { numbers }
            .find(|(_, (f, e))| of_bits(*f) != of_bits(*e) && !(f.is_nan() && e.is_nan()))
            .unwrap();
        panic!("{what}[{i}]: {found:e} != {expected:e}");
    }
}

/// NaN and infinities in the same places, and the rest within its own tolerance.
#[track_caller]
fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: impl Fn(usize) -> f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let is_close = match (found.is_finite(), expected.is_finite()) {
            (true, true) => (found - expected).abs() <= tolerance(i),
            _ => found == expected || (found.is_nan() && expected.is_nan()),
        };
        assert!(is_close, "{what}[{i}]: {found:e} != {expected:e} ± {:e}", tolerance(i));
    }
}

/// Counts the operations between a tensor and the leaves of its graph.
///
/// A fast body is one operation, so this tells that it ran.
fn depth<const D: usize>(tensor: &Tensor<D>) -> usize {
    let primitive = tensor.clone().try_into_primitive::<Autodiff<Flex>>().unwrap();
    let node = format!("{primitive:?}");
    let (_, order) = node.split_once("order: ").unwrap();
    order.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// Mostly small; around 128, where a result is cut into pieces, and beyond.
fn extents() -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => 1usize..40,
        2 => Just(1usize),
        1 => select(vec![64usize, 127, 128, 129]),
        1 => 130usize..270,
    ]
}
