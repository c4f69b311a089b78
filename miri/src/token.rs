//! As `src/token/mod.rs`.

#[path = "../../src/token/answer.rs"]
pub mod answer;
#[path = "../../src/token/parameter.rs"]
pub mod parameter;
#[path = "../../src/token/template.rs"]
pub mod template;

pub use answer::{Answer, Room, ck};
pub use parameter::{Mechanism, Parameter};
