//! What the pool reads of the configuration.

#[derive(Clone, Copy)]
pub enum Isolate {
    Share,
}

pub struct DeviceConfig {
    pub name: String,
    pub profile: String,
    pub library: String,
    pub isolate: Option<Isolate>,
    pub changes: (),
}
