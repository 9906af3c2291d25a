//! The fast bodies, for `f32` and `f64` on Burn's CPU backend `flex`.
//!
//! Each takes tensors and gives them back if it cannot serve them: they are elsewhere, of another
//! type, or laid out in another way than row by row.

mod bag;
mod bags;
mod chain;
mod cross_entropy;
mod dense;
mod optimizer;
mod product;
mod team;
mod tuning;
mod update;

use std::cell::RefCell;

use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, BackendTensor, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind, Flex,
    GradientCheckpointingStrategy,
};
use burn::tensor::{DType, Element, Shape, Tensor, TensorData};

pub(crate) use bag::bag;
pub(crate) use chain::AnyChain;
pub(crate) use cross_entropy::cross_entropy;
pub(crate) use dense::dense;
pub(crate) use optimizer::{adam, sgd};

/// The number types that the fast bodies serve.
pub(crate) trait Real:
    Element + bytemuck::Pod + num_traits::Float + std::ops::AddAssign + std::iter::Sum + From<f32>
{
    /// The nearest number of this type.
    fn of(x: f64) -> Self;

    /// Calls `run` with this many numbers, whatever they are, in memory that this thread keeps.
    fn with_scratch(count: usize, run: impl FnOnce(&mut [Self]));
}

macro_rules! real {
    ($real:ident) => {
        impl Real for $real {
            fn of(x: f64) -> Self {
                x as $real
            }

            fn with_scratch(count: usize, run: impl FnOnce(&mut [Self])) {
                thread_local! {
                    static SCRATCH: RefCell<Vec<$real>> = const { RefCell::new(Vec::new()) };
                }
                SCRATCH.with_borrow_mut(|scratch| {
                    scratch.resize(scratch.len().max(count), 0.0);
                    run(&mut scratch[..count]);
                });
            }
        }
    };
}
real!(f32);
real!(f64);

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

/// A float tensor of the autodiff graph over `flex`.
type OnGraph = FloatTensor<Autodiff<Flex>>;

/// A float tensor, taken apart where it is on `flex`.
enum Placed {
    Off(FlexTensor),
    On(OnGraph),
    /// Elsewhere, or on a graph that recomputes.
    Elsewhere(DispatchTensor),
}

impl Placed {
    fn of<const D: usize>(tensor: Tensor<D>) -> Self {
        let keeps_all = DispatchAutodiffContext::Enabled(GradientCheckpointingStrategy::Disabled);
        let DispatchTensor { kind, autodiff } = tensor.into_dispatch();
        let kind = match kind {
            DispatchTensorKind::Flex(BackendTensor::Float(tensor)) => return Self::Off(tensor),
            DispatchTensorKind::Autodiff(kind) if autodiff == keeps_all => match *kind {
                DispatchTensorKind::Flex(BackendTensor::Autodiff(tensor)) => {
                    return Self::On(tensor);
                }
                kind => DispatchTensorKind::Autodiff(Box::new(kind)),
            },
            kind => kind,
        };
        Self::Elsewhere(DispatchTensor { kind, autodiff })
    }

    /// The storage, if it can be taken as one slice of numbers.
    fn plain(&self) -> Option<&FlexTensor> {
        let tensor = match self {
            Self::Off(tensor) => tensor,
            Self::On(tensor) => tensor.primitive(),
            Self::Elsewhere(_) => return None,
        };
        is_plain(tensor).then_some(tensor)
    }

    /// The storage of a tensor off the graph that can be changed as one slice of numbers.
    fn whole(&self) -> Option<&FlexTensor> {
        let is_whole = matches!(self, Self::Off(tensor) if tensor.layout().start_offset() == 0);
        self.plain().filter(|_| is_whole)
    }

    /// The tensor again.
    fn back<const D: usize>(self) -> Tensor<D> {
        match self {
            Self::Off(tensor) => Tensor::from_primitive::<Flex>(tensor),
            Self::On(tensor) => Tensor::from_primitive::<Autodiff<Flex>>(tensor),
            Self::Elsewhere(tensor) => Tensor::from_dispatch(tensor),
        }
    }
}

/// Returns true if a tensor's numbers can be taken as one slice.
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

/// Whether the sum of a tensor's numbers is finite, if they are here.
pub(crate) fn has_finite_sum(tensor: Tensor<1>) -> Option<bool> {
    let placed = Placed::of(tensor);
    let plain = placed.plain()?;
    Some(for_real!(plain.dtype(), T => sum::<T>(numbers(plain)).is_finite()))
}

/// The sum, of 16 parts at a time.
fn sum<T: Real>(numbers: &[T]) -> T {
    vectorised(
        #[inline(always)]
        || {
            let (chunks, rest) = numbers.as_chunks::<16>();
            let mut sums = [T::zero(); 16];
            for chunk in chunks {
                for i in 0..16 {
                    sums[i] += chunk[i];
                }
            }
            for &number in rest {
                sums[0] += number;
            }
            sums.into_iter().sum()
        },
    )
}

/// Runs a function with the widest vectors that this processor has.
///
/// It must be a closure that is marked `#[inline(always)]`, and so must be what it calls: code that
/// is not inlined is compiled for the vectors that every processor has.
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
