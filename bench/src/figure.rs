//! One measured figure and the bar that it has to reach.
//!
//! Invariant: a figure is one line of JSON, `{"name","value","unit","bar","ok"}`; one without a bar is always `ok`.

use serde::Serialize;

/// What a figure has to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bar {
    /// The value itself, or more.
    AtLeast(f64),
    /// The value itself, or less.
    AtMost(f64),
}

/// A figure as it is printed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// `bench.what`, for instance `keyed-count.ratio`.
    pub name: String,
    /// In `unit`.
    pub value: f64,
    /// For instance `records/s`, `ratio`, `ms`, `MB`.
    pub unit: String,
    /// For instance `>= 2.5`; none where the figure only informs.
    pub bar: Option<String>,
    /// Whether the bar is reached.
    pub ok: bool,
}

impl Figure {
    /// A figure that only informs.
    pub fn new(name: impl Into<String>, value: f64, unit: &str) -> Figure {
        Figure {
            name: name.into(),
            value: rounded(value),
            unit: unit.to_owned(),
            bar: None,
            ok: true,
        }
    }

    /// The same with a bar. A value that is no number reaches none.
    #[must_use]
    pub fn with_bar(mut self, bar: Bar) -> Figure {
        let (text, ok) = match bar {
            Bar::AtLeast(least) => (format!(">= {least}"), self.value >= least),
            Bar::AtMost(most) => (format!("<= {most}"), self.value <= most),
        };
        self.bar = Some(text);
        self.ok = ok;
        self
    }

    /// The figure as one line of JSON.
    pub fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }
}

/// To four significant digits: more is noise.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10f64.powi(3 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_one_line_of_json_with_its_bar() {
        let figure = Figure::new("keyed-count.ratio", 2.61234, "ratio").with_bar(Bar::AtLeast(2.5));
        assert_eq!(
            figure.line(),
            r#"{"name":"keyed-count.ratio","value":2.612,"unit":"ratio","bar":">= 2.5","ok":true}"#
        );
        assert!(figure.bar.is_some());
    }

    #[test]
    fn a_bar_is_reached_at_its_own_value_and_never_by_what_is_no_number() {
        assert!(Figure::new("a", 100.0, "ms").with_bar(Bar::AtMost(100.0)).ok);
        assert!(!Figure::new("a", 100.1, "ms").with_bar(Bar::AtMost(100.0)).ok);
        assert!(Figure::new("a", 0.6, "ratio").with_bar(Bar::AtLeast(0.6)).ok);
        assert!(!Figure::new("a", f64::NAN, "ratio").with_bar(Bar::AtLeast(0.6)).ok);
    }
}
