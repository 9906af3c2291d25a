//! The fast bodies, for `f32` and `f64` on Burn's CPU backend `flex`.
//!
//! Each takes tensors and gives them back, boxed, if it can not serve them: they are elsewhere, of
//! another type, or laid out in another way than row by row.

mod cross_entropy;
mod dense;
mod optimizer;
mod product;

use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, BackendTensor, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind, Flex,
    GradientCheckpointingStrategy,
};
use burn::tensor::{DType, Element, Shape, Tensor, TensorData};
use rayon::prelude::*;

pub(crate) use cross_entropy::cross_entropy;
pub(crate) use dense::dense;
pub(crate) use optimizer::{adam, sgd};

/// The number types that the fast bodies serve.
pub(crate) trait Real:
    Element + bytemuck::Pod + num_traits::Float + std::ops::AddAssign + std::iter::Sum
{
    /// The nearest number of this type.
    fn of(x: f64) -> Self;
}

impl Real for f32 {
    fn of(x: f64) -> Self {
        x as f32
    }
}

impl Real for f64 {
    fn of(x: f64) -> Self {
        x
    }
}

/// Calls a generic function for the type of a tensor; it is one of the two.
macro_rules! for_real {
    ($dtype:expr, $real:ident => $body:expr) => {
        match $dtype {
            burn::tensor::DType::F64 => {
                type $real = f64;
                $body
            }
            _ => {
                type $real = f32;
                $body
            }
        }
    };
}
pub(crate) use for_real;

/// Multiplications and additions below which a second thread costs more than it brings.
const WORTH_THREADS: usize = 1 << 22;

/// A float tensor of the autodiff graph over `flex`.
type OnGraph = FloatTensor<Autodiff<Flex>>;

/// A float tensor on `flex`.
enum Placed {
    Off(FlexTensor),
    On(OnGraph),
}

impl Placed {
    /// Takes a tensor apart, or gives it back if it is elsewhere or its graph recomputes.
    fn of<const D: usize>(tensor: Tensor<D>) -> Result<Self, Box<Tensor<D>>> {
        let keeps_all = DispatchAutodiffContext::Enabled(GradientCheckpointingStrategy::Disabled);
        let DispatchTensor { kind, autodiff } = tensor.into_dispatch();
        let kind = match kind {
            DispatchTensorKind::Flex(BackendTensor::Float(tensor)) => return Ok(Self::Off(tensor)),
            DispatchTensorKind::Autodiff(kind) if autodiff == keeps_all => match *kind {
                DispatchTensorKind::Flex(BackendTensor::Autodiff(tensor)) => {
                    return Ok(Self::On(tensor));
                }
                kind => DispatchTensorKind::Autodiff(Box::new(kind)),
            },
            kind => kind,
        };
        Err(Box::new(Tensor::from_dispatch(DispatchTensor { kind, autodiff })))
    }

    fn storage(&self) -> &FlexTensor {
        match self {
            Self::Off(tensor) => tensor,
            Self::On(tensor) => tensor.primitive(),
        }
    }

    /// The tensor again.
    fn back<const D: usize>(self) -> Tensor<D> {
        match self {
            Self::Off(tensor) => Tensor::from_primitive::<Flex>(tensor),
            Self::On(tensor) => Tensor::from_primitive::<Autodiff<Flex>>(tensor),
        }
    }
}

/// Whether a tensor's numbers can be taken as one slice.
fn is_plain(tensor: &FlexTensor) -> bool {
    matches!(tensor.dtype(), DType::F32 | DType::F64) && tensor.is_contiguous()
}

/// The numbers of a tensor that [`is_plain`].
fn numbers<T: Real>(tensor: &FlexTensor) -> &[T] {
    tensor.as_slice().unwrap_or_else(|| unreachable!("the layout has been checked"))
}

/// A tensor of these numbers, row by row.
fn tensor<T: Real>(numbers: Vec<T>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(numbers, shape))
}

/// Runs a function over pieces of a slice, on several threads if there is work for them.
///
/// The pieces depend on the arguments alone, and so do the results.
fn in_pieces<T: Send>(
    slice: &mut [T],
    piece: usize,
    work: usize,
    run: impl Fn(usize, &mut [T]) + Send + Sync,
) {
    let piece = piece.max(1);
    if work < WORTH_THREADS {
        slice.chunks_mut(piece).enumerate().for_each(|(i, part)| run(i, part));
    } else {
        slice.par_chunks_mut(piece).enumerate().for_each(|(i, part)| run(i, part));
    }
}

/// Runs a function with the widest vectors that this processor has.
fn vectorised<R>(run: impl FnOnce() -> R) -> R {
    struct Run<F>(F);
    impl<R, F: FnOnce() -> R> pulp::NullaryFnOnce for Run<F> {
        type Output = R;

        #[inline(always)]
        fn call(self) -> R {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Run(run))
}
