//! Faults of a configuration, and how they are shown.
//!
//! A [`Fault`] has a place in the file, what was found, and what to write instead. Neither its message nor the
//! excerpt of the file contains a secret: only values that can't be one are quoted.
//!
//! Not here: finding the faults, which the readers of the sections do.

use std::fmt;

/// An error or a warning about a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1; 0 for a fault of the whole file.
    pub line: u64,
    /// The column in characters, from 1; 0 for a fault of the whole file.
    pub column: u64,
    /// The path of the key, such as `organizations[0].credential.client_id`; empty for a fault of the whole file.
    pub path: String,
    /// What was found, and what to write instead.
    pub message: String,
    /// Whether the configuration can be served nevertheless.
    pub severity: Severity,
    /// Whether the line may be shown; set only if its content is known not to be a secret.
    pub(super) quotable: bool,
}

/// The severity of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is served, and the fault is shown.
    Warning,
}

/// The faults of a configuration, in the order of lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Faults {
    file_name: String,
    faults: Vec<Fault>,
}

impl Fault {
    /// A fault of the file as a whole.
    #[must_use]
    pub fn of_file(message: impl Into<String>) -> Self {
        Self {
            line: 0,
            column: 0,
            path: String::new(),
            message: message.into(),
            severity: Severity::Error,
            quotable: false,
        }
    }

    /// The fault as one line that begins with its place in the file.
    #[must_use]
    pub fn render(&self, file_name: &str) -> String {
        let place = match self.line {
            0 => String::new(),
            line => format!(":{line}:{}", self.column),
        };
        let severity = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        let separator = if self.path.is_empty() { "" } else { ": " };
        format!("{file_name}{place}: {severity}{}{separator}{}", self.path, self.message)
    }

    /// The line of the source with a caret under the fault; `None` if the line may hold a secret.
    fn excerpt(&self, source: &str) -> Option<String> {
        let index = usize::try_from(self.line).ok()?.checked_sub(1)?;
        // Comments are not shown, because they may hold anything.
        let line = source.lines().nth(index).map(|line| line.split(" #").next().unwrap_or(line).trim_end());
        let line = line.filter(|line| self.quotable && self.stands_alone(line))?;
        let width = self.line.to_string().len();
        let caret = usize::try_from(self.column).ok()?;
        Some(format!("{:width$} |\n{} | {line}\n{:width$} | {:>caret$}", "", self.line, "", "^"))
    }

    /// Whether the line has nothing but the key and value of this fault. A line that begins with another key, has
    /// a second one, or contains a word such as `secret` may hold a secret.
    fn stands_alone(&self, line: &str) -> bool {
        let key = self.path.rsplit('.').next().unwrap_or_default();
        let own = line.trim_start_matches([' ', '-']).strip_prefix(key);
        let lower = line.to_ascii_lowercase();
        own.is_some_and(|rest| rest.starts_with(':') && !rest.contains([',', '{', '}']))
            && ["secret", "key:", "credential", "password", "token:"].iter().all(|word| !lower.contains(word))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.render("configuration"))
    }
}

impl Faults {
    /// The faults of a file, sorted by line and column.
    #[must_use]
    pub fn new(file_name: &str, mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| (fault.line, fault.column));
        Self { file_name: file_name.to_owned(), faults }
    }

    /// The faults, in the order of lines.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.faults.iter()
    }

    /// The faults, in the order of lines.
    #[must_use]
    pub fn into_vec(self) -> Vec<Fault> {
        self.faults
    }

    /// All faults, each with its source line if that can't hold a secret.
    #[must_use]
    pub fn render_with_source(&self, source: &str) -> String {
        let mut text = String::new();
        for fault in &self.faults {
            text.push_str(&fault.render(&self.file_name));
            text.push('\n');
            if let Some(excerpt) = fault.excerpt(source) {
                text.push_str(&excerpt);
                text.push('\n');
            }
        }
        text
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            formatter.write_str(&fault.render(&self.file_name))?;
        }
        Ok(())
    }
}
