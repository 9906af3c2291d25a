//! Makes records of Burn and, beside them, what Burn itself answers.
//!
//! ```text
//! cargo run FOLDER_OF_MNIST FOLDER_OF_GOLDENS
//! ```
//!
//! The folder of MNIST holds the four raw IDX files; the other is the one of this program. Each
//! `NAME.logits` is a network's output in f32, lowest byte first, for the first 1,000 test images
//! scaled by 1/255.

use std::error::Error;
use std::path::Path;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{
    BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Gelu, LayerNorm, LayerNormConfig, Linear,
    LinearConfig, Relu,
};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// 784-32-10.
#[derive(Module, Debug)]
struct Plain {
    fc1: Linear,
    fc2: Linear,
}

/// Every layer that a network of dense layers has; the second dense one without biases.
#[derive(Module, Debug)]
struct Rich {
    hidden: Vec<Linear>,
    batch_norm: BatchNorm,
    layer_norm: LayerNorm,
    dropout: Dropout,
    relu: Relu,
    gelu: Gelu,
    head: Linear,
}

trait Network {
    fn forward(&self, images: Tensor<2>) -> Tensor<2>;
}

impl Network for Plain {
    fn forward(&self, images: Tensor<2>) -> Tensor<2> {
        self.fc2.forward(Relu::new().forward(self.fc1.forward(images)))
    }
}

impl Network for Rich {
    fn forward(&self, images: Tensor<2>) -> Tensor<2> {
        let x = self.batch_norm.forward(self.hidden[0].forward(images));
        let x = self.dropout.forward(self.relu.forward(x));
        let x = self.layer_norm.forward(self.hidden[1].forward(x));
        self.head.forward(self.gelu.forward(x))
    }
}

fn images(folder: &Path, name: &str, most: usize) -> Result<Vec<f32>, Box<dyn Error>> {
    let bytes = std::fs::read(folder.join(name))?;
    let pixels = bytes[16..].iter().take(784 * most);
    Ok(pixels.map(|&pixel| f32::from(pixel) / 255.0).collect())
}

fn fit<M: Network + Module>(mut model: M, images: &[f32], labels: &[i32], device: &Device) -> M {
    let mut adam = AdamConfig::new().init();
    let loss = CrossEntropyLossConfig::new().init(device);
    for (images, labels) in images.chunks(784 * 128).zip(labels.chunks(128)) {
        let shape = [labels.len(), 784];
        let images = Tensor::from_data(TensorData::new(images.to_vec(), shape), device);
        let labels = TensorData::new(labels.to_vec(), [labels.len()]);
        let labels = Tensor::<1, Int>::from_data(labels, device);
        let gradients = loss.forward(model.forward(images), labels).backward();
        let gradients = GradientsParams::from_grads(gradients, &model);
        model = adam.step(0.001, model, gradients);
    }
    model
}

fn save<M: Network + Module>(
    model: M,
    name: &str,
    test: &[f32],
    folder: &Path,
    device: &Device,
) -> Result<(), Box<dyn Error>> {
    let images = Tensor::from_data(TensorData::new(test.to_vec(), [1000, 784]), device);
    let logits: Vec<f32> = model.forward(images).into_data().try_to_vec()?;
    let bytes: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
    std::fs::write(folder.join(format!("{name}.logits")), bytes)?;
    model.into_record().save(folder.join(format!("{name}.bpk")))?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mnist = arguments.next().ok_or("which folder has MNIST?")?;
    let goldens = arguments.next().ok_or("which folder takes the goldens?")?;
    let (mnist, goldens) = (Path::new(&mnist), Path::new(&goldens));
    let train = images(mnist, "train-images-idx3-ubyte", 60_000)?;
    let test = images(mnist, "t10k-images-idx3-ubyte", 1000)?;
    let labels = std::fs::read(mnist.join("train-labels-idx1-ubyte"))?;
    let labels: Vec<i32> = labels[8..].iter().map(|&label| i32::from(label)).collect();

    let device = Device::default();
    let autodiff = device.clone().autodiff();
    autodiff.seed(1);
    let plain = Plain {
        fc1: LinearConfig::new(784, 32).init(&autodiff),
        fc2: LinearConfig::new(32, 10).init(&autodiff),
    };
    save(fit(plain, &train, &labels, &autodiff).valid(), "plain", &test, goldens, &device)?;
    let rich = Rich {
        hidden: vec![
            LinearConfig::new(784, 16).init(&autodiff),
            LinearConfig::new(16, 12).with_bias(false).init(&autodiff),
        ],
        batch_norm: BatchNormConfig::new(16).init(&autodiff),
        layer_norm: LayerNormConfig::new(12).init(&autodiff),
        dropout: DropoutConfig::new(0.1).init(),
        relu: Relu::new(),
        gelu: Gelu::new(),
        head: LinearConfig::new(12, 10).init(&autodiff),
    };
    save(fit(rich, &train, &labels, &autodiff).valid(), "rich", &test, goldens, &device)
}
