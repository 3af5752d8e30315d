//! Medians and quartiles, and tables in Markdown.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use crate::subject;

/// The document with all figures.
pub const DOCUMENT: &str = "docs/performance.md";

/// The measurements of one quantity.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds a time, in milliseconds.
    pub fn add(&mut self, time: Duration) {
        self.add_number(time.as_secs_f64() * 1e3);
    }

    /// Adds a number.
    pub fn add_number(&mut self, number: f64) {
        self.0.push(number);
        self.0.sort_by(f64::total_cmp);
    }

    /// Returns the quantile for `fraction`, or `None` without measurements.
    #[must_use]
    pub fn quantile(&self, fraction: f64) -> Option<f64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index among some dozens of measurements"
        )]
        let index = (fraction * self.0.len().saturating_sub(1) as f64).round() as usize;
        self.0.get(index).copied()
    }

    /// Returns the median.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        self.quantile(0.5)
    }

    /// Formats the median and, in brackets, the quartiles. Returns a dash without measurements.
    #[must_use]
    pub fn cell(&self) -> String {
        let all = (self.median(), self.quantile(0.25), self.quantile(0.75));
        let (Some(median), Some(low), Some(high)) = all else {
            return "–".to_owned();
        };
        let (low, median, high) = (number(low), number(median), number(high));
        if low == high {
            return median;
        }
        format!("{median} [{low}, {high}]")
    }
}

/// Formats `a` in multiples of `b`. Returns a dash if one of them is missing.
#[must_use]
pub fn ratio(a: Option<f64>, b: Option<f64>) -> String {
    match (a, b) {
        (Some(a), Some(b)) if b > 0.0 => format!("{} ×", number(a / b)),
        _ => "–".to_owned(),
    }
}

/// Formats a number with three significant digits.
#[must_use]
pub fn number(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_owned(),
        ..10.0 if number.fract() != 0.0 => format!("{number:.2}"),
        ..100.0 if number.fract() != 0.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

/// Formats a table in Markdown.
#[must_use]
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = format!(
        "| {} |\n|{}\n",
        head.join(" | "),
        " --- |".repeat(head.len())
    );
    for row in rows {
        let _ = writeln!(table, "| {} |", row.join(" | "));
    }
    table
}

/// Prints a report.
#[expect(clippy::print_stdout, reason = "the output is for the user")]
pub fn print(report: &str) {
    println!("{report}");
}

/// Writes a report to `document`, a file of this repository, between the two comments that name `section`.
///
/// # Panics
/// Panics if the document does not contain these comments.
pub fn write(document: &str, section: &str, report: &str) {
    let path = subject::root().join(document);
    let old = fs::read_to_string(&path).expect("the document");
    let (start, end) = (
        format!("<!-- {section}: begin -->\n"),
        format!("<!-- {section}: end -->"),
    );
    let (before, rest) = old.split_once(&start).expect("the start of the section");
    let (_, after) = rest.split_once(&end).expect("the end of the section");
    let new = format!("{before}{start}\n{}\n\n{end}{after}", report.trim());
    fs::write(path, new).expect("the document");
}
