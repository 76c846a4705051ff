//! The brackets that are open.

use super::Bracket;

/// Deeper nesting than this is refused: it is a mistake or an attack.
pub(super) const DEEPEST: usize = 128;

/// The brackets that are open, the innermost last.
#[derive(Debug, Default)]
pub(super) struct Nesting(Vec<Bracket>);

impl Nesting {
    /// Opens one; false where that is too deep.
    pub(super) fn open(&mut self, bracket: Bracket) -> bool {
        let may_open = self.0.len() < DEEPEST;
        if may_open {
            self.0.push(bracket);
        }
        may_open
    }

    /// Closes the innermost; false where that is not one like this.
    pub(super) fn close(&mut self, bracket: Bracket) -> bool {
        self.0.pop_if(|innermost| *innermost == bracket).is_some()
    }

    /// The innermost.
    pub(super) fn innermost(&self) -> Option<Bracket> {
        self.0.last().copied()
    }
}
