//! An upstream that misbehaves on the wire.
