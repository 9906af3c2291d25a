//! Where norms stand: behind which layer, and on which side of the activation.
//!
//! Widths, names, the numbers of one `Sequential` and the order of the file are evidence. Where it
//! leaves several places or contradicts itself, the place is asked for.

use fireclay::{Norm, NormPosition};
use fireclay_formats as formats;
use fireclay_formats::Layer;
use fireclay_terminal::{counted, printable};

use super::super::error::several;
use super::super::{ImportError, Options};
use super::chain::Belief;
use super::groups::Group;
use super::names::{Role, numbers};
use super::paired::{Numbered, Side, Told};
use super::said::SaidNorm;
use super::ways;

/// The most layers, and the most norms, that are compared with each other.
const MOST: usize = 512;

/// Words for batch norms in names.
const BATCH_NORM: &[&str] = &["bn", "bns", "batchnorm", "batch", "batchnorms"];

/// What has the same tensors as a layer norm and is none.
const ONLY_LAYER: &str = "say --norm layer only of layer norms: a group norm is one if it has one \
                          group, an RMS or an instance norm never";

/// The place of a norm, as far as layers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    /// Before the first layer.
    Input,
    /// Behind the linear map of this layer.
    Behind(usize),
}

/// The norms of a network.
#[derive(Clone, Debug, Default)]
pub(super) struct Placed {
    /// On the input of the network, whatever the first layer adds.
    pub(super) input: Option<Layer>,
    /// The layer of each, and where it stands.
    pub(super) norms: Vec<(usize, NormPosition, Layer)>,
    /// Whether the names of norms and layers tell another place than the one that was taken.
    pub(super) is_against_names: bool,
}

impl Placed {
    /// Whether each stands between a layer and its activation, and no name tells another place.
    pub(super) fn is_plain(&self) -> bool {
        self.norms.iter().all(|(_, position, _)| *position == NormPosition::BeforeActivation)
            && !self.is_against_names
    }
}

/// Layers in their order, with the norms of the file.
pub(super) struct Scene<'a> {
    pub(super) layers: &'a [&'a Group<'a>],
    /// The number of inputs, and the width behind each layer.
    pub(super) widths: &'a [usize],
    pub(super) norms: Vec<&'a Group<'a>>,
    /// The norms of each layer, if they were said.
    pub(super) said: Option<Vec<SaidNorm>>,
    pub(super) belief: Belief,
    pub(super) options: &'a Options,
}

/// Puts norms where they stand.
///
/// # Errors
///
/// [`ImportError::Unsaid`] if it is not known where, [`ImportError::Unsupported`] if the flags
/// contradict the file.
pub(super) fn place(scene: &Scene<'_>, epsilon: f64) -> Result<Placed, ImportError> {
    if let Some(said) = &scene.said {
        return scene.as_said(said);
    }
    let said = scene.options.norm.filter(|norm| *norm != Norm::None);
    if scene.norms.is_empty() {
        let flag = match (said, scene.options.norm_position.is_empty()) {
            (Some(norm), _) => format!("--norm {norm}"),
            (None, false) => "--norm-position".to_owned(),
            (None, true) => return Ok(Placed::default()),
        };
        let of_norms = match said {
            Some(Norm::Batch) => "those of a batch norm are never missing: save them with the rest",
            _ => {
                "norms without a scale and a shift are described with --layers, and \
                 --allow-missing norms"
            }
        };
        return Err(ImportError::unsupported(
            "the file has no tensors of norms",
            format!(
                "rename them with --map if they have other names; {of_norms}; leave out {flag} only \
                 if the network has no norms"
            ),
        ));
    }
    scene.refuse_many()?;
    let kind = scene.kind_of_norm()?;
    let slots = scene.slots()?;
    let evidence = scene.side(&slots)?;
    let position = scene.position(kind, &slots, evidence, epsilon)?;
    let by_names = scene.by_names();
    let is_against_names = by_names.is_some_and(|told| told.slots != slots);
    let mut placed = Placed { is_against_names, ..Placed::default() };
    for (group, slot) in scene.norms.iter().zip(&slots) {
        let layer = described(Some(group), kind, epsilon);
        match slot {
            Slot::Input => placed.input = Some(layer),
            Slot::Behind(at) => placed.norms.push((*at, position, layer)),
        }
    }
    Ok(placed)
}

