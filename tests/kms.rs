//! Rules that time and permission decide: rotation, imported material, deletion, RAM, upkeep. With a clock of the tests' own.

#[path = "kms/backup.rs"]
mod backup;
#[path = "kms/certificates.rs"]
mod certificates;
mod common;

/// Makes a test at each level of functions that take a `Level`.
macro_rules! at_both_levels {
    ($($name:ident)*) => {
        mod software {
            $(#[test] fn $name() { super::$name(alikms_pkcs11::model::key::Level::Software) })*
        }
        mod hsm {
            $(#[test] fn $name() { super::$name(alikms_pkcs11::model::key::Level::Hsm) })*
        }
    };
}

#[path = "kms/doctor.rs"]
mod doctor;
#[path = "kms/fuzz.rs"]
mod fuzz;
#[path = "kms/import.rs"]
mod import;
#[path = "kms/material.rs"]
mod material;
#[path = "kms/policies.rs"]
mod policies;
#[path = "kms/ram.rs"]
mod ram;
#[path = "kms/refusals.rs"]
mod refusals;
#[path = "kms/rotation.rs"]
mod rotation;
#[path = "kms/upkeep.rs"]
mod upkeep;
#[path = "kms/uses.rs"]
mod uses;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use alikms_pkcs11::api::{self, Fault, Params};
use alikms_pkcs11::config::Config;
use alikms_pkcs11::kms::{Kms, Service};
use alikms_pkcs11::model::caller::Caller;
use alikms_pkcs11::model::key::Level;
use alikms_pkcs11::model::time::{DAY, Moment};
use common::Home;
use serde_json::Value;
use uuid::Uuid;

/// 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600;

/// An installation whose time stands still until a test moves it.
struct World {
    _home: Home,
    service: Arc<Service>,
    now: Arc<AtomicI64>,
    /// Of its keys, unless a test says another.
    level: Level,
}

fn service(home: &Home, now: &Arc<AtomicI64>) -> Arc<Service> {
    let clock = now.clone();
    let config = Config::read(&home.config()).unwrap();
    Service::with_clock(config, Arc::new(move || Moment(clock.load(Ordering::SeqCst))))
}

impl World {
    fn new(level: Level) -> Self {
        Self::with(level, "")
    }

    /// `settings`: lines more for the token.
    fn with(level: Level, settings: &str) -> Self {
        let home = Home::new(level);
        let text = std::fs::read_to_string(home.config()).unwrap();
        home.write("alikms.toml", &(text + settings));
        Self::of(home, level)
    }

    fn of(home: Home, level: Level) -> Self {
        let now = Arc::new(AtomicI64::new(START));
        let service = service(&home, &now);
        Self { _home: home, service, now, level }
    }

    /// The same installation, opened once more, as another process would.
    fn again(&self) -> Arc<Service> {
        service(&self._home, &self.now)
    }

    fn kms(&self) -> &Kms {
        self.service.token(None).unwrap()
    }

    fn pass_days(&self, days: i64) {
        self.now.fetch_add(days * DAY, Ordering::SeqCst);
    }

    /// An action of the API as the account.
    fn run(&self, action: &str, parameters: &[(&str, &str)]) -> Result<Value, Fault> {
        self.run_as(&Caller::account(), action, parameters)
    }

    fn run_as(&self, caller: &Caller, action: &str, parameters: &[(&str, &str)]) -> Result<Value, Fault> {
        let mut params = Params::default();
        for (name, value) in parameters {
            params.push(*name, *value);
        }
        let entry = api::find(action).unwrap();
        entry.run(self.kms(), caller, &params, Uuid::new_v4()).map_err(|error| Fault::from(&error))
    }

    /// The answer of an action that is expected to succeed.
    fn done(&self, action: &str, parameters: &[(&str, &str)]) -> Value {
        self.run(action, parameters).unwrap_or_else(|fault| panic!("{action} {parameters:?}: {fault:?}"))
    }

    /// The code of an action that is expected to be refused.
    fn refused(&self, action: &str, parameters: &[(&str, &str)]) -> &'static str {
        self.run(action, parameters).expect_err(action).code
    }

    /// A key, by its ID.
    fn key(&self, parameters: &[(&str, &str)]) -> String {
        let level = ("ProtectionLevel", self.level.name());
        let own = parameters.iter().all(|(name, _)| *name != level.0).then_some(level);
        let all: Vec<_> = parameters.iter().copied().chain(own).collect();
        text(&self.done("CreateKey", &all), "/KeyMetadata/KeyId")
    }

    /// One field of DescribeKey; "" if it is not there.
    fn described(&self, key: &str, field: &str) -> String {
        let answer = self.done("DescribeKey", &[("KeyId", key)]);
        answer["KeyMetadata"][field].as_str().unwrap_or_default().to_owned()
    }

    fn encrypt(&self, key: &str) -> String {
        text(&self.done("Encrypt", &[("KeyId", key), ("Plaintext", "aGVsbG8=")]), "/CiphertextBlob")
    }

    fn decrypts(&self, blob: &str) -> Result<(), &'static str> {
        let answer = self.run("Decrypt", &[("CiphertextBlob", blob)]).map_err(|fault| fault.code)?;
        assert_eq!(answer["Plaintext"], "aGVsbG8=");
        Ok(())
    }
}

/// What `work` answers when the device has noticed that it is back.
fn settled<T>(mut work: impl FnMut() -> alikms_pkcs11::Result<T>) -> T {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        match work() {
            Ok(answer) => return answer,
            Err(error) if std::time::Instant::now() > end => panic!("{error}"),
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(50)),
        }
    }
}

fn text(answer: &Value, pointer: &str) -> String {
    answer.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer}: {answer}")).to_owned()
}
