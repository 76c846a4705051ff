//! What is wrong with a configuration, and how that is told.
//!
//! A [`Fault`] says where, what was found and what to write instead. Its message never holds a secret, and
//! neither does what is shown of the file: only values that can't be one are ever quoted.
//!
//! Left out: finding faults, which is the work of the readers beside this module.

use std::fmt;

/// One thing that is wrong with a configuration, or that should be known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1; 0 where the fault is the whole file's.
    pub line: u64,
    /// The column in characters, from 1; 0 where the fault is the whole file's.
    pub column: u64,
    /// The key's path: `organizations[0].credential.client_id`; empty where the fault is the whole file's.
    pub path: String,
    /// What was found, and what to write instead.
    pub message: String,
    /// Whether the configuration can be served all the same.
    pub severity: Severity,
    /// Whether the line may be shown: set only where it is known what stands in it.
    pub(super) quotable: bool,
}

/// Whether a configuration can be served with a fault in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It is refused.
    Error,
    /// It is served, and the fault is shown.
    Warning,
}

/// All that is wrong with a configuration, in the order of its lines.
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

    /// The fault as one line, beginning with the place in the file.
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

    /// The line of the source with a caret under the fault; none for a line that could hold a secret.
    fn excerpt(&self, source: &str) -> Option<String> {
        let index = usize::try_from(self.line).ok()?.checked_sub(1)?;
        // A comment is not shown: it could hold anything.
        let line = source.lines().nth(index).map(|line| line.split(" #").next().unwrap_or(line).trim_end());
        let line = line.filter(|line| self.quotable && self.stands_alone(line))?;
        let width = self.line.to_string().len();
        let caret = usize::try_from(self.column).ok()?;
        Some(format!("{:width$} |\n{} | {line}\n{:width$} | {:>caret$}", "", self.line, "", "^"))
    }

    /// Whether nothing is in the line but this fault's own key and value. A line that begins with another
    /// key, holds a second one or speaks of a secret anywhere, may hold one.
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
    /// The faults of a file, put in the order of its lines.
    #[must_use]
    pub fn new(file_name: &str, mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(|fault| (fault.line, fault.column));
        Self { file_name: file_name.to_owned(), faults }
    }

    /// The faults, in the order of the lines.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.faults.iter()
    }

    /// The faults themselves.
    #[must_use]
    pub fn into_vec(self) -> Vec<Fault> {
        self.faults
    }

    /// All faults, each with its line of the source where that can't hold a secret.
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
