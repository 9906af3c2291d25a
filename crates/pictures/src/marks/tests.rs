use super::*;

/// Whether there is ink at a column and a row.
type Shape<'a> = dyn Fn(usize, usize) -> bool + 'a;

fn drawn(is_ink: impl Fn(usize, usize) -> bool) -> Grey {
    let (width, height) = (100, 120);
    let values =
        (0..width * height).map(|at| f32::from(u8::from(is_ink(at % width, at / width)))).collect();
    Grey { width, height, values }
}

fn is_seven(x: usize, y: usize) -> bool {
    let bar = (35..65).contains(&x) && (40..45).contains(&y);
    let stem = (45..85).contains(&y) && (x + y / 2).abs_diff(84) < 4;
    bar || stem
}

/// Whether a pixel lies on the outline of a box, so thick.
fn is_outline(x: usize, y: usize, [left, top, right, bottom]: [usize; 4], thick: usize) -> bool {
    let is_in =
        |by: usize| (left + by..right - by).contains(&x) && (top + by..bottom - by).contains(&y);
    is_in(0) && !is_in(thick)
}

#[test]
fn what_surrounds_a_character_is_left_out() {
    let alone = marks(&drawn(is_seven)).unwrap();
    assert!(alone.done.is_empty(), "{:?}", alone.done);
    let surroundings: [(&str, &Shape<'_>); 7] = [
        ("box", &|x, y| is_outline(x, y, [10, 10, 90, 110], 3)),
        ("box with a gap", &|x, y| {
            is_outline(x, y, [10, 10, 90, 110], 3) && (y > 60 || x.abs_diff(50) > 6)
        }),
        ("frame at the edge", &|x, y| is_outline(x, y, [0, 0, 100, 120], 6)),
        ("edge of a scan", &|x, _| x < 12),
        ("corner of a scan", &|x, y| x < 9 || y > 108),
        ("line below", &|_, y| (100..103).contains(&y)),
        ("ruled paper", &|_, y| y % 30 < 2),
    ];
    for (name, is_around) in surroundings {
        let found = marks(&drawn(|x, y| is_seven(x, y) || is_around(x, y))).unwrap();
        let wrong = found.ink.values.iter().zip(&alone.ink.values);
        let wrong = wrong.filter(|(a, b)| (*a - *b).abs() > 0.5).count();
        assert!(wrong < 30, "{name}: {wrong} pixels, {:?}", found.done);
        assert!(!found.done.is_empty(), "{name}");
    }
}

#[test]
fn a_character_is_not_its_own_surroundings() {
    let is_zero = |x: usize, y: usize| {
        let [dx, dy] = [x as f32 / 50.0 - 1.0, y as f32 / 60.0 - 1.0];
        (0.6..1.0).contains(&(dx * dx + dy * dy))
    };
    let shapes: [(&str, &Shape<'_>); 6] = [
        ("zero", &is_zero),
        ("zero with a dot", &|x, y| is_zero(x, y) || x.abs_diff(50).max(y.abs_diff(60)) < 5),
        ("one from edge to edge", &|x, _| x.abs_diff(50) < 5),
        ("one with a foot", &|x, y| x.abs_diff(50) < 5 || (y > 112 && x.abs_diff(50) < 30)),
        ("seven from edge to edge", &|x, y| y < 8 || (x + y / 2).abs_diff(95) < 6),
        ("five in two strokes", &|x, y| {
            (x > 55 && x < 95 && y < 6)
                || (x.abs_diff(40) < 4 && y < 60)
                || (y.abs_diff(60) < 4 && (40..80).contains(&x))
        }),
    ];
    for (name, is_ink) in shapes {
        let found = marks(&drawn(is_ink)).unwrap();
        let lost =
            (0..12_000).filter(|&at| is_ink(at % 100, at / 100) && found.ink.values[at] < 0.5);
        let lost = lost.count();
        assert!(lost < 110, "{name}: {lost} pixels, {:?}", found.done);
    }
}
