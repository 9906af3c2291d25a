//! Settings in parts, each laid over the one before: defaults, recipe, file, flags.

use std::path::Path;

use fireclay::nearest;

use super::{Settings, SettingsError};
use crate::disk::{MOST_SETTINGS, read_text};

/// The recipes that come with the program: name and file.
pub const RECIPES: [(&str, &str); 9] = [
    ("mnist", include_str!("../../../../recipes/mnist.toml")),
    ("mnist-small", include_str!("../../../../recipes/mnist-small.toml")),
    ("mnist-best", include_str!("../../../../recipes/mnist-best.toml")),
    ("tabular", include_str!("../../../../recipes/tabular.toml")),
    ("realmlp", include_str!("../../../../recipes/realmlp.toml")),
    ("realmlp-regression", include_str!("../../../../recipes/realmlp-regression.toml")),
    ("tabm", include_str!("../../../../recipes/tabm.toml")),
    ("speech", include_str!("../../../../recipes/speech.toml")),
    ("text", include_str!("../../../../recipes/text.toml")),
];

/// Some of the settings of a run, to be laid over those before.
#[derive(Clone, Debug)]
pub struct Partial {
    /// The file, recipe or flags it comes from, for messages.
    pub origin: String,
    /// The settings that it sets.
    pub table: toml::Table,
}

/// Where the settings of flags come from.
pub(crate) const FLAGS: &str = "command line";
/// What takes away an optional setting of a part below.
pub(crate) const NONE: &str = "none";
/// Settings without a value of their own for their absence.
const OPTIONAL: [&str; 5] = ["clip_norm", "ema", "early_stopping", "class_weights", "memory"];
/// Where settings come from that nobody asked for.
const DEFAULTS: &str = "defaults";

impl Partial {
    /// Whether it has what was said by flags that have names of their own.
    pub fn is_of_flags(&self) -> bool {
        self.origin == FLAGS
    }

    /// Whether it says by name which of a section's choices is taken, and is no default.
    fn chooses(&self, section: &str) -> bool {
        let is_named = sets(&self.table, section, "name")
            || self.table.get(section).is_some_and(toml::Value::is_str);
        is_named && self.origin != DEFAULTS
    }

    /// Settings that hold unless a later part sets them.
    ///
    /// # Errors
    ///
    /// The text is not TOML.
    pub fn of_defaults(text: &str) -> Result<Self, SettingsError> {
        Self::parse(DEFAULTS.to_owned(), text)
    }

    /// A recipe that comes with the program.
    ///
    /// # Errors
    ///
    /// [`SettingsError::UnknownRecipe`] if there is none of this name.
    pub fn recipe(name: &str) -> Result<Self, SettingsError> {
        let (_, text) = RECIPES
            .into_iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| SettingsError::UnknownRecipe { found: name.to_owned() })?;
        Self::parse(format!("recipe {name}"), text)
    }

    /// A settings file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is not TOML.
    pub fn file(path: &Path) -> Result<Self, SettingsError> {
        let text = read_text(path, MOST_SETTINGS)
            .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        Self::parse(path.display().to_string(), &text)
    }

    /// Settings as text, which messages call `origin`.
    ///
    /// # Errors
    ///
    /// The text is not TOML.
    pub fn text(origin: &str, text: &str) -> Result<Self, SettingsError> {
        Self::parse(origin.to_owned(), text)
    }

    fn parse(origin: String, text: &str) -> Result<Self, SettingsError> {
        match toml::from_str(text) {
            Ok(table) => Ok(Self { origin, table }),
            Err(error) => Err(SettingsError::Parse { origin, message: error.to_string() }),
        }
    }
}

impl Settings {
    /// Merges the defaults and `parts`, the last on top.
    ///
    /// A section that names another choice (`optimizer.name = "sgd"` over `"adam"`) replaces the
    /// section below it instead of mixing the settings of two choices.
    ///
    /// # Errors
    ///
    /// A part sets something unknown, or to a value of another type.
    pub fn merged(parts: &[Partial]) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        let mut table: toml::Table = settings.to_toml().parse().unwrap_or_default();
        for (i, part) in parts.iter().enumerate() {
            overlay(&mut table, &part.table);
            choose_layers(&mut table, &part.table);
            // Part by part, so that an error names its source.
            settings = read(&table, &parts[..=i])
                .map_err(|message| SettingsError::Parse { origin: part.origin.clone(), message })?;
        }
        Ok(settings)
    }
}

