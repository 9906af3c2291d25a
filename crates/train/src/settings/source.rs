//! The data that settings name, read as they say.

use fireclay_data::{DataError, Division, Holdout, SoundSource, Source, TableSource};

use super::{Memory, Settings};

impl Settings {
    /// What is learned from.
    ///
    /// # Errors
    ///
    /// An unknown name, with the nearest known one.
    pub fn source(&self) -> Result<Source, DataError> {
        self.source_named(&self.data.source)
    }

    /// Has the texts of a table read, as a new run does unless it says otherwise.
    pub(crate) fn read_texts(&mut self) -> Result<(), DataError> {
        if let Source::Table(table) = self.source()? {
            self.data.table.texts.get_or_insert_default();
            if table.is_texts {
                self.data.table.complete_for_texts();
            }
        }
        Ok(())
    }

    /// The source of a name; a table, or recordings, are read as these settings say.
    ///
    /// # Errors
    ///
    /// As [`source`](Self::source).
    pub(crate) fn source_named(&self, name: &str) -> Result<Source, DataError> {
        Ok(match name.parse()? {
            Source::Table(table) => Source::Table(Box::new(self.table_of(*table))),
            Source::Sounds(recordings) => Source::Sounds(Box::new(SoundSource {
                table: self.table_of(recordings.table),
                options: self.data.sounds.clone(),
                sounds: None,
            })),
            other => other,
        })
    }

    /// A table that is read as these settings say.
    fn table_of(&self, table: TableSource) -> TableSource {
        let data = &self.data;
        TableSource {
            options: data.table.clone(),
            division: Division {
                validation: data.validation.map(Holdout::from),
                is_stratified: data.stratified,
                seed: self.seed,
                classes: data.classes.clone(),
            },
            memory: data.memory.map(Memory::bytes),
            ..table
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> Settings {
        let mut settings = Settings::default();
        settings.data.source = source.to_owned();
        settings.read_texts().unwrap();
        settings
    }

    #[test]
    fn new_runs_read_texts_and_learn_their_labels() {
        assert_eq!(read("mnist"), Settings::default());
        let table = read("rows.csv").data.table;
        assert!(table.texts.is_some() && table.target.is_empty());
        // A settings file of an older run has no encoding of texts, which are left out then.
        let file = "[data]\nsource = \"rows.csv\"\n[data.table]\ntext = [\"a\"]\n";
        assert_eq!(toml::from_str::<Settings>(file).unwrap().data.table.texts, None);
        let table = read("text:rows.txt").data.table;
        assert_eq!((table.target, table.text), (vec!["label".to_owned()], vec!["text".to_owned()]));
    }
}
