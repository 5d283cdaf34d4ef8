//! The day that templates take for today: fixed in the plan, so that a run can be repeated.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A day of the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date {
    year: i64,
    month: u32,
    day: u32,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// The first of January 1970 was a Thursday.
const WEEKDAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

impl Default for Date {
    /// The first of January 1970.
    fn default() -> Self {
        Self::from_days(0)
    }
}

impl Date {
    /// The day that is `days` after the first of January 1970.
    ///
    /// # Source
    /// H. Hinnant, `chrono`-Compatible Low-Level Date Algorithms, `civil_from_days`.
    pub fn from_days(days: i64) -> Self {
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * of_year + 2) / 153;
        let day = (of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 } as u32;
        Self { year: year_of_era + era * 400 + i64::from(month <= 2), month, day }
    }

    /// Days after the first of January 1970.
    fn days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let shifted_month = i64::from((self.month + 9) % 12);
        let of_year = (153 * shifted_month + 2) / 5 + i64::from(self.day) - 1;
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
    }

    fn day_of_year(self) -> i64 {
        self.days() - Self { month: 1, day: 1, ..self }.days() + 1
    }

    /// The day as `strftime` writes it in the C locale, at midnight.
    ///
    /// # Errors
    /// Names a directive that is not known.
    pub fn format(self, format: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            let directive = &rest[at + 1..];
            let (bare, directive) = match directive.strip_prefix('-') {
                Some(directive) => (true, directive),
                None => (false, directive),
            };
            let mut chars = directive.chars();
            let written = chars.next().and_then(|c| self.directive(c));
            let Some(written) = written else {
                return Err(format!("strftime_now: `{}` is not known", &rest[at..]));
            };
            let digits = written.trim_start_matches('0');
            out.push_str(if !bare {
                &written
            } else if digits.is_empty() {
                "0"
            } else {
                digits
            });
            rest = chars.as_str();
        }
        out.push_str(rest);
        Ok(out)
    }

    fn directive(self, directive: char) -> Option<String> {
        let Self { year, month, day } = self;
        let month_name = MONTHS[month as usize - 1];
        let weekday = self.days().rem_euclid(7) as usize;
        let weekday_name = WEEKDAYS[weekday];
        Some(match directive {
            'Y' => year.to_string(),
            'y' => format!("{:02}", year.rem_euclid(100)),
            'm' => format!("{month:02}"),
            'd' => format!("{day:02}"),
            'e' => format!("{day:2}"),
            'B' => month_name.into(),
            'b' | 'h' => month_name[..3].into(),
            'A' => weekday_name.into(),
            'a' => weekday_name[..3].into(),
            // Sunday is 0.
            'w' => ((weekday + 4) % 7).to_string(),
            'u' => ((weekday + 3) % 7 + 1).to_string(),
            'j' => format!("{:03}", self.day_of_year()),
            'H' | 'M' | 'S' => "00".into(),
            'I' => "12".into(),
            'p' => "AM".into(),
            'F' => format!("{year}-{month:02}-{day:02}"),
            'D' => format!("{month:02}/{day:02}/{:02}", year.rem_euclid(100)),
            'T' => "00:00:00".into(),
            'R' => "00:00".into(),
            'Z' | 'z' => String::new(),
            '%' => "%".into(),
            _ => return None,
        })
    }
}

impl std::fmt::Display for Date {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected a day as YYYY-MM-DD, found {text:?}");
        let digits = |part: &str, n: usize| part.len() == n && part.bytes().all(|b| b.is_ascii_digit());
        let parts: Vec<&str> = text.split('-').collect();
        let [year, month, day] = parts.as_slice() else { return Err(wrong()) };
        if !(digits(year, 4) && digits(month, 2) && digits(day, 2)) {
            return Err(wrong());
        }
        let number = |part: &str| part.parse::<u32>().map_err(|_| wrong());
        let (year, month, day) = (i64::from(number(year)?), number(month)?, number(day)?);
        if !(1..=12).contains(&month) || day == 0 {
            return Err(wrong());
        }
        let date = Self { year, month, day };
        // A day that the month does not have would come back as one of the next month.
        if Self::from_days(date.days()) == date { Ok(date) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for Date {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Date> for String {
    fn from(date: Date) -> Self {
        date.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_a_thousand_years_comes_back_and_follows_the_one_before() {
        let mut before = Date::from_days(-200_000);
        for days in -199_999..200_000 {
            let date = Date::from_days(days);
            assert_eq!(date.days(), days);
            let follows = (date.year, date.month, date.day) > (before.year, before.month, before.day);
            assert!(follows, "{date} after {before}");
            before = date;
        }
        assert_eq!(Date::from_days(20_781).to_string(), "2026-11-24");
    }

    #[test]
    fn formats_as_strftime() {
        let date: Date = "2024-02-09".parse().unwrap();
        let written = date.format("%d %b %Y|%A, %-d %B %y|%a %w %u %j|%F %T %p %%|%e").unwrap();
        assert_eq!(written, "09 Feb 2024|Friday, 9 February 24|Fri 5 5 040|2024-02-09 00:00:00 AM %| 9");
        assert!(date.format("%d %q").unwrap_err().contains("%q"));
    }

    #[test]
    fn days_that_are_none_are_refused() {
        for wrong in
            ["", "2024", "2024-2-9", "2024-13-01", "2023-02-29", "2024-00-10", "2024-04-31", "+024-01-01"]
        {
            assert!(wrong.parse::<Date>().is_err(), "{wrong}");
        }
        assert!("2024-02-29".parse::<Date>().is_ok());
    }
}