/// A norm in the words of the readers, of these tensors or of none.
pub(super) fn described(group: Option<&Group<'_>>, kind: Norm, epsilon: f64) -> Layer {
    Layer::Norm {
        kind: match kind {
            Norm::Batch => formats::Norm::Batch,
            Norm::Rms => formats::Norm::Rms,
            _ => formats::Norm::Layer,
        },
        scale: group.and_then(|norm| norm.named(Role::Gamma).or_else(|| norm.named(Role::Weight))),
        shift: group.and_then(|norm| norm.named(Role::Beta).or_else(|| norm.named(Role::Bias))),
        mean: group.and_then(|norm| norm.named(Role::Mean)),
        variance: group.and_then(|norm| norm.named(Role::Variance)),
        epsilon,
    }
}

/// Refuses a norm on the input if numbers leave room for a function between it and the first layer.
pub(super) fn refuse_room_before(group: &Group<'_>, side: Side) -> Result<(), ImportError> {
    if !matches!(side, Side::Before | Side::Open) {
        return Ok(());
    }
    Err(ImportError::unsupported(
        format!(
            "the numbers leave room for a function between the norm {} and the first layer",
            printable(&group.name, 60)
        ),
        "if there is none, number them one after the other with --map",
    ))
}

impl Scene<'_> {
    /// Refuses more layers and norms than are compared with each other.
    pub(super) fn refuse_many(&self) -> Result<(), ImportError> {
        if self.norms.len().max(self.layers.len()) <= MOST {
            return Ok(());
        }
        Err(ImportError::unsupported(
            format!(
                "the file has {} and {}",
                counted(self.layers.len() as u64, "layer"),
                counted(self.norms.len() as u64, "norm")
            ),
            format!("with norms, at most {MOST} of each are imported from tensors alone"),
        ))
    }

    pub(super) fn names(&self) -> String {
        several(&self.norms.iter().map(|group| group.name.clone()).collect::<Vec<_>>())
    }

    /// Whether they are batch norms or layer norms, all of them.
    fn kind_of_norm(&self) -> Result<Norm, ImportError> {
        let with = self.norms.iter().filter(|group| group.has_statistics()).count();
        if with != 0 && with != self.norms.len() {
            let what = format!("some of the norms {} have running statistics", self.names());
            let why = "say the norm of each hidden layer with --layers";
            return Err(ImportError::unsupported(what, why));
        }
        let kind = match (with, self.options.norm) {
            (0, Some(Norm::Rms)) => Norm::Rms,
            (0, _) => Norm::Layer,
            _ => Norm::Batch,
        };
        self.norms.iter().try_for_each(|group| self.check_kind(group, kind))?;
        match self.options.norm {
            Some(said) if said != kind => {
                let have = if kind == Norm::Batch { "have" } else { "have no" };
                let what = format!("the norms {} {have} running statistics", self.names());
                let advice = if kind == Norm::Batch {
                    "that is so of batch norms: say --norm batch".to_owned()
                } else {
                    format!("batch norms are read with theirs; {ONLY_LAYER}")
                };
                Err(ImportError::unsupported(what, advice))
            }
            _ => Ok(kind),
        }
    }

    /// Requires that a norm can be of this kind, by its tensors and its name.
    pub(super) fn check_kind(&self, group: &Group<'_>, kind: Norm) -> Result<(), ImportError> {
        let name = printable(&group.name, 60);
        let flag = match (&self.said, self.options.norm) {
            (Some(_), _) => Some("--layers"),
            (None, Some(_)) => Some("--norm"),
            (None, None) => None,
        };
        let is_batch = kind == Norm::Batch || group.is_called(BATCH_NORM);
        if let (true, false, Some(flag)) = (is_batch, group.has_statistics(), flag)
            && kind != Norm::Batch
        {
            let number = numbers(&group.pieces).last().map_or_else(String::new, u64::to_string);
            return Err(ImportError::unsupported(
                format!(
                    "{name} is called a batch norm and has no running statistics, and {flag} says \
                     {kind}"
                ),
                format!(
                    "if it is none, rename it: {}",
                    ways::renamed(group, &[], &format!("norm{number}"))
                ),
            ));
        }
        if is_batch && !group.has_statistics() {
            return Err(ImportError::unsupported(
                format!("the batch norm {name} has no running statistics"),
                "its outputs depend on the other rows of a batch",
            ));
        }
        if kind != Norm::Batch && group.has_statistics() {
            return Err(ImportError::unsupported(
                format!("the norm {name} has running statistics"),
                "that is so of batch norms: say batch of it",
            ));
        }
        if group.is_called(&["gn", "group", "groupnorm", "instance", "instancenorm"]) {
            return Err(ImportError::unsupported(
                format!("{name} looks like a group norm or an instance norm"),
                "only batch norms, layer norms and RMS norms are imported",
            ));
        }
        let has_shift = [Role::Beta, Role::Bias].iter().any(|r| group.tensors.contains_key(r));
        if kind == Norm::Rms && has_shift {
            return Err(ImportError::unsupported(
                format!("the norm {name} has a shift"),
                "an RMS norm has none: say layer of it if it takes the mean off",
            ));
        }
        let is_said = self.options.norm.is_some() || self.said.is_some();
        if kind == Norm::Layer && (group.is_called(&["rms", "rmsnorm"]) || !has_shift && !is_said) {
            return Err(ImportError::unsupported(
                format!(
                    "{name} has a scale and no shift, as RMS norms, PReLU and scaled residuals have"
                ),
                "of RMS norms say --norm rms; of layer norms without a bias, which subtract the mean, \
                 --norm layer and --allow-missing 'norms.*.bias'",
            ));
        }
        Ok(())
    }

    /// Whether a norm can stand here, by its width and by what was said.
    pub(super) fn is_allowed(&self, norm: usize, slot: Slot) -> bool {
        let said = &self.options.norm_position;
        let width = self.norms.get(norm).and_then(|group| group.width());
        let place = match slot {
            Slot::Input => 0,
            Slot::Behind(layer) => layer + 1,
        };
        let is_said = match (&self.said, slot) {
            (Some(said), _) => said.iter().any(|norm| norm.slot() == slot),
            _ if said.is_empty() => true,
            (None, Slot::Input) => said.contains(&NormPosition::Input),
            (None, Slot::Behind(_)) => said.iter().any(|p| *p != NormPosition::Input),
        };
        is_said && width.is_some() && self.widths.get(place).copied() == width
    }

    /// Whether all can stand here, each at a place of its own, one on the input if that was said.
    fn fits(&self, slots: &[Slot]) -> bool {
        let said = &self.options.norm_position;
        let is_as_said =
            said.is_empty() || said.contains(&NormPosition::Input) == slots.contains(&Slot::Input);
        let allowed = slots.iter().enumerate().all(|(norm, &slot)| self.is_allowed(norm, slot));
        let own = slots.iter().enumerate().all(|(i, slot)| !slots[..i].contains(slot));
        slots.len() == self.norms.len() && is_as_said && allowed && own
    }

    /// The place of each norm.
    pub(super) fn slots(&self) -> Result<Vec<Slot>, ImportError> {
        let every: Vec<Slot> =
            [Slot::Input].into_iter().chain((0..self.layers.len()).map(Slot::Behind)).collect();
        let mut only = Vec::new();
        for (norm, group) in self.norms.iter().enumerate() {
            let mut fitting = every.iter().filter(|slot| self.is_allowed(norm, **slot));
            let Some(first) = fitting.next() else { return Err(self.misfit(group)) };
            if fitting.next().is_none() {
                only.push(*first);
            }
        }
        let is_ordered = self.belief.by_order && self.belief.can_order();
        let told = self.by_names();
        let is_against = told.as_ref().is_some_and(|told| told.is_exact && told.slots != only);
        if self.fits(&only) && !is_ordered && !is_against {
            return Ok(only);
        }
        let mut by_file = self.by_file();
        if is_ordered {
            // Where names tell nothing, each has to stand behind its layer.
            if told.is_none() && !self.is_each_behind() {
                by_file.clear();
            }
            return self.in_order(by_file, told.as_ref(), &only);
        }
        let Some(told) = told else {
            return Err(self.unpaired("their names do not tell"));
        };
        let by_file = if self.belief.file() { by_file } else { Vec::new() };
        let mut readings = self.readings(&told);
        readings.retain(|slots| self.fits(slots));
        match &mut readings[..] {
            [] => Err(self.unpaired("their widths contradict their names or --norm-position")),
            [one] if by_file.is_empty() || by_file.contains(one) => Ok(std::mem::take(one)),
            [_] => Err(self.unpaired("the order of the file contradicts their names")),
            [behind, before, ..]
                if before.contains(&Slot::Input) && !behind.contains(&Slot::Input) =>
            {
                Err(self.position_unsaid())
            }
            _ => Err(self.open()),
        }
    }

    /// The place of each norm by the order of the file, which names must not contradict.
    fn in_order(
        &self,
        mut by_file: Vec<Vec<Slot>>,
        told: Option<&Told>,
        only: &[Slot],
    ) -> Result<Vec<Slot>, ImportError> {
        if by_file.is_empty() && self.fits(only) {
            return Ok(only.to_vec());
        }
        let mut readings = told.map(|told| self.readings(told)).unwrap_or_default();
        let is_input_said = self.options.norm_position.contains(&NormPosition::Input);
        if by_file.is_empty() {
            readings.retain(|slots| self.fits(slots));
            return match &mut readings[..] {
                // Norms that stand before their layers may be made behind them.
                [one] if is_input_said => Ok(std::mem::take(one)),
                _ => Err(self.unpaired("the file does not have each behind its layer")),
            };
        }
        by_file.retain(|slots| told.is_none() || readings.contains(slots));
        readings.retain(|slots| self.fits(slots));
        let before = readings.iter().filter(|slots| slots.contains(&Slot::Input)).count();
        let may_be_before = before > 0;
        if readings.len() > 1 && may_be_before == (before == readings.len()) {
            return Err(self.open());
        }
        match &mut by_file[..] {
            [one] if may_be_before && !one.contains(&Slot::Input) => Err(self.position_unsaid()),
            [one] => Ok(std::mem::take(one)),
            [] => Err(self.unpaired("the order of the file contradicts their names")),
            _ => Err(self.position_unsaid()),
        }
    }

    /// Where norms stand by their names: where these say, and each one layer before, on the input of
    /// the layer that it is called like, if that may be meant.
    fn readings(&self, told: &Told) -> Vec<Vec<Slot>> {
        let mut readings = vec![told.slots.clone()];
        // As many as hidden layers: one on the input, and a layer without.
        let is_open = told.is_ranked && told.slots.len() > 1;
        if !is_open && !told.is_exact {
            readings.push(
                told.slots
                    .iter()
                    .map(|slot| match slot {
                        Slot::Input | Slot::Behind(0) => Slot::Input,
                        Slot::Behind(layer) => Slot::Behind(layer - 1),
                    })
                    .collect(),
            );
            readings.dedup();
        }
        readings
    }

    fn misfit(&self, group: &Group<'_>) -> ImportError {
        let width = group.width().unwrap_or_default();
        let is_input = self.widths.first() == Some(&width);
        let what = format!(
            "the norm {} has {}, and the layers have outputs {:?}",
            printable(&group.name, 60),
            counted(width as u64, "number"),
            self.widths.get(1..).unwrap_or_default()
        );
        let why = match (is_input, self.options.norm_position.is_empty()) {
            (true, false) => "on the input there are as many: add input to --norm-position",
            (false, false) => "--norm-position may be another",
            _ => {
                "a norm stands on the input or behind a layer, and is as wide; --layers may say others"
            }
        };
        ImportError::unsupported(what, why)
    }

    /// Neither names nor flags tell whether each stands behind its layer or before it.
    fn open(&self) -> ImportError {
        ImportError::Unpaired {
            norms: self.norms.iter().map(|group| group.name.clone()).collect(),
            why: "each may stand behind the layer of its name or before it".to_owned(),
            by_order: false,
            by_layers: self.said.is_none(),
        }
    }

    pub(super) fn unpaired(&self, why: &str) -> ImportError {
        ImportError::Unpaired {
            norms: self.norms.iter().map(|group| group.name.clone()).collect(),
            why: why.to_owned(),
            by_layers: self.said.is_none(),
            by_order: self.belief.can_order()
                && !self.belief.by_order
                && self.is_each_behind()
                && self.by_file().len() == 1,
        }
    }

    fn position_unsaid(&self) -> ImportError {
        let norm = match self.options.norm {
            None if self.norms.iter().any(|group| group.has_statistics()) => "--norm batch and ",
            None => "--norm layer and ",
            Some(_) => "",
        };
        let flag = if self.norms.len() == 1 {
            "--norm-position input (before the first layer), --norm-position before-activation or \
             --norm-position after-activation"
        } else {
            "--norm-position input,after-activation (each before a layer), --norm-position \
             input,before-activation, or the same without input (each behind a layer)"
        };
        ImportError::Unsaid {
            what: format!("whether the first of its norms stands on the input ({})", self.names()),
            flag: format!("{norm}{flag}"),
        }
    }

    /// Whether the file has each norm behind a layer of its own, or before all, where it fits.
    fn is_each_behind(&self) -> bool {
        self.fits(
            &self
                .norms
                .iter()
                .map(|norm| {
                    let before =
                        self.layers.iter().filter(|layer| layer.place < norm.place).count();
                    before.checked_sub(1).map_or(Slot::Input, Slot::Behind)
                })
                .collect::<Vec<_>>(),
        )
    }

    /// Layers that stand before a norm in the file.
    fn layers_before(&self, norm: &Group<'_>) -> usize {
        self.layers.iter().filter(|layer| layer.place < norm.place).count()
    }

    /// Places by the order of the file, as far as they fit: each norm behind its layer, each before
    /// it, or all norms behind or before all layers.
    fn by_file(&self) -> Vec<Vec<Slot>> {
        if !self.layers.is_sorted_by_key(|layer| layer.place) {
            return Vec::new();
        }
        let counts: Vec<usize> = self.norms.iter().map(|norm| self.layers_before(norm)).collect();
        let mut found: Vec<Vec<Slot>> = vec![
            counts
                .iter()
                .map(|count| count.checked_sub(1).map_or(Slot::Input, Slot::Behind))
                .collect(),
        ];
        if counts.first() == Some(&0) {
            let slots: Vec<Slot> = counts.iter().map(|&count| Slot::Behind(count)).collect();
            found.extend(
                Some(slots).filter(|slots| self.by_names().is_none_or(|told| told.slots == *slots)),
            );
        }
        let (norms, hidden) = (self.norms.len(), self.layers.len().saturating_sub(1));
        if counts.iter().all(|count| *count == counts[0]) {
            // Behind each layer, or before each.
            if norms == hidden || norms == hidden + 1 {
                found.push((0..norms).map(Slot::Behind).collect());
            }
            if norms == hidden + 1
                || norms == hidden && self.by_names().is_some_and(|told| !told.is_ranked)
            {
                let rest = (1..norms).map(|norm| Slot::Behind(norm - 1));
                found.push([Slot::Input].into_iter().chain(rest).collect());
            }
        }
        found.retain(|slots| self.fits(slots));
        found.sort();
        found.dedup();
        found
    }

    /// The side of the activation that the numbers tell, of all norms.
    fn side(&self, slots: &[Slot]) -> Result<Side, ImportError> {
        let mut all = Side::Untold;
        for (group, slot) in self.norms.iter().zip(slots) {
            let Some(Numbered { slot: by_numbers, side, .. }) = self.by_numbers(group) else {
                continue;
            };
            if by_numbers != *slot || Slot::Behind(self.layers.len() - 1) == *slot {
                continue;
            }
            if *slot == Slot::Input {
                refuse_room_before(group, side)?;
                continue;
            }
            all = match (all, side) {
                (Side::Untold, side) | (side, Side::Untold) => side,
                (Side::Before, Side::After) | (Side::After, Side::Before) => {
                    return Err(ImportError::unsupported(
                        format!("the numbers of {} tell different places", self.names()),
                        "say the norm of each hidden layer with --layers",
                    ));
                }
                (Side::Open, side) | (side, Side::Open) => side,
                (side, _) => side,
            };
        }
        Ok(all)
    }

    /// The side that norms stand on, if it was said and contradicts nothing.
    fn position(
        &self,
        kind: Norm,
        slots: &[Slot],
        side: Side,
        epsilon: f64,
    ) -> Result<NormPosition, ImportError> {
        let said = &self.options.norm_position;
        let has_input = slots.contains(&Slot::Input);
        let has_others = slots.iter().any(|slot| *slot != Slot::Input);
        let told = match side {
            _ if !has_others => None,
            Side::Before => Some(NormPosition::BeforeActivation),
            Side::After => Some(NormPosition::AfterActivation),
            Side::Open | Side::Untold => None,
        };
        let of_others = said.iter().copied().find(|position| *position != NormPosition::Input);
        if let (Some(told), Some(other)) = (told, of_others)
            && told != other
        {
            let what = format!("the numbers in the names of {} tell {}", self.names(), told.name());
            return Err(ImportError::unsupported(
                what,
                format!("say {}", flag(has_input, Some(told))),
            ));
        }
        let is_plain = told == Some(NormPosition::BeforeActivation)
            || told.is_none() && side == Side::Untold && has_others;
        let is_enough = !said.is_empty() || is_plain && !has_input;
        if self.options.norm == Some(kind) && is_enough {
            return Ok(of_others.unwrap_or(NormPosition::BeforeActivation));
        }
        let position = match told {
            Some(told) => flag(has_input, Some(told)),
            None if !has_others => flag(has_input, None),
            None => format!(
                "{} (between the linear map and the activation) or {}",
                flag(has_input, Some(NormPosition::BeforeActivation)),
                flag(has_input, Some(NormPosition::AfterActivation))
            ),
        };
        Err(ImportError::Unsaid {
            what: format!(
                "where its norms stand ({}; epsilon {epsilon:e}, or as --norm-epsilon says)",
                self.names()
            ),
            flag: match kind {
                Norm::Batch => format!("--norm batch and {position}"),
                _ => format!("--norm layer and {position}; {ONLY_LAYER}"),
            },
        })
    }
}

/// The flag that says where norms stand.
fn flag(has_input: bool, position: Option<NormPosition>) -> String {
    let input = has_input.then_some("input");
    let all: Vec<&str> = input.into_iter().chain(position.map(NormPosition::name)).collect();
    format!("--norm-position {}", all.join(","))
}
