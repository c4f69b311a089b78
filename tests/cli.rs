//! The command line, told in transcripts: `tests/cli/*.txt`, one story each.
//!
//! `$ command` runs in a shell in a home of its own, `? n` is its exit status if not 0, `> line` what it wrote to stdout,
//! `! line` to stderr. `@name command` remembers what a command wrote as `<name>`. What differs from run to run stands as
//! `<home>`, `<guid>`, `<date>`, `<base64>`, `<id>`. `ALIKMS_BLESS=1 cargo test --test cli` writes what happens: read the diff.

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use alikms_pkcs11::model::key::Level;
use common::{Home, Run, run};

/// The stories, with the level of their home; "bare": before `alikms init`.
macro_rules! stories {
    ($($name:ident $home:expr;)+) => {
        $(#[test] fn $name() { tell(stringify!($name), $home); })+

        #[test]
        fn every_story_is_told() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
            let mut found: Vec<_> =
                fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            found.sort();
            assert_eq!(found, [$(concat!(stringify!($name), ".txt")),+]);
        }
    };
}

stories! {
    aliases Home::new(Level::Software);
    certificates Home::new(Level::Software);
    documents Home::new(Level::Hsm);
    flags Home::new(Level::Software);
    help Home::new(Level::Software);
    init Home::bare(Level::Hsm);
    keys Home::new(Level::Software);
    pin Home::bare(Level::Software);
    uploads Home::new(Level::Software);
    versions Home::new(Level::Software);
}

/// `alikms uri` names the module that lies beside it, as it does when installed; `cargo test` leaves that in `deps/`.
fn lay_module_beside() {
    let place = Path::new(env!("CARGO_BIN_EXE_alikms")).with_file_name("libalikms_pkcs11.so");
    if let Err(error) = fs::hard_link(common::module::module(), place) {
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    }
}

fn tell(name: &str, home: Home) {
    lay_module_beside();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/cli/{name}.txt"));
    let told = fs::read_to_string(&path).unwrap();
    let mut names: Vec<(String, String)> = Vec::new();
    let mut out = String::new();
    for line in told.lines() {
        match line.split_at_checked(1) {
            Some(("$", command)) => {
                out += &format!("{line}\n");
                let Run { status, stdout, stderr } = shell(&home, &bound(command, &names));
                if status != 0 {
                    out += &format!("? {status}\n");
                }
                for (mark, text) in [(">", stdout), ("!", stderr)] {
                    let lines = plain(&text, &home, &names);
                    out += &lines
                        .lines()
                        .map(|line| format!("{mark} {line}").trim_end().to_owned() + "\n")
                        .collect::<String>();
                    out += if text.is_empty() || text.ends_with('\n') { "" } else { "# (no newline at the end)\n" };
                }
            }
            Some(("@", rest)) => {
                out += &format!("{line}\n");
                let (name, command) = rest.split_once(' ').unwrap();
                let run = shell(&home, &bound(command, &names));
                assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{line}: {run:?}");
                names.push((format!("<{name}>"), run.stdout.trim_end().to_owned()));
            }
            Some((">" | "!" | "?", _)) => {}
            _ if line == "# (no newline at the end)" => {}
            _ => out += &format!("{line}\n"),
        }
    }
    if std::env::var_os("ALIKMS_BLESS").is_some() {
        fs::write(&path, &out).unwrap();
    }
    let first = told.lines().zip(out.lines()).position(|(told, happened)| told != happened);
    let at = first.unwrap_or(told.lines().count().min(out.lines().count()));
    let part = |text: &str| text.lines().skip(at.saturating_sub(3)).take(12).collect::<Vec<_>>().join("\n");
    assert!(told == out, "{name}.txt:{}: told\n{}\n\nhappened\n{}", at + 1, part(&told), part(&out));
}

/// A shell in the home that finds `alikms`.
fn shell(home: &Home, command: &str) -> Run {
    let mut shell = home.command(["-"; 0]);
    let mut paths = vec![Path::new(env!("CARGO_BIN_EXE_alikms")).parent().unwrap().to_owned()];
    paths.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let mut sh = Command::new("sh");
    sh.args(["-c", command.trim_start()]).current_dir(home.folder()).env_clear();
    sh.envs(shell.get_envs().filter_map(|(name, value)| Some((name, value?))));
    sh.env("PATH", std::env::join_paths(paths).unwrap()).env("HOME", home.folder()).env("LC_ALL", "C.UTF-8");
    shell.stdin(Stdio::null());
    run(sh.stdin(Stdio::null()))
}

