//! Numbers in few characters.

/// A whole number with its thousands set apart.
pub fn group(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things, such as `1 epoch` and `1,000 batches`; the noun is given for one of them.
pub fn counted(number: u64, noun: &str) -> String {
    let end = match number {
        1 => "",
        _ if noun.ends_with(['s', 'x', 'h']) && !noun.ends_with("epoch") => "es",
        _ => "s",
    };
    format!("{} {noun}{end}", group(number))
}

/// A number rounded to three significant digits, and to a whole one, with its thousands set apart.
pub fn thousands(number: f64) -> String {
    let unit = 10f64.powf((number.max(1.0).log10().floor() - 2.0).max(0.0));
    group((number / unit).round() as u64 * unit as u64)
}

/// A number with four decimals, or with four digits and an exponent where decimals would show too
/// little of it or too much.
pub fn short(number: f64) -> String {
    match number.abs() {
        0.01..1e5 => format!("{number:.4}"),
        0.0 => "0".to_owned(),
        _ => format!("{number:.3e}"),
    }
}

/// A number with five decimals, or with five digits and an exponent where decimals would show too
/// little of it.
pub fn decimal(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        format!("{number:.5}")
    } else {
        format!("{number:.4e}")
    }
}

/// A time in seconds: `4.9 s`, `12 s`, `3 min 20 s`, `2 h 05 min`; `?` if it is not finite.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "?".to_owned();
    }
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    match seconds.round() as u64 {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min {:02} s", s / 60, s % 60),
        s => format!("{} h {:02} min", s / 3600, s % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_speeds_rounded() {
        assert_eq!(group(0), "0");
        assert_eq!(group(999), "999");
        assert_eq!(group(55_000), "55,000");
        assert_eq!(group(1_234_567), "1,234,567");
        assert_eq!(thousands(18_437.2), "18,400");
        assert_eq!(thousands(3.4), "3");
        assert_eq!(thousands(0.0), "0");
    }

    #[test]
    fn small_and_large_numbers_keep_their_digits() {
        for (number, five, four) in [
            (0.0, "0.00000", "0"),
            (0.123_456_7, "0.12346", "0.1235"),
            (-7.6e-6, "-7.6000e-6", "-7.600e-6"),
            (1.5e9, "1.5000e9", "1.500e9"),
        ] {
            assert_eq!(decimal(number), five);
            assert_eq!(short(number), four);
        }
    }

    #[test]
    fn times_are_short() {
        for (seconds, text) in [
            (4.94, "4.9 s"),
            (9.96, "10 s"),
            (61.0, "1 min 01 s"),
            (7260.0, "2 h 01 min"),
            (f64::INFINITY, "?"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn one_thing_is_singular() {
        let found = [(0, "row"), (1, "epoch"), (2, "epoch"), (1, "class"), (1000, "batch")];
        let found = found.map(|(number, noun)| counted(number, noun));
        assert_eq!(found, ["0 rows", "1 epoch", "2 epochs", "1 class", "1,000 batches"]);
    }
}
