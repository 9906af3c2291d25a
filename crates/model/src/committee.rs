//! Ensembles of models.

use crate::{Architecture, Description, InputSpec, Model, ModelFileProblem, Provenance, Task};

/// Models of one task and of the same columns whose predictions are averaged, such as those of the folds
/// of a cross-validation.
///
/// Each has a network and fitted encodings of its own. The prediction is the mean of the models'
/// probabilities, or of their values in the unit of the target. An [`Ensemble`](crate::Ensemble) is
/// another thing: members that share the layers of one network.
#[derive(Clone, Debug, PartialEq)]
pub struct Committee {
    models: Vec<Model>,
    provenance: Provenance,
}

impl Committee {
    /// Puts models together.
    ///
    /// # Errors
    ///
    /// [`ModelFileProblem::Member`]: less than two models, or one whose task, columns or weights do not
    /// fit.
    pub fn new(models: Vec<Model>, provenance: Provenance) -> Result<Self, ModelFileProblem> {
        let problem = |member, problem| Err(ModelFileProblem::Member { member, problem });
        let [first, _, ..] = &models[..] else {
            return problem(models.len(), "is missing; an ensemble has at least 2");
        };
        let (task, columns) = (shared(&first.description.task), first.description.input.columns());
        for (member, Model { description, encoded, .. }) in models.iter().enumerate() {
            description.validate()?;
            if shared(&description.task) != task {
                return problem(member, "has another task than the first");
            }
            if description.input.as_dense().is_some() {
                return problem(member, "takes no named columns");
            }
            if description.input.columns() != columns {
                return problem(member, "takes other columns than the first");
            }
            if !encoded.is_empty() {
                return problem(member, "has encoded weights");
            }
        }
        Ok(Self { models, provenance })
    }

    /// The models.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// The models alone.
    pub fn into_models(self) -> Vec<Model> {
        self.models
    }

    /// Where it comes from.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// The description of the whole. Its input has the fields of every model, one model after the other;
    /// its architecture is that of the first model, but for the input shape, which is that of this
    /// input. Its task has the names of the models' and nothing else: calibration and scaling are of
    /// each model.
    pub fn description(&self) -> Description {
        let first = &self.models[0].description;
        let inputs = self.models.iter().map(|model| &model.description.input);
        let input = InputSpec::side_by_side(inputs);
        let input_shape = vec![input.width()];
        let architecture = Architecture { input_shape, ..first.architecture.clone() };
        let (task, provenance) = (shared(&first.task), self.provenance.clone());
        Description { architecture, task, input, provenance }
    }
}

/// The part of a task that all models share: without what each was fitted to.
fn shared(task: &Task) -> Task {
    task.clone().undecided().with_scaling(None)
}
