//! Dates and times written as text, in the Gregorian calendar.

use crate::named_enum;

named_enum! {
    /// The order of the parts of a date. They are separated by `-`, `/` or `.`, and the year has four
    /// digits.
    #[derive(Default)]
    pub enum DateFormat as "format of dates" {
        /// `2024-03-31`, as in ISO 8601.
        #[default]
        YearMonthDay = "year-month-day",
        /// `31.03.2024`.
        DayMonthYear = "day-month-year",
        /// `3/31/2024`.
        MonthDayYear = "month-day-year",
        /// `20240331`.
        Compact = "compact",
    }
}

/// A date with a time of day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Moment {
    /// Days since 1970-01-01.
    days: i64,
    /// Seconds since midnight.
    seconds: f64,
}

const SECONDS_OF_DAY: f64 = 86_400.0;

impl DateFormat {
    /// The formats in which every one of the texts can be read.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<Self> {
        let mut formats = Self::ALL.to_vec();
        for text in texts {
            formats.retain(|format| format.reads(text));
        }
        formats
    }

    /// Writes a date, and a time of day if it is not midnight, in ISO 8601: `2024-03-31 14:05:59.25`.
    /// Of dates without a year of four digits, the text is none that can be read.
    pub fn iso(days: i64, nanoseconds: u64) -> String {
        // Far beyond any date, and near enough to calculate with.
        let days = days.clamp(-(1 << 40), 1 << 40);
        let [year, month, day] = Moment { days, seconds: 0.0 }.date();
        let date = format!("{year:04}-{month:02}-{day:02}");
        if nanoseconds == 0 {
            return date;
        }
        let (seconds, fraction) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        let time = format!("{date} {hours:02}:{minutes:02}:{:02}", seconds % 60);
        if fraction == 0 {
            return time;
        }
        format!("{time}.{}", format!("{fraction:09}").trim_end_matches('0'))
    }

    /// Whether a text is a date in this format, with or without a time.
    pub fn reads(self, text: &str) -> bool {
        self.read(text).is_some()
    }

    /// Reads a date. A time may follow it behind `T` or a space, such as `14:05`, `14:05:59.25` or
    /// `2:05 PM`, and behind that an offset, such as `Z` or `+01:00`; it is turned into UTC.
    pub(super) fn read(self, text: &str) -> Option<Moment> {
        let text = text.trim();
        let end = text.find(['T', 't', ' ']).unwrap_or(text.len());
        let (date, time) = text.split_at_checked(end)?;
        let days = self.days(date)?;
        if time.is_empty() {
            return Some(Moment { days, seconds: 0.0 });
        }
        let seconds = seconds(time.get(1..)?.trim_start())?;
        // An offset may lead into another day.
        let carried = libm::floor(seconds / SECONDS_OF_DAY);
        Some(Moment { days: days + carried as i64, seconds: seconds - carried * SECONDS_OF_DAY })
    }

    /// The days from 1970-01-01 to a date.
    fn days(self, text: &str) -> Option<i64> {
        let (year, month, day) = if self == Self::Compact {
            if text.len() != 8 {
                return None;
            }
            (text.get(..4)?, text.get(4..6)?, text.get(6..)?)
        } else {
            let separator = text.chars().find(|&letter| matches!(letter, '-' | '/' | '.'))?;
            let mut parts = text.split(separator);
            let [first, second, third] = [parts.next()?, parts.next()?, parts.next()?];
            if parts.next().is_some() {
                return None;
            }
            match self {
                Self::YearMonthDay | Self::Compact => (first, second, third),
                Self::DayMonthYear => (third, second, first),
                Self::MonthDayYear => (third, first, second),
            }
        };
        let year = number(year, 4..=4)?;
        let (month, day) = (number(month, 1..=2)?, number(day, 1..=2)?);
        let is_a_day = (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
        is_a_day.then(|| days_to(year, month, day))
    }
}

