//! The verbs that are no actions of the API: their names, options and help in one table.

use std::process::ExitCode;

use alikms_pkcs11::api::help::wrap;

use crate::args::Line;
use crate::output::Stop;
use crate::{agent, backup, check, convert, deploy, doctor, features, help, local, status, tasks, upkeep, uri};

/// One row of [`VERBS`].
pub struct Verb {
    pub name: &'static str,
    /// The words behind the verb, for people; none if empty.
    words: &'static str,
    summary: &'static str,
    /// More than the summary says.
    text: &'static str,
    options: &'static [Opt],
    /// A command that runs as it stands.
    example: &'static str,
    run: fn(&Line, &[&str]) -> Result<ExitCode, Stop>,
}

/// An option of a verb, or of all commands.
pub struct Opt {
    pub name: &'static str,
    needed: bool,
    value: &'static str,
    text: &'static str,
}

const fn option(name: &'static str, needed: bool, value: &'static str, text: &'static str) -> Opt {
    Opt { name, needed, value, text }
}

/// The options of every command.
pub const GLOBAL: &[Opt] = &[
    option(
        "config",
        false,
        "FILE",
        "Read this alikms.toml; else the one that ALIKMS_CONF names, else ~/.config/alikms/alikms.toml, else /etc/alikms/alikms.toml.",
    ),
    option("token", false, "LABEL", "Work in this token; else in the first one of alikms.toml."),
    option(
        "pin",
        false,
        "SOURCE",
        "Log in with the token's PIN from file:PATH, env:NAME or credential:NAME; needed with [unlock] method = \"pin\".",
    ),
    option(
        "query",
        false,
        "PATH",
        "Print only this field of the answer, as plain text: KeyMetadata.KeyId, Keys.Key.0.KeyId.",
    ),
    option(
        "as",
        false,
        "USER",
        "Act as this RAM user, limited by its policies; else as the account itself. By an agent, with its own PIN (--pin).",
    ),
    option("access-key-id", false, "ID", "Act as the RAM user who has this access key; needs --access-key-secret."),
    option(
        "access-key-secret",
        false,
        "SOURCE",
        "The secret of the access key, from file:PATH, env:NAME or credential:NAME.",
    ),
    option("help", false, "", "Explain the command instead of running it."),
];

const KEY_ID: Opt = option("KeyId", true, "KEY", "ID, alias or ARN of the key.");

