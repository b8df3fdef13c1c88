//! The text of a report as it grows.

/// Lines under headings.
#[derive(Debug, Default)]
pub(super) struct Page {
    out: String,
}

impl Page {
    /// A heading.
    pub(super) fn head(&mut self, title: &str) {
        self.out.push_str(&format!("\n== {title}\n"));
    }

    /// A line by itself.
    pub(super) fn line(&mut self, text: impl AsRef<str>) {
        self.out.push_str(text.as_ref());
        self.out.push('\n');
    }

    /// A name and its value.
    pub(super) fn row(&mut self, name: &str, value: impl std::fmt::Display) {
        self.line(format!("{name}: {value}"));
    }

    /// The same below a line.
    pub(super) fn under(&mut self, name: &str, value: impl std::fmt::Display) {
        self.line(format!("    {name}: {value}"));
    }

    pub(super) fn finish(self) -> String {
        self.out
    }
}

/// `yes` or `no`.
pub(super) const fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

/// A value, or `-`.
pub(super) fn or_dash<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
