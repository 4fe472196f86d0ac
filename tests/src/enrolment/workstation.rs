//! What the owner does on the workstation, with the real commands.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use bedplate_keystick as keystick;
use bedplate_qemu_harness::ssh::Answer;
use bedplate_secrets::age_file;
use bedplate_secrets::ssh::{self, Identity};
use bedplate_tools::command::CommandExt as _;
use bedplate_tools::secret::Secret;
use bedplate_tools::{sops, ssh_keygen};

use super::machine::{AGE_SECRET, HOST, SOPS_KEY};
use super::sops_file;
use crate::failure::{Failure, file};
use crate::seed::STICK;

/// Names another `bedplate` than the release build of the workspace.
pub const PROGRAM: &str = "BEDPLATE_PROGRAM";
/// What the key stick carries of this host's commit.
pub const BUNDLE: &str = "bedplate/enrolled/attic.bundle";
/// Another host of the repository, which it is started with.
const FIRST: &str = "cellar";
/// No file of the key stick that is looked at is longer.
const LIMIT: u64 = 16 << 20;

/// The owner's workstation, in a directory.
pub struct Workstation {
    directory: PathBuf,
    program: PathBuf,
}

/// What was prepared for the machine.
#[derive(Debug)]
pub struct Prepared {
    /// The line of the host's public ssh key.
    pub public_key: String,
    /// What the machine asks for at its first boot.
    pub passphrase: String,
    /// The newest commit of the repository.
    pub commit: String,
    /// What the two secrets hold: of the age file, of the sops file.
    pub secrets: [String; 2],
}

impl Workstation {
    /// A workstation in `directory`, with the `bedplate` of `binaries`.
    pub fn new(directory: &Path, binaries: &Path) -> Result<Self, Failure> {
        let program =
            std::env::var_os(PROGRAM).map_or_else(|| binaries.join("bedplate"), PathBuf::from);
        if !program.is_file() {
            return Err(Failure::Unfit(format!("there is no {}", program.display())));
        }
        fs::create_dir_all(directory).map_err(file("make", directory))?;
        Ok(Self { directory: directory.to_owned(), program })
    }

    /// The owner's repository.
    pub fn repository(&self) -> PathBuf {
        self.directory.join("infra")
    }

    /// The host's directory in it.
    fn host(&self) -> PathBuf {
        self.repository().join("nix/hosts").join(HOST)
    }

    /// Runs `bedplate`, whatever its status.
    pub fn bedplate(&self, arguments: &[&str]) -> Result<Answer, Failure> {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("SOPS_AGE_KEY_FILE", self.directory.join("admin"));
        answer(&mut command)
    }

    fn works(&self, arguments: &[&str]) -> Result<(), Failure> {
        let said = self.bedplate(arguments)?;
        if said.status == 0 {
            return Ok(());
        }
        let errors = said.stderr;
        Err(Failure::Unfit(format!("`bedplate {}`: {errors}", arguments.join(" "))))
    }

    /// Runs git in the repository and returns what it wrote.
    pub fn git(&self, arguments: &[&str]) -> Result<String, Failure> {
        let mut command = Command::new("git");
        command.arg("-C").arg(self.repository());
        command.args(["-c", "user.name=Owner", "-c", "user.email=owner@example.org"]);
        let said = answer(command.args(arguments))?;
        match said.status {
            0 => Ok(said.stdout.trim().to_owned()),
            _ => Err(Failure::Unfit(format!("git {}: {}", arguments.join(" "), said.stderr))),
        }
    }

    /// The whole round: a repository, the host in it, its secrets, its key made in advance and
    /// sealed on what will be the key stick; all of it committed. The platform comes from `medium`,
    /// when there is one.
    pub fn prepare(&self, document: &str, medium: Option<&Path>) -> Result<Prepared, Failure> {
        let [passphrase, age, sops] = [0, 1, 2].map(|_| random());
        let (passphrase, secrets) = (passphrase?, [age?, sops?]);
        self.start(document, medium)?;
        let admin = self.admin()?;
        let path = self.host().join(format!("{AGE_SECRET}.age"));
        let sealed = age_file::seal(&Secret::new(secrets[0].clone().into()), &[admin.recipient()]);
        let sealed = sealed.map_err(|error| Failure::Unfit(error.to_string()))?;
        fs::write(&path, sealed).map_err(file("write", &path))?;
        self.write_sops(&secrets[1], &[admin.recipient()])?;
        self.prepare_host(&passphrase)?;
        let path = self.host().join("ssh_host_ed25519_key.pub");
        let public_key = fs::read_to_string(&path).map_err(file("read", &path))?;
        if !sops::is_there() {
            let host = ssh::recipient(&public_key);
            let host = host.map_err(|error| Failure::Unfit(error.to_string()))?;
            self.write_sops(&secrets[1], &[admin.recipient(), host])?;
        }
        self.git(&["add", "--all"])?;
        self.git(&["commit", "-q", "-m", "Add the attic"])?;
        let commit = self.git(&["rev-parse", "HEAD"])?;
        Ok(Prepared { public_key, passphrase, commit, secrets })
    }