fn bound(command: &str, names: &[(String, String)]) -> String {
    names.iter().fold(command.to_owned(), |command, (name, value)| command.replace(name, value))
}

/// `text` with marks in place of what differs from run to run.
fn plain(text: &str, home: &Home, names: &[(String, String)]) -> String {
    let mut text = text.replace(home.folder().to_str().unwrap(), "<home>");
    let target = Path::new(env!("CARGO_BIN_EXE_alikms")).parent().unwrap();
    text = text.replace(target.to_str().unwrap(), "<bin>");
    for (name, value) in names {
        text = text.replace(value.as_str(), name);
    }
    let digits = |c: char| if c.is_ascii_digit() { '9' } else { c };
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(letter) = rest.chars().next() {
        let fresh = !out.ends_with(|c: char| c.is_ascii_alphanumeric());
        let run = |known: fn(char) -> bool| rest.find(|c: char| !known(c)).unwrap_or(rest.len());
        let base64 = run(|c| c.is_ascii_alphanumeric() || "+/=".contains(c));
        let escaped = run(|c| c == '%' || c.is_ascii_hexdigit());
        let hex = run(|c| c.is_ascii_hexdigit());
        let (mark, length) = if fresh && rest.get(..36).is_some_and(is_guid) {
            ("<guid>", 36)
        } else if fresh
            && rest.get(..20).is_some_and(|date| date.chars().map(digits).eq("9999-99-99T99:99:99Z".chars()))
        {
            ("<date>", 20)
        } else if letter == '%' && escaped >= 48 {
            ("<id>", escaped)
        } else if fresh && base64 >= 40 && !rest[..base64].contains('/') || base64 >= 64 {
            ("<base64>", base64)
        } else if out.ends_with("serial ") && hex == 16 {
            ("<serial>", hex)
        } else {
            out.push(letter);
            rest = &rest[letter.len_utf8()..];
            continue;
        };
        out += mark;
        rest = &rest[length..];
    }
    out
}

fn is_guid(text: &str) -> bool {
    text.chars().enumerate().all(|(at, c)| if [8, 13, 18, 23].contains(&at) { c == '-' } else { c.is_ascii_hexdigit() })
}

