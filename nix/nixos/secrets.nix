# Whether a document names secrets of the repository, which the host's ssh key opens: what
# `HostFile::repository_secrets` is of the decoder.
{ lib }:
told:
let
  ofBackup = backup: [
    (backup.password or { })
    (backup.credentials or { })
  ];
  references =
    lib.concatMap ofBackup (builtins.attrValues (told.backups or { }))
    ++ [ (told.notify.token or { }) ]
    ++ builtins.attrValues (told.secrets or { });
in
builtins.any (reference: reference ? sops || reference ? age) references
