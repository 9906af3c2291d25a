//! What files cost: an honest one at most 1.2 times its bytes of memory, a hostile one at most 100 MB
//! more than the program itself, and a second.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fireclay::{
    Backend, DeviceChoice, InputSpec, Mlp, MlpConfig, Model, Preprocessing, Provenance, Task,
};

const MIB: u64 = 1 << 20;
/// Seconds on the CPU.
const MOST_SECONDS: f64 = 1.0;

/// What a process took.
struct Cost {
    /// The most bytes that were in memory at once, as far as could be seen.
    peak: u64,
    /// Seconds on the CPU, which other processes do not add to.
    cpu: f64,
    succeeded: bool,
}

/// Runs the program and looks at it as long as it lives.
fn cost(arguments: &[&str]) -> Cost {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fireclay"))
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let folder = PathBuf::from(format!("/proc/{}", child.id()));
    let (mut peak, mut cpu) = (0, 0.0_f64);
    let status = loop {
        peak = peak.max(peak_of(&folder).unwrap_or(0));
        cpu = cpu.max(cpu_of(&folder).unwrap_or(0.0));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Cost { peak, cpu, succeeded: status.success() }
}

/// The high-water mark of a process.
fn peak_of(folder: &Path) -> Option<u64> {
    let status = fs::read_to_string(folder.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// The seconds of a process on the CPU: fields 14 and 15, in hundredths.
fn cpu_of(folder: &Path) -> Option<f64> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / 100.0)
}

/// A safetensors file of this header, followed by so many zeros, which take no room on the disk.
fn safetensors(path: &Path, header: &str, zeros: u64) {
    let mut file = File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + zeros).unwrap();
}