/// The list.
pub static VERBS: &[Verb] = &[
    Verb {
        name: "agent",
        words: "",
        summary: "Serves devices and whole tokens to the modules of this machine, until it is ended",
        text: "It alone loads the libraries of devices with device_mode = \"agent\" and reads their PINs; with tokens = true in [agent] \
               it has the store, too, and modules with [client] in their alikms.toml need neither. Modules ask it over the Unix socket of [agent] \
               in alikms.toml, by default /run/alikms/agent.sock; who may is [agent] allow, by default the owner of the store. \
               A worker that a library takes down is started again at once. systemd/alikms-agent.service runs it.",
        options: &[],
        example: "alikms agent",
        run: agent::run,
    },
    Verb {
        name: "attach-certificate",
        words: "",
        summary: "Puts a certificate and its chain beside the key that it belongs to",
        text: "The version of the key is found by the certificate's public key. Programs then find key and certificate \
               by the same CKA_ID.",
        options: &[
            KEY_ID,
            option("Certificate", true, "PEM", "The certificate; with --Certificate-FILE, the file that it is in."),
            option(
                "CertificateChain",
                false,
                "PEM",
                "The certificates above it, the issuer first; with --CertificateChain-FILE, their file.",
            ),
        ],
        example: "alikms attach-certificate --KeyId alias/web --Certificate-FILE web.pem --CertificateChain-FILE chain.pem",
        run: local::attach_certificate,
    },
    Verb {
        name: "audit",
        words: "",
        summary: "Prints the audit trail, one JSON object a line, oldest first",
        text: "The chain of the lines is verified on the way: a line that was changed or taken away is an error. What \
               processes used keys for ([audit] crypto in alikms.toml) is carried into the trail first.",
        options: &[
            option("since", false, "DATE", "Only what happened since then: 2026-11-21T13:14:15Z."),
            option("verify", false, "", "Only verify the chain, and count its lines."),
        ],
        example: "alikms audit --verify",
        run: upkeep::audit,
    },
    Verb {
        name: "backup",
        words: "FILE",
        summary: "Writes the whole store, with the slots of every token, to a new file, while it is in use",
        text: "It is the store of one moment; a change to the file is noticed when it is restored. What is not in it is told: \
               the unlock key, and the material of keys that are in a device. For that, see what the device's maker has.",
        options: &[],
        example: "alikms backup /var/backups/alikms-2026-11-21",
        run: backup::backup,
    },
    Verb {
        name: "check",
        words: "",
        summary: "Reads every record and compares the store with itself and with the device",
        text: "Work on the device that a crash left unfinished is finished; everything else is told, with exit status 1.",
        options: &[],
        example: "alikms check",
        run: upkeep::check,
    },
    Verb {
        name: "convert",
        words: "FILE",
        summary: "Converts certificates and private keys between PEM, DER, PKCS#8 and PKCS#12, and from a Java keystore",
        text: "What FILE is, is found out. Uploads take PEM only. A Java keystore (JKS) is read with keytool of a JDK.",
        options: &[
            option(
                "to",
                true,
                "FORMAT",
                "pem (certificates, then the key), der (one certificate or key), pkcs8 (the key as PEM) or pkcs12.",
            ),
            option("key-file", false, "FILE", "A second file, with what FILE lacks: the private key, or the chain."),
            option("passphrase", false, "SOURCE", "What opens FILE: file:PATH, env:NAME or credential:NAME."),
            option(
                "new-passphrase",
                false,
                "SOURCE",
                "What protects the private key in what is written; PKCS#12 needs it.",
            ),
            option("out", false, "FILE", "A new file, which only its owner can read; else the result is printed."),
        ],
        example: "alikms convert web.pfx --passphrase file:passphrase.txt --to pem --out web.pem",
        run: convert::run,
    },
    Verb {
        name: "crl",
        words: "",
        summary: "Prints the certificate revocation list of a CA here, as PEM",
        text: "It is signed anew each time and valid for the CA's CrlDay days: publish it more often than that.",
        options: &[option("CertificateId", true, "ID", "The certificate of the CA.")],
        example: "alikms crl --CertificateId 9a28de48-8d8b-484d-a766-dec4a6a3b2c1",
        run: local::crl,
    },
    Verb {
        name: "create-service-key",
        words: "",
        summary: "Makes the key of a service, whose creator is the service and whose alias is alias/acs/CODE",
        text: "A symmetric key for programs that encrypt on the account's behalf. Each service has one; it has one version \
               and does not rotate. ListKeys finds it with the filter CreatorType=Service.",
        options: &[
            option("ServiceCode", true, "CODE", "The service: a letter, then up to 63 letters, digits and hyphens."),
            option("ProtectionLevel", false, "LEVEL", "SOFTWARE (the default) or HSM."),
        ],
        example: "alikms create-service-key --ServiceCode OSS",
        run: local::create_service_key,
    },
    Verb {
        name: "csr",
        words: "",
        summary: "Makes a certificate signing request for a key, as PEM",
        text: "It is signed by the key itself, by its version in service unless another is named.",
        options: &[
            KEY_ID,
            option("Subject", true, "NAME", "The owner, as RFC 2253 writes it."),
            option(
                "SubjectAlternativeNames",
                false,
                "LIST",
                "Names of the server: a JSON list, or with commas between them.",
            ),
            option("KeyVersionId", false, "ID", "Another version than the one in service."),
        ],
        example: "alikms csr --KeyId alias/web --Subject CN=www.example.com --SubjectAlternativeNames '[\"www.example.com\"]'",
        run: local::csr,
    },
    Verb {
        name: "deploy",
        words: "DIR",
        summary: "Puts a certificate into service: writes it, its chain and an include file for nginx or Apache into DIR",
        text: "DIR/current/nginx.conf is what nginx includes, once. It names certificate and key that belong together, and \
               another deploy exchanges both in one step, so that a reload at any moment finds a matching pair. \
               With --pin file:PATH the include file names that file.",
        options: &[
            option("KeyId", false, "KEY", "ID, alias or ARN of the key, whose version in service is taken."),
            option("CertificateId", false, "ID", "The certificate, where its key belongs to it alone."),
            option(
                "hook",
                false,
                "COMMAND",
                "Run this in a shell afterwards; ALIKMS_DIR, ALIKMS_CERTIFICATE_ID and ALIKMS_NOT_AFTER tell it what is there.",
            ),
        ],
        example: "alikms deploy /etc/alikms/web --KeyId alias/web --hook 'systemctl reload nginx'",
        run: deploy::run,
    },
    Verb {
        name: "devices",
        words: "sync",
        summary: "Brings a device that was away up to date with the others of its token",
        text: "For tokens with devices = [...]: gives each device the keys that it lacks, destroys what was destroyed meanwhile, \
               and proves each key by its public key, or a secret by its answer. The exit status is 1 if a device is not up to \
               date then. Without --token, for every token.",
        options: &[],
        example: "alikms devices sync",
        run: upkeep::devices,
    },
    Verb {
        name: "doctor",
        words: "",
        summary: "Looks for what is wrong: configuration, permissions, clock, limits, devices, tokens",
        text: "Loads each device, logs in, and tells what it can and cannot do for each key spec; prints the URI of each alias and what \
               OpenSSL, nginx, Apache, Java, GnuTLS, osslsigncode and SSH are to be told. The exit code is 1 if something is wrong.",
        options: &[
            option("try", false, "", "Make a key of each spec in each device, and destroy it."),
            option("KeyId", false, "KEY", "The key for the snippets; else the first alias."),
        ],
        example: "alikms doctor",
        run: doctor::run,
    },
    Verb {
        name: "features",
        words: "",
        summary: "Lists every KMS action, PKCS#11 function and mechanism with its state",
        text: "",
        options: &[option("markdown", false, "", "As tables for a README.")],
        example: "alikms features --markdown",
        run: features::run,
    },
    Verb {
        name: "init",
        words: "",
        summary: "Makes the store, the unlock key and the tokens of alikms.toml",
        text: "What is there already is left as it is, so it can be run again after a token was added to alikms.toml.",
        options: &[
            option("pin", true, "SOURCE", "The PIN that programs log in with: file:PATH, env:NAME or credential:NAME."),
            option("so-pin", true, "SOURCE", "The PIN that sets a new PIN when the first is lost."),
            option("group", false, "NAME", "The group whose members may use the store, such as www-data."),
        ],
        example: "alikms init --pin file:/etc/alikms/token.pin --so-pin file:/etc/alikms/so.pin --group www-data",
        run: local::init,
    },
    Verb {
        name: "maintain",
        words: "",
        summary: "Does what is due: rotations, deletions whose window ended, expired key material",
        text: "Keys behave as if it had been done already, so it need not run at any particular time; once a day is good \
               (systemd/alikms-maintain.timer). Without --token, for every token.",
        options: &[],
        example: "alikms maintain",
        run: upkeep::maintain,
    },
    Verb {
        name: "notify",
        words: "on|off",
        summary: "Switches the reminders of certificates that are about to expire",
        text: "`alikms remind` delivers them. `notifications = 100` in the [[token]] lets that many certificates have them at most.",
        options: &[
            option("CertificateId", false, "LIST", "The certificates, with commas between them."),
            option("all", false, "", "Every certificate that is in use."),
        ],
        example: "alikms notify on --all",
        run: tasks::notify,
    },
    Verb {
        name: "promote",
        words: "",
        summary: "Chooses the version of a key that is in service",
        text: "The version in service bears the key's plain label; without a choice it is the one with the longest valid \
               certificate, else the oldest. For asymmetric keys.",
        options: &[KEY_ID, option("KeyVersionId", true, "ID", "The version, from ListKeyVersions.")],
        example: "alikms promote --KeyId alias/web --KeyVersionId c0a3d5dc-0b47-4199-a050-b289349a0000",
        run: local::promote,
    },
    Verb {
        name: "remind",
        words: "",
        summary: "Tells of certificates that expire within 30 days and whose reminders are on",
        text: "The command runs once for each of them, and again every 7 days until it is renewed. What fails is repeated the next \
               time. Made to be run once a day.",
        options: &[option(
            "hook",
            true,
            "COMMAND",
            "Run in a shell with ALIKMS_CERTIFICATE_ID, ALIKMS_NAME, ALIKMS_SUBJECT, ALIKMS_NOT_AFTER and ALIKMS_DAYS_LEFT.",
        )],
        example: "alikms remind --hook 'logger -t alikms \"$ALIKMS_SUBJECT expires in $ALIKMS_DAYS_LEFT days\"'",
        run: tasks::remind,
    },
    Verb {
        name: "restore",
        words: "FILE",
        summary: "Makes the store of alikms.toml of a backup",
        text: "Only where there is none; and only if the backup proves to be as it was made, for which a token of alikms.toml must open: \
               by the unlock key, or by --pin.",
        options: &[option("group", false, "NAME", "The group whose members may use the store, such as www-data.")],
        example: "alikms restore /var/backups/alikms-2026-11-21 --group www-data",
        run: backup::restore,
    },
    Verb {
        name: "retire",
        words: "",
        summary: "Hides an old version of a key from searches",
        text: "The version in service cannot be retired: promote another one first.",
        options: &[KEY_ID, option("KeyVersionId", true, "ID", "The version, from ListKeyVersions.")],
        example: "alikms retire --KeyId alias/web --KeyVersionId c0a3d5dc-0b47-4199-a050-b289349a0000",
        run: local::retire,
    },
    Verb {
        name: "set-user-pin",
        words: "",
        summary: "Gives a RAM user the PIN that it logs in with through PKCS#11",
        text: "Programs then log in with C_LoginUser, or with the PIN in the form USER:PIN, and are limited by the user's \
               policies.",
        options: &[
            option("UserName", true, "USER", "Name of the user."),
            option("user-pin", true, "SOURCE", "The PIN: file:PATH, env:NAME or credential:NAME."),
        ],
        example: "alikms set-user-pin --UserName alice --user-pin file:/etc/alikms/alice.pin",
        run: local::set_user_pin,
    },
    Verb {
        name: "share-certificate",
        words: "",
        summary: "Gives another account of alikms.toml the use of a certificate with its key",
        text: "The certificate is one of CreateCertificate or beside a CMK, issued here by a CA with Shareable=true. It can be \
               shared once. The receiver sees it in its list and in its token and works with the key, but can neither export \
               nor share it. What its owner does to certificate and key acts on the receiver's next operation. Answers the \
               CertificateId that the receiver has.",
        options: &[
            option("CertificateId", true, "ID", "The certificate."),
            option("AccountId", true, "NUMBER", "The account that receives it; its [[token]] is in the same region."),
        ],
        example: "alikms share-certificate --CertificateId 9a28de48-8d8b-484d-a766-dec4a6a3b2c1 --AccountId 2000000000000002",
        run: local::share_certificate,
    },
    Verb {
        name: "status",
        words: "",
        summary: "Shows the tokens with their keys, and whether each device can be reached",
        text: "The exit code is 1 if something cannot be reached.",
        options: &[],
        example: "alikms status",
        run: status::run,
    },
    Verb {
        name: "tasks",
        words: "",
        summary: "Lists what is to be done about certificates: expiring soon, deployed nowhere, nobody told",
        text: "The tasks are ToBeRenewed (30 days before the end), Expired, NoDeployment and NotificationDisabled. If `notifications` limits how many certificates have reminders, NotificationQuota says how many more may have them, and how many have none.",
        options: &[
            option("snooze", false, "", "Say nothing of the present ones for 7 days."),
            option("all", false, "", "List those too of which nothing is to be said."),
        ],
        example: "alikms tasks",
        run: tasks::tasks,
    },
    Verb {
        name: "uri",
        words: "KEY",
        summary: "Prints the PKCS#11 URI of a key, and how OpenSSL, nginx, Apache, Java, osslsigncode and SSH use it",
        text: "KEY is the ID, an alias or the ARN of the key. With --pin file:PATH the snippets name that file.",
        options: &[option("version", false, "ID", "Another version than the one in service.")],
        example: "alikms uri alias/web",
        run: uri::run,
    },
    Verb {
        name: "withdraw-certificate",
        words: "",
        summary: "Takes back what share-certificate gave, for ever",
        text: "The receiver's next operation with the key fails, and the certificate leaves its list.",
        options: &[option("CertificateId", true, "ID", "The certificate, as its owner names it.")],
        example: "alikms withdraw-certificate --CertificateId 9a28de48-8d8b-484d-a766-dec4a6a3b2c1",
        run: local::withdraw_certificate,
    },
];

