//! Why a sops file was not read.

use bedplate_yaml::YamlError;

/// A file that was not read, or a value that was not handed out.
#[derive(Debug, thiserror::Error)]
pub enum SopsError {
    /// No YAML, or YAML that is not understood here.
    #[error("it is not understood")]
    Yaml(#[from] YamlError),
    /// No metadata.
    #[error("it has no entry `sops`: it is not encrypted, or no sops file")]
    NotSops,
    /// A part of the metadata.
    #[error("its metadata lack `sops.{0}`")]
    Metadata(&'static str),
    /// No age among its keys.
    #[error(
        "it is encrypted for {0} only; this reader opens age. Add an age recipient and run `sops updatekeys`"
    )]
    NoAge(String),
    /// Shamir's secret sharing.
    #[error(
        "its key is split over several key groups, which this reader does not put together; use one group"
    )]
    SeveralGroups,
    /// Not for us.
    #[error(
        "it is not encrypted for this host ({ours}); it is for {theirs}. Run `bedplate secrets rekey` on a machine with an admin's key"
    )]
    OtherKeys {
        /// Our recipients.
        ours: String,
        /// Those of the file.
        theirs: String,
    },
    /// The data key is damaged.
    #[error("its data key does not open: {0}")]
    DataKey(String),
    /// A value is damaged or stands at another place than it was encrypted for.
    #[error("line {line}: `{place}` does not open: {why}")]
    Value {
        /// Line, from 1.
        line: usize,
        /// Where it stands.
        place: String,
        /// What is wrong with its form, or that it was not decrypted.
        why: &'static str,
    },
    /// Its MAC does not fit: a value was changed, added or removed by something else than sops.
    #[error("its values do not belong together (MAC mismatch): it was changed without sops")]
    Mac,
    /// Nothing there.
    #[error("it has no value `{key}`; it has {known}")]
    NoSuchKey {
        /// What was wanted.
        key: String,
        /// What there is.
        known: String,
    },
    /// A value that is no secret.
    #[error("line {line}: `{key}` stands there unencrypted; encrypt it with sops")]
    Plain {
        /// What was wanted.
        key: String,
        /// Line, from 1.
        line: usize,
    },
}
