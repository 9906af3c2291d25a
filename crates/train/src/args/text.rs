//! The flags of texts.

use std::path::PathBuf;

use fireclay::{Activation, NgramRange, TextWeighting};
use toml::Value;

use super::flags::Flags;

/// How texts become terms, and terms inputs of the network.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Texts")]
pub struct TextArgs {
    /// Lengths of word n-grams, such as 1-2, or 0 for none [default: 1-2].
    #[arg(long, value_name = "RANGE")]
    pub word_ngrams: Option<NgramRange>,
    /// Lengths of character n-grams, such as 3-5, or 0 for none [default: 0].
    #[arg(long, value_name = "RANGE")]
    pub char_ngrams: Option<NgramRange>,
    /// Hash terms into this number of buckets [default: a vocabulary].
    #[arg(long, value_name = "N")]
    pub buckets: Option<u32>,
    /// Largest vocabulary: the most frequent terms of the training rows [default: 50000].
    #[arg(long, value_name = "N")]
    pub max_features: Option<u32>,
    /// Smallest number of training rows with a term of the vocabulary [default: 1].
    #[arg(long, value_name = "N")]
    pub min_df: Option<u32>,
    /// Largest share of the training rows with a term of the vocabulary [default: 1].
    #[arg(long, value_name = "SHARE")]
    pub max_df: Option<f64>,
    /// Weighting of terms: counts, tf-idf or mean [default: tf-idf].
    #[arg(long, value_name = "HOW")]
    pub text_weighting: Option<TextWeighting>,
    /// Count a term that occurs n times in a text as 1 + ln(n).
    #[arg(long)]
    pub sublinear_tf: bool,
    /// Distinguish capital letters from small ones.
    #[arg(long)]
    pub case_sensitive: bool,
    /// Length of the learned vector of each term [default: 64].
    #[arg(long, value_name = "N")]
    pub text_width: Option<u32>,
    /// Activation function of the sum of these vectors [default: relu].
    #[arg(long, value_name = "NAME")]
    pub text_activation: Option<Activation>,
    /// File of pretrained word vectors, such as a .vec file of fastText or GloVe, from which the vectors of terms start [default: drawn from the seed].
    #[arg(long, value_name = "FILE", conflicts_with = "text_width")]
    pub vectors: Option<PathBuf>,
}

impl TextArgs {
    /// Adds these settings.
    pub(super) fn add_to(&self, flags: &mut Flags) {
        flags.text("data.table.texts.word_ngrams", self.word_ngrams);
        flags.text("data.table.texts.char_ngrams", self.char_ngrams);
        flags.count("data.table.texts.buckets", self.buckets);
        flags.count("data.table.texts.max_features", self.max_features);
        flags.count("data.table.texts.min_df", self.min_df);
        flags.number("data.table.texts.max_df", self.max_df);
        flags.text("data.table.texts.weighting", self.text_weighting);
        flags.on("data.table.texts.sublinear_tf", self.sublinear_tf);
        let lowercase = self.case_sensitive.then_some(Value::Boolean(false));
        flags.set("data.table.texts.lowercase", lowercase);
        flags.count("embedding.texts", self.text_width);
        flags.text("embedding.text_activation", self.text_activation);
        flags.text("embedding.vectors", self.vectors.as_ref().map(|path| path.display()));
    }
}
