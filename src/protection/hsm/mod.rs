//! Level HSM: keys live in a device behind its own PKCS#11 library and never leave it.
use crate::config::DeviceConfig;
use crate::error::Result;

/// One configured device. Nothing is loaded before first use; one value per process and device, shared by its tokens.
pub struct Hsm;

/// What `alikms status` tells of a device.
#[derive(Debug, Clone)]
pub struct DeviceReport {
    pub name: String,
    pub profile: String,
    pub library: String,
    pub token: String,
    pub serial: String,
    pub model: String,
    pub firmware: String,
    /// Numbers of the mechanisms that it offers.
    pub mechanisms: Vec<u64>,
}

impl Hsm {
    pub fn new(_config: DeviceConfig) -> Self {
        todo!()
    }
    pub fn name(&self) -> &str {
        todo!()
    }
    /// Loads, logs in and asks the device what it is; does a real operation.
    pub fn probe(&self) -> Result<DeviceReport> {
        todo!()
    }
    /// Refuses, naming the missing mechanism, a spec that the device cannot do.
    pub fn supports(&self, _spec: crate::model::spec::Spec) -> Result<()> {
        todo!()
    }
}
