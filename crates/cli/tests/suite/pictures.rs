//! `fireclay predict` on pictures, and on what else people give it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use fireclay_data::{Dataset, Features, LoadOptions, Source, Targets, load};
use serde_json::Value;

use crate::program::{DIGITS, Place};
use crate::support::{does, mnist};

/// The labels that are given to these inputs.
fn labels(place: &Place, line: &str) -> Vec<String> {
    let said = does(place, &format!("predict {line} --json"));
    let of_line = |line: &str| {
        let answer: Value = serde_json::from_str(line).unwrap();
        answer["label"].as_str().unwrap_or_default().to_owned()
    };
    said.lines().map(of_line).collect()
}

/// A grey picture, 0 to 255.
#[derive(Clone)]
struct Grey {
    width: usize,
    height: usize,
    values: Vec<u8>,
}

impl Grey {
    fn new(width: usize, height: usize, value: impl Fn(usize, usize) -> u8) -> Self {
        let values = (0..width * height).map(|at| value(at % width, at / width)).collect();
        Self { width, height, values }
    }

    fn save(&self, path: &Path) {
        let (width, height) = (self.width as u32, self.height as u32);
        let colour = image::ExtendedColorType::L8;
        image::save_buffer(path, &self.values, width, height, colour).unwrap();
    }

    fn map(&self, value: impl Fn(usize, usize, u8) -> u8) -> Self {
        Self::new(self.width, self.height, |x, y| value(x, y, self.values[y * self.width + x]))
    }

    fn inverse(&self) -> Self {
        self.map(|_, _, value| 255 - value)
    }

    /// Moved by so many pixels, with black behind it.
    fn moved(&self, right: isize, down: isize) -> Self {
        Self::new(self.width, self.height, |x, y| {
            let (x, y) = (x as isize - right, y as isize - down);
            let is_in = x >= 0 && y >= 0 && (x as usize) < self.width && (y as usize) < self.height;
            if is_in { self.values[y as usize * self.width + x as usize] } else { 0 }
        })
    }

    /// Six times as large, smooth, on a page of this size with its corner there.
    fn on_page(&self, [width, height]: [usize; 2], [left, top]: [usize; 2]) -> Self {
        const TIMES: f32 = 6.0;
        let at = |x: isize, y: isize| {
            let is_in = x >= 0 && y >= 0 && (x as usize) < self.width && (y as usize) < self.height;
            if is_in { f32::from(self.values[y as usize * self.width + x as usize]) } else { 0.0 }
        };
        Self::new(width, height, |x, y| {
            let place = |at: usize, from: usize| (at as f32 - from as f32 + 0.5) / TIMES - 0.5;
            let (x, y) = (place(x, left), place(y, top));
            let (fx, fy) = (x - x.floor(), y - y.floor());
            let (x, y) = (x.floor() as isize, y.floor() as isize);
            let upper = at(x, y) * (1.0 - fx) + at(x + 1, y) * fx;
            let lower = at(x, y + 1) * (1.0 - fx) + at(x + 1, y + 1) * fx;
            (upper * (1.0 - fy) + lower * fy) as u8
        })
    }
}

/// The pictures of MNIST's test rows, and what they show.
fn digits(rows: usize) -> Vec<(Grey, String)> {
    let data = load(&Source::Mnist, &LoadOptions::default(), &mut |_| {}).unwrap();
    let (Features::Bytes(pixels), Targets::Classes { ids, .. }) =
        (data.test.features(), data.test.targets())
    else {
        panic!("MNIST is bytes and classes")
    };
    let grey = |values: &[u8]| Grey { width: 28, height: 28, values: values.to_vec() };
    let shown = ids.iter().map(ToString::to_string);
    pixels.chunks_exact(784).map(grey).zip(shown).take(rows).collect()
}

/// Number of these rows that are classified correctly.
fn right(place: &Place, folder: &str, pictures: &[(Grey, String)]) -> usize {
    right_in(place, folder, pictures, [[0; 3], [255; 3]])
}

