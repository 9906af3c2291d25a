//! Dates of tables.

mod calendar;

use serde::{Deserialize, Serialize};

use self::calendar::Moment;
use super::number::{Moments, NumberScaling};
use super::{InputError, Value, ValueProblem};

pub use calendar::DateFormat;

/// A date, or a date with a time, as the [parts](DatePart) that differ among the training rows; all
/// are 0 where it is missing.
///
/// Month, weekday and hour are cyclic: sine and cosine place December beside January. Days since 1970
/// hold the trend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Date {
    /// How the texts are written.
    pub format: DateFormat,
    /// The parts that the network sees, at least one and each once.
    pub parts: Vec<DatePart>,
    /// True if it may be missing: then a further number is 1 where it is, and else 0.
    pub missing: bool,
}

/// A part of a date, with the mean and the deviation of the training rows if it is standardised.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "kebab-case", deny_unknown_fields)]
pub enum DatePart {
    /// Days since 1970-01-01, with the fraction of the day, standardised.
    Days {
        /// Their mean.
        mean: f64,
        /// Their standard deviation.
        deviation: f64,
    },
    /// The year, standardised.
    Year {
        /// Its mean.
        mean: f64,
        /// Its standard deviation.
        deviation: f64,
    },
    /// Sine and cosine of the month, of which twelve are a circle.
    #[serde(deserialize_with = "crate::strict::no_fields")]
    Month,
    /// The day of the month, standardised.
    Day {
        /// Its mean.
        mean: f64,
        /// Its standard deviation.
        deviation: f64,
    },
    /// Sine and cosine of the day of the week, from Monday at 0; a week is a circle.
    #[serde(deserialize_with = "crate::strict::no_fields")]
    Weekday,
    /// Sine and cosine of the time of day, with its minutes and seconds; a day is a circle.
    #[serde(deserialize_with = "crate::strict::no_fields")]
    Hour,
}

impl Date {
    /// Fits the parts to the training rows. Texts that are no dates in this format are left out;
    /// encoding them is an error.
    pub fn fit<'a>(format: DateFormat, values: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let mut fit = DateFit::new(format);
        values.into_iter().for_each(|value| fit.add(value));
        fit.finish()
    }
}

/// The parts of dates that are being fitted, one date at a time.
#[derive(Clone, Debug)]
pub struct DateFit {
    format: DateFormat,
    /// One for each part; cyclic ones are only asked whether they vary.
    moments: [Moments; 6],
    missing: bool,
}

impl DateFit {
    /// A fit without dates.
    pub fn new(format: DateFormat) -> Self {
        Self { format, moments: [Moments::default(); 6], missing: false }
    }

    /// Adds the text of a row; one that is no date is left out.
    pub fn add(&mut self, text: Option<&str>) {
        let Some(text) = text else {
            self.missing = true;
            return;
        };
        if let Some(moment) = self.format.read(text) {
            let parts = self.moments.iter_mut().zip(raw_parts(moment));
            parts.for_each(|(part, raw)| part.add(raw));
        }
    }

    /// Returns the fitted date.
    pub fn finish(self) -> Date {
        let Self { format, moments, missing } = self;
        let [days, year, month, day, weekday, hour] = moments.map(Moments::mean_and_deviation);
        let (mean, deviation) = days;
        let days = DatePart::Days { mean, deviation };
        let varying = [
            (year.1, DatePart::Year { mean: year.0, deviation: year.1 }),
            (month.1, DatePart::Month),
            (day.1, DatePart::Day { mean: day.0, deviation: day.1 }),
            (weekday.1, DatePart::Weekday),
            (hour.1, DatePart::Hour),
        ];
        let varying = varying.into_iter().filter(|(deviation, _)| *deviation > 0.0);
        let parts = [days].into_iter().chain(varying.map(|(_, part)| part)).collect();
        Date { format, parts, missing }
    }
}

impl Date {
    /// Numbers that the network sees of it.
    pub(super) fn width(&self) -> usize {
        self.parts.iter().map(|part| part.width()).sum::<usize>() + usize::from(self.missing)
    }

    pub(super) fn encode(&self, value: Value<'_>, into: &mut [f32]) -> Result<(), ValueProblem> {
        let expected = match self.format {
            DateFormat::YearMonthDay => "a date such as 2024-03-31",
            DateFormat::DayMonthYear => "a date such as 31.03.2024",
            DateFormat::MonthDayYear => "a date such as 03/31/2024",
            DateFormat::Compact => "a date such as 20240331",
        };
        into.fill(0.0);
        let moment = match value {
            Value::Text(text) => self.format.read(text),
            Value::Missing if self.missing => {
                into[self.width() - 1] = 1.0;
                return Ok(());
            }
            _ => None,
        };
        let moment = moment.ok_or_else(|| ValueProblem::of(value, expected))?;
        let mut left = into;
        for part in &self.parts {
            let (room, rest) = left.split_at_mut(part.width());
            part.encode(moment, room);
            left = rest;
        }
        Ok(())
    }

    pub(super) fn validate(&self, field: &str) -> Result<(), InputError> {
        let places = self.parts.iter().map(|part| part.place());
        let mut seen = [false; 6];
        let is_twice = places.into_iter().any(|place| std::mem::replace(&mut seen[place], true));
        if self.parts.is_empty() || is_twice {
            return Err(InputError::DateParts { field: field.to_owned() });
        }
        self.parts.iter().filter_map(DatePart::scaling).try_for_each(|part| part.validate(field))
    }
}

