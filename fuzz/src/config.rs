//! alikms.toml: any text, as a file. What it says is never done, only read.

use std::io::Write;

use alikms_pkcs11::config::{Config, PinSource};

pub fn run(data: &[u8]) {
    let Ok(mut file) = tempfile::NamedTempFile::new() else { return };
    file.write_all(data).unwrap();
    if let Ok(config) = Config::read(file.path()) {
        for token in &config.tokens {
            token.devices.iter().for_each(|name| assert!(config.device(name).is_some()));
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = PinSource::parse(text);
    }
}
