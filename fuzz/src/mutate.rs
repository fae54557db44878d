//! Mutations without guidance, for the ordinary tests: the same at every run.

/// SplitMix64: small, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    /// A number below the bound; 0 where the bound is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % bound.max(1) as u64) as usize
    }
}

/// Values at which lengths and counts go wrong.
const TELLING: [u32; 8] = [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_fff0, u32::MAX];

/// Changes the input in one to four places; `other` is another input, of which a part may be taken.
pub fn mutate(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(8) {
            0 => bytes.truncate(at),
            1 | 2 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            3 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.below(256) as u8;
                }
            }
            4 => bytes.insert(at, random.below(256) as u8),
            5 => {
                let end = (at + random.below(16)).min(bytes.len());
                bytes.drain(at..end);
            }
            6 => {
                let value = TELLING[random.below(TELLING.len())].to_le_bytes();
                for (byte, new) in bytes[at..].iter_mut().zip(value) {
                    *byte = new;
                }
            }
            _ => {
                let start = random.below(other.len() + 1);
                let end = (start + random.below(64)).min(other.len());
                bytes.splice(at..at, other[start..end].iter().copied());
            }
        }
    }
    bytes
}
