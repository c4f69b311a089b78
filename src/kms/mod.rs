//! The verbs: what the key management service does, for whom, and when. Both doors call these and nothing below.

pub mod access_key;
pub mod alias;
pub mod asymmetric;
pub mod authorize;
pub mod backup;
pub mod catalogue;
pub mod certificate;
pub mod container;
pub mod data_key;
pub mod device;
pub mod envelope;
pub mod import;
pub mod issue;
pub mod key_policy;
pub mod lifecycle;
pub mod mac;
pub mod maintain;
pub mod objects;
pub mod ram;
pub mod realm;
pub mod refusal;
pub mod replicate;
pub mod rotation;
pub mod service_key;
pub mod subject;
pub mod tags;
pub mod usage;
pub mod use_key;
pub mod versions;
pub mod x509;

pub use realm::{Kms, Service};
