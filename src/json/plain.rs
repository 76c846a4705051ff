//! Where a string stops being plain: at a quote, at an escape, or at a control character, which may not be in one.
//!
//! Most of any body is in strings, so sixteen bytes are looked at at once.

use wide::u8x16;

/// How many bytes at the beginning stand for themselves in a string.
#[inline]
pub(super) fn plain_length(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((block, following)) = rest.split_first_chunk() {
        let ends = ends_in(*block);
        if ends != 0 {
            return bytes.len() - rest.len() + ends.trailing_zeros() as usize;
        }
        rest = following;
    }
    let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len());
    bytes.len() - rest.len() + plain
}

/// A bit for each byte that is a quote, a backslash or a control character; the first byte's is the lowest.
#[inline]
fn ends_in(block: [u8; 16]) -> u32 {
    let block = u8x16::new(block);
    let is_quote = block.simd_eq(u8x16::splat(b'"'));
    let is_backslash = block.simd_eq(u8x16::splat(b'\\'));
    let is_control = block.simd_lt(u8x16::splat(0x20));
    (is_quote | is_backslash | is_control).to_bitmask()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn the_length_is_that_of_a_look_at_each_byte(
            bytes in prop::collection::vec(
                prop_oneof![8 => Just(b'a'), 2 => any::<u8>(), 1 => Just(b'"'), 1 => Just(0x1f), 1 => Just(b'\\')],
                0..40,
            ),
            long in prop_oneof![3 => Just(0), 1 => 490..530_usize],
        ) {
            let bytes = [vec![b'x'; long], bytes].concat();
            let expected = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            prop_assert_eq!(plain_length(&bytes), expected.unwrap_or(bytes.len()));
        }
    }

    #[test]
    fn every_byte_is_plain_or_not_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for place in 0..40 {
                let mut bytes = [b'x'; 40];
                bytes[place] = byte;
                let is_plain = !matches!(byte, b'"' | b'\\' | 0..0x20);
                assert_eq!(plain_length(&bytes), if is_plain { 40 } else { place }, "{byte} at {place}");
            }
        }
    }
}
