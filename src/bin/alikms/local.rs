//! The verbs that change something: init, create-service-key, crl, csr, attach-certificate, promote, retire.

use std::process::ExitCode;

use alikms_pkcs11::api;
use alikms_pkcs11::config::PinSource;
use alikms_pkcs11::kms::Service;
use alikms_pkcs11::model::key::Level;
use serde_json::json;

use crate::args::Line;
use crate::output::{self, Stop};
use crate::{config, ids, manage, open};

/// `alikms init`.
pub fn init(line: &Line, _: &[&str]) -> Result<ExitCode, Stop> {
    let config = config(line)?;
    let pin = |name| PinSource::parse(line.option(name).unwrap_or_default())?.read();
    let (user, officer) = (pin("pin")?, pin("so-pin")?);
    let group = line.option("group").map(ids::group).transpose()?;
    let done = Service::new(config).init(&user, &officer, group)?;
    done_with(&done.iter().map(|said| format!("{said}\n")).collect::<String>())
}

/// `alikms set-user-pin`.
pub fn set_user_pin(line: &Line, _: &[&str]) -> Result<ExitCode, Stop> {
    let pin = PinSource::parse(line.option("user-pin").unwrap_or_default())?.read()?;
    let user = line.option("UserName").unwrap_or_default();
    let kms = open(line)?;
    manage(line, &kms, ("UpdateLoginProfile", user), |caller| kms.set_user_pin(caller, user, &pin))?;
    done_with(&format!("the PIN of {user} is set\n"))
}

/// `alikms create-service-key`.
pub fn create_service_key(line: &Line, _: &[&str]) -> Result<ExitCode, Stop> {
    let level = match line.option("ProtectionLevel") {
        None => None,
        Some("SOFTWARE") => Some(Level::Software),
        Some("HSM") => Some(Level::Hsm),
        Some(_) => return Err(Stop::usage("--ProtectionLevel is SOFTWARE or HSM".to_owned())),
    };
    let kms = open(line)?;
    let code = line.option("ServiceCode").unwrap_or_default();
    let made = manage(line, &kms, ("CreateServiceKey", code), |caller| kms.create_service_key(caller, code, level))?;
    let answer = json!({ "Arn": kms.realm().key_arn(made.key.id), "KeyId": made.key.id.to_string() });
    output::answer(&answer, line.option("query"))?;
    Ok(ExitCode::SUCCESS)
}

/// `alikms csr`.
pub fn csr(line: &Line, _: &[&str]) -> Result<ExitCode, Stop> {
    let names = match line.option("SubjectAlternativeNames") {
        Some(list) if list.trim_start().starts_with(['[', '{']) => api::alternative_names(list)?,
        Some(list) => list.split(',').map(|name| name.trim().to_owned()).collect(),
        None => Vec::new(),
    };
    let subject = line.option("Subject").unwrap_or_default();
    let kms = open(line)?;
    done_with(&manage(line, &kms, ("CreateCsr", key(line)), |caller| {
        kms.csr(caller, key(line), line.option("KeyVersionId"), subject, &names)
    })?)
}

/// `alikms crl`.
pub fn crl(line: &Line, _: &[&str]) -> Result<ExitCode, Stop> {
    let kms = open(line)?;
    done_with(&manage(line, &kms, ("CreateRevocationList", certificate(line)), |caller| {
        kms.revocation_list(caller, certificate(line))
    })?)
}

/// `alikms attach-certificate`.
pub fn attach_certificate(line: &Line, _: &[&str]) -> Result<ExitCode, Stop> {
    let leaf = line.option("Certificate").unwrap_or_default();
    let kms = open(line)?;
    let chain = line.option("CertificateChain");
    let version = manage(line, &kms, ("AttachCertificate", key(line)), |caller| {
        kms.attach_certificate(caller, key(line), leaf, chain)
    })?;
    output::answer(&json!({ "KeyVersionId": version.to_string() }), line.option("query"))?;
    Ok(ExitCode::SUCCESS)
}

/// `alikms share-certificate`.
pub fn share_certificate(line: &Line, _: &[&str]) -> Result<ExitCode, Stop> {
    let kms = open(line)?;
    let account = line.option("AccountId").unwrap_or_default();
    let theirs = manage(line, &kms, ("ShareCertificate", certificate(line)), |caller| {
        kms.share_certificate(caller, certificate(line), account)
    })?;
    output::answer(&json!({ "CertificateId": theirs.to_string() }), line.option("query"))?;
    Ok(ExitCode::SUCCESS)
}

/// `alikms withdraw-certificate`.
pub fn withdraw_certificate(line: &Line, _: &[&str]) -> Result<ExitCode, Stop> {
    let kms = open(line)?;
    manage(line, &kms, ("WithdrawCertificate", certificate(line)), |caller| {
        kms.withdraw_certificate(caller, certificate(line))
    })?;
    done_with(&format!("certificate {} is shared with nobody any more\n", certificate(line)))
}

fn certificate(line: &Line) -> &str {
    line.option("CertificateId").unwrap_or_default()
}

/// `alikms promote`.
pub fn promote(line: &Line, _: &[&str]) -> Result<ExitCode, Stop> {
    let kms = open(line)?;
    manage(line, &kms, ("Promote", key(line)), |caller| kms.promote(caller, key(line), version(line)))?;
    done_with(&format!("version {} of {} is in service\n", version(line), key(line)))
}

/// `alikms retire`.
pub fn retire(line: &Line, _: &[&str]) -> Result<ExitCode, Stop> {
    let kms = open(line)?;
    manage(line, &kms, ("Retire", key(line)), |caller| kms.retire(caller, key(line), version(line)))?;
    done_with(&format!("version {} of {} is retired\n", version(line), key(line)))
}

fn key(line: &Line) -> &str {
    line.option("KeyId").unwrap_or_default()
}

fn version(line: &Line) -> &str {
    line.option("KeyVersionId").unwrap_or_default()
}

fn done_with(text: &str) -> Result<ExitCode, Stop> {
    output::print(text).map(|()| ExitCode::SUCCESS)
}
