//! UTF-8 over pieces (RFC 8259, section 8.1).

/// Checks UTF-8 over pieces: the only thing kept is a character that was cut.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    cut: [u8; 4],
    length: usize,
}

impl Utf8 {
    /// Takes a piece.
    pub(super) fn feed(&mut self, mut piece: &[u8]) -> Result<(), ()> {
        while self.length > 0 {
            let Some((first, rest)) = piece.split_first() else { return Ok(()) };
            self.cut[self.length] = *first;
            self.length += 1;
            piece = rest;
            match std::str::from_utf8(&self.cut[..self.length]) {
                Ok(_) => self.length = 0,
                Err(error) if error.error_len().is_some() || self.length == 4 => return Err(()),
                Err(_) => {}
            }
        }
        // Most bodies have nothing else.
        if piece.is_ascii() {
            return Ok(());
        }
        match std::str::from_utf8(piece) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(()),
            Err(error) => {
                let cut = &piece[error.valid_up_to()..];
                self.cut[..cut.len()].copy_from_slice(cut);
                self.length = cut.len();
                Ok(())
            }
        }
    }

    /// Whether no character is cut.
    pub(super) const fn is_complete(&self) -> bool {
        self.length == 0
    }
}
