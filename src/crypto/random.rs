//! Random bytes from aws-lc's generator, which notices forks.
pub fn fill(_out: &mut [u8]) {
    todo!()
}
pub fn bytes<const N: usize>() -> [u8; N] {
    todo!()
}