/// The same with a colour for black and one for white, and those between for greys.
fn right_in(
    place: &Place,
    folder: &str,
    pictures: &[(Grey, String)],
    [black, white]: [[u8; 3]; 2],
) -> usize {
    fs::create_dir_all(place.path(folder)).unwrap();
    let mut names = String::new();
    for (i, (grey, _)) in pictures.iter().enumerate() {
        let name = format!("{folder}/{i}.png");
        let mixed = |value: &u8| {
            [0, 1, 2].map(|c| {
                let [black, white] = [black, white].map(|colour| f32::from(colour[c]));
                (black + (white - black) * f32::from(*value) / 255.0).round() as u8
            })
        };
        let colours: Vec<u8> = grey.values.iter().flat_map(mixed).collect();
        let (width, height) = (grey.width as u32, grey.height as u32);
        let kind = image::ExtendedColorType::Rgb8;
        image::save_buffer(place.path(&name), &colours, width, height, kind).unwrap();
        names += &format!(" {name}");
    }
    let found = labels(place, &format!("runs/mnist{names}"));
    assert_eq!(found.len(), pictures.len());
    found.iter().zip(pictures).filter(|(found, (_, shown))| *found == shown).count()
}

#[test]
fn what_lies_around_a_digit_changes_little() {
    let place = mnist();
    let digits = digits(24);
    let plain = right(place, "plain", &digits);
    assert!(plain >= 23, "{plain}");
    type Change = fn(&Grey) -> Grey;
    let changes: [(&str, usize, Change); 9] = [
        // As MNIST has it, but not in its place: put back to the pixel.
        ("moved", 0, |grey| grey.moved(3, -2)),
        ("moved, on paper", 0, |grey| grey.moved(-4, 1).inverse()),
        ("page", 2, |grey| grey.on_page([240, 280], [36, 56]).inverse()),
        ("box", 3, |grey| {
            let page = grey.on_page([240, 280], [36, 56]).inverse();
            page.map(|x, y, value| {
                let is_in = |by: usize| {
                    (12 + by..228 - by).contains(&x) && (14 + by..266 - by).contains(&y)
                };
                if is_in(0) && !is_in(4) { 0 } else { value }
            })
        }),
        ("frame at the edge", 3, |grey| {
            let page = grey.on_page([240, 280], [36, 56]).inverse();
            page.map(|x, y, value| if x < 5 || y < 5 || x > 234 || y > 274 { 10 } else { value })
        }),
        ("edge of a scan", 3, |grey| {
            let page = grey.on_page([240, 280], [36, 56]).inverse();
            page.map(|x, _, value| if x < 20 { 15 } else { value })
        }),
        ("lines", 4, |grey| {
            let page = grey.on_page([240, 280], [36, 56]).inverse();
            page.map(|_, y, value| if y % 90 < 3 { value.min(60) } else { value })
        }),
        ("askew line", 4, |grey| {
            let page = grey.on_page([240, 280], [36, 56]).inverse();
            page.map(
                |x, y, value| if (y + x / 20).abs_diff(180) < 2 { value.min(40) } else { value },
            )
        }),
        ("circle", 3, |grey| {
            let page = grey.on_page([240, 280], [36, 56]).inverse();
            page.map(|x, y, value| {
                let [dx, dy] = [x as f32 - 120.0, y as f32 - 140.0];
                if ((dx * dx + dy * dy).sqrt() - 110.0).abs() < 3.0 { 20 } else { value }
            })
        }),
    ];
    for (name, most_lost, change) in changes {
        let changed: Vec<_> =
            digits.iter().map(|(grey, shown)| (change(grey), shown.clone())).collect();
        let found = right(place, &name.replace([' ', ','], "-"), &changed);
        assert!(found + most_lost >= plain, "{name}: {found} of 24, and {plain} of them plain");
    }
}

/// Pages of 400x400 with a digit in them, the pages changed.
fn pages(
    digits: &[(Grey, String)],
    change: &dyn Fn(usize, usize, u8) -> u8,
) -> Vec<(Grey, String)> {
    let page = |grey: &Grey| grey.on_page([400, 400], [116, 116]).inverse().map(change);
    digits.iter().map(|(grey, shown)| (page(grey), shown.clone())).collect()
}