    /// `bedplate init`, and one more host.
    fn start(&self, document: &str, medium: Option<&Path>) -> Result<(), Failure> {
        let (repository, path) = (self.repository(), self.directory.join("host.toml"));
        fs::write(&path, document).map_err(file("write", &path))?;
        let (shown, path) = (repository.display().to_string(), path.display().to_string());
        let medium = medium.map(|medium| medium.display().to_string());
        let medium: Vec<&str> =
            medium.iter().flat_map(|medium| ["--medium", medium.as_str()]).collect();
        let init = ["init", "--name", FIRST, &shown];
        self.works(&[&init[..], &medium].concat())?;
        let add = ["host", "add", HOST, "--repository", &shown, "--from", &path];
        self.works(&[&add[..], &medium].concat())?;
        self.git(&["init", "-q", "-b", "main"]).map(drop)
    }

    /// The admin's key, and the rule that names it.
    fn admin(&self) -> Result<Identity, Failure> {
        let made = self.directory.join("admin-ssh");
        ssh_keygen::make(&made, "admin").map_err(|error| Failure::Unfit(error.to_string()))?;
        let key = fs::read(&made).map(Secret::new).map_err(file("read", &made))?;
        let identity = ssh::identity(&key).map_err(|error| Failure::Unfit(error.to_string()))?;
        let path = self.directory.join("admin");
        fs::write(&path, identity.to_secret().expose()).map_err(file("write", &path))?;
        let rules = self.repository().join(".sops.yaml");
        let recipient = identity.recipient();
        let text = format!(
            "creation_rules:\n  - path_regex: nix/hosts/{HOST}/\n    key_groups:\n      - age:\n          - {recipient}\n"
        );
        fs::write(&rules, text).map_err(file("write", &rules))?;
        Ok(identity)
    }

    fn write_sops(&self, value: &str, recipients: &[ssh::Recipient]) -> Result<(), Failure> {
        let place = SOPS_KEY.split_once('/').unwrap_or((SOPS_KEY, ""));
        let path = self.host().join("secrets.yaml");
        fs::write(&path, sops_file::encrypt(place, value, recipients)?)
            .map_err(file("write", &path))
    }

    /// `bedplate host prepare`. Without sops it says what is left, which is then done here.
    fn prepare_host(&self, passphrase: &str) -> Result<(), Failure> {
        let [stick, words, admin] =
            ["stick", "passphrase", "admin"].map(|name| self.directory.join(name));
        fs::create_dir_all(&stick).map_err(file("make", &stick))?;
        fs::write(&words, passphrase).map_err(file("write", &words))?;
        let [stick, words, admin, repository] =
            [stick, words, admin, self.repository()].map(|path| path.display().to_string());
        let said = self.bedplate(&[
            "host",
            "prepare",
            HOST,
            "--repository",
            &repository,
            "--stick",
            &stick,
            "--passphrase-file",
            &words,
            "--identity",
            &admin,
        ])?;
        let expected = if sops::is_there() {
            said.status == 0
        } else {
            said.status == 1 && said.stderr.contains("sops is not installed here")
        };
        if expected { Ok(()) } else { Err(Failure::Unfit(format!("host prepare: {said:?}"))) }
    }

    /// Makes the key stick with what `host prepare` wrote, and nothing else.
    pub fn make_stick(&self, image: &Path, size: u64) -> Result<(), Failure> {
        let path = keystick::layout::HOST_KEY;
        let from = self.directory.join("stick").join(path);
        let sealed = fs::read(&from).map(Secret::new).map_err(file("read", &from))?;
        let mut device =
            File::options().read(true).write(true).create(true).truncate(true).open(image);
        let device = device.as_mut().map_err(|error| Failure::Unfit(error.to_string()))?;
        device.set_len(size).map_err(file("make", image))?;
        let volume =
            keystick::Volume { id: STICK, label: keystick::layout::LABEL, sector_size: 512 };
        keystick::make(device, &volume, &[(path.to_owned(), sealed)])
            .map_err(|error| Failure::Unfit(error.to_string()))
    }

    /// A file of the key stick; none when it is not there.
    pub fn file_of_stick(image: &Path, path: &str) -> Result<Option<Secret>, Failure> {
        let mut device = File::open(image).map_err(file("open", image))?;
        let contents = keystick::read_volume(&mut device, &[path], LIMIT);
        let contents = contents.map_err(|error| Failure::Unfit(error.to_string()))?;
        Ok(contents.files.into_iter().next().map(|(_, secret)| secret))
    }

    /// Puts the repository onto the medium.
    pub fn personalize(&self, medium: &Path) -> Result<(), Failure> {
        let host = self.host().join("host.toml");
        let [medium, host, repository] =
            [medium, &host, &self.repository()].map(|path| path.display().to_string());
        self.works(&["personalize", &medium, "--host", &host, "--flake", &repository])
    }

    /// Fetches what the key stick brought, as the installer's closing words say.
    pub fn fetch(&self, bundle: &[u8]) -> Result<String, Failure> {
        let path = self.directory.join("fetched.bundle");
        fs::write(&path, bundle).map_err(file("write", &path))?;
        let branch = format!("bedplate/{HOST}");
        self.git(&["fetch", "-q", &path.display().to_string(), &format!("HEAD:{branch}")])?;
        self.git(&["rev-parse", &branch])
    }
}

fn answer(command: &mut Command) -> Result<Answer, Failure> {
    let output = command.finish().map_err(|error| Failure::Unfit(error.to_string()))?;
    Ok(Answer {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Words that stand nowhere by chance.
fn random() -> Result<String, Failure> {
    let words = keystick::passphrase().map_err(|error| Failure::Unfit(error.to_string()))?;
    Ok(String::from_utf8_lossy(words.expose()).trim().to_owned())
}
