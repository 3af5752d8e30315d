//! Medians and quartiles, and tables in Markdown that a document takes up as they are.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use crate::subject;

/// Where all figures are.
pub const DOCUMENT: &str = "docs/performance.md";

/// So many measurements of one thing.
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

    /// The value that so large a part of the measurements does not exceed; none without any.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<f64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index among some dozens of measurements"
        )]
        let index = (part * self.0.len().saturating_sub(1) as f64).round() as usize;
        self.0.get(index).copied()
    }

    /// The median.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        self.quantile(0.5)
    }

    /// The median and, in brackets, the quartiles; a dash without measurements.
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

/// `a` in multiples of `b`; a dash if one is not there.
#[must_use]
pub fn ratio(a: Option<f64>, b: Option<f64>) -> String {
    match (a, b) {
        (Some(a), Some(b)) if b > 0.0 => format!("{} ×", number(a / b)),
        _ => "–".to_owned(),
    }
}

/// Three digits that matter.
#[must_use]
pub fn number(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_owned(),
        ..10.0 if number.fract() != 0.0 => format!("{number:.2}"),
        ..100.0 if number.fract() != 0.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

/// A table in Markdown.
#[must_use]
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!(
        "| {} |\n|{}\n",
        head.join(" | "),
        " --- |".repeat(head.len())
    );
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

/// Prints what was measured.
#[expect(clippy::print_stdout, reason = "it is there to be read")]
pub fn print(text: &str) {
    println!("{text}");
}

/// Puts what was measured into `document`, a file of this repository, between the two comments that name this `part`.
///
/// # Panics
/// If the document lacks those comments.
pub fn write(document: &str, part: &str, text: &str) {
    let path = subject::root().join(document);
    let old = fs::read_to_string(&path).expect("the document");
    let (from, to) = (
        format!("<!-- {part}: begin -->\n"),
        format!("<!-- {part}: end -->"),
    );
    let (before, rest) = old.split_once(&from).expect("the part's beginning");
    let (_, after) = rest.split_once(&to).expect("the part's end");
    let new = format!("{before}{from}\n{}\n\n{to}{after}", text.trim());
    fs::write(path, new).expect("the document");
}