#[test]
fn what_lies_away_from_a_digit_is_left_out() {
    let place = mnist();
    let digits = digits(16);
    let is_hole = |x: usize, y: usize, [left, top]: [usize; 2]| {
        let [dx, dy] = [x as f32 - left as f32, y as f32 - top as f32];
        dx * dx + dy * dy < 144.0
    };
    type Mark<'a> = &'a dyn Fn(usize, usize) -> bool;
    let marks: [(&str, Mark<'_>); 5] = [
        ("one-hole", &|x, y| is_hole(x, y, [25, 200])),
        ("three-holes", &|x, y| [60, 200, 340].iter().any(|top| is_hole(x, y, [25, *top]))),
        ("strip-at-the-right", &|x, _| x >= 374),
        ("strip-at-the-bottom", &|_, y| y >= 374),
        ("print", &|x, y| (330..380).contains(&x) && (20..28).contains(&y) && x % 8 < 5),
    ];
    for (name, is_mark) in marks {
        let pages = pages(&digits, &|x, y, value| if is_mark(x, y) { 30 } else { value });
        let right = right(place, name, &pages);
        assert!(right >= 15, "{name}: {right} of 16");
    }
    let said = does(place, "predict runs/mnist one-hole/0.png three-holes/0.png");
    assert!(said.contains("1 mark away from it left out"), "{said}");
    assert!(said.contains("3 marks away from it left out"), "{said}");
    let stripes = pages(&digits, &|x, y, value| {
        let is_dark = (y + x * 2 / 5) % 100 < 50;
        if is_dark { (f32::from(value) * 0.6) as u8 } else { value }
    });
    let upright = pages(&digits, &|x, _, value| {
        if x % 80 < 40 { value } else { (f32::from(value) * 0.6) as u8 }
    });
    for (name, stripes) in [("stripes", stripes), ("upright-stripes", upright)] {
        let right = right(place, name, &stripes);
        assert!(right >= 13, "{name}: {right} of 16");
    }
    // White strips of a dark picture.
    for wide in [6, 26, 52] {
        let dark = pages(&digits, &|x, _, value| if x >= 400 - wide { 255 } else { 255 - value });
        let right = right(place, &format!("dark-{wide}"), &dark);
        assert!(right >= 15, "{wide}: {right} of 16");
    }
}

#[test]
fn a_dark_picture_on_a_bright_page_is_no_ink() {
    let place = mnist();
    let digits = digits(16);
    // A bright frame around pictures of 28x28, and a page around larger ones.
    let framed = |margin: usize| -> Vec<(Grey, String)> {
        let side = 28 + 2 * margin;
        let page = |grey: &Grey| {
            Grey::new(side, side, |x, y| {
                let (x, y) = (x.wrapping_sub(margin), y.wrapping_sub(margin));
                if x < 28 && y < 28 { grey.values[y * 28 + x] } else { 255 }
            })
        };
        digits.iter().map(|(grey, shown)| (page(grey), shown.clone())).collect()
    };
    let page = |margin: usize| -> Vec<(Grey, String)> {
        let side = 168 + 2 * margin;
        let page = |grey: &Grey| {
            let panel = grey.on_page([side, side], [margin, margin]);
            panel.map(|x, y, value| {
                let is_in = |at: usize| (margin..margin + 168).contains(&at);
                if is_in(x) && is_in(y) { value } else { 250 }
            })
        };
        digits.iter().map(|(grey, shown)| (page(grey), shown.clone())).collect()
    };
    for (name, pictures, least) in [
        ("frame-of-1", framed(1), 13),
        ("frame-of-4", framed(4), 13),
        ("page-of-4", page(4), 15),
        ("page-of-10", page(10), 15),
        ("page-of-60", page(60), 15),
    ] {
        let right = right(place, name, &pictures);
        assert!(right >= least, "{name}: {right} of 16");
    }
    let said = does(place, "predict runs/mnist page-of-60/0.png");
    assert!(said.contains("cut to the dark panel"), "{said}");
}

#[test]
fn ink_of_any_colour_is_read_on_any_paper() {
    let place = mnist();
    let pages: Vec<_> = digits(16)
        .into_iter()
        .map(|(grey, shown)| (grey.on_page([240, 280], [36, 56]).inverse(), shown))
        .collect();
    for (name, ink, paper) in [
        ("yellow", [255, 255, 0], [255; 3]),
        ("pale-yellow", [255, 250, 170], [255; 3]),
        ("red-on-green", [200, 60, 40], [40, 120, 40]),
        ("white-on-yellow", [245, 245, 245], [255, 240, 120]),
        ("black-on-deep-blue", [20; 3], [40, 60, 160]),
        ("faint-pencil", [180; 3], [200; 3]),
    ] {
        let right = right_in(place, name, &pages, [ink, paper]);
        assert!(right >= 15, "{name}: {right} of 16");
    }
    let said = does(place, "predict runs/mnist yellow/0.png");
    assert!(said.contains("read by its blue, in which the ink stands out most"), "{said}");
}

#[test]
fn a_shadow_over_the_sheet_is_no_ink() {
    let place = mnist();
    let pages: Vec<_> = digits(16)
        .into_iter()
        .map(|(grey, shown)| (grey.on_page([240, 280], [36, 56]).inverse(), shown))
        .collect();
    let changed = |change: &dyn Fn(usize, usize, u8) -> u8| -> Vec<_> {
        pages.iter().map(|(grey, shown)| (grey.map(change), shown.clone())).collect()
    };
    let shaded =
        |value: u8, is_shaded: bool| (f32::from(value) * if is_shaded { 0.45 } else { 0.9 }) as u8;
    let half = changed(&|x, y, value| shaded(value, 3 * x + y > 430));
    let hand = changed(&|x, y, value| {
        let [dx, dy] = [x as f32 - 60.0, y as f32 - 300.0];
        shaded(value, dx * dx + dy * dy / 2.0 < 8_000.0)
    });
    // A sheet of half the size on a dark table, a little askew.
    let table: Vec<_> = pages
        .iter()
        .map(|(grey, shown)| {
            let page = Grey::new(420, 440, |x, y| {
                let (x, y) = (x as isize - 90 + y as isize / 20, y as isize - 90 - x as isize / 20);
                let is_in = x >= 0 && y >= 0 && x < 240 && y < 280;
                if is_in { grey.values[y as usize * 240 + x as usize] } else { 50 }
            });
            (page, shown.clone())
        })
        .collect();
    for (name, pictures) in [("half", half), ("hand", hand), ("table", table)] {
        let right = right(place, name, &pictures);
        assert!(right >= 14, "{name}: {right} of 16");
    }
}

#[test]
fn a_small_digit_is_found_on_a_large_sheet() {
    let place = mnist();
    let sheets: Vec<_> = digits(5)
        .into_iter()
        .enumerate()
        .map(|(i, (grey, shown))| {
            let [left, top] = [300 + 290 * i, 1_300 - 250 * i];
            let sheet = Grey::new(2_000, 1_500, |x, y| {
                let (x, y) = (x.wrapping_sub(left), y.wrapping_sub(top));
                if x < 28 && y < 28 { 255 - grey.values[y * 28 + x] } else { 255 }
            });
            (sheet, shown)
        })
        .collect();
    assert_eq!(right(place, "sheets", &sheets), 5);
}

#[test]
fn what_shows_no_single_character_is_refused_or_said() {
    let place = mnist();
    // Random numbers of Knuth's generator (MMIX).
    let mut state = 1_u64;
    let mut random = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let mut noise = |side: usize, least: usize| {
        let values = (0..side * side).map(|_| random() % 256).collect::<Vec<_>>();
        Grey::new(side, side, |x, y| {
            let value = values[y * side + x];
            if least == 0 { value as u8 } else { 255 * u8::from(value < least) }
        })
    };
    for (name, grey) in [
        ("noise.png", noise(300, 0)),
        ("small-noise.png", noise(28, 0)),
        ("black-and-white.png", noise(200, 80)),
        ("dust.png", noise(300, 3)),
        ("blank.png", Grey::new(200, 100, |_, _| 90)),
    ] {
        grey.save(&place.path(name));
        let refused = place.train(&format!("predict runs/mnist {name}"));
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{name}");
    }
    place.train("predict runs/mnist noise.png").refused(&["too tangled for one character"]);
    let digits = digits(3);
    let row = |count: usize| {
        let pages: Vec<_> =
            digits[..count].iter().map(|(grey, _)| grey.on_page([170, 200], [0, 16])).collect();
        Grey::new(170 * count, 200, |x, y| 255 - pages[x / 170].values[y * 170 + x % 170])
    };
    row(3).save(&place.path("three.png"));
    place.train("predict runs/mnist three.png").refused(&["several marks in a row", "crop it"]);
    row(2).save(&place.path("two.png"));
    let said = does(place, "predict runs/mnist two.png");
    assert!(said.contains("several marks beside each other, read as one"), "{said}");
    let disc = Grey::new(200, 240, |x, y| {
        let [dx, dy] = [x as f32 - 90.0, y as f32 - 130.0];
        255 * u8::from(dx * dx + dy * dy > 3_600.0)
    });
    // A digit among dots of all sizes.
    let among = digits[0].0.on_page([400, 400], [116, 116]).inverse().map(|x, y, value| {
        let (column, row) = (x / 25, y / 25);
        let side = [1, 1, 2, 3, 9][(7 * column + 3 * row) % 5];
        let is_around = !(4..12).contains(&column) || !(4..12).contains(&row);
        if is_around && x % 25 < side && y % 25 < side { 0 } else { value }
    });
    for (name, grey, words) in [
        ("disc", disc, "doubtful, for it is a filled shape"),
        ("among", among, "doubtful, for there is as much around it"),
    ] {
        grey.save(&place.path(&format!("{name}.png")));
        let answer = does(place, &format!("predict runs/mnist {name}.png --json"));
        assert!(answer.contains(words), "{answer}");
    }
}

#[test]
fn an_input_that_cannot_be_read_does_not_end_the_others() {
    let place = mnist();
    let digits = digits(2);
    for (i, (grey, _)) in digits.iter().enumerate() {
        grey.save(&place.path(&format!("fine-{i}.png")));
    }
    fs::write(place.path("bad.png"), "nonsense\nfile\n").unwrap();
    fs::write(place.path("bytes.jpg"), (1..200).collect::<Vec<u8>>()).unwrap();
    fs::write(place.path("empty.png"), "").unwrap();
    let line =
        "predict runs/mnist fine-0.png bad.png gone.png empty.png bytes.jpg fine-1.png --json";
    let found = place.train(line);
    assert_eq!(found.code, Some(2));
    let labels: Vec<Value> =
        found.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let labels: Vec<&str> = labels.iter().map(|line| line["label"].as_str().unwrap()).collect();
    assert_eq!(labels, [&digits[0].1, &digits[1].1]);
    for words in [
        "error: bad.png: by its name this is a PNG picture, and its bytes begin as no file",
        "error: gone.png: ",
        "error: empty.png: the file is empty",
        "error: bytes.jpg: by its name this is a JPEG picture",
        "error: cannot predict 4 of 6 inputs",
    ] {
        assert!(found.stderr.contains(words), "{words}: {}", found.stderr);
    }
    place.train("predict runs/mnist bad.png").refused(&["by its name this is a PNG picture"]);
}

/// Writes the four files of a set of pictures of 28x28.
fn write_idx(folder: &Path, parts: [(&str, &[(Grey, u8)]); 2]) {
    fs::create_dir_all(folder).unwrap();
    for (part, rows) in parts {
        let count = (rows.len() as u32).to_be_bytes();
        let mut images = [&[0, 0, 8, 3], &count[..], &[0, 0, 0, 28, 0, 0, 0, 28]].concat();
        let mut labels = [&[0, 0, 8, 1], &count[..]].concat();
        for (grey, label) in rows {
            images.extend(&grey.values);
            labels.push(*label);
        }
        fs::write(folder.join(format!("{part}-images-idx3-ubyte")), images).unwrap();
        fs::write(folder.join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
    }
}

/// Dark strokes on bright paper, anywhere: a bar, a dash or a corner.
fn strokes(rows: usize) -> Vec<(Grey, u8)> {
    let stroke = |row: usize| {
        let [left, top, kind] = [6 + row * 7 % 6, 6 + row * 5 % 7, row % 3];
        let grey = Grey::new(28, 28, |x, y| {
            let is_bar = x.abs_diff(left + 2) < 2 && (top..top + 9).contains(&y);
            let is_dash = y.abs_diff(top + 2) < 2 && (left..left + 9).contains(&x);
            let is_ink = [is_bar, is_dash, is_bar || is_dash][kind];
            let noise = ((x * 31 + y * 17 + row * 13) % 9) as u8;
            if is_ink { 20 + noise } else { 240 + noise }
        });
        (grey, kind as u8)
    };
    (0..rows).map(stroke).collect()
}

#[test]
fn the_rows_of_a_set_of_ones_own_are_the_same_as_pictures() {
    let place = Place::new();
    let rows = strokes(360);
    let (train, test) = rows.split_at(300);
    write_idx(&place.path("own"), [("train", train), ("t10k", test)]);
    place
        .train("train --data idx:own --validation 30 --epochs 12 --name own -q --no-report")
        .succeeded();
    let raw = labels(&place, "runs/own own/t10k-images-idx3-ubyte");
    let right = raw.iter().zip(test).filter(|(found, (_, id))| **found == id.to_string()).count();
    assert!(right >= 54, "{right} of 60");
    let names = |kind: &str| (0..60).map(|i| format!(" {kind}-{i}.png")).collect::<String>();
    for (i, (grey, _)) in test.iter().enumerate() {
        grey.save(&place.path(&format!("paper-{i}.png")));
        grey.inverse().save(&place.path(&format!("chalk-{i}.png")));
    }
    assert_eq!(labels(&place, &format!("runs/own{}", names("paper"))), raw);
    assert_eq!(labels(&place, &format!("runs/own{}", names("chalk"))), raw);
    let said = does(&place, "predict runs/own paper-0.png chalk-0.png --json");
    assert_eq!(said.matches("inverted, for it was bright on dark").count(), 1, "{said}");
    let said = does(&place, "inspect runs/own");
    assert!(said.contains("ink dark-on-bright, placement as-is"), "{said}");
    // What is tuned on other pictures has theirs; what is merged of it, too.
    let tune = "finetune --from runs/own/model.safetensors --data mnist --epochs 1 --lora rank=1";
    does(&place, &format!("{tune} --name tuned -q --no-report --validation 59000"));
    let look = "ink bright-on-dark, placement mnist";
    assert!(does(&place, "inspect runs/tuned").contains(look));
    let adapter = "--adapter runs/tuned/adapter.safetensors";
    let base = "--base runs/tuned/base.safetensors";
    does(&place, &format!("finetune merge {base} {adapter} --to merged.safetensors -q"));
    assert!(does(&place, "inspect merged.safetensors").contains(look));
}

#[test]
fn what_a_model_does_not_say_of_its_pictures_is_asked_for() {
    let place = Place::new();
    place.train(&format!("train {DIGITS} --epochs 1 --name small -q --no-report")).succeeded();
    let file = fs::read(place.path("runs/small/model.safetensors")).unwrap();
    assert!(String::from_utf8_lossy(&file).contains("pictures"));
    Grey::new(9, 9, |x, _| if x == 4 { 0 } else { 255 }).save(&place.path("bar.png"));
    let weights = "import weights.safetensors --activation relu --preprocessing scale \
                   --task classification";
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    let bare = safetensors::serialize(tensors.tensors(), None).unwrap();
    fs::write(place.path("weights.safetensors"), bare).unwrap();
    let said = does(&place, &format!("finetune {weights} --to unsaid.safetensors"));
    assert!(said.contains("say it with --data, or with --ink and --placement"), "{said}");
    place
        .train("predict unsaid.safetensors bar.png")
        .refused(&["--ink bright-on-dark or dark-on-bright and --placement", "--fit resize"]);
    let ink = "predict unsaid.safetensors bar.png --ink bright-on-dark";
    place.train(ink).refused(&["say it with --placement mnist or as-is"]);
    for flags in ["--ink mixed --placement as-is", "--fit resize", "--fit invert"] {
        does(&place, &format!("predict unsaid.safetensors bar.png {flags}"));
    }
    // Numbers need no word of it.
    does(&place, "predict unsaid.safetensors digits/t10k-images-idx3-ubyte");
    let paper = "--ink dark-on-bright --placement as-is";
    does(&place, &format!("finetune {weights} {paper} --to said.safetensors -q"));
    assert!(
        does(&place, "inspect said.safetensors").contains("ink dark-on-bright, placement as-is")
    );
    does(&place, "predict said.safetensors bar.png");
    does(&place, &format!("finetune {weights} --data idx:digits --to data.safetensors -q"));
    let measured = does(&place, "inspect data.safetensors");
    assert!(measured.contains("pictures"), "{measured}");
    let contradicts =
        format!("finetune {weights} --to no.safetensors -q --ink mixed --placement box:2");
    place
        .train(&format!("{contradicts} --data idx:digits"))
        .refused(&["of --data", "leave one out"]);
    place.train(&contradicts.replace("box:2", "box:9")).refused(&["does not fit pictures of 4x4"]);
    place.train("predict said.safetensors bar.png --fit mnist --ink mixed").refused(&["--fit"]);
}

#[test]
fn a_stream_is_read_once_whatever_is_in_it() {
    let place = mnist();
    let data: Dataset = load(&Source::Mnist, &LoadOptions::default(), &mut |_| {}).unwrap().test;
    let Features::Bytes(pixels) = data.features() else { panic!("bytes") };
    let rows = 5_000_u32;
    let header = [&[0, 0, 8, 3][..], &rows.to_be_bytes(), &[0, 0, 0, 28, 0, 0, 0, 28]].concat();
    let idx = [&header[..], &pixels[..rows as usize * 784]].concat();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&idx).unwrap();
    let packed = gzip.finish().unwrap();
    fs::write(place.path("rows.idx"), &idx).unwrap();
    fs::write(place.path("rows.idx.gz"), &packed).unwrap();
    let plain = labels(place, "runs/mnist rows.idx");
    assert_eq!(plain.len(), rows as usize);
    assert_eq!(labels(place, "runs/mnist rows.idx.gz"), plain);
    let csv = "0,".repeat(783) + "9\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(csv.repeat(3).as_bytes()).unwrap();
    let table = gzip.finish().unwrap();
    for (input, count) in [(packed, rows as usize), (idx, rows as usize), (table, 3)] {
        let mut child = place
            .command("predict runs/mnist - --json")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), count);
    }
}

#[cfg(unix)]
#[test]
fn what_has_no_end_is_refused() {
    let place = mnist();
    place.train("predict runs/mnist /dev/zero").refused(&["/dev/zero"]);
    place.train("predict runs/mnist /dev/null").refused(&["no rows of numbers"]);
    place.train("predict runs/mnist runs").refused(&["this is a folder"]);
    let _socket = std::os::unix::net::UnixListener::bind(place.path("socket")).unwrap();
    place.train("predict runs/mnist socket").refused(&["socket"]);
    fs::write(place.path("page.pdf"), "%PDF-1.7\n").unwrap();
    place.train("predict runs/mnist page.pdf").refused(&["a PDF document", "save its page as PNG"]);
    fs::write(place.path("counted.csv"), "0,1,2\n").unwrap();
    let line = "predict runs/mnist counted.csv";
    place.train(line).refused(&["line 1", "the model takes 784"]);
}