/// The parts of a date as numbers, in the order of [`DatePart`].
fn raw_parts(moment: Moment) -> [f64; 6] {
    let [year, month, day] = moment.date().map(|part| part as f64);
    [moment.elapsed(), year, month, day, moment.weekday() as f64, moment.time_of_day()]
}

impl DatePart {
    fn width(&self) -> usize {
        if self.period().is_some() { 2 } else { 1 }
    }

    /// Its place among the [raw parts](raw_parts).
    fn place(&self) -> usize {
        match self {
            Self::Days { .. } => 0,
            Self::Year { .. } => 1,
            Self::Month => 2,
            Self::Day { .. } => 3,
            Self::Weekday => 4,
            Self::Hour => 5,
        }
    }

    /// The length of the circle, and where it begins, of a cyclic part.
    fn period(&self) -> Option<(f64, f64)> {
        match self {
            Self::Month => Some((12.0, 1.0)),
            Self::Weekday => Some((7.0, 0.0)),
            // A time of day is a share of the day.
            Self::Hour => Some((1.0, 0.0)),
            Self::Days { .. } | Self::Year { .. } | Self::Day { .. } => None,
        }
    }

    /// The scaling of a part that is standardised.
    fn scaling(&self) -> Option<NumberScaling> {
        match *self {
            Self::Days { mean, deviation }
            | Self::Year { mean, deviation }
            | Self::Day { mean, deviation } => Some(NumberScaling::Standardize { mean, deviation }),
            Self::Month | Self::Weekday | Self::Hour => None,
        }
    }

    fn encode(&self, moment: Moment, into: &mut [f32]) {
        let raw = raw_parts(moment)[self.place()];
        if let Some((period, start)) = self.period() {
            let (sine, cosine) = libm::sincos(std::f64::consts::TAU * (raw - start) / period);
            into.copy_from_slice(&[sine as f32, cosine as f32]);
        }
        if let Some(scaling) = self.scaling() {
            scaling.apply(raw, into);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(date: &Date, value: Value<'_>) -> Result<Vec<f32>, ValueProblem> {
        let mut into = vec![f32::NAN; date.width()];
        date.encode(value, &mut into).map(|()| into)
    }

    #[test]
    fn parts_that_do_not_vary_are_left_out() {
        let iso = DateFormat::YearMonthDay;
        let days = Date::fit(iso, [Some("2024-03-01"), Some("2024-03-03")]);
        let names: Vec<usize> = days.parts.iter().map(DatePart::place).collect();
        assert_eq!(names, [0, 3, 4], "{days:?}");
        // 1 March 2024 was a Friday: days, day of the month, sine and cosine of the weekday.
        let angle = std::f64::consts::TAU * 4.0 / 7.0;
        let expected = [-1.0, -1.0, angle.sin() as f32, angle.cos() as f32];
        assert_eq!(encoded(&days, Value::Text("2024-03-01")).unwrap(), expected);
        let constant = Date::fit(iso, [Some("2024-03-01")]);
        assert_eq!(encoded(&constant, Value::Text("1999-01-01")).unwrap(), [0.0]);
        assert_eq!(Date::fit(iso, []).width(), 1);
    }

    #[test]
    fn cyclic_parts_meet_at_their_ends() {
        let texts = ["2023-12-31T23:59", "2024-01-01T00:00", "2024-07-03T12:00"];
        let date = Date::fit(DateFormat::YearMonthDay, texts.map(Some));
        assert_eq!(date.width(), 1 + 1 + 2 + 1 + 2 + 2);
        let [before, after, far] = texts.map(|text| encoded(&date, Value::Text(text)).unwrap());
        let distance = |a: &[f32], b: &[f32], at: usize| {
            f64::from(a[at] - b[at]).hypot(f64::from(a[at + 1] - b[at + 1]))
        };
        for (at, near) in [(2, 0.53), (5, 0.88), (7, 0.01)] {
            let ends = distance(&before, &after, at);
            assert!(ends < near && distance(&after, &far, at) > near, "{at} {ends}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        let date = Date::fit(DateFormat::DayMonthYear, [Some("1.2.2024"), Some("odd"), None]);
        assert!(date.missing);
        assert_eq!(encoded(&date, Value::Missing).unwrap(), [0.0, 1.0]);
        for value in [Value::Text("2024-02-01"), Value::Number(1.0)] {
            let problem = encoded(&date, value).unwrap_err().to_string();
            assert!(problem.contains("expects a date such as 31.03.2024"), "{problem}");
        }
        let present = Date::fit(DateFormat::DayMonthYear, [Some("1.2.2024")]);
        let problem = encoded(&present, Value::Missing).unwrap_err();
        assert!(matches!(problem, ValueProblem::Missing { .. }), "{problem}");
    }

    #[test]
    fn impossible_dates_are_refused() {
        let format = DateFormat::YearMonthDay;
        let days = DatePart::Days { mean: 0.0, deviation: -1.0 };
        for parts in [vec![], vec![days], vec![DatePart::Hour, DatePart::Hour]] {
            assert!(Date { format, parts, missing: false }.validate("d").is_err());
        }
        let text =
            r#"{"format":"year-month-day","parts":[{"part":"hour","mean":1.0}],"missing":true}"#;
        assert!(serde_json::from_str::<Date>(text).is_err());
    }
}
