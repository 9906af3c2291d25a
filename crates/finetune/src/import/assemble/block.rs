//! A linear layer and what the architecture has room for beside it.

use fireclay::{Activation, HiddenLayer, Norm, NormPosition, Skip, SkipPosition};

use super::super::ImportError;
use super::linear::{Diagonal, Linear};
use super::steps::NormStep;
use super::tensors::Tensors;

/// A linear layer and what stands beside it; the last one of a network is its output layer.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) linear: Linear,
    /// Its norm, and where that stands.
    pub(super) norm: Option<(NormPosition, NormStep)>,
    /// Its function, with the slope of a leaky relu.
    pub(super) activation: Option<(Activation, f64)>,
    /// The tensor of that slope.
    pub(super) slopes: Option<String>,
    pub(super) dropout: f64,
    pub(super) skip: Option<Skip>,
}

impl Block {
    pub(super) fn new(linear: Linear) -> Self {
        Self { linear, norm: None, activation: None, slopes: None, dropout: 0.0, skip: None }
    }

    /// The description of it as a hidden layer.
    pub(super) fn described(&self) -> HiddenLayer {
        let usual = HiddenLayer::new(self.linear.outputs);
        let (activation, slope) = self.activation.unwrap_or((Activation::Identity, 0.0));
        let is_leaky = activation == Activation::LeakyRelu;
        let norm = self.norm.as_ref();
        HiddenLayer {
            activation,
            leaky_slope: if is_leaky { slope } else { usual.leaky_slope },
            norm: norm.map_or(Norm::None, |(_, norm)| norm.kind),
            norm_position: norm.map_or(usual.norm_position, |(position, _)| *position),
            norm_epsilon: norm.map_or(usual.norm_epsilon, |(_, norm)| norm.epsilon),
            dropout: self.dropout,
            bias: self.linear.has_bias(),
            skip: self.skip,
            ..usual
        }
    }

    /// Whether a skip connection is the last that it adds.
    pub(super) fn ends_in_skip(&self) -> bool {
        self.skip.is_some_and(|skip| skip.position == SkipPosition::Output)
    }

    /// Whether an activation can follow the block's last operation.
    pub(super) fn has_room_for_function(&self) -> bool {
        self.activation.is_none() && !(self.ends_in_skip() && self.dropout > 0.0)
    }

    /// Puts an activation behind the block's last operation; there must be room.
    pub(super) fn set_function(&mut self, activation: Activation, slope: f64) {
        self.activation = Some((activation, slope));
        if let Some(skip) = self.skip.as_mut().filter(|skip| skip.position == SkipPosition::Output)
        {
            skip.position = SkipPosition::BeforeActivation;
        }
    }

    /// Puts a factor and a shift of each feature behind the last operation, or returns them if
    /// there is no room.
    pub(super) fn diagonal(&mut self, map: Diagonal) -> Option<Diagonal> {
        if let Some(norm) = self.last_norm() {
            if !norm.takes(&map) {
                return Some(map);
            }
            norm.and_then(map);
        } else if self.is_bare() {
            self.linear.and_then(map);
        } else {
            return Some(map);
        }
        None
    }

    /// Puts a norm behind the last operation, or returns it if there is no room; and whether a norm
    /// was folded into what stands beside it.
    pub(super) fn put_norm(
        &mut self,
        norm: NormStep,
        tensors: &Tensors,
    ) -> Result<(Option<NormStep>, bool), ImportError> {
        let is_batch = norm.kind == Norm::Batch;
        if let (true, Some(own)) = (is_batch, self.last_norm()) {
            let map = norm.clone().into_diagonal();
            if own.takes(&map) {
                own.and_then(map);
                return Ok((None, true));
            }
        }
        let is_linear = self.activation.is_none() && self.skip.is_none();
        let is_folded = self.norm.is_some() && is_linear && self.fold_norm(tensors)?;
        if is_batch && self.norm.is_some() && self.is_bare() {
            self.linear.and_then(norm.into_diagonal());
            return Ok((None, true));
        }
        let ends_in_skip = self.ends_in_skip();
        // Dropout stands before a skip connection that is added at the end, and behind a norm.
        let is_in_order = self.dropout == 0.0 || self.activation.is_none() && !ends_in_skip;
        if self.norm.is_some() || !is_in_order || self.activation.is_some() && ends_in_skip {
            return Ok((Some(norm), is_folded));
        }
        if self.activation.is_some() {
            self.norm = Some((NormPosition::AfterActivation, norm));
        } else {
            self.norm = Some((NormPosition::BeforeActivation, norm));
            self.skip = self.skip.map(|skip| Skip { position: SkipPosition::BeforeNorm, ..skip });
        }
        Ok((None, is_folded))
    }

    /// Puts a batch norm on one side of the linear map into its weights, and says whether there was
    /// one. Nothing but the norm may stand behind the linear map.
    pub(super) fn fold_norm(&mut self, tensors: &Tensors) -> Result<bool, ImportError> {
        match self.norm.take() {
            Some((NormPosition::Input, norm)) if norm.kind == Norm::Batch => {
                self.linear.after(norm.into_diagonal(), tensors)?;
            }
            Some((NormPosition::BeforeActivation, norm)) if norm.kind == Norm::Batch => {
                self.linear.and_then(norm.into_diagonal());
            }
            other => {
                self.norm = other;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Its norm, if nothing that it adds stands behind that.
    fn last_norm(&mut self) -> Option<&mut NormStep> {
        let has_function = self.activation.is_some();
        let skip = self.skip.map(|skip| skip.position);
        let (position, norm) = self.norm.as_mut()?;
        let is_last = match position {
            NormPosition::Input => false,
            NormPosition::BeforeActivation => {
                !has_function && skip.is_none_or(|skip| skip == SkipPosition::BeforeNorm)
            }
            NormPosition::AfterActivation => skip != Some(SkipPosition::Output),
        };
        is_last.then_some(norm)
    }

    /// Whether nothing stands behind its linear map.
    fn is_bare(&self) -> bool {
        let has_norm_behind =
            self.norm.as_ref().is_some_and(|(position, _)| *position != NormPosition::Input);
        self.activation.is_none() && self.skip.is_none() && !has_norm_behind
    }
}