impl Moment {
    /// Days since the beginning of 1970-01-01, with their fraction.
    pub(super) fn elapsed(self) -> f64 {
        self.days as f64 + self.seconds / SECONDS_OF_DAY
    }

    /// The fraction of the day that has passed, in `[0, 1)`.
    pub(super) fn time_of_day(self) -> f64 {
        self.seconds / SECONDS_OF_DAY
    }

    /// The day of the week, from 0 for Monday.
    pub(super) fn weekday(self) -> i64 {
        // 1970-01-01 was a Thursday.
        (self.days + 3).rem_euclid(7)
    }

    /// Year, month from 1 and day from 1.
    ///
    /// Source: H. Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
    pub(super) fn date(self) -> [i64; 3] {
        let shifted = self.days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        // Months from March, so that the day that leap years add comes last.
        let from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        [year_of_era + era * 400 + i64::from(month <= 2), month, day]
    }
}

/// The days from 1970-01-01 to a date.
///
/// Source: as of [`Moment::date`], `days_from_civil`.
fn days_to(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn days_of(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Seconds from midnight to a time of day, in UTC if the time has an offset.
fn seconds(text: &str) -> Option<f64> {
    let (time, offset) = match text.find(['Z', 'z', '+', '-']) {
        Some(place) => text.split_at_checked(place)?,
        None => (text, ""),
    };
    let offset = offset_of(offset)?;
    let (time, half) = half_of(time.trim_end());
    let mut parts = time.splitn(3, ':');
    let hours = number(parts.next()?, 1..=2)?;
    let minutes = number(parts.next()?, 2..=2)?;
    let seconds = parts.next().map_or(Some(0.0), whole_seconds)?;
    let hours = match half {
        None => hours,
        // 12 AM is midnight, and 12 PM noon.
        Some(half) if (1..=12).contains(&hours) => hours % 12 + 12 * half,
        Some(_) => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    Some((hours * 3600 + minutes * 60) as f64 + seconds - offset as f64)
}

/// A time without AM or PM, and 0 for AM and 1 for PM.
fn half_of(time: &str) -> (&str, Option<i64>) {
    for (mark, half) in [("am", 0), ("pm", 1)] {
        if let Some(place) = time.len().checked_sub(2)
            && time.get(place..).is_some_and(|end| end.eq_ignore_ascii_case(mark))
        {
            return (time[..place].trim_end(), Some(half));
        }
    }
    (time, None)
}

/// Seconds with or without a fraction, below 60.
fn whole_seconds(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let whole = number(whole, 2..=2).filter(|&whole| whole < 60)?;
    let is_digits = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let fraction = format!("0.{}", fraction.get(..fraction.len().min(9))?).parse::<f64>().ok()?;
    is_digits.then_some(whole as f64 + fraction)
}

/// The seconds of an offset from UTC: `Z`, `+01`, `+0130` or `-01:30`; 0 without an offset.
fn offset_of(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes() {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', ..] => (1, &text[1..]),
        [b'-', ..] => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = match digits.len() {
        2 => (digits, "00"),
        4 => (digits.get(..2)?, digits.get(2..)?),
        _ => digits.split_once(':')?,
    };
    let (hours, minutes) = (number(hours, 2..=2)?, number(minutes, 2..=2)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

/// A number of so many digits.
fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let is_number = digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_their_format() {
        let iso = DateFormat::YearMonthDay;
        for (format, text, days, seconds) in [
            (iso, "1970-01-01", 0, 0.0),
            (iso, "2024-02-29", 19_782, 0.0),
            (iso, "2024/3/1", 19_783, 0.0),
            (iso, "1900-03-01", -25_508, 0.0),
            (iso, " 2024-03-01T14:05 ", 19_783, 50_700.0),
            (iso, "2024-03-01 14:05:59.25", 19_783, 50_759.25),
            (iso, "2024-03-01T00:30Z", 19_783, 1800.0),
            (iso, "2024-03-01T00:30+01:00", 19_782, 84_600.0),
            (iso, "2024-03-01T23:30:00-0100", 19_784, 1800.0),
            (iso, "2024-03-01T23:30-01", 19_784, 1800.0),
            (DateFormat::DayMonthYear, "1.3.2024", 19_783, 0.0),
            (DateFormat::DayMonthYear, "29/02/2024", 19_782, 0.0),
            (DateFormat::MonthDayYear, "3/1/2024 2:05 PM", 19_783, 50_700.0),
            (DateFormat::MonthDayYear, "3/1/2024 12:05am", 19_783, 300.0),
            (DateFormat::Compact, "20240301", 19_783, 0.0),
            (DateFormat::Compact, "20240301T1:00", 19_783, 3600.0),
        ] {
            assert_eq!(format.read(text), Some(Moment { days, seconds }), "{text}");
        }
    }

    #[test]
    fn dates_are_written_as_they_are_read() {
        for text in ["2024-02-29", "1899-12-31", "0001-01-01 00:00:01", "2024-03-01 14:05:59.25"] {
            let Moment { days, seconds } = DateFormat::YearMonthDay.read(text).unwrap();
            assert_eq!(DateFormat::iso(days, (seconds * 1e9) as u64), text);
        }
        for days in [i64::MIN, i64::MAX, -800_000, 3_000_000] {
            assert!(!DateFormat::YearMonthDay.reads(&DateFormat::iso(days, 0)), "{days}");
        }
    }

    #[test]
    fn other_texts_are_no_dates() {
        let iso = DateFormat::YearMonthDay;
        for text in [
            "",
            "2024",
            "2024-03",
            "2024-13-01",
            "2024-02-30",
            "2023-02-29",
            "1900-02-29",
            "24-03-01",
            "2024-03-01-01",
            "2024-3/1",
            "2024-03-01T",
            "2024-03-01T25:00",
            "2024-03-01T12",
            "2024-03-01T12:60",
            "2024-03-01T12:00:60",
            "2024-03-01T12:00:1",
            "2024-03-01T12:00:00.",
            "2024-03-01T12:00:00.x",
            "2024-03-01T12:00+1",
            "2024-00-01",
            "2024-03-01T13:00 PM",
            "2024-03-01T12:00+24:00",
            "2024-03-0é",
            "+024-03-01",
            "é",
            "2024-03-01Té2:00",
            "2024-03-01T12:00+é1",
            "20240301",
        ] {
            assert_eq!(iso.read(text), None, "{text:?}");
        }
        assert_eq!(DateFormat::Compact.read("2024é01"), None);
        assert_eq!(DateFormat::Compact.read("202403010"), None);
    }

    #[test]
    fn parts_of_a_date_are_those_of_the_calendar() {
        // Every day of 800 years, from a year that leads two cycles of leap years.
        let mut expected = [1600, 1, 1];
        for days in days_to(1600, 1, 1)..days_to(2400, 1, 1) {
            let moment = Moment { days, seconds: 0.0 };
            assert_eq!(moment.date(), expected);
            let [year, month, day] = expected;
            assert_eq!(days_to(year, month, day), days);
            expected = if day < days_of(year, month) {
                [year, month, day + 1]
            } else if month < 12 {
                [year, month + 1, 1]
            } else {
                [year + 1, 1, 1]
            };
        }
        let friday = DateFormat::YearMonthDay.read("2024-03-01").unwrap();
        assert_eq!(friday.weekday(), 4);
    }

    #[test]
    fn formats_are_those_that_read_every_text() {
        let of = |texts: &[&str]| DateFormat::of(texts.iter().copied());
        assert_eq!(of(&["2024-03-01", "2024-12-31 10:00"]), [DateFormat::YearMonthDay]);
        assert_eq!(of(&["1/2/2024", "13/2/2024"]), [DateFormat::DayMonthYear]);
        let either = [DateFormat::DayMonthYear, DateFormat::MonthDayYear];
        assert_eq!(of(&["1/2/2024", "12/2/2024"]), either);
        assert!(of(&["2024-03-01", "1/2/2024"]).is_empty());
    }
}
