//! (to come)
/// PEM of one DER certificate.
pub fn to_pem(_der: &[u8]) -> String {
    todo!()
}