pub fn find(name: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == name)
}

impl Verb {
    pub fn run(&self, line: &Line, words: &[&str]) -> Result<ExitCode, Stop> {
        let names: Vec<_> = self.options.iter().map(|option| option.name).collect();
        check(line, self.name, &names, self.options.iter().filter(|option| option.needed).map(|option| option.name))?;
        if words.len() != usize::from(!self.words.is_empty()) {
            let message = match self.words {
                "" => format!("'{}' is not expected here", words.join(" ")),
                expected => format!("one {expected} is needed"),
            };
            return Err(Stop::Tip { message, tip: help::see(self.name) });
        }
        (self.run)(line, words)
    }

    pub fn summary(&self) -> &'static str {
        self.summary
    }

    /// The whole help.
    pub fn help(&self) -> String {
        let mut out = wrap(&format!("{}. {}", self.summary, self.text), 0);
        let mut usage = format!("alikms {} {}", self.name, self.words).trim_end().to_owned();
        for option in self.options {
            let typed = format!("--{} {}", option.name, option.value);
            usage += &if option.needed { format!(" {typed}") } else { format!(" [{}]", typed.trim_end()) };
        }
        out += &format!("\nUsage:\n{}", wrap(&usage, 2));
        if !self.options.is_empty() {
            out.push('\n');
            out += &options(self.options);
        }
        out + &format!("\nExample:\n  {}\n", self.example)
    }
}

/// One option a paragraph.
pub fn options(options: &[Opt]) -> String {
    let paragraph = |option: &Opt| {
        format!("  --{} {}", option.name, option.value).trim_end().to_owned() + "\n" + &wrap(option.text, 6)
    };
    options.iter().map(paragraph).collect()
}