/// The settings in a table that `parts` were merged into, or what is wrong with the last of them.
fn read(table: &toml::Table, parts: &[Partial]) -> Result<Settings, String> {
    let settings: Settings =
        table.clone().try_into().map_err(|error| explain(&error, table, parts))?;
    let read: toml::Table = settings.to_toml().parse().unwrap_or_default();
    match CHOICES.into_iter().find_map(|section| ignored(section, table, &read)) {
        Some(ignored) => Err(without(ignored, table, parts)),
        None => Ok(settings),
    }
}

/// Lays `over` on `table`, section by section.
fn overlay(table: &mut toml::Table, over: &toml::Table) {
    for (key, value) in over {
        if value.as_str() == Some(NONE) && OPTIONAL.contains(&key.as_str()) {
            table.remove(key);
            continue;
        }
        let value = &match value {
            // `optimizer = "sgd"` is short for `optimizer.name = "sgd"`.
            toml::Value::String(_) if CHOICES.contains(&key.as_str()) => {
                toml::Value::Table([("name".to_owned(), value.clone())].into_iter().collect())
            }
            other => other.clone(),
        };
        match (table.get_mut(key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => {
                let names = (below.get("name"), above.get("name"));
                if matches!(names, (Some(old), Some(new)) if old != new) {
                    below.clear();
                }
                overlay(below, above);
            }
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Layers one by one take the place of widths, and widths that of layers one by one.
fn choose_layers(table: &mut toml::Table, over: &toml::Table) {
    let Some(toml::Value::Table(over)) = over.get("model") else { return };
    let Some(toml::Value::Table(model)) = table.get_mut("model") else { return };
    match (over.contains_key("hidden"), over.contains_key("layers")) {
        (false, true) => drop(model.insert("hidden".to_owned(), toml::Value::Array(Vec::new()))),
        (true, false) => drop(model.remove("layers")),
        _ => {}
    }
}

/// Sections that are one of several choices, told apart by their `name`.
const CHOICES: [&str; 3] = ["loss", "optimizer", "schedule"];

/// The first setting of a section that was given and is not among those that were read: a choice
/// without settings of its own takes any. All other sections refuse what they do not know.
fn ignored<'a>(
    section: &'a str,
    given: &'a toml::Table,
    read: &toml::Table,
) -> Option<(&'a str, &'a str)> {
    let (given, read) = (given.get(section)?.as_table()?, read.get(section)?.as_table()?);
    let field = given.keys().find(|field| !read.contains_key(*field))?;
    Some((section, field))
}

/// Message for a setting that the choice of its section does not have.
fn without((section, field): (&str, &str), table: &toml::Table, parts: &[Partial]) -> String {
    let name = table.get(section).and_then(|values| values.get("name")?.as_str());
    let (name, field) = (name.unwrap_or_default(), shown(field, parts));
    format!("{section} {name} has no {field}; remove it")
}

/// The name of a setting, and its flag if that was typed.
fn shown(field: &str, parts: &[Partial]) -> String {
    if parts.last().is_some_and(Partial::is_of_flags) {
        format!("`{field}` (--{})", field.replace('_', "-"))
    } else {
        format!("`{field}`")
    }
}

/// Message for settings of a section whose name nobody gave.
fn without_name(parts: &[Partial]) -> Option<String> {
    let given = &parts.last()?.table;
    let section = CHOICES.into_iter().find(|section| given.contains_key(*section))?;
    let field = given.get(section)?.as_table()?.keys().next()?;
    let field = shown(field, parts);
    Some(format!(
        "{field} needs the name of the {section} that has it: --{section} NAME, or `{section}.name` in \
         a file"
    ))
}

/// Says why a part cannot be read: a setting that its section's choice does not have, or else
/// the message of the TOML error. A choice that only the defaults made is not named.
fn explain(error: &toml::de::Error, table: &toml::Table, parts: &[Partial]) -> String {
    let given = parts.last().map(|part| &part.table);
    let mut quoted = error.message().split('`').skip(1).step_by(2);
    let field = quoted.next().filter(|_| error.message().starts_with("unknown field"));
    let section = field.and_then(|field| {
        let mut sections = CHOICES.into_iter();
        sections.find(|section| given.is_some_and(|given| sets(given, section, field)))
    });
    let name = section.and_then(|section| table.get(section)?.get("name")?.as_str());
    match (field, section, name) {
        (Some(field), Some(section), Some(name)) => {
            let near = nearest(field, quoted.clone());
            let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            let known: Vec<&str> = quoted.collect();
            let (known, field) = (known.join(", "), shown(field, parts));
            let is_chosen = parts.iter().any(|part| part.chooses(section));
            match (is_chosen, near) {
                (true, _) => format!("{section} {name} has no {field}, it has {known}{hint}"),
                (false, Some(_)) => format!("{section} has no {field}, it has {known}{hint}"),
                (false, None) => format!(
                    "{field} needs the name of the {section} that has it: --{section} NAME, or \
                     `{section}.name` in a file. Without a name it has {known}"
                ),
            }
        }
        _ if error.message() == "missing field `name`" => {
            without_name(parts).unwrap_or_else(|| with_suggestion(error))
        }
        _ => with_suggestion(error),
    }
}

/// Whether a table sets a field of a section.
fn sets(table: &toml::Table, section: &str, field: &str) -> bool {
    table.get(section).is_some_and(|values| values.get(field).is_some())
}

/// The message of a TOML error, with the nearest of the words that it says it expected.
fn with_suggestion(error: &toml::de::Error) -> String {
    let mut quoted = error.message().split('`').skip(1).step_by(2);
    let text = error.to_string().trim_end().to_owned();
    let is_unknown = error.message().starts_with("unknown ");
    match quoted.next().filter(|_| is_unknown).and_then(|found| nearest(found, quoted)) {
        Some(near) => format!("{text}\ndid you mean `{near}`?"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::OptimizerConfig;
    use crate::optimizer::{Adam, Sgd};
    use crate::settings::{DataSettings, PreprocessingChoice, Validation};

    fn part(text: &str) -> Partial {
        Partial { origin: "test".to_owned(), table: text.parse().unwrap() }
    }

    fn settings(texts: &[&str]) -> Result<Settings, SettingsError> {
        Settings::merged(&texts.iter().map(|text| part(text)).collect::<Vec<_>>())
    }

    #[test]
    fn the_last_part_wins_setting_by_setting() {
        let found = settings(&[
            "[training]\nepochs = 7\nbatch_size = 64",
            "[training]\nepochs = 9\n[optimizer]\nlearning_rate = 0.5",
        ]);
        let found = found.unwrap();
        assert_eq!((found.training.epochs, found.training.batch_size), (9, 64));
        let adam = Adam { learning_rate: 0.5, ..Adam::default() };
        assert_eq!(found.optimizer, OptimizerConfig::Adam(adam));
    }

    #[test]
    fn none_takes_an_optional_setting_away() {
        let below =
            "[training]\nclip_norm = 1.0\nema = 0.9\n[training.early_stopping]\npatience = 3";
        let above = "[training]\nclip_norm = \"none\"\nearly_stopping = \"none\"";
        let found = settings(&[below, above]).unwrap().training;
        assert_eq!((found.clip_norm, found.ema, found.early_stopping), (None, Some(0.9), None));
        assert!(settings(&["[training]\nepochs = \"none\""]).is_err(), "no run is without epochs");
    }

    #[test]
    fn another_choice_starts_from_its_own_defaults() {
        let found =
            settings(&["[optimizer]\nbeta1 = 0.5", "[optimizer]\nname = \"sgd\"\nmomentum = 0.9"]);
        let sgd = Sgd { momentum: 0.9, ..Sgd::default() };
        assert_eq!(found.unwrap().optimizer, OptimizerConfig::Sgd(sgd));
    }

    #[test]
    fn layers_one_by_one_and_widths_take_the_place_of_each_other() {
        let one_by_one = "[[model.layers]]\nwidth = 7\nskip = { span = 1 }\n\
                          [[model.layers]]\nwidth = 5\nactivation = \"gelu\"";
        let found = settings(&[one_by_one]).unwrap();
        assert_eq!((found.model.hidden.len(), found.model.layers.len()), (0, 2));
        let read = settings(&[&found.to_toml()]).unwrap();
        assert_eq!(read.model, found.model);
        let widths = settings(&[one_by_one, "[model]\nhidden = [3]"]).unwrap();
        assert_eq!((widths.model.hidden, widths.model.layers.len()), (vec![3], 0));
        let both = settings(&["[model]\nhidden = [3]\n[[model.layers]]\nwidth = 7"]).unwrap();
        assert!(both.validate().unwrap_err().to_string().contains("leave one of them out"));
        let error = settings(&["[[model.layers]]\nwidht = 7"]).unwrap_err().to_string();
        assert!(error.contains("did you mean `width`?"), "{error}");
    }

    #[test]
    fn an_unknown_setting_is_answered_with_the_nearest() {
        let said = |text: &str| settings(&[text]).unwrap_err().to_string();
        let unnamed = said("[optimizer]\nmomentum = 0.9");
        assert!(unnamed.contains("--optimizer NAME") && !unnamed.contains("adam"), "{unnamed}");
        let near = said("[schedule]\nwarmup_epoch = 1");
        assert!(near.contains("`warmup_epochs`?") && !near.contains("constant"), "{near}");
        let named = said("[optimizer]\nname = \"adamw\"\nmomentum = 0.9");
        assert!(named.contains("optimizer adamw has no `momentum`"), "{named}");
        for (text, near) in [
            ("sead = 1", "seed"),
            ("[model]\nhiden = [3]", "hidden"),
            ("[training]\nepoch = 3", "epochs"),
            ("[optimizer]\nlearning_rat = 1.0", "learning_rate"),
            ("[optimizer]\nname = \"adm\"", "adam"),
            ("[model]\nactivation = \"rellu\"", "relu"),
        ] {
            let error = settings(&[text]).unwrap_err().to_string();
            assert!(error.contains(&format!("did you mean `{near}`?")), "{text}: {error}");
        }
    }

    #[test]
    fn settings_of_a_section_without_a_name_ask_for_it() {
        let error = settings(&["[loss]\nlabel_smoothing = 0.1"]).unwrap_err().to_string();
        let expected = "test: `label_smoothing` needs the name of the loss that has it: --loss NAME, or \
                        `loss.name` in a file";
        assert_eq!(error, expected);
    }

    /// A file may say what holds anyway, of settings too that the file of a run leaves out.
    #[test]
    fn defaults_may_be_written_out() {
        for text in [
            "[model]\noutput_bias = true\nnorm_epsilon = 1e-5\nleaky_slope = 0.01\nlayers = []",
            "[data]\nclasses = []",
            "[schedule]\nname = \"plateau\"\nwatch = \"loss\"",
        ] {
            settings(&[text]).unwrap().validate().unwrap();
        }
    }

    #[test]
    fn a_choice_without_settings_takes_none() {
        let text = "[loss]\nname = \"mse\"\nlabel_smoothing = 0.1";
        let error = settings(&[text]).unwrap_err().to_string();
        assert_eq!(error, "test: loss mse has no `label_smoothing`; remove it");
        let flags = Partial { origin: FLAGS.to_owned(), table: text.parse().unwrap() };
        let error = Settings::merged(&[flags]).unwrap_err().to_string();
        assert!(error.contains("`label_smoothing` (--label-smoothing)"), "{error}");
    }

    #[test]
    fn every_recipe_and_the_defaults_are_valid_and_read_back() {
        for (name, _) in RECIPES {
            let found = Settings::merged(&[Partial::recipe(name).unwrap()]).unwrap();
            found.validate().unwrap();
            assert_eq!(settings(&[&found.to_toml()]).unwrap(), found, "{name}");
        }
        let default = Settings::default();
        assert_eq!(settings(&[&default.to_toml()]).unwrap(), default);
        // The recipe `mnist` is the defaults of its data, written out.
        let mnist = Settings::merged(&[Partial::recipe("mnist").unwrap()]).unwrap();
        let data = DataSettings {
            validation: Some(Validation::usual(60_000)),
            preprocessing: PreprocessingChoice::Scale,
            ..default.data.clone()
        };
        assert_eq!(mnist, Settings { data, ..default });
    }

    #[test]
    fn values_out_of_range_are_named() {
        for (text, setting) in [
            ("[training]\nepochs = 0", "epochs"),
            ("[training]\nbatch_size = 0", "batch_size"),
            ("[training]\naccumulate = 0", "accumulate"),
            ("[training]\nclip_norm = 0.0", "clip_norm"),
            ("[training]\nema = 1.0", "ema"),
            ("[training.early_stopping]\npatience = 0", "patience"),
            ("[training.early_stopping]\nmin_improvement = -1.0", "min_improvement"),
            ("[model]\ndropout = 1.5", "dropout"),
            ("[optimizer]\nlearning_rate = nan", "learning_rate"),
            ("[optimizer]\nname = \"sgd\"\nnesterov = true", "momentum"),
            ("[schedule]\nname = \"step\"\nevery_epochs = 0", "every_epochs"),
        ] {
            let error = settings(&[text]).unwrap().validate().unwrap_err().to_string();
            assert!(error.contains(setting), "{text}: {error}");
        }
    }
}
