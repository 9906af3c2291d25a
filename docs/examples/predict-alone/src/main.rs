//! Reads a handwritten digit with a model that Fireclay trained, without Burn.
//!
//! The only dependency is `fireclay-model`; the model file brings everything else along: the
//! architecture, the weights, how to scale the pixels, and what the classes are called.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use fireclay_model::{Prediction, Predictor};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, image] = arguments.as_slice() else {
        eprintln!("usage: predict-alone MODEL.safetensors IMAGE (raw bytes, one a pixel)");
        return ExitCode::from(2);
    };
    match recognise(Path::new(model), Path::new(image)) {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Describes what the model sees in the image.
fn recognise(model: &Path, image: &Path) -> Result<String, Box<dyn Error>> {
    let predictor = Predictor::load(model)?;
    // Raw pixels, 0 to 255: the model scales them as it did in training.
    let bytes = std::fs::read(image).map_err(|error| format!("{}: {error}", image.display()))?;
    let pixels: Vec<f32> = bytes.into_iter().map(f32::from).collect();
    // A session has room for what the layers compute: make one for each thread, and keep it.
    match predictor.session().predict(&pixels)? {
        Prediction::Class { label, probability, .. } => {
            Ok(format!("{label} with probability {probability:.3}"))
        }
        _ => Err("this is no classifier".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small classifier of MNIST's digits that the core crate tests its file format with.
    const MODEL: &str = "../../../crates/core/tests/fixtures/model-v1.safetensors";

    fn read(image: &str) -> Result<String, String> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let image = here.join("../depend-on-core").join(image);
        recognise(&here.join(MODEL), &image).map_err(|error| error.to_string())
    }

    #[test]
    fn digits_of_the_test_set_are_read() {
        for (image, digit) in [("digits/seven.raw", "7"), ("digits/two.raw", "2")] {
            let answer = read(image).unwrap();
            assert!(answer.starts_with(&format!("{digit} with probability ")), "{answer}");
        }
    }

    #[test]
    fn what_is_no_image_of_28_by_28_is_refused() {
        let error = read("Cargo.toml").unwrap_err();
        assert!(error.contains("this model takes 784"), "{error}");
        assert!(read("digits/none.raw").unwrap_err().contains("none.raw"));
    }
}