/// The entries of as many tensors of one number.
fn entries(count: usize) -> String {
    let entry = |i: usize| {
        let (start, end) = (4 * i, 4 * i + 4);
        format!(r#""t{i}":{{"dtype":"F32","shape":[1],"data_offsets":[{start},{end}]}}"#)
    };
    (0..count).map(entry).collect::<Vec<_>>().join(",")
}

/// The header of a Fireclay file with this document.
fn own(key: &str, document: &str) -> String {
    let metadata = serde_json::json!({ key: document, "fireclay_digest": "sha256:0" });
    serde_json::json!({ "__metadata__": metadata }).to_string()
}

/// The bytes given, and then zeros up to this size, which take no room on the disk.
fn sparse(path: &Path, beginning: &[u8], size: u64) {
    let mut file = File::create(path).unwrap();
    file.write_all(beginning).unwrap();
    file.set_len(size).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
}

/// Files that ask for much more than they are, by name.
fn hostile(folder: &Path) -> Vec<(PathBuf, bool)> {
    let path = |name: &str| folder.join(name);
    let many = entries(200_000);
    safetensors(&path("many.safetensors"), &format!("{{{many}}}"), 800_000);
    let metadata = r#""__metadata__":{"fireclay":"{}"}"#;
    safetensors(&path("many-own.safetensors"), &format!("{{{metadata},{many}}}"), 800_000);
    safetensors(&path("spaces.safetensors"), &format!("{{{}}}", " ".repeat(20_000_000)), 0);
    safetensors(&path("beyond.safetensors"), &format!("{{{}}}", entries(1)), 8 << 30);
    let hidden = "1,".repeat(1_900_000);
    let hidden = format!(r#"{{"version":1,"architecture":{{"hidden":[{hidden}1]}}}}"#);
    safetensors(&path("hidden.safetensors"), &own("fireclay", &hidden), 0);
    safetensors(&path("adapter.safetensors"), &own("fireclay_adapter", &hidden), 0);
    let objects = r#"{"a":1},"#.repeat(300_000);
    let run = format!(r#"{{"version":1,"run":[{objects}1]}}"#);
    safetensors(&path("objects.safetensors"), &own("fireclay", &run), 0);
    sparse(&path("header.npy"), b"\x93NUMPY\x02\0\xf0\xff\xff\xff{", 8 << 30);
    sparse(&path("hole.h5"), b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0", 8 << 30);
    sparse(&path("hole.pt"), b"PK\x03\x04", 8 << 30);
    sparse(&path("hole.bin"), b"", 8 << 30);
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.";
    let memo = [&magic[..], b"\x80\x02}.\x80\x02}q\0(", &b"h\0".repeat(10_000_000)].concat();
    fs::write(path("memo.pt"), memo).unwrap();
    // Ten million fields; ten million nodes of a graph; a text of 200 MB in one.
    fs::write(path("fields.onnx"), b"\x0a\0".repeat(10_000_000)).unwrap();
    let graph = b"\x0a\0".repeat(10_000_000);
    let length = [0x80, 0xda, 0xc4, 9];
    fs::write(path("nodes.onnx"), [b"\x08\x08\x12\0\x3a", &length[..], &graph].concat()).unwrap();
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_own = |path: &PathBuf| {
        ["hidden", "adapter", "objects"]
            .iter()
            .any(|name| path.ends_with(format!("{name}.safetensors")))
    };
    names.map(|path| (path.clone(), is_own(&path))).collect()
}

#[test]
fn a_hostile_file_is_refused_before_it_costs_anything() {
    let folder = tempfile::tempdir().unwrap();
    let base = cost(&["--version"]).peak.max(20 * MIB);
    let files = hostile(folder.path());
    assert_eq!(files.len(), 14);
    for (file, is_own) in files {
        let name = file.to_str().unwrap();
        for command in ["inspect", "predict"] {
            let mut line = vec![command, name];
            line.extend((command == "predict").then_some("row.csv"));
            let Cost { peak, cpu, succeeded } = cost(&line);
            let more = peak.saturating_sub(base) / MIB;
            assert!(more <= 100, "{command} {name}: {more} MiB");
            assert!(cpu <= MOST_SECONDS, "{command} {name}: {cpu} s");
            // `inspect` shows what it can of our own.
            assert!(!succeeded || command == "inspect" && is_own, "{command} {name}");
        }
    }
}

/// Inputs of `predict` that ask for much more than they are.
fn hostile_inputs(folder: &Path) {
    let path = |name: &str| folder.join(name);
    let gzip = |name: &str, start: &[u8], block: &[u8], times: usize| {
        let file = File::create(path(name)).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        gzip.write_all(start).unwrap();
        for _ in 0..times {
            gzip.write_all(block).unwrap();
        }
        gzip.finish().unwrap();
    };
    gzip("rows.csv.gz", b"", ("0,".repeat(783) + "0\n").repeat(600).as_bytes(), 200);
    // Less equal: its rows are 90 times their compressed bytes, as long as they are few.
    let mut state = 1;
    let mut rows = Vec::new();
    for cell in 0..600 * 784 {
        let number = if cell % 90 == 0 { random(&mut state) % 10 } else { 0 };
        rows.extend([b'0' + number, if cell % 784 == 783 { b'\n' } else { b',' }]);
    }
    gzip("unlikely.csv.gz", b"", &rows, 70);
    let rows = 400_000_u32.to_be_bytes();
    let header = [&[0, 0, 8, 3][..], &rows, &[0, 0, 0, 28, 0, 0, 0, 28]].concat();
    gzip("rows.idx.gz", &header, &[0; 784_000], 400);
    let white = |side: u32| image::GrayImage::from_pixel(side, side, image::Luma([255]));
    let colour = image::RgbaImage::from_pixel(4_000, 4_000, image::Rgba([255; 4]));
    colour.save(path("large.gif")).unwrap();
    white(8_300).save(path("large.png")).unwrap();
    let mut tiff = b"II*\0\x08\0\0\0".to_vec();
    tiff.resize(200 << 20, 0);
    fs::write(path("large.tif"), tiff).unwrap();
    // A thumbnail of 80 MB in a small picture; the checksum is not looked at.
    white(40).save(path("small.png")).unwrap();
    let png = fs::read(path("small.png")).unwrap();
    let size = 80_u32 << 20;
    let mut file = File::create(path("exif.png")).unwrap();
    file.write_all(&[&png[..33], &size.to_be_bytes(), b"eXIf"].concat()).unwrap();
    file.seek(SeekFrom::Current(i64::from(size) + 4)).unwrap();
    file.write_all(&png[33..]).unwrap();
    // What comes again after a million bytes is new to every compression.
    let noise: Vec<u8> = (0..1_000_000).map(|_| random(&mut state)).collect();
    let pixels = noise.repeat(16);
    let grey = image::ExtendedColorType::L8;
    image::save_buffer(path("noise.png"), &pixels, 4_000, 4_000, grey).unwrap();
    let palette: Vec<u8> = (0..=255).flat_map(|grey| [grey; 3]).collect();
    let file = File::create(path("noise.gif")).unwrap();
    let mut gif = gif::Encoder::new(file, 4_000, 4_000, &palette).unwrap();
    let frame = gif::Frame::from_indexed_pixels(4_000, 4_000, pixels, None);
    gif.write_frame(&frame).unwrap();
    // 64 million pixels, of which the file has one.
    let file = File::create(path("canvas.gif")).unwrap();
    let mut gif = gif::Encoder::new(file, 8_000, 8_000, &palette).unwrap();
    gif.write_frame(&gif::Frame::from_indexed_pixels(1, 1, vec![0], None)).unwrap();
}

/// A byte of Knuth's generator (MMIX).
fn random(state: &mut u64) -> u8 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    (*state >> 33) as u8
}

#[test]
fn a_hostile_input_of_predict_costs_little_and_is_refused() {
    let models = tempfile::tempdir().unwrap();
    let model = models.path().join("model.safetensors");
    let device = Backend::Flex.device(DeviceChoice::Default).unwrap();
    let network = Model {
        mlp: Mlp::init(&MlpConfig::new([28, 28], [16], 10), 1, &device).unwrap(),
        task: Task::numbered_classes(10),
        input: InputSpec::dense(&[28, 28], Preprocessing::PIXELS)
            .with_pictures(Some(fireclay::Pictures::MNIST)),
        provenance: Provenance::default(),
    };
    network.save(&model).unwrap();
    let folder = tempfile::tempdir().unwrap();
    hostile_inputs(folder.path());
    let base = cost(&["--version"]).peak.max(20 * MIB);
    let mut count = 0;
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap().path();
        let name = file.to_str().unwrap();
        let Cost { peak, cpu, succeeded } =
            cost(&["predict", model.to_str().unwrap(), name, "--quiet"]);
        let more = peak.saturating_sub(base) / MIB;
        assert!(more <= 100, "{name}: {more} MiB");
        assert!(cpu <= MOST_SECONDS, "{name}: {cpu} s");
        assert!(!succeeded, "{name}");
        count += 1;
    }
    assert_eq!(count, 11);
}

/// A Fireclay model of 64 MiB, most of it one matrix.
fn model(path: &Path) -> Model {
    let device = Backend::Flex.device(DeviceChoice::Default).unwrap();
    let model = Model {
        mlp: Mlp::init(&MlpConfig::new([4096], [4000, 128], 3), 1, &device).unwrap(),
        task: Task::numbered_classes(3),
        input: InputSpec::dense(&[4096], Preprocessing::None),
        provenance: Provenance::default(),
    };
    model.save(path).unwrap();
    model
}

#[test]
fn an_honest_file_costs_little_more_than_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (own, foreign, row) =
        (path("own.safetensors"), path("foreign.safetensors"), path("row.csv"));
    let model = model(Path::new(&own));
    // The same numbers as a file of somebody else.
    let bytes = model.to_bytes().unwrap().0;
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(bytes[8..8 + length].to_vec()).unwrap();
    let header = header.replace(r#""fireclay":"#, r#""firebrick":"#);
    let size = header.len() as u64;
    let file = [&size.to_le_bytes(), header.as_bytes(), &bytes[8 + length..]].concat();
    fs::write(&foreign, &file).unwrap();
    fs::write(&row, vec!["0"; 4096].join(",")).unwrap();
    let base = cost(&["--version"]).peak.max(20 * MIB);
    let size = bytes.len() as u64;
    drop((bytes, file, model));
    let to = path("imported.safetensors");
    let import = format!(
        "finetune import {foreign} --to {to} --activation relu --preprocessing none --task classification"
    );
    let import: Vec<&str> = import.split(' ').collect();
    for (line, most) in [
        (&["inspect", &own][..], size / 2),
        (&["inspect", &foreign], size / 2),
        // Parameters on the device, and a fifth.
        (&["predict", &own, &row], size + size / 5),
        (&import, size + size / 5),
    ] {
        let Cost { peak, succeeded, .. } = cost(line);
        assert!(succeeded, "{line:?}");
        // What the program takes by itself, with its threads.
        let more = peak.saturating_sub(base + 24 * MIB);
        assert!(more <= most, "{line:?}: {} MiB for {} MiB", more / MIB, size / MIB);
    }
    let imported = Model::load(&to, &Backend::Flex.device(DeviceChoice::Default).unwrap());
    assert_eq!(MlpConfig::from(imported.unwrap().mlp.architecture()).hidden, [4000, 128]);
}

#[test]
fn a_file_of_short_numbers_costs_little_more_than_its_parameters() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, to) = (path("short.safetensors"), path("imported.safetensors"));
    let widths = [4096, 4000, 128, 3];
    let mut entries = Vec::new();
    let mut end = 0;
    for (i, pair) in widths.windows(2).enumerate() {
        for (name, shape, count) in [
            ("weight", format!("{},{}", pair[1], pair[0]), pair[0] * pair[1]),
            ("bias", pair[1].to_string(), pair[1]),
        ] {
            let start = end;
            end += 2 * count;
            entries.push(format!(
                r#""layers.{i}.{name}":{{"dtype":"BF16","shape":[{shape}],"data_offsets":[{start},{end}]}}"#
            ));
        }
    }
    safetensors(Path::new(&file), &format!("{{{}}}", entries.join(",")), end as u64);
    let base = cost(&["--version"]).peak.max(20 * MIB);
    let import = format!(
        "finetune import {file} --to {to} --activation relu --preprocessing none --task classification"
    );
    let import: Vec<&str> = import.split(' ').collect();
    let Cost { peak, succeeded, .. } = cost(&import);
    assert!(succeeded);
    let size = 2 * end as u64;
    let more = peak.saturating_sub(base + 24 * MIB);
    assert!(more <= size + size / 5, "{} MiB for {} MiB in 32 bits", more / MIB, size / MIB);
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.safetensors");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [pipe.to_str().unwrap(), "/dev/zero", "/dev/stdin"] {
        for line in [
            &["inspect", path][..],
            &["predict", path, "row.csv"],
            &["finetune", "import", path, "--to", "never.safetensors"],
        ] {
            let output = Command::new(env!("CARGO_BIN_EXE_fireclay"))
                .args(line)
                .stdin(Stdio::piped())
                .output()
                .unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{line:?}: {said}");
            assert!(said.contains("regular file"), "{line:?}: {said}");
        }
    }
}
