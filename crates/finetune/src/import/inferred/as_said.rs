//! Norms of which `--layers` says the layer and the side of it: which of the file's norms is which.
//!
//! Names tell the layer of each, or numbers the order of all; where names tell nothing, widths or the
//! order of the file may. What contradicts either is refused.

use fireclay::{Norm, NormPart, NormPosition, ParameterPath};
use fireclay_terminal::{counted, printable};

use super::super::ImportError;
use super::norms::{Placed, Scene, Slot, described, refuse_room_before};
use super::paired::Side;
use super::said::SaidNorm;

impl Scene<'_> {
    /// Norms where `--layers` has them.
    ///
    /// # Errors
    ///
    /// [`ImportError::Unsupported`] if there are more or fewer, or if one contradicts what is described of
    /// it; [`ImportError::Unpaired`] if nothing determines which is which.
    pub(super) fn as_said(&self, said: &[SaidNorm]) -> Result<Placed, ImportError> {
        // Every norm has tensors unless there are too few, and it was said which ones have none.
        let is_short = said.len() > self.norms.len();
        let (bare, whole): (Vec<SaidNorm>, Vec<SaidNorm>) =
            said.iter().partition(|norm| is_short && self.may_be_bare(norm));
        if whole.len() != self.norms.len() {
            return Err(self.other_count(said, &bare));
        }
        self.refuse_many()?;
        let mut placed = Placed::default();
        for norm in bare {
            let layer = described(None, norm.kind, norm.epsilon);
            placed.norms.push((norm.layer, norm.position, layer));
        }
        for (group, norm) in self.norms.iter().zip(self.paired(&whole)?) {
            let width = match norm.slot() {
                Slot::Input => self.widths.first(),
                Slot::Behind(layer) => self.widths.get(layer + 1),
            };
            let name = printable(&group.name, 60);
            if group.width().as_ref() != width {
                return Err(ImportError::unsupported(
                    format!(
                        "the norm {name} has {}, and where --layers says it {}",
                        counted(group.width().unwrap_or_default() as u64, "number"),
                        width.copied().unwrap_or_default()
                    ),
                    "its norm_position may be another",
                ));
            }
            self.check_kind(group, norm.kind)?;
            let layer = described(Some(group), norm.kind, norm.epsilon);
            placed.norms.push((norm.layer, norm.position, layer));
        }
        Ok(placed)
    }

    /// Whether `--allow-missing` says that a norm has no tensors: all its parameters, in a pattern
    /// that is one of norms alone. A batch norm always has some.
    fn may_be_bare(&self, norm: &SaidNorm) -> bool {
        let parts: &[NormPart] = match norm.kind {
            Norm::Layer => &[NormPart::Weight, NormPart::Bias],
            Norm::Rms => &[NormPart::Weight],
            Norm::None | Norm::Batch => return false,
        };
        let layers = self.layers.len();
        let mut of_norms = self.options.allow_missing.iter().filter(|pattern| {
            (0..layers).all(|layer| {
                let of_layer = [ParameterPath::Weight(layer), ParameterPath::Bias(layer)];
                of_layer.into_iter().all(|path| !pattern.names(path, layers))
            })
        });
        let at = place(norm);
        parts.iter().all(|&part| {
            of_norms.clone().any(|pattern| pattern.names(ParameterPath::Norm(at, part), layers))
        }) && of_norms.next().is_some()
    }

    /// The error of more or fewer norms than described, of which some may have no tensors.
    fn other_count(&self, said: &[SaidNorm], bare: &[SaidNorm]) -> ImportError {
        let names =
            if self.norms.is_empty() { String::new() } else { format!(": {}", self.names()) };
        let noun = if said.len() == 1 { "norm" } else { "norms" };
        let what = format!(
            "--layers describes {} {noun}, and the file has tensors of {}{names}",
            said.len(),
            self.norms.len()
        );
        let open = said.iter().find(|norm| norm.kind != Norm::Batch);
        let why = match open {
            _ if said.len() < self.norms.len() => {
                "say each norm of the file with its layer".to_owned()
            }
            None => "a batch norm has running statistics: save them with the rest, or rename the \
                     tensors with --map"
                .to_owned(),
            Some(norm) if bare.is_empty() => format!(
                "of a norm without a scale and a shift add --allow-missing norms.{}, the number of \
                 its layer; rename the tensors of others with --map",
                place(norm)
            ),
            Some(_) => format!(
                "--allow-missing names {} of them: name those without a scale and a shift, as \
                 norms.0",
                bare.len()
            ),
        };
        ImportError::unsupported(what, why)
    }

    /// Which described norm each of the file's is.
    fn paired(&self, said: &[SaidNorm]) -> Result<Vec<SaidNorm>, ImportError> {
        let by_names = match self.by_steps(said)? {
            Some(found) => Some(found),
            None => self.by_layers(said).or_else(|| self.in_turn(said)),
        };
        if let Some(found) = by_names {
            if self.belief.file() && !self.is_as_in_file(&found) {
                return Err(self.unpaired("the order of the file contradicts their names"));
            }
            return Ok(found);
        }
        let mut slots: Vec<Slot> = said.iter().map(SaidNorm::slot).collect();
        slots.sort_unstable();
        if slots.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(self.unpaired("two of them stand between the same layers"));
        }
        let found: Option<Vec<SaidNorm>> = self
            .slots()?
            .into_iter()
            .map(|slot| said.iter().copied().find(|norm| norm.slot() == slot))
            .collect();
        found.ok_or_else(|| self.unpaired("their names do not tell"))
    }

    /// By numbers in one row with layers, as a `Sequential` counts its steps, if all have such.
    fn by_steps(&self, said: &[SaidNorm]) -> Result<Option<Vec<SaidNorm>>, ImportError> {
        let mut found: Vec<SaidNorm> = Vec::new();
        for group in &self.norms {
            let numbered = self.by_numbers(group).filter(|numbered| !numbered.is_shared);
            let Some(numbered) = numbered else { return Ok(None) };
            if numbered.slot == Slot::Input {
                refuse_room_before(group, numbered.side)?;
            }
            let fits = |norm: &&SaidNorm| {
                let is_before = norm.position == NormPosition::BeforeActivation;
                let is_side = match numbered.side {
                    Side::Before => is_before || numbered.slot == Slot::Input,
                    Side::After => !is_before,
                    Side::Open | Side::Untold => true,
                };
                norm.slot() == numbered.slot && is_side && !found.contains(norm)
            };
            let mut fitting = said.iter().filter(fits);
            match (fitting.next(), fitting.next()) {
                (Some(norm), None) => found.push(*norm),
                (None, _) => {
                    let name = printable(&group.name, 60);
                    return Err(ImportError::unsupported(
                        format!("the numbers of the norm {name} tell another place than --layers"),
                        "correct norm and norm_position of its layer",
                    ));
                }
                _ => return Err(self.unpaired("two of them stand between the same layers")),
            }
        }
        Ok(Some(found))
    }

    /// By names that tell the layer of each, if these are the layers that have norms.
    fn by_layers(&self, said: &[SaidNorm]) -> Option<Vec<SaidNorm>> {
        // Numbers that count norms alone say nothing of layers.
        let slots = if self.are_counted() { None } else { self.by_keys() }?;
        let found: Option<Vec<SaidNorm>> = slots
            .iter()
            .map(|slot| match slot {
                Slot::Input => said.iter().find(|norm| norm.slot() == Slot::Input),
                Slot::Behind(layer) => said.iter().find(|norm| norm.layer == *layer),
            })
            .map(Option::<&_>::copied)
            .collect();
        found.filter(|found| found.iter().enumerate().all(|(at, norm)| !found[..at].contains(norm)))
    }

    /// In the order of their numbers, if names differ in these alone.
    fn in_turn(&self, said: &[SaidNorm]) -> Option<Vec<SaidNorm>> {
        let ranked = self.ranked()?;
        (0..ranked.len())
            .map(|norm| said.get(ranked.iter().position(|&other| other == norm)?).copied())
            .collect()
    }

    /// Whether the file has the norms in their order, each beside its layer, or all before or behind
    /// all layers.
    fn is_as_in_file(&self, found: &[SaidNorm]) -> bool {
        let mut norms: Vec<(usize, usize, usize)> = Vec::new();
        for (group, norm) in self.norms.iter().zip(found) {
            let before = self.layers.iter().filter(|layer| layer.place < group.place).count();
            norms.push((group.place, before, norm.layer));
        }
        norms.sort_unstable();
        let are_apart = norms.windows(2).all(|pair| pair[0].1 == pair[1].1);
        norms.is_sorted_by_key(|(.., layer)| *layer)
            && (are_apart
                || norms.iter().all(|&(_, count, layer)| [layer, layer + 1].contains(&count)))
    }
}

/// The number of a norm in parameter paths: that of the layer that it stands behind.
fn place(norm: &SaidNorm) -> usize {
    match norm.slot() {
        Slot::Input => 0,
        Slot::Behind(layer) => layer,
    }
}
