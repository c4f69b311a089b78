//! Random bytes from aws-lc's generator, which notices forks by itself (MADV_WIPEONFORK).

/// Fills `out`.
///
/// # Panics
/// If the generator has no entropy, which aws-lc itself answers with an abort: going on would make guessable keys.
pub fn fill(out: &mut [u8]) {
    let _inside = super::gate::enter();
    assert!(aws_lc_rs::rand::fill(out).is_ok(), "no random bytes");
}

/// `N` random bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    fill(&mut out);
    out
}
