//! Input and output: the outbound client, the body type, and write coalescing.

pub mod body;
pub mod client;
pub mod joined_writes;
