//! Reads a handwritten digit with a model that Fireclay trained.
//!
//! The only dependency is the core crate; the model file brings everything else along: the
//! architecture, the weights, how to scale the pixels, and what the classes are called.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use fireclay::{Backend, DeviceChoice, Model, Prediction};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, image] = arguments.as_slice() else {
        eprintln!("usage: depend-on-core MODEL.safetensors IMAGE (raw bytes, one a pixel)");
        return ExitCode::from(2);
    };
    match recognise(Path::new(model), Path::new(image)) {
        Ok(answer) => {
            print!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Describes what the model sees in the image, with a bar for each of its labels.
fn recognise(model: &Path, image: &Path) -> Result<String, Box<dyn Error>> {
    let device = Backend::Flex.device(DeviceChoice::Default)?;
    let model = Model::load(model, &device)?;
    // Raw pixels, 0 to 255: the model scales them as it did in training.
    let bytes = std::fs::read(image).map_err(|error| format!("{}: {error}", image.display()))?;
    let pixels: Vec<f32> = bytes.into_iter().map(f32::from).collect();
    match model.predict(&[pixels])?.remove(0) {
        Prediction::Class { label, probability, distribution, .. } => {
            let mut answer = format!("{label} with probability {probability:.3}\n");
            for (label, share) in model.task.names().iter().zip(distribution) {
                let bar = "#".repeat((40.0 * share).round() as usize);
                answer += format!("{label:>12} {share:.3} {bar}").trim_end();
                answer.push('\n');
            }
            Ok(answer)
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
        recognise(&here.join(MODEL), &here.join(image)).map_err(|error| error.to_string())
    }

    #[test]
    fn digits_of_the_test_set_are_read() {
        for (image, digit) in [("digits/seven.raw", "7"), ("digits/two.raw", "2")] {
            let answer = read(image).unwrap();
            assert!(answer.starts_with(&format!("{digit} with probability ")), "{answer}");
            assert_eq!(answer.lines().count(), 1 + 10, "{answer}");
        }
    }

    #[test]
    fn what_is_no_image_of_28_by_28_is_refused() {
        let error = read("Cargo.toml").unwrap_err();
        assert!(error.contains("this model takes 784"), "{error}");
        assert!(read("digits/none.raw").unwrap_err().contains("none.raw"));
    }
}