/// Whoever reads goes away: no fault, nothing said (house.md §3.9, 7).
#[test]
fn a_reader_that_goes_away_is_no_fault() {
    let home = Home::new(Level::Software);
    for arguments in [&["features"][..], &["help"], &["ListKeys"], &["status"], &["version"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = home.command(arguments).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{arguments:?}");
    }
}

#[test]
fn an_answer_that_cannot_be_written_is_one() {
    let home = Home::new(Level::Software);
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = home.command(["ListKeys"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("ERROR: the answer cannot be written: No space left on device"), "{said}");
    // stderr gone too: the exit code is left.
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let status = home.command(["ListKeys"]).stdout(full()).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

/// `--as` and an access key make the command another's, `alikms uri` too.
#[test]
fn a_command_runs_as_the_user_that_it_names() {
    let home = Home::new(Level::Software);
    let make = |spec| home.query(&["CreateKey", "--KeySpec", spec], "KeyMetadata.KeyId");
    let (mine, other) = (make("EC_P256"), make("EC_P256"));
    let document = format!(
        r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":["kms:Describe*"],"Resource":["acs:kms:*:*:key/{mine}"]}}]}}"#
    );
    home.answer(&["CreateUser", "--UserName", "alice"]);
    home.answer(&["CreatePolicy", "--PolicyName", "look", "--PolicyDocument", &document]);
    home.answer(&["AttachPolicyToUser", "--PolicyName", "look", "--UserName", "alice"]);
    let key = home.answer(&["CreateAccessKey", "--UserName", "alice"]);
    let id = key["AccessKey"]["AccessKeyId"].as_str().unwrap().to_owned();
    let secret = home.write("secret", key["AccessKey"]["AccessKeySecret"].as_str().unwrap());
    let secret = format!("file:{}", secret.display());
    let wrong = format!("file:{}", home.write("wrong", "wrong").display());
    let by_name = vec!["--as", "alice"];
    let by_key = vec!["--access-key-id", &id, "--access-key-secret", &secret];
    for who in [by_name, by_key] {
        for command in [vec!["uri"], vec!["DescribeKey", "--KeyId"]] {
            let run = |key: &str| home.alikms([&command[..], &[key], &who[..]].concat());
            assert_eq!(run(&mine).status, 0, "{command:?} {who:?}: {:?}", run(&mine));
            let refused = run(&other);
            let said = ["Forbidden.NoPermission", "is not permitted"].iter().any(|text| refused.stderr.contains(text));
            assert!(refused.status == 1 && said && refused.stdout.is_empty(), "{who:?}: {refused:?}");
        }
        let refused = home.alikms([&["ListKeys"][..], &who[..]].concat());
        assert!(refused.stderr.contains("Forbidden.NoPermission"), "{refused:?}");
    }
    for (words, status) in [
        (vec!["--as", "nobody"], 1),
        (vec!["--access-key-id", &id, "--access-key-secret", &wrong], 1),
        (vec!["--access-key-id", "ALIKMSnobody", "--access-key-secret", &secret], 1),
        (vec!["--access-key-id", &id], 2),
        (vec!["--as", "alice", "--access-key-id", &id, "--access-key-secret", &secret], 2),
    ] {
        let run = home.alikms([&["DescribeKey", "--KeyId", &mine][..], &words[..]].concat());
        assert_eq!(run.status, status, "{words:?}: {run:?}");
    }
    home.answer(&["UpdateAccessKey", "--UserName", "alice", "--UserAccessKeyId", &id, "--Status", "Inactive"]);
    let run = home.alikms(["DescribeRegions", "--access-key-id", &id, "--access-key-secret", &secret]);
    assert_eq!((run.status, run.stderr.as_str()), (1, "ERROR: the access key is not active\n"));
    // The key of a service, and lists with numbers.
    let service = home.query(&["create-service-key", "--ServiceCode", "OSS"], "KeyId");
    assert_eq!(home.query(&["DescribeKey", "--KeyId", "acs/oss"], "KeyMetadata.Creator"), "OSS");
    let list = ["--RegionId", common::REGION, "--ResourceType", "key", "--ResourceId.1", &service];
    home.answer(&[&["TagResources"][..], &list, &["--Tag.1.Key", "a", "--Tag.1.Value", "b"]].concat());
    let told = home.query(&[&["ListTagResources"][..], &list].concat(), "TagResources.TagResource.0.TagValue");
    assert_eq!(told, "b");
}

/// What is shipped for systemd is what systemd takes, and names a verb that there is.
#[test]
fn the_units_for_systemd() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let (service, timer) = (read("alikms-maintain.service"), read("alikms-maintain.timer"));
    let line =
        |text: &str, name: &str| text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned)).unwrap();
    let command = line(&service, "ExecStart=");
    let words: Vec<&str> = command.split(' ').collect();
    assert_eq!(words[0], "/usr/local/bin/alikms");
    // The command itself, over two tokens: neither is named, both are looked after.
    let home = Home::bare(Level::Software);
    let second = Home::token_table("second", "2000000000000002", common::REGION, Level::Software);
    home.write("alikms.toml", fs::read_to_string(home.config()).unwrap() + &second);
    home.init();
    let run = home.alikms(&words[1..]);
    assert_eq!((run.status, run.stdout.as_str()), (0, "nothing is due\n"), "{run:?}");
    assert!(line(&timer, "OnCalendar=") == "daily" && line(&timer, "WantedBy=") == "timers.target");
    // systemd's own opinion, where it is there to ask; the program need not be installed.
    let bin = home.path("bin");
    fs::create_dir(&bin).unwrap();
    for (name, text) in [("alikms-maintain.service", &service), ("alikms-maintain.timer", &timer)] {
        fs::write(bin.join(name), text.replace("/usr/local/bin/alikms", env!("CARGO_BIN_EXE_alikms"))).unwrap();
    }
    let units = ["alikms-maintain.service", "alikms-maintain.timer"].map(|name| bin.join(name));
    if let Ok(output) = Command::new("systemd-analyze").arg("verify").args(units).output() {
        assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Neither PIN stands in the output of anything that was asked with it.
#[test]
fn no_output_contains_a_pin() {
    let home = Home::new(Level::Software);
    let pin = format!("file:{}", home.path("pin").display());
    for arguments in
        [vec!["status", "--pin", &pin], vec!["--pin", common::PIN, "ListKeys"], vec!["uri", "x", "--pin", &pin]]
    {
        let run = home.alikms(&arguments);
        assert!(!format!("{run:?}").contains(common::PIN), "{run:?}");
    }
}
